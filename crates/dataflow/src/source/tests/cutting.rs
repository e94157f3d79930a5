//! Cutting: sizes, packing, several inputs, and going on after a restart.

use std::fs;

use bytes::Bytes;
use elastic_flow_wire::message::PayloadKind;
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::seam::Cover;

/// Numbers, a byte each.
struct Numbers(std::ops::Range<u8>);

impl ItemBatches for Numbers {
    fn next_batch(&mut self, max_items: u64, max_bytes: u64) -> Option<(Bytes, u64)> {
        let count = usize::try_from(max_items.min(max_bytes)).unwrap_or(usize::MAX);
        let batch: Vec<u8> = self.0.by_ref().take(count).collect();
        let count = batch.len() as u64;
        (count > 0).then(|| (batch.into(), count))
    }
}

/// Iterators of so many numbers, and text as standard input.
struct TestSuppliers {
    start: u8,
    handed_over: Option<Numbers>,
}

impl Suppliers for TestSuppliers {
    fn standard_input(&mut self) -> Box<dyn std::io::Read + Send> {
        Box::new(&b"typed\nin\n"[..])
    }

    fn registered(&mut self, name: &str) -> Option<Box<dyn ItemBatches>> {
        (name == "numbers").then(|| Box::new(Numbers(self.start..100)) as Box<dyn ItemBatches>)
    }

    fn one_shot(&mut self, _input: u16) -> Option<Box<dyn ItemBatches>> {
        self.handed_over.take().map(|items| Box::new(items) as Box<dyn ItemBatches>)
    }
}

fn suppliers() -> TestSuppliers {
    TestSuppliers { start: 0, handed_over: Some(Numbers(0..10)) }
}

/// Files of several sizes, a range and an iterator, under three inputs.
fn mixed() -> (TempDir, ResolvedSource) {
    let folder = tempdir().unwrap();
    for (name, bytes) in [("a", 0), ("b", 10), ("c", 950), ("d", 7), ("e", 0), ("f.gz", 0), ("g", 300), ("h", 0)] {
        let text: String = (0..bytes).map(|n| if n % 13 == 12 { '\n' } else { 'x' }).collect();
        fs::write(folder.path().join(name), text).unwrap();
    }
    let files = |glob: &str| SourceSpec::Lines { paths: vec![folder.path().join(glob).to_str().unwrap().to_owned()] };
    let inputs = [
        files("[a-e]"),
        SourceSpec::Range { start: 1000, end: 1100 },
        SourceSpec::Registered { name: "numbers".into() },
        files("[f-h]*"),
    ];
    let source = ResolvedSource::resolve(&inputs).unwrap();
    (folder, source)
}

fn border(cut: &Cut, wanted: bool) -> Border {
    let items = cut.payload.kind == PayloadKind::Items;
    Border { covers: cut.covers.clone(), digest: items.then(|| xxh3_64(&cut.payload.body)), wanted }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_cutter_goes_on_behind_any_number_of_chunks(target in 60_u64..400, items in 5_u64..30, wanted: u64) {
        let (_folder, source) = mixed();
        let fresh = || SourceCutter::new(&source, &mut suppliers()).unwrap();
        let cuts = cut_all(&mut fresh(), target, items);
        let lengths: Vec<_> = source.source_parts().iter().map(|part| part.length.unwrap_or(100)).collect();
        prop_assert_eq!(coverage(&cuts, lengths.len()), lengths);
        for done in 0..=cuts.len() {
            let borders: Vec<_> =
                cuts[..done].iter().enumerate().map(|(n, cut)| border(cut, wanted >> (n % 64) & 1 == 1)).collect();
            let mut resumed = fresh();
            let mut again = Vec::new();
            resumed.resume(&borders, &mut |index, cut| again.push((index, cut))).unwrap();
            let expected: Vec<_> =
                (0..done).filter(|&index| borders[index].wanted).map(|index| (index, cuts[index].clone())).collect();
            prop_assert_eq!(again, expected);
            if done % 5 == 0 || done == cuts.len() {
                prop_assert_eq!(&cut_all(&mut resumed, target, items)[..], &cuts[done..]);
            }
        }
    }
}

#[test]
fn chunks_that_do_not_fit_the_source_are_refused() {
    let (_folder, source) = mixed();
    let fresh = || SourceCutter::new(&source, &mut suppliers()).unwrap();
    let cuts = cut_all(&mut fresh(), 100, 10);
    let good: Vec<_> = cuts.iter().map(|cut| border(cut, false)).collect();
    let cover = |part, offset, length| vec![Cover { part, offset, length }];
    for (at, covers) in [
        (0, vec![]),
        (0, cover(0, 1, 0)),
        (0, cover(1, 0, 10)),
        (0, cover(0, 0, 1)),
        (1, cover(1, 0, 10)),
        (1, cover(5, 0, 1)),
        (1, cover(2, 10, 2000)),
        (1, cover(77, 0, 1)),
    ] {
        let mut borders = good[..=at].to_vec();
        borders[at].covers.clone_from(&covers);
        let refused = fresh().resume(&borders, &mut |_, _| {});
        assert!(matches!(refused, Err(SourceError::BordersDoNotFit { .. })), "{covers:?}: {refused:?}");
    }
}

#[test]
fn an_iterator_that_gives_other_items_is_found_out() {
    let (_folder, source) = mixed();
    let cuts = cut_all(&mut SourceCutter::new(&source, &mut suppliers()).unwrap(), 1000, 40);
    let borders: Vec<_> = cuts.iter().map(|cut| border(cut, false)).collect();
    let mut others = TestSuppliers { start: 1, ..suppliers() };
    let refused = SourceCutter::new(&source, &mut others).unwrap().resume(&borders, &mut |_, _| {});
    assert!(matches!(refused, Err(SourceError::NotDeterministic { item: 0, .. })), "{refused:?}");
    let without_digest: Vec<_> = borders.iter().map(|border| Border { digest: None, ..border.clone() }).collect();
    let refused = SourceCutter::new(&source, &mut others).unwrap().resume(&without_digest, &mut |_, _| {});
    assert!(matches!(refused, Err(SourceError::NotDeterministic { item: 80, .. })), "too few at the end: {refused:?}");
}

#[test]
fn what_is_read_once_is_not_resumed() {
    for spec in [SourceSpec::OneShot, SourceSpec::Lines { paths: vec!["-".into()] }] {
        let source = ResolvedSource::resolve([&spec]).unwrap();
        assert!(!source.is_repeatable());
        let cuts = cut_all(&mut SourceCutter::new(&source, &mut suppliers()).unwrap(), 100, 100);
        assert!(!cuts.is_empty() && cuts.iter().all(|cut| !cut.repeatable));
        let mut again = SourceCutter::new(&source, &mut suppliers()).unwrap();
        let refused = again.resume(&[border(&cuts[0], true)], &mut |_, _| {});
        assert!(matches!(refused, Err(SourceError::NotRepeatable { .. })), "{refused:?}");
    }
    let mut none = TestSuppliers { handed_over: None, ..suppliers() };
    let one_shot = ResolvedSource::resolve([&SourceSpec::OneShot]).unwrap();
    assert!(matches!(SourceCutter::new(&one_shot, &mut none), Err(SourceError::NotRepeatable { .. })));
    let unknown = ResolvedSource::resolve([&SourceSpec::Registered { name: "unknown".into() }]).unwrap();
    assert!(matches!(SourceCutter::new(&unknown, &mut none), Err(SourceError::NotRegistered { .. })));
}

#[test]
fn small_files_share_a_chunk_and_large_ones_are_split_without_crumbs() {
    let folder = tempdir().unwrap();
    for (name, bytes) in [("a", 30), ("b", 30), ("c", 50), ("d", 220), ("e.gz", 500), ("f", 5)] {
        fs::write(folder.path().join(name), "x".repeat(bytes)).unwrap();
    }
    let cuts = cut_all(&mut cutter(&resolve(&[&folder.path().join("*")])), 100, 1);
    let covers: Vec<Vec<(u32, u64, u64)>> = cuts
        .iter()
        .map(|cut| cut.covers.iter().map(|cover| (cover.part, cover.offset, cover.length)).collect())
        .collect();
    assert_eq!(
        covers,
        [
            vec![(0, 0, 30), (1, 0, 30)],
            vec![(2, 0, 50)],
            vec![(3, 0, 100)],
            vec![(3, 100, 120)],
            vec![(4, 0, 500)],
            vec![(5, 0, 5)],
        ]
    );
}

#[test]
fn thousands_of_empty_files_are_all_accounted_for() {
    let folder = tempdir().unwrap();
    for n in 0..2_000 {
        fs::write(folder.path().join(n.to_string()), "").unwrap();
    }
    let cuts = cut_all(&mut cutter(&resolve(&[&folder.path().join("*")])), 1 << 24, 1);
    assert_eq!(cuts.iter().map(|cut| cut.covers.len()).collect::<Vec<_>>(), [512, 512, 512, 464]);
}

#[test]
fn ranges_are_cut_by_eight_bytes_an_item_up_to_the_last_number() {
    let (start, end) = (u64::MAX - 25, u64::MAX);
    let source = ResolvedSource::resolve([&SourceSpec::Range { start, end }]).unwrap();
    let cuts = cut_all(&mut cutter(&source), 80, 1);
    let mut numbers = Vec::new();
    for cut in &cuts {
        let feed = open(&chunk(&cut.payload)).unwrap();
        assert_eq!(feed.bytes_read(), cut.bytes);
        let Feed::Range(range) = feed else { panic!("not a range") };
        assert_eq!(cut.entries, Some(range.end - range.start));
        numbers.extend(range);
        assert_eq!(ship(&cut.payload, 0).unwrap(), cut.payload);
    }
    assert_eq!(cuts.len(), 3);
    assert_eq!(numbers, (start..end).collect::<Vec<_>>());
    let empty = ResolvedSource::resolve([&SourceSpec::Range { start: 5, end: 5 }]).unwrap();
    assert_eq!(cut_all(&mut cutter(&empty), 80, 1), []);
}

#[test]
fn items_travel_as_they_were_encoded() {
    let source = ResolvedSource::resolve([&SourceSpec::Registered { name: "numbers".into() }]).unwrap();
    let cuts = cut_all(&mut SourceCutter::new(&source, &mut suppliers()).unwrap(), 1000, 30);
    assert_eq!(cuts.iter().map(|cut| cut.entries.unwrap()).collect::<Vec<_>>(), [30, 30, 30, 10]);
    assert!(cuts.iter().all(|cut| cut.repeatable));
    let feed = open(&chunk(&cuts[3].payload)).unwrap();
    assert_eq!(feed.bytes_read(), cuts[3].bytes);
    let Feed::Items { body } = feed else { panic!("not items") };
    assert_eq!(body, (90..100).collect::<Vec<u8>>());
}

#[test]
fn a_resolved_source_is_the_same_after_the_journal() {
    let (_folder, source) = mixed();
    let json = serde_json::to_vec(&source).unwrap();
    assert_eq!(serde_json::from_slice::<ResolvedSource>(&json).unwrap(), source);
}
