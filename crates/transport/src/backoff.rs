//! How long to wait before dialling again. Pure: the random number is handed in.

use std::time::Duration;

/// The shortest span that a wait is drawn from.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait; many workers that lost one master come back spread over this span.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Doubling waits with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Failures in a row so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Books a failure; gives the wait before the next try, between a tenth of the span and all of it.
    ///
    /// `random` is uniform over all of `u64`.
    pub fn failed(&mut self, random: u64) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let span = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let least_us = span_us / 10;
        // Modulo bias over a span of seconds is far below what matters to a wait.
        Duration::from_micros(least_us + random % (span_us - least_us + 1))
    }

    /// Whether the failure just booked is worth a line: the first, then each power of two, then each 64th.
    #[must_use]
    pub fn worth_saying(&self) -> bool {
        self.failures.is_power_of_two() && self.failures <= 64 || self.failures.is_multiple_of(64)
    }

    /// Books a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let longest: Vec<u128> = (0..10)
            .map(|_| {
                let mut probe = backoff;
                let span = BACKOFF_FIRST.saturating_mul(1 << backoff.failures()).min(BACKOFF_MAX).as_micros();
                let modulus = u64::try_from(span - span / 10).unwrap();
                backoff.failed(0);
                probe.failed(modulus).as_millis()
            })
            .collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(0), Duration::from_millis(10));
    }

    #[test]
    fn it_speaks_at_once_and_then_ever_more_rarely() {
        let mut backoff = Backoff::default();
        let mut said = Vec::new();
        for _ in 0..200 {
            backoff.failed(0);
            if backoff.worth_saying() {
                said.push(backoff.failures());
            }
        }
        assert_eq!(said, [1, 2, 4, 8, 16, 32, 64, 128, 192]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_wait_is_zero_or_beyond_the_cap(randoms in prop::collection::vec(any::<u64>(), 1..100)) {
            let mut backoff = Backoff::default();
            for random in randoms {
                let wait = backoff.failed(random);
                prop_assert!(wait >= Duration::from_millis(10) && wait <= BACKOFF_MAX);
            }
        }
    }
}
