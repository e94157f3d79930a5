//! Persistence of Elastic Flow: payloads by step and name, and the master's journal.
//!
//! Backends differ in where they keep bytes, never in what they promise. In reading order:
//!
//! - `store.rs`: the [`Store`] trait and its promises; `error.rs`: why a call failed
//! - `name.rs`: which payload names are valid; `url.rs`: `memory`, `fs:DIR`, `rocksdb:DIR`, `NAME:ARG` as data
//! - `memory.rs`: [`MemoryStore`], the reference backend
//! - `plan.rs`: [`FaultPlan`] and [`FaultInjector`], which write point fails, and how
//! - `fault.rs`: [`FaultStore`], which fails whole calls of any store
//! - `files.rs`, `fault_files.rs`: [`FileOps`], the file operations of a backend, and [`FaultFiles`], which fails each of them
//! - `lock.rs`: [`OwnerLock`], by which a second opener is refused
//! - `contract/`: the suite that every backend runs (feature `contract`)
//!
//! This crate knows nothing of what the records and payloads mean.

mod error;
mod fault;
mod fault_files;
mod files;
mod lock;
mod memory;
mod name;
mod plan;
mod store;
mod url;

#[cfg(any(test, feature = "contract"))]
pub mod contract;

pub use bytes::Bytes;
pub use error::StoreError;
pub use fault::FaultStore;
pub use fault_files::FaultFiles;
pub use files::{FileOps, RealFiles, create_dirs};
pub use lock::OwnerLock;
pub use memory::MemoryStore;
pub use name::{PAYLOAD_NAME_BYTES_MAX, check_name, is_valid_name};
pub use plan::{Fault, FaultInjector, FaultPlan, RandomFaults};
pub use store::{Durability, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX, Store, StoredPayload, check_payload, check_records};
pub use url::StoreUrl;
