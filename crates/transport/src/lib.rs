//! The transport of Elastic Flow: connections, handshake, sender, receiver and credit.
//!
//! Each node has one [`Endpoint`], through which all its parcels pass. A pair of nodes is a *link*: one connection for control,
//! one for data, so that bulk never delays a heartbeat. This crate knows messages by their kind only; what they mean is the
//! orchestrator's.
//!
//! Modules in reading order:
//! - [`net`]: how bytes travel: TCP, pipes within the process;
//! - `lane`, [`credit`], [`liveness`], [`backoff`], [`session`]: what decides, without I/O or clock;
//! - `config`, `event`, `sender`, `stats`, `error`: what a node sees;
//! - `inbox`, `hub`, `pipe`, `link`, `control`, `listen`, `dial`, `endpoint`: the tasks, from the queue of events to their owner.
//!
//! Rules that hold throughout: every queue is bounded, every wait has a deadline or is cancelled, every task has an owner that
//! joins it, and nothing that a stranger sends sizes an allocation or makes a line in the log.

pub mod backoff;
mod config;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod control;
pub mod credit;
mod dial;
mod endpoint;
mod error;
mod event;
mod hub;
mod inbox;
mod keyring;
mod lane;
mod link;
mod listen;
pub mod liveness;
pub mod net;
mod pipe;
mod sender;
pub mod session;
mod shared;
mod stats;

pub use config::{CREDIT_BYTES, DEAD_AFTER, EndpointConfig, HANDSHAKE_TIMEOUT, HEARTBEAT_EVERY, MAX_CONNECTIONS};
pub use credit::Grant;
pub use endpoint::Endpoint;
pub use error::TransportError;
pub use event::{DownReason, PeerInfo, TransportEvent, Violation};
pub use keyring::Keyring;
pub use lane::MessageKind;
pub use listen::{STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX};
pub use net::{Memory, Net, Tcp};
pub use sender::{PeerSender, SendError};
pub use session::HandshakeError;
pub use stats::{Direction, LaneStats, ParcelHook, ParcelRecord, TransportStats, Turned};

#[cfg(test)]
mod tests;
