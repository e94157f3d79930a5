//! The store trait and its contract.

use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_receipt::StepId;

use crate::error::StoreError;

/// Most bytes of one payload: its length is kept in 32 bits.
pub const PAYLOAD_BYTES_MAX: u64 = u32::MAX as u64;

/// Most bytes of one journal record.
pub const RECORD_BYTES_MAX: u64 = 1 << 30;

/// Refuses a payload that no backend could keep.
///
/// # Errors
/// [`StoreError::Invalid`] when it is longer than [`PAYLOAD_BYTES_MAX`].
pub fn check_payload(url: &str, name: &str, payload: &[u8]) -> Result<(), StoreError> {
    let bytes = payload.len() as u64;
    if bytes > PAYLOAD_BYTES_MAX {
        let detail = format!(
            "payload {name} of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX} bytes; make the chunks smaller"
        );
        return Err(StoreError::Invalid { url: url.to_owned(), detail });
    }
    Ok(())
}

/// Refuses a batch with a journal record that no backend could keep.
///
/// # Errors
/// [`StoreError::Invalid`] when one is longer than [`RECORD_BYTES_MAX`].
pub fn check_records(url: &str, batch: &[&[u8]]) -> Result<(), StoreError> {
    match batch.iter().map(|record| record.len() as u64).find(|bytes| *bytes > RECORD_BYTES_MAX) {
        None => Ok(()),
        Some(bytes) => Err(StoreError::Invalid {
            url: url.to_owned(),
            detail: format!(
                "a journal record of {bytes} bytes is over the limit of {RECORD_BYTES_MAX} bytes; \
                 keep large results as payloads"
            ),
        }),
    }
}

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
/// The promises are held by the module `contract` (feature `contract`), which every backend runs:
/// - What was acknowledged is there after a reopen, whatever failed since; what was not is there whole or not at all
///   (of [`Store::delete_step`] alone a part may be done).
/// - A name that [`crate::is_valid_name`] refuses is [`StoreError::Invalid`] in every call that takes one.
/// - A deletion is not synced: after a power cut a deleted payload may be back.
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

    /// Hands every journal record that was acknowledged since the last [`Store::rewrite`] to `visit`, oldest first.
    ///
    /// # Errors
    /// Corruption, named with file and offset; or the error of `visit`.
    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// Replaces the whole journal by `records`, atomically and synced. `records` must not call this store: it may be locked.
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

    /// Removes a payload; removing an absent one is fine. Who has read it before keeps what was read.
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

macro_rules! forward_store {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: Store + ?Sized> Store for $pointer<S> {
            fn url(&self) -> String {
                (**self).url()
            }

            fn is_durable(&self) -> bool {
                (**self).is_durable()
            }

            fn append(&self, batch: &[&[u8]], durability: Durability) -> Result<(), StoreError> {
                (**self).append(batch, durability)
            }

            fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
                (**self).replay(visit)
            }

            fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
                (**self).rewrite(records)
            }

            fn journal_bytes(&self) -> Result<u64, StoreError> {
                (**self).journal_bytes()
            }

            fn put(&self, step: StepId, name: &str, payload: &[u8], durability: Durability) -> Result<(), StoreError> {
                (**self).put(step, name, payload, durability)
            }

            fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
                (**self).get(step, name)
            }

            fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
                (**self).list(step)
            }

            fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError> {
                (**self).delete(step, name)
            }

            fn delete_step(&self, step: StepId) -> Result<(), StoreError> {
                (**self).delete_step(step)
            }

            fn steps(&self) -> Result<Vec<StepId>, StoreError> {
                (**self).steps()
            }
        }
    };
}

forward_store!(Arc);
forward_store!(Box);
