//! What the tests of the filesystem store share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use elastic_flow_receipt::StepId;
use elastic_flow_store::{Durability, FaultFiles, FaultInjector, FaultPlan, FileOps, Store, StoreError};
use elastic_flow_store_fs::{FsOptions, FsStore, OpenReport};

pub(crate) const STEP: StepId = StepId(3);

/// File operations that fail as `faults` says. They do not wait for the disk, so that many stores are opened in little time.
pub(crate) fn faulty_files(store: &Path, faults: &Arc<FaultInjector>) -> Arc<dyn FileOps> {
    let attic = store.with_extension("attic");
    fs::create_dir_all(&attic).unwrap();
    // What an earlier opening left there is of no use to this one.
    for entry in fs::read_dir(&attic).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    Arc::new(FaultFiles::new(Arc::clone(faults), attic))
}

/// Opens without faults, and without waiting for the disk.
pub(crate) fn open(store: &Path, options: FsOptions) -> Result<(FsStore, OpenReport), StoreError> {
    FsStore::open_on(store, options, faulty_files(store, &Arc::new(FaultInjector::new(FaultPlan::none()))))
}

pub(crate) fn small_segments(segment_bytes: u64) -> FsOptions {
    let mut options = FsOptions::default();
    options.segment_bytes = segment_bytes;
    options
}

pub(crate) fn append(store: &FsStore, batch: &[Vec<u8>]) {
    store.append(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>(), Durability::Os).unwrap();
}

pub(crate) fn journal(store: &FsStore) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut visit = |record: &[u8]| {
        records.push(record.to_vec());
        Ok(())
    };
    store.replay(&mut visit).unwrap();
    records
}

/// The journal's segments, oldest first.
pub(crate) fn segments(store: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

/// Puts other bytes in a file's place. (Writing over it would make some filesystems wait for the disk.)
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Opening fails by corruption; where.
pub(crate) fn corruption(store: &Path, options: FsOptions) -> (PathBuf, u64, String) {
    match open(store, options) {
        Err(StoreError::Corrupt { path, offset, detail, .. }) => (path, offset, detail),
        Err(other) => panic!("not corruption: {other}"),
        Ok((store, report)) => panic!("opened, with {report:?} and {:?}", journal(&store)),
    }
}
