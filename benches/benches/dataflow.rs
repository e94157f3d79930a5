//! The dataflow: stages over one chunk on one thread, and the merge of what they give. In bytes and items a second.
#![expect(clippy::unwrap_used, reason = "a bench whose program fails has nothing to measure")]

use std::sync::Arc;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use elastic_flow::dataflow::Params;
use elastic_flow::dataflow::seam::{Cutter, Prepared, Program, TaskContext, TaskOutput};
use elastic_flow::dataflow::source::{ItemBatches, ResolvedSource, SourceCutter, SourceSpec, Suppliers};
use elastic_flow::receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow::wire::message::TaskChunk;
use elastic_flow_benches::{corpus, programs};

const TEXT_BYTES: u64 = 8 << 20;
const DISTINCT: u64 = 20_000;
const NUMBERS: u64 = 1 << 20;

struct Nothing;

impl Suppliers for Nothing {
    fn registered(&mut self, _: &str) -> Option<Box<dyn ItemBatches>> {
        None
    }

    fn one_shot(&mut self, _: u16) -> Option<Box<dyn ItemBatches>> {
        None
    }
}

/// The whole source as one chunk.
fn chunk(source: &SourceSpec) -> TaskChunk {
    let source = ResolvedSource::resolve([source]).unwrap();
    let cut = SourceCutter::new(&source, &mut Nothing).unwrap().cut(u64::MAX, u64::MAX).unwrap().unwrap();
    let receipt = ReceiptId::conceive(StepId(1), StageId(0), 0, 0, 0, 0, cut.bytes);
    TaskChunk { receipt, input: 0, payload: cut.payload }
}

fn run(prepared: &Prepared, chunk: &TaskChunk) -> TaskOutput {
    let context = TaskContext {
        stop: Arc::default(),
        progress: Arc::default(),
        attempt: Attempt { epoch: 1, number: 1 },
        max_skips: 0,
        partitions: 0,
    };
    prepared.stages.first().unwrap().run(std::slice::from_ref(chunk), &context).unwrap()
}

/// A program's stage over a chunk, and the merge of two such results.
fn both(group: &mut BenchmarkGroup<'_, WallTime>, program: &impl Program, chunk: &TaskChunk, amount: Throughput) {
    let prepared = program.prepare(&Params::default()).unwrap();
    group.throughput(amount);
    group.bench_function(format!("{}_stage", program.name()), |b| b.iter(|| run(&prepared, chunk)));
    let output = run(&prepared, chunk);
    group.throughput(Throughput::Elements(2 * output.segments.iter().map(|it| it.rows).sum::<u64>()));
    group.bench_function(format!("{}_merge", program.name()), |b| {
        b.iter(|| {
            let mut aggregator = (prepared.aggregator)();
            output.segments.iter().chain(&output.segments).for_each(|segment| aggregator.merge(segment).unwrap());
            aggregator.finish().unwrap().rows()
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let text = corpus::text(folder.path(), TEXT_BYTES, DISTINCT).unwrap();
    let text = chunk(&SourceSpec::Lines { paths: vec![text.to_str().unwrap().to_owned()] });
    let range = chunk(&SourceSpec::Range { start: 0, end: NUMBERS });
    let mut group = criterion.benchmark_group("dataflow");
    group.sample_size(20);
    both(&mut group, &programs::word_count().unwrap(), &text, Throughput::Bytes(TEXT_BYTES));
    both(&mut group, &programs::word_count_closures().unwrap(), &text, Throughput::Bytes(TEXT_BYTES));
    both(&mut group, &programs::sum().unwrap(), &range, Throughput::Elements(NUMBERS));
    group.finish();
    criterion.final_summary();
}
