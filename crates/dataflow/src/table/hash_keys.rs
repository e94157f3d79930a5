//! Keys of any type, found by stored hashes.

use std::any::{Any, TypeId};
use std::hash::{BuildHasher, Hash};

use elastic_flow_wire::{CodecError, decode, encode, encode_to_vec};
use hashbrown::HashTable;

use super::{HASHES, Place};
use crate::chain::Data;

/// Keys, numbered in the order in which they first came.
#[derive(Debug)]
pub(super) struct HashKeys<K> {
    keys: Vec<(u64, K)>,
    slots: HashTable<u32>,
    /// Where new keys are encoded on their way in.
    scratch: Vec<u8>,
}

impl<K> Default for HashKeys<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), slots: HashTable::new(), scratch: Vec::new() }
    }
}

impl<K: Data + Eq + Hash> HashKeys<K> {
    /// Finds `key`, or takes it in.
    #[inline]
    pub(super) fn place(&mut self, key: K) -> Place {
        let hash = HASHES.hash_one(&key);
        let keys = &self.keys;
        let same =
            |&index: &u32| keys.get(index as usize).is_some_and(|(known, other)| *known == hash && *other == key);
        match self.slots.find(hash, same) {
            Some(&index) => Place::Known(index as usize),
            None => self.insert(hash, key),
        }
    }

    fn insert(&mut self, hash: u64, key: K) -> Place {
        let Ok(index) = u32::try_from(self.keys.len()) else { return Place::Full };
        let key = self.detached(key);
        self.keys.push((hash, key));
        let keys = &self.keys;
        self.slots.insert_unique(hash, index, |&index| keys.get(index as usize).map_or(0, |(hash, _)| *hash));
        Place::New
    }

    /// A copy of the key that keeps no chunk alive, as a text somewhere within it would: through its encoding, which is the
    /// one way into any type. Types without a destructor, and strings, hold no such text.
    fn detached(&mut self, key: K) -> K {
        if !std::mem::needs_drop::<K>() || TypeId::of::<K>() == TypeId::of::<String>() {
            return key;
        }
        self.scratch.clear();
        match encode(&key, &mut self.scratch) {
            Ok(()) => decode(&self.scratch).ok().filter(|copy| *copy == key).unwrap_or(key),
            // What has no encoding fails when the table is encoded, with a message.
            Err(_) => key,
        }
    }

    /// The keys in order of insertion.
    pub(super) fn iter(&self) -> impl Iterator<Item = &K> {
        self.keys.iter().map(|(_, key)| key)
    }

    /// The indices of the keys: numbers, characters and strings in their own order, others in that of their encoded bytes.
    pub(super) fn sorted(&self) -> Result<Vec<u32>, CodecError> {
        if let Some(order) = natural_order(&self.keys) {
            return Ok(order);
        }
        let mut keys = (0..)
            .zip(self.iter())
            .map(|(index, key)| Ok((encode_to_vec(key)?, index)))
            .collect::<Result<Vec<_>, _>>()?;
        keys.sort_unstable();
        Ok(keys.into_iter().map(|(_, index): (_, u32)| index).collect())
    }

    /// The keys in order of insertion.
    pub(super) fn into_keys(self) -> impl Iterator<Item = K> {
        self.keys.into_iter().map(|(_, key)| key)
    }
}

/// The order of keys whose type is known to have one, whatever `K` is called here.
fn natural_order<K: 'static>(keys: &[(u64, K)]) -> Option<Vec<u32>> {
    macro_rules! first_that_fits {
        ($($type:ty)*) => {
            None$(.or_else(|| order_as::<K, $type>(keys)))*
        };
    }
    first_that_fits!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize bool char String)
}

/// The order of keys if they are of type `T`.
fn order_as<K: 'static, T: Ord + 'static>(keys: &[(u64, K)]) -> Option<Vec<u32>> {
    let typed = |(_, key): &(u64, K)| (key as &dyn Any).downcast_ref::<T>().is_some();
    if !keys.first().is_some_and(typed) {
        return None;
    }
    let mut order: Vec<(Option<&T>, u32)> =
        keys.iter().map(|(_, key)| (key as &dyn Any).downcast_ref()).zip(0..).collect();
    order.sort_unstable();
    Some(order.into_iter().map(|(_, index)| index).collect())
}
