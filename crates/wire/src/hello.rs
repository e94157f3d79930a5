//! What peers say to each other before the first message, as data, and the rules for it.
//!
//! ```text
//! client                                          server
//!   hello      who I am, my nonce          ->
//!              <-   who I am, the version, which        challenge  (or refuse)
//!                   keys I take, my nonce
//!   proof      that I hold the key         ->
//!              <-   that I hold it too                   welcome    (or refuse)
//!   messages                              <->            messages
//! ```
//!
//! [`crate::Transcript`] is taken over the bodies of hello and challenge, as they were on the wire; proofs and frame keys come
//! from it. Every body is at most 512 bytes, and every text in it is checked before it is copied.

use std::fmt;

use bytes::BytesMut;
use elastic_flow_receipt::NodeId;
use serde::{Deserialize, Serialize};

use crate::codec::{Bincode, Codec, CodecError, Tier, encode_to_vec};
use crate::frame::{Frame, FrameEncoder, FrameError, FrameKind, HANDSHAKE_BYTES_MAX};
use crate::secret::{KEY_BYTES, KeyId, KeyRole, Proof};

/// The versions of the protocol that this build speaks, lowest and highest.
pub const PROTOCOL_VERSIONS: (u16, u16) = (1, 1);
/// The longest cluster or node name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest address at which a worker takes data, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 200;
/// The longest text of a refusal, in bytes.
pub const REFUSAL_BYTES_MAX: usize = 400;

/// A hello without its texts: versions, role, incarnation, build, plans, schema, slots, epoch, channel, nonce, three lengths.
const HELLO_FIXED_BYTES: usize = 4 + 4 + 16 + 32 + 8 + 8 + 4 + 8 + 4 + KEY_BYTES + 3 * 8;
const _: () = assert!(HELLO_FIXED_BYTES + 2 * NAME_BYTES_MAX + ADDRESS_BYTES_MAX <= HANDSHAKE_BYTES_MAX);
const _: () = assert!(4 + 8 + REFUSAL_BYTES_MAX <= HANDSHAKE_BYTES_MAX);

/// What a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Cuts, distributes, aggregates.
    Master,
    /// Runs tasks.
    Worker,
    /// Submits steps and asks for results.
    Client,
    /// A worker, to another worker: exchanges parcels with it.
    Peer,
}

impl Role {
    /// The key that a peer of this role must hold.
    #[must_use]
    pub const fn key_role(self) -> KeyRole {
        match self {
            Self::Master | Self::Worker | Self::Peer => KeyRole::Worker,
            Self::Client => KeyRole::Submit,
        }
    }
}

/// What a connection is for: bulk must never delay a heartbeat, so each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channel {
    /// Heartbeats, credit, notices.
    Control,
    /// Tasks and results.
    Data,
}

/// The client's first words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest and highest protocol version that it speaks.
    pub versions: (u16, u16),
    /// The cluster that it means.
    pub cluster: String,
    /// What it is.
    pub role: Role,
    /// Its incarnation: drawn anew at each start of its process.
    pub incarnation: NodeId,
    /// Its name.
    pub name: String,
    /// Digest of its executable.
    pub build: [u8; KEY_BYTES],
    /// Digest of the plans of its registered programs.
    pub plans: u64,
    /// Digest of the schemas of the types that they send and store.
    pub schema: u64,
    /// Its compute threads; 0 for a client.
    pub slots: u32,
    /// The highest epoch of a master that it has seen; 0 for none. A master of a lower one is fenced.
    pub epoch: u64,
    /// Where others reach it, as it says itself; empty if it says nothing.
    pub data_address: String,
    /// What the connection is for.
    pub channel: Channel,
    /// 32 random bytes, fresh for this connection.
    pub nonce: [u8; KEY_BYTES],
}

/// [`Hello`] as it is on the wire. Borrows, so that a stranger's texts are measured before they are copied.
#[derive(Serialize, Deserialize)]
struct HelloWire<'a> {
    version_min: u16,
    version_max: u16,
    cluster: &'a str,
    role: Role,
    incarnation: NodeId,
    name: &'a str,
    build: [u8; KEY_BYTES],
    plans: u64,
    schema: u64,
    slots: u32,
    epoch: u64,
    data_address: &'a str,
    channel: Channel,
    nonce: [u8; KEY_BYTES],
}

/// The server's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The protocol version that both will speak.
    pub version: u16,
    /// Its incarnation.
    pub incarnation: NodeId,
    /// Its name.
    pub name: String,
    /// The master's epoch; 0 if the server is none.
    pub epoch: u64,
    /// Digest of its executable.
    pub build: [u8; KEY_BYTES],
    /// Whether frames after the handshake carry a tag, both ways.
    pub tags: bool,
    /// The keys that it takes: the newest one, and during a rotation the one before it.
    pub keys: (KeyId, Option<KeyId>),
    /// 32 random bytes, fresh for this connection.
    pub nonce: [u8; KEY_BYTES],
}

#[derive(Serialize, Deserialize)]
struct ChallengeWire<'a> {
    version: u16,
    incarnation: NodeId,
    name: &'a str,
    epoch: u64,
    build: [u8; KEY_BYTES],
    tags: bool,
    keys: (KeyId, Option<KeyId>),
    nonce: [u8; KEY_BYTES],
}

/// Why a server refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefusalReason {
    /// No protocol version in common.
    Version,
    /// Another cluster.
    Cluster,
    /// The key does not match.
    Key,
    /// The role may not do this here.
    Role,
    /// A node of this name or incarnation is connected already.
    DuplicateNode,
    /// No room for another connection now: try again later.
    Busy,
    /// A master of a later epoch is known.
    EpochFenced,
}

/// A server's refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {message}")]
pub struct Refusal {
    /// Why, for the program.
    pub reason: RefusalReason,
    /// Why, for people: which thing differs and what to do.
    pub message: String,
}

#[derive(Serialize, Deserialize)]
struct RefusalWire<'a> {
    reason: RefusalReason,
    message: &'a str,
}

/// Why handshake data is not what it must be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// It does not decode.
    #[error("handshake does not decode")]
    Codec(#[from] CodecError),
    /// A text is too long.
    #[error("{field} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A text has a character that it may not have.
    #[error("{field} may have letters, digits, `.`, `_` and `-` only, and at least one of them")]
    Characters {
        /// Which text.
        field: &'static str,
    },
    /// The lowest version is above the highest.
    #[error("protocol versions {min} to {max} are no range")]
    Versions {
        /// The lowest.
        min: u16,
        /// The highest.
        max: u16,
    },
    /// The frame is none of the handshake.
    #[error("{found:?} frame is not part of the handshake")]
    Kind {
        /// What came.
        found: FrameKind,
    },
    /// The frame cannot be written.
    #[error("handshake frame cannot be written")]
    Frame(#[from] FrameError),
}

/// Checks the name of a cluster or node: 1 to 64 bytes of `A-Z a-z 0-9 . _ -`. `field` says what it is in an error.
///
/// # Errors
/// It is too long, empty, or has another character.
pub fn check_name(field: &'static str, name: &str) -> Result<(), HelloError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(HelloError::TooLong { field, bytes: name.len(), bytes_max: NAME_BYTES_MAX });
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(HelloError::Characters { field });
    }
    Ok(())
}

/// An address is shown and connected to, nothing else: printable, without blanks.
fn check_address(address: &str) -> Result<(), HelloError> {
    let field = "data address";
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(HelloError::TooLong { field, bytes: address.len(), bytes_max: ADDRESS_BYTES_MAX });
    }
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'[' | b']' | b'%');
    if address.bytes().all(plain) { Ok(()) } else { Err(HelloError::Characters { field }) }
}

impl HelloWire<'_> {
    fn check(&self) -> Result<(), HelloError> {
        if self.version_min > self.version_max {
            return Err(HelloError::Versions { min: self.version_min, max: self.version_max });
        }
        check_name("cluster name", self.cluster)?;
        check_name("node name", self.name)?;
        check_address(self.data_address)
    }
}

impl Hello {
    fn to_body(&self) -> Result<Vec<u8>, HelloError> {
        let wire = HelloWire {
            version_min: self.versions.0,
            version_max: self.versions.1,
            cluster: &self.cluster,
            role: self.role,
            incarnation: self.incarnation,
            name: &self.name,
            build: self.build,
            plans: self.plans,
            schema: self.schema,
            slots: self.slots,
            epoch: self.epoch,
            data_address: &self.data_address,
            channel: self.channel,
            nonce: self.nonce,
        };
        wire.check()?;
        Ok(encode_to_vec(&wire)?)
    }

    fn from_body(body: &[u8]) -> Result<Self, HelloError> {
        let wire: HelloWire<'_> = Bincode::decode(body, Tier::Control)?;
        wire.check()?;
        Ok(Self {
            versions: (wire.version_min, wire.version_max),
            cluster: wire.cluster.to_owned(),
            role: wire.role,
            incarnation: wire.incarnation,
            name: wire.name.to_owned(),
            build: wire.build,
            plans: wire.plans,
            schema: wire.schema,
            slots: wire.slots,
            epoch: wire.epoch,
            data_address: wire.data_address.to_owned(),
            channel: wire.channel,
            nonce: wire.nonce,
        })
    }

    /// What a server of cluster `cluster` that speaks `versions` answers: the version to speak, the highest of both.
    ///
    /// # Errors
    /// The refusal to send: it says which of the two differs.
    pub fn admit(&self, cluster: &str, versions: (u16, u16)) -> Result<u16, Refusal> {
        let version = self.versions.1.min(versions.1);
        if version < self.versions.0.max(versions.0) {
            let (theirs, ours) = (Range(self.versions), Range(versions));
            let message = format!("protocol versions differ: you speak {theirs}, this node {ours}; run one version");
            return Err(Refusal { reason: RefusalReason::Version, message });
        }
        if self.cluster != cluster {
            let message =
                format!("cluster names differ: this node is not of `{}`; check `cluster` and address", self.cluster);
            return Err(Refusal { reason: RefusalReason::Cluster, message });
        }
        Ok(version)
    }
}

/// A range of versions for people.
struct Range((u16, u16));

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = self.0;
        if min == max { write!(f, "{min}") } else { write!(f, "{min} to {max}") }
    }
}

impl Challenge {
    fn to_body(&self) -> Result<Vec<u8>, HelloError> {
        check_name("node name", &self.name)?;
        Ok(encode_to_vec(&ChallengeWire {
            version: self.version,
            incarnation: self.incarnation,
            name: &self.name,
            epoch: self.epoch,
            build: self.build,
            tags: self.tags,
            keys: self.keys,
            nonce: self.nonce,
        })?)
    }

    fn from_body(body: &[u8]) -> Result<Self, HelloError> {
        let wire: ChallengeWire<'_> = Bincode::decode(body, Tier::Control)?;
        check_name("node name", wire.name)?;
        Ok(Self {
            version: wire.version,
            incarnation: wire.incarnation,
            name: wire.name.to_owned(),
            epoch: wire.epoch,
            build: wire.build,
            tags: wire.tags,
            keys: wire.keys,
            nonce: wire.nonce,
        })
    }
}

impl Refusal {
    fn to_body(&self) -> Result<Vec<u8>, HelloError> {
        let end = self.message.floor_char_boundary(REFUSAL_BYTES_MAX);
        let message = self.message.get(..end).unwrap_or_default();
        Ok(encode_to_vec(&RefusalWire { reason: self.reason, message })?)
    }

    /// A peer's text reaches logs and terminals: control characters are taken out.
    fn from_body(body: &[u8]) -> Result<Self, HelloError> {
        let RefusalWire { reason, message } = Bincode::decode(body, Tier::Control)?;
        if message.len() > REFUSAL_BYTES_MAX {
            return Err(HelloError::TooLong { field: "refusal", bytes: message.len(), bytes_max: REFUSAL_BYTES_MAX });
        }
        Ok(Self { reason, message: message.chars().filter(|character| !character.is_control()).collect() })
    }
}

/// A handshake frame's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// Client to server, the first.
    Hello(Hello),
    /// Server to client, the answer.
    Challenge(Challenge),
    /// Client to server.
    Proof(Proof),
    /// Server to client: the connection stands.
    Welcome(Proof),
    /// Server to client, instead of a challenge or a welcome.
    Refuse(Refusal),
}

impl Handshake {
    /// The kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Challenge(_) => FrameKind::Challenge,
            Self::Proof(_) => FrameKind::Proof,
            Self::Welcome(_) => FrameKind::Welcome,
            Self::Refuse(_) => FrameKind::Refuse,
        }
    }

    /// The body of its frame: what goes into the [`crate::Transcript`]. A refusal's text is cut to [`REFUSAL_BYTES_MAX`].
    ///
    /// # Errors
    /// A name or the address is not what it may be.
    pub fn to_body(&self) -> Result<Vec<u8>, HelloError> {
        match self {
            Self::Hello(hello) => hello.to_body(),
            Self::Challenge(challenge) => challenge.to_body(),
            Self::Proof(proof) | Self::Welcome(proof) => Ok(encode_to_vec(proof)?),
            Self::Refuse(refusal) => refusal.to_body(),
        }
    }

    /// Appends its frame to `out`, and gives the frame's body.
    ///
    /// # Errors
    /// As [`Handshake::to_body`], or frames carry tags already.
    pub fn put(&self, frames: &mut FrameEncoder, out: &mut BytesMut) -> Result<Vec<u8>, HelloError> {
        let body = self.to_body()?;
        frames.put_handshake(self.kind(), &body, out)?;
        Ok(body)
    }

    /// Reads a handshake frame.
    ///
    /// # Errors
    /// Its body does not decode, or a text in it is not what it may be.
    pub fn from_frame(frame: &Frame) -> Result<Self, HelloError> {
        Self::from_body(frame.kind(), frame.body())
    }

    /// Reads the body of a handshake frame of `kind`.
    ///
    /// # Errors
    /// As [`Handshake::from_frame`].
    pub fn from_body(kind: FrameKind, body: &[u8]) -> Result<Self, HelloError> {
        match kind {
            FrameKind::Hello => Ok(Self::Hello(Hello::from_body(body)?)),
            FrameKind::Challenge => Ok(Self::Challenge(Challenge::from_body(body)?)),
            FrameKind::Proof => Ok(Self::Proof(Bincode::decode(body, Tier::Control)?)),
            FrameKind::Welcome => Ok(Self::Welcome(Bincode::decode(body, Tier::Control)?)),
            FrameKind::Refuse => Ok(Self::Refuse(Refusal::from_body(body)?)),
            FrameKind::Control | FrameKind::Data | FrameKind::Continuation => Err(HelloError::Kind { found: kind }),
        }
    }
}
