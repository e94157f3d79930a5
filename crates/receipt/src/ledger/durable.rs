//! The durable form of a ledger: its counters, and a [`ReceiptRecord`] a receipt, in order.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use super::{Events, Ledger, LedgerError};
use crate::id::StepId;
use crate::record::{Conflict, ReceiptRecord};

/// What a ledger is read from.
#[derive(Deserialize)]
#[serde(rename = "Ledger")]
pub(super) struct Snapshot {
    step: StepId,
    events: Events,
    conflicts_total: u64,
    conflicts: Vec<Conflict>,
    records: Vec<ReceiptRecord>,
}

/// What a ledger is written as: field by field a [`Snapshot`], made as it is written, so that it is never there twice.
#[derive(Serialize)]
#[serde(rename = "Ledger")]
struct SnapshotOf<'a> {
    step: StepId,
    events: Events,
    conflicts_total: u64,
    conflicts: &'a [Conflict],
    records: RecordsOf<'a>,
}

struct RecordsOf<'a>(&'a Ledger);

impl Serialize for RecordsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut records = serializer.serialize_seq(usize::try_from(self.0.len()).ok())?;
        for receipt in self.0.iter() {
            records.serialize_element(&receipt.to_record())?;
        }
        records.end()
    }
}

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let snapshot = SnapshotOf {
            step: self.step,
            events: self.events,
            conflicts_total: self.conflicts_total,
            conflicts: &self.conflicts,
            records: RecordsOf(self),
        };
        snapshot.serialize(serializer)
    }
}

impl TryFrom<Snapshot> for Ledger {
    type Error = LedgerError;

    fn try_from(snapshot: Snapshot) -> Result<Self, LedgerError> {
        let mut ledger = Self::new(snapshot.step);
        for record in snapshot.records {
            ledger.adopt(record)?;
        }
        ledger.events = snapshot.events;
        ledger.conflicts_total = snapshot.conflicts_total;
        ledger.conflicts = snapshot.conflicts;
        Ok(ledger)
    }
}
