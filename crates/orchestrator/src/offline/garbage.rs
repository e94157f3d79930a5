//! What a store holds that no step needs any more.

use std::fmt;
use std::time::Duration;

use elastic_flow_queue::{Step, StepState};
use elastic_flow_receipt::StepId;
use elastic_flow_store::{Store, StoreError, StoredPayload};
use serde::Serialize;

use super::{Journal, Kind};
use crate::journal::Record;
use crate::master::Account;
use crate::retention;

/// Why a payload is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The journal does not know its step: it was forgotten, or never written.
    UnknownStep,
    /// Its step completed longer ago than results are kept.
    KeptLongEnough,
    /// Its step completed, so that nothing of it is replayed.
    Completed,
    /// The chunk is in its step's result.
    Aggregated,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::UnknownStep => "the journal does not know the step",
            Self::KeptLongEnough => "kept as long as results are kept",
            Self::Completed => "the step completed: nothing is replayed",
            Self::Aggregated => "the chunk is in the result",
        })
    }
}

/// Payloads of a step that are not needed, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The step.
    pub step: StepId,
    /// Why they may go.
    pub why: Why,
    /// They.
    pub payloads: Vec<StoredPayload>,
    /// Whether they are all that the step has.
    whole: bool,
}

impl Garbage {
    /// Bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.payloads.iter().map(|it| it.stored_bytes).sum()
    }

    /// Removes them. Blocks.
    ///
    /// # Errors
    /// Some may still be there.
    pub fn remove(&self, store: &dyn Store) -> Result<(), StoreError> {
        if self.whole {
            return store.delete_step(self.step);
        }
        self.payloads.iter().try_for_each(|it| store.delete(self.step, &it.name))
    }
}

/// Finds what no step needs at `wall` (unix nanoseconds), where results are kept for `keep_results`. Blocks.
///
/// What a replay can start from stays: all of a step that failed, was cancelled or completed with skips, but for chunks that are in
/// its result; and whatever a replay that has not ended does start from.
///
/// # Errors
/// Something cannot be listed. An account that cannot be read leaves its step as it is.
pub fn garbage(
    store: &dyn Store,
    journal: &Journal,
    keep_results: Duration,
    wall: u64,
) -> Result<Vec<Garbage>, StoreError> {
    let replayed = retention::replayed(journal.queue());
    let mut found = Vec::new();
    for step in store.steps()? {
        let payloads = store.list(step)?;
        let known = journal.queue().get(step);
        let of_all = match known {
            None => Some(Why::UnknownStep),
            Some(it) if retention::is_over(it, keep_results, wall) && !replayed.contains(&step) => {
                Some(Why::KeptLongEnough)
            }
            Some(_) => None,
        };
        match (of_all, known) {
            (Some(why), _) => found.push(Garbage { step, why, payloads, whole: true }),
            (None, Some(known)) => found.extend(part_of(store, known, payloads)),
            (None, None) => {}
        }
    }
    found.retain(|it| !it.payloads.is_empty());
    Ok(found)
}

/// What of a step may go whose result stays.
fn part_of(store: &dyn Store, step: &Step, payloads: Vec<StoredPayload>) -> Option<Garbage> {
    let is_chunk = |it: &StoredPayload| matches!(Kind::of(&it.name), Kind::Chunk(_));
    let (why, payloads) = match step.state {
        StepState::Completed => {
            let left = |it: &StoredPayload| is_chunk(it) || Kind::of(&it.name) == Kind::Rest;
            (Why::Completed, payloads.into_iter().filter(left).collect())
        }
        StepState::CompletedWithSkips | StepState::Failed | StepState::Cancelled if payloads.iter().any(is_chunk) => {
            let account = store.get(step.id, crate::master::ACCOUNT).ok()??;
            let account: Account = elastic_flow_wire::decode(&account).ok()?;
            let is_in_result = |it: &StoredPayload| match Kind::of(&it.name) {
                Kind::Chunk(receipt) => account.has_aggregated(&receipt),
                Kind::Result | Kind::Account | Kind::Rest | Kind::Unknown => false,
            };
            (Why::Aggregated, payloads.into_iter().filter(is_in_result).collect())
        }
        StepState::CompletedWithSkips
        | StepState::Failed
        | StepState::Cancelled
        | StepState::Pending
        | StepState::Running
        | StepState::CancelPending
        | StepState::Interrupted => return None,
    };
    Some(Garbage { step: step.id, why, payloads, whole: false })
}

/// A journal without the records of steps that have ended.
#[derive(Debug)]
pub struct Compaction {
    records: Vec<Vec<u8>>,
    /// Records that the journal has now.
    pub records_before: u64,
    /// Their bytes.
    pub bytes_before: u64,
}

impl Compaction {
    /// What would become of the journal; none while a step is in hand, whose records are needed, and where nothing would be won.
    #[must_use]
    pub fn of(journal: Journal) -> Option<Self> {
        let (records_before, bytes_before) = (journal.records, journal.record_bytes);
        let records = journal.snapshot()?.iter().map(Record::encode).collect::<Result<Vec<_>, _>>().ok()?;
        let compaction = Self { records, records_before, bytes_before };
        (compaction.records_after() < records_before).then_some(compaction)
    }

    /// Records that it will have.
    #[must_use]
    pub fn records_after(&self) -> u64 {
        self.records.len() as u64
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes_after(&self) -> u64 {
        self.records.iter().map(|it| it.len() as u64).sum()
    }

    /// Writes the journal anew, whole or not at all. Blocks.
    ///
    /// # Errors
    /// The journal is as it was.
    pub fn write(self, store: &dyn Store) -> Result<(), StoreError> {
        store.rewrite(&mut self.records.into_iter())
    }
}
