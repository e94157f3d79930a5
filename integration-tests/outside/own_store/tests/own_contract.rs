//! The promises of a store, each a test.

use std::path::Path;
use std::sync::Arc;

use elastic_flow::store::contract::{Backend, Capabilities};
use elastic_flow::store::{FaultFiles, FaultInjector, Store, StoreError};
use own_store::OwnStore;

struct Mine;

impl Backend for Mine {
    fn capabilities(&self) -> Capabilities {
        Capabilities { is_durable: true, has_one_owner: true }
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Store>, StoreError> {
        // On files that do not wait for the disk: the suite opens thousands of stores.
        self.open_with_faults(path, &Arc::default())
    }

    fn open_with_faults(&self, path: &Path, faults: &Arc<FaultInjector>) -> Result<Box<dyn Store>, StoreError> {
        let attic = path.with_extension("attic");
        std::fs::create_dir_all(&attic).and_then(|()| clear(&attic)).expect("a folder for what a power cut takes");
        Ok(Box::new(OwnStore::open(path, Arc::new(FaultFiles::new(Arc::clone(faults), attic)))?))
    }
}

/// What an earlier opening left there is of no use to the next.
fn clear(folder: &Path) -> std::io::Result<()> {
    std::fs::read_dir(folder)?.try_for_each(|entry| std::fs::remove_file(entry?.path()))
}

elastic_flow::store::store_contract!(Mine);
