//! A master on a RocksDB store, end to end: real processes, a real RocksDB, `kill -9`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::Process;
use serde_json::Value;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

fn start() -> Cluster {
    let place = Place::new();
    let store = format!("rocksdb:{}", place.text("rocks"));
    let sets = vec!["distribute.chunk_bytes=2000".to_owned()];
    Cluster::start_in(place, Options { program: TESTBED, workers: 2, slots: 1, durable: true, sets }, store)
}

#[test]
fn a_step_outlives_a_master_killed_in_the_middle_of_it() {
    let mut cluster = start();
    let input = cluster.place().write("input.txt", corpus::lines(11, 80_000));
    let side = cluster.place().text("side");
    let running =
        cluster.submit("word_count", &["--input", &input, "--param", "slow=50ms", "--param", &format!("side={side}")]);
    let pending = cluster.submit("word_count", &["--input", &input]);
    wait_runs(&side, 5);
    cluster.kill_master();
    cluster.start_master();
    for step in [running, pending] {
        cluster.wait_end(step, StepState::Completed);
        let audit = cluster.audit(step);
        assert!(audit.balanced(), "{audit}");
        assert_equal(&cluster.output(step), &counts_of_file(cluster.place(), &input));
    }
}

#[test]
fn a_second_master_is_refused_with_the_holders_id() {
    let mut cluster = start();
    let holder = cluster.master().id().to_string();
    let second = cluster.spawn_second_master().wait(SOON).expect_code(2);
    assert!(second.stderr.contains(&holder), "it names the holder {holder}: {}", second.stderr);
}

#[test]
fn the_store_of_a_stopped_master_tells_what_it_holds_and_lets_go_of_what_is_not_kept() {
    let mut cluster = start();
    let input = cluster.place().write("input.txt", corpus::lines(12, 8_000));
    let step = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(step, StepState::Completed);
    let before = cluster.output(step);
    cluster.kill_master();
    let url = format!("rocksdb:{}", cluster.place().text("rocks"));
    let store = |cluster: &Cluster, arguments: &[&str]| {
        let mut command = cluster.place().command(TESTBED);
        command.arg("store").args(arguments).args(["--store", &url]);
        Process::start(cluster.place(), "store", &mut command).wait(SOON).expect_code(0)
    };
    let usage = |cluster: &Cluster| -> Value {
        serde_json::from_slice(&store(cluster, &["du", "--json"]).stdout).expect("JSON")
    };
    store(&cluster, &["check"]);
    store(&cluster, &["gc", "--dry-run"]);
    let held = usage(&cluster);
    assert_eq!(held["steps"][0]["state"], "COMPLETED");
    assert!(held["steps"][0]["result_bytes"].as_u64() > Some(0), "{held}");
    // Nothing is too old yet, and the answers are those of before.
    store(&cluster, &["gc"]);
    cluster.start_master();
    assert_eq!(cluster.output(step), before);
    cluster.kill_master();
    store(&cluster, &["gc", "--set", "store.keep_results=0s"]);
    let left = usage(&cluster);
    assert_eq!(left["steps"][0]["result_bytes"].as_u64().unwrap_or(0), 0, "{left}");
}
