//! [`Duration`]: a span of time as people write it.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time, written as a number and a unit: `20ms`, `1.5s`, `2m`, `1h`; units are `ns`, `us`, `ms`, `s`, `m`, `h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

/// Why a text is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a span of time: write a number and a unit, as in 20ms, 1.5s, 2m or 1h")]
pub struct DurationError {
    /// What was given.
    pub text: String,
}

/// The units with their nanoseconds, largest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        read(text).map(Self).ok_or_else(|| DurationError { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<time::Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let (_, unit_nanos) = UNITS.into_iter().find(|&(name, _)| name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole_nanos = whole.parse::<u64>().ok()?.checked_mul(unit_nanos)?;
    let mut fraction_nanos = 0;
    let mut place_nanos = unit_nanos;
    for digit in fraction.bytes() {
        place_nanos /= 10;
        fraction_nanos += u64::from(digit - b'0') * place_nanos;
    }
    Some(time::Duration::from_nanos(whole_nanos.checked_add(fraction_nanos)?))
}

/// The shortest exact form: a whole number of the largest unit that divides it.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, unit_nanos) =
            UNITS.into_iter().find(|&(_, unit)| nanos.is_multiple_of(u128::from(unit))).unwrap_or(("ns", 1));
        if nanos == 0 { f.pad("0s") } else { f.pad(&format!("{}{unit}", nanos / u128::from(unit_nanos))) }
    }
}

impl Deref for Duration {
    type Target = time::Duration;
    fn deref(&self) -> &time::Duration {
        &self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl From<time::Duration> for Duration {
    fn from(duration: time::Duration) -> Self {
        Self(duration)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        let read = |text: &str| text.parse::<Duration>().map(|span| span.as_nanos());
        for (text, nanos) in
            [("20ms", 20_000_000), ("1.5s", 1_500_000_000), ("2m", 120_000_000_000), ("0ns", 0), ("7us", 7_000)]
        {
            assert_eq!(read(text), Ok(nanos), "{text}");
        }
        for text in ["", "20", "ms", "-1s", "1 s", "1d", ".5s", "1.2.3s", "99999999999999h", "+1s", "1e3s"] {
            assert_eq!(read(text), Err(DurationError { text: text.to_owned() }));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nanos in any::<u64>()) {
            let span = Duration(time::Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
