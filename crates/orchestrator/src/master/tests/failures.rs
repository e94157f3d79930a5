//! What becomes of chunks that fail, or whose workers are lost.

use std::time::Duration;

use elastic_flow_queue::{Caller, StepErrorKind, StepState};
use elastic_flow_wire::message::{FailureKind, Outcome};

use super::super::effects::{Cause, Event};
use super::{Bench, STEP, items, many_each, one_each, splits};
use crate::api::ReceiptFilter;
use crate::config::Settings;
use crate::journal::Record;

#[test]
fn a_task_that_fails_nobody_knows_where_is_halved_down_to_the_chunk() {
    let mut bench = Bench::running(many_each(), &[1], splits(0..8));
    assert_eq!(bench.failed(1, None), ["ack w1 #1", "assign w1 #2 [0, 1, 2, 3]"]);
    assert_eq!(bench.done(2), ["assign w1 #3 [4, 5, 6, 7]", "merge", "ack w1 #2"]);
    assert_eq!(bench.failed(3, None), ["ack w1 #3", "assign w1 #4 [4, 5]"]);
    assert_eq!(bench.failed(4, None), ["ack w1 #4", "assign w1 #5 [4]"]);
    assert_eq!(bench.failed(5, None), ["ack w1 #5", "assign w1 #6 [5]"], "chunk 4 is to blame and waits");
    assert!(bench.after(100).is_empty());
    assert_eq!(bench.done(6), ["assign w1 #7 [4]", "merge", "ack w1 #6"]);
    assert_eq!(bench.done(7), ["assign w1 #8 [6, 7]", "merge", "ack w1 #7"]);
    let failures = bench.core.failures(STEP).unwrap();
    let told: Vec<_> = failures.iter().map(|it| (it.receipt.map(|it| it.sequence), it.attempts)).collect();
    assert_eq!(told, [(None, 0), (None, 0), (None, 0), (Some(4), 1)]);
}

#[test]
fn a_chunk_that_failed_is_alone_in_its_next_task() {
    let mut bench = Bench::running(many_each(), &[1], splits(0..3));
    assert_eq!(bench.failed(1, Some(1)), ["ack w1 #1", "assign w1 #2 [0, 2]"]);
    bench.after(100);
    assert_eq!(bench.answer(2, Outcome::HandedBack), ["ack w1 #2", "assign w1 #3 [0]"]);
    assert_eq!(bench.done(3), ["assign w1 #4 [1]", "merge", "ack w1 #3"]);
}

#[test]
fn a_task_has_no_more_chunks_than_any_of_them_may_have_beside_it() {
    let mut bench = Bench::running(many_each(), &[1, 1], splits(0..6));
    assert_eq!(bench.failed(2, None), ["ack w2 #2", "assign w2 #3 [3]"], "of 3 and 4, which are halved");
    bench.lose(1);
    assert_eq!(bench.done(3), ["assign w2 #4 [0, 1, 2]", "merge", "ack w2 #3"], "chunk 4 is not to be among so many");
    assert_eq!(bench.done(4), ["assign w2 #5 [4]", "merge", "ack w2 #4"]);
}

#[test]
fn a_failure_names_only_a_chunk_of_its_own_task() {
    let mut bench = Bench::running(many_each(), &[1, 1], splits(0..4));
    assert_eq!(bench.failed(1, Some(2)), ["ack w1 #1", "assign w1 #3 [0]"], "it is halved, as if nobody knew");
    assert_eq!(bench.done(2), ["assign w2 #4 [1]", "merge", "ack w2 #2"]);
}

#[test]
fn the_wait_before_the_next_attempt_doubles_up_to_32_times_the_first() {
    let mut bench = Bench::running(Settings { max_attempts: 9, ..one_each() }, &[1], splits(0..1));
    for (attempt, millis) in (1..).zip([100, 200, 400, 800, 1_600, 3_200, 3_200, 3_200]) {
        assert_eq!(bench.failed(attempt, Some(0)), [format!("ack w1 #{attempt}")]);
        assert_eq!(bench.core.next_deadline(), Some(bench.now + Duration::from_millis(millis)));
        assert!(bench.after(millis - 1).is_empty());
        assert_eq!(bench.after(1), [format!("assign w1 #{} [0]", attempt + 1)]);
    }
}

#[test]
fn a_chunk_is_set_aside_after_so_many_attempts_where_there_is_one_worker() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    for attempt in 1..=3 {
        bench.failed(attempt, Some(0));
        bench.after(1_000);
    }
    assert_eq!(bench.failed(4, Some(0)), ["ack w1 #4", "finish"]);
    let Some(Record::SetAside(record)) = bench.records.iter().find(|it| matches!(it, Record::SetAside(_))) else {
        panic!("{:?}", bench.records)
    };
    assert_eq!((record.failures, record.item, record.node.as_str()), (4, Some(5), "w1"));
}

#[test]
fn one_sick_worker_does_not_condemn_a_chunk_where_there_are_two() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    for attempt in 1..=3 {
        bench.failed(attempt, Some(0));
        bench.after(1_000);
    }
    bench.join(2, 1);
    assert_eq!(bench.failed(4, Some(0)), ["ack w1 #4"]);
    assert_eq!(bench.after(1_000), ["notice w2", "assign w2 #5 [0]"]);
    assert_eq!(bench.failed(5, Some(0)), ["ack w2 #5", "finish"]);
}

#[test]
fn a_chunk_is_set_aside_after_twice_as_many_attempts_whatever_other_workers_come_and_go() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    for attempt in 1..=7 {
        bench.join(2, 1);
        assert_eq!(bench.failed(attempt, Some(0)), [format!("ack w1 #{attempt}")]);
        bench.lose(2);
        bench.after(3_200);
    }
    bench.join(2, 1);
    assert_eq!(bench.failed(8, Some(0)), ["ack w1 #8", "finish"]);
}

#[test]
fn the_error_that_set_a_chunk_aside_is_the_reason_and_not_one_that_was_overcome() {
    let mut bench = Bench::running(Settings { max_attempts: 2, ..one_each() }, &[1], splits(0..2));
    bench.failed(1, Some(0));
    bench.after(100);
    bench.failed(2, Some(1));
    bench.done(3);
    bench.after(100);
    assert_eq!(bench.failed(4, Some(1)), ["ack w1 #4", "finish"]);
    assert_eq!(bench.finish(), ["release w1", "ended FAILED"]);
    let reason = bench.core.step_view(STEP, bench.now).unwrap().reason.unwrap();
    assert!(reason.starts_with("1 chunk was set aside, 0 may be (retry.max_skips): attempt 4 failed"), "{reason}");
}

/// The kind of the step, and of the same step as a master knows it that has only the journal.
fn kind_of(bench: Bench) -> Option<StepErrorKind> {
    let live = bench.core.step_view(STEP, bench.now).unwrap().error_kind;
    let (next, _) = bench.again(one_each());
    assert_eq!(next.core.step_view(STEP, next.now).unwrap().error_kind, live, "after a restart");
    live
}

#[test]
fn where_nothing_may_be_left_out_the_kind_of_the_error_is_what_befell_the_first_chunk() {
    for (failure, kind) in [
        (FailureKind::User, StepErrorKind::UserError),
        (FailureKind::Panic, StepErrorKind::UserPanic),
        (FailureKind::Source, StepErrorKind::Input),
        (FailureKind::SourceChanged, StepErrorKind::Input),
        (FailureKind::Decode, StepErrorKind::Input),
        (FailureKind::Program, StepErrorKind::Program),
        (FailureKind::Resource, StepErrorKind::Resources),
        (FailureKind::Fail, StepErrorKind::ProgramEnded),
        (FailureKind::Skips, StepErrorKind::Skips),
    ] {
        let mut bench = Bench::running(Settings { max_attempts: 1, ..one_each() }, &[1], splits(0..1));
        bench.fails_as(failure, 1, Some(0));
        bench.finish();
        assert_eq!(kind_of(bench), Some(kind), "{failure:?}");
    }
}

#[test]
fn where_something_may_be_left_out_the_kind_of_the_error_is_that_it_was_too_much() {
    let settings = Settings { max_skips: 1, max_attempts: 1, ..one_each() };
    let mut bench = Bench::running(settings, &[1], splits(0..2));
    bench.failed(1, Some(0));
    bench.failed(2, Some(1));
    bench.finish();
    assert_eq!(kind_of(bench), Some(StepErrorKind::Skips));
}

#[test]
fn a_restart_between_what_befell_a_chunk_and_the_end_of_its_step_changes_no_kind() {
    let mut bench = Bench::running(Settings { max_attempts: 1, ..one_each() }, &[1], splits(0..2));
    bench.fails_as(FailureKind::Panic, 1, Some(0));
    let (mut next, _) = bench.again(Settings { max_attempts: 1, ..one_each() });
    next.on(Event::Opened(STEP, Ok(super::file(Some(2)))));
    next.join(1, 1);
    next.failed(1, Some(1));
    next.finish();
    assert_eq!(kind_of(next), Some(StepErrorKind::UserPanic), "the second failed with an error");
}

#[test]
fn what_fails_beside_the_chunks_has_a_kind_of_its_own() {
    let cause = |kind| Cause::new(kind, "it broke");
    let merge = Event::MergeFailed(STEP, cause(StepErrorKind::Aggregate));
    let cut = Event::CutFailed(STEP, cause(StepErrorKind::Input));
    for (event, kind) in [(merge, StepErrorKind::Aggregate), (cut, StepErrorKind::Input)] {
        let mut bench = Bench::running(one_each(), &[1], splits(0..1));
        bench.on(event);
        bench.done(1);
        bench.finish();
        assert_eq!(kind_of(bench), Some(kind));
    }
    let mut unkept = Bench::running(one_each(), &[1], splits(0..1));
    unkept.done(1);
    unkept.on(Event::Finished(STEP, Err(cause(StepErrorKind::Store))));
    assert_eq!(kind_of(unkept), Some(StepErrorKind::Store));

    let mut deserted = Bench::open(one_each(), None);
    deserted.after(60_000);
    deserted.finish();
    assert_eq!(kind_of(deserted), Some(StepErrorKind::NoWorkers));

    let mut cancelled = Bench::running(one_each(), &[1], splits(0..1));
    cancelled.on(Event::Cancel(2, Caller::local(), STEP));
    cancelled.done(1);
    assert_eq!(cancelled.core.step_view(STEP, cancelled.now).unwrap().error_kind, None, "not before its end");
    cancelled.finish();
    assert_eq!(kind_of(cancelled), Some(StepErrorKind::Cancelled));

    let mut completed = Bench::running(one_each(), &[1], splits(0..1));
    completed.done(1);
    completed.finish();
    assert_eq!(kind_of(completed), None);
}

#[test]
fn as_many_chunks_as_may_be_are_skipped_and_no_more() {
    for (max_skips, state) in [(1, StepState::Failed), (2, StepState::CompletedWithSkips)] {
        let settings = Settings { max_skips, max_attempts: 1, ..one_each() };
        let mut bench = Bench::running(settings, &[1], splits(0..3));
        bench.failed(1, Some(0));
        bench.failed(2, Some(1));
        bench.done(3);
        assert_eq!(bench.finish(), ["release w1".to_owned(), format!("ended {state}")]);
    }
}

#[test]
fn items_are_kept_in_the_store_when_something_goes_wrong_with_them_and_once() {
    let mut bench = Bench::running(one_each(), &[1], vec![items(0, 10)]);
    assert_eq!(bench.failed(1, Some(0)), ["ack w1 #1", "keep 0"]);
    bench.after(100);
    assert_eq!(bench.failed(2, Some(0)), ["ack w1 #2"]);

    let mut lost = Bench::running(one_each(), &[1], vec![items(0, 10)]);
    assert_eq!(lost.lose(1), ["keep 0"]);

    let mut aside = Bench::running(Settings { max_attempts: 1, ..one_each() }, &[1], vec![items(0, 10)]);
    assert_eq!(aside.failed(1, Some(0)), ["ack w1 #1", "keep 0", "finish"]);

    let always = Settings { keep_payloads_always: true, ..one_each() };
    let mut bench = Bench::open(always, None);
    bench.join(1, 1);
    bench.syncs = false;
    assert_eq!(bench.cut(vec![items(0, 10)], true), ["keep 0", "journal 1 chunks"], "before it is sent");
}

#[test]
fn a_chunk_that_was_open_on_three_lost_workers_runs_alone_and_a_fourth_loss_sets_it_aside() {
    let mut bench = Bench::running(many_each(), &[1], splits(0..3));
    for (worker, attempt) in [(2, 2), (3, 3)] {
        assert!(bench.lose(worker - 1).is_empty());
        assert_eq!(
            bench.join(worker, 1),
            [format!("notice w{worker}"), format!("assign w{worker} #{attempt} [0, 1, 2]")]
        );
    }
    bench.lose(3);
    assert_eq!(bench.join(4, 2), ["notice w4", "assign w4 #4 [0]"], "the others wait for an idle worker");
    assert!(bench.lose(4).is_empty());
    assert_eq!(bench.join(5, 1), ["notice w5", "assign w5 #5 [1]"]);
    assert_eq!(bench.done(5), ["assign w5 #6 [2]", "merge", "ack w5 #5"]);
    assert_eq!(bench.done(6), ["merge", "ack w5 #6", "finish"]);
    let failures = bench.core.failures(STEP).unwrap();
    let failure = failures.last().unwrap();
    assert!(failure.set_aside && failure.message.contains("on w4 (gone): suspected of killing workers"), "{failure:?}");
    let receipts = bench.core.receipts(STEP, &ReceiptFilter::default()).unwrap().unwrap();
    assert_eq!(receipts.iter().map(|it| it.losses).collect::<Vec<_>>(), [4, 3, 3]);
    assert_eq!(bench.core.audit(STEP).unwrap().rows.retried.receipts, 9, "three times each");
}

#[test]
fn a_step_that_is_cancelled_takes_what_is_in_hand_and_abandons_the_rest() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..4));
    bench.failed(1, Some(0));
    assert_eq!(bench.on(Event::Cancel(2, Caller::local(), STEP)), ["reply"]);
    assert_eq!(bench.done(2), ["merge", "ack w2 #2"]);
    assert_eq!(bench.done(3), ["merge", "ack w1 #3", "finish"]);
    assert_eq!(bench.finish(), ["release w1", "release w2", "ended CANCELLED"]);
    let audit = bench.core.audit(STEP).unwrap();
    assert_eq!((audit.rows.aggregated.receipts, audit.rows.abandoned.receipts, audit.rows.open.receipts), (2, 2, 0));
    assert!(audit.balance.balanced(), "{audit}");
}
