//! To be written.
#![allow(missing_docs, reason = "being written")]
pub mod message;
