//! A store of one's own: a file for each payload and for each batch of the journal. Each is whole and synced before it has its
//! name, whatever durability is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use elastic_flow::receipt::StepId;
use elastic_flow::store::{self, Bytes, Durability, FileOps, OwnerLock, Store, StoreError, StoredPayload};

/// No payload has a name with `~` in it; a payload's file is called `STEP-NAME`.
const JOURNAL: &str = "journal~";

#[derive(Debug)]
pub struct OwnStore {
    folder: PathBuf,
    files: Arc<dyn FileOps>,
    /// The number of the next batch; none once a sync has failed, after which nobody knows what is on the disk.
    next: Mutex<Option<u64>>,
    _lock: OwnerLock,
}

impl OwnStore {
    pub fn open(folder: &Path, files: Arc<dyn FileOps>) -> Result<Self, StoreError> {
        let url = format!("mine:{}", folder.display());
        let made = store::create_dirs(files.as_ref(), folder).and_then(|()| files.sync_dir(folder));
        made.map_err(|error| StoreError::from_io(&url, "make its folder", 0, error))?;
        let lock = OwnerLock::take(&url, &folder.join("lock~"))?;
        let store = Self { folder: folder.to_owned(), files, next: Mutex::new(Some(0)), _lock: lock };
        let number = |it: &String| it.get(JOURNAL.len()..JOURNAL.len() + 20)?.parse::<u64>().ok();
        *store.locked()? = Some(store.names(JOURNAL)?.last().and_then(number).map_or(0, |last| last + 1));
        Ok(store)
    }

    fn locked(&self) -> Result<MutexGuard<'_, Option<u64>>, StoreError> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none() { Err(StoreError::Poisoned { url: self.url() }) } else { Ok(next) }
    }

    fn failed(&self, action: &str, name: &str) -> impl Fn(io::Error) -> StoreError {
        let (url, action) = (self.url(), format!("{action} {name}"));
        move |error| StoreError::from_io(&url, &action, 0, error)
    }

    /// The names of the files that begin with `prefix`, in order.
    fn names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let name = |it: io::Result<fs::DirEntry>| it.map(|it| it.file_name().to_string_lossy().into_owned());
        let names = fs::read_dir(&self.folder).and_then(|it| it.map(name).collect::<io::Result<Vec<_>>>());
        let mut names = names.map_err(self.failed("list", prefix))?;
        names.retain(|it| it.starts_with(prefix));
        names.sort_unstable();
        Ok(names)
    }

    /// The files of the journal: what was before the last rewrite (`.all`) does not count.
    fn journal(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.names(JOURNAL)?;
        Ok(names.split_off(names.iter().rposition(|it| it.ends_with(".all")).unwrap_or(0)))
    }

    /// Writes a file whole, and then gives it its name.
    fn write(&self, next: &mut Option<u64>, name: &str, parts: &[&[u8]]) -> Result<(), StoreError> {
        let (temp, files) = (self.folder.join("temp~"), &self.files);
        let left_over = if temp.exists() { files.remove(&temp) } else { Ok(()) };
        let file = left_over.and_then(|()| files.create(&temp)).map_err(self.failed("create", name))?;
        let written = files.write(&temp, &file, &encode(parts)).and_then(|()| files.sync(&temp, &file));
        written.and_then(|()| files.rename(&temp, &self.folder.join(name))).map_err(self.failed("write", name))?;
        files.sync_dir(&self.folder).inspect_err(|_| *next = None).map_err(self.failed("sync", name))
    }

    fn batch(&self, ending: &str, records: &[&[u8]]) -> Result<(), StoreError> {
        store::check_records(&self.url(), records)?;
        let mut next = self.locked()?;
        let number = next.unwrap_or(0);
        *next = Some(number + 1);
        self.write(&mut next, &format!("{JOURNAL}{number:020}{ending}"), records)
    }

    fn read(&self, name: &str) -> Result<Vec<Bytes>, StoreError> {
        let (url, path, detail) = (self.url(), self.folder.join(name), "it was changed".to_owned());
        let bytes = fs::read(&path).map_err(self.failed("read", name))?;
        decode(&bytes).ok_or(StoreError::Corrupt { url, path, offset: 0, detail })
    }

    fn size(&self, name: &str) -> Result<u64, StoreError> {
        fs::metadata(self.folder.join(name)).map(|it| it.len()).map_err(self.failed("measure", name))
    }
}

impl Store for OwnStore {
    fn url(&self) -> String {
        format!("mine:{}", self.folder.display())
    }
    fn is_durable(&self) -> bool {
        true
    }
    fn append(&self, batch: &[&[u8]], _: Durability) -> Result<(), StoreError> {
        self.batch("", batch)
    }
    fn replay(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let locked = self.locked()?;
        let batches = self.journal()?.iter().map(|it| self.read(it)).collect::<Result<Vec<_>, _>>()?;
        drop(locked);
        batches.iter().flatten().try_for_each(|it| visit(it))
    }
    fn rewrite(&self, records: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let records: Vec<Vec<u8>> = records.collect();
        self.batch(".all", &records.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let (all, counts) = (self.names(JOURNAL)?, self.journal()?);
        all.iter().filter(|it| !counts.contains(it)).for_each(|it| drop(self.files.remove(&self.folder.join(it))));
        Ok(())
    }
    fn journal_bytes(&self) -> Result<u64, StoreError> {
        self.locked().and_then(|_| self.journal())?.iter().map(|it| self.size(it)).sum()
    }
    fn put(&self, step: StepId, name: &str, payload: &[u8], _: Durability) -> Result<(), StoreError> {
        store::check_name(&self.url(), name).and_then(|()| store::check_payload(&self.url(), name, payload))?;
        self.write(&mut *self.locked()?, &format!("{}-{name}", step.0), &[payload])
    }
    fn get(&self, step: StepId, name: &str) -> Result<Option<Bytes>, StoreError> {
        store::check_name(&self.url(), name)?;
        let (_locked, name) = (self.locked()?, format!("{}-{name}", step.0));
        if self.folder.join(&name).exists() { self.read(&name).map(|mut it| it.pop()) } else { Ok(None) }
    }
    fn list(&self, step: StepId) -> Result<Vec<StoredPayload>, StoreError> {
        let (_locked, prefix) = (self.locked()?, format!("{}-", step.0));
        let entry = |it: &String| Ok(StoredPayload { name: it.replacen(&prefix, "", 1), stored_bytes: self.size(it)? });
        self.names(&prefix)?.iter().map(entry).collect()
    }
    fn delete(&self, step: StepId, name: &str) -> Result<(), StoreError> {
        store::check_name(&self.url(), name)?;
        let (_locked, path) = (self.locked()?, self.folder.join(format!("{}-{name}", step.0)));
        if path.exists() { self.files.remove(&path).map_err(self.failed("remove", name)) } else { Ok(()) }
    }
    fn delete_step(&self, step: StepId) -> Result<(), StoreError> {
        self.list(step)?.iter().try_for_each(|it| self.delete(step, &it.name))
    }
    fn steps(&self) -> Result<Vec<StepId>, StoreError> {
        let names = self.locked().and_then(|_| self.names(""))?;
        let steps = names.iter().filter_map(|it| it.split_once('-')?.0.parse().ok().map(StepId));
        Ok(steps.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

/// Each part behind its length, and all of it behind a checksum.
fn encode(parts: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = parts.iter().flat_map(|it| [&(it.len() as u64).to_le_bytes(), *it].concat()).collect();
    [&checksum(&body).to_le_bytes(), body.as_slice()].concat()
}

fn decode(bytes: &[u8]) -> Option<Vec<Bytes>> {
    let (sum, mut body) = bytes.split_first_chunk()?;
    let mut parts = (checksum(body) == u64::from_le_bytes(*sum)).then(Vec::new)?;
    while let Some((length, rest)) = body.split_first_chunk() {
        let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        parts.push(Bytes::copy_from_slice(part));
        body = rest;
    }
    Some(parts)
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
