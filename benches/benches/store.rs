//! The stores: batches of the journal, and payloads. In records and bytes a second.
#![expect(clippy::unwrap_used, reason = "a bench whose disk fails has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use elastic_flow::receipt::StepId;
use elastic_flow::store::{Durability, MemoryStore, Store};
use elastic_flow::store_fs::{FsOptions, FsStore};

const STEP: StepId = StepId(1);
const RECORD_BYTES: usize = 200;
const BATCH: usize = 16;
const PAYLOAD_BYTES: usize = 1 << 20;

/// Text that shrinks to about half, as payloads do.
fn payload() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..PAYLOAD_BYTES).map(|_| random.u8(b'a'..b'q')).collect()
}

fn over(c: &mut Criterion, name: &str, store: &dyn Store) {
    let mut group = c.benchmark_group(name);
    let record = [7; RECORD_BYTES];
    let batch = [record.as_slice(); BATCH];
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, durability) in [("append_os", Durability::Os), ("append_synced", Durability::Synced)] {
        group.bench_function(name, |b| b.iter(|| store.append(black_box(&batch), durability).unwrap()));
        // What is appended stays: it is taken away before it fills memory or disk.
        store.rewrite(&mut std::iter::empty()).unwrap();
    }
    let payload = payload();
    group.throughput(Throughput::Bytes(PAYLOAD_BYTES as u64));
    group.bench_function("put", |b| b.iter(|| store.put(STEP, "name", black_box(&payload), Durability::Os).unwrap()));
    store.put(STEP, "name", &payload, Durability::Os).unwrap();
    group.bench_function("get", |b| b.iter(|| store.get(STEP, black_box("name")).unwrap().unwrap()));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    over(&mut criterion, "memory", &MemoryStore::new());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (fs, _) = FsStore::open(&folder.path().join("fs"), FsOptions::default()).unwrap();
    over(&mut criterion, "fs", &fs);
    #[cfg(feature = "store-rocksdb")]
    over(
        &mut criterion,
        "rocksdb",
        &elastic_flow::store_rocksdb::RocksStore::open(&folder.path().join("rocksdb")).unwrap(),
    );
    criterion.final_summary();
}
