//! A store of one's own, in a crate of its own.

mod store;

pub use store::OwnStore;
