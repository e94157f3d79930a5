//! How an endpoint introduces itself, and its limits.

use std::fmt;
use std::time::Duration;

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::{Channel, Compression, Handshake, Hello, PROTOCOL_VERSIONS, Role};

use crate::error::TransportError;
use crate::keyring::Keyring;
use crate::session::NONCE_BYTES;
use crate::stats::ParcelHook;

/// How often a node lets its peers hear of it.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// How long silence may last.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);
/// How long a stranger may take to prove itself.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How much a peer may send ahead of this node's consumer, in bytes.
pub const CREDIT_BYTES: u64 = 8 * 1024 * 1024;
/// How many peers may be connected at once.
pub const MAX_CONNECTIONS: usize = 1024;

/// How an endpoint introduces itself, and its limits. [`EndpointConfig::new`] has the defaults.
#[derive(Clone)]
pub struct EndpointConfig {
    /// The cluster's name.
    pub cluster: String,
    /// What this node is.
    pub role: Role,
    /// Its name, for people.
    pub name: String,
    /// Its incarnation: drawn anew at each start of its process.
    pub node: NodeId,
    /// Digest of its executable.
    pub build: [u8; 32],
    /// Digest of its programs' plans.
    pub plans: u64,
    /// Digest of the schemas of its types.
    pub schema: u64,
    /// Its compute threads.
    pub slots: u32,
    /// A master's epoch; the highest that a worker has seen, 0 for none.
    pub epoch: u64,
    /// Where others reach it, for the peers to know; empty to say nothing.
    pub data_address: String,
    /// The keys of the cluster; whoever holds a clone can replace them.
    pub keys: Keyring,
    /// Whether somebody gave the key on purpose; one that was made by itself is good on one machine only.
    pub key_given: bool,
    /// How data is compressed.
    pub compression: Compression,
    /// How often to send a heartbeat.
    pub heartbeat_every: Duration,
    /// How long a peer may be silent.
    pub dead_after: Duration,
    /// How long a handshake may take, both connections of a link included.
    pub handshake_timeout: Duration,
    /// How much a peer may send ahead of this node's consumer, in bytes.
    pub credit_bytes: u64,
    /// Whether authenticated plain text is allowed beyond this machine.
    pub insecure_plaintext: bool,
    /// How many peers may be connected at once.
    pub max_connections: usize,
    /// Whether control connections have a thread of their own. Off only under a simulator, whose time must not pass elsewhere.
    pub heartbeat_thread: bool,
    /// Called for each message sent or received.
    pub on_parcel: Option<ParcelHook>,
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("cluster", &self.cluster)
            .field("role", &self.role)
            .field("name", &self.name)
            .field("node", &self.node)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl EndpointConfig {
    /// A node with these names, and defaults for all else: no build, plan or schema, epoch 0, one slot.
    #[must_use]
    pub fn new(cluster: &str, role: Role, name: &str, node: NodeId, keys: impl Into<Keyring>) -> Self {
        Self {
            cluster: cluster.to_owned(),
            role,
            name: name.to_owned(),
            node,
            build: [0; 32],
            plans: 0,
            schema: 0,
            slots: 1,
            epoch: 0,
            data_address: String::new(),
            keys: keys.into(),
            key_given: false,
            compression: Compression::Auto,
            heartbeat_every: HEARTBEAT_EVERY,
            dead_after: DEAD_AFTER,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            credit_bytes: CREDIT_BYTES,
            insecure_plaintext: false,
            max_connections: MAX_CONNECTIONS,
            heartbeat_thread: true,
            on_parcel: None,
        }
    }

    /// What this node says first on a connection that it opens.
    pub(crate) fn hello(&self, epoch: u64, channel: Channel, nonce: [u8; NONCE_BYTES]) -> Hello {
        Hello {
            versions: PROTOCOL_VERSIONS,
            cluster: self.cluster.clone(),
            role: self.role,
            incarnation: self.node,
            name: self.name.clone(),
            build: self.build,
            plans: self.plans,
            schema: self.schema,
            slots: self.slots,
            epoch,
            data_address: self.data_address.clone(),
            channel,
            nonce,
        }
    }

    /// Checks what would otherwise fail at the first connection.
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let hello = self.hello(self.epoch, Channel::Control, [0; NONCE_BYTES]);
        Handshake::Hello(hello).to_body().map_err(TransportError::Names)?;
        let setting = |setting, value: Duration, expected| {
            Err(TransportError::Setting { setting, value: format!("{value:?}"), expected })
        };
        if self.heartbeat_every.is_zero() {
            return setting("heartbeat.every", self.heartbeat_every, "more than nothing");
        }
        if self.dead_after <= self.heartbeat_every {
            return setting("heartbeat.dead_after", self.dead_after, "longer than heartbeat.every");
        }
        Ok(())
    }

    /// Whether this node may speak with `addr`, which is beyond this machine.
    pub(crate) fn check_beyond_loopback(&self, addr: &str) -> Result<(), TransportError> {
        if !self.key_given {
            return Err(TransportError::KeyNotGiven { addr: addr.to_owned() });
        }
        if !self.insecure_plaintext {
            return Err(TransportError::Plaintext { addr: addr.to_owned() });
        }
        Ok(())
    }
}
