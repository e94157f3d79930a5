//! How many bytes a store holds, by step and kind.

use std::collections::BTreeSet;

use elastic_flow_queue::StepState;
use elastic_flow_receipt::StepId;
use elastic_flow_store::{Store, StoreError};
use serde::Serialize;

use super::{Journal, Kind};

/// What a step takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepUsage {
    /// The step.
    pub step: StepId,
    /// Its state; none if the journal does not know it, any more or at all.
    pub state: Option<StepState>,
    /// Bytes of journal records about it.
    pub journal_bytes: u64,
    /// Bytes of what is kept for a replay: chunks, and the rest of its source.
    pub payload_bytes: u64,
    /// Bytes of its result and its account.
    pub result_bytes: u64,
    /// How many payloads it has, of whatever kind.
    pub payloads: u64,
}

impl StepUsage {
    /// All of it.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.journal_bytes.saturating_add(self.payload_bytes).saturating_add(self.result_bytes)
    }
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// By step, in order.
    pub steps: Vec<StepUsage>,
    /// Bytes of the journal that are of no step: headers, and records about the cluster.
    pub shared_journal_bytes: u64,
}

impl Usage {
    /// All of it.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.steps.iter().map(StepUsage::total_bytes).sum::<u64>().saturating_add(self.shared_journal_bytes)
    }
}

/// Measures a store. Blocks.
///
/// # Errors
/// Something cannot be listed.
pub fn usage(store: &dyn Store, journal: &Journal) -> Result<Usage, StoreError> {
    let mut all: BTreeSet<StepId> = store.steps()?.into_iter().collect();
    all.extend(journal.bytes_by_step.keys());
    let steps: Vec<StepUsage> =
        all.into_iter().map(|step| usage_of(store, journal, step)).collect::<Result<_, StoreError>>()?;
    let of_steps: u64 = steps.iter().map(|it| it.journal_bytes).sum();
    Ok(Usage { steps, shared_journal_bytes: store.journal_bytes()?.saturating_sub(of_steps) })
}

fn usage_of(store: &dyn Store, journal: &Journal, step: StepId) -> Result<StepUsage, StoreError> {
    let mut usage = StepUsage {
        step,
        state: journal.queue().get(step).map(|it| it.state),
        journal_bytes: journal.bytes_by_step.get(&step).copied().unwrap_or_default(),
        payload_bytes: 0,
        result_bytes: 0,
        payloads: 0,
    };
    for payload in store.list(step)? {
        usage.payloads += 1;
        match Kind::of(&payload.name) {
            Kind::Result | Kind::Account => usage.result_bytes += payload.stored_bytes,
            Kind::Rest | Kind::Chunk(_) | Kind::Unknown => usage.payload_bytes += payload.stored_bytes,
        }
    }
    Ok(usage)
}
