//! The command line towards people and scripts: exit codes, refusals that name the thing, and secrets that are never shown.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::time::Duration;

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options, SOON, names_of, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process, Signal, wait_gone};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

fn options(durable: bool, sets: &[&str]) -> Options {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    Options { program: TESTBED, workers: 2, slots: 1, durable, sets }
}

fn run(place: &Place, arguments: &[&str]) -> Ended {
    Process::start(place, "command", place.command(TESTBED).args(arguments)).wait(LONG)
}

#[test]
fn what_is_asked_for_wrongly_is_refused_with_exit_code_2() {
    let place = Place::new();
    let input = place.write("input.txt", "a\n");
    let cases: [(&[&str], &str); 9] = [
        (&["run", "--program", "word_counts", "--input", &input], "word_count"),
        (&["run", "--program", "word_count", "--input", "/nowhere/at/all.txt"], "/nowhere/at/all.txt"),
        (&["run", "--program", "word_count", "--input", &input, "--param", "slwo=1s"], "slwo"),
        (&["run", "--program", "word_count", "--input", &input, "--param", "slow=soon"], "slow"),
        (&["run", "--program", "word_count", "--input", &input, "--set", "retry.max_attempt=1"], "retry.max_attempts"),
        (
            &["run", "--program", "word_count", "--input", &input, "--set", "distribute.window=by_tent"],
            "distribute.window is \"by_tent\", but has to be one of by_tens, by_first_word",
        ),
        (
            &["run", "--program", "word_count", "--input", &input, "--set", "heartbeat.monitor=living_file"],
            "heartbeat.monitor is \"living_file\", but has to be one of living-file, default",
        ),
        (&["master", "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0", "--store", "memory"], "0.0.0.0"),
        (&["master", "--store", "memery", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], "memery"),
    ];
    for (arguments, named) in cases {
        let ended = run(&place, arguments).expect_code(2);
        assert!(ended.stderr.contains(named), "{arguments:?} should name {named}: {}", ended.stderr);
        assert_eq!(ended.text(), "", "{arguments:?}");
    }
}

#[test]
fn a_window_keeps_its_lines_in_one_chunk() {
    let place = Place::new();
    let text: String = (0..60).flat_map(|window| (0..40).map(move |line| format!("w{window} line {line}\n"))).collect();
    let (input, side, output) = (place.write("input.txt", &text), place.text("side"), place.text("counts"));
    let side_param = format!("side={side}");
    let mut line =
        vec!["run", "--program", "word_count", "--input", &input, "--output", &output, "--param", &side_param];
    // Each window is several times as long as that.
    line.extend(["--set", "distribute.chunk_bytes=100", "--set", "distribute.window=by_first_word"]);
    let ended = run(&place, &line).expect_code(0);
    assert!(ended.text().trim_end().ends_with(": balanced"), "{}", ended.text());
    let (mut begun, mut windows) = (names_of(&side), (0..60).map(|window| format!("w{window}")).collect::<Vec<_>>());
    begun.sort();
    windows.sort();
    assert_eq!(begun, windows, "each is one chunk");
    assert_equal(&sorted(&place, &place.path("counts")), &counts_of_file(&place, &input));

    line.extend(["--set", "distribute.window=by_tens"]);
    let failed = run(&place, &line).expect_code(1);
    assert!(failed.stderr.contains("\"by_tens\" is over items of u64"), "{}", failed.stderr);
}

#[test]
fn a_master_that_is_not_there_is_exit_code_3() {
    let place = Place::new();
    run(&place, &["key", "new", &place.text("config/elastic-flow/key")]).expect_code(0);
    let ended = run(&place, &["steps", "--admin", "http://127.0.0.1:1"]).expect_code(3);
    assert!(ended.stderr.contains("127.0.0.1:1"), "{}", ended.stderr);
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let ended = run(&place, &["master", "--listen", &address, "--admin", "127.0.0.1:0", "--store", "memory"]);
    let ended = ended.expect_code(2);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn an_interrupted_run_ends_soon_even_if_user_code_does_not() {
    let place = Place::new();
    let (input, side) = (place.write("input.txt", "never\nends\n"), place.text("side"));
    let (side_param, marker_param) = (format!("side={side}"), format!("marker={}", place.text("absent")));
    let mut command = place.command(TESTBED);
    command.args(["run", "--program", "word_count", "--input", &input, "--param", &side_param]);
    command.args(["--param", &marker_param, "--param", "hold=never"]);
    let process = Process::start(&place, "run", &mut command);
    wait_runs(&side, 1);
    let children = process.children();
    assert_eq!(children.len(), 2);
    process.signal(Signal::INT);
    let ended = process.wait(Duration::from_secs(15)).expect_code(5);
    assert!(ended.stderr.contains("SIGINT"), "{}", ended.stderr);
    wait_gone(Duration::from_secs(5), &children);
}

#[test]
fn submit_waits_over_a_restart_of_the_master() {
    let mut cluster = Cluster::start(options(true, &["distribute.chunk_bytes=2000"]));
    let input = cluster.place().write("input.txt", corpus::lines(2, 60_000));
    let (side, output) = (cluster.place().text("side"), cluster.place().text("counts"));
    let side_param = format!("side={side}");
    let mut line = vec!["submit", "--program", "word_count", "--input", &input, "--param", "slow=50ms", "--wait"];
    line.extend(["--param", &side_param, "--output", &output]);
    let waiting = cluster.start_cli(&line);
    wait_runs(&side, 8);
    cluster.kill_master();
    cluster.start_master();
    let ended = waiting.wait(LONG).expect_code(0);
    assert!(ended.text().trim_end().ends_with(": balanced"), "{}", ended.text());
    let counts = sorted(cluster.place(), &cluster.place().path("counts"));
    assert_equal(&counts, &counts_of_file(cluster.place(), &input));
}

#[test]
fn a_running_step_shows_its_result_so_far_as_partial() {
    let cluster = Cluster::start(options(false, &["distribute.chunk_bytes=2000"]));
    let input = cluster.place().write("input.txt", corpus::lines(3, 40_000));
    let (side, marker) = (cluster.place().text("side"), cluster.place().text("marker"));
    let (side_param, marker_param) = (format!("side={side}"), format!("marker={marker}"));
    let id = cluster.submit(
        "word_count",
        &["--input", &input, "--param", "slow=40ms", "--param", &side_param, "--param", &marker_param],
    );
    wait_runs(&side, 8);
    let partial = cluster.cli(&["result", &id.to_string(), "--format", "tsv"]).expect_code(0);
    assert!(partial.stderr.contains("partial"), "{}", partial.stderr);
    cluster.wait_end(id, StepState::Completed);
    let whole = cluster.cli(&["result", &id.to_string(), "--format", "tsv"]).expect_code(0);
    assert!(!whole.stderr.contains("partial"), "{}", whole.stderr);
    assert!(whole.stdout.len() > partial.stdout.len());
}

#[test]
fn the_key_is_in_no_log_and_no_answer() {
    let mut cluster = Cluster::start(options(true, &["retry.max_attempts=1"]));
    let key = std::fs::read_to_string(cluster.place().path("config/elastic-flow/key")).expect("the key");
    let (bad, side) = (cluster.place().write("bad.txt", "bad\n"), cluster.place().text("side"));
    let side_param = format!("side={side}");
    let id = cluster.submit("fails_until_marker", &["--input", &bad, "--param", "bad=bad", "--param", &side_param]);
    cluster.wait_end(id, StepState::Failed);
    assert!(names_of(&side).iter().all(|name| name == "bad"));
    cluster.kill_worker("w1");
    cluster.wait_workers(1);
    let shown = [
        cluster.ask("GET", "/api/v1/cluster", "").expect("an answer").body,
        cluster.ask("GET", "/api/v1/workers", "").expect("an answer").body,
        cluster.ask("GET", &format!("/api/v1/steps/{id}/failures"), "").expect("an answer").body,
        cluster.ask("GET", "/metrics", "").expect("an answer").body,
        cluster.cli(&["config", "check"]).stderr,
    ];
    cluster.master().signal(Signal::TERM);
    elastic_flow_integration_tests::wait::wait_until(SOON, "the master leaves", || cluster.master().has_ended());
    let logs = std::fs::read_dir(cluster.place().path("logs")).expect("logs").map(|entry| {
        let path = entry.expect("a log").path();
        String::from_utf8_lossy(&std::fs::read(path).expect("a log")).into_owned()
    });
    let key = key.trim();
    assert_eq!(key.len(), 64);
    for text in shown.into_iter().chain(logs) {
        assert!(!text.to_ascii_lowercase().contains(key), "{text}");
    }
}
