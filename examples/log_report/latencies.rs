//! The times that answers took, of one group of requests.

use serde::{Deserialize, Serialize};
use sketches_ddsketch::{Config, DDSketch};

/// How far a quantile may be from the true one, in parts of that: 1 %.
const QUANTILE_ERROR: f64 = 0.01;
/// Bins of a sketch at most. Those of 1 µs to ten years are 1,700: none is ever collapsed, which would spoil low quantiles.
const BINS_MAX: u32 = 2_048;
/// What is shorter counts as nothing.
const MICROS_LEAST: f64 = 0.5;

/// How many there were, and how long they took.
///
/// Whole numbers, and a DDSketch: counts in bins whose borders are powers of one number. So it is the same in whatever order
/// requests and parts of them are put together, which a reduction over many servers needs. A quantile of it is within 1 % of the
/// value of that rank.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Latencies {
    pub(crate) requests: u64,
    pub(crate) micros_sum: u64,
    pub(crate) micros_max: u64,
    sketch: DDSketch,
}

impl Default for Latencies {
    fn default() -> Self {
        let sketch = DDSketch::new(Config::new(QUANTILE_ERROR, BINS_MAX, MICROS_LEAST));
        Self { requests: 0, micros_sum: 0, micros_max: 0, sketch }
    }
}

impl Latencies {
    /// With one more request.
    pub(crate) fn add(mut self, micros: u64) -> Self {
        self.requests += 1;
        self.micros_sum = self.micros_sum.saturating_add(micros);
        self.micros_max = self.micros_max.max(micros);
        self.sketch.add(micros as f64);
        self
    }

    /// Together with others.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.micros_sum = self.micros_sum.saturating_add(other.micros_sum);
        self.micros_max = self.micros_max.max(other.micros_max);
        // Only sketches of other borders are refused, and all of these are made above.
        self.sketch.merge(&other.sketch).ok();
        self
    }

    /// The time that a share of the requests did not exceed, in microseconds, within 1 %.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.sketch.quantile(share).ok().flatten().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times over eight decades, and nothing at all.
    fn times() -> Vec<u64> {
        (0..2_000_u64).map(|it| it.pow(5) % 100_000_007).collect()
    }

    fn of(times: &[u64]) -> Latencies {
        times.iter().fold(Latencies::default(), |all, micros| all.add(*micros))
    }

    const SHARES: [f64; 6] = [0.0, 0.01, 0.5, 0.9, 0.99, 1.0];

    fn figures(it: &Latencies) -> (u64, u64, u64, [f64; 6]) {
        (it.requests, it.micros_sum, it.micros_max, SHARES.map(|share| it.quantile(share)))
    }

    #[test]
    fn any_parts_in_any_order_give_the_same() {
        let times = times();
        let all = figures(&of(&times));
        for size in [1, 7, 300, 1_999] {
            let parts: Vec<Latencies> = times.chunks(size).map(of).collect();
            let forwards = parts.iter().cloned().reduce(Latencies::merge).unwrap();
            let backwards = parts.into_iter().rev().reduce(Latencies::merge).unwrap();
            assert_eq!((figures(&forwards), figures(&backwards)), (all, all), "parts of {size}");
        }
    }

    #[test]
    fn a_quantile_is_within_the_stated_error_of_the_value_of_that_rank() {
        let mut times = times();
        let all = of(&times);
        times.sort_unstable();
        for thousandths in 0..=1_000_usize {
            let exact = times[thousandths * (times.len() - 1) / 1_000] as f64;
            let found = all.quantile(thousandths as f64 / 1_000.0);
            assert!((found - exact).abs() <= exact * (QUANTILE_ERROR + 1e-9), "{thousandths}: {found} for {exact}");
        }
    }
}
