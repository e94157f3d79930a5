//! A cluster within this process: a master and workers over the in-memory transport, which still encodes and decodes. No child
//! process, no port, no file: fit for a `#[test]`.

use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::{Clock, SystemClock};
use elastic_flow_dataflow::source::{DataRoots, EncodedItems, ItemBatches, SourceSpec, Window};
use elastic_flow_dataflow::{Data, TypedProgram};
use elastic_flow_receipt::{Audit, StepId};
use elastic_flow_store::{Durability, MemoryStore, Store};
use elastic_flow_transport::Memory;
use elastic_flow_wire::{Compression, Keys, Secret};

use crate::api::{ApiError, DeadLetterFilter, DeadLetterView, FailureView, StepView, Submission};
use crate::config::{KeepPayloads, MasterConfig, MethodKind, NodeConfig, Settings, WorkerConfig};
use crate::error::StartError;
use crate::interceptor::{Interceptor, Interceptors};
use crate::master::{MakeMonitor, Master, MasterHandle, Monitor, StopMode};
use crate::programs::Programs;
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
}

/// A step that completed.
#[derive(Debug)]
pub struct Finished<O> {
    /// Its typed output.
    pub output: O,
    /// Its audit.
    pub audit: Audit,
    /// The step.
    pub step: StepView,
    /// What it set aside: at most [`Settings::max_skips`] items and chunks.
    pub dead_letters: Vec<DeadLetterView>,
}

/// Why a local cluster gave no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A node could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The master did not do what it was asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The runtime could not start.
    #[error("cannot start a runtime")]
    Runtime(#[source] std::io::Error),
    /// The step did not complete.
    #[error("step {} is {}: {}", step.id, step.state, step.reason.as_deref().unwrap_or("no reason was given"))]
    Step {
        /// The step.
        step: Box<StepView>,
        /// What became of its chunks.
        audit: Box<Audit>,
        /// Its failures, oldest first.
        failures: Vec<FailureView>,
    },
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
    pub const fn method(mut self, method: MethodKind) -> Self {
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

    /// Runs a program over an iterator, which is cut, shipped and worked through as on real servers. Blocks until the end.
    ///
    /// # Errors
    /// [`RunError::Step`] if the step did not complete; the others if it could not run at all.
    pub fn run<T, U, O, I>(&self, program: &TypedProgram<T, U, O>, items: I) -> Result<Finished<O>, RunError>
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
    ) -> Result<Finished<O>, RunError>
    where
        T: Data,
        U: Data,
        O: Send + 'static,
    {
        self.run_step(program, Source::Spec(source))
    }

    fn run_step<T, U, O>(&self, program: &TypedProgram<T, U, O>, source: Source) -> Result<Finished<O>, RunError>
    where
        T: Data,
        U: Data,
        O: Send + 'static,
    {
        let mut programs = Programs::new();
        programs.register(Arc::new(program.clone())).map_err(|it| ApiError::Invalid(it.to_string()))?;
        if let Some(window) = self.window.clone() {
            programs.register_window(window).map_err(|it| ApiError::Invalid(it.to_string()))?;
        }
        let name = elastic_flow_dataflow::seam::Program::name(program).to_owned();
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

enum Source {
    Items(Box<dyn ItemBatches>),
    Spec(SourceSpec),
}

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
            method: cluster.method,
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
    ) -> Result<Finished<O>, RunError> {
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
        if !MasterHandle::completed(&view) {
            let failures = handle.failures(step).await?;
            return Err(RunError::Step { step: Box::new(view), audit: Box::new(audit), failures });
        }
        let output = handle.take_output(step).await?.and_then(|it| it.into_any().downcast::<O>().ok());
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

/// Every page of them.
async fn all_dead_letters(handle: &MasterHandle, step: StepId) -> Result<Vec<DeadLetterView>, ApiError> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64;
        let page = handle.dead_letters(step, DeadLetterFilter { from, limit: 0 }).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
