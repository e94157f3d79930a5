//! zstd with reused contexts, stored where it does not pay, bounded where it is undone.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// The level of `true`, and of `auto` beyond loopback.
pub const LEVEL_DEFAULT: i32 = 1;
/// The fastest level.
pub const LEVEL_MIN: i32 = -7;
/// The strongest level whose window stays within [`WINDOW_LOG_MAX`].
pub const LEVEL_MAX: i32 = 19;
/// The largest window of a compressed body, as a power of two: 8 MiB.
pub const WINDOW_LOG_MAX: u32 = 23;
/// Bodies below this size are stored: the gain would not pay for the call.
pub const RAW_BYTES_MIN: usize = 128;

/// How payloads are compressed: `true`, `false`, `"auto"` or a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Never.
    Off,
    /// With this zstd level, [`LEVEL_MIN`] to [`LEVEL_MAX`], not 0; `true` is [`LEVEL_DEFAULT`].
    Level(i32),
    /// Off on loopback, [`LEVEL_DEFAULT`] beyond.
    #[default]
    Auto,
}

impl Compression {
    /// The level for a connection, or none if it is not to compress.
    #[must_use]
    pub const fn resolve(self, loopback: bool) -> Option<i32> {
        match self {
            Self::Off => None,
            Self::Level(level) => Some(level),
            Self::Auto if loopback => None,
            Self::Auto => Some(LEVEL_DEFAULT),
        }
    }

    /// Checks a level.
    fn from_level(level: i64) -> Option<Self> {
        let level = i32::try_from(level).ok()?;
        ((LEVEL_MIN..=LEVEL_MAX).contains(&level) && level != 0).then_some(Self::Level(level))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("false"),
            Self::Level(LEVEL_DEFAULT) => f.write_str("true"),
            Self::Level(level) => write!(f, "{level}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl Serialize for Compression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Level(LEVEL_DEFAULT) => serializer.serialize_bool(true),
            Self::Level(level) => serializer.serialize_i32(*level),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Compression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CompressionVisitor)
    }
}

struct CompressionVisitor;

impl Visitor<'_> for CompressionVisitor {
    type Value = Compression;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "true, false, \"auto\", or a zstd level from {LEVEL_MIN} to {LEVEL_MAX} other than 0")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Compression, E> {
        Ok(if on { Compression::Level(LEVEL_DEFAULT) } else { Compression::Off })
    }

    fn visit_i64<E: Error>(self, level: i64) -> Result<Compression, E> {
        Compression::from_level(level).ok_or_else(|| E::invalid_value(Unexpected::Signed(level), &self))
    }

    fn visit_u64<E: Error>(self, level: u64) -> Result<Compression, E> {
        let level_signed = i64::try_from(level).ok();
        level_signed
            .and_then(Compression::from_level)
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(level), &self))
    }

    /// Text as it comes from the environment and from flags.
    fn visit_str<E: Error>(self, text: &str) -> Result<Compression, E> {
        match text {
            "auto" => Ok(Compression::Auto),
            "true" => Ok(Compression::Level(LEVEL_DEFAULT)),
            "false" => Ok(Compression::Off),
            other => other
                .parse()
                .ok()
                .and_then(Compression::from_level)
                .ok_or_else(|| E::invalid_value(Unexpected::Str(other), &self)),
        }
    }
}

/// Why bytes were not compressed or decompressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// zstd could not set up or compress.
    #[error("zstd failed to compress")]
    Compress(#[source] std::io::Error),
    /// The bytes are no zstd, or give more than was declared.
    #[error("zstd failed to decompress: the bytes are damaged or larger than declared")]
    Decompress(#[source] std::io::Error),
    /// The declared size is over the limit; nothing was allocated.
    #[error("declared size of {raw_bytes} bytes is over the limit of {raw_bytes_max}")]
    TooLarge {
        /// What was declared.
        raw_bytes: usize,
        /// The limit.
        raw_bytes_max: usize,
    },
    /// The bytes gave less than was declared.
    #[error("decompressed to {found_bytes} bytes where {declared_bytes} were declared")]
    Length {
        /// What was declared.
        declared_bytes: usize,
        /// What came out.
        found_bytes: usize,
    },
}

/// A zstd context for one connection or file, with a buffer that is used again.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    level: i32,
    scratch: Vec<u8>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A context for `level`, held to [`LEVEL_MIN`] and [`LEVEL_MAX`].
    ///
    /// # Errors
    /// zstd has no memory for its context.
    pub fn new(level: i32) -> Result<Self, CompressError> {
        let level = level.clamp(LEVEL_MIN, LEVEL_MAX);
        let context = zstd::bulk::Compressor::new(level).map_err(CompressError::Compress)?;
        Ok(Self { context, level, scratch: Vec::new() })
    }

    /// The compressed form of `raw`, until the next call; none where it is not at least 10 % smaller, so that `raw` is stored.
    ///
    /// # Errors
    /// zstd fails.
    pub fn compress(&mut self, raw: &[u8]) -> Result<Option<&[u8]>, CompressError> {
        if raw.len() < RAW_BYTES_MIN {
            return Ok(None);
        }
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        self.context.compress_to_buffer(raw, &mut self.scratch).map_err(CompressError::Compress)?;
        let pays = self.scratch.len() <= raw.len() - raw.len() / 10;
        Ok(pays.then_some(&self.scratch))
    }
}

/// A zstd context that undoes [`Compressor`], with limits.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// A context.
    ///
    /// # Errors
    /// zstd has no memory for its context.
    pub fn new() -> Result<Self, CompressError> {
        let mut context = zstd::bulk::Decompressor::new().map_err(CompressError::Decompress)?;
        context.window_log_max(WINDOW_LOG_MAX).map_err(CompressError::Decompress)?;
        Ok(Self { context })
    }

    /// Appends the `raw_bytes` bytes that `wire` stands for to `out`, which is as before after an error.
    ///
    /// # Errors
    /// `raw_bytes` is over `raw_bytes_max` (checked before anything is allocated), or `wire` is damaged or gives more or less
    /// than `raw_bytes`: no more than that is ever written.
    pub fn decompress(
        &mut self,
        wire: &[u8],
        raw_bytes: usize,
        raw_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        if raw_bytes > raw_bytes_max {
            return Err(CompressError::TooLarge { raw_bytes, raw_bytes_max });
        }
        let before_bytes = out.len();
        out.resize(before_bytes.saturating_add(raw_bytes), 0);
        let target = out.get_mut(before_bytes..).unwrap_or_default();
        let result = match self.context.decompress_to_buffer(wire, target) {
            Ok(found_bytes) if found_bytes == raw_bytes => return Ok(()),
            Ok(found_bytes) => CompressError::Length { declared_bytes: raw_bytes, found_bytes },
            Err(error) => CompressError::Decompress(error),
        };
        out.truncate(before_bytes);
        Err(result)
    }
}
