//! When a peer that says nothing counts as dead. Pure: time is handed in.

use std::time::Duration;

/// What was last heard of a peer. Times count from any fixed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    dead_after: Duration,
    heard: Duration,
}

impl Liveness {
    /// A peer that was heard `now` and is dead after `dead_after` of silence.
    #[must_use]
    pub fn new(now: Duration, dead_after: Duration) -> Self {
        Self { dead_after, heard: now }
    }

    /// Something came from the peer. Time never goes back.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// When it will be dead if nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.heard.saturating_add(self.dead_after)
    }

    /// Whether it is dead.
    #[must_use]
    pub fn is_dead(&self, now: Duration) -> bool {
        now >= self.deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_kills_and_a_byte_revives() {
        let s = Duration::from_secs;
        let mut peer = Liveness::new(s(10), s(5));
        assert!(!peer.is_dead(s(14)));
        assert!(peer.is_dead(s(15)));
        peer.heard(s(14));
        peer.heard(s(12));
        assert_eq!(peer.deadline(), s(19), "an older time changes nothing");
        assert!(!peer.is_dead(s(18)));
    }
}
