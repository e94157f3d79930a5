//! What a step sets aside: items that user code skips, and whole chunks; and how much of that a step may do.

use std::collections::BTreeSet;

use elastic_flow_queue::StepErrorKind;
use elastic_flow_receipt::{Attempt, Earlier, NodeId, ReceiptId, Station, Tally};
use elastic_flow_wire::message::{FailureKind, ItemKind, KeptItem, SkippedItem};
use serde::{Deserialize, Serialize};

use super::accept::Failed;
use super::core::MasterCore;
use super::effects::{Cause, Effect};
use super::run::Run;
use crate::api::{DeadLetterFilter, DeadLetterKind, DeadLetterView};

/// Dead letters listed at once where the filter names no limit.
const LISTED: u32 = 1_000;
/// Dead letters listed at once, at most.
const LISTED_MAX: u32 = 10_000;

/// An item or a chunk that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    kind: DeadLetterKind,
    receipt: ReceiptId,
    item: Option<u64>,
    node: String,
    error: String,
    kept: Option<KeptItem>,
}

impl DeadLetter {
    /// A chunk.
    pub(super) fn set_aside(receipt: ReceiptId, kind: FailureKind, item: Option<u64>, node: &str, error: &str) -> Self {
        let (node, error) = (node.to_owned(), error.to_owned());
        let missing = kind == FailureKind::Missing;
        let kind = if missing { DeadLetterKind::Missing } else { DeadLetterKind::SetAside };
        Self { kind, receipt, item, node, error, kept: None }
    }

    fn skipped(skip: &SkippedItem, node: &str) -> Self {
        Self {
            kind: DeadLetterKind::Skipped,
            receipt: skip.receipt,
            item: Some(skip.item),
            node: node.to_owned(),
            error: skip.error.clone(),
            kept: skip.kept.clone(),
        }
    }

    fn view(&self, number: u64) -> DeadLetterView {
        let text = self.kept.as_ref().filter(|it| it.kind == ItemKind::Text);
        DeadLetterView {
            number,
            kind: self.kind,
            receipt: self.receipt,
            item: self.item,
            node: self.node.clone(),
            error: self.error.clone(),
            text: text.map(|it| String::from_utf8_lossy(&it.body).into_owned()),
            item_bytes: self.kept.as_ref().map(|it| it.length),
        }
    }
}

/// What is not in a result though its step may complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Items that were skipped.
    pub(super) items: u64,
    /// Chunks that were set aside.
    pub(super) chunks: u64,
}

impl LeftOut {
    /// Of a replay, the items as well that were skipped by the steps that it goes on from: they are not in its result either.
    pub(super) fn of(skipped: u64, chunks: u64, earlier: Option<&Earlier>) -> Self {
        Self { items: skipped.saturating_add(skipped_by(earlier)), chunks }
    }

    pub(super) const fn total(self) -> u64 {
        self.items.saturating_add(self.chunks)
    }

    /// What fails a step that has left out more than it may. Where nothing may be left out it is what befell the `first` chunk.
    pub(super) fn kind(self, max_skips: u64, first: Option<FailureKind>) -> StepErrorKind {
        match first {
            Some(first) if self.items == 0 && max_skips == 0 => kind_of(first),
            Some(_) | None => StepErrorKind::Skips,
        }
    }
}

/// The kind of step error that a chunk's failure makes where it is the end of the step.
const fn kind_of(failure: FailureKind) -> StepErrorKind {
    match failure {
        FailureKind::Panic => StepErrorKind::UserPanic,
        FailureKind::User => StepErrorKind::UserError,
        FailureKind::Source | FailureKind::SourceChanged | FailureKind::Decode => StepErrorKind::Input,
        FailureKind::Program => StepErrorKind::Program,
        FailureKind::Resource => StepErrorKind::Resources,
        FailureKind::Fail => StepErrorKind::ProgramEnded,
        FailureKind::Skips => StepErrorKind::Skips,
        FailureKind::Missing => StepErrorKind::NoWorkers,
    }
}

/// What a replay goes on from.
fn earlier_of(run: &Run) -> Option<&Earlier> {
    let earlier = run.earlier.as_ref()?;
    Some(earlier)
}

fn skipped_by(earlier: Option<&Earlier>) -> u64 {
    earlier.map_or(0, |it| it.replayed().skipped)
}

/// A page of what was set aside.
pub(super) fn page(letters: &[DeadLetter], filter: DeadLetterFilter) -> Vec<DeadLetterView> {
    let limit = if filter.limit == 0 { LISTED } else { filter.limit.min(LISTED_MAX) };
    let from = usize::try_from(filter.from).unwrap_or(usize::MAX);
    let numbered = (0..).zip(letters).skip(from).take(limit as usize);
    numbered.map(|(number, letter)| letter.view(number)).collect()
}

/// The audit's row of skipped items: the chunks that they are of, and how many they are.
pub(super) fn skipped_of(letters: &[DeadLetter]) -> Tally {
    let skipped = || letters.iter().filter(|it| it.kind == DeadLetterKind::Skipped);
    let chunks: BTreeSet<&ReceiptId> = skipped().map(|it| &it.receipt).collect();
    Tally { receipts: chunks.len() as u64, entries: skipped().count() as u64, bytes: 0 }
}

/// What an accepted result has skipped: shared by the live path and recovery.
pub(super) fn note_skips(run: &mut Run, node: &str, skips: &[SkippedItem]) {
    run.skipped = run.skipped.saturating_add(skips.len() as u64);
    run.dead_letters.extend(skips.iter().map(|it| DeadLetter::skipped(it, node)));
}

/// Why a step fails that has set aside more than it may: how much, how much it might, the first of it, and what to do.
pub(super) fn too_many(left_out: LeftOut, max_skips: u64, letters: &[DeadLetter], earlier: Option<&Earlier>) -> String {
    let counted = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        more => Some(format!("{more} {many}")),
    };
    let items = counted(left_out.items, "item was skipped", "items were skipped");
    let chunks = counted(left_out.chunks, "chunk was set aside", "chunks were set aside");
    let counts: Vec<String> = items.into_iter().chain(chunks).collect();
    let before = earlier.map(Earlier::replayed).filter(|it| it.skipped > 0);
    let first = letters.iter().find(|it| it.kind != DeadLetterKind::Missing);
    let first = match (first, before.and_then(|it| it.steps.first())) {
        (Some(DeadLetter { kind: DeadLetterKind::SetAside, error, .. }), _) => error.clone(),
        (Some(DeadLetter { item, receipt, error, .. }), _) => format!("{}: {error}", place(*item, *receipt)),
        (None, Some(step)) => format!("`dead-letters {step}` lists them"),
        (None, None) => "see its failures".to_owned(),
    };
    let mut reason = format!("{}, {max_skips} may be (retry.max_skips): {first}", counts.join(" and "));
    if let Some(before) = before.filter(|_| !letters.is_empty()) {
        reason.push_str(&format!(" ({} of the items were skipped before this replay)", before.skipped));
    }
    if left_out.items > 0 {
        reason.push_str(
            "; mend the input or the program and submit the step anew, or raise retry.max_skips and replay it",
        );
    } else if !first.contains("replay") {
        // Some errors name the remedy themselves.
        reason.push_str("; mend the cause, then replay the step");
    }
    reason
}

fn place(item: Option<u64>, receipt: ReceiptId) -> String {
    item.map_or_else(|| format!("chunk {receipt}"), |item| format!("item {item} of {receipt}"))
}

impl MasterCore {
    /// A step that has skipped more than it may fails now; a replay with what was skipped before it. Chunks that were set aside without any skip are weighed at its end:
    /// all others have had their turn then, and a replay runs those alone.
    pub(super) fn watch_skips(&mut self) {
        let Some(run) = self.run.as_ref() else { return };
        let left_out = LeftOut::of(run.skipped, run.set_aside.saturating_sub(run.gap_chunks()), earlier_of(run));
        let max_skips = self.settings.max_skips;
        if left_out.items > 0 && left_out.total() > max_skips {
            let (step, reason) = (run.step, too_many(left_out, max_skips, &run.dead_letters, earlier_of(run)));
            self.fail(step, Cause::new(StepErrorKind::Skips, reason));
        }
    }

    /// User code says that the step is to end, or one task alone has skipped more than the whole step may. Its chunks are
    /// given back before.
    pub(super) fn on_fatal(
        &mut self,
        node: NodeId,
        attempt: Attempt,
        open: &[ReceiptId],
        failed: Failed,
        out: &mut Vec<Effect>,
    ) {
        // Under an earlier life of this master another number may have been allowed.
        if failed.kind == FailureKind::Skips && attempt.epoch != self.epoch {
            return;
        }
        let worker = self.nodes.name(node);
        let max_skips = self.settings.max_skips;
        let Some(run) = self.run.as_mut() else { return };
        let culprit = failed.receipt.filter(|it| open.contains(it)).or_else(|| open.first().copied());
        // An attempt that was lost, or was not the first, decides nothing.
        let Some(culprit) = culprit else { return };
        run.mark(&culprit, Station::Failed, Some(node), self.wall);
        let step = run.step;
        let reason = if failed.kind == FailureKind::Skips {
            let first = DeadLetter {
                kind: DeadLetterKind::Skipped,
                receipt: culprit,
                item: failed.item,
                node: worker.clone(),
                error: failed.message.clone(),
                kept: None,
            };
            let skipped = run.skipped.saturating_add(max_skips).saturating_add(1);
            let chunks = run.set_aside.saturating_sub(run.gap_chunks());
            let left_out = LeftOut::of(skipped, chunks, earlier_of(run));
            let failed = run.dead_letters.iter().find(|it| it.kind != DeadLetterKind::Missing);
            let first = failed.cloned().unwrap_or(first);
            too_many(left_out, max_skips, &[first], earlier_of(run))
        } else {
            format!("the program ended the step at {}: {}", place(failed.item, culprit), failed.message)
        };
        let kind = kind_of(failed.kind);
        self.note_failure(Some(culprit), &worker, 1, failed, false, out);
        self.fail(step, Cause::new(kind, reason));
    }
}
