//! What the store does to files: how often it writes and syncs, with which modes, and what a failed sync or a damaged payload
//! comes to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

#[expect(dead_code, reason = "each test file uses a part")]
mod common;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{STEP, journal, overwrite};
use elastic_flow_store::{Durability, FileOps, RealFiles, Store, StoreError};
use elastic_flow_store_fs::{FsOptions, FsStore};

/// Counts writes and syncs, and lets syncs fail when told to.
#[derive(Debug, Default)]
struct Watched {
    writes: AtomicU64,
    syncs: AtomicU64,
    dir_syncs: AtomicU64,
    syncs_fail: AtomicBool,
}

impl Watched {
    /// Writes, syncs and syncs of folders since the last call.
    fn take(&self) -> (u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        (take(&self.writes), take(&self.syncs), take(&self.dir_syncs))
    }

    fn sync(&self, count: &AtomicU64) -> io::Result<()> {
        count.fetch_add(1, Ordering::SeqCst);
        if self.syncs_fail.load(Ordering::SeqCst) { Err(io::Error::other("the device failed")) } else { Ok(()) }
    }
}

impl FileOps for Watched {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        RealFiles.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        RealFiles.create(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<File> {
        RealFiles.open_append(path)
    }

    fn write(&self, path: &Path, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        RealFiles.write(path, file, bytes)
    }

    fn truncate(&self, path: &Path, file: &File, bytes: u64) -> io::Result<()> {
        RealFiles.truncate(path, file, bytes)
    }

    fn sync(&self, _path: &Path, _file: &File) -> io::Result<()> {
        self.sync(&self.syncs)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.sync(&self.dir_syncs)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove_dir(path)
    }
}

fn watched(store: &Path) -> (FsStore, Arc<Watched>) {
    let files = Arc::new(Watched::default());
    let (store, _) = FsStore::open_on(store, FsOptions::default(), Arc::clone(&files) as Arc<dyn FileOps>).unwrap();
    (store, files)
}

#[test]
fn a_batch_costs_one_write_and_one_sync_however_many_records_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = watched(&folder.path().join("store"));
    files.take();
    store.append(&[&b"record"[..]; 100], Durability::Synced).unwrap();
    assert_eq!(files.take(), (1, 1, 0));
    store.append(&[&b"record"[..]; 100], Durability::Os).unwrap();
    assert_eq!(files.take(), (1, 0, 0));
}

#[test]
fn a_put_is_synced_with_its_name_or_not_at_all_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (store, files) = watched(&folder.path().join("store"));
    store.put(STEP, "first", b"makes the folder", Durability::Os).unwrap();
    files.take();
    store.put(STEP, "a", b"payload", Durability::Synced).unwrap();
    assert_eq!(files.take(), (2, 1, 1));
    store.put(STEP, "a", b"payload", Durability::Os).unwrap();
    assert_eq!(files.take(), (2, 0, 0));
}

#[test]
fn after_a_failed_sync_every_call_fails_and_no_sync_is_tried_again() {
    type Call = fn(&FsStore) -> Result<(), StoreError>;
    let writes: [Call; 3] = [
        |store| store.append(&[b"x"], Durability::Synced),
        |store| store.put(STEP, "b", b"x", Durability::Synced),
        |store| store.rewrite(&mut std::iter::empty()),
    ];
    for write in writes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (store, files) = watched(&path);
        store.append(&[b"kept"], Durability::Synced).unwrap();
        store.put(STEP, "a", b"kept", Durability::Synced).unwrap();
        files.syncs_fail.store(true, Ordering::SeqCst);
        let error = write(&store).unwrap_err();
        assert!(error.to_string().contains("cannot sync"), "{error}");
        files.syncs_fail.store(false, Ordering::SeqCst);
        files.take();
        let calls: [Call; 11] = [
            writes[0],
            writes[1],
            writes[2],
            |store| store.append(&[b"x"], Durability::Os),
            |store| store.replay(&mut |_| Ok(())),
            |store| store.get(STEP, "a").map(drop),
            |store| store.list(STEP).map(drop),
            |store| store.steps().map(drop),
            |store| store.delete(STEP, "a"),
            |store| store.delete_step(STEP),
            |store| store.journal_bytes().map(drop),
        ];
        for call in calls {
            assert!(call(&store).unwrap_err().is_poisoned());
        }
        assert_eq!(files.take(), (0, 0, 0));
        drop(store);
        let (store, _) = FsStore::open(&path, FsOptions::default()).unwrap();
        assert_eq!(journal(&store).first().unwrap(), b"kept");
        assert_eq!(store.get(STEP, "a").unwrap().unwrap(), "kept");
    }
}

#[cfg(unix)]
#[test]
fn folders_and_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("above/store");
    let (store, _) = FsStore::open(&path, FsOptions::default()).unwrap();
    store.append(&[b"x"], Durability::Synced).unwrap();
    store.put(STEP, "a", b"x", Durability::Synced).unwrap();
    let mut seen = 0;
    let mut folders = vec![path];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                seen += 1;
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
            }
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn a_payload_with_a_flipped_bit_or_a_missing_end_is_corrupt_by_name_and_never_another() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = FsStore::open(&folder.path().join("store"), FsOptions::default()).unwrap();
    let payload = b"a payload that is worth compressing, compressing, compressing and compressing".as_slice();
    store.put(STEP, "a", payload, Durability::Os).unwrap();
    let path = folder.path().join("store/payloads/3/a.zst");
    let whole = fs::read(&path).unwrap();
    let mut corrupt = 0;
    let mut check = |bytes: &[u8]| {
        overwrite(&path, bytes);
        match store.get(STEP, "a") {
            Ok(found) => assert_eq!(found.unwrap(), payload),
            Err(StoreError::Corrupt { path: at, offset, .. }) => {
                assert!(at == path && offset <= whole.len() as u64);
                corrupt += 1;
            }
            Err(other) => panic!("{other}"),
        }
    };
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check(&flipped);
    }
    for cut in 0..whole.len() {
        check(&whole[..cut]);
    }
    // A bit of zstd's own header may say nothing about the content; all others do.
    assert!(corrupt >= whole.len() * 9 - 2, "{corrupt} of {}", whole.len() * 9);
}

#[test]
fn an_error_names_the_place_and_the_folder_that_is_a_file_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"not a folder").unwrap();
    let error = FsStore::open(&path, FsOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }) && error.to_string().contains(path.to_str().unwrap()), "{error}");
}
