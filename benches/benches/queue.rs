//! The queue: steps from submission to their end, and a recovery from the journal. In steps a second.
#![expect(clippy::unwrap_used, reason = "a bench whose queue refuses has nothing to measure")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use elastic_flow::queue::{Caller, Queue, QueueRecord, StepSpec};

const STEPS: u64 = 1_000;

fn apply(queue: &mut Queue, records: Vec<QueueRecord>, journal: &mut Vec<QueueRecord>) {
    for record in records {
        queue.apply(&record).unwrap();
        journal.push(record);
    }
}

fn submit_all(journal: &mut Vec<QueueRecord>) -> Queue {
    let mut queue = Queue::new();
    for number in 0..STEPS {
        let spec = StepSpec { key: Some(format!("key {number}")), ..StepSpec::new("word_count") };
        let (_, records) = queue.submit(spec, Caller::local(), number).unwrap();
        apply(&mut queue, records, journal);
    }
    queue
}

fn run_all(queue: &mut Queue, journal: &mut Vec<QueueRecord>) {
    while let Some(id) = queue.next_to_run().map(|step| step.id) {
        let started = queue.started(id, 1).unwrap();
        apply(queue, started.records, journal);
        let completed = queue.completed(id, false, 2).unwrap();
        apply(queue, completed.records, journal);
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(STEPS));
    group.bench_function("submit", |b| b.iter(|| submit_all(&mut Vec::new())));
    group.bench_function("start_and_complete", |b| {
        b.iter_batched(
            || submit_all(&mut Vec::new()),
            |mut queue| {
                run_all(&mut queue, &mut Vec::new());
                queue
            },
            BatchSize::LargeInput,
        );
    });
    let mut journal = Vec::new();
    let mut queue = submit_all(&mut journal);
    run_all(&mut queue, &mut journal);
    group.bench_function("recover", |b| b.iter(|| Queue::from_records(black_box(&journal)).unwrap()));
    group.finish();
    criterion.final_summary();
}
