//! A history of calls, the model of what they leave, and the check of a store against it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use elastic_flow_receipt::StepId;

use super::Backend;
use crate::error::StoreError;
use crate::plan::{Fault, FaultInjector, FaultPlan};
use crate::store::{Durability, Store};

/// A call that changes something.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Append(Vec<Vec<u8>>, Durability),
    Rewrite(Vec<Vec<u8>>),
    Put(u64, &'static str, Vec<u8>, Durability),
    Delete(u64, &'static str),
    DeleteStep(u64),
}

impl Call {
    fn make(&self, store: &dyn Store) -> Result<(), StoreError> {
        match self {
            Self::Append(batch, durability) => {
                store.append(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>(), *durability)
            }
            Self::Rewrite(records) => store.rewrite(&mut records.iter().cloned()),
            Self::Put(step, name, payload, durability) => store.put(StepId(*step), name, payload, *durability),
            Self::Delete(step, name) => store.delete(StepId(*step), name),
            Self::DeleteStep(step) => store.delete_step(StepId(*step)),
        }
    }
}

/// All that a store holds, in the plainest form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    journal: Vec<Vec<u8>>,
    payloads: BTreeMap<(u64, String), Vec<u8>>,
}

impl Content {
    pub(super) fn of(store: &dyn Store) -> Self {
        let mut content = Self::default();
        let mut visit = |record: &[u8]| {
            content.journal.push(record.to_vec());
            Ok(())
        };
        store.replay(&mut visit).expect("the journal can be replayed");
        for step in store.steps().expect("steps can be listed") {
            for payload in store.list(step).expect("payloads can be listed") {
                let bytes = store.get(step, &payload.name).expect("a listed payload can be read");
                let bytes = bytes.expect("a listed payload is there").to_vec();
                content.payloads.insert((step.0, payload.name), bytes);
            }
        }
        content
    }

    fn after(&self, call: &Call) -> Self {
        let mut content = self.clone();
        match call {
            Call::Append(batch, _) => content.journal.extend(batch.iter().cloned()),
            Call::Rewrite(records) => content.journal.clone_from(records),
            Call::Put(step, name, payload, _) => {
                content.payloads.insert((*step, (*name).to_owned()), payload.clone());
            }
            Call::Delete(step, name) => {
                content.payloads.remove(&(*step, (*name).to_owned()));
            }
            Call::DeleteStep(step) => content.payloads.retain(|(of, _), _| of != step),
        }
        content
    }

    /// Whether a store may hold this after `call` has failed on `before`.
    fn is_left_by(&self, call: &Call, before: &Self) -> bool {
        let after = before.after(call);
        if let Call::DeleteStep(_) = call {
            // The only call that may be done in part: each of the step's payloads is there, or not.
            let is_kept = |kept: &Self| kept.payloads.iter().all(|(key, value)| self.payloads.get(key) == Some(value));
            let is_old = self.payloads.iter().all(|(key, value)| before.payloads.get(key) == Some(value));
            return self.journal == before.journal && is_kept(&after) && is_old;
        }
        self == before || *self == after
    }
}

/// What became of a history.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The calls that failed, with their errors; of opening, none.
    pub(super) errors: Vec<StoreError>,
    /// Write points met, opening included.
    pub(super) points: u64,
    /// Faults injected.
    pub(super) injected: u64,
}

/// Makes the calls on a store that fails as `plan` says, opens it again without faults, and checks all along that it holds
/// what was acknowledged, and of a failed call all or nothing.
///
/// Before that opening there are `torn_openings` others, each of which dies one write point later than the one before.
pub(super) fn check(
    backend: &dyn Backend,
    path: &Path,
    plan: FaultPlan,
    calls: &[Call],
    torn_openings: u64,
) -> Outcome {
    let context = format!("{plan:?}");
    let faults = Arc::new(FaultInjector::new(plan));
    let mut expected = Content::default();
    let mut errors = Vec::new();
    let mut in_doubt = None;
    if let Ok(store) = backend.open_with_faults(path, &faults) {
        for call in calls {
            match call.make(&store) {
                Ok(()) => {
                    expected = expected.after(call);
                    if !errors.is_empty() {
                        assert_eq!(Content::of(&store), expected, "{context}: after {call:?}, with {errors:?} before");
                    }
                }
                Err(error) => {
                    errors.push(error);
                    if faults.has_crashed() || is_poisoned(&store) {
                        in_doubt = Some(call);
                        break;
                    }
                    let found = Content::of(&store);
                    let holds = if matches!(call, Call::DeleteStep(_)) {
                        found.is_left_by(call, &expected)
                    } else {
                        found == expected
                    };
                    assert!(holds, "{context}: {call:?} failed with {errors:?} on {expected:?} and left {found:?}");
                    expected = found;
                }
            }
        }
        if in_doubt.is_none() {
            assert_eq!(Content::of(&store), expected, "{context}: before the store was closed");
        }
    }
    for point in 0..torn_openings {
        let faults = Arc::new(FaultInjector::new(FaultPlan::once(point, Fault::Tear)));
        drop(backend.open_with_faults(path, &faults));
    }
    let store = backend.open(path).expect("a store opens after whatever happened");
    let found = Content::of(&store);
    let holds = in_doubt.map_or(found == expected, |call| found.is_left_by(call, &expected));
    assert!(holds, "{context}: in doubt {in_doubt:?}, expected {expected:?}, found {found:?}");
    let (points, injected) = (faults.points(), faults.injected());
    go_on(&store, &found, &context);
    drop(store);
    Outcome { errors, points, injected }
}

/// A store that was opened after a fault is a store like any other.
fn go_on(store: &dyn Store, found: &Content, context: &str) {
    let calls = [
        Call::Append(vec![b"after".to_vec(), b"all".to_vec()], Durability::Synced),
        Call::Put(1, "a", b"after all".to_vec(), Durability::Synced),
    ];
    let mut expected = found.clone();
    for call in calls {
        call.make(store).expect("a store that was opened again takes writes");
        expected = expected.after(&call);
    }
    assert_eq!(Content::of(store), expected, "{context}: after going on");
}

fn is_poisoned(store: &dyn Store) -> bool {
    matches!(store.journal_bytes(), Err(error) if error.is_poisoned())
}
