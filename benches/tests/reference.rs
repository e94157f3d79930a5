//! The reference counts what it is to count: else nothing that is measured against it means anything.

use std::collections::BTreeMap;
use std::io::Write;

use elastic_flow_benches::reference::WordTable;
use elastic_flow_benches::statistics::{Spread, spread};
use proptest::prelude::*;

/// The words of some bytes, as simply as can be.
fn naive(bytes: &[u8]) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = BTreeMap::new();
    for word in bytes.split(|byte| b" \t\n\x0b\x0c\r".contains(byte)).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
    }
    counts
}

fn same(table: &WordTable, counts: &BTreeMap<Vec<u8>, u64>) -> bool {
    table.distinct() == counts.len() as u64 && counts.iter().all(|(word, count)| table.get(word) == *count)
}

proptest! {
    #[test]
    fn any_stretches_count_every_word_once(
        bytes in proptest::collection::vec(prop_oneof![
            4 => b'a'..=b'c', 1 => b'A'..=b'C', 2 => Just(b' '), 1 => Just(b'\n'), 1 => any::<u8>(),
        ], 1..300),
        stretch in 1..100_u64,
    ) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let length = bytes.len() as u64;
        let (mut merged, mut block) = (WordTable::default(), Vec::new());
        for from in (0..length).step_by(usize::try_from(stretch).unwrap()) {
            let mut table = WordTable::default();
            table.count(&file, from, (from + stretch).min(length), &mut block).unwrap();
            merged.merge(&table.to_bytes()).unwrap();
        }
        let counts = naive(&bytes);
        prop_assert_eq!(merged.all(), counts.values().sum::<u64>());
        prop_assert!(same(&merged, &counts));
    }
}

#[test]
fn lines_longer_than_a_read_are_counted_whole() {
    let text = [b"begin ".as_slice(), &b"x".repeat(3 << 20), b" y\nz ", &b"w ".repeat(1 << 20)].concat();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&text).unwrap();
    let mut table = WordTable::default();
    table.count(&file, 0, text.len() as u64, &mut Vec::new()).unwrap();
    assert!(same(&table, &naive(&text)));
}

#[test]
fn quartiles_lie_between_their_neighbours() {
    assert_eq!(spread(vec![5.0, 1.0, 4.0, 2.0, 3.0]), Spread { median: 3.0, iqr: 2.0 });
    assert_eq!(spread(vec![2.0, 1.0]), Spread { median: 1.5, iqr: 0.5 });
    assert_eq!(spread(vec![7.0]), Spread { median: 7.0, iqr: 0.0 });
    assert!(spread(Vec::new()).median.is_nan());
}
