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
    let url = url.to_owned();
    let text: &str = error.as_ref();
    if error.kind() == ErrorKind::Corruption {
        return StoreError::Corrupt { url, path: dir.to_owned(), offset: 0, detail: text.to_owned() };
    }
    let is_lock = error.kind() == ErrorKind::IOError && text.contains("/LOCK");
    if is_lock && (text.contains("temporarily unavailable") || text.contains("lock hold by current process")) {
        return StoreError::Held { url, pid: 0 };
    }
    if error.kind() == ErrorKind::InvalidArgument {
        return StoreError::Invalid { url, detail: format!("cannot {action}: {text}") };
    }
    let kind =
        SYSTEM_ERRORS.iter().find(|(part, _)| text.contains(part)).map_or(io::ErrorKind::Other, |(_, kind)| *kind);
    StoreError::from_io(url, action, bytes, io::Error::new(kind, error))
}
