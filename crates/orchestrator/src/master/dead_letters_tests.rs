//! What a master decides of skips: the same live and after a restart, and once.

use elastic_flow_receipt::{NodeId, ReceiptId};
use elastic_flow_wire::message::{Assignment, ChunkRead, FailureKind, Outcome, ReadFrom, SkippedItem, TaskResult};

use super::effects::{Ending, Event};
use super::rejoin_tests::{Bench, at_work};

fn answer(bench: &mut Bench, assignment: &Assignment, outcome: Outcome) {
    let receipts: Vec<ReceiptId> = assignment.chunks.iter().map(|it| it.receipt).collect();
    let (attempt, step, stage) = (assignment.attempt, assignment.step, assignment.stage);
    bench.on(Event::Result(NodeId(1), TaskResult { attempt, step, stage, generation: 0, receipts, outcome }));
}

fn skipping(assignment: &Assignment) -> Outcome {
    let receipt = assignment.chunks[0].receipt;
    Outcome::Done {
        chunks: vec![ChunkRead { receipt, entries: 9, bytes: 1, nanos: 1, from: ReadFrom::Place }],
        segments: Vec::new(),
        nanos: 1,
        skips: vec![SkippedItem { receipt, item: 7, error: "no number".to_owned(), kept: None }],
    }
}

fn too_many(assignment: &Assignment) -> Outcome {
    Outcome::Failed {
        kind: FailureKind::Skips,
        receipt: Some(assignment.chunks[0].receipt),
        item: Some(7),
        message: "no number".to_owned(),
        log_tail: Vec::new(),
    }
}

fn reason(bench: &Bench) -> Option<String> {
    match bench.core.run.as_ref().unwrap().ending.clone() {
        Some(Ending::Failed(cause)) => Some(cause.message),
        Some(Ending::Done | Ending::Cancelled) | None => None,
    }
}

#[test]
fn a_result_that_comes_twice_is_skipped_once_and_a_restart_finds_the_same() {
    let (mut bench, task) = at_work();
    for _ in 0..2 {
        answer(&mut bench, &task, skipping(&task));
    }
    let next = Bench::over(bench.records.clone(), 2);
    let known = |bench: &Bench| {
        let run = bench.core.run.as_ref().unwrap();
        (run.skipped, run.dead_letters.clone(), reason(bench))
    };
    let receipt = task.chunks[0].receipt;
    let told = format!(
        "1 item was skipped, 0 may be (retry.max_skips): item 7 of {receipt}: no number; mend the input or the program and \
         submit the step anew, or raise retry.max_skips and replay it"
    );
    assert_eq!((known(&bench).0, known(&bench).2), (1, Some(told)));
    assert_eq!(known(&next), known(&bench));
}

#[test]
fn a_task_that_skipped_too_much_under_an_earlier_bound_is_given_out_again() {
    let (mut bench, task) = at_work();
    let mut next = Bench::over(bench.records.clone(), 2);
    next.join(1);
    next.holding(1, &[&task]);
    next.given();
    answer(&mut next, &task, too_many(&task));
    assert_eq!((reason(&next), next.given()), (None, vec![0]), "this life may allow more");

    answer(&mut bench, &task, too_many(&task));
    assert!(reason(&bench).is_some_and(|it| it.starts_with("1 item was skipped, 0 may be")), "{:?}", reason(&bench));
    // What failed nowhere any more decides nothing.
    let (mut stale, task) = at_work();
    stale.on(Event::NodeDown { node: NodeId(1), reason: "gone".to_owned() });
    answer(&mut stale, &task, too_many(&task));
    assert_eq!(reason(&stale), None);
}
