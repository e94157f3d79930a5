//! The promises of [`Store`], each as a function, and [`crate::store_contract!`], which makes each of them a named test.
//!
//! A backend's tests implement [`Backend`] and call the macro once:
//!
//! ```ignore
//! elastic_flow_store::store_contract!(MyBackend); // through the facade: elastic_flow::store::store_contract!
//! ```
//!
//! In reading order: `plain.rs` (what calls give), `faults.rs` (what failing and crashing writes leave), `history.rs` (the
//! model that those are checked against).

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a broken promise is a panic: these are tests")]

mod faults;
mod history;
mod plain;

use std::path::Path;
use std::sync::Arc;

pub use faults::*;
pub use plain::*;

use crate::error::StoreError;
use crate::plan::FaultInjector;
use crate::store::Store;

/// How the suite opens a backend.
pub trait Backend {
    /// What the backend promises beyond the common.
    fn capabilities(&self) -> Capabilities;

    /// Opens the store at `path`, made if it is not there. The suite opens it again after it has dropped, or "crashed", the
    /// store from an earlier call.
    ///
    /// # Errors
    /// The backend's own.
    fn open(&self, path: &Path) -> Result<Box<dyn Store>, StoreError>;

    /// Opens the store at `path` so that its write points fail as `faults` says: by [`crate::FaultFiles`] where the backend
    /// has that seam, else by a [`crate::FaultStore`] around it.
    ///
    /// # Errors
    /// The backend's own, and an injected one when opening has write points.
    fn open_with_faults(&self, path: &Path, faults: &Arc<FaultInjector>) -> Result<Box<dyn Store>, StoreError>;
}

/// What a backend promises beyond the common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What it holds outlives the process.
    pub is_durable: bool,
    /// A second opener is refused with the first one's process id.
    pub has_one_owner: bool,
}

/// Runs a promise in a folder of its own.
pub fn run(backend: &dyn Backend, promise: fn(&dyn Backend, &Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    promise(backend, folder.path());
}

/// Makes every promise of the contract a named test of the given [`contract::Backend`](crate::contract::Backend).
#[macro_export]
macro_rules! store_contract {
    ($backend:expr) => {
        $crate::store_contract!($backend =>
            url_and_durability_are_what_the_backend_says,
            put_twice_is_one,
            put_replaces_the_whole_payload,
            what_is_absent_is_none_and_its_removal_is_fine,
            payloads_are_listed_in_byte_order_of_their_names,
            steps_are_listed_in_order_while_they_have_payloads,
            deleting_a_step_leaves_the_others,
            names_outside_the_rule_are_refused_everywhere,
            odd_names_are_kept_apart,
            empty_payloads_records_and_batches_are_kept_as_such,
            large_payloads_and_records_come_back_whole,
            a_payload_is_deleted_while_it_is_read,
            replay_is_in_the_order_of_append,
            replay_gives_what_a_visitor_may_append_to,
            an_error_of_the_visitor_ends_the_replay,
            rewrite_replaces_the_journal_and_appending_goes_on,
            a_rewrite_that_panics_leaves_the_old_journal,
            the_journal_grows_by_appends_and_shrinks_by_a_rewrite,
            a_reopened_store_has_everything,
            a_second_opener_is_refused_with_the_holders_pid,
            puts_from_many_threads_are_all_kept,
            appends_from_many_threads_stay_whole_batches,
            a_full_disk_is_said_and_loses_nothing,
            a_refused_access_is_said_and_loses_nothing,
            a_failing_device_is_said_and_loses_nothing,
            a_crash_at_each_write_leaves_each_call_whole_or_undone,
            a_write_torn_at_each_point_leaves_each_call_whole_or_undone,
            a_crash_at_each_write_of_the_next_opening_loses_nothing,
            a_power_cut_at_each_write_keeps_what_was_synced,
            a_crash_at_each_write_of_a_batch_leaves_all_or_nothing,
            a_crash_at_each_write_of_a_rewrite_leaves_the_old_or_the_new,
            random_histories_with_random_faults_match_a_model,
        );
    };
    ($backend:expr => $($promise:ident),+ $(,)?) => {
        $(
            #[test]
            fn $promise() {
                $crate::contract::run(&$backend, $crate::contract::$promise);
            }
        )+
    };
}
