//! A store has one owner: the process that holds the system's lock on its lock file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use elastic_flow_store::StoreError;

use crate::disk::Disk;

const LOCK_NAME: &str = "lock";
/// What the lock file holds: a process id, filled up with spaces, and a line's end.
const CONTENT_BYTES: u64 = 16;

/// Held while the store is open; the system lets go of it when the process ends, however it does.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    _file: File,
}

impl OwnerLock {
    /// Makes the store's folder if it is not there, and becomes its owner.
    pub(crate) fn take(disk: &Disk) -> Result<Self, StoreError> {
        make_root(disk)?;
        let path = disk.root().join(LOCK_NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(|error| disk.failed("open", &path, 0, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Held { url: disk.url().to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(disk.failed("lock", &path, 0, error)),
        }
        // Of one length always, and so written over: some filesystems wait for the disk when a file was emptied first.
        let content = format!("{:<15}\n", std::process::id());
        let failed = |error| disk.failed("write to", &path, CONTENT_BYTES, error);
        file.write_all(content.as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The holder's process id, or 0 where it has not written it yet.
fn holder(file: &mut File) -> u32 {
    let mut text = String::new();
    match file.take(CONTENT_BYTES).read_to_string(&mut text) {
        Ok(_) => text.trim().parse().unwrap_or(0),
        Err(_) => 0,
    }
}

fn make_root(disk: &Disk) -> Result<(), StoreError> {
    let with_above: Vec<&Path> = disk.root().ancestors().map(here_if_empty).collect();
    let missing = with_above.iter().take_while(|folder| !folder.is_dir()).count();
    for folder in with_above.iter().take(missing).rev() {
        disk.create_dir(folder)?;
    }
    // The names of the folders just made stand in those above them, up to the first that was there.
    with_above.iter().skip(1).take(missing).try_for_each(|folder| disk.sync_dir(folder))
}

/// The folder above a relative path of one component is the current one.
fn here_if_empty(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}
