//! One setting's value, as TOML or as text, turned into its type.

use std::path::PathBuf;
use std::time::Duration;

use elastic_flow_store::Durability;
use elastic_flow_wire::Compression;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use toml::Value;

use elastic_flow_orchestrator::KeepPayloads;

/// A value as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// From a file, with a type.
    Toml(Value),
    /// From the environment or the command line.
    Text(String),
}

/// A type that a setting can have.
pub(crate) trait Setting: Sized {
    /// What is expected, for the message: "a duration such as \"30s\"".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    /// By default a string is read like text; types with a TOML form of their own take that too.
    fn from_toml(value: &Value) -> Option<Self> {
        value.as_str().and_then(Self::from_text)
    }
}

/// Reads a raw value as `T`.
pub(crate) fn read<T: Setting>(raw: &Raw) -> Result<T, String> {
    let (value, shown) = match raw {
        Raw::Toml(value) => (T::from_toml(value), value.to_string()),
        Raw::Text(text) => (T::from_text(text.trim()), format!("{text:?}")),
    };
    value.ok_or_else(|| format!("is {}, but has to be {}", shown.trim(), T::EXPECTED))
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.replace('_', "").parse().ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|number| number.try_into().ok())
    }
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        u64::from_text(text)?.try_into().ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        u64::from_toml(value)?.try_into().ok()
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

impl Setting for Vec<String> {
    const EXPECTED: &'static str = "a list of texts";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration such as \"30s\", \"250ms\" or \"1h 30m\"";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl Setting for Bytes {
    const EXPECTED: &'static str = "a size such as \"16 MiB\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse::<bytesize::ByteSize>().ok().map(|size| Self(size.as_u64()))
    }

    fn from_toml(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some(text) => Self::from_text(text),
            None => u64::from_toml(value).map(Self),
        }
    }
}

impl Setting for Compression {
    const EXPECTED: &'static str = "true, false, \"auto\", or a zstd level from -7 to 19 other than 0";

    fn from_text(text: &str) -> Option<Self> {
        let text: StrDeserializer<'_, ValueError> = text.into_deserializer();
        Self::deserialize(text).ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        Self::deserialize(value.clone()).ok()
    }
}

/// Types that are one of a few words.
macro_rules! words {
    ($type:ty, $expected:literal, $($word:literal => $value:expr),+) => {
        impl Setting for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}

words!(Durability, "\"synced\" or \"os\"", "synced" => Self::Synced, "os" => Self::Os);
words!(KeepPayloads, "\"unfinished\" or \"always\"", "unfinished" => Self::Unfinished, "always" => Self::Always);

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Raw {
        let table: toml::Table = format!("x = {text}").parse().expect("TOML");
        Raw::Toml(table["x"].clone())
    }

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn a_value_reads_the_same_from_a_file_and_from_text() {
        assert_eq!(read::<Duration>(&toml("\"30s\"")), Ok(Duration::from_secs(30)));
        assert_eq!(read::<Duration>(&text("30s")), Ok(Duration::from_secs(30)));
        assert_eq!(read::<Bytes>(&toml("\"16 MiB\"")), Ok(Bytes(16 << 20)));
        assert_eq!(read::<Bytes>(&text("16MiB")), Ok(Bytes(16 << 20)));
        assert_eq!(read::<Bytes>(&toml("1024")), Ok(Bytes(1024)));
        assert_eq!(read::<u64>(&toml("3_000")), Ok(3000));
        assert_eq!(read::<u64>(&text("3_000")), Ok(3000));
        assert_eq!(read::<Compression>(&toml("true")), read::<Compression>(&text("true")));
        assert_eq!(read::<Compression>(&toml("3")), Ok(Compression::Level(3)));
        assert_eq!(read::<Compression>(&text("3")), Ok(Compression::Level(3)));
        assert_eq!(read::<Vec<String>>(&toml("[\"a\", \"b\"]")), read::<Vec<String>>(&text("a, b")));
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_is_expected() {
        let wrong = read::<Duration>(&toml("30")).unwrap_err();
        assert!(wrong.starts_with("is 30, but has to be a duration"), "{wrong}");
        assert!(read::<u32>(&text("-1")).unwrap_err().contains("a whole number"));
        assert!(read::<u32>(&toml("4294967296")).is_err());
        assert!(read::<bool>(&toml("\"true\"")).is_err());
        assert!(read::<Compression>(&text("99")).is_err());
        assert!(read::<Durability>(&text("never")).unwrap_err().contains("\"synced\" or \"os\""));
    }
}
