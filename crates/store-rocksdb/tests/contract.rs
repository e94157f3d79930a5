//! The RocksDB store keeps the promises of [`elastic_flow_store::Store`], and tells a torn tail of its log from corruption.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elastic_flow_receipt::StepId;
use elastic_flow_store::contract::{Backend, Capabilities};
use elastic_flow_store::{Durability, FaultInjector, FaultStore, Store, StoreError};
use elastic_flow_store_rocksdb::RocksStore;

struct Rocks;

impl Backend for Rocks {
    fn capabilities(&self) -> Capabilities {
        Capabilities { is_durable: true, has_one_owner: true }
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Store>, StoreError> {
        RocksStore::open(path).map(|store| Box::new(store) as Box<dyn Store>)
    }

    fn open_with_faults(&self, path: &Path, faults: &Arc<FaultInjector>) -> Result<Box<dyn Store>, StoreError> {
        let store = RocksStore::open(path)?;
        Ok(Box::new(FaultStore::new(store, Arc::clone(faults))))
    }
}

elastic_flow_store::store_contract!(Rocks);

fn journal(store: &RocksStore) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut visit = |record: &[u8]| {
        records.push(record.to_vec());
        Ok(())
    };
    store.replay(&mut visit).unwrap();
    records
}

/// Ten records, each in a batch of its own, and the write-ahead log that has them.
fn with_ten_records(path: &Path) -> (Vec<Vec<u8>>, PathBuf) {
    let records: Vec<Vec<u8>> = (0..10_u8).map(|index| vec![b'a' + index; 100]).collect();
    let store = RocksStore::open(path).unwrap();
    for record in &records {
        store.append(&[record], Durability::Synced).unwrap();
    }
    drop(store);
    let mut logs: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    (records, logs.pop().unwrap())
}

#[test]
fn a_torn_tail_of_the_log_loses_the_last_batch_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (mut records, log) = with_ten_records(&path);
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, bytes.split_last_chunk::<50>().unwrap().0).unwrap();
    let store = RocksStore::open(&path).unwrap();
    records.pop();
    assert_eq!(journal(&store), records);
}

#[test]
fn damage_within_the_log_is_corruption_and_nothing_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (_, log) = with_ten_records(&path);
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(100).position(|window| window == [b'c'; 100]).unwrap();
    *bytes.get_mut(at).unwrap() ^= 1;
    fs::write(&log, bytes).unwrap();
    match RocksStore::open(&path) {
        Err(StoreError::Corrupt { path: at, detail, .. }) => assert!(at == path && !detail.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn listed_sizes_are_those_of_the_payloads_and_are_read_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(&folder.path().join("store")).unwrap();
    for bytes in [0, 10, 100_000] {
        store.put(StepId(1), &format!("p{bytes}"), &vec![0; bytes], Durability::Os).unwrap();
    }
    let listed: Vec<(String, u64)> =
        store.list(StepId(1)).unwrap().into_iter().map(|payload| (payload.name, payload.stored_bytes)).collect();
    let key_bytes = |name: &str| 9 + name.len() as u64;
    let expected = [0, 10, 100_000].map(|bytes: u64| (format!("p{bytes}"), bytes + key_bytes(&format!("p{bytes}"))));
    assert_eq!(listed, expected);
}

#[test]
fn a_folder_that_cannot_be_is_said_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"not a folder").unwrap();
    let error = RocksStore::open(&path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}
