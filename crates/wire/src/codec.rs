//! Values to bytes and back: the [`Codec`] trait and the default encoding.
//!
//! The default is the layout of bincode 1: little-endian integers of fixed width, lengths as `u64`, variants as `u32`, no field
//! names. It is not self-describing: enums only ever append variants, structs are never changed in place, and serde's
//! `flatten`, `untagged`, `tag`, `skip` and `skip_serializing_if` must not be used on what crosses a wire or is stored. It has
//! no guard on nesting, and none on the number of elements that take no byte inside a value: types that contain themselves, and
//! `Vec<()>` and its like, stay off the wire. (A batch of such items is bounded by [`crate::batch::EMPTY_ROWS_MAX`].)

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

/// How large an encoded value may be, by where it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Control messages and handshakes: [`CONTROL_BYTES_MAX`].
    Control,
    /// Batches and payloads: [`DATA_BYTES_MAX`].
    Data,
    /// Whole messages and stored records: [`MESSAGE_BYTES_MAX`].
    Message,
}

/// The largest encoded control message: 1 MiB.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;
/// The largest batch or payload in one piece: 64 MiB.
pub const DATA_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The largest encoded message: 1 GiB.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024;

impl Tier {
    /// The largest encoded value of this tier, in bytes.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Control => CONTROL_BYTES_MAX,
            Self::Data => DATA_BYTES_MAX,
            Self::Message => MESSAGE_BYTES_MAX,
        }
    }
}

/// Why a value was not encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end inside the value.
    #[error("encoded value is cut short: at least {missing_bytes} bytes are missing")]
    Cut {
        /// An estimate of what is missing.
        missing_bytes: usize,
    },
    /// The value ends before the bytes do.
    #[error("{extra_bytes} bytes follow the encoded value: it is of another type or version")]
    Trailing {
        /// How many bytes are left.
        extra_bytes: usize,
    },
    /// The encoded value is larger than its tier allows.
    #[error("encoded value of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A length inside the value claims more than its bytes can hold.
    #[error("a length inside the encoded value claims more than its bytes can hold")]
    Claim,
    /// The number of items differs from what was announced.
    #[error("batch holds {found} items where {announced} were announced")]
    Rows {
        /// What the caller expected.
        announced: u64,
        /// What the batch says.
        found: u64,
    },
    /// More items than bytes, and more than items without bytes may be.
    #[error("batch claims {rows} items in {bytes} bytes: the limit for items without bytes is {rows_max}")]
    EmptyRows {
        /// The claim.
        rows: u64,
        /// The bytes after the count.
        bytes: usize,
        /// The limit.
        rows_max: u64,
    },
    /// The bytes are no such value.
    #[error("bytes do not decode as the expected type: {detail}")]
    Malformed {
        /// What was wrong.
        detail: String,
    },
    /// The value cannot be encoded (a sequence of unknown length, say).
    #[error("value cannot be encoded: {detail}")]
    Unencodable {
        /// What was wrong.
        detail: String,
    },
}

/// Where encoded bytes go.
pub trait Sink {
    /// Appends all of `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for BytesMut {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what an encoding would take.
#[derive(Debug, Default)]
pub(crate) struct Counter(pub(crate) usize);

impl Sink for Counter {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// An encoding. Its id travels with what it encoded, so that a reader refuses rather than misreads.
pub trait Codec {
    /// The id that travels.
    const ID: u8;

    /// Appends the encoding of `value` to `out`. After an error `out` may hold a part of it.
    ///
    /// # Errors
    /// [`CodecError::Unencodable`] where the type has no encoding.
    fn encode<T: Serialize + ?Sized, S: Sink>(value: &T, out: &mut S) -> Result<(), CodecError>;

    /// Decodes a value from the start of `bytes`, and says how many of them it took. Lengths inside are held to `bytes`, so
    /// what is allocated stays within 64 times its size, plus 1 MiB.
    ///
    /// # Errors
    /// The bytes are no such value, or claim more than they hold.
    fn decode_prefix<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, usize), CodecError>;

    /// Decodes a value that `bytes` hold exactly. It may borrow from them.
    ///
    /// # Errors
    /// As [`Codec::decode_prefix`]; also if bytes are left over, or if there are more than `tier` allows.
    fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8], tier: Tier) -> Result<T, CodecError> {
        if bytes.len() > tier.bytes_max() {
            return Err(CodecError::TooLarge { bytes: bytes.len(), bytes_max: tier.bytes_max() });
        }
        let (value, used_bytes) = Self::decode_prefix(bytes)?;
        match bytes.len().checked_sub(used_bytes) {
            Some(0) => Ok(value),
            extra_bytes => Err(CodecError::Trailing { extra_bytes: extra_bytes.unwrap_or(0) }),
        }
    }
}

/// The default codec: the layout of bincode 1.
#[derive(Debug, Clone, Copy)]
pub struct Bincode;

/// Adapts a [`Sink`] to the encoder.
struct Writer<'a, S>(&'a mut S);

impl<S: Sink> bincode::enc::write::Writer for Writer<'_, S> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.put(bytes);
        Ok(())
    }
}

/// How many times its encoded size a value may claim in memory. Through serde, claims come to the encoded size; the rest is
/// margin against a type that is counted otherwise.
const CLAIM_FACTOR: usize = 4;
/// The limits on what a value may claim. The decoder takes them as constants only, so one is chosen by the size of the input.
const CLAIM_TINY: usize = 1024 * 1024;
const CLAIM_SMALL: usize = 16 * CLAIM_TINY;
const CLAIM_LARGE: usize = 16 * CLAIM_SMALL;
const CLAIM_WHOLE: usize = 16 * CLAIM_LARGE;
const _: () = assert!(CLAIM_WHOLE >= CLAIM_FACTOR * MESSAGE_BYTES_MAX);
const _: () = assert!(CLAIM_LARGE >= CLAIM_FACTOR * DATA_BYTES_MAX);

#[inline]
fn decode_claiming<'de, T: Deserialize<'de>, const CLAIM: usize>(bytes: &'de [u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::borrow_decode_from_slice(bytes, bincode::config::legacy().with_limit::<CLAIM>())
        .map_err(|error| decode_error(&error))
}

impl Codec for Bincode {
    const ID: u8 = 1;

    #[inline]
    fn encode<T: Serialize + ?Sized, S: Sink>(value: &T, out: &mut S) -> Result<(), CodecError> {
        bincode::serde::encode_into_writer(value, Writer(out), bincode::config::legacy())
            .map_err(|error| CodecError::Unencodable { detail: error.to_string() })
    }

    #[inline]
    fn decode_prefix<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, usize), CodecError> {
        let claim_max = bytes.len().saturating_mul(CLAIM_FACTOR);
        if claim_max <= CLAIM_TINY {
            decode_claiming::<T, CLAIM_TINY>(bytes)
        } else if claim_max <= CLAIM_SMALL {
            decode_claiming::<T, CLAIM_SMALL>(bytes)
        } else if claim_max <= CLAIM_LARGE {
            decode_claiming::<T, CLAIM_LARGE>(bytes)
        } else {
            decode_claiming::<T, CLAIM_WHOLE>(bytes)
        }
    }
}

#[cold]
fn decode_error(error: &bincode::error::DecodeError) -> CodecError {
    use bincode::error::DecodeError;
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign, non-exhaustive enum: the rest is one case to us")]
    match error {
        DecodeError::UnexpectedEnd { additional } => CodecError::Cut { missing_bytes: *additional },
        DecodeError::LimitExceeded | DecodeError::OutsideUsizeRange(_) => CodecError::Claim,
        DecodeError::OtherString(detail) => CodecError::Malformed { detail: detail.clone() },
        other => CodecError::Malformed { detail: other.to_string() },
    }
}

/// Appends the encoding of `value` to `out`, in the default codec. After an error `out` may hold a part of it.
///
/// # Errors
/// [`CodecError::Unencodable`] where the type has no encoding.
#[inline]
pub fn encode<T: Serialize + ?Sized, S: Sink>(value: &T, out: &mut S) -> Result<(), CodecError> {
    Bincode::encode(value, out)
}

/// The encoding of `value` in the default codec.
///
/// # Errors
/// [`CodecError::Unencodable`] where the type has no encoding.
pub fn encode_to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode(value, &mut out)?;
    Ok(out)
}

/// How many bytes `value` takes in the default codec, without encoding it: byte strings cost nothing here.
///
/// # Errors
/// [`CodecError::Unencodable`] where the type has no encoding.
pub fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> Result<usize, CodecError> {
    let mut counter = Counter::default();
    encode(value, &mut counter)?;
    Ok(counter.0)
}

/// Decodes a value that `bytes` hold exactly, in the default codec. It may borrow from them.
///
/// # Errors
/// The bytes are no such value, claim more than they hold, are left over, or are more than [`MESSAGE_BYTES_MAX`].
#[inline]
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CodecError> {
    Bincode::decode(bytes, Tier::Message)
}
