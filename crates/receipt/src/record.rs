//! What is known of one receipt beside its id.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ReceiptId};
use crate::station::{Station, StationSet};

/// How much: receipts, entries and bytes, the three columns of an account. Sums saturate, since some come from peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tally {
    /// Receipts, or events where events are counted.
    pub receipts: u64,
    /// Entries, as far as they are known.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.receipts = self.receipts.saturating_add(more.receipts);
        self.entries = self.entries.saturating_add(more.entries);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// A stretch of an input part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cover {
    /// The index of the part among the parts of the source.
    pub part: u32,
    /// First byte or item.
    pub offset: u64,
    /// Bytes or items.
    pub length: u64,
}

/// A chunk as it is when it gets its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConceivedChunk {
    /// Its receipt.
    pub id: ReceiptId,
    /// The index of the named input that it belongs to.
    pub input: u16,
    /// Entries, where they are known before it is read.
    pub entries: Option<u64>,
    /// Source bytes of a split, payload bytes of an enumerable chunk.
    pub bytes: u64,
    /// When, in Unix nanoseconds: a label.
    pub conceived_at: u64,
    /// Digest of the payload, or of what a split names.
    pub digest: Option<u64>,
    /// The receipts that it was made from: parcels, or the chunk of the step that is replayed.
    pub parents: Vec<ReceiptId>,
    /// The generation of its data; 0 where nothing was ever recomputed.
    pub generation: u32,
    /// The stretches of the source that it covers; none for items of a one-shot iterator.
    pub covers: Vec<Cover>,
}

/// What the accepted attempt read of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Read {
    /// Items that entered the stage.
    pub entries: u64,
    /// Source bytes of a split, payload bytes of an enumerable chunk.
    pub bytes: u64,
}

/// A mark that a station left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mark {
    /// The station.
    pub station: Station,
    /// The node concerned, where one is.
    pub node: Option<NodeId>,
    /// When, in Unix nanoseconds: a label.
    pub at: u64,
}

/// A final station that was refused, because the receipt had one already. One is enough to unbalance an audit: whoever asked
/// for it believed that the receipt was open, and may have counted it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Conflict {
    /// The receipt.
    pub receipt: ReceiptId,
    /// The final station that it has.
    pub station: Station,
    /// The mark that was refused.
    pub refused: Mark,
}

/// All that a ledger knows of one receipt: the durable form of its entry, and what is shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    /// The receipt.
    pub id: ReceiptId,
    /// The index of the named input that it belongs to.
    pub input: u16,
    /// Entries, where they were known before it was read.
    pub entries: Option<u64>,
    /// Bytes at conception.
    pub bytes: u64,
    /// When it was conceived, in Unix nanoseconds.
    pub conceived_at: u64,
    /// Digest of the payload, or of what a split names.
    pub digest: Option<u64>,
    /// The receipts that it was made from.
    pub parents: Vec<ReceiptId>,
    /// The generation of its data.
    pub generation: u32,
    /// The stretches of the source that it covers.
    pub covers: Vec<Cover>,
    /// What the accepted attempt read.
    pub read: Option<Read>,
    /// How often it was distributed; stays at 65,535.
    pub attempts: u16,
    /// How often an attempt failed by an error or panic of user code; stays at 65,535.
    pub failures: u16,
    /// How often it was open on a node that was lost; stays at 65,535.
    pub losses: u16,
    /// Where it was last, where, and when; none until its first station.
    pub last: Option<Mark>,
    /// Every station that it has passed.
    pub passed: StationSet,
    /// Its marks in order of arrival, from the first attempt that did not go straight; the newest 64.
    pub history: Vec<Mark>,
    /// The error of the last attempt that failed.
    pub error: Option<String>,
}
