//! The RocksDB store of Elastic Flow: for masters with more payloads than a filesystem likes to have files.
//!
//! In reading order:
//!
//! - `store.rs`: [`RocksStore`] and its calls; `journal.rs`: what it knows of the journal
//! - `schema.rs`: column families and keys; `open.rs`: RocksDB's options, with reasons
//! - `error.rs`: RocksDB's errors as the store's
//!
//! RocksDB checksums what it keeps, makes each write batch all or nothing, and cuts a torn tail of its log.

mod error;
mod journal;
mod open;
mod schema;
mod store;

pub use store::RocksStore;
