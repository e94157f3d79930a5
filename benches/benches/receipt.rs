//! Receipts: conception, text form, a step's ledger and its audit. In receipts a second.
#![expect(clippy::unwrap_used, reason = "a bench whose data is wrong has nothing to measure")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use elastic_flow::receipt::{
    ConceivedChunk, Cover, InputPart, Ledger, NodeId, ReceiptId, StageId, Station, StepId, audit,
};

const STEP: StepId = StepId(7);
const STAGE: StageId = StageId(0);
const CHUNKS: u64 = 10_000;
const CHUNK_BYTES: u64 = 1 << 20;
const STRAIGHT: [Station; 6] = [
    Station::Distributed,
    Station::Sent,
    Station::Received,
    Station::Processed,
    Station::Returned,
    Station::Aggregated,
];

fn receipt(sequence: u64) -> ReceiptId {
    ReceiptId::conceive(STEP, STAGE, 0, 0, sequence, 1_700_000_000_000_000_000 + sequence, CHUNK_BYTES)
}

fn chunk(sequence: u64) -> ConceivedChunk {
    ConceivedChunk {
        id: receipt(sequence),
        input: 0,
        entries: None,
        bytes: CHUNK_BYTES,
        conceived_at: sequence,
        digest: Some(sequence),
        parents: Vec::new(),
        generation: 0,
        covers: vec![Cover { part: 0, offset: sequence * CHUNK_BYTES, length: CHUNK_BYTES }],
    }
}

/// A step whose chunks all went straight.
fn lived() -> Ledger {
    let mut ledger = Ledger::new(STEP);
    for sequence in 0..CHUNKS {
        ledger.conceive(chunk(sequence)).unwrap();
        let id = receipt(sequence);
        for station in STRAIGHT {
            ledger.mark(&id, station, Some(NodeId(1)), sequence).unwrap();
        }
        ledger.read(&id, 1, CHUNK_BYTES).unwrap();
    }
    ledger
}

fn ids(c: &mut Criterion) {
    let mut group = c.benchmark_group("receipt");
    group.throughput(Throughput::Elements(1));
    group.bench_function("conceive", |b| b.iter(|| receipt(black_box(42))));
    let id = receipt(42);
    group.bench_function("to_text", |b| b.iter(|| black_box(id).to_string()));
    let text = id.to_string();
    group.bench_function("from_text", |b| b.iter(|| black_box(&text).parse::<ReceiptId>().unwrap()));
    group.finish();
}

fn ledger(c: &mut Criterion) {
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(CHUNKS));
    group.bench_function("conceive", |b| {
        b.iter_batched(
            || (0..CHUNKS).map(chunk).collect::<Vec<_>>(),
            |chunks| {
                let mut ledger = Ledger::new(STEP);
                chunks.into_iter().for_each(|chunk| ledger.conceive(chunk).unwrap());
                ledger
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("straight_life", |b| b.iter(lived));
    let ledger = lived();
    let parts = [InputPart { input: 0, name: "part".to_owned(), length: Some(CHUNKS * CHUNK_BYTES) }];
    group.bench_function("audit", |b| b.iter(|| audit(black_box(&ledger), &parts, None)));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    ids(&mut criterion);
    ledger(&mut criterion);
    criterion.final_summary();
}
