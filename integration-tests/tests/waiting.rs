//! `--wait` lasts as long as its step does, whatever becomes of the master meanwhile.

use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options, SOON};
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::process::{Process, Signal};
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// A cluster, and a `submit --wait` of a step that has begun and stands until it is lifted.
struct Waiting {
    cluster: Cluster,
    submit: Process,
    input: String,
    lift: String,
    output: String,
}

impl Waiting {
    fn start(durable: bool) -> Self {
        let sets = vec!["distribute.chunk_bytes=20".to_owned()];
        let cluster = Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable, sets });
        let input = cluster.place().write("input.txt", "one two three\nhold here\nfour five six two\n");
        let [lift, reached, output] = ["lift", "reached", "output"].map(|name| cluster.place().text(name));
        let submit = cluster.start_cli(&[
            "submit",
            "--wait",
            "--program",
            "holds_at_a_line",
            "--input",
            &input,
            "--output",
            &output,
            "--param",
            "hold=hold here",
            "--param",
            &format!("marker={lift}"),
            "--param",
            &format!("reached={reached}"),
        ]);
        wait_until(SOON, "the step is at its line", || std::path::Path::new(&reached).exists());
        Self { cluster, submit, input, lift, output }
    }
}

#[test]
fn a_wait_outlasts_a_master_that_is_killed_and_gives_the_result_of_the_one_that_comes_back() {
    let Waiting { mut cluster, mut submit, input, lift, output } = Waiting::start(true);
    cluster.kill_master();
    let away = submit.line_with(SOON, "waiting until it is back");
    assert!(away.contains("is not reached"), "{away}");
    cluster.start_master();
    let back = submit.line_with(SOON, "the master is back");
    assert_eq!(back, "the master is back");
    std::fs::write(&lift, "").expect("it is lifted");
    let ended = submit.wait(LONG).expect_code(0);
    assert!(ended.text().contains("balanced"), "{}", ended.text());
    let words = sorted(cluster.place(), std::path::Path::new(&output));
    assert_equal(&words, &counts_of_file(cluster.place(), &input));
}

#[test]
fn a_wait_ends_when_the_master_that_comes_back_has_no_such_step() {
    let Waiting { mut cluster, mut submit, .. } = Waiting::start(false);
    cluster.kill_master();
    let away = submit.line_with(SOON, "waiting until it is back");
    assert!(away.contains("is not reached"), "{away}");
    cluster.start_master();
    let ended = submit.wait(LONG).expect_code(3);
    assert!(ended.stderr.contains("there is no step 1"), "{}", ended.stderr);
}

#[test]
fn a_wait_is_not_taken_for_one_on_another_step_of_the_same_number() {
    let Waiting { mut cluster, mut submit, input, .. } = Waiting::start(false);
    // Stands still, so that it does not ask before the other step is there.
    cluster.kill_master();
    let away = submit.line_with(SOON, "waiting until it is back");
    assert!(away.contains("is not reached"), "{away}");
    submit.signal(Signal::STOP);
    cluster.start_master();
    assert_eq!(cluster.submit("word_count", &["--input", &input]), 1);
    submit.signal(Signal::CONT);
    let ended = submit.wait(LONG).expect_code(3);
    assert!(ended.stderr.contains("has another step 1 now"), "{}", ended.stderr);
}

#[test]
fn a_wait_on_a_step_whose_failure_ends_the_cluster_ends_with_the_step() {
    let sets = vec!["retry.max_attempts=1".to_owned()];
    let mut cluster = Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable: true, sets });
    let input = cluster.place().write("input.txt", "one\nbad\n");
    let line = ["submit", "--wait", "--program", "fails_until_marker", "--input", &input, "--on-failure", "terminate"];
    let params = ["--param", "bad=bad", "--param", "slow=2s"];
    let ended = cluster.cli(&[&line[..], &params].concat()).expect_code(1);
    assert!(ended.stderr.contains("step 1 FAILED: 1 chunk was set aside"), "{}", ended.stderr);
    wait_until(SOON, "the master leaves", || cluster.master().has_ended());
}
