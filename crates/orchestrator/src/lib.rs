//! Master and worker: who runs what, what becomes of it, and how it is brought together.
//!
//! Deciding code is pure (`master::core`, `worker::core`: events and time in, effects out) and is run by the simulator as it is run
//! by the shells here, which own all threads, sockets and files.
//!
//! - [`api`]: what a master can be asked; [`config`]: settings and defaults; [`interceptor`]: user hooks;
//! - [`journal`]: the records of the master's journal;
//! - [`master`], [`worker`]: deciding code and shells;
//! - [`local`]: a cluster within this process; [`handle`]: typed handles on a cluster and its steps;
//! - [`offline`]: the store of a stopped master.

pub mod api;
pub mod config;
mod error;
pub mod handle;
pub mod interceptor;
pub mod journal;
mod links;
pub mod local;

pub mod master;
mod meters;
mod observer;
pub mod offline;
mod programs;
mod retention;
pub mod worker;

pub use api::{ApiError, Submission};
pub use config::{
    ExpectedWorker, KeepPayloads, MakeMethod, MasterConfig, MethodKind, NodeConfig, ReadFiles, Settings, WorkerConfig,
};
pub use error::StartError;
pub use handle::{ClusterHandle, Finished, Partial, RunError, StepError, StepHandle, StepRequest};
pub use interceptor::{ChunkEvent, Counts, Interceptor, Interceptors};
pub use local::{Cluster, LocalCluster};

pub use master::{MakeMonitor, Master, MasterHandle, Monitor, MonitorError, StopMode, StopReason, Watched};
pub use programs::{Duplicate, MakeItems, Programs};
pub use worker::Worker;

pub use elastic_flow_receipt::NodeId;

/// A new incarnation.
fn fresh_node() -> Result<NodeId, StartError> {
    fresh::<16>().map(|it| NodeId(u128::from_be_bytes(it)))
}

/// A secret for nodes of one process.
fn fresh_secret() -> Result<elastic_flow_wire::Secret, StartError> {
    fresh::<32>().map(elastic_flow_wire::Secret::from_bytes)
}

fn fresh<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|it| StartError::Entropy(std::io::Error::other(it)))?;
    Ok(bytes)
}

/// A build id as the handshake carries it.
fn wide_build(build: u128) -> [u8; 32] {
    let mut wide = [0; 32];
    let (head, _) = wide.split_at_mut(16);
    head.copy_from_slice(&build.to_be_bytes());
    wide
}

/// A build id as it came with the handshake.
fn narrow_build(wide: &[u8; 32]) -> u128 {
    wide.iter().take(16).fold(0, |build, byte| (build << 8) | u128::from(*byte))
}
