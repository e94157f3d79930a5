//! Opening the store that a URL means.

use std::sync::Arc;

use elastic_flow_store::{MemoryStore, Store, StoreError, StoreUrl};

use crate::app::App;
use crate::exit_code::Failure;

/// Opens a registered store; its argument is what follows the name and a colon in the URL, or empty.
pub type StoreFactory = Arc<dyn Fn(&str) -> Result<Arc<dyn Store>, StoreError> + Send + Sync>;

/// Opens the store. Blocks.
pub(crate) fn open(app: &App, url: &str) -> Result<Arc<dyn Store>, Failure> {
    let parsed: StoreUrl = url.parse().map_err(|error: StoreError| Failure::usage(error.to_string()))?;
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
            None => return Err(Failure::usage(format!("there is no store {name:?}: it is {}", app.known_stores()))),
        },
        other => {
            let message = format!("this program was built without the store {other}: it has {}", app.known_stores());
            return Err(Failure::usage(message));
        }
    };
    opened.map_err(|error| Failure::usage(format!("cannot open the store {url}: {error}")))
}
