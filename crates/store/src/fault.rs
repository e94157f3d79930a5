//! A wrapper that fails whole calls of any store.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_receipt::StepId;

use crate::error::StoreError;
use crate::plan::{Fault, FaultInjector};
use crate::store::{Durability, Store, StoredPayload};

/// Fails the write calls of the store below as a [`crate::FaultPlan`] says; a write point is a call that changes something.
///
/// It keeps the contract: a call that fails has done nothing, and one in whose middle the process "dies"
/// ([`Fault::Tear`]) has taken effect whole or not at all. After a death every call fails; drop it, and open the store
/// below again.
#[derive(Debug)]
pub struct FaultStore<S> {
    below: S,
    faults: Arc<FaultInjector>,
}

impl<S: Store> FaultStore<S> {
    /// Wraps `below`.
    #[must_use]
    pub const fn new(below: S, faults: Arc<FaultInjector>) -> Self {
        Self { below, faults }
    }

    /// The store below.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.below
    }

    fn dead(&self, action: &str) -> StoreError {
        let source = io::Error::other("the process has died (injected)");
        StoreError::Io { url: self.below.url(), action: action.to_owned(), source }
    }

    fn read<T>(&self, action: &str, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.faults.has_crashed() { Err(self.dead(action)) } else { call() }
    }

    fn write(
        &self,
        action: &str,
        bytes: usize,
        call: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.faults.has_crashed() {
            return Err(self.dead(action));
        }
        let Some((fault, drawn)) = self.faults.meet() else { return call() };
        let failed = |source| Err(StoreError::from_io(self.below.url(), action, bytes as u64, source));
        match fault {
            Fault::Fail => failed(io::Error::other("the device failed (injected)")),
            Fault::Full => failed(io::ErrorKind::StorageFull.into()),
            Fault::Permission => failed(io::ErrorKind::PermissionDenied.into()),
            Fault::Tear if drawn.is_multiple_of(2) => call().and_then(|()| Err(self.dead(action))),
            Fault::Tear | Fault::Crash | Fault::PowerCut => Err(self.dead(action)),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for FaultStore<S> {
    fn url(&self) -> String {
        self.below.url()
    }

    fn is_durable(&self) -> bool {
        self.below.is_durable()
    }

    fn append(&self, batch: &[&[u8]], durability: Durability) -> Result<(), StoreError> {
        let bytes = batch.iter().map(|record| record.len()).sum();
        self.write("append to the journal", bytes, || self.below.append(batch, durability))
    }

    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.read("replay the journal", || self.below.replay(visit))
    }

    fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        self.write("rewrite the journal", 0, || self.below.rewrite(records))
    }

    fn journal_bytes(&self) -> Result<u64, StoreError> {
        self.read("measure the journal", || self.below.journal_bytes())
    }

    fn put(&self, step: StepId, name: &str, payload: &[u8], durability: Durability) -> Result<(), StoreError> {
        let action = format!("put {name} of step {}", step.0);
        self.write(&action, payload.len(), || self.below.put(step, name, payload, durability))
    }

    fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.read("get a payload", || self.below.get(step, name))
    }

    fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
        self.read("list payloads", || self.below.list(step))
    }

    fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError> {
        let action = format!("delete {name} of step {}", step.0);
        self.write(&action, 0, || self.below.delete(step, name))
    }

    fn delete_step(&self, step: StepId) -> Result<(), StoreError> {
        let action = format!("delete step {}", step.0);
        self.write(&action, 0, || self.below.delete_step(step))
    }

    fn steps(&self) -> Result<Vec<StepId>, StoreError> {
        self.read("list steps", || self.below.steps())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::plan::FaultPlan;

    const STEP: StepId = StepId(1);

    fn faulty(point: u64, fault: Fault) -> FaultStore<Arc<MemoryStore>> {
        let faults = Arc::new(FaultInjector::new(FaultPlan::once(point, fault)));
        FaultStore::new(Arc::new(MemoryStore::new()), faults)
    }

    #[test]
    fn each_fault_reaches_the_caller_as_its_own_error_and_the_next_call_goes_through() {
        let full = faulty(0, Fault::Full);
        let error = full.put(STEP, "a", b"12345", Durability::Synced).unwrap_err();
        assert!(matches!(error, StoreError::Full { bytes: 5, .. }), "{error}");
        let denied = faulty(0, Fault::Permission);
        assert!(denied.append(&[b"x"], Durability::Os).unwrap_err().is_permission_denied());
        for store in [full, denied] {
            assert_eq!((store.get(STEP, "a").unwrap(), store.journal_bytes().unwrap()), (None, 0));
            store.put(STEP, "a", b"again", Durability::Synced).unwrap();
            assert_eq!(store.get(STEP, "a").unwrap().unwrap(), "again");
        }
    }

    #[test]
    fn after_a_crash_every_call_fails_and_the_store_below_has_what_was_acknowledged() {
        let store = faulty(1, Fault::Crash);
        store.put(STEP, "a", b"1", Durability::Synced).unwrap();
        store.put(STEP, "b", b"2", Durability::Synced).unwrap_err();
        store.get(STEP, "a").unwrap_err();
        store.append(&[b"x"], Durability::Synced).unwrap_err();
        store.steps().unwrap_err();
        let below = store.into_inner();
        assert_eq!(below.get(STEP, "a").unwrap().unwrap(), "1");
        assert_eq!((below.get(STEP, "b").unwrap(), below.journal_bytes().unwrap()), (None, 0));
    }

    #[test]
    fn a_torn_call_is_never_acknowledged_and_takes_effect_for_some_seeds_only() {
        let took_effect = |seed| {
            let plan = FaultPlan { seed, ..FaultPlan::once(0, Fault::Tear) };
            let store = FaultStore::new(Arc::new(MemoryStore::new()), Arc::new(FaultInjector::new(plan)));
            store.append(&[b"x"], Durability::Synced).unwrap_err();
            store.into_inner().journal_bytes().unwrap() == 1
        };
        let count = (0..100).filter(|seed| took_effect(*seed)).count();
        assert!((20..80).contains(&count), "{count}");
    }
}
