//! The reference backend: everything in memory, gone with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use elastic_flow_receipt::StepId;

use crate::error::StoreError;
use crate::name::check_name;
use crate::store::{Durability, Store, StoredPayload, check_payload, check_records};

const URL: &str = "memory";

/// A store in memory. What it holds lives as long as it does; share it with an [`std::sync::Arc`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Each record shares its bytes with whoever replays it, so that no lock is held while they are visited.
    journal: Vec<Bytes>,
    payloads: BTreeMap<StepId, BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No call can leave the maps half changed, so a panic elsewhere does not spoil them.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn url(&self) -> String {
        URL.to_owned()
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn append(&self, batch: &[&[u8]], _durability: Durability) -> Result<(), StoreError> {
        check_records(URL, batch)?;
        self.held().journal.extend(batch.iter().map(|record| Bytes::copy_from_slice(record)));
        Ok(())
    }

    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let journal = self.held().journal.clone();
        journal.iter().try_for_each(|record| visit(record))
    }

    fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let mut journal = Vec::new();
        for record in records {
            check_records(URL, &[&record])?;
            journal.push(Bytes::from(record));
        }
        self.held().journal = journal;
        Ok(())
    }

    fn journal_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.held().journal.iter().map(|record| record.len() as u64).sum())
    }

    fn put(&self, step: StepId, name: &str, payload: &[u8], _durability: Durability) -> Result<(), StoreError> {
        check_name(URL, name)?;
        check_payload(URL, name, payload)?;
        let payload = Bytes::copy_from_slice(payload);
        self.held().payloads.entry(step).or_default().insert(name.to_owned(), payload);
        Ok(())
    }

    fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
        check_name(URL, name)?;
        Ok(self.held().payloads.get(&step).and_then(|payloads| payloads.get(name)).cloned())
    }

    fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
        let held = self.held();
        let payloads = held.payloads.get(&step).into_iter().flatten();
        Ok(payloads
            .map(|(name, payload)| StoredPayload { name: name.clone(), stored_bytes: payload.len() as u64 })
            .collect())
    }

    fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError> {
        check_name(URL, name)?;
        let mut held = self.held();
        if let Some(payloads) = held.payloads.get_mut(&step) {
            payloads.remove(name);
            if payloads.is_empty() {
                held.payloads.remove(&step);
            }
        }
        Ok(())
    }

    fn delete_step(&self, step: StepId) -> Result<(), StoreError> {
        self.held().payloads.remove(&step);
        Ok(())
    }

    fn steps(&self) -> Result<Vec<StepId>, StoreError> {
        Ok(self.held().payloads.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::*;
    use crate::contract::{Backend, Capabilities};
    use crate::fault::FaultStore;
    use crate::plan::FaultInjector;

    /// "Disks" by path, since the process that reopens a store here is the one that held it.
    #[derive(Default)]
    struct MemoryBackend {
        disks: Mutex<BTreeMap<PathBuf, Arc<MemoryStore>>>,
    }

    impl MemoryBackend {
        fn disk(&self, path: &Path) -> Arc<MemoryStore> {
            Arc::clone(self.disks.lock().unwrap().entry(path.to_owned()).or_default())
        }
    }

    impl Backend for MemoryBackend {
        fn capabilities(&self) -> Capabilities {
            Capabilities { is_durable: false, has_one_owner: false }
        }

        fn open(&self, path: &Path) -> Result<Box<dyn Store>, StoreError> {
            Ok(Box::new(self.disk(path)))
        }

        fn open_with_faults(&self, path: &Path, faults: &Arc<FaultInjector>) -> Result<Box<dyn Store>, StoreError> {
            Ok(Box::new(FaultStore::new(self.disk(path), Arc::clone(faults))))
        }
    }

    crate::store_contract!(MemoryBackend::default());
}
