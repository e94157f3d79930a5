//! Makes a master's state anew from its journal. The fold uses the functions of the live path.

use elastic_flow_clock::Mono;
use elastic_flow_queue::{QueueRecord, RecordError as QueueRecordError, StepEvent, StepState};
use elastic_flow_receipt::{Station, StepId};
use elastic_flow_wire::message::PayloadKind;

use super::accept::{finish_chunk, note_reads};
use super::assign::enter;
use super::core::{CoreConfig, MasterCore};
use super::dead_letters::note_skips;
use super::effects::{Before, Effect, Ending, Open};
use super::exchange::take_exchanged;
use super::run::{Doing, Run};
use crate::api::FailureView;
use crate::journal::{DoneRecord, Record};

/// For so long workers are waited for that come back to a master, before an exchange gives them their partitions.
const SETTLES_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// A fold over a journal, record by record.
#[derive(Debug)]
pub struct Recovery {
    core: MasterCore,
}

impl Recovery {
    /// Begins with nothing; `epoch` is the one that the master now enters.
    #[must_use]
    pub fn new(config: CoreConfig, epoch: u64) -> Self {
        Self { core: MasterCore::new(config, epoch) }
    }

    /// Takes a record in.
    ///
    /// # Errors
    /// The record does not follow from those before it: the journal was not written by this engine.
    pub fn apply(&mut self, record: &Record) -> Result<(), QueueRecordError> {
        match record {
            Record::Cluster(_) => {}
            Record::Queue(record) => self.apply_queue(record)?,
            Record::Source(source) => {
                self.core.sources.insert(source.step, source.resolved.clone());
            }
            Record::Plan(plan) => {
                if let Some(run) = self.run(plan.step) {
                    run.plan = plan.plan;
                    run.build = Some(plan.build);
                    run.set_parts(plan.parts.clone());
                }
            }
            Record::Conceived(conceived) => {
                if let Some(run) = self.run(conceived.step) {
                    for chunk in &conceived.chunks {
                        enter(run, conceived.at, chunk, chunk.cut.clone());
                    }
                    run.exhausted = conceived.exhausted;
                }
            }
            // Of an exchange, it counts with all others of it.
            Record::Done(done) if done.generation > 0 => {
                if let Some(run) = self.run(done.step) {
                    run.uncommitted.push(DoneRecord { segments: Vec::new(), ..done.clone() });
                }
            }
            Record::Done(done) => {
                if let Some(run) = self.run(done.step) {
                    take_done(run, done);
                }
            }
            Record::Exchanged(exchanged) => {
                if let Some(run) = self.run(exchanged.step) {
                    take_exchanged(run, exchanged).iter().for_each(|done| take_done(run, done));
                }
            }
            Record::SetAside(it) => {
                if let Some(run) = self.run(it.receipt.step) {
                    if let Some(chunk) = run.chunk_mut(it.receipt.sequence) {
                        chunk.failures = it.failures;
                        chunk.kept = true;
                    }
                    if let Some(node) = it.incarnation {
                        run.learn_name(node, &it.node);
                    }
                    finish_chunk(run, it.receipt.sequence, Station::SetAside, it.incarnation, 0);
                    run.ledger.set_error(&it.receipt, &it.message).ok();
                    run.note_set_aside(it.receipt, it.kind, it.item, &it.node, &it.message);
                    run.remember(FailureView {
                        receipt: Some(it.receipt),
                        item: it.item,
                        node: it.node.clone(),
                        message: it.message.clone(),
                        attempts: it.failures,
                        log_tail: Vec::new(),
                        set_aside: true,
                    });
                }
            }
            Record::Closed(closed) => {
                if self.core.run.as_ref().is_some_and(|it| it.step == closed.step) {
                    self.core.run = None;
                }
                self.core.sources.remove(&closed.step);
            }
        }
        Ok(())
    }

    fn run(&mut self, step: StepId) -> Option<&mut Run> {
        self.core.run.as_mut().filter(|it| it.step == step)
    }

    fn apply_queue(&mut self, record: &QueueRecord) -> Result<(), QueueRecordError> {
        self.core.queue.apply(record)?;
        self.core.note_drain(record);
        if let QueueRecord::Transition { id, event: StepEvent::Start, wall, .. } = record
            && let Some(step) = self.core.queue.get(*id)
        {
            self.core.run = Some(Run::new(*id, step.spec.clone(), Mono::ZERO, *wall));
        }
        Ok(())
    }

    /// The state so far.
    #[must_use]
    pub const fn core(&self) -> &MasterCore {
        &self.core
    }

    /// Ends the fold: the master goes on where it was. Effects and times are of its new life.
    #[must_use]
    pub fn finish(mut self, now: Mono, wall: u64, out: &mut Vec<Effect>) -> MasterCore {
        let core = &mut self.core;
        let Some((step, state)) = core.run.as_ref().and_then(|it| Some((it.step, core.queue.get(it.step)?.state)))
        else {
            core.run = None;
            return self.core;
        };
        if state.is_final() {
            // Its end is journalled; only the record that closes it was not.
            core.run = None;
            core.sources.remove(&step);
            return self.core;
        }
        if state == StepState::Interrupted
            && let Ok(decision) = core.queue.resumed(step, wall)
        {
            core.apply_queue(decision.records, out);
        }
        let source = core.sources.get(&step).cloned().unwrap_or_default();
        if let Some(run) = core.run.as_mut() {
            run.started_at = now;
            run.uncommitted.clear();
            run.settles_until = now + SETTLES_WITHIN;
            if state == StepState::CancelPending {
                run.ending = Some(Ending::Cancelled);
            }
            let cut_before = before(run, now);
            let (spec, exhausted) = (run.spec.clone(), run.exhausted);
            let answers = Vec::new();
            out.push(Effect::Open(Box::new(Open { step, spec, source, cut_before, exhausted, answers })));
        }
        core.watch_skips();
        self.core
    }
}

/// Takes in a task that counts.
fn take_done(run: &mut Run, done: &DoneRecord) {
    let node = Some(done.incarnation);
    run.learn_name(done.incarnation, &done.node);
    note_reads(run, &done.node, &done.chunks);
    note_skips(run, &done.node, &done.skips);
    for read in &done.chunks {
        for station in [Station::Distributed, Station::Sent, Station::Received, Station::Processed, Station::Returned] {
            run.mark(&read.receipt, station, node, 0);
        }
        finish_chunk(run, read.receipt.sequence, Station::Aggregated, node, 0);
    }
}

/// Every chunk that was cut, those that are not final made ready to be assigned again.
fn before(run: &mut Run, now: Mono) -> Vec<Before> {
    let mut cut_before = Vec::with_capacity(run.chunks.len());
    for index in 0..run.chunks.len() {
        let Some(chunk) = run.chunks.get(index) else { break };
        let (receipt, sequence) = (chunk.receipt, chunk.receipt.sequence);
        let lost = chunk.cut.payload.kind != PayloadKind::Split;
        let open = chunk.doing != Doing::Final;
        let known = run.ledger.get(&receipt).ok().map(|it| it.to_record());
        cut_before.push(Before {
            receipt,
            cut: chunk.cut.clone(),
            digest: known.as_ref().and_then(|it| it.digest).unwrap_or(0),
            from_source: known.is_none_or(|it| it.parents.is_empty()),
            wanted: lost && open,
        });
        if open {
            run.to(sequence, if lost { Doing::Shipping } else { Doing::Pending }, now);
        }
    }
    cut_before
}
