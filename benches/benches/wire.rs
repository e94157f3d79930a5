//! The wire: items to bytes and back, messages to frames and back, with and without compression. In items and bytes a second.
#![expect(clippy::unwrap_used, reason = "a bench whose data is wrong has nothing to measure")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use elastic_flow::receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow::wire::message::{Message, Outcome, Segment, TaskResult};
use elastic_flow::wire::{
    Compression, FrameDecoder, FrameEncoder, Lane, MessageDecoder, MessageEncoder, SeqEncoder, decode_each, digest,
};

const ITEMS: u64 = 10_000;

/// Counted words as a worker sends them.
fn counts() -> Vec<(String, u64)> {
    (0..ITEMS).map(|number| (format!("word{number}"), number)).collect()
}

fn encoded(counts: &[(String, u64)]) -> Bytes {
    let mut encoder = SeqEncoder::new();
    counts.iter().for_each(|count| encoder.push(count).unwrap());
    encoder.finish().1
}

fn result(body: Bytes) -> Message {
    let receipt = ReceiptId::conceive(StepId(1), StageId(0), 0, 0, 1, 1, body.len() as u64);
    let segments = vec![Segment { receipt, rows: ITEMS, digest: digest(&body), body }];
    Message::Result(TaskResult {
        attempt: Attempt { epoch: 1, number: 1 },
        step: StepId(1),
        stage: StageId(0),
        generation: 0,
        receipts: vec![receipt],
        outcome: Outcome::Done { chunks: Vec::new(), segments, nanos: 1, skips: Vec::new() },
    })
}

fn items(c: &mut Criterion) {
    let counts = counts();
    let body = encoded(&counts);
    let mut group = c.benchmark_group("items");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("encode", |b| b.iter(|| encoded(black_box(&counts))));
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut sum = 0;
            decode_each(black_box(&body), ITEMS, |(word, count): (String, u64)| sum += count + word.len() as u64)
                .unwrap();
            sum
        });
    });
    group.finish();
}

/// A result as one message. What has no checksum of its own is compared to its digest alone.
fn messages(c: &mut Criterion) {
    let body = encoded(&counts());
    let mut group = c.benchmark_group("messages");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("digest", |b| b.iter(|| digest(black_box(&body))));
    let message = result(body);
    for (name, compression) in [("plain", Compression::Off), ("zstd_1", Compression::Level(1))] {
        let encode = || {
            let level = compression.resolve(false);
            let mut encoder = MessageEncoder::new(FrameEncoder::new(), level, None).unwrap();
            let mut out = BytesMut::new();
            encoder.push(black_box(&message), Lane::Data, &mut out).unwrap();
            out
        };
        group.bench_function(format!("encode_{name}"), |b| b.iter(encode));
        let stream = encode();
        group.bench_function(format!("decode_{name}"), |b| {
            b.iter_batched(
                || stream.clone(),
                |mut stream| MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut stream).unwrap().unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    items(&mut criterion);
    messages(&mut criterion);
    criterion.final_summary();
}
