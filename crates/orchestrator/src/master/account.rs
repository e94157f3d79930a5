//! What is known of a step's chunks once it has ended: the ledger, the parts of its source and its failures.

use std::collections::BTreeMap;

use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::SourcePart;
use elastic_flow_receipt::{
    Audit, Earlier, Gap, InputPart, Ledger, NodeId, ReceiptId, Station, StepId, Tally, WorkerReads,
};
use serde::{Deserialize, Serialize};

use super::dead_letters::{DeadLetter, LeftOut, skipped_of, too_many};
use super::run::Run;
use crate::api::{FailureView, FilesView, Progress};

/// What is known of a step's chunks. Kept in memory for the last steps, in the store for all whose result is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    step: StepId,
    /// How far it came.
    progress: Progress,
    ledger: Ledger,
    parts: Vec<SourcePart>,
    /// What the step went on from, where it is a replay: its chunks cover the source together with that.
    earlier: Option<Box<Earlier>>,
    /// The names of the nodes that its receipts passed.
    names: BTreeMap<NodeId, String>,
    failures: Vec<FailureView>,
    /// All that was set aside, items and chunks.
    dead_letters: Vec<DeadLetter>,
    /// What is to be said of the source, in sentences.
    notes: Vec<String>,
    /// Chunks that it did without, by their server.
    gaps: BTreeMap<String, Tally>,
    /// What was read, by worker.
    reads: Vec<WorkerReads>,
    /// Which of its files the workers had.
    files: Vec<FilesView>,
}

impl Account {
    /// Takes the account out of a step that ends.
    pub(super) fn of(run: &mut Run, now: Mono) -> Self {
        Self {
            step: run.step,
            progress: run.progress(now),
            ledger: std::mem::replace(&mut run.ledger, Ledger::new(run.step)),
            parts: run.parts.clone(),
            earlier: run.earlier.clone(),
            names: std::mem::take(&mut run.names),
            failures: std::mem::take(&mut run.failures),
            dead_letters: std::mem::take(&mut run.dead_letters),
            notes: Vec::new(),
            gaps: run.gaps.clone(),
            reads: reads_of(run),
            files: std::mem::take(&mut run.files),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn step(&self) -> StepId {
        self.step
    }

    /// How far it came.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether a chunk is in the step's result.
    #[must_use]
    pub fn has_aggregated(&self, receipt: &ReceiptId) -> bool {
        self.ledger.get(receipt).is_ok_and(|it| it.station() == Some(Station::Aggregated))
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The parts of the source.
    #[must_use]
    pub fn parts(&self) -> &[SourcePart] {
        &self.parts
    }

    /// What a replay of the step goes on from.
    #[must_use]
    pub fn earlier_of_replay(&self) -> Earlier {
        Earlier::after(&self.ledger, self.earlier.as_deref()).with_skipped(self.progress.items_skipped)
    }

    /// The name of a node that its receipts passed; its incarnation where the name is not known.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> String {
        name_of(&self.names, node)
    }

    /// Which of its files the workers had, as they said.
    #[must_use]
    pub fn files(&self) -> &[FilesView] {
        &self.files
    }

    /// The failures that were kept, oldest first.
    #[must_use]
    pub fn failures(&self) -> &[FailureView] {
        &self.failures
    }

    /// The audit.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let mut audit =
            audit(&self.ledger, &self.parts, self.earlier.as_deref(), &self.names, skipped_of(&self.dead_letters));
        audit.notes.clone_from(&self.notes);
        audit.reads.clone_from(&self.reads);
        audit.gaps = gaps_of(&self.parts, &self.gaps);
        audit
    }

    /// Adds what is to be said of the source.
    pub(super) fn note(&mut self, notes: Vec<String>) {
        self.notes = notes;
    }

    /// All that was set aside, in the order of the journal.
    #[must_use]
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// What is not in its result.
    pub(super) fn left_out(&self) -> LeftOut {
        let gaps: u64 = self.gaps.values().map(|it| it.receipts).sum();
        let chunks = self.ledger.count(Station::SetAside).saturating_sub(gaps);
        LeftOut::of(self.progress.items_skipped, chunks, self.earlier.as_deref())
    }

    /// Whether it did without a server, as it was allowed to.
    pub(super) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty() || self.parts.iter().any(|it| it.missing)
    }

    /// Why it failed, having set aside more than it might.
    pub(super) fn too_many(&self, left_out: LeftOut, max_skips: u64) -> String {
        too_many(left_out, max_skips, &self.dead_letters, self.earlier.as_deref())
    }
}

/// The name of a node, or its incarnation where the name is not known.
pub(super) fn name_of(names: &BTreeMap<NodeId, String>, node: NodeId) -> String {
    names.get(&node).cloned().unwrap_or_else(|| node.to_string())
}

/// What a running step has read, by worker.
pub(super) fn reads_of(run: &Run) -> Vec<WorkerReads> {
    let of = |(worker, read): (&String, &super::nodes::ReadBytes)| WorkerReads {
        worker: worker.clone(),
        in_place_bytes: read.in_place,
        shipped_bytes: read.shipped,
    };
    run.reads.iter().map(of).collect()
}

/// What a step does without: servers that never said what they have, and chunks of those that went missing.
pub(super) fn gaps_of(parts: &[SourcePart], chunks: &BTreeMap<String, Tally>) -> Vec<Gap> {
    let unknown = parts.iter().filter(|it| it.missing).map(|it| Gap {
        server: it.server.clone().unwrap_or_default(),
        what: it.name.clone(),
        known: None,
    });
    let known = chunks.iter().map(|(server, tally)| Gap {
        server: server.clone(),
        what: format!("{} chunks", tally.receipts),
        known: Some(*tally),
    });
    unknown.chain(known).collect()
}

/// The audit of a step that runs or has ended.
pub(super) fn audit(
    ledger: &Ledger,
    parts: &[SourcePart],
    earlier: Option<&Earlier>,
    names: &BTreeMap<NodeId, String>,
    skipped: Tally,
) -> Audit {
    let parts: Vec<InputPart> =
        parts.iter().map(|it| InputPart { input: it.input, name: it.name.clone(), length: it.length }).collect();
    let mut audit = elastic_flow_receipt::audit(ledger, &parts, earlier);
    audit.nodes.clone_from(names);
    audit.rows.skipped = skipped;
    audit
}
