//! Whether the chunks of a step cover its source: every byte or item once.

use serde::{Deserialize, Serialize};

use super::LISTED_MAX;
use super::earlier::Earlier;
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// How a part is covered. Lengths are bytes for files and items for ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PartCoverage {
    /// The index of the named input.
    pub input: u16,
    /// The part's name.
    pub name: String,
    /// Its length at submission, where it was known.
    pub length: Option<u64>,
    /// The sum of all covers of it.
    pub covered: u64,
    /// How much of that the steps before cover, which a replay goes on from.
    pub covered_before: u64,
}

/// How the source is covered. Lengths are bytes for files and items for ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Coverage {
    /// Whether it is known what covers the source. Not so of a replay where the account of a step before it is not there; then
    /// the rest is empty.
    pub proven: bool,
    /// Parts of the source.
    pub parts: u64,
    /// Parts whose length was not known at submission.
    pub parts_open_ended: u64,
    /// The sum of the lengths at submission.
    pub at_submission: u64,
    /// The sum of all covers.
    pub covered: u64,
    /// How much of that the steps before cover, which a replay goes on from.
    pub covered_before: u64,
    /// Bytes read of the chunks that cover something, as the accepted results say; those of the steps before with them.
    pub bytes_read: u64,
    /// Stretches that are not covered once.
    pub faults_total: u64,
    /// The first thousand of them, by part and offset.
    pub faults: Vec<CoverageFault>,
    /// The first thousand parts, in order.
    pub by_part: Vec<PartCoverage>,
}

impl Coverage {
    /// Whether it is proven that every part is covered from end to end, once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.proven && self.faults_total == 0
    }
}

/// Sweeps over all covers, sorted. A receipt that was superseded covers nothing: the one that took its place does. Of the steps
/// that a replay goes on from, what they aggregated covers.
pub(super) fn coverage(ledger: &Ledger, parts: &[InputPart], earlier: Option<&Earlier>) -> Coverage {
    if earlier.is_some_and(|it| !it.is_known()) {
        return Coverage::default();
    }
    let mut sweep = Sweep::new(parts);
    sweep.out.bytes_read = earlier.map_or(0, Earlier::bytes_read);
    for receipt in ledger.iter().filter(|receipt| receipt.station() == Some(Station::Aggregated)) {
        let read = receipt.read().filter(|_| receipt.covers().next().is_some());
        sweep.out.bytes_read = sweep.out.bytes_read.saturating_add(read.map_or(0, |read| read.bytes));
    }
    let mut before = earlier.map_or(&[][..], |it| &it.covers).iter().copied().peekable();
    let mut take = |own: (Cover, ReceiptId)| {
        while let Some(before) = before.next_if(|before| *before < own) {
            sweep.take(before, true);
        }
        sweep.take(own, false);
    };
    let covers = || {
        let live = ledger.iter().filter(|receipt| receipt.station() != Some(Station::Superseded));
        live.flat_map(|receipt| receipt.covers().map(move |cover| (cover, receipt.id())))
    };
    // A source is cut from front to back, so there is seldom anything to sort, and then nothing is copied.
    if covers().is_sorted_by_key(|(cover, _)| (cover.part, cover.offset)) {
        covers().for_each(take);
    } else {
        let mut sorted: Vec<(Cover, ReceiptId)> = covers().collect();
        sorted.sort_unstable();
        sorted.into_iter().for_each(&mut take);
    }
    before.for_each(|before| sweep.take(before, true));
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
        let by_part = parts.iter().take(LISTED_MAX).map(|part| PartCoverage {
            input: part.input,
            name: part.name.clone(),
            length: part.length,
            covered: 0,
            covered_before: 0,
        });
        let out = Coverage {
            proven: true,
            parts: u64::try_from(parts.len()).unwrap_or(u64::MAX),
            parts_open_ended: u64::try_from(parts.iter().filter(|part| part.length.is_none()).count())
                .unwrap_or(u64::MAX),
            at_submission: known.fold(0, u64::saturating_add),
            by_part: by_part.collect(),
            ..Coverage::default()
        };
        Self { parts, part: 0, reach: 0, holder: None, out }
    }

    /// Takes the next cover, by part and offset; `before` if it is of a step that a replay goes on from.
    fn take(&mut self, (cover, receipt): (Cover, ReceiptId), before: bool) {
        let index = usize::try_from(cover.part).unwrap_or(usize::MAX);
        self.count(index, cover.length, before);
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

    fn count(&mut self, index: usize, length: u64, before: bool) {
        let length_before = if before { length } else { 0 };
        self.out.covered = self.out.covered.saturating_add(length);
        self.out.covered_before = self.out.covered_before.saturating_add(length_before);
        if let Some(part) = self.out.by_part.get_mut(index) {
            part.covered = part.covered.saturating_add(length);
            part.covered_before = part.covered_before.saturating_add(length_before);
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
