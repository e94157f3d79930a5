//! The worker: deciding code (pure) and the shell that performs what it decides.

mod compute;
mod core;
mod shell;

pub use core::{Effect, Event, WorkerCore, answer};
pub use shell::Worker;
