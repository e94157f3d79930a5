//! To be written.
#![allow(missing_docs, reason = "being written")]
mod error;
mod store;
pub use error::StoreError;
pub use store::{Durability, Store, StoredPayload};
