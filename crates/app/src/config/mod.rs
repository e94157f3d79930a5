//! Configuration: a TOML file, overridden by the environment, overridden by the command line; checked as a whole, every error
//! at once.

mod keys;
mod origin;
mod servers;
mod show;
mod source;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use elastic_flow_orchestrator::config::{ADMIN_PORT, CLUSTER_PORT};
use elastic_flow_orchestrator::{KeepPayloads, Settings};
use elastic_flow_store::Durability;
use elastic_flow_wire::Compression;

pub use keys::known_keys;
pub use origin::Origin;
pub use servers::{Port, PortUse, SLOTS_MAX, Server, ServerRole};
pub(crate) use servers::{is_unspecified, split_address};
pub use show::Shown;
pub use source::{ConfigError, ConfigErrors, ENV_KEY_FILE, ENV_LOG, ENV_OLD_KEY_FILE, Origins, Sources};

/// What a node is configured to be.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The cluster's name.
    pub cluster: String,
    /// The program of `run` and `submit` where none is named.
    pub program: Option<String>,
    /// Registered interceptors to use, in order.
    pub interceptors: Vec<String>,
    /// Compression of parcels.
    pub compress: Compression,
    /// Time for open work when a node is asked to stop.
    pub shutdown_grace: Duration,
    /// The folders from which workers read; none leaves it to where the worker runs.
    pub data_roots: Option<Vec<String>>,
    /// How workers are picked: `least-open-receipts`, `round-robin`, or a registered name.
    pub method: String,
    /// The registered window by which sources are cut, if by any.
    pub window: Option<String>,
    /// The deciding code's settings: `distribute` and `retry`.
    pub settings: Settings,
    /// `store`.
    pub store: StoreConfig,
    /// `heartbeat`.
    pub heartbeat: HeartbeatConfig,
    /// `security`.
    pub security: SecurityConfig,
    /// `admin`.
    pub admin: AdminSection,
    /// The servers, by name.
    pub servers: BTreeMap<String, Server>,
}

/// `store`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// `memory`, `fs:DIR`, `rocksdb:DIR` or a registered name; none takes the command's default.
    pub url: Option<String>,
    /// What an acknowledged write has survived.
    pub durability: Durability,
    /// When payloads of enumerable chunks go to the store.
    pub keep_payloads: KeepPayloads,
    /// How long results of ended steps are kept.
    pub keep_results: Duration,
}

/// `heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeartbeatConfig {
    /// Interval.
    pub every: Duration,
    /// Silence after which a peer is dead.
    pub dead_after: Duration,
    /// Who says which of the connected workers count as living: `default`, which is that all do, or a registered name.
    pub monitor: String,
}

/// `security`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecurityConfig {
    /// The file with the cluster's key; none takes the user's own.
    pub key_file: Option<PathBuf>,
    /// The file with the key before it, which is still accepted while the cluster's key is replaced.
    pub old_key_file: Option<PathBuf>,
    /// Whether listeners beyond loopback may do without encryption.
    pub insecure_plaintext: bool,
}

/// `admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminSection {
    /// Where the master's HTTP face listens.
    pub listen: String,
    /// Names under which it may be addressed, beside its IP address and `localhost`.
    pub hosts: Vec<String>,
    /// Whether `/metrics` takes no token beyond loopback either.
    pub metrics_open: bool,
    /// Workers that must be there until `/readyz` says that the master is ready.
    pub min_workers: u32,
}

/// Time for open work when a node is asked to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Interval of heartbeats.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Silence after which a peer is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);
/// How long results of ended steps are kept.
pub const KEEP_RESULTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The distribution method that gives a chunk to the worker with the fewest open receipts.
pub const LEAST_OPEN_RECEIPTS: &str = "least-open-receipts";
/// The distribution method that takes the workers in turn.
pub const ROUND_ROBIN: &str = "round-robin";
/// The heartbeat monitor for which whoever is connected lives.
pub const DEFAULT_MONITOR: &str = "default";
/// The name of a cluster that has none.
pub const CLUSTER_NAME: &str = "default";

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: CLUSTER_NAME.to_owned(),
            program: None,
            interceptors: Vec::new(),
            compress: Compression::default(),
            shutdown_grace: SHUTDOWN_GRACE,
            data_roots: None,
            method: LEAST_OPEN_RECEIPTS.to_owned(),
            window: None,
            settings: Settings::default(),
            store: StoreConfig {
                url: None,
                durability: Durability::default(),
                keep_payloads: KeepPayloads::default(),
                keep_results: KEEP_RESULTS,
            },
            heartbeat: HeartbeatConfig {
                every: HEARTBEAT_EVERY,
                dead_after: DEAD_AFTER,
                monitor: DEFAULT_MONITOR.to_owned(),
            },
            security: SecurityConfig::default(),
            admin: AdminSection {
                listen: format!("127.0.0.1:{ADMIN_PORT}"),
                hosts: Vec::new(),
                metrics_open: false,
                min_workers: 0,
            },
            servers: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Where a master listens for workers if nothing says otherwise.
    #[must_use]
    pub fn default_listen() -> String {
        format!("127.0.0.1:{CLUSTER_PORT}")
    }

    /// What can only be judged with the whole at hand.
    fn check(&self, errors: &mut Vec<ConfigError>) {
        let mut wrong = |key: &str, message: String| errors.push(ConfigError::new(key, message));
        if !is_name(&self.cluster) {
            wrong(
                "cluster",
                format!("is {:?}, but a name consists of 1 to 128 letters, digits, '.', '_' and '-'", self.cluster),
            );
        }
        let (every, dead_after) = (self.heartbeat.every, self.heartbeat.dead_after);
        if every < Duration::from_millis(10) {
            wrong("heartbeat.every", format!("is {every:?}, but has to be at least 10 ms"));
        }
        if dead_after < every.saturating_mul(2) {
            wrong(
                "heartbeat.dead_after",
                format!("is {dead_after:?}, but has to be at least twice heartbeat.every ({every:?})"),
            );
        }
        let settings = &self.settings;
        for (key, value, least) in [
            ("distribute.chunk_bytes", settings.chunk_bytes, 1),
            ("distribute.chunk_items", settings.chunk_items, 1),
            ("distribute.open_per_slot", u64::from(settings.open_per_slot), 1),
            ("distribute.task_chunks_max", u64::from(settings.task_chunks_max), 1),
            ("retry.max_attempts", u64::from(settings.max_attempts), 1),
        ] {
            if value < least {
                wrong(key, format!("is {value}, but has to be at least {least}"));
            }
        }
        if settings.chunk_bytes > elastic_flow_orchestrator::config::CHUNK_BYTES_MAX {
            wrong("distribute.chunk_bytes", format!("is {}, but chunks have at most 64 MiB", settings.chunk_bytes));
        }
        servers::check(self, &mut wrong);
    }
}

/// Whether `text` can name a cluster, a node or a program.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
