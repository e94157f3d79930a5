//! Settings of master and worker, with their defaults in one place.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_transport::Keyring;
use elastic_flow_wire::Compression;

use crate::master::Distribute;

/// Bytes of a chunk of a split at the start of a step.
pub const CHUNK_BYTES: u64 = 16 << 20;
/// Items and chunks that a step may set aside, at most: each is kept, in memory and with the step's account.
pub const MAX_SKIPS_MAX: u64 = 100_000;
/// Smallest chunk that adaptation makes.
pub const CHUNK_BYTES_MIN: u64 = 1 << 20;
/// Largest chunk that adaptation makes.
pub const CHUNK_BYTES_MAX: u64 = 64 << 20;
/// Items of a chunk of an enumerable source.
pub const CHUNK_ITEMS: u64 = 3_000;
/// Credit of a link in bytes.
pub const CREDIT_BYTES: u64 = 8 << 20;
/// Port of the cluster.
pub const CLUSTER_PORT: u16 = 7117;
/// Port of the admin face.
pub const ADMIN_PORT: u16 = 7118;

/// Makes a distribution method of one's own, anew for each master.
#[derive(Clone)]
pub struct MakeMethod(Arc<dyn Fn() -> Box<dyn Distribute> + Send + Sync>);

impl MakeMethod {
    /// Wraps a function that makes one.
    pub fn new<M: Distribute + 'static>(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }

    pub(crate) fn make(&self) -> Box<dyn Distribute> {
        (self.0)()
    }
}

impl Debug for MakeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeMethod").finish_non_exhaustive()
    }
}

/// How the distributer picks a worker.
#[derive(Debug, Clone, Default)]
pub enum MethodKind {
    /// The one with the fewest open receipts.
    #[default]
    LeastOpenReceipts,
    /// In turn.
    RoundRobin,
    /// One's own.
    Custom(MakeMethod),
}

/// How the files of a source that the master can read come to the workers. What lies on the disk of one server is read there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadFiles {
    /// A worker reads a file where it has that very one; else the master ships its bytes.
    #[default]
    Auto,
    /// Workers read them; a file that no worker has fails the step by name.
    InPlace,
    /// The master ships all of them, and workers look at no file.
    Ship,
}

/// What the deciding code of a master needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where a chunk's size starts, in bytes (splits).
    pub chunk_bytes: u64,
    /// Whether chunk sizes follow the time that chunks take.
    pub chunk_adapts: bool,
    /// Items of a chunk (enumerables).
    pub chunk_items: u64,
    /// Tasks open on a worker for each of its slots: one at work and the rest ahead.
    pub open_per_slot: u32,
    /// Most chunks in one task.
    pub task_chunks_max: u32,
    /// Failures of a chunk until it is set aside.
    pub max_attempts: u32,
    /// Losses of a chunk until it runs alone; one more sets it aside.
    pub max_losses: u32,
    /// Items and chunks that may be set aside in a step that still completes; [`MAX_SKIPS_MAX`] at most.
    pub max_skips: u64,
    /// First wait before a failed chunk is tried again; doubles up to 32 times this.
    pub retry_backoff: Duration,
    /// How long a running step waits for a worker when there is none.
    pub grace: Duration,
    /// How long an attempt may be unknown to the worker that was given it until it counts as lost on the way.
    pub reconcile_after: Duration,
    /// Whether payloads of shipped chunks are in the store before they are sent.
    pub keep_payloads_always: bool,
    /// Whether a worker of another build may run chunks if plan and schema are equal.
    pub allow_mixed_builds: bool,
    /// How files come to the workers.
    pub read: ReadFiles,
    /// The names of the workers that the cluster consists of: what each worker is to read is asked of these.
    pub servers: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chunk_bytes: CHUNK_BYTES,
            chunk_adapts: true,
            chunk_items: CHUNK_ITEMS,
            open_per_slot: 3,
            task_chunks_max: 8,
            max_attempts: 4,
            max_losses: 3,
            max_skips: 0,
            retry_backoff: Duration::from_millis(100),
            grace: Duration::from_secs(30),
            reconcile_after: Duration::from_secs(3),
            keep_payloads_always: false,
            allow_mixed_builds: false,
            read: ReadFiles::default(),
            servers: Vec::new(),
        }
    }
}

/// What every node needs to take part.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name.
    pub name: String,
    /// The cluster's keys; whoever holds a clone can replace them while the node runs.
    pub keys: Keyring,
    /// Whether somebody gave the key on purpose; one that was made by itself is good on one machine only.
    pub key_given: bool,
    /// Compression of parcels.
    pub compress: Compression,
    /// Interval of heartbeats.
    pub heartbeat_every: Duration,
    /// Silence after which a peer is dead.
    pub dead_after: Duration,
    /// Whether a listener beyond loopback may do without TLS.
    pub insecure_plaintext: bool,
    /// Digest of the executable, equal for equal builds.
    pub build: u128,
    /// Time for open work when the node is asked to stop.
    pub shutdown_grace: Duration,
}

/// A master's configuration.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// What every node needs.
    pub node: NodeConfig,
    /// Where it listens for workers: `host:port`, port 0 chosen by the system.
    pub listen: String,
    /// The address that it tells others, if it is another than the one that it listens on.
    pub advertise: Option<String>,
    /// How workers are picked.
    pub method: MethodKind,
    /// Who says which of the connected workers count as living; with none, all do.
    pub monitor: Option<crate::master::MakeMonitor>,
    /// The registered window by which the sources of steps are cut, if by any. A step keeps the one that it was submitted under.
    pub window: Option<String>,
    /// The deciding code's settings.
    pub settings: Settings,
    /// What a write to the journal has survived when it is acknowledged.
    pub durability: elastic_flow_store::Durability,
    /// Whether payloads are stored before they are sent.
    pub keep_payloads: KeepPayloads,
    /// How long results of ended steps are kept.
    pub keep_results: Duration,
    /// Workers that must be there for the cluster to count as ready.
    pub min_workers: u32,
    /// The workers that are expected: shown as not joined until they are there.
    pub expected: Vec<ExpectedWorker>,
}

/// A worker that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedWorker {
    /// The name under which it will join.
    pub name: String,
    /// The address that it will advertise, if the configuration says.
    pub address: Option<String>,
    /// Its compute threads, if the configuration says.
    pub slots: Option<u32>,
}

/// When payloads of enumerable chunks go to the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeepPayloads {
    /// When an attempt fails, a worker is lost, or the step stops without it.
    #[default]
    Unfinished,
    /// Before they are sent.
    Always,
}

/// Gives the last log lines of this node.
pub type LogTail = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Gives this node's metrics in Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// A worker's configuration.
#[derive(Clone)]
pub struct WorkerConfig {
    /// What every node needs.
    pub node: NodeConfig,
    /// The master's address.
    pub master: String,
    /// Where it takes the links of other workers; without, at a port that the system chooses: on this machine alone if the master
    /// is here, else at every address.
    pub listen: Option<String>,
    /// The address under which others reach this worker, if it is another than the one where it listens.
    pub advertise: Option<String>,
    /// Compute threads.
    pub slots: u32,
    /// The folders under which it may read splits.
    pub roots: elastic_flow_dataflow::source::DataRoots,
    /// The last log lines, for failures.
    pub log_tail: Option<LogTail>,
    /// The node's metrics, which travel with its heartbeats.
    pub metrics: Option<RenderMetrics>,
}

impl Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerConfig")
            .field("node", &self.node)
            .field("master", &self.master)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
