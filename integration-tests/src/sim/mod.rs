//! Ring 1: the deciding code of a whole cluster in one thread, in virtual time, under faults that one seed chooses.
//!
//! What runs is `MasterCore` and `WorkerCore` themselves; network, clock, disk, source and user code are simulated here. The same
//! seed gives the same run. A run has a faulty phase and a healing phase, after which every step must have ended.
//!
//! - `world`: the event queue, and the nodes between which events pass;
//! - `master`, `worker`: the simulated shells;
//! - `peers`: the links between workers, and the partitions of an exchange;
//! - `oracle`: what must hold, and what was seen;
//! - `durable`: what the simulated disk has, as the oracle knows it.

#![expect(clippy::wildcard_enum_match_arm, reason = "the simulator looks at the few variants that concern it")]

mod durable;
mod master;
mod oracle;
mod peers;
mod plan;
mod worker;
mod world;

pub use oracle::{Summary, Violation};
pub use plan::Bug;
use world::World;

/// Runs one seed, with a known bug planted or none.
///
/// # Errors
/// What was violated, and when.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Summary, Violation> {
    World::new(seed, bug).run()
}
