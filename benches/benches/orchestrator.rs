//! The orchestrator: a whole step on a master and two workers within this process, and the records of its journal. In chunks a second.
#![expect(clippy::unwrap_used, reason = "a bench whose step fails has nothing to measure")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use elastic_flow::orchestrator::journal::{DoneRecord, Record};
use elastic_flow::orchestrator::{Cluster, Settings};
use elastic_flow::receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};
use elastic_flow::wire::digest;
use elastic_flow::wire::message::{ChunkRead, ReadFrom, Segment};
use elastic_flow_benches::programs;

const CHUNKS: u64 = 1_000;
const TASK_CHUNKS: u64 = 8;
const SEGMENT_BYTES: usize = 4 << 10;

/// Chunks of one item that takes no byte, start and end of the nodes included.
fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("orchestrator");
    group.sample_size(10);
    group.throughput(Throughput::Elements(CHUNKS));
    let program = programs::empty_chunks().unwrap();
    let cluster = Cluster::local(2).settings(Settings { chunk_items: 1, ..Settings::default() });
    group.bench_function("step_of_empty_chunks", |b| {
        b.iter(|| {
            let run = cluster.run(&program, (0..CHUNKS).map(|_| ())).unwrap();
            assert_eq!(run.output, CHUNKS);
        });
    });
    group.finish();
}

fn done() -> Record {
    let receipt = |sequence| ReceiptId::conceive(StepId(1), StageId(0), 0, 0, sequence, 0, 1 << 20);
    let body = Bytes::from(vec![7; SEGMENT_BYTES]);
    Record::Done(DoneRecord {
        step: StepId(1),
        attempt: Attempt { epoch: 1, number: 1 },
        stage: StageId(0),
        generation: 0,
        node: "worker-1".to_owned(),
        incarnation: NodeId(1),
        chunks: (0..TASK_CHUNKS)
            .map(|sequence| ChunkRead {
                receipt: receipt(sequence),
                entries: 1,
                bytes: 1 << 20,
                nanos: 1,
                from: ReadFrom::Place,
            })
            .collect(),
        segments: vec![Segment { receipt: receipt(0), rows: 1, digest: digest(&body), body }],
        skips: Vec::new(),
    })
}

fn journal(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(TASK_CHUNKS));
    let record = done();
    group.bench_function("encode_done", |b| b.iter(|| black_box(&record).encode().unwrap()));
    let bytes = record.encode().unwrap();
    group.bench_function("decode_done", |b| b.iter(|| Record::decode(black_box(&bytes)).unwrap()));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    steps(&mut criterion);
    journal(&mut criterion);
    criterion.final_summary();
}
