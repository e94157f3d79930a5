//! [`FsStore`]: how it is opened, and its calls.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use elastic_flow_receipt::StepId;
use elastic_flow_store::{Durability, FileOps, OwnerLock, RealFiles, Store, StoreError, StoredPayload};

use crate::disk::{Disk, Use};
use crate::journal::{Journal, check_there};
use crate::payloads::Payloads;
use crate::segment::TornTail;

/// Bytes after which a journal segment is followed by the next: 64 MiB.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
const LOCK_NAME: &str = "lock";
/// The level at which zstd costs least, and still halves text.
const COMPRESSION_LEVEL: i32 = 1;

/// How a store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsOptions {
    /// Bytes after which a journal segment is followed by the next.
    pub segment_bytes: u64,
    /// The zstd level of payloads.
    pub compression_level: i32,
}

impl Default for FsOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, compression_level: COMPRESSION_LEVEL }
    }
}

/// What was found when a store was opened: mended by [`FsStore::open`], and left as it was by [`FsStore::look`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// Records in the journal.
    pub journal_records: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// A batch that a crash had cut short, to be taken off: it was never acknowledged as synced.
    pub torn_tail: Option<TornTail>,
    /// Temporary files that a crash had left, to be removed.
    pub temp_files: u64,
    /// Segments from before the last rewrite that a crash had left, to be removed.
    pub old_segments: u64,
}

/// A store in a folder.
///
/// A payload is a file that appears whole, by a rename. The journal's segments are checksummed; appending is one write and,
/// for [`Durability::Synced`], one sync, so callers gather records into batches. Calls on payloads run side by side; those
/// on the journal one after the other.
///
/// When a sync fails, what is on the disk is not known any more, so every further call fails with
/// [`StoreError::Poisoned`] until the store is opened again.
#[derive(Debug)]
pub struct FsStore {
    disk: Disk,
    journal: Mutex<Journal>,
    payloads: Payloads,
    _lock: OwnerLock,
}

impl FsStore {
    /// Opens the store in `dir`, which is made (mode 0700) if it is not there. The whole journal is verified; what a crash
    /// has left unfinished is taken off, and named in the report.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another process has it open, [`StoreError::Corrupt`] with file and offset when the journal is
    /// damaged, else what the operating system says.
    pub fn open(dir: &Path, options: FsOptions) -> Result<(Self, OpenReport), StoreError> {
        Self::open_on(dir, options, Arc::new(RealFiles))
    }

    /// Like [`FsStore::open`], with the given file operations: for tests that make them fail.
    ///
    /// # Errors
    /// Those of [`FsStore::open`].
    pub fn open_on(dir: &Path, options: FsOptions, files: Arc<dyn FileOps>) -> Result<(Self, OpenReport), StoreError> {
        let disk = Disk::new(dir, files, Use::Own);
        disk.create_root()?;
        Self::open_disk(disk, options)
    }

    /// Opens the store that is in `dir` to look at it: everything is verified as by [`FsStore::open`], and nothing is made, taken off
    /// or removed. What a crash has left unfinished is not seen, and named in the report. Every call that would change something is
    /// [`StoreError::Invalid`].
    ///
    /// # Errors
    /// Those of [`FsStore::open`]; [`StoreError::Invalid`] when there is no store.
    pub fn look(dir: &Path) -> Result<(Self, OpenReport), StoreError> {
        let disk = Disk::new(dir, Arc::new(RealFiles), Use::Look);
        // Before the lock, which would make its file.
        check_there(&disk)?;
        Self::open_disk(disk, FsOptions::default())
    }

    fn open_disk(disk: Disk, options: FsOptions) -> Result<(Self, OpenReport), StoreError> {
        let lock = OwnerLock::take(disk.url(), &disk.root().join(LOCK_NAME))?;
        let mut temp_files = disk.sweep(disk.root())?;
        let (payloads, swept) = Payloads::open(&disk, options.compression_level)?;
        temp_files += swept;
        let (journal, found) = Journal::open(&disk, options.segment_bytes)?;
        let report = OpenReport {
            journal_records: found.records,
            journal_bytes: journal.bytes(),
            torn_tail: found.torn_tail,
            temp_files,
            old_segments: found.old_segments,
        };
        Ok((Self { disk, journal: Mutex::new(journal), payloads, _lock: lock }, report))
    }

    /// The journal changes what it says of itself only after a write has succeeded, so a panic elsewhere does not spoil it.
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FsStore {
    fn url(&self) -> String {
        self.disk.url().to_owned()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn append(&self, batch: &[&[u8]], durability: Durability) -> Result<(), StoreError> {
        let mut journal = self.journal();
        self.disk.check_own()?;
        journal.append(&self.disk, batch, durability)
    }

    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.disk.check()?;
        let snapshot = self.journal().snapshot(&self.disk)?;
        snapshot.replay(&self.disk, visit)
    }

    fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let mut journal = self.journal();
        self.disk.check_own()?;
        journal.rewrite(&self.disk, records)
    }

    fn journal_bytes(&self) -> Result<u64, StoreError> {
        self.disk.check()?;
        Ok(self.journal().bytes())
    }

    fn put(&self, step: StepId, name: &str, payload: &[u8], durability: Durability) -> Result<(), StoreError> {
        self.disk.check_own()?;
        self.payloads.put(&self.disk, step, name, payload, durability)
    }

    fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.disk.check()?;
        self.payloads.get(&self.disk, step, name)
    }

    fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
        self.disk.check()?;
        self.payloads.list(&self.disk, step)
    }

    fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError> {
        self.disk.check_own()?;
        self.payloads.delete(&self.disk, step, name)
    }

    fn delete_step(&self, step: StepId) -> Result<(), StoreError> {
        self.disk.check_own()?;
        self.payloads.delete_step(&self.disk, step)
    }

    fn steps(&self) -> Result<Vec<StepId>, StoreError> {
        self.disk.check()?;
        self.payloads.steps(&self.disk)
    }
}
