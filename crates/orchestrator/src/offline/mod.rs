//! The store of a stopped master: what lies in it, whether it is whole, and what of it no step needs.
//!
//! Nothing is started: the [`Journal`] is read as a recovery reads it, payloads go by the names that a master gives them.
//! - `mod.rs`: the journal, what payloads are; `usage.rs`: bytes by step; `check.rs`: everything read; `garbage.rs`: what may go.

mod check;
mod garbage;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;

use elastic_flow_clock::Mono;
use elastic_flow_queue::{Queue, QueueRecord};
use elastic_flow_receipt::{ReceiptId, StepId};
use elastic_flow_store::{Store, StoreError};
use elastic_flow_wire::with_causes;

pub use check::{Bad, Findings, check};
pub use garbage::{Compaction, Garbage, Why, garbage};
pub use usage::{StepUsage, Usage, usage};

use crate::config::Settings;
use crate::journal::{ClusterRecord, Record};
use crate::master::{CoreConfig, LeastOpenReceipts, MasterCore, Planted, Recovery};

/// Why the journal of a store cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is none that this build knows, or does not follow from those before it.
    #[error("journal record {number}: {detail}")]
    Record {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        detail: String,
    },
}

/// What the journal of a stopped master says.
#[derive(Debug)]
pub struct Journal {
    recovery: Recovery,
    cluster: Option<ClusterRecord>,
    records: u64,
    record_bytes: u64,
    bytes_by_step: BTreeMap<StepId, u64>,
}

impl Journal {
    /// Reads it to its end. Blocks.
    ///
    /// # Errors
    /// The store cannot be read or is corrupt; or a record is of another format, of an unknown kind, or does not follow from those
    /// before it, just as at the start of a master.
    pub fn read(store: &dyn Store) -> Result<Self, OfflineError> {
        let mut journal = Self {
            recovery: Recovery::new(config(), 0),
            cluster: None,
            records: 0,
            record_bytes: 0,
            bytes_by_step: BTreeMap::new(),
        };
        let mut wrong = None;
        let replayed = store.replay(&mut |bytes| {
            journal.take(bytes).map_err(|detail| {
                wrong = Some(detail.clone());
                StoreError::Invalid { url: store.url(), detail }
            })
        });
        match (replayed, wrong) {
            (Ok(()), _) => Ok(journal),
            (Err(_), Some(detail)) => Err(OfflineError::Record { number: journal.records, detail }),
            (Err(error), None) => Err(error.into()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.records += 1;
        self.record_bytes += bytes.len() as u64;
        let record = Record::decode(bytes).map_err(|it| with_causes(&it))?;
        self.recovery.apply(&record).map_err(|it| with_causes(&it))?;
        if let Some(step) = step_of(&record) {
            *self.bytes_by_step.entry(step).or_default() += bytes.len() as u64;
        }
        if let Record::Cluster(cluster) = record {
            self.cluster = Some(cluster);
        }
        Ok(())
    }

    /// How many records it has.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The steps that it knows.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        self.recovery.core().queue()
    }

    /// What a master would write if it wrote the journal anew now; none while a step is in hand.
    fn snapshot(self) -> Option<Vec<Record>> {
        let cluster = self.cluster?;
        if self.recovery.core().queue().active().is_some() {
            return None;
        }
        let mut nothing_to_do = Vec::new();
        let core: MasterCore = self.recovery.finish(Mono::ZERO, 0, &mut nothing_to_do);
        Some(core.snapshot(cluster))
    }
}

/// Of a master that only remembers.
fn config() -> CoreConfig {
    CoreConfig {
        settings: Settings::default(),
        build: 0,
        name: String::new(),
        method: Box::new(LeastOpenReceipts),
        observing: false,
        monitored: false,
        planted: Planted::default(),
    }
}

/// The step that a record is about.
const fn step_of(record: &Record) -> Option<StepId> {
    match record {
        Record::Cluster(_) | Record::Queue(QueueRecord::IdsUsed { .. } | QueueRecord::Drained { .. }) => None,
        Record::Queue(
            QueueRecord::Submitted { id, .. }
            | QueueRecord::Transition { id, .. }
            | QueueRecord::Failed { id, .. }
            | QueueRecord::Forgotten { id },
        ) => Some(*id),
        Record::Plan(it) => Some(it.step),
        Record::Conceived(it) => Some(it.step),
        Record::Done(it) => Some(it.step),
        Record::SetAside(it) => Some(it.receipt.step),
        Record::Closed(it) => Some(it.step),
        Record::Source(it) => Some(it.step),
        Record::Exchanged(it) => Some(it.step),
    }
}

/// What a payload is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A step's aggregate.
    Result,
    /// A step's account.
    Account,
    /// What a step left of its source.
    Rest,
    /// A chunk.
    Chunk(ReceiptId),
    /// Nothing that this build keeps.
    Unknown,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            crate::master::RESULT => Self::Result,
            crate::master::ACCOUNT => Self::Account,
            crate::master::REST => Self::Rest,
            chunk => chunk.parse().map_or(Self::Unknown, Self::Chunk),
        }
    }
}
