//! File operations of which the n-th fails, is torn, or is the last one before the power goes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{FileOps, RealFiles};
use crate::plan::{Fault, FaultInjector};

/// [`RealFiles`] with the faults of a plan; every operation is a write point.
///
/// It remembers what was not synced: at a [`Fault::PowerCut`] files lose the bytes since their last sync, and folders the
/// changes of names since theirs. (The length of a file that was cut without a sync stays cut.) After a death nothing
/// changes any more; open the store again with [`RealFiles`].
#[derive(Debug)]
pub struct FaultFiles {
    faults: Arc<FaultInjector>,
    unsynced: Mutex<Unsynced>,
}

impl FaultFiles {
    /// Follows the plan of `faults`. `attic` is a folder on the same filesystem, outside of the store, for what a power
    /// cut would bring back; it must exist.
    #[must_use]
    pub fn new(faults: Arc<FaultInjector>, attic: PathBuf) -> Self {
        Self { faults, unsynced: Mutex::new(Unsynced { attic, ..Unsynced::default() }) }
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Meets a write point that takes effect whole or not at all.
    fn meet<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.faults.has_crashed() {
            return Err(dead());
        }
        match self.faults.meet() {
            None => call(),
            Some((Fault::Tear, drawn)) => {
                if drawn.is_multiple_of(2) {
                    call()?;
                }
                Err(dead())
            }
            Some((fault, _)) => Err(self.fail(fault)),
        }
    }

    /// The error of a fault before which nothing is done, after what it does to the disk.
    fn fail(&self, fault: Fault) -> io::Error {
        match fault {
            Fault::Fail => io::Error::other("the device failed (injected)"),
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::Permission => io::ErrorKind::PermissionDenied.into(),
            Fault::Crash | Fault::Tear => dead(),
            Fault::PowerCut => self.unsynced().lose().err().unwrap_or_else(dead),
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("the process has died (injected)")
}

impl FileOps for FaultFiles {
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        self.meet(|| {
            let is_new = RealFiles.create_dir(path)?;
            if is_new {
                self.unsynced().changes.push(Change::CreatedDir(path.to_owned()));
            }
            Ok(is_new)
        })
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.meet(|| {
            let file = RealFiles.create(path)?;
            let mut unsynced = self.unsynced();
            unsynced.synced_bytes.insert(path.to_owned(), 0);
            unsynced.changes.push(Change::Created(path.to_owned()));
            Ok(file)
        })
    }

    fn open_append(&self, path: &Path) -> io::Result<File> {
        if self.faults.has_crashed() { Err(dead()) } else { RealFiles.open_append(path) }
    }

    fn write(&self, path: &Path, file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.faults.has_crashed() {
            return Err(dead());
        }
        let synced_bytes = file.metadata()?.len();
        self.unsynced().synced_bytes.entry(path.to_owned()).or_insert(synced_bytes);
        match self.faults.meet() {
            None => RealFiles.write(path, file, bytes),
            Some((fault @ (Fault::Full | Fault::Tear), drawn)) => {
                let written = usize::try_from(drawn % (bytes.len() as u64 + 1)).unwrap_or_default();
                RealFiles.write(path, file, bytes.get(..written).unwrap_or_default())?;
                Err(self.fail(fault))
            }
            Some((fault, _)) => Err(self.fail(fault)),
        }
    }

    fn truncate(&self, path: &Path, file: &File, bytes: u64) -> io::Result<()> {
        self.meet(|| {
            RealFiles.truncate(path, file, bytes)?;
            if let Some(synced) = self.unsynced().synced_bytes.get_mut(path) {
                *synced = bytes.min(*synced);
            }
            Ok(())
        })
    }

    fn sync(&self, path: &Path, _file: &File) -> io::Result<()> {
        // Not asked of the system: the power cut is played, and a test need not wait for the disk.
        self.meet(|| {
            self.unsynced().synced_bytes.remove(path);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meet(|| {
            let mut unsynced = self.unsynced();
            let replaced = if to.exists() { Some(unsynced.keep(to)?) } else { None };
            RealFiles.rename(from, to)?;
            unsynced.follow(from, to);
            unsynced.changes.push(Change::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.meet(|| {
            self.unsynced().changes.retain(|change| change.path().parent() != Some(path));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.meet(|| {
            let mut unsynced = self.unsynced();
            let kept = unsynced.keep(path)?;
            RealFiles.remove(path)?;
            unsynced.changes.push(Change::Removed { path: path.to_owned(), kept });
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.meet(|| {
            RealFiles.remove_dir(path)?;
            self.unsynced().changes.push(Change::RemovedDir(path.to_owned()));
            Ok(())
        })
    }
}

/// What a power cut would take back.
#[derive(Debug, Default)]
struct Unsynced {
    attic: PathBuf,
    kept: u64,
    /// The length at the last sync, of files that were written since.
    synced_bytes: BTreeMap<PathBuf, u64>,
    /// Changes of names since the last sync of their folder, oldest first.
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Created(PathBuf),
    CreatedDir(PathBuf),
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<PathBuf> },
    Removed { path: PathBuf, kept: PathBuf },
    RemovedDir(PathBuf),
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Self::Created(path) | Self::CreatedDir(path) | Self::RemovedDir(path) => path,
            Self::Renamed { to, .. } => to,
            Self::Removed { path, .. } => path,
        }
    }
}

impl Unsynced {
    /// Gives the file a second name in the attic, where it stays when it loses its own.
    fn keep(&mut self, path: &Path) -> io::Result<PathBuf> {
        let kept = self.attic.join(self.kept.to_string());
        self.kept += 1;
        fs::hard_link(path, &kept)?;
        self.follow(path, &kept);
        Ok(kept)
    }

    /// The file at `from` is now at `to`.
    fn follow(&mut self, from: &Path, to: &Path) {
        self.synced_bytes.remove(to);
        if let Some(bytes) = self.synced_bytes.remove(from) {
            self.synced_bytes.insert(to.to_owned(), bytes);
        }
    }

    fn lose(&mut self) -> io::Result<()> {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::Created(path) => {
                    self.synced_bytes.remove(&path);
                    fs::remove_file(path)?;
                }
                Change::CreatedDir(path) => fs::remove_dir_all(path)?,
                Change::Renamed { from, to, replaced } => {
                    fs::rename(&to, &from)?;
                    self.follow(&to, &from);
                    if let Some(replaced) = replaced {
                        fs::rename(&replaced, &to)?;
                        self.follow(&replaced, &to);
                    }
                }
                Change::Removed { path, kept } => {
                    fs::rename(&kept, &path)?;
                    self.follow(&kept, &path);
                }
                Change::RemovedDir(path) => fs::create_dir(path)?,
            }
        }
        for (path, bytes) in std::mem::take(&mut self.synced_bytes) {
            if path.exists() {
                OpenOptions::new().write(true).open(path)?.set_len(bytes)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FaultPlan;

    struct Disk {
        folder: tempfile::TempDir,
        files: FaultFiles,
    }

    impl Disk {
        fn new(point: u64, fault: Fault) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("attic")).unwrap();
            let faults = Arc::new(FaultInjector::new(FaultPlan::once(point, fault)));
            let files = FaultFiles::new(faults, folder.path().join("attic"));
            Self { folder, files }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }

        /// Writes a file by its two steps: two write points, three with a sync.
        fn write(&self, name: &str, content: &str, sync: bool) {
            let path = self.path(name);
            let file = self.files.create(&path).unwrap();
            self.files.write(&path, &file, content.as_bytes()).unwrap();
            if sync {
                self.files.sync(&path, &file).unwrap();
            }
        }
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced() {
        let disk = Disk::new(9, Fault::PowerCut);
        disk.write("whole", "synced", true);
        disk.files.sync_dir(disk.folder.path()).unwrap();
        disk.write("nameless", "its content alone was synced", true);
        let path = disk.path("whole");
        let file = disk.files.open_append(&path).unwrap();
        disk.files.write(&path, &file, b" and more").unwrap();
        disk.files.rename(&path, &disk.path("renamed")).unwrap();
        disk.files.remove(&disk.path("nameless")).unwrap_err();
        assert_eq!(disk.read("whole").as_deref(), Some("synced"));
        assert_eq!(disk.read("renamed"), None);
        assert_eq!(disk.read("nameless"), None);
    }

    #[test]
    fn a_power_cut_undoes_removals_and_replacements_whose_folder_was_not_synced() {
        let disk = Disk::new(9, Fault::PowerCut);
        disk.write("a", "old a", true);
        disk.write("b", "new a", true);
        disk.files.sync_dir(disk.folder.path()).unwrap();
        disk.files.rename(&disk.path("b"), &disk.path("a")).unwrap();
        disk.files.remove(&disk.path("a")).unwrap();
        disk.files.create_dir(&disk.path("d")).unwrap_err();
        assert_eq!((disk.read("a").as_deref(), disk.read("b").as_deref()), (Some("old a"), Some("new a")));
    }

    #[test]
    fn a_torn_write_leaves_a_part_and_nothing_goes_on_after_it() {
        let disk = Disk::new(1, Fault::Tear);
        let path = disk.path("a");
        let file = disk.files.create(&path).unwrap();
        disk.files.write(&path, &file, b"0123456789").unwrap_err();
        assert!("0123456789".starts_with(&disk.read("a").unwrap()));
        disk.files.write(&path, &file, b"x").unwrap_err();
        disk.files.remove(&path).unwrap_err();
        assert!(path.exists());
    }

    #[test]
    fn a_full_disk_fails_one_operation_and_the_next_goes_through() {
        let disk = Disk::new(1, Fault::Full);
        let path = disk.path("a");
        let file = disk.files.create(&path).unwrap();
        let error = disk.files.write(&path, &file, b"0123456789").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.files.truncate(&path, &file, 0).unwrap();
        disk.files.write(&path, &file, b"again").unwrap();
        assert_eq!(disk.read("a").as_deref(), Some("again"));
    }
}
