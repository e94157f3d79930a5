//! Steps that run what another one left.

use bytes::Bytes;
use elastic_flow_dataflow::seam::Cover;
use elastic_flow_queue::{Caller, StepSpec};
use elastic_flow_receipt::{ReceiptId, StepId};

use super::super::effects::{Effect, Event, Opened};
use super::{Bench, STEP, WALL, file, items, one_each, split_of, splits};
use crate::api::ApiError;
use crate::config::Settings;
use crate::journal::Record;

const REPLAY: StepId = StepId(2);

/// A step that is over: chunk 0 is in its result, chunk 1 was set aside.
fn failed(length: u64) -> (Bench, ReceiptId) {
    let mut bench = Bench::open(Settings { max_attempts: 1, ..one_each() }, Some(length));
    bench.join(1, 1);
    bench.cut(splits(0..2), true);
    let receipt = bench.receipt(1);
    bench.done(1);
    bench.failed(2, Some(1));
    assert_eq!(bench.finish().last().unwrap(), "ended FAILED");
    (bench, receipt)
}

/// What is found when its replay is opened; with `cuts` the source goes on behind what was cut of it.
fn replayed(bench: &Bench, receipt: ReceiptId, cuts: bool) -> Opened {
    let cover = |offset| vec![Cover { part: 0, offset, length: 1 }];
    let (replays, cut_earlier) = (vec![(receipt, split_of(1, 1))], vec![cover(0), cover(1)]);
    let earlier = bench.core.accounts.get(&STEP).map(|it| Box::new(it.earlier_of_replay()));
    let source = Bytes::from_static(b"the old source");
    Opened { replays, cuts, cut_earlier, source, earlier, ..file(Some(length(cuts))) }
}

const fn length(cuts: bool) -> u64 {
    if cuts { 10 } else { 2 }
}

fn replaying(cuts: bool) -> (Bench, ReceiptId) {
    let (mut bench, receipt) = failed(length(cuts));
    let spec = StepSpec { replay_of: Some(STEP), ..StepSpec::new("p") };
    assert_eq!(bench.submit(spec), ["open", "reply"]);
    let opened = replayed(&bench, receipt, cuts);
    bench.on(Event::Opened(REPLAY, Ok(opened)));
    (bench, receipt)
}

/// What the end of the running step leaves: numbers of chunks, source, and what was cut of it.
fn left(bench: &Bench) -> (Vec<u64>, Bytes, Option<Vec<u64>>) {
    let finish = bench.last.iter().find_map(|it| {
        let Effect::Finish { left, source, rest, .. } = it else { return None };
        let offsets = rest.as_ref().map(|it| it.iter().flatten().map(|it| it.offset).collect());
        Some((left.iter().map(|(it, _)| it.sequence).collect(), source.clone(), offsets))
    });
    finish.unwrap()
}

#[test]
fn a_step_can_be_replayed_once_it_has_ended() {
    let bench = Bench::running(one_each(), &[1], splits(0..1));
    assert!(matches!(bench.core.may_replay(STEP), Err(ApiError::Conflict(_))));
    assert!(matches!(bench.core.may_replay(StepId(7)), Err(ApiError::NoStep(StepId(7)))));
    assert_eq!(failed(2).0.core.may_replay(STEP).unwrap(), StepSpec::new("p"));
}

#[test]
fn a_replay_runs_what_was_left_and_covers_the_source_together_with_the_step_before_it() {
    let (mut bench, receipt) = replaying(false);
    assert_eq!(bench.tasks[&3].1.chunks[0].payload, split_of(1, 1).payload);
    let Some(Record::Conceived(record)) = bench.records.last() else { panic!("{:?}", bench.records) };
    assert_eq!((record.chunks[0].parent, record.exhausted), (Some(receipt), true));
    let audit = bench.core.audit(REPLAY).unwrap();
    assert_eq!((audit.coverage.is_whole(), audit.rows.open.receipts), (true, 1), "{audit}");
    assert_eq!(bench.done(3), ["merge", "ack w1 #3", "finish"]);
    assert_eq!(left(&bench), (Vec::new(), Bytes::from_static(b"the old source"), None));
    assert_eq!(bench.finish(), ["release w1", "ended COMPLETED"]);
    let audit = bench.core.audit(REPLAY).unwrap();
    assert!(audit.balanced() && audit.coverage.proven, "{audit}");
    let account = &bench.core.accounts[&REPLAY];
    let parents: Vec<_> = account.ledger().iter().map(|it| it.to_record().parents).collect();
    assert_eq!(parents, [vec![receipt]]);
}

#[test]
fn a_replay_that_is_cancelled_leaves_what_it_did_not_do_and_where_the_source_was_cut() {
    let (mut bench, _) = replaying(true);
    bench.on(Event::Cut { step: REPLAY, cuts: splits(2..4), exhausted: false });
    bench.on(Event::Cancel(9, Caller::local(), REPLAY));
    assert_eq!(bench.done(3), ["merge", "ack w1 #3", "finish"]);
    let source = Bytes::from_static(b"the old source");
    assert_eq!(left(&bench), (vec![1, 2], source, Some(vec![0, 1, 2, 3])), "what was taken over is in it once");
}

#[test]
fn a_master_that_goes_on_with_a_replay_knows_what_was_taken_over_and_what_was_cut() {
    let (mut bench, _) = replaying(true);
    bench.on(Event::Cut { step: REPLAY, cuts: splits(2..3), exhausted: false });
    let (next, shown) = bench.again(one_each());
    assert_eq!(shown, ["open"]);
    let Some(Effect::Open(open)) = next.last.first() else { panic!("{:?}", next.last) };
    let from_source: Vec<bool> = open.cut_before.iter().map(|it| it.from_source).collect();
    assert_eq!((from_source, open.exhausted), (vec![false, true], false));
}

#[test]
fn a_replay_that_was_not_opened_before_a_restart_takes_its_chunks_over_at_the_time_it_started() {
    let (mut bench, receipt) = failed(2);
    bench.submit(StepSpec { replay_of: Some(STEP), ..StepSpec::new("p") });
    let opened = replayed(&bench, receipt, false);
    let (mut next, _) = bench.again(one_each());
    next.on(Event::Opened(REPLAY, Ok(Opened { replays: vec![(receipt, items(1, 3))], ..opened })));
    let Some(Record::Conceived(record)) = next.records.last() else { panic!("{:?}", next.records) };
    assert_eq!(record.at, WALL);
}
