//! Two kinds of time that cannot be mixed up: one to decide by, one to show.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Monotonic time: nanoseconds since the start of the clock that gave it. What deadlines and ages are computed from.
///
/// Times of two clocks cannot be compared. All arithmetic saturates: 0 at the one end, some 584 years at the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(u64);

impl Mono {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// The end of time: a deadline that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// A time so many nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if that is still to come.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(span)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(span)))
    }
}

impl Sub for Mono {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Wall-clock time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds. A label for people; since the clock behind
/// it can be set, nothing is decided by it, and it has no arithmetic.
///
/// Prints as RFC 3339 in UTC with milliseconds; a precision gives other decimals (`{:.0}` to `{:.9}`), cut off, not rounded.
///
/// ```
/// use elastic_flow_clock::Wall;
/// let wall = Wall::from_unix_nanos(1_700_000_000_123_456_789);
/// assert_eq!(wall.to_string(), "2023-11-14T22:13:20.123Z");
/// assert_eq!(format!("{wall:.0}"), "2023-11-14T22:13:20Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    /// The label so many nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / NANOS_PER_SECOND;
        let of_day = seconds % SECONDS_PER_DAY;
        let (year, month, day) = civil_from_days(seconds / SECONDS_PER_DAY);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        let decimals = f.precision().unwrap_or(3).min(9);
        if decimals > 0 {
            let fraction = self.0 % NANOS_PER_SECOND / 10_u64.pow(9 - u32::try_from(decimals).unwrap_or(9));
            write!(f, ".{fraction:0decimals$}")?;
        }
        f.write_str("Z")
    }
}

fn nanos_of(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Year, month and day of the day that lies `days` after 1970-01-01, in the Gregorian calendar.
///
/// Counts in eras of 400 years from the 1st of March of year 0, so that the leap day is the last of its year.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, carry) = if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_arithmetic_saturates_at_both_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Mono::from_nanos(5) + Duration::from_nanos(7), Mono::from_nanos(12));
        assert_eq!(Mono::from_nanos(12) - Duration::from_nanos(5), Mono::from_nanos(7));
        assert_eq!(Mono::from_nanos(12) - Mono::from_nanos(5), Duration::from_nanos(7));
        assert_eq!(Mono::MAX + second, Mono::MAX);
        assert_eq!(Mono::ZERO + Duration::MAX, Mono::MAX);
        assert_eq!(Mono::from_nanos(3) - second, Mono::ZERO);
        assert_eq!(Mono::MAX - Duration::MAX, Mono::ZERO);
        assert_eq!(Mono::ZERO.since(Mono::MAX), Duration::ZERO);
        let mut time = Mono::ZERO;
        time += second;
        assert_eq!(time.as_nanos(), 1_000_000_000);
    }

    #[test]
    fn wall_time_prints_as_rfc_3339_in_utc() {
        // Checked against `date -u -d @SECONDS --rfc-3339=seconds`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (18_446_744_073, "2554-07-21T23:34:33Z"),
        ] {
            assert_eq!(format!("{:.0}", Wall::from_unix_nanos(seconds * NANOS_PER_SECOND)), text);
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_194 {
            assert_eq!(civil_from_days(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn decimals_are_cut_off_and_keep_leading_zeros() {
        let wall = Wall::from_unix_nanos(1_002_999_999);
        assert_eq!(wall.to_string(), "1970-01-01T00:00:01.002Z");
        assert_eq!(format!("{wall:.9}"), "1970-01-01T00:00:01.002999999Z");
        assert_eq!(format!("{wall:.1}"), "1970-01-01T00:00:01.0Z");
        assert_eq!(format!("{wall:.40}"), "1970-01-01T00:00:01.002999999Z");
    }
}
