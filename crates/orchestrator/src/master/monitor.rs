//! Heartbeat monitors: whose word decides which of the connected workers count as living.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use elastic_flow_clock::Mono;
use elastic_flow_receipt::NodeId;
use tokio::sync::mpsc;

/// A monitor is asked so often, at least.
const EVERY_MAX: Duration = Duration::from_millis(250);
/// A monitor that has not answered for so long is slow enough to be told of.
const SLOW: Duration = Duration::from_secs(5);

/// A connected worker, as a monitor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its incarnation: what a verdict names it by.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its address, `host:port`: where others reach it, as it advertises or as it listens.
    pub address: String,
    /// Time since its last heartbeat, or since it connected.
    pub heartbeat_age: Duration,
}

/// Why a monitor has no verdict.
pub type MonitorError = Box<dyn Error + Send + Sync>;

/// Says which of the connected workers count as living.
///
/// A worker that does not is treated as lost, though its connection stays: it gets no chunks, those that are open on it go to
/// others at once, and when it is living again it gets work again. A worker that has just joined waits for its first verdict.
/// The default is that whoever is connected lives. A connection that is closed, or silent for `heartbeat.dead_after`, ends in any
/// case, whatever a monitor says; one that ends counts as a loss against the chunks that were open on it, a verdict alone does not.
///
/// A monitor runs on a thread of its own, so that it may read files or ask servers. It is asked when a worker joins, and every
/// `heartbeat.every` or 250 ms, whichever is shorter. While it is slow, returns an error or panics, which is logged, its last
/// verdict stays.
///
/// A monitor that reads the names of the living from a file, one a line:
///
/// ```
/// use std::path::PathBuf;
///
/// use elastic_flow_dataflow::{Flow, TypedProgram};
/// use elastic_flow_orchestrator::{Cluster, Monitor, MonitorError, NodeId, Watched};
///
/// #[derive(Debug)]
/// struct LivingFile(PathBuf);
///
/// impl Monitor for LivingFile {
///     fn living(&mut self, workers: &[Watched]) -> Result<Vec<NodeId>, MonitorError> {
///         let text = std::fs::read_to_string(&self.0)?;
///         let is_named = |worker: &&Watched| text.lines().any(|line| line.trim() == worker.name);
///         Ok(workers.iter().filter(is_named).map(|worker| worker.node).collect())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("living");
/// std::fs::write(&path, "worker-2\n")?;
/// let program = TypedProgram::new("sum", |numbers: Flow<u64>| numbers.sum())?;
/// let run = Cluster::local(2).monitor(move || LivingFile(path.clone())).run(&program, 0..10_u64)?;
/// assert_eq!(run.output, 45); // summed on worker-2 alone
/// # Ok(())
/// # }
/// ```
pub trait Monitor: Send + Debug + 'static {
    /// Those of `workers` that are living, by their incarnation.
    ///
    /// # Errors
    /// It cannot tell now.
    fn living(&mut self, workers: &[Watched]) -> Result<Vec<NodeId>, MonitorError>;
}

/// Makes a monitor of one's own, anew for each master.
#[derive(Clone)]
pub struct MakeMonitor(Arc<dyn Fn() -> Box<dyn Monitor> + Send + Sync>);

impl MakeMonitor {
    /// Wraps a function that makes one.
    pub fn new<M: Monitor>(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }
}

impl Debug for MakeMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MakeMonitor").finish_non_exhaustive()
    }
}

/// What a monitor has said: whether each worker that it was asked about is living; none if it could not tell.
pub(super) type Verdict = Option<BTreeMap<NodeId, bool>>;

/// A monitor's thread, and when it is asked. The thread ends with this; nobody waits for it, since user code may never return.
#[derive(Debug)]
pub(super) struct MonitorThread {
    questions: SyncSender<Vec<Watched>>,
    every: Duration,
    due: Mono,
    /// Since when an answer is waited for.
    asked: Option<Mono>,
    told_slow: bool,
}

impl MonitorThread {
    pub(super) fn start(
        make: &MakeMonitor,
        heartbeat_every: Duration,
        answers: mpsc::Sender<Verdict>,
    ) -> std::io::Result<Self> {
        let mut asked = Asked { monitor: (make.0)(), trouble: None };
        let (questions, queue) = sync_channel::<Vec<Watched>>(1);
        std::thread::Builder::new().name("monitor".to_owned()).spawn(move || {
            while let Ok(workers) = queue.recv() {
                if answers.blocking_send(asked.ask(&workers)).is_err() {
                    return;
                }
            }
        })?;
        let every = heartbeat_every.min(EVERY_MAX);
        Ok(Self { questions, every, due: Mono::ZERO, asked: None, told_slow: false })
    }

    /// When it is to be asked next; not while an answer is waited for.
    pub(super) const fn due(&self) -> Option<Mono> {
        if self.asked.is_none() { Some(self.due) } else { None }
    }

    /// A worker has joined: it waits for a verdict.
    pub(super) const fn hurry(&mut self) {
        self.due = Mono::ZERO;
    }

    /// Asks about these workers.
    pub(super) fn ask(&mut self, now: Mono, workers: Vec<Watched>) {
        self.due = now + self.every;
        // The thread has answered the last question, so that there is room; it ends only with this.
        if !workers.is_empty() && self.questions.try_send(workers).is_ok() {
            self.asked = Some(now);
        }
    }

    /// It has answered.
    pub(super) fn answered(&mut self) {
        self.asked = None;
        if std::mem::take(&mut self.told_slow) {
            tracing::info!("the heartbeat monitor answers again");
        }
    }

    /// Says so when it is slow, once.
    pub(super) fn watch(&mut self, now: Mono) {
        if !self.told_slow && self.asked.is_some_and(|since| now.since(since) >= SLOW) {
            self.told_slow = true;
            tracing::warn!(seconds = SLOW.as_secs(), "the heartbeat monitor does not answer; its last verdict stays");
        }
    }
}

/// A monitor, and what was last wrong with it.
struct Asked {
    monitor: Box<dyn Monitor>,
    trouble: Option<String>,
}

impl Asked {
    fn ask(&mut self, workers: &[Watched]) -> Verdict {
        let monitor = &mut self.monitor;
        let answer = catch_unwind(AssertUnwindSafe(|| monitor.living(workers)));
        let trouble = match answer {
            Ok(Ok(living)) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the heartbeat monitor gives verdicts again");
                }
                return Some(workers.iter().map(|it| (it.node, living.contains(&it.node))).collect());
            }
            Ok(Err(error)) => elastic_flow_wire::with_causes(error.as_ref()),
            Err(_) => "it panicked".to_owned(),
        };
        // It may be asked several times a second: the same trouble is told once.
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(error = %trouble, "the heartbeat monitor gives no verdict; its last one stays");
            self.trouble = Some(trouble);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers, fails and panics in turn.
    #[derive(Debug, Default)]
    struct Moody(u32);

    impl Monitor for Moody {
        fn living(&mut self, workers: &[Watched]) -> Result<Vec<NodeId>, MonitorError> {
            self.0 += 1;
            match self.0 % 3 {
                1 => Ok(workers.iter().filter(|it| it.name != "b").map(|it| it.node).chain([NodeId(9)]).collect()),
                2 => Err("the file is gone".into()),
                _ => std::panic::resume_unwind(Box::new(())),
            }
        }
    }

    fn watched(node: u128, name: &str) -> Watched {
        Watched { node: NodeId(node), name: name.to_owned(), address: String::new(), heartbeat_age: Duration::ZERO }
    }

    fn thread() -> (MonitorThread, mpsc::Receiver<Verdict>) {
        let (answers, verdicts) = mpsc::channel(1);
        let make = MakeMonitor::new(Moody::default);
        (MonitorThread::start(&make, Duration::from_millis(100), answers).unwrap(), verdicts)
    }

    #[test]
    fn a_monitor_that_fails_or_panics_gives_no_verdict_and_is_asked_again() {
        let (mut thread, mut verdicts) = thread();
        let mut said = Vec::new();
        for round in 0..4 {
            thread.ask(Mono::from_nanos(round), vec![watched(1, "a"), watched(2, "b")]);
            said.push(verdicts.blocking_recv().unwrap());
            thread.answered();
        }
        let verdict = Some(BTreeMap::from([(NodeId(1), true), (NodeId(2), false)]));
        assert_eq!(said, [verdict.clone(), None, None, verdict], "about those that it was asked about, and no other");
    }

    #[test]
    fn a_monitor_is_asked_in_its_time_or_when_somebody_joins_and_never_twice_at_once() {
        let (mut thread, mut verdicts) = thread();
        let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
        assert_eq!(thread.due(), Some(Mono::ZERO));
        thread.ask(at(5), Vec::new());
        assert_eq!(thread.due(), Some(at(105)), "there was nobody to ask about");
        thread.hurry();
        assert_eq!(thread.due(), Some(Mono::ZERO));
        thread.ask(at(10), vec![watched(1, "a")]);
        assert_eq!(thread.due(), None);
        verdicts.blocking_recv().unwrap();
        thread.answered();
        assert_eq!(thread.due(), Some(at(110)));
    }
}
