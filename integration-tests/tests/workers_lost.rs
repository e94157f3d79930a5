//! A step whose workers are all gone waits for one, and fails by name when none comes.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, names_of, runs_of, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of, counts_of_file};
use elastic_flow_integration_tests::process::Signal;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// A cluster and a running step of 20 chunks.
fn start(grace: &str) -> (Cluster, u64, String) {
    let sets = ["distribute.chunk_bytes=2000".to_owned(), format!("retry.grace={grace}")];
    let cluster = Cluster::start(Options { program: TESTBED, workers: 2, slots: 1, durable: false, sets: sets.into() });
    let input = cluster.place().write("input.txt", corpus::lines(1, 40_000));
    let side = cluster.place().text("side");
    let params = ["--input", &input, "--param", "slow=80ms", "--param", &format!("side={side}")];
    let id = cluster.submit("word_count", &params);
    wait_runs(&side, 4);
    (cluster, id, input)
}

#[test]
fn all_workers_killed_and_one_back_within_grace() {
    let (mut cluster, id, input) = start("60s");
    cluster.kill_worker("w1");
    cluster.kill_worker("w2");
    wait_until(SOON, "the step says what it waits for", || {
        cluster.step(id).waiting_for.is_some_and(|what| what.contains("worker"))
    });
    assert_eq!(cluster.step(id).state, StepState::Running);
    cluster.start_worker("w3");
    cluster.wait_end(id, StepState::Completed);
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    assert!(audit.rows.retried.receipts > 0, "{audit}");
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), &input));
}

#[test]
fn without_workers_a_step_fails_by_name_after_grace() {
    let (mut cluster, id, input) = start("1s");
    cluster.kill_worker("w1");
    cluster.kill_worker("w2");
    let view = cluster.wait_end(id, StepState::Failed);
    let reason = view.reason.expect("a failed step says why");
    assert!(reason.contains("worker") && reason.contains("1 s"), "{reason}");
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    assert_eq!(
        audit.rows.conceived.receipts,
        audit.rows.aggregated.receipts + audit.rows.abandoned.receipts,
        "{audit}"
    );
    assert!(audit.rows.abandoned.receipts > 0, "{audit}");

    // What was left is replayed when there is a worker again.
    cluster.start_worker("w3");
    cluster.cli(&["replay", &id.to_string(), "--wait"]).expect_code(0);
    assert_equal(&cluster.output(id + 1), &counts_of_file(cluster.place(), &input));
}

#[test]
fn late_results_of_a_frozen_worker_are_dropped() {
    let sets = ["distribute.chunk_bytes=2000", "distribute.task_chunks_max=1", "retry.grace=60s"];
    let mut cluster = Cluster::start(Options {
        program: TESTBED,
        workers: 2,
        slots: 2,
        durable: false,
        sets: sets.map(str::to_owned).into(),
    });
    for number in 0..20_u64 {
        let text = corpus::named(&format!("file{number}"), number, 2_000);
        cluster.place().write(&format!("in/{number:03}.txt"), text);
    }
    let (files, side) = (cluster.place().text("in/*.txt"), cluster.place().text("side"));
    let (side_param, marker) = (format!("side={side}"), cluster.place().text("marker"));
    let marker_param = format!("marker={marker}");
    let mut line = vec!["--input", &files, "--param", "slow=100ms", "--param", "hold=file19"];
    line.extend(["--param", &side_param, "--param", &marker_param]);
    let id = cluster.submit("word_count", &line);

    // Frozen with chunks at work, which the other one has done before the thaw.
    wait_runs(&side, 6);
    let frozen = cluster.worker("w1").id();
    cluster.worker("w1").signal(Signal::STOP);
    cluster.wait_workers(1);
    wait_until(SOON, "the other one has done all but the chunk that holds", || {
        cluster.step(id).progress.is_some_and(|progress| progress.chunks_done == 19)
    });
    let runs = runs_of(&side);
    let on = |name: &str, process: u32| runs.iter().any(|(its, its_process)| its == name && *its_process == process);
    let other = cluster.worker("w2").id();
    assert!(names_of(&side).iter().any(|name| on(name, frozen) && on(name, other)), "{runs:?}");

    cluster.worker("w1").signal(Signal::CONT);
    wait_until(SOON, "the late result is dropped", || {
        let rows = cluster.audit(id).rows;
        rows.duplicate_dropped.receipts + rows.stale_dropped.receipts > 0
    });
    cluster.wait_workers(2);
    std::fs::write(&marker, "").expect("the marker");
    cluster.wait_end(id, StepState::Completed);
    let audit = cluster.audit(id);
    assert!(audit.balanced() && audit.rows.retried.receipts > 0, "{audit}");
    assert_eq!(audit.rows.aggregated.receipts, 20, "{audit}");
    assert_equal(&cluster.output(id), &counts_of(cluster.place(), "cat -- \"$1\"/*.txt", &cluster.place().text("in")));
}

#[test]
fn a_worker_that_is_told_to_leave_hands_its_chunks_back() {
    let (mut cluster, id, input) = start("60s");
    cluster.worker("w1").signal(Signal::TERM);
    wait_until(SOON, "the worker leaves", || cluster.worker("w1").has_ended());
    cluster.wait_end(id, StepState::Completed);
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    assert_eq!(audit.rows.failed.receipts, 0, "leaving is no failure\n{audit}");
    let shown = cluster.cli(&["step", &id.to_string()]).expect_code(0).text();
    assert!(shown.contains("drain of w1 by worker from 127.0.0.1 at "), "{shown}");
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), &input));
}
