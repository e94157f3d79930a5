//! A store has one owner: the process that holds the system's lock on its lock file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::StoreError;

/// What the lock file holds: a process id, filled up with spaces, and a line's end.
const CONTENT_BYTES: u64 = 16;

/// The ownership of a store, held while this value lives; the system lets go of it when the process ends, however it does.
#[derive(Debug)]
pub struct OwnerLock {
    _file: File,
}

impl OwnerLock {
    /// Locks the file at `path`, made if it is not there (mode 0600), and writes this process's id into it. It stays there
    /// afterwards: removing it would let two owners in.
    ///
    /// # Errors
    /// [`StoreError::Held`] with the holder's process id, or what the operating system says.
    pub fn take(url: &str, path: &Path) -> Result<Self, StoreError> {
        let failed =
            |verb: &str, error| StoreError::from_io(url, format!("{verb} {}", path.display()), CONTENT_BYTES, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|error| failed("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Held { url: url.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        // Of one length always, and so written over: some filesystems wait for the disk when a file was emptied first.
        let content = format!("{:<15}\n", std::process::id());
        file.write_all(content.as_bytes()).map_err(|error| failed("write to", error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_a_dropped_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = OwnerLock::take("fs:/s", &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        let error = OwnerLock::take("fs:/s", &path).unwrap_err();
        assert!(
            matches!(&error, StoreError::Held { url, pid } if url == "fs:/s" && *pid == std::process::id()),
            "{error}"
        );
        drop(lock);
        OwnerLock::take("fs:/s", &path).unwrap();
    }

    #[test]
    fn what_a_dead_owner_left_is_written_over_and_an_unreadable_holder_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, format!("{:<15}\n", 999_999_999)).unwrap();
        let lock = OwnerLock::take("fs:/s", &path).unwrap();
        std::fs::write(&path, b"\xff\xff").unwrap();
        let error = OwnerLock::take("fs:/s", &path).unwrap_err();
        assert!(matches!(error, StoreError::Held { pid: 0, .. }), "{error}");
        drop(lock);
    }
}
