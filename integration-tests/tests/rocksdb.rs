//! A master on a RocksDB store, end to end: real processes, a real RocksDB, `kill -9`.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};
use elastic_flow_integration_tests::place::Place;

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
