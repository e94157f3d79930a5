//! The store trait and its contract.

use bytes::Bytes;
use elastic_flow_receipt::StepId;

use crate::error::StoreError;

/// What a write has survived when its call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Synced: survives a power cut.
    #[default]
    Synced,
    /// Handed to the operating system: survives a crash of the process.
    Os,
}

/// Persistence: payloads by step and name (a receipt's text form, or a name such as `result`), and the master's journal.
///
/// All calls block; callers run them on a thread made for it. A `Store` is owned by one process at a time.
///
/// # Contract
/// The promises are held by [`crate::contract`], which every backend runs.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Where it is, for people and messages: `memory`, `fs:DIR`, `rocksdb:DIR`.
    fn url(&self) -> String;

    /// Whether what it holds outlives this process.
    fn is_durable(&self) -> bool;

    /// Appends records to the journal, in order, as one batch: after a crash all of it is there, or nothing.
    ///
    /// # Errors
    /// Nothing of the batch is acknowledged. After a failed sync every further call fails.
    fn append(&self, batch: &[&[u8]], durability: Durability) -> Result<(), StoreError>;

    /// Hands every journal record since the last [`Store::rewrite`] to `visit`, oldest first.
    ///
    /// # Errors
    /// Corruption, named with file and offset; or the error of `visit`.
    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// Replaces the whole journal by `records`, atomically and synced.
    ///
    /// # Errors
    /// The old journal is untouched then.
    fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError>;

    /// Bytes of the journal.
    ///
    /// # Errors
    /// The backend cannot tell.
    fn journal_bytes(&self) -> Result<u64, StoreError>;

    /// Keeps a payload. Putting the same again is one; putting another under the same name replaces it whole.
    ///
    /// # Errors
    /// Nothing is kept then, and what was there before still is.
    fn put(&self, step: StepId, name: &str, payload: &[u8], durability: Durability) -> Result<(), StoreError>;

    /// A payload, or none.
    ///
    /// # Errors
    /// It cannot be read, or is corrupt.
    fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// The names and stored sizes of a step's payloads, in byte order of the names.
    ///
    /// # Errors
    /// It cannot be listed.
    fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError>;

    /// Removes a payload; removing an absent one is fine.
    ///
    /// # Errors
    /// It is still there.
    fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError>;

    /// Removes all payloads of a step.
    ///
    /// # Errors
    /// Some may still be there.
    fn delete_step(&self, step: StepId) -> Result<(), StoreError>;

    /// The steps that have payloads, in order.
    ///
    /// # Errors
    /// It cannot be listed.
    fn steps(&self) -> Result<Vec<StepId>, StoreError>;
}

/// An entry of [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPayload {
    /// The payload's name.
    pub name: String,
    /// Bytes that it takes in the store.
    pub stored_bytes: u64,
}
