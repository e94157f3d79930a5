//! One chunk in memory.

use crate::id::ReceiptId;
use crate::record::{ConceivedChunk, Cover, Mark, Read, Tally};
use crate::station::{Station, StationSet};

/// An index into the ledger's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeIndex(pub(super) u32);

impl NodeIndex {
    /// No node.
    pub(super) const NONE: Self = Self(u32::MAX);
}

const HAS_ENTRIES: u8 = 1;
const HAS_DIGEST: u8 = 2;
const HAS_READ: u8 = 4;
const HAS_COVER: u8 = 8;

/// Marks that are kept of a chunk that did not go straight.
const HISTORY_MARKS_MAX: usize = 64;
/// Bytes that are kept of an error's text.
const ERROR_BYTES_MAX: usize = 1_024;

/// A chunk, packed: what is optional is a bit in `flags`, what is rare is in `extra`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) conceived_at: u64,
    pub(super) bytes: u64,
    entries: u64,
    digest: u64,
    read: Read,
    cover_offset: u64,
    cover_length: u64,
    /// When it came to `last`.
    pub(super) at: u64,
    extra: Option<Box<Extra>>,
    cover_part: u32,
    pub(super) check: u32,
    pub(super) generation: u32,
    pub(super) node: NodeIndex,
    pub(super) input: u16,
    pub(super) attempts: u16,
    pub(super) failures: u16,
    pub(super) losses: u16,
    pub(super) passed: StationSet,
    pub(super) last: Option<Station>,
    flags: u8,
}

/// What few chunks have.
#[derive(Debug, Clone, Default)]
struct Extra {
    /// All covers, where there are several; else the one is in the entry.
    covers: Vec<Cover>,
    parents: Vec<ReceiptId>,
    history: Vec<Mark>,
    error: Option<Box<str>>,
}

impl Entry {
    pub(super) fn new(chunk: ConceivedChunk) -> Self {
        let ConceivedChunk { id, input, entries, bytes, conceived_at, digest, parents, generation, covers } = chunk;
        let mut flags = if entries.is_some() { HAS_ENTRIES } else { 0 };
        flags |= if digest.is_some() { HAS_DIGEST } else { 0 };
        let single = match covers.as_slice() {
            [cover] => {
                flags |= HAS_COVER;
                *cover
            }
            _ => Cover { part: 0, offset: 0, length: 0 },
        };
        let covers = if covers.len() > 1 { covers } else { Vec::new() };
        let rare = !covers.is_empty() || !parents.is_empty();
        Self {
            sequence: id.sequence,
            conceived_at,
            bytes,
            entries: entries.unwrap_or(0),
            digest: digest.unwrap_or(0),
            read: Read { entries: 0, bytes: 0 },
            cover_offset: single.offset,
            cover_length: single.length,
            at: 0,
            extra: rare.then(|| Box::new(Extra { covers, parents, ..Extra::default() })),
            cover_part: single.part,
            check: id.check,
            generation,
            node: NodeIndex::NONE,
            input,
            attempts: 0,
            failures: 0,
            losses: 0,
            passed: StationSet::EMPTY,
            last: None,
            flags,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.last.is_none_or(|station| !station.is_final())
    }

    /// Entries that were known at conception.
    pub(super) fn entries(&self) -> Option<u64> {
        self.has(HAS_ENTRIES).then_some(self.entries)
    }

    pub(super) fn digest(&self) -> Option<u64> {
        self.has(HAS_DIGEST).then_some(self.digest)
    }

    pub(super) fn read(&self) -> Option<Read> {
        self.has(HAS_READ).then_some(self.read)
    }

    pub(super) fn set_read(&mut self, read: Read) {
        self.flags |= HAS_READ;
        self.read = read;
    }

    /// One receipt, with its entries as far as they are known and its bytes at conception.
    pub(super) fn tally(&self) -> Tally {
        let entries = self.entries().or(self.read().map(|read| read.entries));
        Tally { receipts: 1, entries: entries.unwrap_or(0), bytes: self.bytes }
    }

    pub(super) fn covers(&self) -> impl Iterator<Item = Cover> {
        let single = Cover { part: self.cover_part, offset: self.cover_offset, length: self.cover_length };
        let several = self.extra.as_ref().map_or(&[][..], |extra| &extra.covers);
        self.has(HAS_COVER).then_some(single).into_iter().chain(several.iter().copied())
    }

    pub(super) fn parents(&self) -> &[ReceiptId] {
        self.extra.as_ref().map_or(&[], |extra| &extra.parents)
    }

    pub(super) fn history(&self) -> &[Mark] {
        self.extra.as_ref().map_or(&[], |extra| &extra.history)
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.extra.as_ref().and_then(|extra| extra.error.as_deref())
    }

    pub(super) fn set_error(&mut self, error: &str) {
        let kept = error.get(..error.floor_char_boundary(ERROR_BYTES_MAX)).unwrap_or(error);
        self.extra.get_or_insert_default().error = Some(kept.into());
    }

    pub(super) fn set_history(&mut self, marks: Vec<Mark>) {
        if !marks.is_empty() {
            self.extra.get_or_insert_default().history = marks;
            self.trim_history();
        }
    }

    /// Keeps `mark` where the chunk did not go straight: from its first failure or retry on, and what was before that.
    pub(super) fn remember(&mut self, before: Option<Mark>, mark: Mark) {
        let started = !self.history().is_empty();
        if started || matches!(mark.station, Station::Failed | Station::Retried) {
            let history = &mut self.extra.get_or_insert_default().history;
            history.extend(before.filter(|_| !started));
            history.push(mark);
            self.trim_history();
        }
    }

    fn trim_history(&mut self) {
        if let Some(extra) = &mut self.extra {
            let surplus = extra.history.len().saturating_sub(HISTORY_MARKS_MAX);
            extra.history.drain(..surplus);
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn an_ordinary_chunk_takes_no_more_than_the_docs_say() {
        assert_eq!(size_of::<Entry>(), Ledger::BYTES_PER_CHUNK);
        const { assert!(Ledger::BYTES_PER_CHUNK <= 128, "the aim") }
    }
}
