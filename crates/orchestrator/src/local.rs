//! A cluster within this process: a master and workers over the in-memory transport, which still encodes and decodes. No child
//! process, no port, no file: fit for a `#[test]`.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::{Clock, SystemClock};
use elastic_flow_dataflow::seam::Program;
use elastic_flow_dataflow::source::{DataRoots, EncodedItems, ItemBatches, SourceSpec, Window};
use elastic_flow_dataflow::{Data, TypedProgram};
use elastic_flow_store::{Durability, MemoryStore, Store};
use elastic_flow_transport::Memory;
use elastic_flow_wire::{Compression, Keys, Secret};
use tokio::runtime::Runtime;

use crate::api::{ApiError, Submission};
use crate::config::{KeepPayloads, MasterConfig, MethodKind, NodeConfig, Settings, WorkerConfig};
use crate::error::StartError;
use crate::handle::{ClusterHandle, Finished, Partial, RunError, StepError, all_dead_letters, blocking};
use crate::interceptor::{Interceptor, Interceptors};
use crate::master::{MakeMonitor, Master, MasterHandle, Monitor, StopMode};
use crate::programs::{Duplicate, MakeItems, Programs};
use crate::worker::Worker;

/// The name of every local cluster.
const NAME: &str = "local";

/// A cluster within this process, as it is described before it runs.
///
/// ```
/// use elastic_flow_dataflow::{Flow, TypedProgram};
/// use elastic_flow_orchestrator::Cluster;
///
/// fn squares(numbers: Flow<u64>) -> elastic_flow_dataflow::Single<u64> {
///     numbers.map(|it| it * it).sum()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = TypedProgram::new("squares", squares)?;
/// let run = Cluster::local(2).run(&program, 0..1_000_u64)?;
/// assert_eq!(run.output, (0..1_000).map(|it| it * it).sum::<u64>());
/// assert!(run.audit.balanced());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cluster {
    workers: usize,
    slots: u32,
    settings: Settings,
    method: MethodKind,
    monitor: Option<MakeMonitor>,
    window: Option<Window>,
    compress: Compression,
    params: Vec<(String, String)>,
    interceptors: Interceptors,
    store: Option<Arc<dyn Store>>,
    programs: Programs,
    /// What was registered twice; said when the cluster starts.
    duplicate: Option<Duplicate>,
}

impl Cluster {
    /// A master and `workers` workers of one compute thread each, in this process.
    #[must_use]
    pub fn local(workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            slots: 1,
            settings: Settings::default(),
            method: MethodKind::default(),
            monitor: None,
            window: None,
            compress: Compression::Auto,
            params: Vec::new(),
            interceptors: Interceptors::new(),
            store: None,
            programs: Programs::new(),
            duplicate: None,
        }
    }

    /// Compute threads of each worker.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots.max(1);
        self
    }

    /// A parameter of the program.
    #[must_use]
    pub fn param(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((key.into(), value.into()));
        self
    }

    /// A hook, on the master and on every worker.
    #[must_use]
    pub fn interceptor(mut self, interceptor: Arc<dyn Interceptor>) -> Self {
        self.interceptors.push(interceptor);
        self
    }

    /// How workers are picked.
    #[must_use]
    pub fn method(mut self, method: MethodKind) -> Self {
        self.method = method;
        self
    }

    /// Who says which of the workers, `worker-1`, `worker-2` and so on, count as living; see [`Monitor`].
    #[must_use]
    pub fn monitor<M: Monitor>(mut self, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        self.monitor = Some(MakeMonitor::new(make));
        self
    }

    /// Where a chunk may end: between two items for which `ends(before, after)` is true, and at the end of a file or of the
    /// source. Consecutive items of one window are then in one chunk. See [`Window`] for the types that `ends` may be over.
    ///
    /// ```
    /// use elastic_flow_dataflow::{Flow, TypedProgram};
    /// use elastic_flow_orchestrator::Cluster;
    /// use elastic_flow_orchestrator::config::Settings;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The sum of each minute, of pairs of a second and a value: whole, since no minute is in two chunks.
    /// let minutes = |readings: Flow<(u64, u64)>| {
    ///     readings.map_batch(usize::MAX, |chunk| {
    ///         let minutes = chunk.chunk_by(|before, after| before.0 / 60 == after.0 / 60);
    ///         minutes.map(|it| (it[0].0 / 60, it.iter().map(|it| it.1).sum::<u64>())).collect::<Vec<_>>()
    ///     })
    /// };
    /// let program = TypedProgram::new("minutes", minutes)?;
    /// let by_minute = |before: &(u64, u64), after: &(u64, u64)| before.0 / 60 != after.0 / 60;
    /// let run = Cluster::local(2)
    ///     .settings(Settings { chunk_items: 100, ..Settings::default() })
    ///     .window("by_minute", by_minute)
    ///     .run(&program, (0..600).map(|second| (second, 1)))?;
    /// assert_eq!(run.output, (0..10).map(|minute| (minute, 60)).collect::<Vec<_>>());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn window<T: ?Sized + 'static>(
        mut self,
        name: &str,
        ends: impl Fn(&T, &T) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.window = Some(Window::new(name, ends));
        self
    }

    /// How parcels are compressed.
    #[must_use]
    pub const fn compress(mut self, compress: Compression) -> Self {
        self.compress = compress;
        self
    }

    /// Other settings than the default ones.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Another store than one in memory.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Registers a program, for a cluster that is [started](Cluster::start).
    #[must_use]
    pub fn program(mut self, program: impl Program) -> Self {
        let registered = self.programs.register(Arc::new(program));
        self.registered(registered)
    }

    /// Registers an iterator that is made anew each time, for inputs that name it ([`SourceSpec::Registered`]).
    #[must_use]
    pub fn source(mut self, name: &str, make: MakeItems) -> Self {
        let registered = self.programs.register_source(name, make);
        self.registered(registered)
    }

    /// Starts the cluster on the runtime that this is called in, and keeps it until it is stopped: steps are submitted through the
    /// handle that it is.
    ///
    /// ```
    /// use elastic_flow_dataflow::source::SourceSpec;
    /// use elastic_flow_dataflow::{Flow, TypedProgram};
    /// use elastic_flow_orchestrator::Cluster;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let squares = TypedProgram::new("squares", |it: Flow<u64>| it.map(|n| n * n).sum())?;
    /// let cluster = Cluster::local(2).program(squares.clone()).start().await?;
    /// let step = cluster.submit(&squares, SourceSpec::Range { start: 0, end: 1_000 }).await?;
    /// assert_eq!(step.result().await?.output, (0..1_000).map(|n| n * n).sum::<u64>());
    /// cluster.stop().await;
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// Two programs have one name, or a node could not start.
    ///
    /// # Cancel safety
    /// Safe to drop: what was started is stopped.
    pub async fn start(&self) -> Result<LocalCluster, StartError> {
        let nodes = Nodes::start(self, Arc::new(self.programs()?)).await?;
        let handle = ClusterHandle::new(Arc::new(nodes.master.handle()));
        Ok(LocalCluster { nodes, handle })
    }

    /// As [`Cluster::start`], for programs without a runtime: the cluster has one of its own.
    ///
    /// # Errors
    /// As there, or the runtime could not start.
    ///
    /// # Panics
    /// Within async code.
    pub fn start_blocking(&self) -> Result<BlockingLocalCluster, RunError<()>> {
        let runtime = blocking::runtime().map_err(RunError::Runtime)?;
        let cluster = runtime.block_on(self.start())?;
        let handle = blocking::ClusterHandle::on(cluster.handle.clone(), Arc::clone(&runtime));
        Ok(BlockingLocalCluster { cluster, handle, runtime })
    }

    fn registered(mut self, registered: Result<(), Duplicate>) -> Self {
        self.duplicate = self.duplicate.or(registered.err());
        self
    }

    /// All that is registered.
    fn programs(&self) -> Result<Programs, Duplicate> {
        if let Some(duplicate) = &self.duplicate {
            return Err(duplicate.clone());
        }
        let mut programs = self.programs.clone();
        if let Some(window) = self.window.clone() {
            programs.register_window(window)?;
        }
        Ok(programs)
    }

    /// Runs a program over an iterator, which is cut, shipped and worked through as on real servers. Blocks until the end.
    ///
    /// # Errors
    /// [`RunError::Step`] if the step did not complete; the others if it could not run at all.
    pub fn run<T, U, O, I>(&self, program: &TypedProgram<T, U, O>, items: I) -> Result<Finished<O>, RunError<O>>
    where
        T: Data,
        U: Data,
        O: Send + 'static,
        I: IntoIterator<Item: Into<T> + 'static, IntoIter: Send + 'static>,
    {
        let items: Box<dyn ItemBatches> = Box::new(EncodedItems::new(items.into_iter().map(Into::<T>::into)));
        self.run_step(program, Source::Items(items))
    }

    /// Runs a program over files, a range or a registered iterator. Blocks until the end.
    ///
    /// # Errors
    /// As [`Cluster::run`].
    pub fn run_source<T, U, O>(
        &self,
        program: &TypedProgram<T, U, O>,
        source: SourceSpec,
    ) -> Result<Finished<O>, RunError<O>>
    where
        T: Data,
        U: Data,
        O: Send + 'static,
    {
        self.run_step(program, Source::Spec(source))
    }

    fn run_step<T, U, O>(&self, program: &TypedProgram<T, U, O>, source: Source) -> Result<Finished<O>, RunError<O>>
    where
        T: Data,
        U: Data,
        O: Send + 'static,
    {
        let mut programs = self.programs().map_err(StartError::from)?;
        programs.register(Arc::new(program.clone())).map_err(StartError::from)?;
        let name = program.name().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
        runtime.block_on(async {
            let nodes = Nodes::start(self, Arc::new(programs)).await?;
            let result = nodes.run::<O>(name, self.params.clone(), source).await;
            nodes.stop().await;
            result
        })
    }

    fn node(&self, name: &str, secret: &Secret) -> NodeConfig {
        NodeConfig {
            cluster: NAME.to_owned(),
            name: name.to_owned(),
            keys: Keys::derive(secret, NAME).into(),
            key_given: false,
            compress: self.compress,
            heartbeat_every: Duration::from_secs(1),
            dead_after: Duration::from_secs(30),
            insecure_plaintext: false,
            build: 0,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// A cluster within this process that runs. Dropped, it ends at once; only [`LocalCluster::stop`] lets its threads end in order.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: Nodes,
    handle: ClusterHandle,
}

impl LocalCluster {
    /// Stops master and workers; a step that runs is interrupted.
    ///
    /// # Cancel safety
    /// Not safe: some of it may be stopped. The rest ends at once then.
    pub async fn stop(self) {
        self.nodes.stop().await;
    }
}

impl Deref for LocalCluster {
    type Target = ClusterHandle;

    fn deref(&self) -> &ClusterHandle {
        &self.handle
    }
}

/// As [`LocalCluster`], with a runtime of its own.
#[derive(Debug)]
pub struct BlockingLocalCluster {
    cluster: LocalCluster,
    handle: blocking::ClusterHandle,
    runtime: Arc<Runtime>,
}

impl BlockingLocalCluster {
    /// As [`LocalCluster::stop`].
    ///
    /// # Panics
    /// Within async code.
    pub fn stop(self) {
        self.runtime.block_on(self.cluster.stop());
    }
}

impl Deref for BlockingLocalCluster {
    type Target = blocking::ClusterHandle;

    fn deref(&self) -> &blocking::ClusterHandle {
        &self.handle
    }
}

enum Source {
    Items(Box<dyn ItemBatches>),
    Spec(SourceSpec),
}

#[derive(Debug)]
struct Nodes {
    master: Master,
    workers: Vec<Worker>,
}

impl Nodes {
    async fn start(cluster: &Cluster, programs: Arc<Programs>) -> Result<Self, StartError> {
        let secret = crate::fresh_secret()?;
        let net = Memory::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = cluster.store.clone().unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let config = MasterConfig {
            node: cluster.node("master", &secret),
            listen: "master".to_owned(),
            advertise: None,
            method: cluster.method.clone(),
            monitor: cluster.monitor.clone(),
            window: cluster.window.as_ref().map(|it| it.name().to_owned()),
            settings: cluster.settings.clone(),
            durability: Durability::Os,
            keep_payloads: KeepPayloads::default(),
            keep_results: Duration::from_secs(30 * 24 * 3_600),
            min_workers: 0,
            expected: Vec::new(),
        };
        let interceptors = cluster.interceptors.clone();
        let master =
            Master::start(config, Arc::clone(&programs), interceptors.clone(), store, net.clone(), Arc::clone(&clock))
                .await?;
        let mut workers = Vec::with_capacity(cluster.workers);
        for index in 1..=cluster.workers {
            let config = WorkerConfig {
                node: cluster.node(&format!("worker-{index}"), &secret),
                master: master.local_addr().to_owned(),
                listen: None,
                advertise: None,
                slots: cluster.slots,
                roots: DataRoots::default(),
                log_tail: None,
                metrics: None,
            };
            let worker =
                Worker::start(config, Arc::clone(&programs), interceptors.clone(), net.clone(), Arc::clone(&clock));
            workers.push(worker.await?);
        }
        Ok(Self { master, workers })
    }

    async fn run<O: Send + 'static>(
        &self,
        program: String,
        params: Vec<(String, String)>,
        source: Source,
    ) -> Result<Finished<O>, RunError<O>> {
        let handle = self.master.handle();
        let mut submission = Submission {
            program,
            inputs: Vec::new(),
            params,
            on_failure: elastic_flow_queue::OnFailure::Continue,
            key: None,
            label: None,
            allow_missing_servers: false,
        };
        let step = match source {
            Source::Items(items) => handle.submit_items(submission, items).await?,
            Source::Spec(spec) => {
                submission.inputs = vec![("input".to_owned(), spec.on_one_server())];
                handle.submit(submission).await?
            }
        };
        let view = handle.wait(step).await?;
        let audit = handle.audit(step).await?;
        // Taken as it is: nothing is encoded on the way.
        let output = handle.take_output(step).await?.and_then(|it| it.into_any().downcast::<O>().ok());
        if !MasterHandle::completed(&view) {
            let failures = handle.failures(step).await?;
            let partial = output.map(|output| Partial {
                output: *output,
                complete: false,
                receipts: audit.rows.aggregated.receipts,
                receipts_conceived: audit.rows.conceived.receipts,
            });
            return Err(RunError::Step(Box::new(StepError { step: view, audit: Some(audit), failures, partial })));
        }
        let output = output
            .ok_or_else(|| ApiError::NoResult(step, "its output is not of the program's type: a bug".to_owned()))?;
        let dead_letters = all_dead_letters(&handle, step).await?;
        Ok(Finished { output: *output, audit, step: view, dead_letters })
    }

    async fn stop(self) {
        for worker in self.workers {
            worker.stop(Duration::ZERO).await;
        }
        self.master.stop(StopMode::Now).await;
    }
}
