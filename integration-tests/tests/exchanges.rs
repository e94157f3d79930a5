//! Steps whose workers exchange data, as real processes: some of them killed, stopped or out of reach.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, runs_of, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};
use elastic_flow_integration_tests::process::Signal;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// A cluster and a running step of 20 chunks, whose workers exchange what they count.
fn start(workers: usize, durable: bool, slow: &str) -> (Cluster, u64, String, String) {
    let sets = ["distribute.chunk_bytes=2000", "distribute.task_chunks_max=1", "retry.grace=60s"];
    let sets = sets.map(str::to_owned).into();
    let cluster = Cluster::start(Options { program: TESTBED, workers, slots: 1, durable, sets });
    let input = cluster.place().write("input.txt", corpus::lines(1, 40_000));
    let side = cluster.place().text("side");
    let (slow, side_param) = (format!("slow={slow}"), format!("side={side}"));
    let line = ["--input", &input, "--param", "exchange=true", "--param", &slow, "--param", &side_param];
    let id = cluster.submit("word_count", &line);
    (cluster, id, input, side)
}

fn assert_whole(cluster: &Cluster, id: u64, input: &str) {
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    assert_eq!(audit.rows.aggregated.receipts, audit.rows.conceived.receipts, "{audit}");
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), input));
}

#[test]
fn workers_count_what_falls_to_them() {
    let (cluster, id, input, side) = start(3, false, "1ms");
    cluster.wait_end(id, StepState::Completed);
    assert_whole(&cluster, id, &input);
    let audit = cluster.audit(id);
    assert_eq!(runs_of(&side).len() as u64, audit.rows.conceived.receipts, "each chunk was read once");
    let shown = cluster.cli(&["workers"]).expect_code(0).text();
    assert!(shown.lines().filter(|line| line.contains("127.")).count() >= 3, "where they reach each other\n{shown}");
}

#[test]
fn an_exchange_that_loses_a_worker_is_begun_anew_and_says_so() {
    let (mut cluster, id, input, side) = start(3, false, "80ms");
    wait_runs(&side, 6);
    cluster.kill_worker("w2");
    cluster.wait_end(id, StepState::Completed);
    assert_whole(&cluster, id, &input);
    let audit = cluster.audit(id);
    assert!(audit.rows.retried.receipts > 0, "{audit}");
    let failures = cluster.failures(id);
    let said = failures.iter().any(|it| it.message.contains("w2 was lost") && it.message.contains("begun anew"));
    assert!(said, "{failures:?}");
}

#[test]
fn a_master_that_is_killed_in_the_middle_of_an_exchange_begins_it_anew() {
    let (mut cluster, id, input, side) = start(2, true, "80ms");
    wait_runs(&side, 6);
    cluster.kill_master();
    cluster.start_master();
    cluster.wait_end(id, StepState::Completed);
    assert_whole(&cluster, id, &input);
}

#[test]
fn a_worker_that_cannot_be_reached_is_named() {
    let sets = ["distribute.chunk_bytes=2000", "retry.grace=60s"];
    let sets = sets.map(str::to_owned).into();
    let mut cluster = Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable: false, sets });
    // Nobody listens there, whatever it says.
    cluster.start_worker_of(TESTBED, "w2", &["--advertise", "127.0.0.1:9"]);
    cluster.wait_workers(2);
    let input = cluster.place().write("input.txt", corpus::lines(1, 40_000));
    let id = cluster.submit("word_count", &["--input", &input, "--param", "exchange=true"]);
    let view = cluster.wait_end(id, StepState::Failed);
    let reason = view.reason.expect("a failed step says why");
    assert!(reason.contains("worker w2 cannot be reached at 127.0.0.1:9"), "{reason}");
    assert!(cluster.audit(id).balanced());
}

#[test]
fn a_worker_that_stands_still_is_waited_for_or_replaced() {
    let (mut cluster, id, input, side) = start(2, false, "60ms");
    wait_runs(&side, 4);
    cluster.worker("w1").signal(Signal::STOP);
    cluster.wait_workers(1);
    cluster.worker("w1").signal(Signal::CONT);
    wait_until(SOON, "it is back", || cluster.workers().len() == 2);
    cluster.wait_end(id, StepState::Completed);
    assert_whole(&cluster, id, &input);
}
