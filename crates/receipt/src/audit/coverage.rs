//! Whether the chunks of a step cover its source: every byte or item once.

use serde::{Deserialize, Serialize};

use super::LISTED_MAX;
use crate::id::ReceiptId;
use crate::ledger::Ledger;
use crate::record::Cover;
use crate::station::Station;

/// A part of a step's source, as it was at submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPart {
    /// The index of the named input that it belongs to.
    pub input: u16,
    /// The path, or what it is.
    pub name: String,
    /// Bytes (files) or items (ranges) at submission; none where that was not known, and then any end is the right one.
    pub length: Option<u64>,
}

/// What is wrong with a stretch of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoverageFaultKind {
    /// No chunk covers it.
    Gap,
    /// Two chunks cover it.
    Overlap,
    /// A chunk covers it, and it lies behind the part's end at submission.
    BeyondEnd,
    /// A chunk covers it, and the source has no such part.
    UnknownPart,
}

/// A stretch of a part that is not covered once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageFault {
    /// What is wrong.
    pub kind: CoverageFaultKind,
    /// The index of the named input; none for an unknown part.
    pub input: Option<u16>,
    /// The index of the part.
    pub part: u32,
    /// The part's name; empty for an unknown one.
    pub name: String,
    /// First byte or item.
    pub offset: u64,
    /// Bytes or items.
    pub length: u64,
    /// The chunks concerned: those on both sides of a gap, where there are any, both of an overlap, or the one.
    pub receipts: Vec<ReceiptId>,
}

/// How the source is covered. Lengths are bytes for files and items for ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Parts of the source.
    pub parts: u64,
    /// Parts whose length was not known at submission.
    pub parts_open_ended: u64,
    /// The sum of the lengths at submission.
    pub at_submission: u64,
    /// The sum of all covers.
    pub covered: u64,
    /// Bytes read of the chunks that cover something, as the accepted results say.
    pub bytes_read: u64,
    /// Stretches that are not covered once.
    pub faults_total: u64,
    /// The first thousand of them, by part and offset.
    pub faults: Vec<CoverageFault>,
}

impl Coverage {
    /// Whether every part is covered from end to end, once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults_total == 0
    }
}

/// Sweeps over all covers, sorted. A receipt that was superseded covers nothing: the one that took its place does.
pub(super) fn coverage(ledger: &Ledger, parts: &[InputPart]) -> Coverage {
    let mut sweep = Sweep::new(parts);
    for receipt in ledger.iter().filter(|receipt| receipt.station() == Some(Station::Aggregated)) {
        let read = receipt.read().filter(|_| receipt.covers().next().is_some());
        sweep.out.bytes_read = sweep.out.bytes_read.saturating_add(read.map_or(0, |read| read.bytes));
    }
    let covers = || {
        let live = ledger.iter().filter(|receipt| receipt.station() != Some(Station::Superseded));
        live.flat_map(|receipt| receipt.covers().map(move |cover| (cover, receipt.id())))
    };
    // A source is cut from front to back, so there is seldom anything to sort, and then nothing is copied.
    if covers().is_sorted_by_key(|(cover, _)| (cover.part, cover.offset)) {
        covers().for_each(|(cover, receipt)| sweep.take(cover, receipt));
    } else {
        let mut sorted: Vec<(Cover, ReceiptId)> = covers().collect();
        sorted.sort_unstable();
        sorted.into_iter().for_each(|(cover, receipt)| sweep.take(cover, receipt));
    }
    sweep.finish()
}

struct Sweep<'a> {
    parts: &'a [InputPart],
    /// The part under the sweep; those before it are done.
    part: usize,
    /// Everything of the part before this is dealt with.
    reach: u64,
    /// The chunk that reaches so far.
    holder: Option<ReceiptId>,
    out: Coverage,
}

impl<'a> Sweep<'a> {
    fn new(parts: &'a [InputPart]) -> Self {
        let known = parts.iter().filter_map(|part| part.length);
        let out = Coverage {
            parts: u64::try_from(parts.len()).unwrap_or(u64::MAX),
            parts_open_ended: u64::try_from(parts.iter().filter(|part| part.length.is_none()).count())
                .unwrap_or(u64::MAX),
            at_submission: known.fold(0, u64::saturating_add),
            ..Coverage::default()
        };
        Self { parts, part: 0, reach: 0, holder: None, out }
    }

    /// Takes the next cover, by part and offset.
    fn take(&mut self, cover: Cover, receipt: ReceiptId) {
        self.out.covered = self.out.covered.saturating_add(cover.length);
        let index = usize::try_from(cover.part).unwrap_or(usize::MAX);
        self.end_parts_before(index.min(self.parts.len()));
        let Some(part) = self.parts.get(index) else {
            let (offset, length) = (cover.offset, cover.length);
            self.fault(CoverageFaultKind::UnknownPart, cover.part, (offset, length), [Some(receipt), None]);
            return;
        };
        // An empty cover, such as that of an empty file, covers nothing and hides nothing.
        if cover.length == 0 {
            return;
        }
        let end = cover.offset.saturating_add(cover.length);
        let end_known = part.length.unwrap_or(u64::MAX);
        if cover.offset > self.reach {
            let gap = (self.reach, cover.offset.min(end_known).saturating_sub(self.reach));
            self.fault_within(CoverageFaultKind::Gap, cover.part, gap, [self.holder, Some(receipt)]);
        } else {
            let overlap = (cover.offset, self.reach.min(end) - cover.offset);
            self.fault_within(CoverageFaultKind::Overlap, cover.part, overlap, [self.holder, Some(receipt)]);
        }
        let beyond = cover.offset.max(end_known);
        let excess = (beyond, end.saturating_sub(beyond));
        self.fault_within(CoverageFaultKind::BeyondEnd, cover.part, excess, [Some(receipt), None]);
        if end > self.reach {
            self.reach = end;
            self.holder = Some(receipt);
        }
    }

    fn finish(mut self) -> Coverage {
        self.end_parts_before(self.parts.len());
        self.out
    }

    /// Ends the part under the sweep, and all after it before `index`.
    fn end_parts_before(&mut self, index: usize) {
        while self.part < index {
            let length = self.parts.get(self.part).and_then(|part| part.length).unwrap_or(self.reach);
            let part = u32::try_from(self.part).unwrap_or(u32::MAX);
            let gap = (self.reach, length.saturating_sub(self.reach));
            self.fault_within(CoverageFaultKind::Gap, part, gap, [self.holder, None]);
            self.part += 1;
            self.reach = 0;
            self.holder = None;
        }
    }

    /// Reports a stretch, if there is anything in it.
    fn fault_within(
        &mut self,
        kind: CoverageFaultKind,
        part: u32,
        stretch: (u64, u64),
        receipts: [Option<ReceiptId>; 2],
    ) {
        if stretch.1 > 0 {
            self.fault(kind, part, stretch, receipts);
        }
    }

    fn fault(
        &mut self,
        kind: CoverageFaultKind,
        part: u32,
        (offset, length): (u64, u64),
        receipts: [Option<ReceiptId>; 2],
    ) {
        self.out.faults_total = self.out.faults_total.saturating_add(1);
        if self.out.faults.len() < LISTED_MAX {
            let known = usize::try_from(part).ok().and_then(|index| self.parts.get(index));
            self.out.faults.push(CoverageFault {
                kind,
                input: known.map(|part| part.input),
                part,
                name: known.map_or_else(String::new, |part| part.name.clone()),
                offset,
                length,
                receipts: receipts.into_iter().flatten().collect(),
            });
        }
    }
}
