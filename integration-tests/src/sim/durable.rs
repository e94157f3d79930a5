//! What the simulated disk has durably, made from its synced records alone: the oracle's own model, not the deciding code's.

use std::collections::{BTreeMap, BTreeSet};

use elastic_flow_orchestrator::journal::{DoneRecord, Record};
use elastic_flow_queue::{QueueRecord, StepEvent, StepState};
use elastic_flow_receipt::{Attempt, ReceiptId, StepId};

/// What no crash takes back.
#[derive(Debug, Default)]
pub(super) struct Durable {
    /// Chunks whose result counts, with the attempt that won.
    done: BTreeMap<ReceiptId, Attempt>,
    /// Results of exchanges that do not count yet.
    exchanged: Vec<DoneRecord>,
    /// Chunks that were set aside.
    set_aside: BTreeSet<ReceiptId>,
    /// The state of each step.
    states: BTreeMap<StepId, StepState>,
}

impl Durable {
    /// Takes in a record that is durable now.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Done(done) if done.generation > 0 => self.exchanged.push(done.clone()),
            Record::Done(done) => self.done(done)?,
            Record::Exchanged(exchanged) => {
                for done in std::mem::take(&mut self.exchanged) {
                    let counts = (done.step, done.attempt.epoch, done.generation);
                    if counts == (exchanged.step, exchanged.epoch, exchanged.generation) {
                        self.done(&done)?;
                    }
                }
            }
            Record::SetAside(it) => {
                if !self.set_aside.insert(it.receipt) {
                    return Err(format!("{} is set aside twice in the journal", it.receipt));
                }
                self.one_end(&it.receipt)?;
            }
            Record::Queue(QueueRecord::Submitted { id, .. }) => {
                self.states.insert(*id, StepState::Pending);
            }
            Record::Queue(QueueRecord::Transition { id, event, .. }) => self.step_moved(*id, *event)?,
            Record::Queue(QueueRecord::Failed { id, .. }) => self.step_moved(*id, StepEvent::Fail)?,
            _ => {}
        }
        Ok(())
    }

    fn done(&mut self, done: &DoneRecord) -> Result<(), String> {
        for read in &done.chunks {
            if self.done.insert(read.receipt, done.attempt).is_some() {
                return Err(format!("{} is done twice in the journal", read.receipt));
            }
            self.one_end(&read.receipt)?;
        }
        Ok(())
    }

    fn step_moved(&mut self, id: StepId, event: StepEvent) -> Result<(), String> {
        let before = self.states.get(&id).copied().ok_or_else(|| format!("step {id} moved before it was submitted"))?;
        let after = before.after(event).map_err(|it| format!("step {id}: {it}"))?;
        self.states.insert(id, after);
        Ok(())
    }

    fn one_end(&self, receipt: &ReceiptId) -> Result<(), String> {
        if self.is_done(receipt) && self.set_aside.contains(receipt) {
            return Err(format!("{receipt} is both done and set aside in the journal"));
        }
        Ok(())
    }

    /// Whether this chunk's result counts.
    pub(super) fn is_done(&self, receipt: &ReceiptId) -> bool {
        self.done.contains_key(receipt)
    }

    /// Whether this chunk has its end, or its step has.
    pub(super) fn settles(&self, receipt: &ReceiptId) -> bool {
        self.is_done(receipt) || self.set_aside.contains(receipt) || self.is_over(receipt.step)
    }

    /// Whether the step has ended.
    pub(super) fn is_over(&self, step: StepId) -> bool {
        self.states.get(&step).is_some_and(|it| it.is_final())
    }

    /// All steps, with their states.
    pub(super) const fn states(&self) -> &BTreeMap<StepId, StepState> {
        &self.states
    }

    /// The step's chunks whose results count.
    pub(super) fn done_of(&self, step: StepId) -> BTreeSet<ReceiptId> {
        self.done.keys().filter(|it| it.step == step).copied().collect()
    }

    /// The step's chunks that were set aside.
    pub(super) fn set_aside_of(&self, step: StepId) -> BTreeSet<ReceiptId> {
        self.set_aside.iter().filter(|it| it.step == step).copied().collect()
    }
}
