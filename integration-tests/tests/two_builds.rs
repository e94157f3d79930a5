//! Two builds of one program, which differ in one constant inside a closure: each works for a master of its own build, and for no
//! other.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;

use elastic_flow::orchestrator::api::ReceiptView;
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON};
use elastic_flow_integration_tests::wait::wait_until;

/// Sums 1 a line.
const FIRST: &str = env!("CARGO_BIN_EXE_testbed");
/// Sums 2 a line.
const SECOND: &str = env!("CARGO_BIN_EXE_testbed_other");
const LINES: usize = 2_000;

/// The nodes that a step's chunks were on last.
fn nodes_of(cluster: &Cluster, step: u64) -> BTreeSet<String> {
    let receipts: Vec<ReceiptView> = cluster.get(&format!("/steps/{step}/receipts"));
    assert!(receipts.len() >= 10, "{} chunks", receipts.len());
    receipts.into_iter().map(|it| it.node.expect("every chunk was on a worker")).collect()
}

fn builds(cluster: &Cluster) -> Vec<(String, bool)> {
    let mut builds: Vec<_> = cluster.workers().into_iter().map(|it| (it.name, it.same_build)).collect();
    builds.sort_unstable();
    builds
}

/// What `workers` says of one.
fn state_of(cluster: &Cluster, name: &str) -> String {
    let table = cluster.cli(&["workers"]).expect_code(0).text();
    table.lines().find(|line| line.starts_with(name)).expect("it is listed").to_owned()
}

fn sum_of(cluster: &Cluster, step: u64) -> usize {
    let text = cluster.cli(&["result", &step.to_string(), "--json"]).expect_code(0).text();
    let [sum] = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text} is no sum: {error}"));
    sum
}

fn check(cluster: &Cluster, step: u64, worker: &str, sum: usize) {
    cluster.wait_end(step, StepState::Completed);
    assert!(cluster.audit(step).balanced());
    assert_eq!(nodes_of(cluster, step), BTreeSet::from([worker.to_owned()]));
    assert_eq!(sum_of(cluster, step), sum);
}

#[test]
fn another_build_gets_no_chunk_of_a_running_step_and_works_once_the_master_is_of_it() {
    let sets = ["distribute.chunk_bytes=100", "distribute.task_chunks_max=1", "retry.grace=60s"];
    let sets = sets.map(str::to_owned).into();
    let mut cluster = Cluster::start(Options { program: FIRST, workers: 1, slots: 1, durable: true, sets });
    let (input, marker, reached) =
        (cluster.place().text("input.txt"), cluster.place().text("marker"), cluster.place().text("reached"));
    std::fs::write(&input, format!("hold\n{}", "1\n".repeat(LINES - 1))).expect("the input");
    let params = [format!("marker={marker}"), format!("reached={reached}")];
    let line = ["--input", &input, "--param", "hold=hold", "--param", &params[0], "--param", &params[1]];

    // A step of the first build runs, and holds, when the second one joins.
    let first = cluster.submit("sum_constant", &line);
    wait_until(SOON, "the step runs", || std::path::Path::new(&reached).exists());
    cluster.start_worker_of(SECOND, "w2", &[]);
    cluster.wait_workers(2);
    assert_eq!(builds(&cluster), [("w1".to_owned(), true), ("w2".to_owned(), false)]);
    assert!(state_of(&cluster, "w2").contains("other build"));
    std::fs::write(&marker, "").expect("the marker");
    check(&cluster, first, "w1", LINES);

    // The master goes on as the second build, on the same store and at the same address: the workers come by themselves.
    cluster.kill_master();
    cluster.upgrade(SECOND);
    cluster.start_master();
    cluster.wait_workers(2);
    assert_eq!(builds(&cluster), [("w1".to_owned(), false), ("w2".to_owned(), true)]);
    assert!(state_of(&cluster, "w1").contains("other build"));
    let second = cluster.submit("sum_constant", &line);
    check(&cluster, second, "w2", 2 * LINES);
    assert_eq!(sum_of(&cluster, first), LINES, "what the first build has summed stays");
}
