//! The filesystem store of Elastic Flow: a folder a step, a file a payload, and a journal of checksummed segments.
//!
//! ```text
//! DIR/lock                                   the owner's process id, under the system's lock
//! DIR/journal-GENERATION-SEGMENT.log         a rewrite begins a generation; a full segment is followed by the next
//! DIR/payloads/STEP/NAME.zst                 a header, and the payload compressed
//! *.tmp                                      being written; swept at open
//! ```
//!
//! In reading order:
//!
//! - `store.rs`: [`FsStore`], how it is opened, and its [`OpenReport`]
//! - `codec.rs`: the headers on disk, with their diagrams
//! - `journal.rs`: appending and rewriting; `segment.rs`: reading, and what tells a torn tail from corruption
//! - `payloads.rs`: payload files
//! - `disk.rs`: file operations with the store's errors; a failed sync stops the store
//!
//! Every name appears by a rename of a file that is whole, and every change goes through
//! [`FileOps`](elastic_flow_store::FileOps), so that tests can fail each of them.

mod codec;
mod disk;
mod journal;
mod payloads;
mod segment;
mod store;

pub use segment::TornTail;
pub use store::{FsOptions, FsStore, OpenReport, SEGMENT_BYTES};
