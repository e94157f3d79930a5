//! What all tasks of an endpoint share.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use elastic_flow_clock::Clock;
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::Lane;
use elastic_flow_wire::message::{Message, Pulse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::EndpointConfig;
use crate::event::TransportEvent;
use crate::hub::Hub;
use crate::inbox::Inbox;
use crate::lane::MessageKind;
use crate::pipe::Span;
use crate::stats::{Direction, ParcelRecord, Throughput};

/// Says what this node's next heartbeat carries.
pub(crate) type PulseFn = Arc<dyn Fn() -> Pulse + Send + Sync>;

/// An event in the inbox, with the place that it takes up there until the consumer has it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: TransportEvent,
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

impl From<TransportEvent> for Queued {
    fn from(event: TransportEvent) -> Self {
        Self { event, _place: None }
    }
}

pub(crate) struct Shared {
    pub(crate) config: EndpointConfig,
    pub(crate) stats: Throughput,
    pub(crate) inbox: Inbox<Queued>,
    pub(crate) hub: Hub,
    pub(crate) clock: Arc<dyn Clock>,
    /// Leave in good order: send what waits, say goodbye.
    pub(crate) closing: CancellationToken,
    /// Leave now.
    pub(crate) abort: CancellationToken,
    /// Places for the rise and fall of links that the consumer has not yet taken.
    pub(crate) borders: Arc<Semaphore>,
    pulse: Mutex<PulseFn>,
    /// Nodes whose link is up.
    connected: Mutex<BTreeSet<NodeId>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its value whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(config: EndpointConfig, hub: Hub, clock: Arc<dyn Clock>) -> Arc<Self> {
        let stats = Throughput::new(config.on_parcel.clone());
        let borders = config.max_connections.saturating_mul(4).clamp(4, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            config,
            stats,
            inbox: Inbox::new(),
            hub,
            clock,
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
            borders: Arc::new(Semaphore::new(borders)),
            pulse: Mutex::new(Arc::new(Pulse::default)),
            connected: Mutex::default(),
        })
    }

    pub(crate) fn set_pulse(&self, pulse: PulseFn) {
        *lock(&self.pulse) = pulse;
    }

    pub(crate) fn pulse(&self) -> Pulse {
        // Called without the lock: it is the node's code, which may set another.
        let pulse = Arc::clone(&lock(&self.pulse));
        pulse()
    }

    /// `false` if it was there already.
    pub(crate) fn connect(&self, node: NodeId) -> bool {
        lock(&self.connected).insert(node)
    }

    pub(crate) fn disconnect(&self, node: NodeId) {
        lock(&self.connected).remove(&node);
    }

    pub(crate) fn is_connected(&self, node: NodeId) -> bool {
        lock(&self.connected).contains(&node)
    }

    pub(crate) fn connected(&self) -> usize {
        lock(&self.connected).len()
    }

    /// Books a message that was encoded or decoded, by what the connection's traffic was before and is now. Gives the
    /// message's size before compression and on the wire.
    pub(crate) fn book(
        &self,
        peer: NodeId,
        direction: Direction,
        lane: Lane,
        message: &Message,
        (before, now): Span,
    ) -> (u64, u64) {
        let raw_bytes = now.raw_bytes.saturating_sub(before.raw_bytes);
        let wire_bytes = now.wire_bytes.saturating_sub(before.wire_bytes);
        let kind = MessageKind::of(message);
        let at = self.clock.now();
        self.stats.parcel(&ParcelRecord { at, peer, direction, kind, lane, raw_bytes, wire_bytes });
        (raw_bytes, wire_bytes)
    }
}

/// Fresh random bytes from the system.
pub(crate) fn fresh<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
