//! What a master knows after a restart.

use std::time::Duration;

use bytes::Bytes;
use elastic_flow_queue::{Caller, QueueRecord, StepErrorKind, StepEvent, StepState};
use elastic_flow_receipt::StepId;
use elastic_flow_wire::message::{Payload, PayloadKind, digest};

use super::super::effects::{Effect, Event, Open, Opened};
use super::super::recover::Recovery;
use super::{Bench, HALF, STEP, config, file, items, many_each, one_each, split_of, splits};
use crate::api::DeadLetterFilter;
use crate::config::Settings;
use crate::journal::{ClusterRecord, Record};

/// Master, worker and chunks: 0 is done, 1 is set aside, 2 is open, 3 waits for its turn; the source goes on.
fn half_way(payload: fn(u64) -> elastic_flow_dataflow::seam::Cut) -> Bench {
    let mut bench = Bench::open(Settings { max_attempts: 1, max_skips: 1, ..one_each() }, Some(5));
    bench.join(1, 1);
    bench.cut((0..4).map(payload).collect(), false);
    bench.done(1);
    bench.failed(2, Some(1));
    assert_eq!(bench.tasks.len(), 3);
    bench
}

fn settings() -> Settings {
    Settings { max_attempts: 1, max_skips: 1, ..one_each() }
}

fn split(number: u64) -> elastic_flow_dataflow::seam::Cut {
    split_of(number, 1)
}

fn item(number: u64) -> elastic_flow_dataflow::seam::Cut {
    items(number, 1)
}

fn opened(bench: &Bench) -> &Open {
    let open = bench.last.iter().find_map(|it| {
        let Effect::Open(open) = it else { return None };
        Some(open)
    });
    open.unwrap()
}

/// Ids of steps whose sources a journal that is written anew would have.
fn sources(bench: &Bench) -> Vec<u64> {
    let records = bench.core.snapshot(ClusterRecord { incarnation: 1, epoch: 2 });
    let source = |it: &Record| {
        let Record::Source(source) = it else { return None };
        Some(source.step.0)
    };
    records.iter().filter_map(source).collect()
}

#[test]
fn a_step_goes_on_where_it_was() {
    let (mut next, shown) = half_way(split).again(settings());
    assert_eq!(shown, ["open"]);
    let open = opened(&next);
    assert_eq!((open.step, &open.source[..], open.exhausted), (STEP, &b"the source"[..], false));
    let before: Vec<_> =
        open.cut_before.iter().map(|it| (it.cut.clone(), it.digest, it.from_source, it.wanted)).collect();
    let wanted: Vec<_> = (0..4).map(|it| (split(it), digest(b"where it is"), true, false)).collect();
    assert_eq!(before, wanted);
    let progress = next.core.progress(next.now).unwrap().1;
    assert_eq!((progress.chunks, progress.chunks_done, progress.chunks_set_aside), (4, 1, 1));
    assert_eq!((progress.entries_done, progress.bytes_done, progress.bytes_total), (1, 1, Some(5)));
    let failure = &next.core.failures(STEP).unwrap()[0];
    assert_eq!((failure.message.as_str(), failure.item, failure.attempts), ("attempt 2 failed", Some(5), 1));
    assert_eq!((failure.node.as_str(), failure.set_aside), ("w1", true));
    let letters = next.core.dead_letters(STEP, DeadLetterFilter::default()).unwrap();
    assert_eq!(
        letters.iter().map(|it| (it.receipt.sequence, it.error.as_str())).collect::<Vec<_>>(),
        [(1, "attempt 2 failed")]
    );

    next.on(Event::Opened(STEP, Ok(file(Some(5)))));
    assert_eq!(next.join(1, 1), ["notice w1", "assign w1 #1 [2]"]);
    assert_eq!(next.done(1), ["assign w1 #2 [3]", "cut 1", "merge", "ack w1 #1"]);
    assert!(next.cut(vec![split(4)], true).is_empty());
    next.done(2);
    assert_eq!(next.done(3), ["merge", "ack w1 #3", "finish"]);
    let audit = next.core.audit(STEP).unwrap();
    assert!(audit.balanced(), "{audit}");
    let rows = audit.rows;
    let passed = [rows.distributed, rows.sent, rows.received, rows.processed, rows.returned, rows.aggregated];
    assert_eq!(passed.map(|it| it.receipts), [4; 6], "those of the former life too");
    assert_eq!(audit.stopped.receipts[0].error.as_deref(), Some("attempt 2 failed"));
    assert_eq!(next.finish(), ["release w1", "ended COMPLETED_WITH_SKIPS"]);
}

#[test]
fn a_step_that_another_build_began_is_not_gone_on_with_and_can_be_replayed() {
    let bench = half_way(split);
    let (mut next, _) = bench.again(settings());
    next.core.build = 8;
    next.on(Event::Opened(STEP, Ok(file(Some(5)))));
    assert_eq!(next.last.iter().filter(|it| matches!(it, Effect::Finish { .. })).count(), 1);
    next.finish();
    let step = next.core.queue().get(STEP).unwrap();
    assert_eq!((step.state, step.error_kind()), (StepState::Failed, Some(StepErrorKind::Program)));
    let reason = step.reason.as_deref().unwrap();
    assert!(reason.contains("begun by build 00000000") && reason.contains("replay it"), "{reason}");

    let (mut mixed, _) = half_way(split).again(Settings { allow_mixed_builds: true, ..settings() });
    mixed.core.build = 8;
    mixed.on(Event::Opened(STEP, Ok(file(Some(5)))));
    assert_eq!(mixed.core.running(), Some(STEP), "the plan is the same, and that was said to do");
    assert!(mixed.last.iter().all(|it| !matches!(it, Effect::Finish { .. })));
}

#[test]
fn a_source_that_was_cut_to_its_end_is_not_cut_again() {
    let bench = Bench::running(one_each(), &[1], splits(0..2));
    let (mut next, _) = bench.again(one_each());
    assert!(opened(&next).exhausted);
    next.on(Event::Opened(STEP, Ok(file(Some(2)))));
    assert_eq!(next.join(1, 1), ["notice w1", "assign w1 #1 [0]"]);
    next.done(1);
    assert_eq!(next.done(2), ["merge", "ack w1 #2", "finish"]);
}

#[test]
fn payloads_that_were_lost_are_wanted_again_where_their_chunks_are_not_over() {
    let (mut next, _) = half_way(item).again(many_each());
    let before = &opened(&next).cut_before;
    let wanted: Vec<_> = before.iter().map(|it| (it.wanted, it.cut.payload.body.len(), it.digest)).collect();
    let digest = digest(&[7]);
    assert_eq!(wanted, [(false, 0, digest), (false, 0, digest), (true, 0, digest), (true, 0, digest)]);
    next.join(1, 1);
    let large = || Payload { kind: PayloadKind::Items, body: Bytes::from(vec![7; HALF]) };
    let refilled = [2, 3].map(|it| (next.receipt(it), large())).to_vec();
    let shown = next.on(Event::Opened(STEP, Ok(Opened { refilled, ..file(None) })));
    assert_eq!(shown, ["notice w1", "assign w1 #1 [2, 3]"], "as much as may be is held: nothing more is cut");
    assert_eq!(next.tasks[&1].1.chunks[0].payload, large());
    assert_eq!(next.done(1), ["merge", "ack w1 #1", "cut 4"]);
}

#[test]
fn a_payload_that_comes_again_for_a_chunk_that_is_over_is_let_go() {
    let mut bench = half_way(item);
    let late = Payload { kind: PayloadKind::Items, body: Bytes::from(vec![7; 64 << 20]) };
    let receipt = bench.receipt(0);
    bench.core.run.as_mut().unwrap().refill(&receipt, late, bench.now);
    let run = bench.core.run.as_ref().unwrap();
    assert_eq!((run.chunk(0).unwrap().cut.payload.body.len(), run.shipped_bytes), (0, 2));
}

#[test]
fn a_cancel_outlives_a_restart() {
    let mut bench = half_way(split);
    bench.on(Event::Cancel(2, Caller::local(), STEP));
    let (mut next, shown) = bench.again(settings());
    assert_eq!(shown, ["open"]);
    assert_eq!(next.on(Event::Opened(STEP, Ok(file(Some(5))))), ["finish"]);
    assert_eq!(next.finish(), ["ended CANCELLED"]);
}

#[test]
fn a_step_that_was_interrupted_is_resumed() {
    let mut bench = half_way(split);
    bench.on(Event::Interrupt);
    assert_eq!(bench.core.queue().get(STEP).unwrap().state, StepState::Interrupted);
    let (next, shown) = bench.again(settings());
    assert_eq!(shown, ["open"]);
    assert_eq!(next.core.queue().get(STEP).unwrap().state, StepState::Running);
    let Some(Record::Queue(QueueRecord::Transition { event, .. })) = next.records.last() else {
        panic!("{:?}", next.records)
    };
    assert_eq!(*event, StepEvent::Resume);
}

#[test]
fn an_end_that_is_durable_is_an_end_whether_or_not_the_step_was_closed() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.done(1);
    assert_eq!(sources(&bench), [1]);
    bench.finish();
    assert!(matches!(bench.records.last(), Some(Record::Closed(_))));
    let mut torn = Bench::new(config(one_each()));
    torn.records = bench.records[..bench.records.len() - 1].to_vec();
    for bench in [torn, bench] {
        let (next, shown) = bench.again(one_each());
        assert!(shown.is_empty(), "{shown:?}");
        assert_eq!(next.core.running(), None);
        assert_eq!(next.core.queue().get(STEP).unwrap().state, StepState::Completed);
        assert!(sources(&next).is_empty(), "what is over needs no source");
    }
}

#[test]
fn a_step_that_waits_outlives_a_restart_with_its_source() {
    let mut bench = half_way(split);
    bench.submit(elastic_flow_queue::StepSpec::new("q"));
    let (next, _) = bench.again(settings());
    assert_eq!(next.core.queue().get(StepId(2)).unwrap().state, StepState::Pending);
    assert_eq!(sources(&next), [1, 2]);
}

#[test]
fn the_time_of_a_step_is_that_of_its_present_life() {
    let mut bench = half_way(split);
    bench.now += Duration::from_secs(60);
    let (mut next, _) = bench.again(settings());
    next.now += Duration::from_secs(5);
    assert_eq!(next.core.progress(next.now).unwrap().1.elapsed_nanos, 5_000_000_000);
}

#[test]
fn a_journal_whose_records_do_not_follow_from_each_other_is_refused() {
    let start = Record::Queue(QueueRecord::Transition {
        id: StepId(4),
        event: StepEvent::Start,
        wall: 1,
        reason: None,
        by: None,
    });
    assert!(Recovery::new(config(one_each()), 2).apply(&start).is_err());
}
