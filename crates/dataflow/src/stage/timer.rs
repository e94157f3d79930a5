//! The time that a chunk takes. It is reported and decides nothing, so that it need not be the node's clock.

use std::time::Instant;

/// Measures from its start.
#[derive(Debug)]
pub(super) struct Timer(Instant);

impl Timer {
    pub(super) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "reported only; no decision depends on it")]
        let now = Instant::now();
        Self(now)
    }

    /// Nanoseconds since the start.
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
