//! Why a store call failed.

use std::path::PathBuf;

/// Why a store call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system or backend said no.
    #[error("store {url}: cannot {action}: {source}")]
    Io {
        /// The store.
        url: String,
        /// What was being done, with the path.
        action: String,
        /// Why it failed.
        source: std::io::Error,
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
