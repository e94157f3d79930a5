//! The compute threads: user code runs here and nowhere else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use elastic_flow_clock::{Clock, Mono};
use elastic_flow_dataflow::seam::{Partition, PartitionedStage, Stage, TaskContext, TaskFailure, TaskOutput};
use elastic_flow_dataflow::source::{DataRoots, OpenFailure};
use elastic_flow_receipt::{Attempt, ReceiptId};
use elastic_flow_wire::message::{
    Assignment, FailureKind, Outcome, PartitionAssignment, PartitionId, PartitionSum, Segment, TaskResult,
};
use tokio::sync::mpsc;

use super::core::answer;
use super::exchange::ExchangeId;
use super::partitions::answer_partition;
use crate::config::LogTail;

/// What a compute thread is to do.
enum Job {
    /// A task of the stage that reads the source.
    Task { assignment: Assignment, stage: Option<Arc<dyn Stage>>, context: TaskContext },
    /// To take parcels into a partition.
    Merge { exchange: ExchangeId, partition: PartitionId, segments: Vec<Segment>, stage: Arc<dyn PartitionedStage> },
    /// To run its stage over a partition.
    Finish {
        exchange: ExchangeId,
        assignment: PartitionAssignment,
        stage: Arc<dyn PartitionedStage>,
        context: TaskContext,
    },
}

/// What a compute thread has done.
#[derive(Debug)]
pub(super) enum Done {
    /// A task, or a partition.
    Task(TaskResult),
    /// It has taken parcels into a partition.
    Merged { exchange: ExchangeId, partition: PartitionId, merged: PartitionSum, failed: Option<String> },
}

/// The partitions of the exchange that is at work, as far as they are merged.
#[derive(Default)]
struct Partitions {
    exchange: Option<ExchangeId>,
    merged: BTreeMap<PartitionId, Merged>,
}

/// A partition, with what is merged into it.
type Merged = (PartitionSum, Box<dyn Partition>);

impl Partitions {
    /// Takes a partition out, for the one thread that works on it.
    fn take(&mut self, exchange: ExchangeId, partition: PartitionId) -> Option<Merged> {
        if self.exchange < Some(exchange) {
            self.merged.clear();
            self.exchange = Some(exchange);
        }
        // One that comes late takes nothing of its successor's.
        if self.exchange == Some(exchange) { self.merged.remove(&partition) } else { None }
    }

    /// Puts it back, if it is still wanted.
    fn put(&mut self, exchange: ExchangeId, partition: PartitionId, merged: Merged) {
        if self.exchange == Some(exchange) {
            self.merged.insert(partition, merged);
        }
    }
}

/// What is known of an attempt at work.
#[derive(Debug)]
struct AtWork {
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
    seen: u64,
    seen_at: Mono,
}

/// The attempts at work, shared with the heartbeat.
pub(super) type Board = Arc<Mutex<Workplace>>;

/// Which attempts are at work, and how they get on.
#[derive(Debug, Default)]
pub(super) struct Workplace {
    at_work: BTreeMap<Attempt, AtWork>,
}

impl Workplace {
    /// Nanoseconds since each attempt was last seen to get on.
    pub(super) fn stalls(&mut self, now: Mono) -> Vec<(Attempt, u64)> {
        let stalls = self.at_work.iter_mut().map(|(attempt, it)| {
            let progress = it.progress.load(Ordering::Relaxed);
            if progress != it.seen {
                it.seen = progress;
                it.seen_at = now;
            }
            (*attempt, now.since(it.seen_at).as_nanos().try_into().unwrap_or(u64::MAX))
        });
        stalls.collect()
    }

    pub(super) fn stop(&self, attempt: Attempt) {
        if let Some(it) = self.at_work.get(&attempt) {
            it.stop.store(true, Ordering::Relaxed);
        }
    }
}

pub(super) fn locked(board: &Board) -> std::sync::MutexGuard<'_, Workplace> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Partitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let merged: Vec<&PartitionId> = self.merged.keys().collect();
        f.debug_struct("Partitions").field("exchange", &self.exchange).field("merged", &merged).finish()
    }
}

/// The compute threads of a worker.
#[derive(Debug)]
pub(super) struct Compute {
    jobs: SyncSender<Job>,
    threads: Vec<JoinHandle<()>>,
    board: Board,
    partitions: Arc<Mutex<Partitions>>,
}

/// What the threads share.
struct Shop {
    queue: Mutex<Receiver<Job>>,
    board: Board,
    roots: DataRoots,
    log_tail: Option<LogTail>,
    clock: Arc<dyn Clock>,
    partitions: Arc<Mutex<Partitions>>,
    finished: mpsc::Sender<Done>,
}

impl Compute {
    pub(super) fn start(
        slots: u32,
        roots: DataRoots,
        log_tail: Option<LogTail>,
        clock: &Arc<dyn Clock>,
        finished: &mpsc::Sender<Done>,
    ) -> std::io::Result<Self> {
        // The deciding code starts no more than there are threads, so that a job never waits.
        let (jobs, queue) = sync_channel::<Job>(slots as usize);
        let board = Board::default();
        let partitions = Arc::<Mutex<Partitions>>::default();
        let shop = Arc::new(Shop {
            queue: Mutex::new(queue),
            board: Arc::clone(&board),
            roots,
            log_tail,
            clock: Arc::clone(clock),
            partitions: Arc::clone(&partitions),
            finished: finished.clone(),
        });
        let threads = (0..slots).map(|slot| {
            let shop = Arc::clone(&shop);
            std::thread::Builder::new().name(format!("slot {slot}")).spawn(move || shop.work())
        });
        let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { jobs, threads, board, partitions })
    }

    pub(super) fn board(&self) -> Board {
        Arc::clone(&self.board)
    }

    /// Hands a task to the next free thread; its output is split into so many partitions, if any.
    pub(super) fn run(
        &self,
        assignment: Assignment,
        stage: Option<Arc<dyn Stage>>,
        (max_skips, partitions): (u64, u32),
        now: Mono,
    ) {
        let context = TaskContext { max_skips, partitions, ..self.begin(assignment.attempt, now) };
        self.push(Job::Task { assignment, stage, context });
    }

    /// Hands parcels to the next free thread, which takes them into their partition.
    pub(super) fn merge(
        &self,
        exchange: ExchangeId,
        partition: PartitionId,
        segments: Vec<Segment>,
        stage: Arc<dyn PartitionedStage>,
    ) {
        self.push(Job::Merge { exchange, partition, segments, stage });
    }

    /// Hands a partition that is complete to the next free thread; its output is split into so many partitions, if any.
    pub(super) fn finish(
        &self,
        (exchange, partitions): (ExchangeId, u32),
        assignment: PartitionAssignment,
        stage: Arc<dyn PartitionedStage>,
        now: Mono,
    ) {
        let context = TaskContext { partitions, ..self.begin(assignment.attempt, now) };
        self.push(Job::Finish { exchange, assignment, stage, context });
    }

    /// Lets go of what was merged of an exchange.
    pub(super) fn drop_partitions(&self, exchange: ExchangeId) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if partitions.exchange <= Some(exchange) {
            *partitions = Partitions::default();
        }
    }

    /// Notes an attempt as at work.
    fn begin(&self, attempt: Attempt, now: Mono) -> TaskContext {
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let at_work = AtWork { stop: Arc::clone(&stop), progress: Arc::clone(&progress), seen: 0, seen_at: now };
        locked(&self.board).at_work.insert(attempt, at_work);
        TaskContext { stop, progress, attempt, max_skips: 0, partitions: 0 }
    }

    fn push(&self, job: Job) {
        // Fails only if every thread is gone, and then nothing runs any more.
        if self.jobs.try_send(job).is_err() {
            tracing::error!("no compute thread takes the task: a bug");
        }
    }

    /// Ends the threads; one that is still in user code is left behind.
    pub(super) fn detach(self) {
        for at_work in locked(&self.board).at_work.values() {
            at_work.stop.store(true, Ordering::Relaxed);
        }
        drop(self.jobs);
        for thread in self.threads {
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("a compute thread panicked outside of user code");
            }
        }
    }
}

impl Shop {
    fn work(&self) {
        loop {
            let job = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let done = match job {
                Err(_) => return,
                Ok(Job::Merge { exchange, partition, segments, stage }) => {
                    self.merge(exchange, partition, &segments, stage.as_ref())
                }
                Ok(Job::Task { mut assignment, stage, context }) => {
                    let outcome = self.timed(context.attempt, || self.run(&mut assignment, stage.as_deref(), &context));
                    Done::Task(answer(&assignment, outcome))
                }
                Ok(Job::Finish { exchange, assignment, stage, context }) => {
                    let receipt = assignment.receipt;
                    let (merged, partition) = self.take(exchange, PartitionId::of(&receipt), stage.as_ref());
                    let outcome = self.timed(context.attempt, || match merged == assignment.sum {
                        true => partition.finish(receipt, &context),
                        false => Err(not_merged(receipt, &merged, &assignment.sum)),
                    });
                    Done::Task(answer_partition(&assignment, outcome))
                }
            };
            if self.finished.blocking_send(done).is_err() {
                return;
            }
        }
    }

    /// Runs an attempt, which is at work no more then.
    fn timed(&self, attempt: Attempt, code: impl FnOnce() -> Result<TaskOutput, TaskFailure>) -> Outcome {
        let begun = self.clock.now();
        let outcome = match code() {
            Ok(output) => {
                let nanos = self.clock.now().since(begun).as_nanos().try_into().unwrap_or(u64::MAX);
                Outcome::Done { chunks: output.chunks, segments: output.segments, nanos, skips: output.skips }
            }
            Err(failure) => failed(failure, self.log_tail.as_ref()),
        };
        let kind = if matches!(outcome, Outcome::Done { .. }) { "done" } else { "failed" };
        metrics::histogram!("elastic_flow_task_seconds", "outcome" => kind)
            .record(self.clock.now().since(begun).as_secs_f64());
        locked(&self.board).at_work.remove(&attempt);
        outcome
    }

    fn take(&self, exchange: ExchangeId, partition: PartitionId, stage: &dyn PartitionedStage) -> Merged {
        let merged = self.partitions.lock().unwrap_or_else(PoisonError::into_inner).take(exchange, partition);
        merged.unwrap_or_else(|| (PartitionSum::default(), stage.begin()))
    }

    fn merge(
        &self,
        exchange: ExchangeId,
        partition: PartitionId,
        segments: &[Segment],
        stage: &dyn PartitionedStage,
    ) -> Done {
        let (mut all, mut merging) = self.take(exchange, partition, stage);
        let (mut merged, mut failed) = (PartitionSum::default(), None);
        for segment in segments {
            if let Err(failure) = merging.merge(segment) {
                let message = match failure {
                    TaskFailure::Failed { message, .. } | TaskFailure::NotHere { message, .. } => message,
                    TaskFailure::Stopped => "it was stopped".to_owned(),
                };
                failed = Some(format!("{partition} cannot be merged: {message}"));
                break;
            }
            merged.add(&PartitionSum::of(segment));
        }
        all.add(&merged);
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).put(exchange, partition, (all, merging));
        Done::Merged { exchange, partition, merged, failed }
    }

    fn run(
        &self,
        assignment: &mut Assignment,
        stage: Option<&dyn Stage>,
        context: &TaskContext,
    ) -> Result<TaskOutput, TaskFailure> {
        let Some(stage) = stage else { return Err(no_such_stage(assignment)) };
        // A path that came from the network is read only where this node lets it be read.
        for chunk in &mut assignment.chunks {
            chunk.payload = self.roots.confine(&chunk.payload).map_err(|failure| match failure {
                OpenFailure::NotHere { message } => TaskFailure::NotHere { receipts: vec![chunk.receipt], message },
                OpenFailure::Failed { kind, message } => {
                    TaskFailure::Failed { kind, receipt: Some(chunk.receipt), item: None, message }
                }
            })?;
        }
        stage.run(&assignment.chunks, context)
    }
}

/// What a thread has of a partition is not what the deciding code counts: it is not worked on.
fn not_merged(receipt: ReceiptId, merged: &PartitionSum, wanted: &PartitionSum) -> TaskFailure {
    let message = format!("{} has {merged:?} merged, of {wanted:?}", PartitionId::of(&receipt));
    TaskFailure::NotHere { receipts: vec![receipt], message }
}

fn no_such_stage(assignment: &Assignment) -> TaskFailure {
    let message = format!("the plan has no stage {}", assignment.stage.0);
    TaskFailure::Failed { kind: FailureKind::Program, receipt: None, item: None, message }
}

fn failed(failure: TaskFailure, log_tail: Option<&LogTail>) -> Outcome {
    match failure {
        TaskFailure::Failed { kind, receipt, item, message } => {
            Outcome::Failed { kind, receipt, item, message, log_tail: log_tail.map(|it| it()).unwrap_or_default() }
        }
        TaskFailure::NotHere { receipts, message } => Outcome::NotHere { receipts, message },
        TaskFailure::Stopped => Outcome::HandedBack,
    }
}
