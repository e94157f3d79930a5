//! One setting's value, as TOML or as text, turned into its type.

use std::path::PathBuf;
use std::time::Duration;

use elastic_flow_store::Durability;
use elastic_flow_wire::Compression;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use toml::Value;

use elastic_flow_orchestrator::{KeepPayloads, ReadFiles};

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

    /// As it would stand in a file.
    fn to_toml(&self) -> Value;
}

/// Reads a raw value as `T`.
pub(crate) fn read<T: Setting>(raw: &Raw) -> Result<T, String> {
    let (value, shown) = match raw {
        Raw::Toml(value) => (T::from_toml(value), value.to_string()),
        Raw::Text(text) => (T::from_text(text.trim()), format!("{text:?}")),
    };
    value.ok_or_else(|| format!("is {}, but has to be {}", shown.trim(), T::EXPECTED))
}

/// Reads the path of a key file. A key in its place is refused, and not shown.
pub(crate) fn read_key_path(raw: &Raw) -> Result<PathBuf, String> {
    let text = match raw {
        Raw::Text(text) => Some(text.as_str()),
        Raw::Toml(value) => value.as_str(),
    };
    if text.is_some_and(|text| looks_like_a_key(text.trim())) {
        return Err(
            "holds a key where the name of a file belongs: others may have read it, so make a new one with `key new \
                    FILE`, and name that file"
                .to_owned(),
        );
    }
    read(raw)
}

/// 64 hexadecimal digits, give or take a few.
fn looks_like_a_key(text: &str) -> bool {
    text.len() >= 56 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn to_toml(&self) -> Value {
        Value::Boolean(*self)
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

    fn to_toml(&self) -> Value {
        // TOML's integers end at 2^63; a number beyond is read from text as well.
        i64::try_from(*self).map_or_else(|_| Value::String(self.to_string()), Value::Integer)
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

    fn to_toml(&self) -> Value {
        Value::Integer((*self).into())
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_toml(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn to_toml(&self) -> Value {
        Value::String(self.display().to_string())
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

    fn to_toml(&self) -> Value {
        Value::Array(self.iter().map(|item| Value::String(item.clone())).collect())
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration such as \"30s\", \"250ms\" or \"1h 30m\"";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn to_toml(&self) -> Value {
        Value::String(humantime::format_duration(*self).to_string())
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

    /// In the largest unit that says it exactly.
    fn to_toml(&self) -> Value {
        let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let exact = unit.into_iter().find(|(bits, _)| self.0 != 0 && self.0.trailing_zeros() >= *bits);
        match exact {
            Some((bits, name)) => Value::String(format!("{} {name}", self.0 >> bits)),
            None => self.0.to_toml(),
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

    fn to_toml(&self) -> Value {
        // A word, a truth value or a small number: each is a value of TOML.
        Value::try_from(self).unwrap_or_else(|_| Value::String(self.to_string()))
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

            fn to_toml(&self) -> Value {
                let words = [$(($word, $value)),+];
                let word = words.iter().find(|(_, value)| value == self).map_or("", |(word, _)| word);
                Value::String(word.to_owned())
            }
        }
    };
}

words!(Durability, "\"synced\" or \"os\"", "synced" => Self::Synced, "os" => Self::Os);
words!(
    ReadFiles,
    "\"auto\", \"in-place\" or \"ship\"",
    "auto" => Self::Auto,
    "in-place" => Self::InPlace,
    "ship" => Self::Ship
);
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

    fn comes_back<T: Setting + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(read(&Raw::Toml(value.to_toml())), Ok(value));
    }

    #[test]
    fn what_is_shown_reads_as_the_same_value() {
        comes_back(Duration::from_millis(90_250));
        for bytes in [1, 1000, 4096, 16 << 20, 3 << 30, (1 << 20) + 1] {
            comes_back(Bytes(bytes));
        }
        for compression in [Compression::Off, Compression::Auto, Compression::Level(3), Compression::Level(-7)] {
            comes_back(compression);
        }
        comes_back(vec!["a".to_owned(), "b\"c".to_owned()]);
        comes_back(Durability::Os);
        comes_back(KeepPayloads::Always);
        comes_back(u64::from(u32::MAX));
        assert_eq!(Bytes(16 << 20).to_toml().as_str(), Some("16 MiB"));
        assert_eq!(Duration::from_secs(30).to_toml().as_str(), Some("30s"));
    }

    #[test]
    fn a_key_where_a_path_belongs_is_refused_and_not_shown() {
        let key = "8f2a1c5be07d43961122f0aa9b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e";
        for raw in [text(key), text(&format!(" {key}\n")), toml(&format!("{key:?}")), text(&key[..60])] {
            let wrong = read_key_path(&raw).unwrap_err();
            assert!(wrong.contains("the name of a file") && !wrong.contains("8f2a1c5b"), "{wrong}");
        }
        assert_eq!(read_key_path(&text("/etc/key")), Ok("/etc/key".into()));
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
