//! Keyed tables: values by key, in the order in which the keys first came.

mod byte_keys;
mod hash_keys;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use bytes::Bytes;
use elastic_flow_wire::message::Segment;
use elastic_flow_wire::{BatchReader, CodecError, SeqEncoder, encode};
use foldhash::fast::FixedState;
use serde::Serialize;

use crate::chain::{Data, as_text, cast, detached, is_text};
use crate::error::MergeError;
use crate::partitioned::partition_of;
use crate::reduction::Reduction;
use crate::text::ByteKey;
use byte_keys::ByteKeys;
use hash_keys::HashKeys;

/// The seed of all tables: fixed, since nothing but speed depends on it.
const HASHES: FixedState = FixedState::with_seed(0x656c_6173_7469_6366);

/// Where a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was there, with this index.
    Known(usize),
    /// It is new and has the next index.
    New,
    /// There is no room for it.
    Full,
}

/// A table from `K` to `V`. Texts are kept as bytes in an arena of their own, so that no chunk is kept alive by them and a
/// known key costs no allocation; the choice falls when this compiles.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    keys: Keys<K>,
    values: Vec<V>,
    full: bool,
}

#[derive(Debug)]
enum Keys<K> {
    Bytes(ByteKeys),
    Hashed(HashKeys<K>),
}

impl<K: Data + Eq + Hash, V> Table<K, V> {
    pub(crate) fn new() -> Self {
        let keys = if is_text::<K>() { Keys::Bytes(ByteKeys::default()) } else { Keys::Hashed(HashKeys::default()) };
        Self { keys, values: Vec::new(), full: false }
    }

    /// Distinct keys.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether a key found no room: the table is not to be trusted then.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Starts or changes the value of a key; `change` gets all values and the index of the one concerned.
    #[inline]
    pub(crate) fn upsert<X>(
        &mut self,
        key: K,
        given: X,
        start: impl FnOnce(X) -> V,
        change: impl FnOnce(&mut Vec<V>, usize, X),
    ) {
        let place = match (&mut self.keys, as_text(&key)) {
            (Keys::Bytes(keys), Some(text)) => keys.place(text),
            (Keys::Hashed(keys), None) => keys.place(key),
            // The kind of table follows from the type of the key.
            (Keys::Bytes(_), None) | (Keys::Hashed(_), Some(_)) => Place::Full,
        };
        self.put(place, given, start, change);
    }

    /// As [`Table::upsert`], for the bytes of a text.
    #[inline]
    pub(crate) fn upsert_bytes<X>(
        &mut self,
        key: &[u8],
        given: X,
        start: impl FnOnce(X) -> V,
        change: impl FnOnce(&mut Vec<V>, usize, X),
    ) {
        let place = match &mut self.keys {
            Keys::Bytes(keys) => keys.place(key),
            Keys::Hashed(_) => Place::Full,
        };
        self.put(place, given, start, change);
    }

    #[inline]
    fn put<X>(
        &mut self,
        place: Place,
        given: X,
        start: impl FnOnce(X) -> V,
        change: impl FnOnce(&mut Vec<V>, usize, X),
    ) {
        match place {
            Place::Known(index) => change(&mut self.values, index, given),
            Place::New => self.values.push(start(given)),
            Place::Full => self.full = true,
        }
    }

    /// The entries in order of insertion, in the bytes of a `Vec<(K, V)>`, and their number.
    pub(crate) fn encode(&self) -> Result<(u64, Bytes), CodecError>
    where
        V: Data,
    {
        match &self.keys {
            Keys::Bytes(keys) => {
                let mut entries = SeqEncoder::with_capacity(keys.arena_bytes() + self.len() * 24);
                for (key, value) in keys.iter().zip(&self.values) {
                    entries.push(&(ByteKey(key), value))?;
                }
                Ok(entries.finish())
            }
            Keys::Hashed(keys) => {
                let mut entries = SeqEncoder::with_capacity(self.len() * 32);
                for (key, value) in keys.iter().zip(&self.values) {
                    entries.push(&(key, value))?;
                }
                Ok(entries.finish())
            }
        }
    }

    /// As [`Table::encode`], by the partitions that the keys fall to: their number, rows and bytes, of those that get any.
    pub(crate) fn split(&self, partitions: u32) -> Result<Vec<(u32, u64, Bytes)>, CodecError>
    where
        V: Data,
    {
        match &self.keys {
            Keys::Bytes(keys) => {
                let parts = keys.iter().map(|key| Ok(partition_of(key, partitions)));
                split(parts, keys.iter().map(ByteKey).zip(&self.values), partitions)
            }
            Keys::Hashed(keys) => {
                let mut scratch = Vec::new();
                let parts = keys.iter().map(|key| {
                    scratch.clear();
                    encode(key, &mut scratch)?;
                    Ok(partition_of(&scratch, partitions))
                });
                split(parts, keys.iter().zip(&self.values), partitions)
            }
        }
    }

    /// Merges entries that another table encoded. A known key is not decoded into a value of its own.
    pub(crate) fn merge_encoded<R>(&mut self, body: &[u8], rows: Option<u64>, reduction: &R) -> Result<(), CodecError>
    where
        V: Data,
        R: Reduction<State = V>,
    {
        let mut reader = match rows {
            Some(rows) => BatchReader::new(body, rows)?,
            None => BatchReader::unannounced(body)?,
        };
        let change = |values: &mut Vec<V>, index, state| reduction.merge(values, index, state);
        if is_text::<K>() {
            while let Some((ByteKey(key), state)) = reader.next_item::<(ByteKey<'_>, V)>()? {
                self.upsert_bytes(key, state, detached, change);
            }
        } else {
            while let Some((key, state)) = reader.next_item::<(K, V)>()? {
                self.upsert(key, state, detached, change);
            }
        }
        Ok(())
    }

    /// The entries in an order that does not depend on how they came: texts, numbers, characters and strings in their own,
    /// other keys in that of their encoded bytes.
    pub(crate) fn into_entries(self) -> Result<Vec<(K, V)>, CodecError> {
        let Self { keys, values, .. } = self;
        match keys {
            Keys::Bytes(keys) => {
                let order = keys.sorted();
                let texts = keys.into_texts().filter_map(cast::<_, K>);
                Ok(in_order(texts.zip(values), &order))
            }
            Keys::Hashed(keys) => {
                let order = keys.sorted()?;
                Ok(in_order(keys.into_keys().zip(values), &order))
            }
        }
    }
}

/// The entries, in the given order of their indices.
fn in_order<T>(entries: impl Iterator<Item = T>, order: &[u32]) -> Vec<T> {
    let mut slots: Vec<Option<T>> = entries.map(Some).collect();
    order.iter().filter_map(|&index| slots.get_mut(index as usize).and_then(Option::take)).collect()
}

/// Encodes each entry into the part that it falls to.
fn split<T: Serialize>(
    parts: impl Iterator<Item = Result<u32, CodecError>>,
    entries: impl Iterator<Item = T>,
    partitions: u32,
) -> Result<Vec<(u32, u64, Bytes)>, CodecError> {
    let mut encoders: Vec<Option<SeqEncoder<T>>> = (0..partitions).map(|_| None).collect();
    for (part, entry) in parts.zip(entries) {
        if let Some(encoder) = encoders.get_mut(part? as usize) {
            encoder.get_or_insert_with(SeqEncoder::new).push(&entry)?;
        }
    }
    let finished = (0..).zip(encoders).filter_map(|(part, encoder)| {
        let (rows, body) = encoder?.finish();
        Some((part, rows, body))
    });
    Ok(finished.collect())
}

/// Merges the segment of a table stage.
pub(crate) fn merge_segment<K, R>(
    table: &mut Table<K, R::State>,
    segment: &Segment,
    reduction: &R,
) -> Result<(), MergeError>
where
    K: Data + Eq + Hash,
    R: Reduction,
{
    let merged = table.merge_encoded(&segment.body, Some(segment.rows), reduction);
    merged.map_err(|source| MergeError::Segment { receipt: segment.receipt, source })?;
    if table.is_full() { Err(MergeError::TableFull) } else { Ok(()) }
}
