//! The compute threads: user code runs here and nowhere else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use elastic_flow_clock::{Clock, Mono};
use elastic_flow_dataflow::seam::{Stage, TaskContext, TaskFailure};
use elastic_flow_dataflow::source::DataRoots;
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
    at_work: HashMap<Attempt, AtWork>,
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
        let mut stalls: Vec<_> = stalls.collect();
        stalls.sort_unstable();
        stalls
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
        let queue = Arc::new(Mutex::new(queue));
        let board = Board::default();
        let threads = (0..slots).map(|slot| {
            let (queue, board, finished) = (Arc::clone(&queue), Arc::clone(&board), finished.clone());
            let (log_tail, clock) = (log_tail.clone(), Arc::clone(clock));
            std::thread::Builder::new()
                .name(format!("slot {slot}"))
                .spawn(move || work(&queue, &board, &finished, log_tail.as_ref(), clock.as_ref()))
        });
        let threads = threads.collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { jobs, threads, board })
    }

    pub(super) fn board(&self) -> Board {
        Arc::clone(&self.board)
    }

    /// Hands a task to the next free thread.
    pub(super) fn run(&self, assignment: Assignment, stage: Option<Arc<dyn Stage>>, now: Mono) {
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let at_work = AtWork { stop: Arc::clone(&stop), progress: Arc::clone(&progress), seen: 0, seen_at: now };
        locked(&self.board).at_work.insert(assignment.attempt, at_work);
        let context = TaskContext { stop, progress, attempt: assignment.attempt };
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

fn work(
    queue: &Mutex<Receiver<Job>>,
    board: &Board,
    finished: &mpsc::Sender<TaskResult>,
    log_tail: Option<&LogTail>,
    clock: &dyn Clock,
) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { assignment, stage, context }) = job else { return };
        let begun = clock.now();
        let outcome = match stage {
            Some(stage) => match stage.run(&assignment.chunks, &context) {
                Ok(output) => Outcome::Done {
                    chunks: output.chunks,
                    segments: output.segments,
                    nanos: clock.now().since(begun).as_nanos().try_into().unwrap_or(u64::MAX),
                },
                Err(failure) => failed(failure, log_tail),
            },
            None => failed(no_such_stage(&assignment), None),
        };
        let kind = if matches!(outcome, Outcome::Done { .. }) { "done" } else { "failed" };
        metrics::histogram!("elastic_flow_task_seconds", "outcome" => kind).record(clock.now().since(begun).as_secs_f64());
        locked(board).at_work.remove(&assignment.attempt);
        if finished.blocking_send(answer(&assignment, outcome)).is_err() {
            return;
        }
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
