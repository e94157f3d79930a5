//! What an endpoint tells its node.

use std::fmt;

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::Message;
use elastic_flow_wire::{Lane, Role};

use crate::credit::{Grant, OverGranted};
use crate::lane::MessageKind;
use crate::sender::PeerSender;

/// A peer as it introduced itself in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its incarnation.
    pub node: NodeId,
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Digest of its executable.
    pub build: [u8; 32],
    /// Digest of its programs' plans.
    pub plans: u64,
    /// Digest of the schemas of its types.
    pub schema: u64,
    /// Its compute threads.
    pub slots: u32,
    /// The master's epoch; 0 from a worker.
    pub epoch: u64,
    /// The host that it connected from, or the address at which it was dialled.
    pub address: String,
    /// Where others reach it, as it says itself; empty if it says nothing.
    pub data_address: String,
}

/// What happened on an endpoint. Of one node, `Up` comes first, then its messages, then `Down`, once.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransportEvent {
    /// Both connections of a peer are there. The same node may come up again after it went down.
    Up {
        /// Who it is.
        peer: PeerInfo,
        /// How to speak to it until it goes down.
        sender: PeerSender,
    },
    /// A peer said something. Order holds within a lane; control overtakes data.
    Message {
        /// Who said it.
        node: NodeId,
        /// What.
        message: Message,
        /// Its size on the connection, headers included.
        wire_bytes: u64,
        /// The room it takes up, for a message on the data lane; dropping it lets the peer send more.
        grant: Option<Grant>,
    },
    /// A peer is gone, or not usable any more.
    Down {
        /// Who.
        node: NodeId,
        /// Why.
        reason: DownReason,
    },
    /// The listener that this endpoint dials will not have it, and that will not change by itself: dialling has ended.
    Refused {
        /// What the other side says, or what this side found out about it.
        reason: String,
    },
}

/// Why a peer went down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// Nothing was heard on its control connection for `dead_after`.
    Silent,
    /// A connection closed or failed.
    Closed,
    /// It broke the protocol.
    Protocol(Violation),
    /// It left in good order, and said why.
    Goodbye(String),
    /// This node ended the link.
    Left,
}

impl DownReason {
    /// The reason as a metrics label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Closed => "closed",
            Self::Protocol(_) => "protocol",
            Self::Goodbye(_) => "goodbye",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("nothing was heard for too long"),
            Self::Closed => f.write_str("the connection was closed"),
            Self::Protocol(violation) => write!(f, "the protocol was broken: {violation}"),
            Self::Goodbye(why) => write!(f, "it left: {why}"),
            Self::Left => f.write_str("this node ended the link"),
        }
    }
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame that is none: wrong magic, checksum, MAC, sequence or length.
    #[error("{0}")]
    Frame(String),
    /// A message that its role may not send.
    #[error("a {role:?} may not send {kind}")]
    Role {
        /// The peer's role.
        role: Role,
        /// What it sent.
        kind: MessageKind,
    },
    /// A message on the wrong connection.
    #[error("{kind} came on the {lane:?} connection")]
    WrongLane {
        /// What it sent.
        kind: MessageKind,
        /// Where.
        lane: Lane,
    },
    /// It gave back more credit than was under way.
    #[error(transparent)]
    OverGranted(#[from] OverGranted),
    /// It sent more than it had credit for.
    #[error("{bytes} bytes were sent without credit")]
    NoCredit {
        /// The message's size, its place in the queue included.
        bytes: u64,
    },
}
