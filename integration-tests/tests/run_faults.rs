//! `run` when its processes are killed, frozen or told to stop: the counts stay right, and no process stays behind.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::path::PathBuf;
use std::time::Duration;

use elastic_flow::receipt::Audit;
use elastic_flow_integration_tests::cluster::{LONG, SOON, names_of, wait_runs};
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Process, Signal, signal_to, wait_gone};
use elastic_flow_integration_tests::wait::wait_for;
use elastic_flow_integration_tests::{corpus, http};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// A run over one file of `CHUNKS` chunks, each of which takes a while and notes itself in a side file.
struct SlowRun {
    process: Process,
    input: String,
    output: PathBuf,
    side: String,
    place: Place,
}

const CHUNKS: usize = 40;

impl SlowRun {
    fn start(slow: &str, more: &[&str]) -> Self {
        let place = Place::new();
        let chunk = 10_000;
        let input = place.write("input.txt", corpus::lines(20, chunk * CHUNKS));
        let (output, side) = (place.path("counts"), place.text("side"));
        let mut command = place.command(TESTBED);
        command.args(["run", "--json", "--slots", "1", "--program", "word_count", "--input", &input, "--output"]);
        command.arg(&output);
        command.args(["--param", &format!("slow={slow}"), "--param", &format!("side={side}")]);
        for set in ["distribute.chunk_bytes=10000", "heartbeat.every=200ms", "heartbeat.dead_after=1500ms"] {
            command.args(["--set", set]);
        }
        command.args(more);
        let process = Process::start(&place, "run", &mut command);
        Self { process, input, output, side, place }
    }

    /// The process of a worker.
    fn worker(&self, name: &str) -> u32 {
        let is_it = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [b"--name".as_slice(), name.as_bytes()])
        };
        wait_for(SOON, &format!("{name} runs"), || self.process.children().into_iter().find(is_it))
    }

    /// Waits for the end, compares the counts, and gives the audit.
    fn finish(self) -> Audit {
        let Self { process, input, output, side: _, place } = self;
        let ended = process.wait(LONG).expect_code(0);
        let printed: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("one JSON object");
        let audit: Audit = serde_json::from_value(printed.get("audit").cloned().unwrap_or_default()).expect("an audit");
        assert!(audit.balanced(), "{audit}");
        assert_eq!(audit.rows.aggregated.receipts, audit.rows.conceived.receipts, "{audit}");
        assert_equal(&sorted(&place, &output), &counts_of_file(&place, &input));
        audit
    }
}

#[test]
fn without_faults_nothing_is_sent_twice_and_the_workers_go() {
    let run = SlowRun::start("5ms", &[]);
    let children = [run.worker("w1"), run.worker("w2")];
    let audit = run.finish();
    assert_eq!(audit.rows.retried.receipts, 0, "{audit}");
    wait_gone(SOON, &children);
}

#[test]
fn a_worker_killed_half_way_costs_retries_and_nothing_else() {
    let run = SlowRun::start("40ms", &[]);
    wait_runs(&run.side, CHUNKS / 2);
    signal_to(run.worker("w1"), Signal::KILL);
    let audit = run.finish();
    assert!(audit.rows.retried.receipts > 0, "{audit}");
}

#[test]
fn workers_killed_again_and_again_are_started_again() {
    let run = SlowRun::start("40ms", &["--set", "retry.max_losses=100"]);
    for (round, name) in ["w1", "w2", "w1"].into_iter().enumerate() {
        wait_runs(&run.side, 8 * (round + 1));
        signal_to(run.worker(name), Signal::KILL);
    }
    let audit = run.finish();
    assert!(audit.rows.retried.receipts > 0, "{audit}");
}

#[test]
fn a_worker_that_is_frozen_and_thawed_costs_retries_and_nothing_else() {
    let mut run = SlowRun::start("100ms", &["--admin", "127.0.0.1:0"]);
    let line = run.process.line_with(SOON, "admin on http://");
    let (_, admin) = line.rsplit_once("http://").expect("an address");
    let admin = admin.parse().expect("an address");
    wait_runs(&run.side, 6);
    let frozen = run.worker("w1");
    signal_to(frozen, Signal::STOP);
    wait_for(SOON, "the master gives the worker up", || {
        let text = http::ask(admin, "GET", "/metrics", &[("host", "127.0.0.1")], "").ok()?.body;
        let lost = text.lines().filter(|line| line.starts_with("elastic_flow_workers_lost_total"));
        lost.filter_map(|line| line.rsplit(' ').next()).any(|value| value != "0").then_some(())
    });
    signal_to(frozen, Signal::CONT);
    let audit = run.finish();
    assert!(audit.rows.retried.receipts > 0, "{audit}");
}

#[test]
fn a_killed_parent_leaves_no_process() {
    let mut run = SlowRun::start("200ms", &[]);
    wait_runs(&run.side, 3);
    let children = [run.worker("w1"), run.worker("w2")];
    run.process.kill();
    wait_gone(Duration::from_secs(10), &children);
    assert!(!run.output.exists(), "half a result is none");
}

#[test]
fn a_terminated_run_says_so_and_leaves_no_process() {
    let run = SlowRun::start("200ms", &[]);
    wait_runs(&run.side, 3);
    let children = [run.worker("w1"), run.worker("w2")];
    run.process.signal(Signal::TERM);
    let SlowRun { process, side, place, .. } = run;
    let ended = process.wait(Duration::from_secs(15)).expect_code(5);
    assert!(ended.stderr.contains("SIGTERM"), "{}", ended.stderr);
    wait_gone(Duration::from_secs(5), &children);
    assert!(names_of(&side).len() < CHUNKS);
    drop(place);
}
