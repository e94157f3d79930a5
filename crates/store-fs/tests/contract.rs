//! The filesystem store keeps the promises of [`elastic_flow_store::Store`]: with each file operation failing, with segments
//! of the usual size, and with ones so small that every history goes through several.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

#[expect(dead_code, reason = "each test file uses a part")]
mod common;

use std::path::Path;
use std::sync::Arc;

use elastic_flow_store::contract::{Backend, Capabilities};
use elastic_flow_store::{FaultInjector, Store, StoreError};
use elastic_flow_store_fs::{FsOptions, FsStore};

struct Fs(FsOptions);

impl Backend for Fs {
    fn capabilities(&self) -> Capabilities {
        Capabilities { is_durable: true, has_one_owner: true }
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Store>, StoreError> {
        common::open(path, self.0).map(|(store, _)| Box::new(store) as Box<dyn Store>)
    }

    fn open_with_faults(&self, path: &Path, faults: &Arc<FaultInjector>) -> Result<Box<dyn Store>, StoreError> {
        let files = common::faulty_files(path, faults);
        FsStore::open_on(path, self.0, files).map(|(store, _)| Box::new(store) as Box<dyn Store>)
    }
}

/// As it is used: on the real disk.
struct RealFs;

impl Backend for RealFs {
    fn capabilities(&self) -> Capabilities {
        Capabilities { is_durable: true, has_one_owner: true }
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Store>, StoreError> {
        FsStore::open(path, FsOptions::default()).map(|(store, _)| Box::new(store) as Box<dyn Store>)
    }

    fn open_with_faults(&self, path: &Path, faults: &Arc<FaultInjector>) -> Result<Box<dyn Store>, StoreError> {
        Fs(FsOptions::default()).open_with_faults(path, faults)
    }
}

mod usual_segments {
    use super::*;

    elastic_flow_store::store_contract!(Fs(FsOptions::default()));
}

mod small_segments {
    use super::*;

    elastic_flow_store::store_contract!(Fs(common::small_segments(64)));
}

mod real_disk {
    use super::*;

    elastic_flow_store::store_contract!(RealFs =>
        put_twice_is_one,
        odd_names_are_kept_apart,
        large_payloads_and_records_come_back_whole,
        a_payload_is_deleted_while_it_is_read,
        rewrite_replaces_the_journal_and_appending_goes_on,
        a_reopened_store_has_everything,
        a_second_opener_is_refused_with_the_holders_pid,
    );
}
