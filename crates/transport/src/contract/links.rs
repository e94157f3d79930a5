//! Promises between peers that keep to the rules.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::{Message, Parcels, ParcelsTaken, Pulse, Segment};
use elastic_flow_wire::{KeySet, Keys, Lane, Role, Secret};

use super::*;
use crate::event::Violation;
use crate::stats::{Direction, ParcelRecord};
use crate::{Keyring, MessageKind};

/// What each side says of itself reaches the other.
///
/// # Panics
/// If the promise is broken.
pub async fn peers_introduce_themselves<N: Net>(net: N, addr: &str) {
    let said = EndpointConfig { build: [4; 32], plans: 5, schema: 6, slots: 7, ..worker() };
    let master = listen(&net, addr, master()).await;
    let worker = dial(&net, &master, EndpointConfig { data_address: "10.0.0.2:7117".to_owned(), ..said }).await;
    let (peer, to_worker) = up(&master).await;
    assert_eq!(
        (peer.node, to_worker.node(), peer.role, peer.name.as_str()),
        (NodeId(2), NodeId(2), Role::Worker, "yam2")
    );
    assert_eq!((peer.build, peer.plans, peer.schema, peer.slots, peer.epoch), ([4; 32], 5, 6, 7, 0));
    assert_eq!(peer.data_address, "10.0.0.2:7117");
    let (peer, _) = up(&worker).await;
    assert_eq!((peer.node, peer.role, peer.name.as_str()), (NodeId(1), Role::Master, "yam1"));
    assert_eq!((peer.build, peer.epoch, peer.address.as_str()), ([5; 32], 3, master.local_addr()));
    assert_eq!(master.stats().links_up, 1);
}

/// Two workers meet as peers and exchange parcels; nothing else passes between them, and a worker that takes its peer for a
/// master is refused.
///
/// # Panics
/// If the promise is broken.
pub async fn workers_meet_as_peers<N: Net>(net: N, addr: &str) {
    let owner = listen(&net, addr, config(Role::Peer, 3)).await;
    let mistaken = dial(&net, &owner, worker()).await;
    assert!(matches!(next(&mistaken).await, Seen::Refused(reason) if reason.contains("cannot join an exchange")));
    let producer = dial(&net, &owner, config(Role::Peer, 2)).await;
    let (peer, to_producer) = up(&owner).await;
    assert_eq!((peer.node, peer.role), (NodeId(2), Role::Peer));
    let (peer, to_owner) = up(&producer).await;
    assert_eq!((peer.node, peer.role), (NodeId(3), Role::Peer));
    let segment = Segment { receipt: receipt(1), rows: 1, digest: 0, body: bytes_of(1_000) };
    let parcels = Parcels { step: StepId(1), attempt: attempt(1), generation: 1, segments: vec![segment] };
    to_owner.send(Message::Parcels(parcels.clone())).await.unwrap();
    assert_eq!(message(&owner).await.0, Message::Parcels(parcels));
    let taken = Message::Taken(ParcelsTaken { step: StepId(1), attempt: attempt(1), generation: 1 });
    to_producer.send(taken.clone()).await.unwrap();
    assert_eq!(message(&producer).await.0, taken);
    to_owner.send(result(1, Bytes::new())).await.unwrap();
    let (_, reason) = down(&owner).await;
    let violation = Violation::Role { role: Role::Peer, kind: MessageKind::Result };
    assert_eq!(reason, DownReason::Protocol(violation));
}

/// Messages of one lane arrive in the order in which they were sent.
///
/// # Panics
/// If the promise is broken.
pub async fn order_is_kept_on_each_lane<N: Net>(net: N, addr: &str) {
    const EACH: u64 = 500;
    let link = connected(&net, addr, master(), worker()).await;
    let sending = async {
        for number in 0..EACH {
            let len = usize::try_from(number).unwrap() * 97 % 5_000;
            link.to_worker.send(assign(number, bytes_of(len))).await.unwrap();
            link.to_worker.send(Message::Ack(attempt(number))).await.unwrap();
        }
    };
    let receiving = async {
        let (mut assigned, mut acknowledged) = (Vec::new(), Vec::new());
        for _ in 0..2 * EACH {
            match message(&link.worker).await.0 {
                Message::Assign(it) => {
                    let len = usize::try_from(it.attempt.number).unwrap() * 97 % 5_000;
                    assert_eq!(it.chunks[0].payload.body, bytes_of(len));
                    assigned.push(it.attempt.number);
                }
                Message::Ack(it) => acknowledged.push(it.number),
                other => panic!("nobody sent {other:?}"),
            }
        }
        (assigned, acknowledged)
    };
    let ((), (assigned, acknowledged)) = tokio::join!(sending, receiving);
    assert_eq!(assigned, (0..EACH).collect::<Vec<_>>());
    assert_eq!(acknowledged, (0..EACH).collect::<Vec<_>>());
}

/// A result of many frames, eight times the window, arrives as it was. (Twice the window where frames are tagged, which takes its
/// time in an unoptimised build.)
///
/// # Panics
/// If the promise is broken.
pub async fn a_large_message_passes_whole<N: Net>(net: N, addr: &str) {
    let len = if net.is_loopback(addr).await.unwrap() { 64 } else { 16 } * 1024 * 1024;
    let body = bytes_of(len);
    let link = connected(&net, addr, master(), worker()).await;
    link.to_master.send(result(1, body.clone())).await.unwrap();
    link.to_master.send(result(2, Bytes::new())).await.unwrap();
    let (first, grant) = message(&link.master).await;
    assert!(first == result(1, body), "the large result has changed on its way");
    assert!(grant.unwrap().bytes() > len as u64);
    assert_eq!(message(&link.master).await.0, result(2, Bytes::new()));
}

/// A consumer that holds what it got stops the sender at the receiver's limit; letting go lets it go on.
///
/// # Panics
/// If the promise is broken.
pub async fn credit_bounds_what_is_under_way<N: Net>(net: N, addr: &str) {
    const LIMIT: u64 = 1024 * 1024;
    const MESSAGES: u64 = 100;
    let small = EndpointConfig { credit_bytes: LIMIT, ..worker() };
    let link = connected(&net, addr, master(), small).await;
    let sending = async {
        for number in 0..MESSAGES {
            link.to_worker.send(assign(number, bytes_of(100 * 1024))).await.unwrap();
        }
    };
    let receiving = async {
        let mut held = Vec::new();
        // Ten of a hundred KiB and a little fit into a MiB.
        while held.len() < 10 {
            held.extend(message(&link.worker).await.1);
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            assert!(link.to_worker.in_flight_bytes() <= LIMIT);
        }
        assert_eq!(link.worker.stats().data_received.messages, 10, "more came than there was credit for");
        held.clear();
        for _ in 10..MESSAGES {
            message(&link.worker).await;
            assert!(link.to_worker.in_flight_bytes() <= LIMIT);
        }
    };
    tokio::join!(sending, receiving);
}

/// What is urgent arrives although data that was sent before it cannot.
///
/// # Panics
/// If the promise is broken.
pub async fn control_overtakes_queued_data<N: Net>(net: N, addr: &str) {
    let small = EndpointConfig { credit_bytes: 64 * 1024, ..worker() };
    let link = connected(&net, addr, master(), small).await;
    for number in 0..20 {
        link.to_worker.send(assign(number, bytes_of(32 * 1024))).await.unwrap();
    }
    link.to_worker.try_send_control(Message::Revoke(attempt(19))).unwrap();
    let mut held = Vec::new();
    loop {
        match message(&link.worker).await {
            (Message::Revoke(it), None) => break assert_eq!(it, attempt(19)),
            (_, grant) => held.push(grant.unwrap()),
        }
    }
    assert!(held.len() <= 2, "{} messages of 32 KiB came, with credit for less than two", held.len());
}

/// A worker that is gone goes down once, its next life comes up as another node.
///
/// # Panics
/// If the promise is broken.
pub async fn a_loss_is_reported_once_and_a_return_is_a_new_up<N: Net>(net: N, addr: &str) {
    let link = connected(&net, addr, master(), worker()).await;
    drop(link.worker);
    assert_eq!(down(&link.master).await, (NodeId(2), DownReason::Closed));
    assert!(link.to_worker.send(assign(1, Bytes::new())).await.is_err());
    let _next_life = dial(&net, &link.master, config(Role::Worker, 3)).await;
    assert_eq!(up(&link.master).await.0.node, NodeId(3));
    assert_eq!((link.master.stats().links_up, link.master.stats().links_lost), (1, 1));
}

/// A worker connects to the next life of its master by itself.
///
/// # Panics
/// If the promise is broken.
pub async fn a_worker_finds_its_master_again<N: Net>(net: N, addr: &str) {
    let link = connected(&net, addr, master(), worker()).await;
    let addr = link.master.local_addr().to_owned();
    drop(link.master);
    assert_eq!(down(&link.worker).await, (NodeId(1), DownReason::Closed));
    let again = loop {
        // The old listener may take a moment to let go of the address.
        let next = EndpointConfig { epoch: 4, node: NodeId(11), ..master() };
        match Endpoint::listen(net.clone(), &addr, next, Arc::new(SystemClock::new())).await {
            Ok(again) => break again,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let (peer, to_master) = up(&link.worker).await;
    assert_eq!((peer.node, peer.epoch), (NodeId(11), 4));
    assert_eq!(up(&again).await.0.node, NodeId(2));
    to_master.send(result(1, Bytes::new())).await.unwrap();
    assert_eq!(message(&again).await.0, result(1, Bytes::new()));
}

/// What a node says of itself goes out with its heartbeats, both ways.
///
/// # Panics
/// If the promise is broken.
pub async fn heartbeats_carry_the_pulse<N: Net>(net: N, addr: &str) {
    let link = connected(&net, addr, master(), worker()).await;
    link.worker.set_pulse(|| Pulse { busy: 2, ..Pulse::default() });
    link.master.set_pulse(|| Pulse { queued: 9, ..Pulse::default() });
    for (endpoint, busy, queued) in [(&link.master, 2, 0), (&link.worker, 0, 9)] {
        loop {
            if let Some(TransportEvent::Message { message: Message::Heartbeat(pulse), .. }) =
                endpoint.next_event().await
                && (pulse.busy, pulse.queued) == (busy, queued)
            {
                break;
            }
        }
    }
}

/// A peer that keeps its connections and says nothing goes down.
///
/// # Panics
/// If the promise is broken.
pub async fn silence_kills<N: Net>(net: N, addr: &str) {
    let hour = Duration::from_secs(3600);
    let quiet = EndpointConfig { heartbeat_every: hour, dead_after: 2 * hour, ..worker() };
    let strict = EndpointConfig { dead_after: Duration::from_millis(200), ..master() };
    let link = connected(&net, addr, strict, quiet).await;
    assert_eq!(down(&link.master).await, (NodeId(2), DownReason::Silent));
}

/// A consumer that is behind loses heartbeats, and nothing else.
///
/// # Panics
/// If the promise is broken.
pub async fn heartbeats_that_nobody_takes_are_dropped<N: Net>(net: N, addr: &str) {
    let quick = EndpointConfig { heartbeat_every: Duration::from_millis(2), ..worker() };
    let link = connected(&net, addr, master(), quick).await;
    until(|| link.master.stats().heartbeats_dropped > 3).await;
    link.to_master.send(Message::Draining).await.unwrap();
    assert_eq!(message(&link.master).await.0, Message::Draining);
    assert_eq!(link.master.stats().links_up, 1);
}

/// An orderly end loses nothing and says why.
///
/// # Panics
/// If the promise is broken.
pub async fn what_was_sent_before_a_goodbye_arrives<N: Net>(net: N, addr: &str) {
    let link = connected(&net, addr, master(), worker()).await;
    for number in 0..20 {
        link.to_master.send(result(number, bytes_of(500_000))).await.unwrap();
    }
    link.to_master.send(Message::Draining).await.unwrap();
    link.to_master.send(Message::Goodbye("moving house".to_owned())).await.unwrap();
    let receiving = async {
        let mut results = 0;
        loop {
            match next(&link.master).await {
                Seen::Message(Message::Result(_), _) => results += 1,
                Seen::Message(Message::Draining, _) => {}
                Seen::Down(_, reason) => break (results, reason),
                other => panic!("unexpected: {other:?}"),
            }
        }
    };
    let ((), seen) = tokio::join!(link.worker.shutdown(DEADLINE), receiving);
    assert_eq!(seen, (20, DownReason::Goodbye("moving house".to_owned())));
    while let Some(event) = link.worker.next_event().await {
        assert!(!matches!(event, TransportEvent::Up { .. }), "it came back after its shutdown");
    }
}

/// Of two nodes that claim to be one, the first is kept.
///
/// # Panics
/// If the promise is broken.
pub async fn a_second_node_of_one_incarnation_is_refused<N: Net>(net: N, addr: &str) {
    let link = connected(&net, addr, master(), worker()).await;
    let second = dial(&net, &link.master, worker()).await;
    until(|| turned(&link.master, Turned::Duplicate) > 0).await;
    link.to_master.send(result(1, Bytes::new())).await.unwrap();
    assert_eq!(message(&link.master).await.0, result(1, Bytes::new()), "the first link is not touched");
    assert_eq!((link.master.stats().links_up, second.stats().links_up), (1, 0));
    // When the first has gone, the second gets its turn.
    drop(link.worker);
    assert_eq!(down(&link.master).await.0, NodeId(2));
    assert_eq!(up(&link.master).await.0.node, NodeId(2));
    up(&second).await;
}

/// Another key is refused with one fixed sentence, and dialling ends.
///
/// # Panics
/// If the promise is broken.
pub async fn a_wrong_key_is_refused_by_name<N: Net>(net: N, addr: &str) {
    let other = Keys::derive(&Secret::from_bytes([8; 32]), "logs");
    let text = refused(net, addr, EndpointConfig { keys: other.into(), ..worker() }, Turned::Key).await;
    assert!(text.contains("key does not match"), "{text}");
}

/// While a key is rotated no connection is refused, in whatever order the nodes learn of the new key; links that are up stay; and once
/// the old key has gone, it is refused.
///
/// # Panics
/// If the promise is broken.
pub async fn keys_are_rotated_without_a_refusal<N: Net>(net: N, addr: &str) {
    let secret = |byte| Secret::from_bytes([byte; 32]);
    let only = |byte| KeySet::from(Keys::derive(&secret(byte), "logs"));
    let both = || KeySet::derive(&secret(2), Some(&secret(1)), "logs");
    let ring = Keyring::new(only(1));
    let master = listen(&net, addr, EndpointConfig { keys: ring.clone(), ..master() }).await;
    let worker_of = |node, keys| EndpointConfig { keys: Keyring::new(keys), node: NodeId(node), ..worker() };
    let mut dialled = vec![dial(&net, &master, worker_of(10, only(1))).await];
    up(&master).await;
    // A worker that knows the new key before its master does, then the master, then those that come later.
    dialled.push(dial(&net, &master, worker_of(11, both())).await);
    up(&master).await;
    ring.replace(both());
    for (node, keys, old) in [(12, only(1), 1), (13, both(), 1), (14, only(2), 1), (15, only(1), 2)] {
        dialled.push(dial(&net, &master, worker_of(node, keys)).await);
        assert_eq!(up(&master).await.0.node, NodeId(node));
        assert_eq!(master.stats().old_key, old, "node {node}");
    }
    ring.replace(only(2));
    assert_eq!((master.stats().links_up, turned(&master, Turned::Key)), (6, 0));
    let late = dial(&net, &master, worker_of(16, only(1))).await;
    assert!(matches!(next(&late).await, Seen::Refused(_)));
    until(|| turned(&master, Turned::Key) > 0).await;
    assert_eq!(master.stats().links_up, 6, "links that are up stay");
}

/// Another cluster's name is refused, and named.
///
/// # Panics
/// If the promise is broken.
pub async fn another_cluster_is_refused_by_name<N: Net>(net: N, addr: &str) {
    let text = refused(net, addr, EndpointConfig { cluster: "shop".to_owned(), ..worker() }, Turned::Cluster).await;
    assert!(text.contains("cluster names differ") && text.contains("shop"), "{text}");
}

async fn refused<N: Net>(net: N, addr: &str, config: EndpointConfig, reason: Turned) -> String {
    let master = listen(&net, addr, master()).await;
    let stranger = dial(&net, &master, config).await;
    let Seen::Refused(text) = next(&stranger).await else { panic!("it was not refused") };
    assert!(stranger.next_event().await.is_none(), "dialling ends with a refusal");
    until(|| turned(&master, reason) > 0).await;
    assert_eq!(master.stats().links_up, 0);
    text
}

/// A worker that has seen a later epoch does not follow an older master, and goes on looking.
///
/// # Panics
/// If the promise is broken.
pub async fn an_older_master_is_fenced<N: Net>(net: N, addr: &str) {
    let master = listen(&net, addr, master()).await;
    let worker = dial(&net, &master, EndpointConfig { epoch: 4, ..worker() }).await;
    until(|| turned(&worker, Turned::Epoch) > 1).await;
    assert_eq!((master.stats().links_up, worker.stats().links_up), (0, 0));
}

/// Every message leaves a record at both ends, and the records and counters agree.
///
/// # Panics
/// If the promise is broken.
pub async fn every_parcel_is_recorded<N: Net>(net: N, addr: &str) {
    let records = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&records);
    let hook = move |record: &ParcelRecord| {
        if record.lane == Lane::Data {
            keep.lock().unwrap().push((record.peer, record.direction, record.kind, record.raw_bytes));
        }
    };
    let recorded = EndpointConfig { on_parcel: Some(Arc::new(hook)), ..master() };
    let link = connected(&net, addr, recorded, worker()).await;
    link.to_worker.send(assign(1, bytes_of(1_000))).await.unwrap();
    link.to_worker.send(assign(2, bytes_of(300_000))).await.unwrap();
    message(&link.worker).await;
    message(&link.worker).await;
    link.to_master.send(result(1, Bytes::new())).await.unwrap();
    message(&link.master).await;
    let raw = |message: &Message| elastic_flow_wire::encoded_bytes(message).unwrap() as u64;
    let sizes = [raw(&assign(1, bytes_of(1_000))), raw(&assign(2, bytes_of(300_000))), raw(&result(1, Bytes::new()))];
    let node = NodeId(2);
    let expected = [
        (node, Direction::Sent, MessageKind::Assign, sizes[0]),
        (node, Direction::Sent, MessageKind::Assign, sizes[1]),
        (node, Direction::Received, MessageKind::Result, sizes[2]),
    ];
    assert_eq!(*records.lock().unwrap(), expected);
    let (master, worker) = (link.master.stats(), link.worker.stats());
    assert_eq!((master.data_sent.messages, master.data_sent.raw_bytes), (2, sizes[0] + sizes[1]));
    assert_eq!(master.data_sent, worker.data_received);
    assert_eq!(master.data_received, worker.data_sent);
    assert_ne!(master.data_sent.wire_bytes, 0);
}
