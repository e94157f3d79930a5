//! A torn tail of the journal is cut and said; anything else that is wrong is corruption, with file and offset.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

mod common;

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use common::{STEP, append, corruption, faulty_files, journal, open, overwrite, segments, small_segments};
use elastic_flow_store::{Durability, Fault, FaultInjector, FaultPlan, Store};
use elastic_flow_store_fs::{FsOptions, FsStore, TornTail};
use proptest::prelude::*;

/// A store with these batches in its journal, and where each of them ends in the one segment.
fn with_batches(store: &Path, batches: &[Vec<Vec<u8>>]) -> Vec<u64> {
    let (opened, _) = open(store, FsOptions::default()).unwrap();
    let mut ends = vec![opened.journal_bytes().unwrap()];
    for batch in batches {
        append(&opened, batch);
        ends.push(opened.journal_bytes().unwrap());
    }
    ends
}

/// Opens a store whose segment is `bytes`: the journal that is found, and the torn tail.
fn reopened(store: &Path, bytes: &[u8]) -> (FsStore, Option<TornTail>) {
    overwrite(&segments(store)[0], bytes);
    let (opened, report) = open(store, FsOptions::default()).unwrap();
    (opened, report.torn_tail)
}

fn three_batches() -> Vec<Vec<Vec<u8>>> {
    vec![
        vec![b"one".to_vec(), b"two".to_vec()],
        vec![b"three".to_vec()],
        vec![b"four".to_vec(), b"".to_vec(), b"six".to_vec()],
    ]
}

/// Cuts the journal at every byte behind the first batch, and looks at what is left.
fn check_every_cut(batches: &[Vec<Vec<u8>>]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let ends = with_batches(&path, batches);
    let whole = fs::read(&segments(&path)[0]).unwrap();
    let from = ends[batches.len().saturating_sub(3)];
    for cut in from..=whole.len() as u64 {
        let kept = ends.iter().filter(|end| **end <= cut).count() - 1;
        let mut expected = batches[..kept].concat();
        let (store, torn_tail) = reopened(&path, &whole[..usize::try_from(cut).unwrap()]);
        let offset = ends[kept];
        let tail = TornTail { path: segments(&path)[0].clone(), offset, bytes: cut - offset };
        assert_eq!(torn_tail, (tail.bytes > 0).then_some(tail));
        assert_eq!(journal(&store), expected, "cut at {cut}");
        append(&store, &[b"after".to_vec()]);
        drop(store);
        expected.push(b"after".to_vec());
        let (store, report) = open(&path, FsOptions::default()).unwrap();
        assert_eq!((journal(&store), report.torn_tail), (expected, None));
    }
}

#[test]
fn a_journal_cut_at_any_byte_keeps_its_whole_batches() {
    check_every_cut(&three_batches());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_journal_cut_at_any_byte_of_its_last_three_batches_keeps_its_whole_batches(
        batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 1..3), 1..6),
    ) {
        check_every_cut(&batches);
    }
}

#[test]
fn a_flipped_bit_is_corruption_named_with_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let ends = with_batches(&path, &three_batches());
    let segment = segments(&path)[0].clone();
    let whole = fs::read(&segment).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        overwrite(&segment, &flipped);
        let (at, offset, detail) = corruption(&path, FsOptions::default());
        assert_eq!(at, segment);
        assert!(
            offset <= bit as u64 / 8 && offset < *ends.last().unwrap() && !detail.is_empty(),
            "bit {bit}: {offset}"
        );
    }
    let (store, torn_tail) = reopened(&path, &whole);
    assert_eq!((journal(&store), torn_tail), (three_batches().concat(), None));
}

#[test]
fn a_record_of_another_history_does_not_follow() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let ends = with_batches(&one, &[vec![b"one".to_vec()], vec![b"same".to_vec()]]);
    with_batches(&other, &[vec![b"two".to_vec()], vec![b"same".to_vec()]]);
    let second = usize::try_from(ends[1]).unwrap();
    let (mine, foreign) = (fs::read(&segments(&one)[0]).unwrap(), fs::read(&segments(&other)[0]).unwrap());
    overwrite(&segments(&one)[0], &[&mine[..second], &foreign[second..]].concat());
    let (at, offset, detail) = corruption(&one, FsOptions::default());
    assert_eq!((at, offset), (segments(&one)[0].clone(), ends[1]));
    assert!(detail.contains("follows"), "{detail}");
}

#[test]
fn a_tail_that_the_disk_never_wrote_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let batches = vec![vec![b"first".to_vec()], vec![vec![7; 3_000]]];
    let ends = with_batches(&path, &batches);
    let whole = fs::read(&segments(&path)[0]).unwrap();
    let first = usize::try_from(ends[1]).unwrap();

    let grown = [&whole[..first], &[0; 700]].concat();
    let (store, torn_tail) = reopened(&path, &grown);
    assert_eq!((journal(&store), torn_tail.unwrap().bytes), (batches[0].clone(), 700));
    drop(store);

    let mut unwritten = whole.clone();
    unwritten[2_048..].fill(0);
    let (store, torn_tail) = reopened(&path, &unwritten);
    assert_eq!((journal(&store), torn_tail.unwrap().offset), (batches[0].clone(), ends[1]));
    drop(store);

    // What is written behind the zeros has been there when they were: that is no torn tail.
    let mut holed = whole;
    holed[first..first + 28].fill(0);
    fs::write(&segments(&path)[0], &holed).unwrap();
    assert_eq!(corruption(&path, FsOptions::default()).1, ends[1]);
}

#[test]
fn segments_follow_each_other_and_any_that_is_cut_missing_or_foreign_is_corruption() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let options = small_segments(100);
    let records: Vec<Vec<u8>> = (0..20_u8).map(|index| vec![index; 30]).collect();
    let (store, _) = open(&path, options).unwrap();
    records.iter().for_each(|record| append(&store, std::slice::from_ref(record)));
    drop(store);
    let (store, report) = open(&path, options).unwrap();
    assert_eq!((journal(&store), report.journal_records, report.torn_tail), (records, 20, None));
    drop(store);
    let files = segments(&path);
    assert_eq!(files.len(), 10);
    let second = fs::read(&files[1]).unwrap();

    for cut in [0, 10, 28, 60, second.len() - 1] {
        fs::write(&files[1], &second[..cut]).unwrap();
        let (at, offset, _) = corruption(&path, options);
        assert!((at == files[1] && offset <= cut as u64) || (at == files[2] && offset == 0), "{at:?} {offset}");
    }
    fs::write(&files[1], fs::read(&files[2]).unwrap()).unwrap();
    assert_eq!(corruption(&path, options).0, files[1]);
    fs::remove_file(&files[1]).unwrap();
    let (at, _, detail) = corruption(&path, options);
    assert_eq!((at, detail.as_str()), (files[1].clone(), "the segment is missing, and later ones are there"));
    fs::write(&files[1], second).unwrap();
    open(&path, options).unwrap();
}

#[test]
fn a_power_cut_at_any_write_leaves_a_beginning_of_what_was_appended_and_all_that_was_synced() {
    let options = small_segments(100);
    for point in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let faults = Arc::new(FaultInjector::new(FaultPlan::once(point, Fault::PowerCut)));
        let (mut appended, mut synced) = (Vec::new(), 0);
        if let Ok((store, _)) = FsStore::open_on(&path, options, faulty_files(&path, &faults)) {
            for index in 0..24_u8 {
                let durability = if index % 8 == 7 { Durability::Synced } else { Durability::Os };
                appended.push(vec![index; 30]);
                if store.append(&[&[index; 30]], durability).is_err() {
                    break;
                }
                if durability == Durability::Synced {
                    synced = appended.len();
                }
            }
        }
        let (store, _) = open(&path, options).unwrap();
        let found = journal(&store);
        assert!(appended.starts_with(&found) && found.len() >= synced, "{point}: {} of {synced}", found.len());
        if faults.injected() == 0 {
            assert!(point > 50, "only {point} write points");
            break;
        }
    }
}

#[test]
fn a_segment_that_was_damaged_since_the_store_was_opened_is_noticed_by_the_replay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    with_batches(&path, &three_batches());
    let (store, _) = open(&path, FsOptions::default()).unwrap();
    let segment = &segments(&path)[0];
    let bytes = fs::metadata(segment).unwrap().len();
    OpenOptions::new().write(true).open(segment).unwrap().set_len(bytes - 1).unwrap();
    let error = store.replay(&mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("corrupt"), "{error}");
}

#[test]
fn what_a_crash_left_of_a_rewrite_and_of_puts_is_removed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    with_batches(&path, &three_batches());
    let old = segments(&path)[0].clone();
    let old_bytes = fs::read(&old).unwrap();
    let (store, report) = open(&path, FsOptions::default()).unwrap();
    assert_eq!((report.journal_records, report.journal_bytes), (6, old_bytes.len() as u64));
    store.rewrite(&mut [b"new".to_vec()].into_iter()).unwrap();
    store.put(STEP, "a", b"payload", Durability::Os).unwrap();
    drop(store);
    assert_eq!(segments(&path).len(), 1);
    let new = segments(&path)[0].clone();

    fs::write(&old, old_bytes).unwrap();
    fs::write(path.join("journal-0000000003-000000.log.0.tmp"), b"part").unwrap();
    fs::write(path.join("payloads/3/a.zst.7.tmp"), b"part").unwrap();
    fs::create_dir(path.join("payloads/4")).unwrap();
    let (store, report) = open(&path, FsOptions::default()).unwrap();
    assert_eq!((report.old_segments, report.temp_files), (1, 2));
    assert_eq!((segments(&path), journal(&store)), (vec![new], vec![b"new".to_vec()]));
    assert_eq!(store.list(STEP).unwrap().len(), 1);
    assert!(!path.join("payloads/4").exists());
    drop(store);
    let (_, report) = open(&path, FsOptions::default()).unwrap();
    assert_eq!((report.old_segments, report.temp_files), (0, 0));
}
