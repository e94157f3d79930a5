//! A program that has a metrics recorder and a log of its own keeps them: nothing is installed over them, and all goes there.

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON};
use elastic_flow_integration_tests::process::Signal;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed_telemetry");

#[test]
fn a_recorder_and_a_subscriber_of_the_program_are_used_and_never_replaced() {
    let options = Options { program: TESTBED, workers: 1, slots: 1, durable: false, sets: Vec::new() };
    let mut cluster = Cluster::start(options);
    let input = cluster.place().write("input.txt", "to be or not to be\n");
    let step = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(step, StepState::Completed);

    let answer = cluster.ask("GET", "/metrics", "").expect("an answer");
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(answer.body.contains("installed a metrics recorder of its own"), "{}", answer.body);

    let master = cluster.master();
    master.signal(Signal::TERM);
    // What it counted, and with the help that the series have.
    let _told = master.line_with(SOON, "elastic_flow_entries_total 1");
    let said = master.stderr();
    assert!(said.contains("# HELP elastic_flow_entries_total Items read by chunks in the aggregate."), "{said}");
    let log: Vec<&str> = said.lines().filter(|line| line.contains(" INFO ")).collect();
    assert!(log.iter().any(|line| line.contains("stopping")), "{said}");
    assert!(log.iter().all(|line| line.starts_with("own log: ")), "{said}");
}
