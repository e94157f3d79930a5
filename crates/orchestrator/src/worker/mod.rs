//! The worker: deciding code (pure) and the shell that performs what it decides.

mod compute;
mod core;
mod exchange;
#[cfg(test)]
mod exchange_tests;
mod partitions;
mod peers;
mod shell;

pub use core::{Effect, Event, WorkerCore, answer};
pub use exchange::ExchangeId;
pub use partitions::answer_partition;
pub use shell::Worker;
