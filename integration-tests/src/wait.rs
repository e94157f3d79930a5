//! Waiting for a condition: as short as it lets, and never for ever.

use std::io::Write;
use std::time::Duration;

use elastic_flow_clock::{Clock, SystemClock};

/// The first pause between two looks; doubles up to the largest.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Looks until `look` finds something, and gives that.
///
/// # Panics
/// Nothing is found within `deadline`; the message says `what` was waited for.
pub fn wait_for<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = SystemClock::new();
    let start = clock.now();
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.now().since(start) < deadline, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Says that a test is skipped, past the harness, which shows nothing of tests that pass. `cargo xtask test` says it again at its end,
/// and fails in CI.
pub fn skipped(why: &str) {
    writeln!(std::io::stderr(), "cannot run here: {why}").ok();
}

/// Looks until `look` says yes.
///
/// # Panics
/// As [`wait_for`].
pub fn wait_until(deadline: Duration, what: &str, mut look: impl FnMut() -> bool) {
    wait_for(deadline, what, || look().then_some(()));
}
