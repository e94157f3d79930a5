//! [`Text`]: a byte string that flows through a stage without being copied.

mod serial;
mod words;

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::str::Utf8Error;

use bytes::Bytes;

pub(crate) use serial::{ByteKey, TEXT_TOKEN};
pub(crate) use words::{Lowering, fold_spans};
pub use words::{Span, Words, is_space, words};

/// The longest text that lies in the value itself, in bytes.
pub const INLINE_BYTES_MAX: usize = 22;

/// A byte string: a line, a word. Usually UTF-8, never checked to be.
///
/// A text of up to [`INLINE_BYTES_MAX`] bytes lies in the value itself; a longer one is a counted slice of the chunk that it was
/// read from, and keeps that memory alive. [`Text::detached`] gives a copy that does not. Texts compare, order and hash as
/// their bytes do, and are a byte string for the wire codec.
///
/// ```
/// use elastic_flow_dataflow::Text;
///
/// let line = Text::from("To be, or NOT to be");
/// let words: Vec<Text> = line.into_words().map(Text::to_ascii_lowercase).collect();
/// assert_eq!(words, ["to", "be,", "or", "not", "to", "be"]);
/// ```
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Shared(Bytes),
}

impl Text {
    /// The text that `range` of `block` is, without a copy if it is long.
    ///
    /// # Panics
    /// If `range` is not within `block`.
    #[inline]
    #[must_use]
    pub fn slice_of(block: &Bytes, range: Range<usize>) -> Self {
        block.get(range.clone()).and_then(Self::inline).unwrap_or_else(|| Self(Repr::Shared(block.slice(range))))
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::inline(bytes).unwrap_or_else(|| Self(Repr::Shared(Bytes::copy_from_slice(bytes))))
    }

    #[inline]
    fn inline(bytes: &[u8]) -> Option<Self> {
        let mut inline = [0; INLINE_BYTES_MAX];
        inline.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let len = u8::try_from(bytes.len()).ok()?;
        Some(Self(Repr::Inline { len, bytes: inline }))
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Shared(bytes) => bytes,
        }
    }

    /// Its bytes as a string, where they are UTF-8.
    ///
    /// # Errors
    /// They are not; the error says from where on.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self)
    }

    /// Its bytes as a string, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self)
    }

    /// Its words: maximal runs of bytes that are not ASCII white space.
    #[inline]
    #[must_use]
    pub const fn into_words(self) -> TextWords {
        TextWords { text: self, at: 0 }
    }

    /// The same text with ASCII letters lowered; in place, unless its memory is shared and has a letter to lower.
    #[inline(always)]
    #[must_use]
    pub fn to_ascii_lowercase(self) -> Self {
        match self.0 {
            Repr::Inline { len, mut bytes } => {
                bytes.make_ascii_lowercase();
                Self(Repr::Inline { len, bytes })
            }
            Repr::Shared(bytes) => Self(Repr::Shared(lowered(bytes))),
        }
    }

    /// The part of the text that `range` says, without a copy if it is long; what lies outside of the text is left out.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        match &self.0 {
            Repr::Inline { .. } => Self::copy_of(self.get(start..end).unwrap_or_default()),
            Repr::Shared(bytes) => Self::slice_of(bytes, start..end),
        }
    }

    /// A text equal to this one that keeps no chunk alive.
    #[must_use]
    pub fn detached(self) -> Self {
        match self.0 {
            Repr::Inline { .. } => self,
            Repr::Shared(bytes) => Self::copy_of(&bytes),
        }
    }
}

#[inline(never)]
fn lowered(bytes: Bytes) -> Bytes {
    if !bytes.iter().any(u8::is_ascii_uppercase) {
        return bytes;
    }
    match bytes.try_into_mut() {
        Ok(mut unique) => {
            unique.make_ascii_lowercase();
            unique.freeze()
        }
        Err(shared) => Bytes::from(shared.to_ascii_lowercase()),
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(Repr::Inline { len: 0, bytes: [0; INLINE_BYTES_MAX] })
    }
}

impl Deref for Text {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Eq for Text {}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<[u8]> for Text {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_bytes() == other
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::copy_of(text.as_bytes())
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_of(bytes)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<Bytes> for Text {
    fn from(bytes: Bytes) -> Self {
        Self::inline(&bytes).unwrap_or(Self(Repr::Shared(bytes)))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// As [`Text::to_str_lossy`].
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str_lossy())
    }
}

/// What [`Text::into_words`] gives.
#[derive(Debug, Clone)]
pub struct TextWords {
    text: Text,
    at: usize,
}

impl Iterator for TextWords {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let rest = self.text.get(self.at..)?;
        let skipped = rest.iter().position(|&byte| !is_space(byte))?;
        let from_start = rest.get(skipped..)?;
        let length = from_start.iter().position(|&byte| is_space(byte)).unwrap_or(from_start.len());
        let (start, end) = (self.at + skipped, self.at + skipped + length);
        self.at = end;
        if length > INLINE_BYTES_MAX {
            return Some(self.text.slice(start..end));
        }
        // A copy of fixed length is cheaper; bytes behind the text's end are never looked at.
        match (from_start.first_chunk::<INLINE_BYTES_MAX>(), u8::try_from(length)) {
            (Some(bytes), Ok(len)) => Some(Text(Repr::Inline { len, bytes: *bytes })),
            _ => from_start.get(..length).and_then(Text::inline),
        }
    }
}

#[cfg(test)]
mod tests;
