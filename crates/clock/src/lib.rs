//! Time and seeded randomness, handed in.
//!
//! Deciding code reads no clock and draws no random number of its own: it is given a [`Mono`] and, where chance has a part, a
//! [`SeededRng`]. What stands at the edge holds a [`Clock`]: the [`SystemClock`] in a node, a [`ManualClock`] in tests and in
//! the simulator. So the same seed gives the same run.
//!
//! - `time`: [`Mono`] for decisions, [`Wall`] for labels.
//! - `clock`: the [`Clock`] trait and its two implementations.
//! - `rng`: [`SeededRng`].

mod clock;
mod rng;
mod time;

pub use clock::{Clock, ManualClock, SystemClock};
pub use rng::SeededRng;
pub use time::{Mono, Wall};
