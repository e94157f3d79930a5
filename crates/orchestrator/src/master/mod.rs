//! The master: deciding code (pure) and the shell that performs what it decides.

mod accept;
mod account;
mod aggregate;
mod assign;
mod core;
mod effects;
mod handle;
mod journaler;
mod meters;
mod nodes;
mod recover;
mod run;
mod shell;
mod source;
mod start;
mod view;

pub use account::Account;
pub use core::{CoreConfig, MasterCore, Planted, Totals};
pub use effects::{Before, Effect, Ending, Event, Hook, Joined, Observation, Open, Opened, RequestId};
pub use handle::MasterHandle;
pub use nodes::{Candidate, ChunkFacts, Distribute, LeastOpenReceipts, RoundRobin};
pub use recover::Recovery;
pub use shell::StopReason;
pub(crate) use start::endpoint_config;
pub use start::{Master, StopMode};
pub use view::{NodeView, list};
