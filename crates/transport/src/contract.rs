//! The promises that hold over every [`Net`], each as one function; [`transport_contract!`](crate::transport_contract) makes a
//! test of each.
//!
//! Waiting is for an event or a counter, never for a time; each case as a whole has a deadline, so that a broken one fails.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a suite of tests: a failed promise is a panic"
)]

mod hostile;
mod links;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::SystemClock;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};
use elastic_flow_wire::message::{Assignment, Message, Outcome, Payload, PayloadKind, Segment, TaskChunk, TaskResult};
use elastic_flow_wire::{Keys, Role, Secret};

pub use hostile::*;
pub use links::*;

use crate::stats::Turned;
use crate::{DownReason, Endpoint, EndpointConfig, Grant, Net, PeerInfo, PeerSender, TransportEvent};

/// After this long a case has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes one test of each promise. `$net` makes a network, `$addr` is an address on it with a port that it chooses.
#[macro_export]
macro_rules! transport_contract {
    ($net:expr, $addr:expr) => {
        $crate::transport_contract!($net, $addr => peers_introduce_themselves, order_is_kept_on_each_lane,
            a_large_message_passes_whole, credit_bounds_what_is_under_way, control_overtakes_queued_data,
            a_loss_is_reported_once_and_a_return_is_a_new_up, a_worker_finds_its_master_again, heartbeats_carry_the_pulse,
            silence_kills, heartbeats_that_nobody_takes_are_dropped, what_was_sent_before_a_goodbye_arrives, a_second_node_of_one_incarnation_is_refused,
            a_wrong_key_is_refused_by_name, keys_are_rotated_without_a_refusal, another_cluster_is_refused_by_name, an_older_master_is_fenced,
            workers_meet_as_peers, half_a_handshake_times_out, half_a_link_times_out, garbage_is_closed, an_announced_giant_is_closed,
            a_damaged_frame_ends_the_link, a_frame_sent_twice_ends_the_link, a_worker_cannot_command,
            credit_cannot_be_overdrawn, a_frame_that_stalls_ends_the_link, a_goodbye_is_fit_to_be_shown, a_crowd_of_strangers_does_not_lock_workers_out, every_parcel_is_recorded);
    };
    ($net:expr, $addr:expr => $($promise:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $promise() {
            $crate::contract::within_deadline($crate::contract::$promise($net, $addr)).await;
        })+
    };
}

/// Runs a case; fails it if it does not end.
///
/// # Panics
/// If the case takes too long.
pub async fn within_deadline(case: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(DEADLINE, case).await.is_ok(), "the case did not end within {DEADLINE:?}");
}

fn keys() -> Keys {
    Keys::derive(&Secret::from_bytes([7; 32]), "logs")
}

fn config(role: Role, node: u128) -> EndpointConfig {
    let name = if role == Role::Master { "yam1" } else { "yam2" };
    let defaults = EndpointConfig::new("logs", role, name, NodeId(node), keys());
    let beat = Duration::from_millis(50);
    EndpointConfig { key_given: true, insecure_plaintext: true, epoch: 0, heartbeat_every: beat, ..defaults }
}

fn master() -> EndpointConfig {
    EndpointConfig { epoch: 3, build: [5; 32], ..config(Role::Master, 1) }
}

fn worker() -> EndpointConfig {
    config(Role::Worker, 2)
}

async fn listen<N: Net>(net: &N, addr: &str, config: EndpointConfig) -> Endpoint {
    Endpoint::listen(net.clone(), addr, config, Arc::new(SystemClock::new())).await.unwrap()
}

async fn dial<N: Net>(net: &N, master: &Endpoint, config: EndpointConfig) -> Endpoint {
    Endpoint::dial(net.clone(), master.local_addr(), config, Arc::new(SystemClock::new())).await.unwrap()
}

/// A message of the data lane with its size on the wire and its grant, or another event than a heartbeat.
#[derive(Debug)]
enum Seen {
    Up(PeerInfo, PeerSender),
    Message(Message, Option<Grant>),
    Down(NodeId, DownReason),
    Refused(String),
}

/// The next event that is no heartbeat.
async fn next(endpoint: &Endpoint) -> Seen {
    loop {
        match endpoint.next_event().await.unwrap() {
            TransportEvent::Up { peer, sender } => return Seen::Up(peer, sender),
            TransportEvent::Message { message: Message::Heartbeat(_), .. } => {}
            TransportEvent::Message { message, grant, .. } => return Seen::Message(message, grant),
            TransportEvent::Down { node, reason } => return Seen::Down(node, reason),
            TransportEvent::Refused { reason } => return Seen::Refused(reason),
        }
    }
}

async fn up(endpoint: &Endpoint) -> (PeerInfo, PeerSender) {
    match next(endpoint).await {
        Seen::Up(peer, sender) => (peer, sender),
        other => panic!("no peer came up: {other:?}"),
    }
}

async fn down(endpoint: &Endpoint) -> (NodeId, DownReason) {
    match next(endpoint).await {
        Seen::Down(node, reason) => (node, reason),
        other => panic!("no peer went down: {other:?}"),
    }
}

async fn message(endpoint: &Endpoint) -> (Message, Option<Grant>) {
    match next(endpoint).await {
        Seen::Message(message, grant) => (message, grant),
        other => panic!("no message came: {other:?}"),
    }
}

/// A master and a worker, connected, and how each speaks to the other.
struct Connected {
    master: Endpoint,
    worker: Endpoint,
    to_worker: PeerSender,
    to_master: PeerSender,
}

async fn connected<N: Net>(net: &N, addr: &str, master: EndpointConfig, worker: EndpointConfig) -> Connected {
    let master = listen(net, addr, master).await;
    let worker = dial(net, &master, worker).await;
    let (_, to_worker) = up(&master).await;
    let (_, to_master) = up(&worker).await;
    Connected { master, worker, to_worker, to_master }
}

/// Lets all tasks of this runtime go on until `there`.
async fn until(mut there: impl FnMut() -> bool) {
    while !there() {
        tokio::task::yield_now().await;
    }
}

fn turned(endpoint: &Endpoint, reason: Turned) -> u64 {
    endpoint.stats().turned.into_iter().find(|it| it.0 == reason).map_or(0, |it| it.1)
}

fn attempt(number: u64) -> Attempt {
    Attempt { epoch: 3, number }
}

fn receipt(sequence: u64) -> ReceiptId {
    ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence, check: 0 }
}

fn assign(number: u64, body: Bytes) -> Message {
    let payload = Payload { kind: PayloadKind::Bytes, body };
    Message::Assign(Assignment {
        attempt: attempt(number),
        step: StepId(1),
        stage: StageId(0),
        generation: 0,
        chunks: vec![TaskChunk { receipt: receipt(number), input: 0, payload }],
    })
}

fn result(number: u64, body: Bytes) -> Message {
    Message::Result(TaskResult {
        attempt: attempt(number),
        step: StepId(1),
        stage: StageId(0),
        generation: 0,
        receipts: vec![receipt(number)],
        outcome: Outcome::Done {
            chunks: Vec::new(),
            segments: vec![Segment { receipt: receipt(number), rows: 1, digest: 0, body }],
            nanos: 1,
            skips: Vec::new(),
        },
    })
}

/// Bytes that differ everywhere and do not compress to nothing.
fn bytes_of(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..len).map(next).collect::<Vec<u8>>().into()
}
