//! Why a node could not start.

use elastic_flow_store::StoreError;
use elastic_flow_transport::TransportError;

use crate::programs::Duplicate;

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The network side.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration names a window that is not registered.
    #[error("{0}: register it before the master starts, or configure none")]
    UnknownWindow(String),
    /// Two programs, sources or windows have one name.
    #[error(transparent)]
    Duplicate(#[from] Duplicate),
    /// The journal says something that this build cannot follow.
    #[error("cannot go on from the journal: {0}")]
    Recovery(String),
    /// The system has no thread left.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Entropy(#[source] std::io::Error),
}
