//! Steps whose workers exchange what their tasks give, over the real shells and the in-memory transport.

use std::collections::BTreeMap;

use elastic_flow_dataflow::{Chain, Flow, FlowError, FlowResult, FlowResultExt as _, TypedProgram};
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::{Cluster, RunError, StepError};
use elastic_flow_queue::{StepErrorKind, StepState};

const ITEMS: u64 = 20_000;
const KEYS: u64 = 1_999;

fn cluster(workers: usize) -> Cluster {
    Cluster::local(workers).settings(Settings { chunk_items: 100, ..Settings::default() })
}

/// What each key has, of a naive model.
fn model(wanted: impl Fn(&u64) -> bool) -> BTreeMap<u64, u64> {
    let mut sums = BTreeMap::new();
    for n in (0..ITEMS).filter(wanted) {
        *sums.entry(n % KEYS).or_insert(0) += n;
    }
    sums
}

fn sums(numbers: Flow<u64, impl Chain<Item = u64>>) -> Flow<(u64, u64)> {
    numbers.map(|n| (n % KEYS, n)).partition().sum_by_key()
}

#[test]
fn what_is_exchanged_is_what_would_have_been_gathered() {
    let expected: Vec<(u64, u64)> = model(|_| true).into_iter().collect();
    let program = TypedProgram::new("sums", |it: Flow<u64>| sums(it)).unwrap();
    for (workers, slots) in [(1, 1), (2, 1), (5, 2)] {
        let run = cluster(workers).slots(slots).run(&program, 0..ITEMS).unwrap();
        assert_eq!(run.output, expected, "{workers} workers of {slots} slots");
        assert!(run.audit.balanced(), "{}", run.audit);
        assert_eq!(run.audit.rows.aggregated.entries, ITEMS);
        assert_eq!(run.audit.rows.aggregated.receipts, ITEMS / 100);
    }
}

#[test]
fn what_follows_runs_by_partition_and_gives_the_same_on_any_number_of_workers() {
    let odd = |numbers: Flow<u64>| sums(numbers).filter(|(_, sum)| sum % 2 == 1);
    let program = TypedProgram::new("odd_sums", odd).unwrap();
    let one = cluster(1).run(&program, 0..ITEMS).unwrap().output;
    assert_eq!(cluster(3).run(&program, 0..ITEMS).unwrap().output, one, "the order of partitions does not change");
    let mut sorted = one;
    sorted.sort_unstable();
    let expected: Vec<(u64, u64)> = model(|_| true).into_iter().filter(|(_, sum)| sum % 2 == 1).collect();
    assert_eq!(sorted, expected);
}

#[test]
fn exchanges_follow_each_other() {
    // How many keys have each last digit of their sum, and of those how many are in each half.
    let digits = |numbers: Flow<u64>| {
        let digits = sums(numbers).map(|(_, sum)| sum % 10).partition().counts();
        digits.map(|(digit, keys)| (digit < 5, keys)).partition().sum_by_key()
    };
    let program = TypedProgram::new("digits", digits).unwrap();
    let mut expected = BTreeMap::new();
    for sum in model(|_| true).into_values() {
        *expected.entry(sum % 10 < 5).or_insert(0_u64) += 1;
    }
    let expected: Vec<_> = expected.into_iter().collect();
    for (workers, slots) in [(1, 1), (2, 1), (5, 2)] {
        let run = cluster(workers).slots(slots).run(&program, 0..ITEMS).unwrap();
        assert_eq!(run.output, expected, "{workers} workers of {slots} slots");
        assert!(run.audit.balanced(), "{}", run.audit);
        assert_eq!(run.audit.rows.aggregated.receipts, ITEMS / 100);
    }
}

#[test]
fn an_error_in_a_partition_of_the_second_exchange_fails_the_step_by_its_stage() {
    let failing = |numbers: Flow<u64>| {
        let counts = sums(numbers).map(|(key, _)| key % 7).partition().counts();
        counts.try_map(|(key, keys)| if key == 3 { Err(FlowError::retry("no 3")) } else { Ok((key, keys)) })
    };
    let program = TypedProgram::new("failing", failing).unwrap();
    let error = cluster(2).run(&program, 0..ITEMS).unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), StepErrorKind::Aggregate);
    let reason = error.step.reason.as_deref().unwrap_or_default();
    assert!(reason.contains(" of stage 2 on ") && reason.contains("no 3"), "{reason}");
}

#[test]
fn skipped_items_are_counted_once_and_bounded() {
    let checked = |n: u64| -> FlowResult<u64> { if n == 77 { Err(FlowError::skip("no 77")) } else { Ok(n) } };
    let program = TypedProgram::new("sums", move |it: Flow<u64>| sums(it.try_map(checked))).unwrap();
    let settings = Settings { chunk_items: 100, max_skips: 1, ..Settings::default() };
    let run = cluster(2).settings(settings).run(&program, 0..ITEMS).unwrap();
    assert_eq!(run.output, model(|n| *n != 77).into_iter().collect::<Vec<_>>());
    assert_eq!(run.step.state, StepState::CompletedWithSkips);
    assert_eq!(run.dead_letters.len(), 1);
    // One of each of two tasks: neither is too much by itself.
    let two = |n: u64| -> FlowResult<u64> { if n % 10_000 == 77 { Err(FlowError::skip("no 77")) } else { Ok(n) } };
    let program = TypedProgram::new("sums", move |it: Flow<u64>| sums(it.try_map(two))).unwrap();
    let settings = Settings { chunk_items: 100, max_skips: 1, ..Settings::default() };
    let error = cluster(2).settings(settings).run(&program, 0..ITEMS).unwrap_err();
    let RunError::Step(error) = error else { panic!("not a step's error") };
    assert_eq!(error.kind(), StepErrorKind::Skips);
    assert_eq!(error.audit.unwrap().rows.aggregated.receipts, 0, "it ends before the exchange counts");
}

#[test]
fn an_error_in_a_partition_fails_the_step_by_its_name() {
    let refused = |(key, sum): (u64, u64)| if key == 5 { Err(FlowError::fail("no five")) } else { Ok((key, sum)) };
    let program = TypedProgram::new("refused", move |it: Flow<u64>| sums(it).try_map(refused)).unwrap();
    let RunError::Step(error) = cluster(2).run(&program, 0..ITEMS).unwrap_err() else { panic!("not a step's error") };
    assert_eq!(error.kind(), StepErrorKind::Aggregate);
    let StepError { step, audit, .. } = *error;
    assert_eq!(step.state, StepState::Failed);
    let reason = step.reason.unwrap();
    assert!(reason.contains("partition ") && reason.contains(" on worker-") && reason.contains("no five"), "{reason}");
    let audit = audit.unwrap();
    assert!(audit.balanced(), "{audit}");
    assert_eq!(audit.rows.aggregated.receipts, 0, "of an exchange that failed nothing counts");
}

#[test]
fn an_error_of_a_task_is_tried_again_and_its_parcels_count_once() {
    let flaky = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let failing = move |it: Flow<u64>| {
        let flaky = std::sync::Arc::clone(&flaky);
        let now_and_then = move |n: u64| -> FlowResult<u64> {
            let first = n % 1_000 == 7 && flaky.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 30;
            if first { Err("not yet") } else { Ok(n) }.or_retry()
        };
        sums(it.try_map(now_and_then))
    };
    let program = TypedProgram::new("flaky", failing).unwrap();
    let settings = Settings {
        chunk_items: 100,
        retry_backoff: std::time::Duration::from_millis(1),
        max_attempts: 40,
        ..Settings::default()
    };
    let run = cluster(3).settings(settings).run(&program, 0..ITEMS).unwrap();
    assert_eq!(run.output, model(|_| true).into_iter().collect::<Vec<_>>());
    assert!(run.audit.rows.retried.receipts > 0, "{}", run.audit);
}

#[test]
fn items_that_move_by_key_come_together_in_source_order_and_shuffled_ones_all() {
    let grouped = |it: Flow<u64>| {
        it.map(|n| (n % KEYS, n)).partition_by(|it| it.0).map_batch(usize::MAX, |all| {
            let mut groups = BTreeMap::<u64, Vec<u64>>::new();
            all.into_iter().for_each(|(key, n)| groups.entry(key).or_default().push(n));
            groups.into_iter().collect::<Vec<_>>()
        })
    };
    let program = TypedProgram::new("grouped", grouped).unwrap();
    let mut found = cluster(3).slots(2).run(&program, 0..ITEMS).unwrap().output;
    found.sort();
    let expected: Vec<(u64, Vec<u64>)> =
        (0..KEYS).map(|key| (key, (key..ITEMS).step_by(usize::try_from(KEYS).unwrap()).collect())).collect();
    assert_eq!(found, expected);
    let program = TypedProgram::new("spread", |it: Flow<u64>| it.shuffle().map(|n| n * 2).sum()).unwrap();
    assert_eq!(cluster(3).run(&program, 0..ITEMS).unwrap().output, ITEMS * (ITEMS - 1));
}

/// More than the master holds of what it has cut and not seen done.
#[test]
fn an_iterator_of_any_length_goes_through_an_exchange() {
    const ITEMS: u64 = 700;
    let text = |n: u64| format!("{}{n}", "x".repeat(64 << 10));
    let lengths = |it: Flow<String>| it.map(|text| (text.len(), 1_u64)).partition().sum_by_key();
    let program = TypedProgram::new("lengths", lengths).unwrap();
    let settings = Settings { chunk_items: 10, ..Settings::default() };
    let run = Cluster::local(2).settings(settings).run(&program, (0..ITEMS).map(text)).unwrap();
    let at = 64 << 10;
    assert_eq!(run.output, [(at + 1, 10), (at + 2, 90), (at + 3, ITEMS - 100)]);
}
