//! What is shown of steps, chunks and workers.

use elastic_flow_queue::{Caller, StepState};
use elastic_flow_receipt::{ConceivedChunk, Ledger, NodeId, ReceiptId, StageId, Station};
use elastic_flow_wire::message::Outcome;

use super::super::effects::Event;
use super::super::run::FAILURES_KEPT;
use super::super::view::list;
use super::{Bench, STEP, file, many_each, one_each, splits};
use crate::api::{ApiError, FailureView, ReceiptFilter, StepView};
use crate::config::Settings;

fn view(bench: &Bench) -> StepView {
    bench.core.step_view(STEP, bench.now).unwrap()
}

fn waits_for(bench: &Bench) -> Option<String> {
    view(bench).waiting_for
}

#[test]
fn an_end_is_shown_when_it_is_durable_and_not_before() {
    let mut bench = Bench::running(Settings { max_attempts: 1, ..one_each() }, &[1], splits(0..1));
    bench.failed(1, Some(0));
    bench.syncs = false;
    bench.finish();
    let shown = view(&bench);
    assert_eq!((shown.state, shown.ended_at, shown.reason), (StepState::Running, None, None));
    assert_eq!(bench.sync(), ["release w1", "ended FAILED"]);
    let shown = view(&bench);
    assert_eq!((shown.state, shown.ended_at), (StepState::Failed, Some(super::WALL)));
    assert!(shown.reason.is_some() && shown.waiting_for.is_none());
}

#[test]
fn a_cancel_is_shown_at_once_and_its_end_when_it_is_durable() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.on(Event::Cancel(2, Caller::local(), STEP));
    assert_eq!(view(&bench).state, StepState::CancelPending);
    bench.done(1);
    bench.syncs = false;
    bench.finish();
    assert_eq!(view(&bench).state, StepState::CancelPending);
    bench.sync();
    assert_eq!(view(&bench).state, StepState::Cancelled);
}

#[test]
fn a_running_step_says_what_it_waits_for() {
    let mut bench = Bench::new(super::config(one_each()));
    bench.join(1, 1);
    bench.submit(elastic_flow_queue::StepSpec::new("p"));
    assert_eq!(waits_for(&bench).unwrap(), "its program and source");
    bench.on(Event::Opened(STEP, Ok(file(Some(2)))));
    assert_eq!(waits_for(&bench).unwrap(), "its source");
    bench.syncs = false;
    bench.cut(splits(0..2), true);
    assert_eq!(waits_for(&bench).unwrap(), "the journal", "chunks are conceived");
    bench.sync();
    bench.join(2, 1);
    bench.after(1_500);
    bench.failed(1, Some(0));
    assert_eq!(waits_for(&bench).unwrap(), "user code in 1 chunks, the oldest for 1.5 s");
    bench.done(2);
    assert_eq!(waits_for(&bench).unwrap(), "the journal", "a result is accepted");
    bench.sync();
    assert_eq!(waits_for(&bench).unwrap(), "the backoff of 1 failed chunks");
    bench.syncs = true;
    bench.after(100);
    bench.done(3);
    assert_eq!(waits_for(&bench).unwrap(), "its output");
    bench.finish();
    assert_eq!(waits_for(&bench), None);
}

#[test]
fn user_code_is_waited_for_as_long_as_its_oldest_task_is_open() {
    let mut bench = Bench::running(many_each(), &[1, 1], splits(0..4));
    bench.after(2_000);
    bench.answer(1, Outcome::HandedBack);
    bench.after(500);
    assert_eq!(waits_for(&bench).unwrap(), "user code in 3 chunks, the oldest for 2.5 s");
}

#[test]
fn progress_counts_chunks_items_and_bytes_and_stays_when_the_step_has_ended() {
    let settings = Settings { max_attempts: 1, ..many_each() };
    let mut bench = Bench::running(settings, &[1], splits(0..3));
    assert_eq!(view(&bench).progress.unwrap().chunks_open, 3);
    bench.failed(1, Some(2));
    bench.after(40);
    bench.done(2);
    bench.finish();
    let shown = view(&bench).progress.unwrap();
    assert_eq!((shown.chunks, shown.chunks_done, shown.chunks_set_aside, shown.chunks_open), (3, 2, 1, 0));
    assert_eq!((shown.entries_done, shown.bytes_done, shown.bytes_total), (2, 2, Some(3)));
    assert_eq!((shown.elapsed_nanos, shown.source_exhausted), (40_000_000, true));
    assert_eq!(bench.core.step_views(bench.now), [view(&bench)]);
}

#[test]
fn the_bytes_of_a_range_are_those_of_its_items() {
    let mut bench = Bench::new(super::config(one_each()));
    bench.submit(elastic_flow_queue::StepSpec::new("p"));
    let mut range = file(Some(10));
    range.parts[0].unit_bytes = 8;
    bench.on(Event::Opened(STEP, Ok(range)));
    assert_eq!(view(&bench).progress.unwrap().bytes_total, Some(80));
}

#[test]
fn failures_are_shown_while_a_step_runs_and_the_first_thousand_are_kept() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.failed(1, Some(0));
    let shown = bench.core.failures(STEP).unwrap();
    assert_eq!((shown.len(), shown[0].message.as_str(), shown[0].set_aside), (1, "attempt 1 failed", false));
    let run = bench.core.run.as_mut().unwrap();
    for number in 0..FAILURES_KEPT {
        run.remember(FailureView { message: number.to_string(), ..shown[0].clone() });
    }
    let kept = bench.core.failures(STEP).unwrap();
    assert_eq!((kept.len(), kept.last().unwrap().message.as_str()), (1_000, "998"));
}

#[test]
fn what_is_to_be_said_of_the_source_is_in_the_audit() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.done(1);
    bench.on(Event::Finished(STEP, Ok(vec!["f has grown".to_owned()])));
    assert_eq!(bench.core.audit(STEP).unwrap().notes, ["f has grown"]);
}

#[test]
fn receipts_are_listed_by_station_and_node_from_a_number_on() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..4));
    bench.failed(1, Some(0));
    bench.done(2);
    bench.done(3);
    bench.after(100);
    let sequences = |filter: &ReceiptFilter| -> Vec<u64> {
        bench.core.receipts(STEP, filter).unwrap().unwrap().iter().map(|it| it.id.sequence).collect()
    };
    let all = ReceiptFilter::default();
    let station = |it: &str| ReceiptFilter { station: Some(it.to_owned()), ..ReceiptFilter::default() };
    assert_eq!(sequences(&all), [0, 1, 2, 3]);
    assert_eq!(sequences(&station("aggregated")), [1, 2]);
    assert_eq!(sequences(&ReceiptFilter { node: Some("w1".to_owned()), ..station("aggregated") }), [2]);
    assert_eq!(sequences(&ReceiptFilter { from: 2, ..all.clone() }), [2, 3]);
    assert_eq!(sequences(&ReceiptFilter { from: 1, limit: 2, ..all.clone() }), [1, 2]);
    let wrong = bench.core.receipts(STEP, &station("agregated")).unwrap_err();
    let ApiError::Invalid(wrong) = wrong else { panic!("{wrong}") };
    assert!(wrong.starts_with("`agregated` is not a station; stations are distributed, "), "{wrong}");
}

#[test]
fn a_receipt_shows_its_attempts_what_was_read_and_what_it_covers() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..1));
    bench.failed(1, Some(0));
    bench.after(100);
    bench.done(2);
    let receipts = bench.core.receipts(STEP, &ReceiptFilter::default()).unwrap().unwrap();
    let receipt = &receipts[0];
    assert_eq!((receipt.attempts, receipt.failures, receipt.losses), (2, 1, 0));
    assert_eq!((receipt.entries, receipt.bytes, receipt.conceived_at), (Some(1), 1, super::WALL));
    assert_eq!((receipt.station.as_str(), receipt.node.as_deref()), ("aggregated", Some("w1")));
    assert_eq!(receipt.covers, [("f".to_owned(), 0, 1)]);
    assert_eq!(receipt.error.as_deref(), Some("attempt 1 failed"));
}

#[test]
fn a_thousand_receipts_are_listed_unless_more_are_asked_for_and_never_more_than_ten_thousand() {
    let mut ledger = Ledger::new(STEP);
    for sequence in 0..10_001 {
        let id = ReceiptId { step: STEP, stage: StageId(0), round: 0, partition: 0, sequence, check: 0 };
        let (entries, bytes, conceived_at, digest, parents, covers) = (None, 1, 0, None, Vec::new(), Vec::new());
        let chunk =
            ConceivedChunk { id, input: 0, entries, bytes, conceived_at, digest, parents, generation: 0, covers };
        ledger.conceive(chunk).unwrap();
        ledger.mark(&id, Station::Distributed, Some(NodeId(1)), 0).unwrap();
    }
    let listed = |limit| {
        let filter = ReceiptFilter { limit, ..ReceiptFilter::default() };
        list(&ledger, &[], &filter, |it| it.to_string()).unwrap().len()
    };
    assert_eq!([0, 1, 5_000, u32::MAX].map(listed), [1_000, 1, 5_000, 10_000]);
}
