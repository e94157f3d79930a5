//! Looking into a ledger.

use super::entry::{Entry, NodeIndex};
use super::{Lane, LaneKey, Ledger};
use crate::id::{NodeId, ReceiptId, StageId};
use crate::record::{Cover, Mark, Read, ReceiptRecord, Tally};
use crate::station::{Station, StationSet};

/// A receipt in a ledger, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) lane: LaneKey,
    pub(super) entry: &'a Entry,
}

impl<'a> Receipt<'a> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        let LaneKey { stage, round, partition } = self.lane;
        let Entry { sequence, check, .. } = *self.entry;
        ReceiptId { step: self.ledger.step, stage, round, partition, sequence, check }
    }

    /// The index of the named input that it belongs to.
    #[must_use]
    pub fn input(&self) -> u16 {
        self.entry.input
    }

    /// Entries, where they were known at conception.
    #[must_use]
    pub fn entries(&self) -> Option<u64> {
        self.entry.entries()
    }

    /// Bytes at conception.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entry.bytes
    }

    /// When it was conceived, in Unix nanoseconds.
    #[must_use]
    pub fn conceived_at(&self) -> u64 {
        self.entry.conceived_at
    }

    /// What the accepted attempt read.
    #[must_use]
    pub fn read(&self) -> Option<Read> {
        self.entry.read()
    }

    /// Its last station; none before the first.
    #[must_use]
    pub fn station(&self) -> Option<Station> {
        self.entry.last
    }

    /// Whether it has no final station yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.entry.is_open()
    }

    /// The node where it was last.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.ledger.node_of(self.entry.node)
    }

    /// Where it was last, and when.
    #[must_use]
    pub fn last(&self) -> Option<Mark> {
        let station = self.entry.last?;
        Some(Mark { station, node: self.node(), at: self.entry.at })
    }

    /// Every station that it has passed.
    #[must_use]
    pub fn passed(&self) -> StationSet {
        self.entry.passed
    }

    /// How often it was distributed.
    #[must_use]
    pub fn attempts(&self) -> u16 {
        self.entry.attempts
    }

    /// How often an attempt failed by an error or panic of user code.
    #[must_use]
    pub fn failures(&self) -> u16 {
        self.entry.failures
    }

    /// How often it was open on a node that was lost.
    #[must_use]
    pub fn losses(&self) -> u16 {
        self.entry.losses
    }

    /// The stretches of the source that it covers.
    pub fn covers(&self) -> impl Iterator<Item = Cover> + use<'a> {
        self.entry.covers()
    }

    /// The error of the last attempt that failed.
    #[must_use]
    pub fn error(&self) -> Option<&'a str> {
        self.entry.error()
    }

    /// One receipt, its entries as far as they are known, its bytes at conception.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.entry.tally()
    }

    /// All of it.
    #[must_use]
    pub fn to_record(&self) -> ReceiptRecord {
        let entry = self.entry;
        ReceiptRecord {
            id: self.id(),
            input: entry.input,
            entries: entry.entries(),
            bytes: entry.bytes,
            conceived_at: entry.conceived_at,
            digest: entry.digest(),
            parents: entry.parents().to_vec(),
            generation: entry.generation,
            covers: entry.covers().collect(),
            read: entry.read(),
            attempts: entry.attempts,
            failures: entry.failures,
            losses: entry.losses,
            last: self.last(),
            passed: entry.passed,
            history: entry.history().to_vec(),
            error: entry.error().map(str::to_owned),
        }
    }
}

/// Which receipts are asked for; all that is set must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Those that are last at this station.
    pub station: Option<Station>,
    /// Those that were last on this node.
    pub node: Option<NodeId>,
    /// Those that have no final station yet.
    pub open: bool,
}

/// Some receipts of a longer list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The receipts, in order.
    pub receipts: Vec<ReceiptRecord>,
    /// What to ask for the next page with; none where this is the last.
    pub next: Option<ReceiptId>,
}

impl Ledger {
    /// All receipts, by stage, round and partition, then by sequence.
    pub fn iter(&self) -> impl Iterator<Item = Receipt<'_>> {
        self.iter_after(None)
    }

    /// The receipts that `filter` lets through and that come after `after` (from the first, where it is none), in order.
    /// `after` need not be in the ledger. Finding the start takes no longer in a long ledger than in a short one.
    pub fn select(&self, filter: Filter, after: Option<&ReceiptId>) -> impl Iterator<Item = Receipt<'_>> {
        let node = filter.node.map(|node| self.node_index.get(&node).copied());
        self.iter_after(after).filter(move |receipt| {
            filter.station.is_none_or(|station| receipt.entry.last == Some(station))
                && node.is_none_or(|index| index.is_some_and(|index| receipt.entry.node == NodeIndex(index)))
                && (!filter.open || receipt.is_open())
        })
    }

    /// At most `limit` of [`Ledger::select`], and how to go on.
    #[must_use]
    pub fn page(&self, filter: Filter, after: Option<&ReceiptId>, limit: usize) -> Page {
        let mut selected = self.select(filter, after);
        let receipts: Vec<ReceiptRecord> = selected.by_ref().take(limit).map(|receipt| receipt.to_record()).collect();
        let next = receipts.last().map(|receipt| receipt.id).filter(|_| selected.next().is_some());
        Page { receipts, next }
    }

    fn iter_after(&self, after: Option<&ReceiptId>) -> impl Iterator<Item = Receipt<'_>> {
        let (first_lane, first_entry) = after.map_or((0, 0), |after| self.place_after(after));
        let lanes = self.lanes.get(first_lane..).unwrap_or_default();
        lanes.iter().enumerate().flat_map(move |(index, lane)| {
            let start = if index == 0 { first_entry } else { 0 };
            let entries = lane.entries.get(start..).unwrap_or_default();
            entries.iter().map(|entry| Receipt { ledger: self, lane: lane.key, entry })
        })
    }

    /// The lane and the place in it of the first entry after `after`.
    fn place_after(&self, after: &ReceiptId) -> (usize, usize) {
        match self.lanes.binary_search_by_key(&LaneKey::of(after), |lane| lane.key) {
            Ok(index) => {
                let place = self.lanes.get(index).map_or(0, |lane| match lane.place(after.sequence) {
                    Ok(place) => place + 1,
                    Err(place) => place,
                });
                (index, place)
            }
            Err(index) => (index, 0),
        }
    }

    /// The receipt of that place in the source: of the first stage, outside of any round, partition 0. What a person means by
    /// "chunk 42".
    #[must_use]
    pub fn find(&self, sequence: u64) -> Option<Receipt<'_>> {
        self.lanes.first().and_then(|lane| self.in_lane(lane, sequence))
    }

    /// The receipt of that place in an exchange or round.
    #[must_use]
    pub fn find_in(&self, stage: StageId, round: u32, partition: u32, sequence: u64) -> Option<Receipt<'_>> {
        let key = LaneKey { stage, round, partition };
        let index = self.lanes.binary_search_by_key(&key, |lane| lane.key).ok()?;
        self.lanes.get(index).and_then(|lane| self.in_lane(lane, sequence))
    }

    fn in_lane<'a>(&'a self, lane: &'a Lane, sequence: u64) -> Option<Receipt<'a>> {
        let entry = lane.place(sequence).ok().and_then(|place| lane.entries.get(place))?;
        Some(Receipt { ledger: self, lane: lane.key, entry })
    }
}
