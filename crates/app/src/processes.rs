//! A cluster of this process and its children: a master here, and workers that are the same binary, started again with another line.
//!
//! The children take key and master from their standard input, are started again when they die, and end when it closes, that is with
//! this process, however it ends.

use std::ffi::OsString;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::SystemClock;
use elastic_flow_orchestrator::handle::{ClusterHandle, blocking};
use elastic_flow_orchestrator::{Cluster, Master, StopMode};
use elastic_flow_store::Store;
use elastic_flow_transport::{Keyring, Tcp};
use elastic_flow_wire::with_causes;
use tokio::runtime::Runtime;

use crate::app::App;
use crate::args::Common;
use crate::build_id::{FileIdentity, to_line};
use crate::children::{WorkerCommand, Workers};
use crate::commands::start_failure;
use crate::context::{Context, Flags, own_executable, slots_for, this_build};
use crate::exit_code::{Failure, USAGE};
use crate::key_file::random_secret;
use crate::keys::Key;
use crate::limits::{self, Needs};
use crate::output;
use crate::progress::Screen;
use crate::signals::end_process;
use crate::stores;

/// The first argument of a child: no other process has it.
const MARK: &str = "--elastic-flow-worker";
/// Where the master listens: a port that the system chooses.
const LISTEN: &str = "127.0.0.1:0";
/// Time for workers to stop when all is done.
pub(crate) const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Makes this process a worker, if [`Processes`] started it as one, and then never returns; else does nothing. The first line of
/// `main`, before anything that a worker should not do.
///
/// `app` is what the workers can run, and the same that the parent hands to [`Processes::start`].
///
/// ```no_run
/// use elastic_flow_app::{App, Spawn as _, worker_main};
/// use elastic_flow_dataflow::source::SourceSpec;
/// use elastic_flow_dataflow::{Flow, TypedProgram};
/// use elastic_flow_orchestrator::Cluster;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let squares = TypedProgram::new("squares", |it: Flow<u64>| it.map(|n| n * n).sum())?;
///     let app = App::new().register(squares.clone());
///     worker_main(&app);
///
///     let cluster = Cluster::processes(4).start_blocking(&app)?;
///     let step = cluster.submit(&squares, SourceSpec::Range { start: 0, end: 1_000 })?;
///     println!("{}", step.result()?.output);
///     cluster.stop();
///     Ok(())
/// }
/// ```
pub fn worker_main(app: &App) {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    if arguments.next().is_some_and(|first| first == MARK) {
        let line = [program, "worker".into()].into_iter().chain(arguments);
        end_process(i32::from(app.run_line(line.collect())));
    }
}

/// A [`Cluster`] of processes.
pub trait Spawn {
    /// A master in this process, and `workers` workers that are children of it: the same binary, whose `main` begins with
    /// [`worker_main`].
    #[must_use]
    fn processes(workers: u32) -> Processes;
}

impl Spawn for Cluster {
    fn processes(workers: u32) -> Processes {
        Processes { workers: workers.max(1), slots: None, store: "memory".to_owned(), sets: Vec::new() }
    }
}

/// A master in this process and workers that are its children, as they are described before they start.
#[derive(Debug, Clone)]
pub struct Processes {
    workers: u32,
    slots: Option<u32>,
    store: String,
    sets: Vec<String>,
}

impl Processes {
    /// Compute threads of each worker; else the cores are shared between them.
    #[must_use]
    pub const fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Another store than one in memory: `fs:DIR`, say, on which a later start goes on.
    #[must_use]
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.store = url.into();
        self
    }

    /// Sets a key of the configuration, as `--set section.key=value` does; the environment (`ELASTIC_FLOW_*`) counts, too.
    #[must_use]
    pub fn set(mut self, set: impl Into<String>) -> Self {
        self.sets.push(set.into());
        self
    }

    /// Starts master and workers, on the runtime that this is called in. What the workers say goes to standard error.
    ///
    /// # Errors
    /// A setting is wrong, or something cannot be started.
    ///
    /// # Cancel safety
    /// Safe to drop: what was started ends.
    pub async fn start(&self, app: &App) -> Result<ProcessCluster, Failure> {
        if std::env::args_os().nth(1).is_some_and(|it| it == MARK) {
            // One that went on would start workers of its own, and they theirs; a supervisor does not start this one again.
            output::complain("this process was started as a worker: call worker_main(&app) as the first line of main");
            end_process(i32::from(USAGE));
        }
        app.check()?;
        let common = Common { sets: self.sets.clone(), ..Common::default() };
        let context = Context::new(app, &common, Flags::default())?;
        context.check_names()?;
        let slots = self.slots.unwrap_or_else(|| slots_for(self.workers));
        let slots_text = slots.to_string();
        let mut arguments: Vec<OsString> = [MARK, "--key-stdin", "--slots", &slots_text].map(OsString::from).to_vec();
        arguments.extend(self.sets.iter().flat_map(|set| [OsString::from("--set"), set.into()]));
        let command = WorkerCommand { executable: own_executable(), arguments, raw_lines: false, grace: WORKER_GRACE };
        let store = stores::open(app, &self.store)?;
        let Embedded { master, workers, .. } =
            Embedded::start(&context, &command, (self.workers, slots), store, &Arc::new(Screen::new())).await?;
        let handle = ClusterHandle::new(Arc::new(master.handle()));
        Ok(ProcessCluster { master, workers, handle })
    }

    /// As [`Processes::start`], for programs without a runtime: the cluster has one of its own.
    ///
    /// # Errors
    /// As there, or the runtime could not start.
    ///
    /// # Panics
    /// Within async code.
    pub fn start_blocking(&self, app: &App) -> Result<BlockingProcessCluster, Failure> {
        let no_runtime = |error: io::Error| Failure::failed(format!("cannot start the runtime: {error}"));
        let runtime = blocking::runtime().map_err(no_runtime)?;
        let cluster = runtime.block_on(self.start(app))?;
        let handle = blocking::ClusterHandle::on(cluster.handle.clone(), Arc::clone(&runtime));
        Ok(BlockingProcessCluster { cluster, handle, runtime })
    }
}

/// A master in this process and workers that are its children. Dropped, they end at once.
#[derive(Debug)]
pub struct ProcessCluster {
    master: Master,
    workers: Workers,
    handle: ClusterHandle,
}

impl ProcessCluster {
    /// Stops master and workers, and waits until they are gone; a step that runs is interrupted.
    ///
    /// # Cancel safety
    /// Not safe: some of it may be stopped. The rest ends at once then.
    pub async fn stop(self) {
        self.workers.finish().await;
        self.master.stop(StopMode::Now).await;
    }
}

impl Deref for ProcessCluster {
    type Target = ClusterHandle;

    fn deref(&self) -> &ClusterHandle {
        &self.handle
    }
}

/// As [`ProcessCluster`], with a runtime of its own.
#[derive(Debug)]
pub struct BlockingProcessCluster {
    cluster: ProcessCluster,
    handle: blocking::ClusterHandle,
    runtime: Arc<Runtime>,
}

impl BlockingProcessCluster {
    /// As [`ProcessCluster::stop`].
    ///
    /// # Panics
    /// Within async code.
    pub fn stop(self) {
        self.runtime.block_on(self.cluster.stop());
    }
}

impl Deref for BlockingProcessCluster {
    type Target = blocking::ClusterHandle;

    fn deref(&self) -> &blocking::ClusterHandle {
        &self.handle
    }
}

/// A master in this process with its children, as `run` has them, too.
pub(crate) struct Embedded {
    pub(crate) master: Master,
    pub(crate) workers: Workers,
    /// Theirs, and nobody's before.
    pub(crate) key: Key,
}

impl Embedded {
    /// Starts the workers first: they load while the master sets itself up, and learn its address when it has one.
    pub(crate) async fn start(
        context: &Context<'_>,
        command: &WorkerCommand,
        (count, slots): (u32, u32),
        store: Arc<dyn Store>,
        screen: &Arc<Screen>,
    ) -> Result<Self, Failure> {
        // The workers have the limits that this process leaves them.
        limits::prepare(&Needs::of_master(count.into(), "memory"))?;
        limits::prepare(&Needs::of_worker(slots, u64::from(count.saturating_sub(1))))?;
        let secret = random_secret().map_err(|error| Failure::failed(with_causes(&error)))?;
        let workers = Workers::start(command, count, &secret, screen)?;
        let file = FileIdentity::of_this_process().map_err(|error| Failure::failed(error.to_string()))?;
        let build = this_build()?;
        let key = Key::fresh(secret);
        let ring = Keyring::new(key.set(&context.config.cluster));
        let node = context.node("master".to_owned(), ring, key.given, build);
        let config = context.master_config(node, LISTEN.to_owned(), None)?;
        let interceptors = context.interceptors()?;
        let programs = Arc::clone(&context.programs);
        let master = Master::start(config, programs, interceptors, store, Tcp, Arc::new(SystemClock::new()));
        let master = master.await.map_err(|error| start_failure(&error))?;
        workers.set_master(&to_line(build, file), master.local_addr());
        Ok(Self { master, workers, key })
    }
}
