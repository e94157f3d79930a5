//! The master: deciding code (pure) and the shell that performs what it decides.

mod accept;
mod account;
mod aggregate;
mod assign;
mod core;
mod dead_letters;
#[cfg(test)]
mod dead_letters_tests;
mod drain;
mod effects;
mod exchange;
mod handle;
mod journaler;
mod meters;
mod monitor;
#[cfg(test)]
mod names_tests;
mod nodes;
mod reconcile;
mod recover;
#[cfg(test)]
mod rejoin_tests;
mod run;
mod servers;
#[cfg(test)]
mod servers_tests;
mod shell;
mod ship;
#[cfg(test)]
mod ship_tests;
mod source;
mod start;
#[cfg(test)]
mod tests;
mod verdict;
mod view;

pub use account::Account;
pub use core::{CoreConfig, MasterCore, Planted, Totals};
pub use dead_letters::DeadLetter;
pub use effects::{Before, Cause, Effect, Ending, Event, Hook, Joined, Observation, Open, Opened, RequestId};
pub use handle::MasterHandle;
pub use monitor::{MakeMonitor, Monitor, MonitorError, Watched};
pub use nodes::{Candidate, ChunkFacts, Distribute, LeastOpenReceipts, RoundRobin};
pub use recover::Recovery;
pub use shell::StopReason;
pub(crate) use source::{ACCOUNT, REST, RESULT};
pub(crate) use start::endpoint_config;
pub use start::{Master, StopMode};
pub use view::{NodeView, list};
