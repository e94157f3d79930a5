//! The compute threads: user code runs here and nowhere else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use elastic_flow_clock::{Clock, Mono};
use elastic_flow_dataflow::seam::{Stage, TaskContext, TaskFailure, TaskOutput};
use elastic_flow_dataflow::source::{DataRoots, OpenFailure};
use elastic_flow_receipt::Attempt;
use elastic_flow_wire::message::{Assignment, FailureKind, Outcome, TaskResult};
use tokio::sync::mpsc;

use super::core::answer;
use crate::config::LogTail;

/// A task for a compute thread.
struct Job {
    assignment: Assignment,
    stage: Option<Arc<dyn Stage>>,
    context: TaskContext,
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

/// The compute threads of a worker.
#[derive(Debug)]
pub(super) struct Compute {
    jobs: SyncSender<Job>,
    threads: Vec<JoinHandle<()>>,
    board: Board,
}

/// What the threads share.
struct Shop {
    queue: Mutex<Receiver<Job>>,
    board: Board,
    roots: DataRoots,
    log_tail: Option<LogTail>,
    clock: Arc<dyn Clock>,
    finished: mpsc::Sender<TaskResult>,
}

impl Compute {
    pub(super) fn start(
        slots: u32,
        roots: DataRoots,
        log_tail: Option<LogTail>,
        clock: &Arc<dyn Clock>,
        finished: &mpsc::Sender<TaskResult>,
    ) -> std::io::Result<Self> {
        // The deciding code starts no more than there are threads, so that a job never waits.
        let (jobs, queue) = sync_channel::<Job>(slots as usize);
        let board = Board::default();
        let shop = Arc::new(Shop {
            queue: Mutex::new(queue),
            board: Arc::clone(&board),
            roots,
            log_tail,
            clock: Arc::clone(clock),
            finished: finished.clone(),
        });
        let threads = (0..slots).map(|slot| {
            let shop = Arc::clone(&shop);
            std::thread::Builder::new().name(format!("slot {slot}")).spawn(move || shop.work())
        });
        let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { jobs, threads, board })
    }

    pub(super) fn board(&self) -> Board {
        Arc::clone(&self.board)
    }

    /// Hands a task to the next free thread.
    pub(super) fn run(&self, assignment: Assignment, stage: Option<Arc<dyn Stage>>, max_skips: u64, now: Mono) {
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let at_work = AtWork { stop: Arc::clone(&stop), progress: Arc::clone(&progress), seen: 0, seen_at: now };
        locked(&self.board).at_work.insert(assignment.attempt, at_work);
        let context = TaskContext { stop, progress, attempt: assignment.attempt, max_skips };
        // Fails only if every thread is gone, and then nothing runs any more.
        if self.jobs.try_send(Job { assignment, stage, context }).is_err() {
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
            let Ok(Job { mut assignment, stage, context }) = job else { return };
            let begun = self.clock.now();
            let outcome = match self.run(&mut assignment, stage.as_deref(), &context) {
                Ok(output) => {
                    let nanos = self.clock.now().since(begun).as_nanos().try_into().unwrap_or(u64::MAX);
                    Outcome::Done { chunks: output.chunks, segments: output.segments, nanos, skips: output.skips }
                }
                Err(failure) => failed(failure, self.log_tail.as_ref()),
            };
            let kind = if matches!(outcome, Outcome::Done { .. }) { "done" } else { "failed" };
            metrics::histogram!("elastic_flow_task_seconds", "outcome" => kind)
                .record(self.clock.now().since(begun).as_secs_f64());
            locked(&self.board).at_work.remove(&assignment.attempt);
            if self.finished.blocking_send(answer(&assignment, outcome)).is_err() {
                return;
            }
        }
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
