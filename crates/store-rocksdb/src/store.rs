//! [`RocksStore`]: how it is opened, and its calls.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use elastic_flow_receipt::StepId;
use elastic_flow_store::{
    Durability, OwnerLock, RealFiles, Store, StoreError, StoredPayload, check_name, check_payload, check_records,
    create_dirs,
};
use rocksdb::{ColumnFamily, DB, DBRawIterator, ReadOptions, WriteBatch, WriteOptions};

use crate::error::store_error;
use crate::journal::Journal;
use crate::open;
use crate::schema::{
    END, FORMAT, FORMAT_KEY, GENERATION_KEY, JOURNAL, META, PAYLOADS, index_end, index_key, indexes_end,
    parse_index_key, payload_key, payloads_end, record_key, sequence_of,
};

/// Beside RocksDB's own `LOCK`, which does not say who holds it.
const OWNER_FILE: &str = "owner";
/// Records of a rewrite are handed to RocksDB in batches of about this many bytes.
const REWRITE_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A store in a RocksDB database.
///
/// A batch of records, and a payload with its entry in the index, are one write batch each, synced for
/// [`Durability::Synced`]. When a write fails for anything but a full disk, every further call fails with
/// [`StoreError::Poisoned`] until the store is opened again; after a full disk RocksDB itself may ask for that.
#[derive(Debug)]
pub struct RocksStore {
    url: String,
    dir: PathBuf,
    db: DB,
    journal: Mutex<Journal>,
    is_poisoned: AtomicBool,
    // Dropped last: the database is closed when another owner may come.
    _owner: OwnerLock,
}

impl RocksStore {
    /// Opens the database in `dir`, which is made (mode 0700) if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another process has it open, [`StoreError::Corrupt`] when it is damaged,
    /// [`StoreError::Invalid`] when it is of another format, else what RocksDB says.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let url = format!("rocksdb:{}", dir.display());
        create_dirs(&RealFiles, dir)
            .map_err(|error| StoreError::from_io(&url, format!("make folder {}", dir.display()), 0, error))?;
        let owner = OwnerLock::take(&url, &dir.join(OWNER_FILE))?;
        let action = format!("open {}", dir.display());
        let db = open::open(dir).map_err(|error| store_error(&url, dir, &action, 0, error))?;
        let journal = Mutex::new(Journal::empty(0));
        let is_poisoned = AtomicBool::new(false);
        let store = Self { url, dir: dir.to_owned(), db, journal, is_poisoned, _owner: owner };
        let found = store.recover()?;
        *store.journal() = found;
        Ok(store)
    }

    /// Reads where the journal ends, and verifies that all of it is there.
    fn recover(&self) -> Result<Journal, StoreError> {
        match self.meta(FORMAT_KEY)? {
            None => {
                let mut batch = WriteBatch::default();
                batch.put_cf(self.family(META)?, FORMAT_KEY, FORMAT.to_be_bytes());
                batch.put_cf(self.family(META)?, GENERATION_KEY, 0_u64.to_be_bytes());
                self.write(batch, Durability::Synced, "begin the journal")?;
            }
            Some(format) if format == FORMAT.to_be_bytes() => {}
            Some(_) => {
                let detail = "it is of another format version; use the program that wrote it".to_owned();
                return Err(StoreError::Invalid { url: self.url.clone(), detail });
            }
        }
        let generation = self.meta(GENERATION_KEY)?.and_then(|bytes| bytes.try_into().ok().map(u64::from_be_bytes));
        let Some(generation) = generation else {
            return Err(self.corrupt("the journal's generation is missing"));
        };
        let mut journal = Journal::empty(generation);
        self.visit_journal(self.journal_iterator(generation)?, &mut |record| {
            journal.push(record);
            Ok(())
        })?;
        Ok(journal)
    }

    /// The journal says of itself what a write that has succeeded made it, so a panic elsewhere does not spoil it.
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned { url: self.url.clone() });
        }
        Ok(())
    }

    fn corrupt(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Corrupt { url: self.url.clone(), path: self.dir.clone(), offset: 0, detail: detail.into() }
    }

    fn failed(&self, action: &str, error: rocksdb::Error) -> StoreError {
        store_error(&self.url, &self.dir, action, 0, error)
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| self.corrupt(format!("column family {name} is missing")))
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(META)?, key).map_err(|error| self.failed("read the store's format", error))
    }

    fn write(&self, batch: WriteBatch, durability: Durability, action: &str) -> Result<(), StoreError> {
        let bytes = batch.size_in_bytes() as u64;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(batch, &options).map_err(|error| {
            let error = store_error(&self.url, &self.dir, action, bytes, error);
            if !error.is_full() {
                self.is_poisoned.store(true, Ordering::SeqCst);
            }
            error
        })
    }

    /// Over the records of a generation, as they are now.
    fn journal_iterator(&self, generation: u64) -> Result<DBRawIterator<'_>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(record_key(generation.saturating_add(1), 0));
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(JOURNAL)?, options);
        iterator.seek(record_key(generation, 0));
        Ok(iterator)
    }

    fn visit_journal(
        &self,
        mut iterator: DBRawIterator<'_>,
        visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut expected = 0;
        while let Some((key, record)) = iterator.item() {
            if sequence_of(key) != Some(expected) {
                return Err(self.corrupt(format!("journal record {expected} is missing, and later ones are there")));
            }
            visit(record)?;
            expected += 1;
            iterator.next();
        }
        iterator.status().map_err(|error| self.failed("read the journal", error))
    }

    fn index_iterator(&self, from: &[u8], to: Vec<u8>) -> Result<DBRawIterator<'_>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(META)?, options);
        iterator.seek(from);
        Ok(iterator)
    }
}

impl Store for RocksStore {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn append(&self, batch: &[&[u8]], durability: Durability) -> Result<(), StoreError> {
        check_records(&self.url, batch)?;
        let mut journal = self.journal();
        self.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let family = self.family(JOURNAL)?;
        let mut after = *journal;
        let mut writes = WriteBatch::default();
        for record in batch {
            writes.put_cf(family, after.push(record), record);
        }
        self.write(writes, durability, "append to the journal")?;
        *journal = after;
        Ok(())
    }

    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.check()?;
        let iterator = {
            let journal = self.journal();
            self.journal_iterator(journal.generation)?
        };
        self.visit_journal(iterator, visit)
    }

    fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let mut journal = self.journal();
        self.check()?;
        let family = self.family(JOURNAL)?;
        let mut after = Journal::empty(journal.generation.saturating_add(1));
        let begin = record_key(after.generation, 0);
        let mut batch = WriteBatch::default();
        // What an earlier rewrite has left that was not finished.
        batch.delete_range_cf(family, &begin[..], &END[..]);
        for record in records {
            check_records(&self.url, &[&record])?;
            batch.put_cf(family, after.push(&record), &record);
            if batch.size_in_bytes() >= REWRITE_BATCH_BYTES {
                self.write(std::mem::take(&mut batch), Durability::Os, "rewrite the journal")?;
            }
        }
        // The log is in order, so syncing this batch syncs those before it; with it the new generation counts.
        batch.put_cf(self.family(META)?, GENERATION_KEY, after.generation.to_be_bytes());
        batch.delete_range_cf(family, &record_key(0, 0)[..], &begin[..]);
        self.write(batch, Durability::Synced, "rewrite the journal")?;
        *journal = after;
        Ok(())
    }

    fn journal_bytes(&self) -> Result<u64, StoreError> {
        self.check()?;
        Ok(self.journal().bytes)
    }

    fn put(&self, step: StepId, name: &str, payload: &[u8], durability: Durability) -> Result<(), StoreError> {
        self.check()?;
        check_name(&self.url, name)?;
        check_payload(&self.url, name, payload)?;
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(PAYLOADS)?, payload_key(step, name), payload);
        batch.put_cf(self.family(META)?, index_key(step, name), (payload.len() as u64).to_be_bytes());
        self.write(batch, durability, &format!("put {name} of step {}", step.0))
    }

    fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        check_name(&self.url, name)?;
        let found = self.db.get_cf(self.family(PAYLOADS)?, payload_key(step, name));
        found
            .map(|payload| payload.map(Bytes::from))
            .map_err(|error| self.failed(&format!("get {name} of step {}", step.0), error))
    }

    /// The sizes are those before compression: RocksDB does not tell the others apart.
    fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
        self.check()?;
        let mut payloads = Vec::new();
        let mut iterator = self.index_iterator(&index_key(step, ""), index_end(step))?;
        while let Some((key, size)) = iterator.item() {
            let size = <[u8; 8]>::try_from(size).map(u64::from_be_bytes);
            let (Some((_, name)), Ok(payload_bytes)) = (parse_index_key(key), size) else {
                return Err(self.corrupt(format!("an entry of the index of step {} cannot be read", step.0)));
            };
            let stored_bytes = key.len() as u64 + payload_bytes;
            payloads.push(StoredPayload { name: name.to_owned(), stored_bytes });
            iterator.next();
        }
        iterator.status().map_err(|error| self.failed(&format!("list step {}", step.0), error))?;
        Ok(payloads)
    }

    fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError> {
        self.check()?;
        check_name(&self.url, name)?;
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family(PAYLOADS)?, payload_key(step, name));
        batch.delete_cf(self.family(META)?, index_key(step, name));
        self.write(batch, Durability::Os, &format!("delete {name} of step {}", step.0))
    }

    fn delete_step(&self, step: StepId) -> Result<(), StoreError> {
        self.check()?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family(PAYLOADS)?, payload_key(step, ""), payloads_end(step));
        batch.delete_range_cf(self.family(META)?, index_key(step, ""), index_end(step));
        self.write(batch, Durability::Os, &format!("delete step {}", step.0))
    }

    fn steps(&self) -> Result<Vec<StepId>, StoreError> {
        self.check()?;
        let mut steps = Vec::new();
        let mut iterator = self.index_iterator(&index_key(StepId(0), ""), indexes_end().to_vec())?;
        while let Some(key) = iterator.key() {
            let Some((step, _)) = parse_index_key(key) else {
                return Err(self.corrupt("an entry of the index cannot be read"));
            };
            steps.push(step);
            // Over the step's other payloads.
            iterator.seek(index_end(step));
        }
        iterator.status().map_err(|error| self.failed("list the steps", error))?;
        Ok(steps)
    }
}
