//! File operations with the store's errors, and the rule that a failed sync stops the store.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use elastic_flow_store::{FileOps, StoreError, create_dirs};

/// The suffix of a file that is being written.
pub(crate) const TEMP_SUFFIX: &str = ".tmp";

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// To be a master's: what a crash has left is mended first.
    Own,
    /// To be looked at: nothing in it changes.
    Look,
}

/// The folder of a store.
#[derive(Debug)]
pub(crate) struct Disk {
    url: String,
    root: PathBuf,
    files: Arc<dyn FileOps>,
    usage: Use,
    is_poisoned: AtomicBool,
    /// Tells temporary files apart: of concurrent writers, and of one that could not be removed.
    temp_count: AtomicU64,
}

impl Disk {
    pub(crate) fn new(root: &Path, files: Arc<dyn FileOps>, usage: Use) -> Self {
        let url = format!("fs:{}", root.display());
        let (is_poisoned, temp_count) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { url, root: root.to_owned(), files, usage, is_poisoned, temp_count }
    }

    /// Whether what is found may be changed.
    pub(crate) fn mends(&self) -> bool {
        self.usage == Use::Own
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Fails once a sync has failed: what is on the disk is not known from then on.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.is_poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned { url: self.url.clone() });
        }
        Ok(())
    }

    /// As [`Disk::check`], before a call that changes something.
    pub(crate) fn check_own(&self) -> Result<(), StoreError> {
        self.check()?;
        if self.mends() {
            return Ok(());
        }
        let detail = "it was opened to be looked at, and takes no changes".to_owned();
        Err(StoreError::Invalid { url: self.url.clone(), detail })
    }

    pub(crate) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn failed(&self, verb: &str, path: &Path, bytes: u64, source: io::Error) -> StoreError {
        StoreError::from_io(self.url.clone(), format!("{verb} {}", path.display()), bytes, source)
    }

    pub(crate) fn corrupt(&self, path: &Path, offset: u64, detail: impl Into<String>) -> StoreError {
        StoreError::Corrupt { url: self.url.clone(), path: path.to_owned(), offset, detail: detail.into() }
    }

    pub(crate) fn create_root(&self) -> Result<(), StoreError> {
        create_dirs(&*self.files, &self.root).map_err(|error| self.failed("make folder", &self.root, 0, error))
    }

    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.files.create_dir(path).map(drop).map_err(|error| self.failed("make folder", path, 0, error))
    }

    pub(crate) fn open_append(&self, path: &Path) -> Result<File, StoreError> {
        self.files.open_append(path).map_err(|error| self.failed("open", path, 0, error))
    }

    pub(crate) fn write(&self, path: &Path, file: &File, bytes: &[u8]) -> Result<(), StoreError> {
        self.files.write(path, file, bytes).map_err(|error| self.failed("write to", path, bytes.len() as u64, error))
    }

    pub(crate) fn truncate(&self, path: &Path, file: &File, bytes: u64) -> Result<(), StoreError> {
        self.files.truncate(path, file, bytes).map_err(|error| self.failed("cut", path, 0, error))
    }

    /// Not tried again when it fails: the system may have dropped what it could not write, and would then report success.
    pub(crate) fn sync(&self, path: &Path, file: &File) -> Result<(), StoreError> {
        self.files.sync(path, file).map_err(|error| {
            self.poison();
            self.failed("sync", path, 0, error)
        })
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.files.sync_dir(path).map_err(|error| {
            self.poison();
            self.failed("sync folder", path, 0, error)
        })
    }

    /// Removes a file; one that is not there is fine. Says whether it was.
    pub(crate) fn remove(&self, path: &Path) -> Result<bool, StoreError> {
        match self.files.remove(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("remove", path, 0, error)),
        }
    }

    /// Removes a folder; one that is not there is fine, and one that is not empty stays.
    pub(crate) fn remove_dir(&self, path: &Path) -> Result<(), StoreError> {
        match self.files.remove_dir(path) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(self.failed("remove folder", path, 0, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes `path` what `fill` writes, whole or not at all: under a temporary name first, which `fill` is given, synced if
    /// `is_synced`, then renamed. Gives back the file, open at its end.
    ///
    /// When it fails before the rename, the temporary file is gone or will be swept, and `path` is as it was. When the sync of the
    /// folder fails, the store is poisoned.
    pub(crate) fn replace(
        &self,
        path: &Path,
        is_synced: bool,
        fill: impl FnOnce(&Path, &File) -> Result<(), StoreError>,
    ) -> Result<File, StoreError> {
        let mut temp = path.as_os_str().to_owned();
        temp.push(format!(".{}{TEMP_SUFFIX}", self.temp_count.fetch_add(1, Ordering::Relaxed)));
        let temp = &PathBuf::from(temp);
        let file = self.files.create(temp).map_err(|error| self.failed("create", temp, 0, error))?;
        let filled =
            fill(temp, &file).and_then(|()| if is_synced { self.sync(temp, &file) } else { Ok(()) }).and_then(|()| {
                self.files.rename(temp, path).map_err(|error| self.failed("rename a temporary file to", path, 0, error))
            });
        if let Err(error) = filled {
            // What cannot be removed now is swept at the next open; the first error is the one to tell.
            self.remove(temp).ok();
            return Err(error);
        }
        if let (true, Some(folder)) = (is_synced, path.parent()) {
            self.sync_dir(folder)?;
        }
        Ok(file)
    }

    /// The names in a folder, in byte order; none where there is no such folder.
    pub(crate) fn names(&self, folder: &Path) -> Result<Vec<OsString>, StoreError> {
        let failed = |error| self.failed("list", folder, 0, error);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names =
            entries.map(|entry| entry.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        names.sort_unstable();
        Ok(names)
    }

    /// Removes the temporary files that a crash has left in a folder, and says how many; none is removed when looking.
    pub(crate) fn sweep(&self, folder: &Path) -> Result<u64, StoreError> {
        let mut found = 0;
        for name in self.names(folder)? {
            if name.to_str().is_some_and(|name| name.ends_with(TEMP_SUFFIX)) {
                found += u64::from(self.usage == Use::Look || self.remove(&folder.join(name))?);
            }
        }
        Ok(found)
    }
}
