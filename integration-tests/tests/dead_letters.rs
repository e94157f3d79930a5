//! What a program skips: listed by the command line, once, whatever becomes of the master, and never more than may be.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::orchestrator::api::{DeadLetterKind, DeadLetterView};
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// Bad lines of all files.
const BAD: usize = 10;

/// Ten files of a thousand lines, each with a bad one, and gives their glob.
fn write_files(place: &Place) -> String {
    for file in 0..BAD {
        let line = |n: usize| if n == file * 90 { format!("bad, {file}\n") } else { format!("{}\n", file * 1_000 + n) };
        place.write(&format!("in/{file:03}.txt"), (0..1_000).map(line).collect::<String>());
    }
    place.text("in/*.txt")
}

/// What a shell's tools say of all files.
fn shell(place: &Place, script: &str) -> Vec<String> {
    let folder = place.text("in");
    let output = std::process::Command::new("sh").args(["-c", script, "sh", &folder]).output().expect("sh");
    let text = String::from_utf8(output.stdout).expect("it is text");
    text.lines().map(str::to_owned).collect()
}

fn bad_lines(place: &Place) -> Vec<String> {
    shell(place, "cat \"$1\"/*.txt | grep -v '^[0-9]*$' | LC_ALL=C sort")
}

fn sum(place: &Place) -> String {
    shell(place, "cat \"$1\"/*.txt | grep '^[0-9]*$' | awk '{ sum += $1 } END { print sum }'").concat()
}

fn options(durable: bool, sets: &[&str]) -> Options {
    let own = ["distribute.chunk_bytes=2000"];
    let sets = own.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    Options { program: TESTBED, workers: 2, slots: 1, durable, sets }
}

/// The texts of a step's dead letters, in order.
fn texts(letters: &[DeadLetterView]) -> Vec<String> {
    let mut texts: Vec<String> = letters.iter().filter_map(|letter| letter.text.clone()).collect();
    texts.sort();
    texts
}

#[test]
fn bad_lines_are_skipped_counted_and_listed() {
    let cluster = Cluster::start(options(false, &["retry.max_skips=10"]));
    let files = write_files(cluster.place());
    let line = ["submit", "--program", "sums_numbers", "--input", &files, "--wait"];
    let ended = cluster.cli(&line).expect_code(4);
    assert!(ended.text().contains("10 items skipped"), "{}", ended.text());
    assert!(ended.stderr.contains("dead-letters 1"), "{}", ended.stderr);
    let rows = cluster.cli(&["result", "1", "--format", "jsonl"]).expect_code(0).text();
    assert_eq!(rows.trim(), sum(cluster.place()));

    // As JSON, as a table, and page by page.
    let wanted = bad_lines(cluster.place());
    assert_eq!(wanted.len(), BAD);
    let listed = cluster.cli(&["dead-letters", "1", "--json"]).expect_code(0).text();
    let letters: Vec<DeadLetterView> =
        listed.lines().map(|line| serde_json::from_str(line).expect("a dead letter a line")).collect();
    assert_eq!(texts(&letters), wanted);
    for letter in &letters {
        assert_eq!(letter.kind, DeadLetterKind::Skipped);
        assert!(letter.error.contains("invalid digit"), "{letter:?}");
    }
    let table = cluster.cli(&["dead-letters", "1"]).expect_code(0).text();
    assert_eq!(table.lines().count(), BAD + 1, "{table}");
    assert!(wanted.iter().all(|line| table.contains(line)), "{table}");
    let page: Vec<DeadLetterView> = cluster.get("/steps/1/dead-letters?from=3&limit=4");
    assert_eq!(page, letters[3..7]);

    let metrics = cluster.ask("GET", "/metrics", "").expect("an answer").body;
    let counted = metrics.lines().find(|line| line.starts_with("elastic_flow_items_skipped_total"));
    assert!(counted.is_some_and(|line| line.ends_with(" 10")), "{counted:?}");
    let audit = cluster.audit(1);
    assert!(audit.balanced(), "{audit}");
    assert_eq!((audit.rows.aggregated.entries, audit.rows.skipped.entries), (10_000, 10), "{audit}");
    let step = cluster.cli(&["step", "1"]).expect_code(0).text();
    assert!(step.lines().any(|line| line.split_whitespace().eq(["skipped", "10"])), "{step}");

    // All of it is aggregated: there is nothing to run again.
    let refused = cluster.cli(&["replay", "1"]).expect_code(3);
    assert!(refused.stderr.contains("dead-letters 1"), "{}", refused.stderr);
}

#[test]
fn by_default_nothing_may_be_skipped() {
    let cluster = Cluster::start(options(false, &[]));
    let files = write_files(cluster.place());
    let ended = cluster.cli(&["submit", "--program", "sums_numbers", "--input", &files, "--wait"]).expect_code(1);
    for words in ["0 may be (retry.max_skips)", "invalid digit", "raise retry.max_skips"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    let refused = cluster.cli(&["steps", "--set", "retry.max_skips=100001"]).expect_code(2);
    assert!(refused.stderr.contains("100000 at most"), "{}", refused.stderr);
}

#[test]
fn a_replay_of_a_step_with_skips_runs_its_chunks_alone_and_stays_with_skips() {
    let cluster = Cluster::start(options(false, &["retry.max_skips=20"]));
    let files = write_files(cluster.place());
    // A file that is gone when its turn comes is set aside. It has no bad line, so that its replay skips nothing itself.
    let whole: String = (0..1_000).map(|n| format!("{n}\n")).collect();
    cluster.place().write("in/777.txt", &whole);
    let blocker = cluster.place().write("blocker.txt", "1\nhold\n");
    let marker = format!("marker={}", cluster.place().text("marker"));
    let reached = cluster.place().text("reached");
    let held = ["--input", &blocker, "--param", "hold=hold", "--param", &marker];
    let first = cluster.submit("sums_numbers", &[&held[..], &["--param", &format!("reached={reached}")]].concat());
    wait_until(SOON, "the blocker is held", || cluster.place().path("reached").exists());
    let id = cluster.submit("sums_numbers", &["--input", &files]);
    let gone = cluster.place().path("in/777.txt");
    std::fs::remove_file(&gone).expect("it is there");
    std::fs::write(cluster.place().path("marker"), "").expect("the marker");
    cluster.wait_end(first, StepState::Completed);
    cluster.wait_end(id, StepState::CompletedWithSkips);
    let letters: Vec<DeadLetterView> = cluster.get(&format!("/steps/{id}/dead-letters"));
    let aside = letters.iter().filter(|letter| letter.kind == DeadLetterKind::SetAside);
    let aside: Vec<&str> = aside.map(|letter| letter.error.as_str()).collect();
    assert!(!aside.is_empty() && aside.iter().all(|error| error.contains("777.txt")), "{aside:?}");
    assert_eq!(texts(&letters), bad_lines(cluster.place()));

    std::fs::write(&gone, whole).expect("it is back");
    let ended = cluster.cli(&["replay", &id.to_string(), "--wait"]).expect_code(4);
    assert!(
        ended.text().contains("together with step 2: 52,803 of 52,803 bytes read, 10 items skipped"),
        "{}",
        ended.text()
    );
    let replayed: Vec<DeadLetterView> = cluster.get(&format!("/steps/{}/dead-letters", id + 1));
    assert_eq!(replayed, []);
    let audit = cluster.audit(id + 1);
    assert!(audit.balanced(), "{audit}");
    assert_eq!(audit.replayed.expect("a replay").skipped, 10);
    let rows = cluster.cli(&["result", &(id + 1).to_string(), "--format", "jsonl"]).expect_code(0).text();
    assert_eq!(rows.trim(), sum(cluster.place()));
}

#[test]
fn a_killed_master_has_every_dead_letter_once_before_and_after_the_end() {
    let mut cluster = Cluster::start(options(true, &["retry.max_skips=10"]));
    let files = write_files(cluster.place());
    let held = cluster.place().write("held.txt", "hold\n");
    let marker = cluster.place().path("marker");
    let marker_param = format!("marker={}", cluster.place().text("marker"));
    let id =
        cluster.submit("sums_numbers", &["--input", &files, &held, "--param", "hold=hold", "--param", &marker_param]);
    wait_until(SOON, "some of it is done", || cluster.step(id).progress.is_some_and(|it| it.items_skipped >= 4));
    cluster.kill_master();
    cluster.start_master();
    std::fs::write(&marker, "").expect("the marker");
    cluster.wait_end(id, StepState::CompletedWithSkips);
    let letters: Vec<DeadLetterView> = cluster.get(&format!("/steps/{id}/dead-letters"));
    assert_eq!(texts(&letters), bad_lines(cluster.place()));
    let rows = cluster.cli(&["result", &id.to_string(), "--format", "jsonl"]).expect_code(0).text();
    assert_eq!(rows.trim(), sum(cluster.place()));
    assert!(cluster.audit(id).balanced());

    // The account is in the store, whoever is master.
    cluster.kill_master();
    cluster.start_master();
    assert_eq!(cluster.get::<Vec<DeadLetterView>>(&format!("/steps/{id}/dead-letters")), letters);
    assert_eq!(cluster.audit(id).rows.skipped.entries, 10);
}
