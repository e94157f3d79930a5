//! Opening the store that a URL means: for a master, or beside one that has stopped.

use std::sync::Arc;

use elastic_flow_store::{MemoryStore, Store, StoreError, StoreUrl};
use elastic_flow_wire::with_causes;

use crate::app::App;
use crate::exit_code::Failure;

/// Opens a registered store; its argument is what follows the name and a colon in the URL, or empty.
pub type StoreFactory = Arc<dyn Fn(&str) -> Result<Arc<dyn Store>, StoreError> + Send + Sync>;

/// Whether there is such a store, which is not opened.
pub(crate) fn check(app: &App, url: &str) -> Result<(), Failure> {
    let parsed: StoreUrl = url.parse().map_err(|error: StoreError| Failure::usage(with_causes(&error)))?;
    if let StoreUrl::Registered { name, .. } = &parsed
        && app.find_store(name).is_none()
    {
        return Err(app.unknown_store(name));
    }
    Ok(())
}

/// Opens the store. Blocks.
pub(crate) fn open(app: &App, url: &str) -> Result<Arc<dyn Store>, Failure> {
    let parsed: StoreUrl = url.parse().map_err(|error: StoreError| Failure::usage(with_causes(&error)))?;
    let opened: Result<Arc<dyn Store>, StoreError> = match parsed {
        StoreUrl::Memory => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "store-fs")]
        StoreUrl::Fs(folder) => {
            let opened = elastic_flow_store_fs::FsStore::open(&folder, elastic_flow_store_fs::FsOptions::default());
            opened.map(|(store, report)| {
                if let Some(torn) = &report.torn_tail {
                    tracing::warn!(?torn, "a crash had cut the journal short; what it had acknowledged is there");
                }
                Arc::new(store) as Arc<dyn Store>
            })
        }
        #[cfg(feature = "store-rocksdb")]
        StoreUrl::Rocksdb(folder) => {
            elastic_flow_store_rocksdb::RocksStore::open(&folder).map(|store| Arc::new(store) as Arc<dyn Store>)
        }
        StoreUrl::Registered { name, argument } => match app.find_store(&name) {
            Some(factory) => factory(&argument),
            None => return Err(app.unknown_store(&name)),
        },
        other => {
            let message =
                format!("this program was built without the store {other}: it has {}", app.known_stores().join(", "));
            return Err(Failure::usage(message));
        }
    };
    opened.map_err(|error| Failure::usage(format!("cannot open the store: {}", with_causes(&error))))
}

/// What the store of a stopped master is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To look: where the store can, nothing in it changes.
    Look,
    /// To change it, as its owner.
    Own,
}

/// The store of a stopped master.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) store: Arc<dyn Store>,
    /// What a crash had left in it, in words; removed if it was opened as its owner.
    pub(crate) unfinished: Vec<String>,
}

/// Why the store of a stopped master was not opened.
#[derive(Debug)]
pub(crate) enum StoppedError {
    /// It is not there, is held, or is none that this program has.
    Refused(Failure),
    /// It is damaged.
    Corrupt(StoreError),
}

impl From<StoreError> for StoppedError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Corrupt { .. }) {
            Self::Corrupt(error)
        } else {
            Self::Refused(Failure::usage(format!("cannot open the store: {}", with_causes(&error))))
        }
    }
}

/// Opens a store that is there; its lock keeps masters away meanwhile, and is refused while one runs. Blocks.
pub(crate) fn open_stopped(app: &App, url: &str, purpose: Purpose) -> Result<Stopped, StoppedError> {
    let refused = |message: String| StoppedError::Refused(Failure::usage(message));
    match url.parse()? {
        StoreUrl::Memory => {
            Err(refused("a memory store is gone with its master: name another with --store".to_owned()))
        }
        #[cfg(feature = "store-fs")]
        StoreUrl::Fs(folder) => open_stopped_fs(&folder, purpose),
        // RocksDB makes whatever is not there, and mends its log whatever it is opened for.
        StoreUrl::Rocksdb(folder) if cfg!(feature = "store-rocksdb") && !folder.join("CURRENT").exists() => Err(
            refused(format!("there is no store in {}: name the one that a master was started on", folder.display())),
        ),
        _ => {
            let store = open(app, url).map_err(StoppedError::Refused)?;
            Ok(Stopped { store, unfinished: Vec::new() })
        }
    }
}

#[cfg(feature = "store-fs")]
fn open_stopped_fs(folder: &std::path::Path, purpose: Purpose) -> Result<Stopped, StoppedError> {
    use elastic_flow_store_fs::{FsOptions, FsStore};

    let (store, found) = match purpose {
        Purpose::Look => FsStore::look(folder)?,
        Purpose::Own => {
            // A folder where no store is must not become one.
            drop(FsStore::look(folder)?);
            FsStore::open(folder, FsOptions::default())?
        }
    };
    let torn = found.torn_tail.as_ref().map(|torn| {
        format!(
            "{} bytes of a batch that was not finished, in {} from byte {}",
            torn.bytes,
            torn.path.display(),
            torn.offset
        )
    });
    let files = (found.temp_files > 0).then(|| format!("{} temporary files", found.temp_files));
    let segments = (found.old_segments > 0).then(|| format!("{} segments of a former journal", found.old_segments));
    Ok(Stopped { store: Arc::new(store), unfinished: [torn, files, segments].into_iter().flatten().collect() })
}

#[cfg(all(test, feature = "store-fs"))]
mod tests {
    use super::*;

    /// How often `text` is in `message`.
    fn count(message: &str, text: &str) -> usize {
        message.matches(text).count()
    }

    #[test]
    fn a_store_that_cannot_be_opened_says_where_and_why_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("a file");
        let url = format!("fs:{}/store", file.display());
        let failure = open(&App::new(), &url).expect_err("no store can be there");
        let message = failure.to_string();
        assert!(message.starts_with(&format!("cannot open the store: store {url}: cannot ")), "{message}");
        assert_eq!((count(&message, &url), count(&message, " (os error ")), (1, 1), "{message}");

        let Err(StoppedError::Refused(failure)) = open_stopped(&App::new(), &url, Purpose::Look) else {
            panic!("no store is there")
        };
        assert_eq!(count(&failure.to_string(), &url), 1, "{failure}");
    }
}
