//! What is known of a step's chunks once it has ended: the ledger, the parts of its source and its failures.

use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::SourcePart;
use elastic_flow_receipt::{Audit, InputPart, Ledger, StepId};
use serde::{Deserialize, Serialize};

use super::run::Run;
use crate::api::{FailureView, Progress};

/// What is known of a step's chunks. Kept in memory for the last steps, in the store for all whose result is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    step: StepId,
    /// How far it came.
    progress: Progress,
    ledger: Ledger,
    parts: Vec<SourcePart>,
    /// Whether the step replays another: then its chunks cover the source only together with that one's.
    replay: bool,
    failures: Vec<FailureView>,
    /// What is to be said of the source, in sentences.
    notes: Vec<String>,
}

impl Account {
    /// Takes the account out of a step that ends.
    pub(super) fn of(run: &mut Run, now: Mono) -> Self {
        Self {
            step: run.step,
            progress: run.progress(now),
            ledger: std::mem::replace(&mut run.ledger, Ledger::new(run.step)),
            parts: run.parts.clone(),
            replay: run.spec.replay_of.is_some(),
            failures: std::mem::take(&mut run.failures),
            notes: Vec::new(),
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

    /// The failures that were kept, oldest first.
    #[must_use]
    pub fn failures(&self) -> &[FailureView] {
        &self.failures
    }

    /// The audit.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let mut audit = audit(&self.ledger, if self.replay { &[] } else { &self.parts });
        audit.notes.clone_from(&self.notes);
        audit
    }

    /// Adds what is to be said of the source.
    pub(super) fn note(&mut self, notes: Vec<String>) {
        self.notes = notes;
    }

    /// Chunks that were set aside.
    pub(super) fn set_aside(&self) -> u64 {
        self.ledger.count(elastic_flow_receipt::Station::SetAside)
    }

    /// The first error that set a chunk aside.
    pub(super) fn first_error(&self) -> &str {
        self.failures.iter().find(|it| it.set_aside).map_or("see its failures", |it| it.message.as_str())
    }
}

pub(super) fn audit(ledger: &Ledger, parts: &[SourcePart]) -> Audit {
    let parts: Vec<InputPart> =
        parts.iter().map(|it| InputPart { input: it.input, name: it.name.clone(), length: it.length }).collect();
    elastic_flow_receipt::audit(ledger, &parts)
}
