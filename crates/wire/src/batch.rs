//! Many items of one type, written and read one at a time, in the bytes that a `Vec` of them has: a count and the items.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Bincode, Codec, CodecError};

/// How many items a batch may claim that take no byte each (`()`, say): reading them costs time and no input.
pub const EMPTY_ROWS_MAX: u64 = 1 << 24;

/// Bytes of the count in front.
const COUNT_BYTES: usize = 8;

/// Writes a batch item by item; nobody need collect them first.
#[derive(Debug)]
pub struct SeqEncoder<T: ?Sized> {
    bytes: Vec<u8>,
    rows: u64,
    item: PhantomData<fn(&T)>,
}

impl<T: Serialize + ?Sized> Default for SeqEncoder<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T: Serialize + ?Sized> SeqEncoder<T> {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `capacity_bytes` of encoded items.
    #[must_use]
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(COUNT_BYTES.saturating_add(capacity_bytes));
        bytes.extend_from_slice(&[0; COUNT_BYTES]);
        Self { bytes, rows: 0, item: PhantomData }
    }

    /// Appends an item.
    ///
    /// # Errors
    /// The item has no encoding; the batch is as before then.
    #[inline]
    pub fn push(&mut self, item: &T) -> Result<(), CodecError> {
        let before_bytes = self.bytes.len();
        match Bincode::encode(item, &mut self.bytes) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(before_bytes);
                Err(error)
            }
        }
    }

    /// Items so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The size of the batch so far in bytes, its count included.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no item yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Ends the batch: the number of items, and bytes equal to those of a `Vec` of them.
    #[must_use]
    pub fn finish(mut self) -> (u64, Bytes) {
        self.take()
    }

    /// As [`SeqEncoder::finish`], and starts the next batch.
    #[must_use]
    pub fn take(&mut self) -> (u64, Bytes) {
        let next = Self::with_capacity(0);
        let Self { mut bytes, rows, .. } = std::mem::replace(self, next);
        if let Some(count) = bytes.first_chunk_mut::<COUNT_BYTES>() {
            *count = rows.to_le_bytes();
        }
        (rows, bytes.into())
    }
}

/// Reads a batch item by item.
#[derive(Debug, Clone)]
pub struct BatchReader<'de> {
    bytes: &'de [u8],
    left: u64,
}

impl<'de> BatchReader<'de> {
    /// Checks a batch's count against the `rows` that were announced for it and against its size.
    ///
    /// # Errors
    /// The counts differ, or claim more items than the bytes can hold.
    pub fn new(bytes: &'de [u8], rows: u64) -> Result<Self, CodecError> {
        let reader = Self::unannounced(bytes)?;
        if reader.left == rows { Ok(reader) } else { Err(CodecError::Rows { announced: rows, found: reader.left }) }
    }

    /// The bytes that are not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'de [u8] {
        self.bytes
    }

    /// As [`BatchReader::new`], for a batch whose count is known from itself alone.
    ///
    /// # Errors
    /// The count claims more items than the bytes can hold.
    pub fn unannounced(bytes: &'de [u8]) -> Result<Self, CodecError> {
        let Some((count, items)) = bytes.split_first_chunk::<COUNT_BYTES>() else {
            return Err(CodecError::Cut { missing_bytes: COUNT_BYTES - bytes.len() });
        };
        let left = u64::from_le_bytes(*count);
        if left > EMPTY_ROWS_MAX && left > items.len() as u64 {
            return Err(CodecError::EmptyRows { rows: left, bytes: items.len(), rows_max: EMPTY_ROWS_MAX });
        }
        Ok(Self { bytes: items, left })
    }

    /// Items not yet read.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next item, which may borrow from the batch; none after the last.
    ///
    /// # Errors
    /// The bytes are no such item, or bytes follow the last one.
    #[inline]
    pub fn next_item<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, CodecError> {
        if self.left == 0 {
            return match self.bytes.len() {
                0 => Ok(None),
                extra_bytes => Err(CodecError::Trailing { extra_bytes }),
            };
        }
        let (item, used_bytes) = Bincode::decode_prefix(self.bytes)?;
        self.bytes = self.bytes.get(used_bytes..).unwrap_or_default();
        self.left -= 1;
        Ok(Some(item))
    }
}

/// Hands each item of a batch of `rows` items to `each`, decoding one at a time.
///
/// # Errors
/// The bytes are no such batch; items before the wrong one were handed over.
#[inline]
pub fn decode_each<T: DeserializeOwned>(bytes: &[u8], rows: u64, each: impl FnMut(T)) -> Result<(), CodecError> {
    decode_each_borrowed(bytes, rows, each)
}

/// As [`decode_each`], for items that borrow from the batch, such as `&str`.
///
/// # Errors
/// As [`decode_each`].
#[inline]
pub fn decode_each_borrowed<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    rows: u64,
    mut each: impl FnMut(T),
) -> Result<(), CodecError> {
    let mut reader = BatchReader::new(bytes, rows)?;
    while let Some(item) = reader.next_item()? {
        each(item);
    }
    Ok(())
}
