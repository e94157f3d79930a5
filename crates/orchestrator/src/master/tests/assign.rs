//! How far the source is cut ahead, how large chunks and tasks are, and who gets them.

use bytes::Bytes;
use elastic_flow_queue::Caller;
use elastic_flow_wire::message::digest;

use super::super::effects::{Effect, Event};
use super::{Bench, HALF, STEP, WALL, items, many_each, one_each, split_of, splits};
use crate::config::Settings;
use crate::journal::Record;

const MIB: u64 = 1 << 20;

/// What the last event asks to be cut: bytes and items of a chunk.
fn targets(bench: &Bench) -> Option<(u64, u64)> {
    bench.last.iter().find_map(|it| {
        let Effect::Cut { target_bytes, target_items, .. } = it else { return None };
        Some((*target_bytes, *target_items))
    })
}

#[test]
fn nothing_is_given_out_before_its_borders_are_durable() {
    let mut bench = Bench::open(one_each(), Some(9));
    bench.join(1, 1);
    bench.syncs = false;
    assert_eq!(bench.cut(splits(0..1), true), ["journal 1 chunks"]);
    assert!(bench.after(1_000).is_empty());
    assert_eq!(bench.sync(), ["notice w1", "assign w1 #1 [0]"]);
}

#[test]
fn the_source_is_cut_for_workers_that_are_there_and_no_further_ahead_than_they_need() {
    let settings = Settings { open_per_slot: 3, task_chunks_max: 1, ..Settings::default() };
    let mut bench = Bench::open(settings, Some(1_000));
    assert!(bench.after(1_000).is_empty(), "there is nobody to work");
    assert_eq!(bench.join(1, 2), ["cut 2"], "a chunk for each slot, to begin with");
    bench.syncs = false;
    assert_eq!(bench.cut(splits(0..2), false), ["journal 2 chunks", "cut 4"], "6 ahead, less 2");
    assert_eq!(bench.sync(), ["notice w1", "assign w1 #1 [0]", "assign w1 #2 [1]"], "one cut at a time");
    assert_eq!(bench.cut(splits(2..6), false), ["journal 4 chunks", "cut 2"]);
    assert_eq!(bench.cut(splits(6..8), false), ["journal 2 chunks"], "6 are ahead");
    assert!(bench.cut(splits(8..9), false).is_empty(), "nobody asked for that");
    let places = ["assign w1 #3 [2]", "assign w1 #4 [3]", "assign w1 #5 [4]", "assign w1 #6 [5]"];
    assert_eq!(bench.sync(), [&places[..], &["cut 4"]].concat());
    assert_eq!(bench.cut(splits(8..12), true), ["journal 4 chunks"]);
    assert!(bench.sync().is_empty(), "that was the end of it");
}

#[test]
fn a_step_that_is_ending_is_neither_cut_nor_given_out_any_further() {
    let mut bench = Bench::open(many_each(), Some(1_000));
    bench.join(1, 1);
    assert_eq!(bench.cut(splits(0..1), false), ["notice w1", "assign w1 #1 [0]", "cut 1"]);
    bench.on(Event::Cancel(2, Caller::local(), STEP));
    let conceived = bench.records.len();
    assert!(bench.cut(splits(1..2), false).is_empty());
    assert_eq!(bench.records.len(), conceived, "what is cut too late is not conceived");
    assert_eq!(bench.done(1), ["merge", "ack w1 #1", "finish"]);
}

#[test]
fn shipped_chunks_are_small_and_few_of_their_bytes_are_held() {
    let mut bench = Bench::open(many_each(), None);
    bench.join(1, 1);
    assert_eq!(targets(&bench), Some((2 * MIB, 3_000)));
    let large = |number| items(number, HALF);
    assert_eq!(bench.cut(vec![large(0)], false), ["notice w1", "assign w1 #1 [0]", "cut 1"]);
    assert_eq!(targets(&bench), Some((2 * MIB, 3_000)));
    assert!(bench.cut(vec![large(1)], false).is_empty(), "there are as many as may be");
    assert_eq!(bench.done(1), ["assign w1 #2 [1]", "merge", "ack w1 #1", "cut 4"]);
}

#[test]
fn settings_say_how_many_items_and_bytes_a_chunk_has() {
    let settings = Settings { chunk_items: 7, chunk_bytes: 100, chunk_adapts: false, ..one_each() };
    let mut bench = Bench::open(settings, Some(1 << 40));
    bench.join(1, 1);
    assert_eq!(targets(&bench), Some((100, 7)));
}

#[test]
fn chunks_take_a_quarter_of_a_second_by_the_average_of_the_last_tasks() {
    let mut bench = Bench::open(one_each(), Some(1 << 40));
    bench.join(1, 1);
    assert_eq!(targets(&bench), Some((16 * MIB, 3_000)), "nothing is known yet");
    bench.cut(vec![split_of(0, 1_000_000)], false);
    let mut next = |attempt: u64, nanos: u64| {
        bench.done_in(attempt, nanos);
        // The fourth chunk is empty: it tells nothing of a byte's time.
        bench.cut(vec![split_of(attempt, if attempt == 3 { 0 } else { 1_000_000 })], false);
        targets(&bench).unwrap().0
    };
    assert_eq!(next(1, 1_000_000), 64 * MIB, "1 ns a byte would make 250 MB");
    assert_eq!(next(2, 11_000_000), 62_500_000, "11 ns a byte, of which three tenths count");
    assert_eq!(next(3, 14_000_000), 35_714_285);
    assert_eq!(next(4, 1_000_000_000), 35_714_285);
    assert_eq!(next(5, 1_000_000_000), MIB, "307 ns a byte on the average would make 814 kB");
}

#[test]
fn chunks_become_smaller_towards_the_end_of_the_source() {
    let mut bench = Bench::open(one_each(), Some(128 * MIB));
    bench.join(1, 2);
    assert_eq!(targets(&bench), Some((16 * MIB, 3_000)), "a quarter of each slot's share");
    bench.cut(vec![split_of(0, 16 * MIB), split_of(1, 16 * MIB)], false);
    assert_eq!(targets(&bench), Some((12 * MIB, 3_000)));
}

#[test]
fn a_task_has_its_share_of_the_chunks_up_to_a_number_and_128_mib() {
    let chunks = |bench: &Bench| bench.tasks.values().map(|(_, it)| it.chunks.len()).collect::<Vec<_>>();
    assert_eq!(chunks(&Bench::running(many_each(), &[1], splits(0..20))), [8]);
    assert_eq!(chunks(&Bench::running(many_each(), &[1, 1], splits(0..6))), [3, 2], "of 6 and of the 3 that are left");
    let few = Settings { task_chunks_max: 3, ..many_each() };
    assert_eq!(chunks(&Bench::running(few, &[1], splits(0..20))), [3]);
    let large = (0..4).map(|it| split_of(it, 64 * MIB)).collect();
    assert_eq!(chunks(&Bench::running(many_each(), &[1], large)), [2]);
}

#[test]
fn a_chunk_that_waits_for_a_certain_worker_holds_up_no_other() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..4));
    bench.failed(1, Some(0));
    assert!(bench.after(100).is_empty());
    assert_eq!(bench.done(3), ["assign w1 #4 [3]", "merge", "ack w1 #3"], "chunk 0 waits for worker 2");
    assert_eq!(bench.done(2), ["assign w2 #5 [0]", "merge", "ack w2 #2"]);
}

#[test]
fn a_worker_is_told_of_a_step_once_and_its_open_chunks_are_counted() {
    let settings = Settings { open_per_slot: 2, ..Settings::default() };
    let mut bench = Bench::running(settings, &[1], splits(0..6));
    assert_eq!(bench.core.open_chunks(), 5, "3 of 6 and 2 of the 3 that are left");
    assert_eq!(bench.core.node_views()[0].open_chunks, 5);
    assert_eq!(bench.done(1), ["assign w1 #3 [5]", "merge", "ack w1 #1"]);
    assert_eq!(bench.core.open_chunks(), 3);
}

#[test]
fn every_station_of_a_chunk_is_in_the_audit() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..3));
    let rows = bench.core.audit(STEP).unwrap().rows;
    assert_eq!([rows.distributed, rows.sent, rows.received].map(|it| it.receipts), [1, 1, 0]);
    for attempt in 1..=3 {
        bench.done(attempt);
    }
    let audit = bench.core.audit(STEP).unwrap();
    let rows = audit.rows;
    let passed = [rows.distributed, rows.sent, rows.received, rows.processed, rows.returned, rows.aggregated];
    assert_eq!(passed.map(|it| it.receipts), [3; 6]);
    assert!(audit.balanced(), "{audit}");
}

#[test]
fn the_journal_has_the_borders_of_items_and_their_digest_but_not_the_items() {
    let mut bench = Bench::open(one_each(), None);
    bench.join(1, 1);
    bench.cut(vec![items(0, 100), split_of(1, 1)], true);
    let Some(Record::Conceived(record)) = bench.records.last() else { panic!("{:?}", bench.records) };
    let [of_items, of_file] = &record.chunks[..] else { panic!("{record:?}") };
    assert_eq!((&of_items.cut.payload.body, of_items.digest), (&Bytes::new(), digest(&[7; 100])));
    assert_eq!(of_file.cut, split_of(1, 1));
    assert_eq!((record.at, record.exhausted), (WALL, true));
    let sent = &bench.tasks[&1].1.chunks[0].payload.body;
    assert_eq!(sent.len(), 100);
}
