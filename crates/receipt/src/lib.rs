//! To be written.
#![allow(missing_docs, reason = "being written")]
mod id;
pub use id::{Attempt, NodeId, ReceiptId, StageId, StepId};
