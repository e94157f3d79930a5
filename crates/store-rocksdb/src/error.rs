//! RocksDB's errors as the store's. It gives a text with a kind in front; what the system said stands in it.

use std::io;
use std::path::Path;

use elastic_flow_store::StoreError;
use rocksdb::ErrorKind;

/// What stands in RocksDB's text for errors of the system that a caller treats apart.
const SYSTEM_ERRORS: [(&str, io::ErrorKind); 4] = [
    ("No space left on device", io::ErrorKind::StorageFull),
    ("Disk quota exceeded", io::ErrorKind::QuotaExceeded),
    ("Permission denied", io::ErrorKind::PermissionDenied),
    ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
];

/// The error for a failed call of RocksDB on the folder `dir`; `bytes` were to be written.
pub(crate) fn store_error(url: &str, dir: &Path, action: &str, bytes: u64, error: rocksdb::Error) -> StoreError {
    let kind = error.kind();
    from_text(url, dir, action, bytes, kind, error.into_string())
}

fn from_text(url: &str, dir: &Path, action: &str, bytes: u64, kind: ErrorKind, text: String) -> StoreError {
    let url = url.to_owned();
    if kind == ErrorKind::Corruption {
        return StoreError::Corrupt { url, path: dir.to_owned(), offset: 0, detail: text };
    }
    let is_lock = kind == ErrorKind::IOError && text.contains("/LOCK");
    if is_lock && (text.contains("temporarily unavailable") || text.contains("lock hold by current process")) {
        return StoreError::Held { url, pid: 0 };
    }
    if kind == ErrorKind::InvalidArgument {
        return StoreError::Invalid { url, detail: format!("cannot {action}: {text}") };
    }
    let system = SYSTEM_ERRORS.iter().find(|(part, _)| text.contains(part)).map(|(_, kind)| *kind);
    StoreError::from_io(url, action, bytes, io::Error::new(system.unwrap_or(io::ErrorKind::Other), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error(text: &str) -> StoreError {
        from_text("rocksdb:/s", Path::new("/s"), "put a of step 1", 7, ErrorKind::IOError, text.to_owned())
    }

    #[test]
    fn what_the_system_said_reaches_the_caller_as_such() {
        let full = io_error("IO error: No space left on device: While appending to file: /s/000004.log: No space left");
        assert!(matches!(full, StoreError::Full { bytes: 7, .. }), "{full}");
        assert!(io_error("IO error: While open a file: /s/1.sst: Permission denied").is_permission_denied());
        let other = io_error("IO error: While fsync: /s/000004.log: Input/output error");
        assert!(matches!(other, StoreError::Io { .. }) && other.to_string().contains("put a of step 1"), "{other}");
    }

    #[test]
    fn a_lock_that_another_has_is_held_and_damage_is_corruption() {
        let held = io_error("IO error: While lock file: /s/LOCK: Resource temporarily unavailable");
        assert!(matches!(held, StoreError::Held { pid: 0, .. }), "{held}");
        let text = "Corruption: block checksum mismatch".to_owned();
        let corrupt = from_text("rocksdb:/s", Path::new("/s"), "get a", 0, ErrorKind::Corruption, text);
        assert!(matches!(corrupt, StoreError::Corrupt { ref path, .. } if path == Path::new("/s")), "{corrupt}");
    }
}
