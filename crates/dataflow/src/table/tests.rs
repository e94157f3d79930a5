use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use elastic_flow_wire::{decode, encode_to_vec};
use proptest::prelude::*;

use super::*;
use crate::reduction::{Counting, Summing};
use crate::text::Text;

/// Puts values into a table that adds them.
fn summed<K: Data + Eq + Hash + Clone>(pairs: &[(K, u64)]) -> Table<K, u64> {
    let mut table = Table::new();
    for (key, value) in pairs {
        table.upsert(key.clone(), *value, |value| value, |sums, index, value| sums[index] += value);
    }
    table
}

/// What the table should hold: the sums in order of first appearance.
fn model<K: Eq + Hash + Clone>(pairs: &[(K, u64)]) -> Vec<(K, u64)> {
    let mut places = HashMap::new();
    let mut sums: Vec<(K, u64)> = Vec::new();
    for (key, value) in pairs {
        let place = *places.entry(key.clone()).or_insert_with(|| {
            sums.push((key.clone(), 0));
            sums.len() - 1
        });
        sums[place].1 += value;
    }
    sums
}

fn keys() -> impl Strategy<Value = Vec<(Vec<u8>, u64)>> {
    let key = prop_oneof![
        proptest::collection::vec(0_u8..3, 0..4),
        proptest::collection::vec(any::<u8>(), 0..12),
        proptest::collection::vec(0_u8..2, 20..40),
    ];
    proptest::collection::vec((key, 0_u64..1000), 0..200)
}

fn texts(pairs: &[(Vec<u8>, u64)]) -> Vec<(Text, u64)> {
    pairs.iter().map(|(key, value)| (Text::from(key.as_slice()), *value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_table_keeps_insertion_order_and_encodes_as_a_vec(pairs in keys()) {
        let (rows, body) = summed(&pairs).encode().unwrap();
        let expected = model(&pairs);
        prop_assert_eq!(rows, expected.len() as u64);
        prop_assert_eq!(&body[..], &encode_to_vec(&expected).unwrap()[..]);

        let (text_rows, text_body) = summed(&texts(&pairs)).encode().unwrap();
        prop_assert_eq!((text_rows, &text_body), (rows, &body));
    }

    #[test]
    fn merged_tables_hold_what_one_table_would(pairs in keys(), cut in 0_usize..200) {
        let (left, right) = pairs.split_at(cut.min(pairs.len()));
        let adding = Summing::<u64>(PhantomData);
        let mut merged = Table::<Text, u64>::new();
        let mut generic = Table::<Vec<u8>, u64>::new();
        for part in [left, right] {
            let (rows, body) = summed(part).encode().unwrap();
            merged.merge_encoded(&body, Some(rows), &adding).unwrap();
            generic.merge_encoded(&body, Some(rows), &adding).unwrap();
        }
        let expected = model(&pairs);
        prop_assert_eq!(&generic.encode().unwrap().1[..], &encode_to_vec(&expected).unwrap()[..]);
        let sorted: BTreeMap<Text, u64> = texts(&expected).into_iter().collect();
        prop_assert_eq!(merged.into_entries().unwrap(), sorted.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn entries_do_not_depend_on_the_order_in_which_they_came(pairs in keys()) {
        let reversed: Vec<_> = pairs.iter().rev().cloned().collect();
        prop_assert_eq!(summed(&pairs).into_entries().unwrap(), summed(&reversed).into_entries().unwrap());
        prop_assert_eq!(summed(&texts(&pairs)).into_entries().unwrap(), summed(&texts(&reversed)).into_entries().unwrap());
    }

    #[test]
    fn broken_bytes_are_an_error_and_no_panic(pairs in keys(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let (rows, body) = summed(&texts(&pairs)).encode().unwrap();
        let mut broken = body.to_vec();
        *at.get_mut(&mut broken) ^= flip;
        let mut table = Table::<Text, u64>::new();
        // A flipped byte of a key or value is another key or value; lengths and counts are checked.
        if table.merge_encoded(&broken, Some(rows), &Counting::<()>(PhantomData)).is_ok() {
            prop_assert!(table.len() as u64 <= rows);
        }
        prop_assert!(table.merge_encoded(&body[..body.len() - 1], Some(rows), &Counting::<()>(PhantomData)).is_err());
    }
}

proptest! {
    #[test]
    fn numbers_and_strings_are_in_their_own_order(n in proptest::collection::btree_set(any::<i32>(), 0..50)) {
        let pairs: Vec<(i32, u64)> = n.iter().rev().map(|&n| (n, 1)).collect();
        let keys: Vec<i32> = summed(&pairs).into_entries().unwrap().into_iter().map(|(key, _)| key).collect();
        prop_assert_eq!(keys, n.iter().copied().collect::<Vec<_>>());
        let strings: Vec<(String, u64)> = n.iter().map(|n| (n.to_string(), 1)).collect();
        prop_assert!(summed(&strings).into_entries().unwrap().is_sorted());
    }
}

#[test]
fn keys_with_texts_inside_keep_no_chunk_alive() {
    let block = Bytes::from(vec![b'x'; 1000]);
    let mut table = Table::<(Text, u8), u64>::new();
    table.upsert((Text::slice_of(&block, 0..100), 1), 1, |value| value, |_, _, _| ());
    let mut byte_table = Table::<Text, u64>::new();
    byte_table.upsert(Text::slice_of(&block, 0..100), 1, |value| value, |_, _, _| ());
    assert!(block.is_unique());
    assert_eq!((table.len(), byte_table.len()), (1, 1));
}

#[test]
fn least_and_greatest_texts_keep_no_chunk_alive() {
    let block = Bytes::from(vec![b'x'; 1000]);
    let extreme = crate::reduction::Extreme::<Text> { greatest: true, value: PhantomData };
    let mut states = vec![extreme.start(Text::slice_of(&block, 0..100))];
    extreme.push(&mut states, 0, Text::slice_of(&block, 0..200));
    assert!(block.is_unique());
    assert_eq!(states[0].len(), 200);
}

#[test]
fn half_a_million_words_are_each_found_again() {
    let mut table = Table::<Text, u64>::new();
    for round in 0..2_u64 {
        for n in 0..500_000_u64 {
            let key = format!("word{n}");
            table.upsert_bytes(key.as_bytes(), (), |()| 0, |counts, index, ()| counts[index] += round);
        }
    }
    let entries = table.into_entries().unwrap();
    assert_eq!(entries.len(), 500_000);
    assert!(entries.iter().all(|&(_, count)| count == 1));
    assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(decode::<u64>(&encode_to_vec(&entries).unwrap()[..8]).unwrap(), 500_000);
}
