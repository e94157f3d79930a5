//! How `Bytes` fields of messages are encoded, and decoded without a copy where that pays.
//!
//! The encoding is that of any byte string. While a message is decoded, the buffer it is decoded from is known to this module,
//! so that a large body becomes a slice of that buffer. Small ones are copied: a descriptor of forty bytes must not keep a
//! receive buffer of a mebibyte alive. The other way round, a large body can be set apart while its message is encoded, for
//! whoever wants to have it as it is rather than a copy.

use std::cell::{Cell, RefCell};
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;

/// Bodies from this size on share the buffer that they came in.
pub(crate) const SHARED_BYTES_MIN: usize = 16 * 1024;

/// Elements reserved ahead for a body that arrives as a sequence, whatever it claims.
const SEQUENCE_BYTES_AHEAD: usize = 4096;

thread_local! {
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    static SETS_APART: Cell<bool> = const { Cell::new(false) };
    /// The body that is being encoded, while large ones are set apart.
    static APART: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Runs `decode`, during which bodies may become slices of `source`.
pub(crate) fn sharing<R>(source: &Bytes, decode: impl FnOnce() -> R) -> R {
    /// Takes the source away again, however `decode` ends.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            SOURCE.set(None);
        }
    }
    SOURCE.set(Some(source.clone()));
    let _reset = Reset;
    decode()
}

/// `bytes` as a slice of the current source where it is one and large, else as a copy.
fn share(bytes: &[u8]) -> Bytes {
    if bytes.len() < SHARED_BYTES_MIN {
        return Bytes::copy_from_slice(bytes);
    }
    let shared = SOURCE.with_borrow(|source| {
        let source = source.as_ref()?;
        let start = bytes.as_ptr().addr().checked_sub(source.as_ptr().addr())?;
        let end = start.checked_add(bytes.len())?;
        (end <= source.len()).then(|| source.slice(start..end))
    });
    shared.unwrap_or_else(|| Bytes::copy_from_slice(bytes))
}

/// Runs `encode`, during which large bodies are set apart for [`apart`].
pub(crate) fn setting_apart<R>(encode: impl FnOnce() -> R) -> R {
    /// Ends it, however `encode` ends.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            SETS_APART.set(false);
            APART.set(None);
        }
    }
    SETS_APART.set(true);
    let _reset = Reset;
    encode()
}

/// The body that was set apart last, if `bytes` are all of it.
pub(crate) fn apart(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < SHARED_BYTES_MIN {
        return None;
    }
    APART.take().filter(|body| std::ptr::eq(body.as_ref(), bytes))
}

pub(crate) fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if body.len() >= SHARED_BYTES_MIN && SETS_APART.get() {
        APART.set(Some(body.clone()));
    }
    serializer.serialize_bytes(body)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    deserializer.deserialize_bytes(BodyVisitor)
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bytes, E> {
        Ok(share(bytes))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::with_capacity(items.size_hint().unwrap_or(0).min(SEQUENCE_BYTES_AHEAD));
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
