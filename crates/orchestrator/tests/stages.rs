//! Flows of several stages, over the real shells and the in-memory transport.

use std::collections::BTreeMap;

use elastic_flow_dataflow::{Flow, FlowError, FlowResult, TypedProgram};
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::{Cluster, RunError, StepError};
use elastic_flow_queue::{StepErrorKind, StepState};

const ITEMS: u64 = 10_000;

fn cluster() -> Cluster {
    Cluster::local(2).settings(Settings { chunk_items: 300, ..Settings::default() })
}

/// Numbers by how many divisors they have below 12, and of each the last of its numbers that were grouped.
fn by_divisors(numbers: Flow<u64>) -> Flow<(u64, Vec<u64>)> {
    let divisors = numbers.flat_map(|n| (1..12).filter(move |d| n.is_multiple_of(*d)).map(move |_| n)).counts();
    divisors
        .map(|(n, divisors)| (divisors, n))
        .group_by_key()
        .map_values(|numbers| numbers.into_iter().rev().take(2).collect())
        .sort()
}

#[test]
fn what_follows_a_reduction_sees_all_of_it_once() {
    let program = TypedProgram::new("by_divisors", by_divisors).unwrap();
    let run = cluster().run(&program, 0..ITEMS).unwrap();
    let mut expected = BTreeMap::<u64, Vec<u64>>::new();
    for n in (0..ITEMS).rev() {
        let divisors = (1..12).filter(|d| n % d == 0).count() as u64;
        let last = expected.entry(divisors).or_default();
        if last.len() < 2 {
            last.push(n);
        }
    }
    assert_eq!(run.output, expected.into_iter().collect::<Vec<_>>());
    assert!(run.audit.balanced(), "{}", run.audit);
    assert_eq!(run.audit.rows.aggregated.entries, ITEMS);
    assert!(run.audit.rows.aggregated.receipts > 30, "several chunks: {}", run.audit);
}

#[test]
fn an_error_behind_a_reduction_fails_the_step_by_stage_and_item() {
    let refused = |n: u64| -> FlowResult<u64> { if n == 7 { Err(FlowError::skip("no seven")) } else { Ok(n) } };
    let program = TypedProgram::new("refused", move |numbers: Flow<u64>| numbers.uniq().try_map(refused)).unwrap();
    let error = cluster().run(&program, 0..ITEMS).unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), StepErrorKind::Aggregate);
    let StepError { step, audit, .. } = *error;
    assert_eq!(step.state, StepState::Failed);
    let reason = step.reason.unwrap();
    let stage =
        "the stage behind a global reduction that ends in `try_map` failed at item 7: cannot be skipped here: no seven";
    assert!(reason.contains(stage), "{reason}");
    // What was read is accounted for all the same.
    assert_eq!(audit.unwrap().rows.aggregated.entries, ITEMS);
}
