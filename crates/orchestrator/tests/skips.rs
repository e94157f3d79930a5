//! Items that user code skips, and errors that end a step, over the real shells and the in-memory transport.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use elastic_flow_dataflow::source::SourceSpec;
use elastic_flow_dataflow::{Flow, FlowError, FlowResult, FlowResultExt, Single, Text, TypedProgram};
use elastic_flow_orchestrator::api::DeadLetterKind;
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::{ChunkEvent, Cluster, Counts, Interceptor, RunError, StepError};
use elastic_flow_queue::StepState;

/// Every thousandth item is skipped.
const BAD_EVERY: u64 = 1_000;
const ITEMS: u64 = 10_000;
const CHUNK_ITEMS: u64 = 300;

fn sum_good(numbers: Flow<u64>) -> Single<u64> {
    let good = |n: u64| if n.is_multiple_of(BAD_EVERY) { Err(FlowError::skip(format!("{n} is bad"))) } else { Ok(n) };
    numbers.try_map(good).sum()
}

fn cluster(max_skips: u64) -> Cluster {
    Cluster::local(2).settings(Settings { max_skips, chunk_items: CHUNK_ITEMS, ..Settings::default() })
}

#[derive(Debug, Default)]
struct LastCounts(Mutex<Option<Counts>>);

impl Interceptor for LastCounts {
    fn chunk_complete(&self, _event: &ChunkEvent, counts: Counts) {
        *self.0.lock().unwrap() = Some(counts);
    }
}

#[test]
fn skipped_items_are_listed_and_everything_else_counts() {
    let program = TypedProgram::new("sum_good", sum_good).unwrap();
    let counts = Arc::new(LastCounts::default());
    let interceptor = Arc::clone(&counts);
    let run = cluster(ITEMS / BAD_EVERY).interceptor(interceptor).run(&program, 0..ITEMS).unwrap();
    assert_eq!(run.step.state, StepState::CompletedWithSkips);
    assert_eq!(run.output, (0..ITEMS).filter(|n| n % BAD_EVERY != 0).sum::<u64>());

    // Exactly those, each where it was.
    let mut found: Vec<u64> = Vec::new();
    for letter in &run.dead_letters {
        let number = letter.receipt.sequence * CHUNK_ITEMS + letter.item.unwrap();
        assert_eq!((letter.kind, letter.error.clone()), (DeadLetterKind::Skipped, format!("{number} is bad")));
        assert_eq!((letter.item_bytes, letter.text.as_deref()), (Some(8), None), "numbers are no texts");
        assert!(letter.node.starts_with("worker-"), "{letter:?}");
        found.push(number);
    }
    found.sort_unstable();
    assert_eq!(found, (0..ITEMS).step_by(1_000).collect::<Vec<_>>());
    let numbers: Vec<u64> = run.dead_letters.iter().map(|it| it.number).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());

    // They were read, and the audit says that they are not in the result.
    assert!(run.audit.balanced(), "{}", run.audit);
    assert_eq!((run.audit.rows.aggregated.entries, run.audit.rows.skipped.entries), (ITEMS, 10), "{}", run.audit);
    assert!(run.audit.line().contains("; 10 items skipped"), "{}", run.audit.line());
    assert_eq!(run.step.progress.unwrap().items_skipped, 10);
    assert_eq!(counts.0.lock().unwrap().unwrap().items_skipped, 10);
}

#[test]
fn one_skip_too_many_fails_the_step_with_count_bound_first_error_and_remedy() {
    let program = TypedProgram::new("sum_good", sum_good).unwrap();
    // Over several tasks, and in one alone.
    for (max_skips, words) in [(3, "4 items were skipped, 3 may be"), (0, "1 item was skipped, 0 may be")] {
        let error = cluster(max_skips).run(&program, 0..ITEMS).unwrap_err();
        let RunError::Step(error) = error else { panic!("{error}") };
        let StepError { step, audit, .. } = *error;
        let audit = audit.unwrap();
        let reason = step.reason.unwrap();
        assert_eq!(step.state, StepState::Failed);
        assert!(reason.contains("is bad") && reason.contains("retry.max_skips"), "{reason}");
        assert!(reason.contains("item ") && reason.contains("submit the step anew"), "{reason}");
        assert_eq!(audit.rows.retried.receipts, 0, "{audit}");
        if max_skips == 0 {
            assert!(reason.starts_with(words), "{reason}");
            assert!(audit.rows.aggregated.entries < ITEMS, "it went on to the end: {audit}");
        }
    }
}

#[test]
fn one_task_may_not_skip_more_than_the_whole_step() {
    let all_bad = |it: Flow<u64>| it.try_filter(|n| Err::<bool, _>(FlowError::skip(format!("{n} is bad")))).count();
    let program = TypedProgram::new("all_bad", all_bad).unwrap();
    let error = cluster(20).run(&program, 0..ITEMS).unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    let StepError { step, audit, failures, .. } = *error;
    let audit = audit.unwrap();
    let reason = step.reason.unwrap();
    assert!(reason.starts_with("21 items were skipped, 20 may be (retry.max_skips): item 0 of "), "{reason}");
    assert_eq!(audit.rows.aggregated.receipts, 0, "{audit}");
    assert!(failures.iter().all(|it| !it.set_aside && it.attempts == 1), "{failures:?}");
}

#[test]
fn an_error_that_ends_the_step_is_not_tried_again() {
    let program = TypedProgram::new("ends", |it: Flow<u64>| {
        it.try_map(|n| if n == 4_321 { Err("the wrong file").or_fail() } else { Ok(n) }).sum()
    })
    .unwrap();
    let error = cluster(100).run(&program, 0..ITEMS).unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    let StepError { step, audit, failures, .. } = *error;
    let audit = audit.unwrap();
    let reason = step.reason.unwrap();
    let (receipt, item) = (failures[0].receipt.unwrap(), failures[0].item.unwrap());
    assert_eq!(receipt.sequence * CHUNK_ITEMS + item, 4_321);
    assert_eq!(reason, format!("the program ended the step at item {item} of {receipt}: the wrong file"));
    assert_eq!((audit.rows.failed.receipts, audit.rows.retried.receipts), (1, 0), "{audit}");
    assert_eq!((audit.rows.set_aside.receipts, audit.rows.open.receipts), (0, 0), "{audit}");
    assert!(audit.rows.abandoned.receipts >= 1, "{audit}");
}

#[test]
fn a_skipped_line_is_kept_as_it_stood() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers.txt");
    let line = |n: u64| if n.is_multiple_of(100) { format!("no number\t{n}\r\n") } else { format!("{n}\n") };
    std::fs::write(&file, (0..1_000).map(line).collect::<String>() + "\u{e9}t\u{e9}").unwrap();
    let parse = |line: Text| -> FlowResult<u64> { line.to_str_lossy().parse::<u64>().or_skip() };
    let program = TypedProgram::new("numbers", move |lines: Flow<Text>| lines.try_map(parse).sum()).unwrap();
    let spec = SourceSpec::Lines { paths: vec![file.to_str().unwrap().to_owned()] };
    let settings = Settings { max_skips: 11, chunk_bytes: 700, chunk_adapts: false, ..Settings::default() };
    let run = Cluster::local(2).settings(settings).run_source(&program, spec).unwrap();
    assert_eq!(run.output, (0..1_000).filter(|n| n % 100 != 0).sum::<u64>());
    let mut texts: Vec<String> = run.dead_letters.into_iter().map(|it| it.text.unwrap()).collect();
    texts.sort();
    let mut wanted: Vec<String> = (0..1_000).step_by(100).map(|n| format!("no number\t{n}\r")).collect();
    wanted.push("\u{e9}t\u{e9}".to_owned());
    wanted.sort();
    assert_eq!(texts, wanted);
    assert!(run.audit.rows.aggregated.receipts > 2, "several chunks: {}", run.audit);
}
