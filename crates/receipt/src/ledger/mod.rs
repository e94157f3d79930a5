//! The ledger of one step: which chunks there are, and where each of them is.
//!
//! It keeps the rule that every receipt has exactly one final station, and it is where the counts of an audit come from. It
//! does not decide anything: which attempt wins, and what is set aside, is the caller's business.

mod durable;
mod entry;
mod error;
mod query;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::entry::{Entry, NodeIndex};
pub use self::error::LedgerError;
pub use self::query::{Filter, Page, Receipt};
use crate::id::{NodeId, ReceiptId, StageId, StepId};
use crate::record::{ConceivedChunk, Conflict, Mark, Read, ReceiptRecord, Tally};
use crate::station::Station;

/// Refused final stations that are kept by name; the rest are counted.
const CONFLICTS_KEPT_MAX: usize = 1_000;

/// What happened to receipts without being a place where they are. One receipt can have many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Events {
    /// Sent again.
    pub retried: Tally,
    /// Results dropped because the receipt was final: a second result.
    pub duplicate_dropped: Tally,
    /// Results and marks dropped because their attempt counts no more.
    pub stale_dropped: Tally,
    /// Attempts that failed.
    pub failed: Tally,
}

/// Where chunks are numbered by themselves: one target partition of one stage's input, in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LaneKey {
    stage: StageId,
    round: u32,
    partition: u32,
}

impl LaneKey {
    const fn of(id: &ReceiptId) -> Self {
        Self { stage: id.stage, round: id.round, partition: id.partition }
    }
}

#[derive(Debug, Clone)]
struct Lane {
    key: LaneKey,
    /// In order of their sequence.
    entries: Vec<Entry>,
}

impl Lane {
    /// Where the entry of `sequence` is, or where it would be. At once where the sequences have no gap before it.
    fn place(&self, sequence: u64) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return Err(0) };
        if sequence > last.sequence {
            return Err(self.entries.len());
        }
        let guess = sequence.checked_sub(first.sequence).and_then(|guess| usize::try_from(guess).ok());
        match guess.and_then(|guess| Some((guess, self.entries.get(guess)?))) {
            Some((guess, entry)) if entry.sequence == sequence => Ok(guess),
            _ => self.entries.binary_search_by_key(&sequence, |entry| entry.sequence),
        }
    }

    /// Puts an entry in its place. Grows by an eighth, so that no more than that is ever spare.
    fn insert(&mut self, place: usize, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 8).max(16));
        }
        self.entries.insert(place, entry);
    }
}

/// The record of one step's receipts and the stations that they passed, in memory.
///
/// A chunk that goes straight takes [`Ledger::BYTES_PER_CHUNK`] bytes, and an eighth of that at most is spare room. Several
/// covers, parents, an error, and the marks since the first failure are kept apart, for the chunks that have them.
///
/// Everything but iteration takes the same time however many chunks there are, as long as a step conceives its chunks in the
/// order of their sequence, without gaps. With gaps, a chunk is found by bisection; one that comes after a later one costs a
/// move of those.
///
/// All times are Unix nanoseconds that the caller reads from its clock, and labels only.
///
/// ```
/// use elastic_flow_receipt::{ConceivedChunk, Ledger, ReceiptId, StageId, Station, StepId};
/// let mut ledger = Ledger::new(StepId(7));
/// let id = ReceiptId::conceive(StepId(7), StageId(0), 0, 0, 0, 1_000, 64);
/// ledger.conceive(ConceivedChunk {
///     id, input: 0, entries: None, bytes: 64, conceived_at: 1_000, digest: None, parents: vec![], generation: 0, covers: vec![],
/// })?;
/// ledger.mark(&id, Station::Distributed, None, 2_000)?;
/// ledger.read(&id, 3, 64)?;
/// ledger.mark(&id, Station::Aggregated, None, 3_000)?;
/// assert_eq!((ledger.open(), ledger.count(Station::Aggregated)), (0, 1));
/// # Ok::<(), elastic_flow_receipt::LedgerError>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "durable::Snapshot")]
pub struct Ledger {
    step: StepId,
    /// By key. Most steps have one.
    lanes: Vec<Lane>,
    nodes: Vec<NodeId>,
    node_index: BTreeMap<NodeId, u32>,
    receipts: u64,
    open: u64,
    /// Receipts by their last station, as it stands in [`Station::ALL`].
    counts: [u64; Station::ALL.len()],
    events: Events,
    conflicts_total: u64,
    conflicts: Vec<Conflict>,
}

impl Ledger {
    /// Bytes that a chunk takes which goes straight and covers one stretch of the source.
    pub const BYTES_PER_CHUNK: usize = 120;

    /// The empty ledger of a step.
    #[must_use]
    pub fn new(step: StepId) -> Self {
        Self {
            step,
            lanes: Vec::new(),
            nodes: Vec::new(),
            node_index: BTreeMap::new(),
            receipts: 0,
            open: 0,
            counts: [0; Station::ALL.len()],
            events: Events::default(),
            conflicts_total: 0,
            conflicts: Vec::new(),
        }
    }

    /// The step.
    #[must_use]
    pub fn step(&self) -> StepId {
        self.step
    }

    /// Receipts that were conceived.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.receipts
    }

    /// Whether none was conceived yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receipts == 0
    }

    /// Receipts without a final station.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Receipts that are last at `station`.
    #[must_use]
    pub fn count(&self, station: Station) -> u64 {
        self.counts.get(station as usize).copied().unwrap_or(0)
    }

    /// What happened to receipts beside the stations that they are at.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// How often a second final station was refused, and the first thousand of those by name.
    #[must_use]
    pub fn conflicts(&self) -> (u64, &[Conflict]) {
        (self.conflicts_total, &self.conflicts)
    }

    /// Bytes that the entries take, spare room included; without what is kept apart for the few.
    #[must_use]
    pub fn entries_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.entries.capacity() * size_of::<Entry>()).sum()
    }

    /// Takes in a chunk that has just got its receipt.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::AlreadyConceived`], [`LedgerError::CoverOverflow`].
    pub fn conceive(&mut self, chunk: ConceivedChunk) -> Result<(), LedgerError> {
        self.insert(chunk.id, chunk, |_| ()).map(|()| self.open += 1)
    }

    /// Takes in a receipt as a ledger has written it, final or not.
    ///
    /// Its failures and retries are not counted as events again: those belong to the ledger that saw them.
    ///
    /// # Errors
    /// As [`Ledger::conceive`].
    pub fn adopt(&mut self, record: ReceiptRecord) -> Result<(), LedgerError> {
        let ReceiptRecord { id, input, entries, bytes, conceived_at, digest, parents, generation, covers, .. } = record;
        let chunk = ConceivedChunk { id, input, entries, bytes, conceived_at, digest, parents, generation, covers };
        let ReceiptRecord { read, attempts, failures, losses, last, passed, history, error, .. } = record;
        let node = last.and_then(|mark| mark.node).map_or(NodeIndex::NONE, |node| self.index_of(node));
        self.insert(id, chunk, |entry| {
            if let Some(read) = read {
                entry.set_read(read);
            }
            (entry.attempts, entry.failures, entry.losses) = (attempts, failures, losses);
            (entry.last, entry.at) = (last.map(|mark| mark.station), last.map_or(0, |mark| mark.at));
            (entry.node, entry.passed) = (node, passed);
            entry.set_history(history);
            if let Some(error) = error {
                entry.set_error(&error);
            }
        })?;
        match last.map(|mark| mark.station) {
            Some(station) => {
                self.recount(None, station);
                self.open += u64::from(!station.is_final());
            }
            None => self.open += 1,
        }
        Ok(())
    }

    /// Marks that a receipt has passed a station at `at` (Unix nanoseconds). Without a `node`, the one before stays known.
    ///
    /// A station that [may not follow](Station::may_follow) the last one (a late mark, or one of a second attempt that is
    /// under way too) is kept among those passed, and does not move the receipt back. A mark on a receipt that is final
    /// changes nothing: `returned` counts as a duplicate, any other as stale.
    ///
    /// `distributed` counts an attempt, `failed` a failure, `retried` a retry.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`]; [`LedgerError::AlreadyFinal`]
    /// for a second final station, even if it is the same.
    pub fn mark(
        &mut self,
        receipt: &ReceiptId,
        station: Station,
        node: Option<NodeId>,
        at: u64,
    ) -> Result<(), LedgerError> {
        let (lane, place) = self.locate(receipt)?;
        let index = node.map(|node| self.index_of(node));
        let Some(entry) = self.lanes.get_mut(lane).and_then(|lane| lane.entries.get_mut(place)) else {
            return Err(LedgerError::Unknown { receipt: *receipt });
        };
        let mark = Mark { station, node, at };
        let tally = entry.tally();
        let before = entry.last;
        if let Some(last) = before.filter(|last| last.is_final()) {
            return self.mark_on_final(receipt, last, mark, tally);
        }
        let node_before = self.nodes.get(usize::try_from(entry.node.0).unwrap_or(usize::MAX)).copied();
        entry.remember(before.map(|station| Mark { station, node: node_before, at: entry.at }), mark);
        entry.passed.insert(station);
        match station {
            Station::Distributed => entry.attempts = entry.attempts.saturating_add(1),
            Station::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                self.events.failed += tally;
            }
            Station::Retried => self.events.retried += tally,
            Station::Persisted
            | Station::Sent
            | Station::Received
            | Station::Processed
            | Station::Returned
            | Station::Aggregated
            | Station::Consumed
            | Station::Superseded
            | Station::SetAside
            | Station::Abandoned => (),
        }
        if before.is_none_or(|before| station.may_follow(before)) {
            entry.last = Some(station);
            entry.at = at;
            entry.node = index.unwrap_or(entry.node);
            self.recount(before, station);
            self.open -= u64::from(station.is_final());
        }
        Ok(())
    }

    /// Notes what the accepted attempt read of a receipt; before it is final, a later word takes the place of an earlier one.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`], [`LedgerError::AlreadyRead`].
    pub fn read(&mut self, receipt: &ReceiptId, entries: u64, bytes: u64) -> Result<(), LedgerError> {
        let entry = self.entry_mut(receipt)?;
        if entry.read().is_some() && !entry.is_open() {
            return Err(LedgerError::AlreadyRead { receipt: *receipt });
        }
        entry.set_read(Read { entries, bytes });
        Ok(())
    }

    /// Notes that the receipt was open on a node that was lost.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`].
    pub fn lose(&mut self, receipt: &ReceiptId) -> Result<(), LedgerError> {
        let entry = self.entry_mut(receipt)?;
        entry.losses = entry.losses.saturating_add(1);
        Ok(())
    }

    /// Notes why an attempt at the receipt failed; the first KiB of it is kept, until the next.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`].
    pub fn set_error(&mut self, receipt: &ReceiptId, error: &str) -> Result<(), LedgerError> {
        self.entry_mut(receipt)?.set_error(error);
        Ok(())
    }

    /// Counts a second result of the receipt that was dropped.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`].
    pub fn drop_duplicate(&mut self, receipt: &ReceiptId) -> Result<(), LedgerError> {
        let tally = self.get(receipt)?.tally();
        self.events.duplicate_dropped += tally;
        Ok(())
    }

    /// Counts a result of the receipt that was dropped because its attempt counts no more.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`].
    pub fn drop_stale(&mut self, receipt: &ReceiptId) -> Result<(), LedgerError> {
        let tally = self.get(receipt)?.tally();
        self.events.stale_dropped += tally;
        Ok(())
    }

    /// What is known of a receipt.
    ///
    /// # Errors
    /// [`LedgerError::OtherStep`], [`LedgerError::Unknown`], [`LedgerError::CheckMismatch`].
    pub fn get(&self, receipt: &ReceiptId) -> Result<Receipt<'_>, LedgerError> {
        let (index, place) = self.locate(receipt)?;
        let entry = self.lanes.get(index).and_then(|lane| lane.entries.get(place));
        entry
            .map(|entry| Receipt { ledger: self, lane: LaneKey::of(receipt), entry })
            .ok_or(LedgerError::Unknown { receipt: *receipt })
    }

    fn mark_on_final(
        &mut self,
        receipt: &ReceiptId,
        station: Station,
        refused: Mark,
        tally: Tally,
    ) -> Result<(), LedgerError> {
        if refused.station.is_final() {
            self.conflicts_total = self.conflicts_total.saturating_add(1);
            if self.conflicts.len() < CONFLICTS_KEPT_MAX {
                self.conflicts.push(Conflict { receipt: *receipt, station, refused });
            }
            return Err(LedgerError::AlreadyFinal { receipt: *receipt, station, refused: refused.station });
        }
        if refused.station == Station::Returned {
            self.events.duplicate_dropped += tally;
        } else {
            self.events.stale_dropped += tally;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        id: ReceiptId,
        chunk: ConceivedChunk,
        complete: impl FnOnce(&mut Entry),
    ) -> Result<(), LedgerError> {
        if id.step != self.step {
            return Err(LedgerError::OtherStep { receipt: id, step: self.step });
        }
        if let Some(cover) = chunk.covers.iter().find(|cover| cover.offset.checked_add(cover.length).is_none()) {
            return Err(LedgerError::CoverOverflow { receipt: id, part: cover.part });
        }
        let key = LaneKey::of(&id);
        let index = self.lane_place(key).unwrap_or_else(|index| {
            self.lanes.insert(index, Lane { key, entries: Vec::new() });
            index
        });
        let Some(lane) = self.lanes.get_mut(index) else { return Err(LedgerError::Unknown { receipt: id }) };
        let Err(place) = lane.place(id.sequence) else { return Err(LedgerError::AlreadyConceived { receipt: id }) };
        let mut entry = Entry::new(chunk);
        complete(&mut entry);
        lane.insert(place, entry);
        self.receipts += 1;
        Ok(())
    }

    /// The lane of a receipt and its place in that.
    fn locate(&self, receipt: &ReceiptId) -> Result<(usize, usize), LedgerError> {
        if receipt.step != self.step {
            return Err(LedgerError::OtherStep { receipt: *receipt, step: self.step });
        }
        let unknown = LedgerError::Unknown { receipt: *receipt };
        let index = self.lane_place(LaneKey::of(receipt)).map_err(|_| unknown)?;
        let lane = self.lanes.get(index).ok_or(unknown)?;
        let place = lane.place(receipt.sequence).map_err(|_| unknown)?;
        let check = lane.entries.get(place).ok_or(unknown)?.check;
        if check == receipt.check {
            Ok((index, place))
        } else {
            let known = ReceiptId { check, ..*receipt };
            Err(LedgerError::CheckMismatch { receipt: *receipt, known })
        }
    }

    fn lane_place(&self, key: LaneKey) -> Result<usize, usize> {
        match self.lanes.first() {
            Some(first) if first.key == key => Ok(0),
            _ => self.lanes.binary_search_by_key(&key, |lane| lane.key),
        }
    }

    fn entry_mut(&mut self, receipt: &ReceiptId) -> Result<&mut Entry, LedgerError> {
        let (lane, place) = self.locate(receipt)?;
        let entry = self.lanes.get_mut(lane).and_then(|lane| lane.entries.get_mut(place));
        entry.ok_or(LedgerError::Unknown { receipt: *receipt })
    }

    fn recount(&mut self, before: Option<Station>, now: Station) {
        if let Some(count) = before.and_then(|before| self.counts.get_mut(before as usize)) {
            *count -= 1;
        }
        if let Some(count) = self.counts.get_mut(now as usize) {
            *count += 1;
        }
    }

    fn index_of(&mut self, node: NodeId) -> NodeIndex {
        if let Some(&index) = self.node_index.get(&node) {
            return NodeIndex(index);
        }
        // A step would have to see four thousand million incarnations for this to fail.
        let Ok(index) = u32::try_from(self.nodes.len()) else { return NodeIndex::NONE };
        self.nodes.push(node);
        self.node_index.insert(node, index);
        NodeIndex(index)
    }

    fn node_of(&self, index: NodeIndex) -> Option<NodeId> {
        self.nodes.get(usize::try_from(index.0).ok()?).copied()
    }
}
