//! Byte keys in one arena, found by stored hashes.

use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use hashbrown::HashTable;

use super::{HASHES, Place};
use crate::text::Text;

/// Byte strings, numbered in the order in which they first came. Allocates only to grow, by doubling.
#[derive(Debug, Default)]
pub(super) struct ByteKeys {
    /// All keys, one behind the other.
    arena: Vec<u8>,
    /// Where each key ends in the arena.
    ends: Vec<usize>,
    slots: HashTable<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u64,
    /// Of the key: a short key is told by it and its length, without a look into the arena.
    tag: u64,
    start: usize,
    len: u32,
    index: u32,
}

impl ByteKeys {
    /// Finds `key`, or takes it in.
    #[inline]
    pub(super) fn place(&mut self, key: &[u8]) -> Place {
        let (hash, tag) = (hash(key), tag(key));
        let arena = &self.arena;
        let same = |slot: &Slot| {
            slot.hash == hash
                && slot.tag == tag
                && slot.len as usize == key.len()
                && (key.len() <= TAG_BYTES
                    || arena.get(slot.start..).and_then(|rest| rest.get(TAG_BYTES..key.len())) == key.get(TAG_BYTES..))
        };
        match self.slots.find(hash, same) {
            Some(slot) => Place::Known(slot.index as usize),
            None => self.insert(hash, tag, key),
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, hash: u64, tag: u64, key: &[u8]) -> Place {
        let (Ok(len), Ok(index)) = (u32::try_from(key.len()), u32::try_from(self.ends.len())) else {
            return Place::Full;
        };
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        self.ends.push(self.arena.len());
        self.slots.insert_unique(hash, Slot { hash, tag, start, len, index }, |slot| slot.hash);
        Place::New
    }

    pub(super) const fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// The keys in order of insertion.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let key = self.arena.get(start..end).unwrap_or_default();
            start = end;
            key
        })
    }

    /// The indices of the keys, in the keys' order.
    pub(super) fn sorted(&self) -> Vec<u32> {
        // The first eight bytes decide most comparisons, without a look into the arena.
        let mut keys: Vec<(u64, u32, &[u8])> =
            (0..).zip(self.iter()).map(|(index, key)| (head(key), index, key)).collect();
        keys.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| a.2.cmp(b.2)));
        keys.into_iter().map(|(_, index, _)| index).collect()
    }

    /// The keys in order of insertion, as texts; long ones share the arena.
    pub(super) fn into_texts(self) -> impl Iterator<Item = Text> {
        let Self { arena, ends, slots } = self;
        drop(slots);
        let arena = Bytes::from(arena);
        let mut start = 0;
        ends.into_iter().map(move |end| {
            let text = Text::slice_of(&arena, start..end);
            start = end;
            text
        })
    }
}

#[inline]
fn hash(key: &[u8]) -> u64 {
    let mut hasher = HASHES.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// The bytes that a tag holds.
const TAG_BYTES: usize = 8;

/// A number that differs for different keys of one length of up to [`TAG_BYTES`], and that holds the first [`TAG_BYTES`] of
/// longer ones. By loads of fixed size, which overlap where a key is shorter.
#[inline]
fn tag(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_le_bytes(*first);
    }
    if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    match *key {
        [] => 0,
        [one] => u64::from(one),
        [one, two] => u64::from(one) | u64::from(two) << 8,
        [one, two, three, ..] => u64::from(one) | u64::from(two) << 8 | u64::from(three) << 16,
    }
}

/// The first eight bytes as a number that orders as they do; zeros stand for what is missing.
fn head(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_be_bytes(bytes)
}
