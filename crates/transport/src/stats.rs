//! What has passed an endpoint: counters, and one record a parcel for whoever wants it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use elastic_flow_clock::Mono;
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::Lane;

use crate::lane::MessageKind;

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From this node.
    Sent,
    /// To this node.
    Received,
}

/// One message on its way through an endpoint's sender or receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParcelRecord {
    /// When, on the endpoint's clock.
    pub at: Mono,
    /// The node at the other end.
    pub peer: NodeId,
    /// Which way it went.
    pub direction: Direction,
    /// What it was.
    pub kind: MessageKind,
    /// Its connection.
    pub lane: Lane,
    /// Its size encoded, before compression.
    pub raw_bytes: u64,
    /// Its size on the connection, headers included.
    pub wire_bytes: u64,
}

/// Called for each message sent or received, on the I/O or heartbeat thread: it must be short, and must not block.
pub type ParcelHook = Arc<dyn Fn(&ParcelRecord) + Send + Sync>;

/// Why a connection did not become a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Turned {
    /// It did not speak the protocol.
    Garbage,
    /// No protocol version in common.
    Version,
    /// Another cluster's name.
    Cluster,
    /// The key's proof was wrong.
    Key,
    /// The role may not do this.
    Role,
    /// The peer's node is connected already.
    Duplicate,
    /// The master's epoch is lower than one seen before.
    Epoch,
    /// It did not finish its handshake, or its second connection did not come, in time.
    Late,
    /// It closed, or the network failed, before the handshake ended.
    Lost,
    /// Too many connections, in all or from its address.
    Crowded,
}

impl Turned {
    /// All reasons, in order.
    pub const ALL: [Self; 10] = [
        Self::Garbage,
        Self::Version,
        Self::Cluster,
        Self::Key,
        Self::Role,
        Self::Duplicate,
        Self::Epoch,
        Self::Late,
        Self::Lost,
        Self::Crowded,
    ];

    /// The reason as a metrics label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Version => "version",
            Self::Cluster => "cluster",
            Self::Key => "key",
            Self::Role => "role",
            Self::Duplicate => "duplicate",
            Self::Epoch => "epoch",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Crowded => "crowded",
        }
    }
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What has passed one lane in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneStats {
    /// Messages.
    pub messages: u64,
    /// Their bytes encoded, before compression.
    pub raw_bytes: u64,
    /// Their bytes on the connection, headers included.
    pub wire_bytes: u64,
}

/// A snapshot of an endpoint's counters. Each is exact; together they are not of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TransportStats {
    /// Sent on control connections.
    pub control_sent: LaneStats,
    /// Received on control connections.
    pub control_received: LaneStats,
    /// Sent on data connections.
    pub data_sent: LaneStats,
    /// Received on data connections.
    pub data_received: LaneStats,
    /// Connections accepted, or opened by this node, since the start.
    pub connections: u64,
    /// Links (pairs of connections) that are up now.
    pub links_up: u64,
    /// Links that went down since the start.
    pub links_lost: u64,
    /// Connections that did not become a peer's, by reason; every reason is listed.
    pub turned: Vec<(Turned, u64)>,
    /// Links that came up with the old key of a rotation, since the start.
    pub old_key: u64,
    /// Heartbeats that were not delivered because the consumer was behind.
    pub heartbeats_dropped: u64,
}

#[derive(Debug, Default)]
struct LaneCounters {
    messages: AtomicU64,
    raw_bytes: AtomicU64,
    wire_bytes: AtomicU64,
}

impl LaneCounters {
    fn snapshot(&self) -> LaneStats {
        LaneStats {
            messages: self.messages.load(Ordering::Relaxed),
            raw_bytes: self.raw_bytes.load(Ordering::Relaxed),
            wire_bytes: self.wire_bytes.load(Ordering::Relaxed),
        }
    }
}

/// The live counters of an endpoint. Relaxed: they decide nothing.
#[derive(Default)]
pub(crate) struct Throughput {
    lanes: [LaneCounters; 4],
    connections: AtomicU64,
    links_up: AtomicU64,
    links_lost: AtomicU64,
    old_key: AtomicU64,
    heartbeats_dropped: AtomicU64,
    turned: [AtomicU64; Turned::ALL.len()],
    hook: Option<ParcelHook>,
}

impl fmt::Debug for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl Throughput {
    pub(crate) fn new(hook: Option<ParcelHook>) -> Self {
        Self { hook, ..Self::default() }
    }

    fn lane(&self, direction: Direction, lane: Lane) -> &LaneCounters {
        let [control_sent, control_received, data_sent, data_received] = &self.lanes;
        match (direction, lane) {
            (Direction::Sent, Lane::Control) => control_sent,
            (Direction::Received, Lane::Control) => control_received,
            (Direction::Sent, Lane::Data) => data_sent,
            (Direction::Received, Lane::Data) => data_received,
        }
    }

    pub(crate) fn parcel(&self, record: &ParcelRecord) {
        let counters = self.lane(record.direction, record.lane);
        counters.messages.fetch_add(1, Ordering::Relaxed);
        counters.raw_bytes.fetch_add(record.raw_bytes, Ordering::Relaxed);
        counters.wire_bytes.fetch_add(record.wire_bytes, Ordering::Relaxed);
        if let Some(hook) = &self.hook {
            hook(record);
        }
    }

    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn link_up(&self) {
        self.links_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn link_down(&self) {
        self.links_up.fetch_sub(1, Ordering::Relaxed);
        self.links_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn heartbeat_dropped(&self) {
        self.heartbeats_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn old_key(&self) {
        self.old_key.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turned(&self, reason: Turned) {
        for (known, counter) in Turned::ALL.iter().zip(&self.turned) {
            if *known == reason {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn turned_by_reason(&self) -> Vec<(Turned, u64)> {
        Turned::ALL.iter().zip(&self.turned).map(|(reason, it)| (*reason, it.load(Ordering::Relaxed))).collect()
    }

    pub(crate) fn snapshot(&self) -> TransportStats {
        TransportStats {
            control_sent: self.lane(Direction::Sent, Lane::Control).snapshot(),
            control_received: self.lane(Direction::Received, Lane::Control).snapshot(),
            data_sent: self.lane(Direction::Sent, Lane::Data).snapshot(),
            data_received: self.lane(Direction::Received, Lane::Data).snapshot(),
            connections: self.connections.load(Ordering::Relaxed),
            links_up: self.links_up.load(Ordering::Relaxed),
            links_lost: self.links_lost.load(Ordering::Relaxed),
            turned: self.turned_by_reason(),
            old_key: self.old_key.load(Ordering::Relaxed),
            heartbeats_dropped: self.heartbeats_dropped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn each_lane_and_direction_is_counted_apart_and_handed_to_the_hook() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let stats = Throughput::new(Some(Arc::new(move |record: &ParcelRecord| keep.lock().unwrap().push(*record))));
        let record = |direction, lane, raw_bytes| ParcelRecord {
            at: Mono::ZERO,
            peer: NodeId(7),
            direction,
            kind: MessageKind::Assign,
            lane,
            raw_bytes,
            wire_bytes: raw_bytes + 1,
        };
        let records = [
            record(Direction::Sent, Lane::Data, 10),
            record(Direction::Sent, Lane::Data, 20),
            record(Direction::Received, Lane::Control, 5),
        ];
        records.iter().for_each(|it| stats.parcel(it));
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.data_sent, LaneStats { messages: 2, raw_bytes: 30, wire_bytes: 32 });
        assert_eq!(snapshot.control_received, LaneStats { messages: 1, raw_bytes: 5, wire_bytes: 6 });
        assert_eq!(snapshot.control_sent, LaneStats::default());
        assert_eq!(*seen.lock().unwrap(), records);
    }

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let stats = Throughput::default();
        for (times, reason) in (1..).zip(Turned::ALL) {
            (0..times).for_each(|_| stats.turned(reason));
        }
        let counted: Vec<u64> = stats.snapshot().turned.into_iter().map(|it| it.1).collect();
        assert_eq!(counted, (1..=10).collect::<Vec<u64>>());
        let mut labels: Vec<&str> = Turned::ALL.iter().map(|it| it.label()).collect();
        labels.dedup();
        assert_eq!(labels.len(), Turned::ALL.len());
    }
}
