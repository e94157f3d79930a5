//! The clock that is handed in, and its two implementations.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::time::{Mono, Wall};

/// Tells the time. The only way to it: everything else takes times as arguments.
pub trait Clock: Send + Sync + Debug {
    /// Monotonic time since this clock's start: never goes back. What decisions are made by.
    fn now(&self) -> Mono;

    /// Wall-clock time: a label for people, which can jump. Never a decision.
    fn wall(&self) -> Wall;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Mono {
        (**self).now()
    }

    fn wall(&self) -> Wall {
        (**self).wall()
    }
}

/// The operating system's clocks. Starts at zero when it is made; a clone goes on from the same start.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the monotonic clock is started")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        Mono::ZERO + self.start.elapsed()
    }

    /// A system clock that is set before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn wall(&self) -> Wall {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Wall::from_unix_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is moved. Clones share one time.
///
/// ```
/// use std::time::Duration;
/// use elastic_flow_clock::{Clock, ManualClock, Mono, Wall};
/// let clock = ManualClock::new(Wall::from_unix_nanos(1_000));
/// let shared = clock.clone();
/// clock.advance(Duration::from_nanos(5));
/// assert_eq!((shared.now(), shared.wall()), (Mono::from_nanos(5), Wall::from_unix_nanos(1_005)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    times: Arc<Times>,
}

#[derive(Debug, Default)]
struct Times {
    mono_nanos: AtomicU64,
    /// Apart from the monotonic time, since a wall clock can be set.
    wall_nanos: AtomicU64,
}

impl ManualClock {
    /// A clock that starts at zero and whose wall time starts at `wall`.
    #[must_use]
    pub fn new(wall: Wall) -> Self {
        let times = Times { mono_nanos: AtomicU64::new(0), wall_nanos: AtomicU64::new(wall.unix_nanos()) };
        Self { times: Arc::new(times) }
    }

    /// Moves both times forward.
    pub fn advance(&self, span: Duration) {
        let nanos = (Mono::ZERO + span).as_nanos();
        raise(&self.times.mono_nanos, nanos);
        raise(&self.times.wall_nanos, nanos);
    }

    /// Moves forward to `time`, if that is still to come; else does nothing.
    pub fn advance_to(&self, time: Mono) {
        self.advance(time.since(self.now()));
    }

    /// Sets the wall clock alone, forward or back, as an administrator might.
    pub fn set_wall(&self, wall: Wall) {
        self.times.wall_nanos.store(wall.unix_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Mono {
        Mono::from_nanos(self.times.mono_nanos.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Wall {
        Wall::from_unix_nanos(self.times.wall_nanos.load(Ordering::SeqCst))
    }
}

fn raise(nanos: &AtomicU64, by: u64) {
    let mut seen = nanos.load(Ordering::SeqCst);
    while let Err(other) =
        nanos.compare_exchange_weak(seen, seen.saturating_add(by), Ordering::SeqCst, Ordering::SeqCst)
    {
        seen = other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_time_never_goes_back_and_its_wall_is_after_2020() {
        let clock = SystemClock::new();
        let times: Vec<Mono> = (0..1_000).map(|_| clock.now()).collect();
        assert!(times.is_sorted());
        assert!(clock.wall().unix_nanos() > 1_577_836_800_000_000_000);
    }

    #[test]
    fn manual_time_stands_still_and_is_shared_by_clones_and_through_the_trait() {
        let clock = ManualClock::new(Wall::from_unix_nanos(100));
        let handed: Arc<dyn Clock> = Arc::new(clock.clone());
        assert_eq!((handed.now(), handed.wall()), (Mono::ZERO, Wall::from_unix_nanos(100)));
        clock.advance(Duration::from_nanos(20));
        assert_eq!((handed.now(), handed.wall()), (Mono::from_nanos(20), Wall::from_unix_nanos(120)));
        clock.advance_to(Mono::from_nanos(10));
        assert_eq!(handed.now(), Mono::from_nanos(20));
        clock.advance_to(Mono::from_nanos(25));
        assert_eq!((handed.now(), handed.wall()), (Mono::from_nanos(25), Wall::from_unix_nanos(125)));
    }

    #[test]
    fn setting_the_wall_clock_back_leaves_monotonic_time_alone() {
        let clock = ManualClock::new(Wall::from_unix_nanos(100));
        clock.advance(Duration::from_nanos(5));
        clock.set_wall(Wall::from_unix_nanos(7));
        assert_eq!((clock.now(), clock.wall()), (Mono::from_nanos(5), Wall::from_unix_nanos(7)));
    }

    #[test]
    fn manual_time_saturates() {
        let clock = ManualClock::default();
        clock.advance(Duration::MAX);
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.now(), clock.wall()), (Mono::MAX, Wall::from_unix_nanos(u64::MAX)));
    }
}
