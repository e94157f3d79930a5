//! The transport: a small message there and back, and bulk, in memory and over loopback. In messages and bytes a second.
#![expect(clippy::wildcard_enum_match_arm, reason = "a bench ends at whatever it did not expect")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench whose peers do not speak has nothing to measure")]

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use elastic_flow::clock::SystemClock;
use elastic_flow::receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};
use elastic_flow::transport::{Endpoint, EndpointConfig, Memory, Net, PeerSender, Tcp, TransportEvent};
use elastic_flow::wire::message::{Assignment, Message, Outcome, Payload, PayloadKind, Segment, TaskChunk, TaskResult};
use elastic_flow::wire::{Keys, Role, Secret};
use tokio::runtime::{Builder, Runtime};

const BULK_BYTES: usize = 1 << 20;
const BULK_MESSAGES: usize = 16;

/// A master and a worker, and how each speaks to the other.
struct Link {
    master: Endpoint,
    worker: Endpoint,
    to_worker: PeerSender,
    to_master: PeerSender,
}

impl Link {
    async fn new<N: Net>(net: N, addr: &str) -> Self {
        let keys = Keys::derive(&Secret::from_bytes([7; 32]), "bench");
        let config = |role, name, node| EndpointConfig::new("bench", role, name, NodeId(node), keys.clone());
        let master = EndpointConfig { epoch: 1, ..config(Role::Master, "master", 1) };
        let master = Endpoint::listen(net.clone(), addr, master, Arc::new(SystemClock::new())).await.unwrap();
        let worker = config(Role::Worker, "worker", 2);
        let worker = Endpoint::dial(net, master.local_addr(), worker, Arc::new(SystemClock::new())).await.unwrap();
        let (to_worker, to_master) = (up(&master).await, up(&worker).await);
        Self { master, worker, to_worker, to_master }
    }
}

async fn up(endpoint: &Endpoint) -> PeerSender {
    match endpoint.next_event().await.unwrap() {
        TransportEvent::Up { sender, .. } => sender,
        other => panic!("the peer did not come up: {other:?}"),
    }
}

/// Waits for the next message that is no heartbeat, and makes room for another.
async fn arrival(endpoint: &Endpoint) {
    loop {
        match endpoint.next_event().await.unwrap() {
            TransportEvent::Message { message: Message::Heartbeat(_), .. } => {}
            TransportEvent::Message { .. } => return,
            other => panic!("the link is not what it was: {other:?}"),
        }
    }
}

fn receipt() -> ReceiptId {
    ReceiptId::conceive(StepId(1), StageId(0), 0, 0, 0, 0, 0)
}

fn assignment() -> Message {
    let payload = Payload { kind: PayloadKind::Split, body: Bytes::from_static(&[0; 64]) };
    Message::Assign(Assignment {
        attempt: Attempt { epoch: 1, number: 1 },
        step: StepId(1),
        stage: StageId(0),
        generation: 0,
        chunks: vec![TaskChunk { receipt: receipt(), input: 0, payload }],
    })
}

fn result(body: Bytes) -> Message {
    let segments = vec![Segment { receipt: receipt(), rows: 1, digest: 0, body }];
    Message::Result(TaskResult {
        attempt: Attempt { epoch: 1, number: 1 },
        step: StepId(1),
        stage: StageId(0),
        generation: 0,
        receipts: vec![receipt()],
        outcome: Outcome::Done { chunks: Vec::new(), segments, nanos: 1, skips: Vec::new() },
    })
}

fn over<N: Net>(c: &mut Criterion, runtime: &Runtime, name: &str, net: N, addr: &str) {
    let link = runtime.block_on(Link::new(net, addr));
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.bench_function("there_and_back", |b| {
        b.iter(|| {
            runtime.block_on(async {
                link.to_worker.send(assignment()).await.unwrap();
                arrival(&link.worker).await;
                link.to_master.send(result(Bytes::new())).await.unwrap();
                arrival(&link.master).await;
            });
        });
    });
    group.throughput(Throughput::Bytes((BULK_MESSAGES * BULK_BYTES) as u64));
    let body = Bytes::from(vec![7; BULK_BYTES]);
    group.bench_function("bulk", |b| {
        b.iter(|| {
            let sending = async {
                for _ in 0..BULK_MESSAGES {
                    link.to_master.send(result(body.clone())).await.unwrap();
                }
            };
            let receiving = async {
                for _ in 0..BULK_MESSAGES {
                    arrival(&link.master).await;
                }
            };
            runtime.block_on(async { tokio::join!(sending, receiving) });
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    over(&mut criterion, &runtime, "memory", Memory::new(), "master");
    over(&mut criterion, &runtime, "tcp", Tcp, "127.0.0.1:0");
    criterion.final_summary();
}
