//! The reconciliation of a step: every receipt conceived is in the aggregate exactly once, or named with where and why it
//! stopped.
//!
//! # What is compared
//!
//! - **Receipts**: conceived = aggregated + consumed + superseded + set aside + abandoned + open.
//! - **Entries** and **bytes**: the same sum. On its left stands what was known at conception; on its right, for what was
//!   aggregated, what the accepted result read. Entries that were not known at conception (a split's lines, say) count on the
//!   left as they were read, and those that nobody has read yet as 0 on both sides, in [`Audit::entries_unknown`]. So where
//!   entries were known before, the column compares two counts; where they were not, bytes do.
//! - **Each receipt**: what was read of it against what was conceived, so that two errors cannot cancel each other out; that
//!   what was aggregated was read at all; and that nobody asked for a second final station.
//! - **Coverage**: no byte or item of the source left out or covered twice, none behind its end at submission. The chunks of a
//!   replay cover the source together with what is in the result that it goes on from, [`Earlier`].
//!
//! The rows from distributed to returned count each receipt once, however often it passed; the rows from retried to failed
//! count events.

mod coverage;
mod display;
mod earlier;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::coverage::coverage;
pub use self::coverage::{Coverage, CoverageFault, CoverageFaultKind, InputPart, PartCoverage};
pub use self::earlier::{Earlier, Replayed};
use crate::id::{NodeId, ReceiptId, StepId};
use crate::ledger::{Ledger, Receipt};
use crate::record::{Conflict, Mark, Read, Tally};
use crate::station::Station;

/// Items that each list of an audit names; its total counts all.
const LISTED_MAX: usize = 1_000;

/// The rows of an audit. For people, [`Audit`] prints as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rows {
    /// All receipts.
    pub conceived: Tally,
    /// Those that were given to a node.
    pub distributed: Tally,
    /// Those that were sent.
    pub sent: Tally,
    /// Those that a node received.
    pub received: Tally,
    /// Those that a stage ran over.
    pub processed: Tally,
    /// Those whose result came back.
    pub returned: Tally,
    /// Final: in the aggregate.
    pub aggregated: Tally,
    /// Of those: the receipts with items that user code skipped, and these items. They were read, so that the entries of
    /// `aggregated` less these are what went into the result. Whoever keeps the items fills it in.
    #[serde(default)]
    pub skipped: Tally,
    /// Final: parcels that their stage merged.
    pub consumed: Tally,
    /// Final: those that others took the place of.
    pub superseded: Tally,
    /// Final: kept out with their error.
    pub set_aside: Tally,
    /// Final: given up with their step.
    pub abandoned: Tally,
    /// Those without a final station.
    pub open: Tally,
    /// Events: sent again.
    pub retried: Tally,
    /// Events: a second result was dropped.
    pub duplicate_dropped: Tally,
    /// Events: a result of an attempt that counts no more was dropped.
    pub stale_dropped: Tally,
    /// Events: an attempt failed.
    pub failed: Tally,
}

/// One column of the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Column {
    /// What was conceived.
    pub conceived: u64,
    /// Final and open together.
    pub accounted: u64,
}

impl Column {
    /// Whether both sides are equal.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        self.conceived == self.accounted
    }
}

/// The three columns of the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Balance {
    /// Receipts.
    pub receipts: Column,
    /// Entries, as far as they are known.
    pub entries: Column,
    /// Bytes.
    pub bytes: Column,
}

impl Balance {
    /// Whether all three are balanced.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        self.receipts.balanced() && self.entries.balanced() && self.bytes.balanced()
    }
}

/// A receipt in the aggregate of which more or less was read than was conceived, or nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mismatch {
    /// The receipt.
    pub receipt: ReceiptId,
    /// Entries at conception, where they were known.
    pub entries: Option<u64>,
    /// Bytes at conception.
    pub bytes: u64,
    /// What was read.
    pub read: Option<Read>,
    /// The node that it was last on.
    pub node: Option<NodeId>,
}

/// A receipt that is not in the aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NamedReceipt {
    /// The receipt.
    pub receipt: ReceiptId,
    /// The index of the named input.
    pub input: u16,
    /// Where it was last, and when; none if it has not been anywhere.
    pub last: Option<Mark>,
    /// When it was conceived, in Unix nanoseconds.
    pub conceived_at: u64,
    /// Entries, where they were known at conception.
    pub entries: Option<u64>,
    /// Bytes.
    pub bytes: u64,
    /// How often it was distributed.
    pub attempts: u16,
    /// How often an attempt failed.
    pub failures: u16,
    /// How often its node was lost.
    pub losses: u16,
    /// The error of the last attempt that failed.
    pub error: Option<String>,
}

/// What was last on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeSum {
    /// The node; none for what has been on none.
    pub node: Option<NodeId>,
    /// How much.
    pub sum: Tally,
}

/// Receipts that are not in the aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listing {
    /// All of them.
    pub total: Tally,
    /// All of them by the node that they were last on, in order of ids.
    pub by_node: Vec<NodeSum>,
    /// The first thousand, in order.
    pub receipts: Vec<NamedReceipt>,
}

impl Listing {
    fn add(&mut self, receipt: &Receipt<'_>) {
        let (tally, node) = (receipt.tally(), receipt.node());
        self.total += tally;
        let place = self.by_node.binary_search_by_key(&node, |sum| sum.node).unwrap_or_else(|place| {
            self.by_node.insert(place, NodeSum { node, sum: Tally::default() });
            place
        });
        if let Some(of_node) = self.by_node.get_mut(place) {
            of_node.sum += tally;
        }
        if self.receipts.len() < LISTED_MAX {
            self.receipts.push(NamedReceipt {
                receipt: receipt.id(),
                input: receipt.input(),
                last: receipt.last(),
                conceived_at: receipt.conceived_at(),
                entries: receipt.entries(),
                bytes: receipt.bytes(),
                attempts: receipt.attempts(),
                failures: receipt.failures(),
                losses: receipt.losses(),
                error: receipt.error().map(str::to_owned),
            });
        }
    }
}

/// A part of the input that a step does without, since the server that alone has it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gap {
    /// The server.
    pub server: String,
    /// What is missing of it.
    pub what: String,
    /// How much that is; none if the server never said what it has.
    pub known: Option<Tally>,
}

/// What a worker read for a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerReads {
    /// Its name.
    pub worker: String,
    /// Bytes of files on its own disk.
    pub in_place_bytes: u64,
    /// Bytes that came with its tasks.
    pub shipped_bytes: u64,
}

/// The reconciliation of a step. Prints as a table for people; [`Audit::line`] says it in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Audit {
    /// The step.
    pub step: StepId,
    /// The step that it replays.
    pub replay_of: Option<StepId>,
    /// The program that ran. Whoever keeps the steps fills it in, and the parameters; until then there is none.
    #[serde(default)]
    pub program: String,
    /// The parameters that it ran with, by name.
    #[serde(default)]
    pub params: Vec<(String, String)>,
    balanced: bool,
    /// The rows.
    pub rows: Rows,
    /// Receipts whose entries nobody knows yet.
    pub entries_unknown: u64,
    /// Whether nothing got lost between conception and the final stations.
    pub balance: Balance,
    /// The steps that a replay goes on from, and what of the result is theirs.
    pub replayed: Option<Replayed>,
    /// Whether the source is covered.
    pub coverage: Coverage,
    /// How many receipts in the aggregate were not read as they were conceived.
    pub mismatches_total: u64,
    /// The first thousand of them.
    pub mismatches: Vec<Mismatch>,
    /// How often a second final station was refused.
    pub conflicts_total: u64,
    /// The first thousand of those.
    pub conflicts: Vec<Conflict>,
    /// What has no final station: missing, as soon as the step has ended.
    pub missing: Listing,
    /// What was set aside or abandoned.
    pub stopped: Listing,
    /// What else is to be said, in sentences: a file that has grown since submission, and the like. It unbalances nothing.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the step does without: what only a missing server has. Named, and unbalances nothing.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// What each worker read for the aggregate, by where it came from; of the numbers of a range neither.
    #[serde(default)]
    pub reads: Vec<WorkerReads>,
    /// The names of nodes, where they are known: of those that are named here by their incarnation, and maybe of others.
    #[serde(default)]
    pub nodes: BTreeMap<NodeId, String>,
}

impl Audit {
    /// Whether every receipt has exactly one final station, each column balances, what was read is what was conceived, and the
    /// source is covered once. What was set aside or abandoned is named, and does not unbalance it. Of a replay, the same holds
    /// of what it goes on from; where that is not known, see [`Coverage::proven`], its own chunks alone balance.
    ///
    /// Of a step that is still running, or that ended before its source was cut to the end, it is false; see
    /// [`Audit::balance`] and [`Audit::coverage`] for what does hold.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.balanced
    }
}

/// Reconciles a step from its ledger and the parts of its source, in the order that covers name them by; a replay together with
/// what it goes on from.
///
/// Takes time in proportion to the number of receipts, and little memory, unless the source was not cut from front to back.
#[must_use]
pub fn audit(ledger: &Ledger, parts: &[InputPart], earlier: Option<&Earlier>) -> Audit {
    let mut books = Books::default();
    ledger.iter().for_each(|receipt| books.enter(&receipt));
    let Books { mut rows, entries_unknown, mismatches_total, mismatches, missing, stopped } = books;
    let events = ledger.events();
    rows.retried = events.retried;
    rows.duplicate_dropped = events.duplicate_dropped;
    rows.stale_dropped = events.stale_dropped;
    rows.failed = events.failed;
    let balance = balance_of(ledger, &rows);
    let coverage = coverage(ledger, parts, earlier);
    let (conflicts_total, conflicts) = ledger.conflicts();
    let replayed = earlier.map(Earlier::replayed).cloned();
    let balanced = balance.balanced()
        && coverage.faults_total == 0
        && mismatches_total == 0
        && conflicts_total == 0
        && rows.open.receipts == 0
        && replayed.as_ref().is_none_or(|it| it.mismatches == 0 && it.conflicts == 0);
    Audit {
        step: ledger.step(),
        replay_of: replayed.as_ref().and_then(|it| it.steps.first().copied()),
        program: String::new(),
        params: Vec::new(),
        balanced,
        rows,
        entries_unknown,
        balance,
        replayed,
        coverage,
        mismatches_total,
        mismatches,
        conflicts_total,
        conflicts: conflicts.to_vec(),
        missing,
        stopped,
        notes: Vec::new(),
        gaps: Vec::new(),
        reads: Vec::new(),
        nodes: BTreeMap::new(),
    }
}

/// Receipts are counted twice over: by the pass over all of them, and by the ledger as they were marked.
fn balance_of(ledger: &Ledger, rows: &Rows) -> Balance {
    let mut accounted = Tally::default();
    for row in [rows.aggregated, rows.consumed, rows.superseded, rows.set_aside, rows.abandoned, rows.open] {
        accounted += row;
    }
    let finals = Station::ALL.into_iter().filter(|station| station.is_final());
    let marked = finals.map(|station| ledger.count(station)).fold(ledger.open(), u64::saturating_add);
    let column = |conceived, accounted| Column { conceived, accounted };
    Balance {
        receipts: column(rows.conceived.receipts, marked),
        entries: column(rows.conceived.entries, accounted.entries),
        bytes: column(rows.conceived.bytes, accounted.bytes),
    }
}

/// What one pass over the receipts adds up.
#[derive(Default)]
struct Books {
    rows: Rows,
    entries_unknown: u64,
    mismatches_total: u64,
    mismatches: Vec<Mismatch>,
    missing: Listing,
    stopped: Listing,
}

impl Books {
    fn enter(&mut self, receipt: &Receipt<'_>) {
        let conceived = receipt.tally();
        self.rows.conceived += conceived;
        self.entries_unknown += u64::from(receipt.entries().is_none() && receipt.read().is_none());
        let passed = receipt.passed();
        for (station, row) in [
            (Station::Distributed, &mut self.rows.distributed),
            (Station::Sent, &mut self.rows.sent),
            (Station::Received, &mut self.rows.received),
            (Station::Processed, &mut self.rows.processed),
            (Station::Returned, &mut self.rows.returned),
        ] {
            if passed.contains(station) {
                *row += conceived;
            }
        }
        match receipt.station() {
            Some(Station::Aggregated) => self.enter_aggregated(receipt),
            Some(Station::Consumed) => self.rows.consumed += conceived,
            Some(Station::Superseded) => self.rows.superseded += conceived,
            Some(Station::SetAside) => {
                self.rows.set_aside += conceived;
                self.stopped.add(receipt);
            }
            Some(Station::Abandoned) => {
                self.rows.abandoned += conceived;
                self.stopped.add(receipt);
            }
            None
            | Some(
                Station::Distributed
                | Station::Persisted
                | Station::Sent
                | Station::Received
                | Station::Processed
                | Station::Returned
                | Station::Retried
                | Station::Failed,
            ) => {
                self.rows.open += conceived;
                self.missing.add(receipt);
            }
        }
    }

    fn enter_aggregated(&mut self, receipt: &Receipt<'_>) {
        let read = receipt.read();
        let (entries, bytes) = read.map_or((0, 0), |read| (read.entries, read.bytes));
        self.rows.aggregated += Tally { receipts: 1, entries, bytes };
        let as_conceived =
            read.is_some() && bytes == receipt.bytes() && receipt.entries().is_none_or(|known| known == entries);
        if as_conceived {
            return;
        }
        self.mismatches_total += 1;
        if self.mismatches.len() < LISTED_MAX {
            self.mismatches.push(Mismatch {
                receipt: receipt.id(),
                entries: receipt.entries(),
                bytes: receipt.bytes(),
                read,
                node: receipt.node(),
            });
        }
    }
}
