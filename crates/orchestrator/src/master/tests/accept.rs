//! Which results count.

use elastic_flow_wire::message::{Message, Outcome, SkippedItem};

use super::super::effects::{Effect, Event};
use super::{Bench, STEP, many_each, one_each, splits};
use crate::config::Settings;
use crate::journal::Record;

fn done_records(bench: &Bench) -> usize {
    bench.records.iter().filter(|it| matches!(it, Record::Done(_))).count()
}

#[test]
fn a_result_is_merged_and_acknowledged_when_its_record_is_durable_and_not_before() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..2));
    bench.syncs = false;
    assert_eq!(bench.done(1), ["journal done [0]", "assign w1 #2 [1]"]);
    assert_eq!(bench.sync(), ["merge", "ack w1 #1"]);
}

#[test]
fn a_second_result_for_a_chunk_is_dropped_counted_and_acknowledged_when_the_first_is_durable() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..2));
    bench.syncs = false;
    bench.done(1);
    assert!(bench.done(1).is_empty(), "the first is not durable yet");
    bench.sync();
    assert_eq!(bench.done(1), ["ack w1 #1"]);
    assert_eq!((bench.core.totals().duplicates, bench.core.totals().stale), (2, 0));
    assert_eq!(bench.core.audit(STEP).unwrap().rows.duplicate_dropped.receipts, 2);
    assert_eq!(done_records(&bench), 1);
}

#[test]
fn a_result_that_lost_to_a_chunk_set_aside_is_acknowledged_when_that_is_durable() {
    let settings = Settings { max_attempts: 1, ..many_each() };
    let mut bench = Bench::running(settings, &[1], splits(0..2));
    let lost = bench.attempt(1);
    assert_eq!(bench.tasks[&1].1.chunks.len(), 2);
    bench.lose(1);
    assert_eq!(bench.join(2, 1), ["notice w2", "assign w2 #2 [0, 1]"]);
    bench.syncs = false;
    let failed = bench.failed(2, Some(0));
    assert!(failed.contains(&"journal".to_owned()), "chunk 0 is set aside: {failed:?}");
    bench.join(1, 1);
    let acknowledged = format!("ack w1 #{}", lost.number);
    assert!(!bench.done(1).contains(&acknowledged), "a crash could still take back that chunk 0 is set aside");
    assert!(bench.sync().contains(&acknowledged));
}

#[test]
fn a_result_of_a_step_that_is_over_or_of_another_step_is_stale_and_acknowledged() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    let mut foreign =
        bench.result(1, Outcome::Done { chunks: bench.reads(1), segments: Vec::new(), nanos: 1, skips: Vec::new() });
    foreign.step.0 += 8;
    foreign.attempt.number = 9;
    assert_eq!(bench.on(Event::Result(bench.tasks[&1].0, foreign)), ["ack w1 #9"]);
    assert_eq!(bench.done(1), ["merge", "ack w1 #1", "finish"]);
    assert!(bench.done(1).is_empty(), "a crash could still take the end back");
    bench.finish();
    assert_eq!(bench.done(1), ["ack w1 #1"]);
    assert_eq!((bench.core.totals().stale, bench.core.totals().duplicates), (3, 0));
    assert_eq!(done_records(&bench), 1);
}

#[test]
fn a_result_that_is_not_whole_counts_for_nothing_and_its_chunks_are_done_again() {
    let mut bench = Bench::running(many_each(), &[1], splits(0..2));
    for attempt in 1..=4 {
        let mut reads = bench.reads(attempt);
        let mut foreign = reads[1].receipt;
        foreign.check ^= 1;
        match attempt {
            1 => drop(reads.pop()),
            2 => reads.swap(0, 1),
            3 => reads[1].receipt = foreign,
            _ => {}
        }
        let skip = SkippedItem { receipt: foreign, item: 0, error: "no".to_owned(), kept: None };
        let skips = if attempt == 4 { vec![skip] } else { Vec::new() };
        let outcome = Outcome::Done { chunks: reads.clone(), segments: Vec::new(), nanos: 1, skips };
        let mut result = bench.result(attempt, outcome);
        if attempt == 3 {
            result.receipts[1] = foreign;
        }
        let (answered, again) = (format!("ack w1 #{attempt}"), format!("assign w1 #{} [0, 1]", attempt + 1));
        assert_eq!(bench.on(Event::Result(bench.tasks[&attempt].0, result)), [answered, again]);
    }
    let mut empty =
        bench.result(5, Outcome::Done { chunks: Vec::new(), segments: Vec::new(), nanos: 1, skips: Vec::new() });
    (empty.attempt.number, empty.receipts) = (9, Vec::new());
    assert_eq!(bench.on(Event::Result(bench.tasks[&5].0, empty)), ["ack w1 #9"]);
    assert_eq!(done_records(&bench), 0);
}

#[test]
fn the_first_result_wins_and_attempts_that_lost_are_revoked_and_their_other_chunks_done_again() {
    let mut bench = Bench::running(many_each(), &[1, 1], splits(0..2));
    assert_eq!(bench.tasks.len(), 2, "a chunk each");
    bench.lose(1);
    bench.lose(2);
    assert_eq!(bench.join(3, 1), ["notice w3", "assign w3 #3 [0, 1]"]);
    bench.join(1, 1);
    assert_eq!(bench.done(1), ["revoke w3 #3", "notice w1", "assign w1 #4 [1]", "merge", "ack w1 #1"]);
    let open: Vec<u64> = bench.core.node_views().iter().map(|it| it.open_chunks).collect();
    assert_eq!(open, [1, 0], "worker 3 has a free place again");
    assert_eq!(bench.done(3), ["ack w3 #3"], "it had been finished before the word reached it");
    assert_eq!(bench.done(4), ["merge", "ack w1 #4", "finish"]);
}

#[test]
fn a_task_that_is_given_back_late_is_not_taken_from_its_new_worker() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..1));
    bench.lose(1);
    assert_eq!(bench.tasks[&2].0.0, 2);
    bench.join(1, 1);
    assert_eq!(bench.answer(1, Outcome::HandedBack), ["ack w1 #1"]);
    assert_eq!(bench.answer(2, Outcome::HandedBack), ["ack w2 #2", "notice w1", "assign w1 #3 [0]"]);
}

#[test]
fn what_a_worker_has_not_is_shipped_and_uses_no_attempt() {
    let mut cuts = splits(0..2);
    cuts[1].covers[0].part = 1;
    let mut bench = Bench::running(many_each(), &[1], cuts);
    assert_eq!(bench.not_here(1, &[1]), ["ack w1 #1", "assign w1 #2 [0]"], "it is asked for the other file alone");
    assert_eq!(bench.done(2), ["ship 1", "merge", "ack w1 #2"]);
    assert_eq!(bench.shipped(1, Ok(b"one")), ["assign w1 #3 [1]"]);
    assert_eq!(bench.tasks[&3].1.chunks[0].payload.body, "one");
    assert!(bench.shipped(1, Err("gone")).is_empty(), "nobody asked for it any more");
    assert_eq!(bench.done(3), ["merge", "ack w1 #3", "finish"]);
    let rows = bench.core.audit(STEP).unwrap().rows;
    assert_eq!((rows.aggregated.receipts, rows.failed.receipts), (2, 0));
}

#[test]
fn no_second_worker_is_asked_for_what_one_has_not_and_no_more_is_shipped_than_there_are_places() {
    let mut bench = Bench::running(many_each(), &[1], splits(0..3));
    assert_eq!(bench.not_here(1, &[0, 1, 2]), ["ack w1 #1", "ship 0"]);
    assert_eq!(bench.join(2, 1), ["ship 1"], "it may have the file, and is sent its bytes all the same");
    assert_eq!(bench.shipped(1, Ok(b"one")), ["assign w1 #2 [1]"]);
    assert_eq!(bench.shipped(0, Ok(b"zero")), ["notice w2", "assign w2 #3 [0]"]);
    assert_eq!(bench.done(2), ["ship 2", "merge", "ack w1 #2"]);
}

#[test]
fn a_chunk_that_the_master_has_not_either_is_set_aside_by_name() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.not_here(1, &[0]);
    assert_eq!(bench.shipped(0, Err("f is gone")), ["finish"]);
    let failures = bench.core.failures(STEP).unwrap();
    assert_eq!(failures.len(), 1);
    let failure = &failures[0];
    assert_eq!((failure.node.as_str(), failure.message.as_str(), failure.attempts), ("master", "f is gone", 0));
    assert!(failure.set_aside);
    assert_eq!(bench.finish(), ["release w1", "ended FAILED"]);
    assert!(bench.core.step_view(STEP, bench.now).unwrap().reason.unwrap().contains("f is gone"));
}

#[test]
fn an_attempt_that_its_worker_does_not_hold_is_revoked_and_given_out_again_with_its_notice() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    let pulse = |holding| Event::Pulse { node: bench.tasks[&1].0, holding };
    let (without, with) = (pulse(Vec::new()), pulse(vec![bench.attempt(1)]));
    let (again, late) = (pulse(Vec::new()), pulse(Vec::new()));
    bench.after(2_999);
    assert!(bench.on(without).is_empty(), "it may be on its way");
    bench.after(1);
    assert!(bench.on(with).is_empty());
    assert_eq!(bench.on(again), ["revoke w1 #1", "notice w1", "assign w1 #2 [0]"]);
    assert!(bench.on(late).is_empty(), "the new one may be on its way as well");
    assert_eq!(bench.core.step_view(STEP, bench.now).unwrap().progress.unwrap().retried, 1);
}

#[test]
fn a_released_worker_is_told_of_the_next_step_before_its_first_task() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.done(1);
    bench.finish();
    bench.submit(elastic_flow_queue::StepSpec::new("q"));
    bench.on(Event::Opened(elastic_flow_receipt::StepId(2), Ok(super::file(Some(1)))));
    let step = elastic_flow_receipt::StepId(2);
    let shown = bench.on(Event::Cut { step, cuts: splits(0..1), exhausted: true });
    assert_eq!(shown, ["notice w1", "assign w1 #2 [0]"]);
    let told = bench.last.iter().find_map(|it| {
        let Effect::Send(_, Message::Notice(notice)) = it else { return None };
        Some((notice.step, notice.program.clone(), notice.plan))
    });
    assert_eq!(told, Some((step, "q".to_owned(), 8)));
}
