//! What must hold in every run, checked as it happens and at its end.

use std::collections::{BTreeMap, BTreeSet};

use elastic_flow_orchestrator::journal::Record;
use elastic_flow_queue::{QueueRecord, StepState};
use elastic_flow_receipt::{Attempt, Audit, ReceiptId, StepId};
use elastic_flow_wire::message::{Assignment, Message};

use super::plan::StepPlan;

/// What a run showed to be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// Virtual milliseconds since the start of the run.
    pub at_ms: u64,
    /// What was violated.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} at {} ms: {}", self.seed, self.at_ms, self.what)
    }
}

/// What a run did: numbers that show that the faults were there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that were handled.
    pub events: u64,
    /// A number over all events: equal runs have equal ones.
    pub trace: u64,
    /// Messages lost, doubled, and delayed on purpose.
    pub dropped: u64,
    /// Messages delivered twice.
    pub doubled: u64,
    /// Messages delivered late and out of order.
    pub delayed: u64,
    /// Crashes of workers.
    pub worker_crashes: u64,
    /// Crashes of the master.
    pub master_crashes: u64,
    /// Journal records that a crash of the master tore off.
    pub torn_records: u64,
    /// Workers that stood still for a while.
    pub freezes: u64,
    /// Links that broke without a crash.
    pub cuts: u64,
    /// Chunks that were aggregated.
    pub aggregated: u64,
    /// Steps that completed.
    pub completed: u64,
    /// Steps that failed, for the reasons that they may.
    pub failed: u64,
    /// Steps that were cancelled.
    pub cancelled: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.trace = self.trace.rotate_left(5) ^ other.trace;
        self.dropped += other.dropped;
        self.doubled += other.doubled;
        self.delayed += other.delayed;
        self.worker_crashes += other.worker_crashes;
        self.master_crashes += other.master_crashes;
        self.torn_records += other.torn_records;
        self.freezes += other.freezes;
        self.cuts += other.cuts;
        self.aggregated += other.aggregated;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
    }
}

/// The observer of a run.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// What every attempt was given, in all lives of the master.
    attempts: BTreeMap<Attempt, Vec<ReceiptId>>,
    /// What every receipt stands for.
    receipts: BTreeMap<ReceiptId, Vec<u8>>,
    /// Chunks whose result is durably in the journal.
    done: BTreeSet<ReceiptId>,
    /// Attempts whose result is on its way into the journal.
    committing: BTreeSet<Attempt>,
    /// Steps whose submission was acknowledged.
    acknowledged: BTreeSet<StepId>,
    /// The state of each step, as the durable journal has it.
    states: BTreeMap<StepId, StepState>,
}

impl Oracle {
    /// A message that the master sends.
    pub(super) fn sent(&mut self, message: &Message) -> Result<(), String> {
        match message {
            Message::Assign(assignment) => self.assigned(assignment),
            Message::Ack(attempt) if self.committing.contains(attempt) => {
                Err(format!("the result of {attempt:?} was acknowledged before its record was in the journal"))
            }
            _ => Ok(()),
        }
    }

    fn assigned(&mut self, assignment: &Assignment) -> Result<(), String> {
        let receipts: Vec<ReceiptId> = assignment.chunks.iter().map(|it| it.receipt).collect();
        if let Some(done) = receipts.iter().find(|it| self.done.contains(it)) {
            return Err(format!("{done} was assigned again although it is done"));
        }
        for chunk in &assignment.chunks {
            let body = self.receipts.entry(chunk.receipt).or_insert_with(|| chunk.payload.body.to_vec());
            if body[..] != chunk.payload.body[..] {
                return Err(format!("two chunks share the receipt {}", chunk.receipt));
            }
        }
        if self.attempts.insert(assignment.attempt, receipts).is_some() {
            return Err(format!("{:?} was given out twice", assignment.attempt));
        }
        Ok(())
    }

    /// A record that the master wants journalled.
    pub(super) fn journalling(&mut self, record: &Record) {
        if let Record::Done(done) = record {
            self.committing.insert(done.attempt);
        }
    }

    /// A record that is durable now.
    pub(super) fn durable(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Done(done) => {
                self.committing.remove(&done.attempt);
                for read in &done.chunks {
                    if !self.done.insert(read.receipt) {
                        return Err(format!("{} is done twice in the journal", read.receipt));
                    }
                }
            }
            Record::Queue(QueueRecord::Submitted { id, .. }) => {
                self.states.insert(*id, StepState::Pending);
            }
            Record::Queue(QueueRecord::Transition { id, event, .. }) => {
                let before =
                    self.states.get(id).copied().ok_or_else(|| format!("step {id} moved before it was submitted"))?;
                let after = before.after(*event).map_err(|it| format!("step {id}: {it}"))?;
                self.states.insert(*id, after);
            }
            _ => {}
        }
        Ok(())
    }

    /// The master is gone: what it had not journalled never was.
    pub(super) fn master_crashed(&mut self) {
        self.committing.clear();
    }

    pub(super) fn acknowledge(&mut self, step: StepId) -> Result<(), String> {
        if !self.states.contains_key(&step) {
            return Err(format!("the submission of step {step} was acknowledged and is not durable"));
        }
        self.acknowledged.insert(step);
        Ok(())
    }

    /// What must hold of a step that has ended: `counts` says how often each chunk of its source is in the aggregate.
    pub(super) fn ended(
        plan: &StepPlan,
        state: StepState,
        reason: &str,
        counts: &BTreeMap<u64, u32>,
        audit: Option<&Audit>,
    ) -> Result<(), String> {
        if let Some((chunk, times)) = counts.iter().find(|(_, times)| **times != 1) {
            return Err(format!("chunk {chunk} is in the aggregate {times} times"));
        }
        if let Some(audit) = audit
            && (!audit.balance.balanced() || audit.rows.aggregated.receipts != counts.len() as u64)
        {
            return Err(format!("the audit disagrees with {} aggregated chunks: {}", counts.len(), audit.line()));
        }
        let missing: Vec<u64> = (0..plan.chunks).filter(|it| !counts.contains_key(it)).collect();
        let excused = |it: &str| {
            ["no worker for", "suspected of killing", "simulated failure"].iter().any(|known| it.contains(known))
        };
        match state {
            StepState::Completed if missing.is_empty() => Ok(()),
            StepState::Completed => Err(format!("a completed step lacks the chunks {missing:?}")),
            StepState::Failed if missing.is_empty() => Err(format!("a step failed with nothing missing: {reason}")),
            StepState::Failed if excused(reason) => Ok(()),
            StepState::Cancelled if plan.cancel_at_ms.is_some() => Ok(()),
            other => Err(format!("a step ended {other}: {reason}; missing {missing:?}")),
        }
    }
}
