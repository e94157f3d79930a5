//! The thread that merges results as they arrive, and makes and keeps a step's output at its end.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use elastic_flow_dataflow::seam::{Aggregator, Cover, Cut, StepOutput};
use elastic_flow_queue::StepErrorKind;
use elastic_flow_receipt::{ReceiptId, StepId};
use elastic_flow_store::{Durability, Store, StoreError};
use elastic_flow_wire::message::{PayloadKind, Segment};
use elastic_flow_wire::with_causes;
use tokio::sync::{mpsc, oneshot};

use super::account::Account;
use super::effects::{Cause, Ending, Event};
use super::source::{ACCOUNT, REST, RESULT, StepSource};

/// Jobs that wait.
const JOBS: usize = 4_096;

/// The aggregate of a step.
pub(super) type OpenAggregate = (StepId, Box<dyn Aggregator>);

/// The aggregate so far.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) bytes: Bytes,
    /// Receipts in it.
    pub(super) receipts: u64,
    /// Receipts that had been conceived then.
    pub(super) receipts_conceived: u64,
}

/// What the thread is to do.
pub(super) enum Job {
    /// A step begins.
    Begin(StepId, Box<dyn Aggregator>),
    /// Take a task's result in.
    Merge(StepId, Vec<Segment>),
    /// The aggregate so far, encoded.
    Save(StepId, (u64, u64), oneshot::Sender<Result<Saved, String>>),
    /// The step ends.
    Finish(Box<Finish>),
}

/// How a step ends, and what of it is to be kept.
pub(super) struct Finish {
    pub(super) step: StepId,
    pub(super) ending: Ending,
    pub(super) left: Vec<(ReceiptId, Cut)>,
    pub(super) account: Arc<Account>,
    /// The step's source.
    pub(super) source: Bytes,
    /// What was cut of it, where that was not all.
    pub(super) rest: Option<Vec<Vec<Cover>>>,
}

/// What the thread answers.
pub(super) enum Answer {
    Event(Event),
    Output(StepId, Arc<Box<dyn StepOutput>>),
}

/// The thread and its queue.
pub(super) struct AggregateThread {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
    /// Bytes of segments that wait.
    waiting: Arc<AtomicU64>,
}

impl std::fmt::Debug for AggregateThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AggregateThread").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl AggregateThread {
    pub(super) fn start(
        store: Arc<dyn Store>,
        durability: Durability,
        answers: mpsc::Sender<Answer>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS);
        let waiting = Arc::new(AtomicU64::new(0));
        let mut worker = Merger { store, durability, answers, open: None, broken: None, waiting: Arc::clone(&waiting) };
        let thread = std::thread::Builder::new().name("aggregate".to_owned()).spawn(move || worker.run(&queue))?;
        Ok(Self { jobs, thread, waiting })
    }

    /// Bytes of results that are accepted and not merged yet.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn try_push(&self, job: Job) -> Option<Job> {
        if let Job::Merge(_, segments) = &job {
            self.waiting.fetch_add(bytes_of(segments), Ordering::Relaxed);
        }
        self.jobs.try_send(job).err().map(|error| {
            let (std::sync::mpsc::TrySendError::Full(job) | std::sync::mpsc::TrySendError::Disconnected(job)) = error;
            if let Job::Merge(_, segments) = &job {
                self.waiting.fetch_sub(bytes_of(segments), Ordering::Relaxed);
            }
            job
        })
    }

    /// Waits until everything is merged and kept. Blocks.
    pub(super) fn join(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the aggregate's thread panicked");
        }
    }
}

fn bytes_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|it| it.body.len() as u64).sum()
}

struct Merger {
    store: Arc<dyn Store>,
    durability: Durability,
    answers: mpsc::Sender<Answer>,
    open: Option<OpenAggregate>,
    /// Why the aggregate of the step is not open any more.
    broken: Option<Cause>,
    waiting: Arc<AtomicU64>,
}

impl Merger {
    fn run(&mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            let open = match job {
                Job::Begin(step, aggregator) => {
                    self.open = Some((step, aggregator));
                    self.broken = None;
                    true
                }
                Job::Merge(step, segments) => self.merge(step, &segments),
                Job::Save(step, (receipts, receipts_conceived), reply) => {
                    let bytes = match &self.open {
                        Some((open, aggregator)) if *open == step => aggregator.save().map_err(|it| with_causes(&it)),
                        _ => Err("it has no aggregate at the moment".to_owned()),
                    };
                    // Whoever asked may have stopped waiting.
                    reply.send(bytes.map(|bytes| Saved { bytes, receipts, receipts_conceived })).ok();
                    true
                }
                Job::Finish(finish) => self.finish(*finish),
            };
            if !open {
                return;
            }
        }
    }

    fn merge(&mut self, step: StepId, segments: &[Segment]) -> bool {
        let merged = match &mut self.open {
            Some((open, aggregator)) if *open == step => catch_unwind(AssertUnwindSafe(|| {
                segments.iter().try_for_each(|it| aggregator.merge(it)).map_err(|it| aggregate(with_causes(&it)))
            }))
            .unwrap_or_else(|_| Err(aggregate("the aggregator panicked"))),
            _ => Err(Cause::new(StepErrorKind::Bug, "its aggregate is not open: a bug")),
        };
        self.waiting.fetch_sub(bytes_of(segments), Ordering::Relaxed);
        match merged {
            Ok(()) => true,
            // What is in it from here on nobody knows: it is neither kept nor shown.
            Err(cause) => {
                self.open = None;
                self.broken.get_or_insert_with(|| cause.clone());
                self.answer(Answer::Event(Event::MergeFailed(step, cause)))
            }
        }
    }

    fn answer(&self, answer: Answer) -> bool {
        self.answers.blocking_send(answer).is_ok()
    }

    fn finish(&mut self, finish: Finish) -> bool {
        let step = finish.step;
        let aggregator = self.open.take().filter(|(open, _)| *open == step).map(|(_, it)| it);
        let finished = catch_unwind(AssertUnwindSafe(|| self.keep_and_finish(aggregator, finish)))
            .unwrap_or_else(|_| Err(aggregate("the aggregator panicked at its end")));
        let (output, result) = match finished {
            // The step may have ended while the last results were merged: it must not count as done without them.
            Ok((output, notes)) => (output, self.broken.take().map_or(Ok(notes), Err)),
            Err(cause) => (None, Err(cause)),
        };
        if let Some(output) = output
            && !self.answer(Answer::Output(step, Arc::new(output)))
        {
            return false;
        }
        self.answer(Answer::Event(Event::Finished(step, result)))
    }

    /// Everything that a later question or a replay needs is in the store before the step's end is decided.
    fn keep_and_finish(&self, aggregator: Option<Box<dyn Aggregator>>, finish: Finish) -> Result<Made, Cause> {
        let step = finish.step;
        let notes = notes_on(&finish.source);
        let partial = !finish.left.is_empty() || finish.rest.is_some() || matches!(finish.ending, Ending::Failed(_));
        if let Some(aggregator) = &aggregator
            && (self.store.is_durable() || partial)
        {
            let saved = aggregator.save().map_err(|it| aggregate(with_causes(&it)))?;
            self.store.put(step, RESULT, &saved, self.durability).map_err(kept)?;
        }
        if partial {
            self.keep_left(step, &finish.left)?;
        }
        if let Some(rest) = &finish.rest {
            let rest = elastic_flow_wire::encode_to_vec(&(&finish.source, rest))
                .map_err(|it| not_encoded("its source", &it))?;
            self.store.put(step, REST, &rest, self.durability).map_err(kept)?;
        }
        // A replay is audited together with the account of the step that it replays.
        if self.store.is_durable() || partial {
            let mut account = Account::clone(&finish.account);
            account.note(notes.clone());
            let account = elastic_flow_wire::encode_to_vec(&account).map_err(|it| not_encoded("its account", &it))?;
            self.store.put(step, ACCOUNT, &account, self.durability).map_err(kept)?;
        }
        let output = aggregator
            .map(|it| it.finish().map_err(|it| aggregate(format!("its output cannot be made: {}", with_causes(&it)))))
            .transpose()?;
        Ok((output, notes))
    }

    /// The payloads of the chunks that a replay is to do, and of no others.
    fn keep_left(&self, step: StepId, left: &[(ReceiptId, Cut)]) -> Result<(), Cause> {
        let receipts: BTreeSet<ReceiptId> = left.iter().map(|(receipt, _)| *receipt).collect();
        for payload in self.store.list(step).map_err(kept)? {
            // Kept when an attempt on it failed, and done since.
            if payload.name.parse().is_ok_and(|receipt: ReceiptId| !receipts.contains(&receipt)) {
                self.store.delete(step, &payload.name).map_err(kept)?;
            }
        }
        for (receipt, cut) in left {
            // A shipped payload without a body went to the store when its attempt failed.
            if cut.payload.kind == PayloadKind::Split || !cut.payload.body.is_empty() {
                let bytes =
                    elastic_flow_wire::encode_to_vec(cut).map_err(|it| not_encoded(&receipt.to_string(), &it))?;
                self.store.put(step, &receipt.to_string(), &bytes, self.durability).map_err(kept)?;
            }
        }
        Ok(())
    }
}

fn kept(error: StoreError) -> Cause {
    Cause::new(StepErrorKind::Store, format!("what it leaves cannot be kept: {}", with_causes(&error)))
}

fn aggregate(message: impl Into<String>) -> Cause {
    Cause::new(StepErrorKind::Aggregate, message)
}

fn not_encoded(what: &str, error: &elastic_flow_wire::CodecError) -> Cause {
    Cause::new(StepErrorKind::Store, format!("{what} does not encode: {error}"))
}

/// A step's output, if it has one, and what is to be said of its source.
type Made = (Option<Box<dyn StepOutput>>, Vec<String>);

/// Files that have grown since submission, and those that were written to and may have changed unseen.
fn notes_on(source: &[u8]) -> Vec<String> {
    let Ok(source) = StepSource::decode(source) else { return Vec::new() };
    let grown = source.resolved.grown().into_iter().map(|it| {
        let (path, then, now) = (it.path, it.submitted_bytes, it.found_bytes);
        format!("{path} has grown from {then} to {now} bytes since submission and was read to its size at submission")
    });
    let rewritten = source.resolved.rewritten().into_iter().map(|path| {
        format!(
            "{path} was written to since submission and has its former size: chunks were compared with it by their ends alone"
        )
    });
    grown.chain(rewritten).collect()
}
