//! Why a store call failed.

use std::io;
use std::path::PathBuf;

/// Why a store call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system or backend said no.
    #[error("store {url}: cannot {action}")]
    Io {
        /// The store.
        url: String,
        /// What was being done, with the path.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The disk is full.
    #[error("store {url}: disk full while trying to {action} ({bytes} bytes needed)")]
    Full {
        /// The store.
        url: String,
        /// What was being done, with the path.
        action: String,
        /// Bytes that were to be written.
        bytes: u64,
    },
    /// Stored bytes are not what was written.
    #[error("store {url}: {path} is corrupt at byte {offset}: {detail}")]
    Corrupt {
        /// The store.
        url: String,
        /// The file, or the backend's name of the place.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// Another process owns the store.
    #[error("store {url} is held by process {pid}; stop it, or name another store")]
    Held {
        /// The store.
        url: String,
        /// The holder; 0 where it is not known.
        pid: u32,
    },
    /// An earlier sync failed; what was written since is unknown.
    #[error("store {url} stopped after a failed sync; restart the node")]
    Poisoned {
        /// The store.
        url: String,
    },
    /// The caller's name or URL is not usable.
    #[error("store {url}: {detail}")]
    Invalid {
        /// The store.
        url: String,
        /// What is wrong, and the remedy.
        detail: String,
    },
}

impl StoreError {
    /// The error for a failed call of the operating system: [`StoreError::Full`] when the disk or the quota is at its
    /// end, else [`StoreError::Io`].
    ///
    /// `action` is what was being done, with the path, and reads well after "cannot"; `bytes` were to be written.
    pub fn from_io(url: impl Into<String>, action: impl Into<String>, bytes: u64, source: io::Error) -> Self {
        let (url, action) = (url.into(), action.into());
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full { url, action, bytes }
        } else {
            Self::Io { url, action, source }
        }
    }

    /// Whether the disk, or the quota on it, is full: the call may succeed when there is room again.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether the operating system refused access.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether every further call on the store will fail as well, until it is opened again.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        matches!(self, Self::Poisoned { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_full_and_the_rest_is_io() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = StoreError::from_io("fs:/s", "write /s/a", 7, kind.into());
            assert_eq!(error.to_string(), "store fs:/s: disk full while trying to write /s/a (7 bytes needed)");
            assert!(error.is_full() && !error.is_permission_denied());
        }
        let denied = StoreError::from_io("fs:/s", "write /s/a", 7, io::ErrorKind::PermissionDenied.into());
        assert!(denied.is_permission_denied() && !denied.is_full());
        assert_eq!(denied.to_string(), "store fs:/s: cannot write /s/a");
        let cause = std::error::Error::source(&denied).unwrap();
        assert_eq!(cause.to_string(), "permission denied", "what the text leaves to it");
        assert!(cause.source().is_none());
    }
}
