//! User code that fails or panics, and files that change under a step.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, names_of, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
const FILE_BYTES: usize = 2_000;

/// Each file of `FILE_BYTES` is a chunk.
fn options(sets: &[&str]) -> Options {
    let own = ["distribute.chunk_bytes=2000"];
    let sets = own.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    Options { program: TESTBED, workers: 2, slots: 1, durable: false, sets }
}

/// Writes `count` files and gives the glob of all of them.
fn write_files(cluster: &Cluster, folder: &str, count: u64) -> String {
    for number in 0..count {
        let text = corpus::named(&format!("file{number}"), number, FILE_BYTES);
        cluster.place().write(&format!("{folder}/{number:03}.txt"), text);
    }
    cluster.place().text(&format!("{folder}/*.txt"))
}

/// What the tools count in all files of a folder.
fn wanted(cluster: &Cluster, folder: &str) -> Vec<u8> {
    counts_of(cluster.place(), "cat -- \"$1\"/*.txt", &cluster.place().text(folder))
}

#[test]
fn what_failed_is_replayed_alone_and_makes_the_result_whole() {
    let cluster = Cluster::start(options(&[]));
    let files = write_files(&cluster, "in", 12);
    let (side, marker) = (cluster.place().text("side"), cluster.place().text("marker"));
    let (side_param, marker_param) = (format!("side={side}"), format!("marker={marker}"));
    let params = ["--input", &files, "--param", "bad=file7", "--param", &side_param, "--param", &marker_param];
    let id = cluster.submit("fails_until_marker", &params);
    let view = cluster.wait_end(id, StepState::Failed);
    assert!(view.reason.is_some(), "a failed step says why");

    // Every chunk ran once, the bad one as often as it may.
    let ran = names_of(&side);
    let attempts = ran.iter().filter(|name| *name == "file7").count();
    assert_eq!(attempts, 4, "{ran:?}");
    let mut others: Vec<&String> = ran.iter().filter(|name| *name != "file7").collect();
    others.sort();
    others.dedup();
    assert_eq!((others.len(), ran.len()), (11, 15), "{ran:?}");
    let audit = cluster.audit(id);
    assert_eq!((audit.rows.aggregated.receipts, audit.rows.set_aside.receipts), (11, 1), "{audit}");
    assert!(audit.balanced(), "{audit}");
    let failure = cluster.failures(id).into_iter().find(|failure| failure.set_aside).expect("it is named");
    assert!(failure.message.contains("not wanted yet"), "{failure:?}");
    assert_eq!(audit.rows.failed.receipts, 4, "{audit}");

    std::fs::remove_file(&side).expect("the side file");
    std::fs::write(&marker, "").expect("the marker");
    cluster.cli(&["replay", &id.to_string(), "--wait"]).expect_code(0);
    assert_eq!(names_of(&side), ["file7"]);
    let replayed = id + 1;
    let view = cluster.step(replayed);
    assert_eq!((view.state, view.replay_of.map(|step| step.0)), (StepState::Completed, Some(id)));
    assert!(cluster.audit(replayed).balanced());
    assert_equal(&cluster.output(replayed), &wanted(&cluster, "in"));
}

#[test]
fn a_line_that_panics_is_set_aside_by_name() {
    let cluster = Cluster::start(options(&["retry.max_attempts=2"]));
    let files = write_files(&cluster, "in", 6);
    let text = corpus::lines(77, 500);
    let position = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    let mut text = String::from_utf8(text).expect("it is text");
    text.push_str("here it panics\nand on it goes\n");
    let bad = cluster.place().write("in/003.txt", text);
    let id = cluster.submit("panics_on_a_line", &["--input", &files, "--param", "bad=here it panics"]);
    cluster.wait_end(id, StepState::Failed);
    let failures = cluster.failures(id);
    let aside = failures.iter().find(|failure| failure.set_aside).expect("it is named");
    assert!(aside.message.contains("the line that it panics on"), "{aside:?}");
    assert_eq!((aside.item, aside.attempts), (Some(position), 2), "{aside:?}");
    let receipt = aside.receipt.expect("its receipt").to_string();
    let audit = cluster.audit(id);
    assert_eq!((audit.rows.aggregated.receipts, audit.rows.set_aside.receipts), (5, 1), "{audit}");
    assert!(audit.to_string().contains(&receipt), "{audit}");

    // What the receipt stands for can be asked by its text.
    let told = cluster.cli(&["receipt", &receipt]).expect_code(0).text();
    assert!(told.contains(&bad), "{told}");
    // The workers are still there and work.
    assert_eq!(cluster.workers().len(), 2);
    let id = cluster.submit("word_count", &["--input", &files]);
    cluster.wait_end(id, StepState::Completed);
}

#[test]
fn skips_that_are_allowed_complete_the_step() {
    let cluster = Cluster::start(options(&["retry.max_attempts=1", "retry.max_skips=1"]));
    let files = write_files(&cluster, "in", 4);
    let line = ["submit", "--program", "fails_until_marker", "--input", &files, "--param", "bad=file2", "--wait"];
    let ended = cluster.cli(&line).expect_code(4);
    assert!(ended.stderr.contains("not wanted yet"), "{}", ended.stderr);
    std::fs::remove_file(cluster.place().path("in/002.txt")).expect("it is there");
    assert_equal(&cluster.output(1), &wanted(&cluster, "in"));
}

#[test]
fn files_that_changed_since_submission_fail_by_name() {
    let cluster = Cluster::start(options(&["retry.max_attempts=1"]));
    let blocker = cluster.place().write("blocker/a.txt", "a\n");
    let side = cluster.place().text("side");
    let slow =
        cluster.submit("word_count", &["--input", &blocker, "--param", "slow=2s", "--param", &format!("side={side}")]);
    wait_runs(&side, 1);
    let files = write_files(&cluster, "in", 8);
    let id = cluster.submit("word_count", &["--input", &files]);
    assert_eq!(cluster.step(id).state, StepState::Pending, "the change has to come before its turn");

    let path = |number: u32| cluster.place().path(&format!("in/{number:03}.txt"));
    let former = |number: u32| std::fs::read(path(number)).expect("it is there");
    let grown = former(5);
    std::fs::remove_file(path(1)).expect("it is there");
    std::fs::write(path(2), &former(2)[..700]).expect("it is ours");
    std::fs::write(path(3), corpus::named("another", 99, FILE_BYTES)).expect("it is ours");
    let mut longer = grown.clone();
    longer.extend(b"this came later\n");
    // Appended to, not written anew.
    let mut file = std::fs::OpenOptions::new().append(true).open(path(5)).expect("it is ours");
    std::io::Write::write_all(&mut file, b"this came later\n").expect("it grows");

    cluster.wait_end(slow, StepState::Completed);
    cluster.wait_end(id, StepState::Failed);
    let failures = cluster.failures(id);
    let messages: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
    let of = |number: u32| {
        let name = format!("{number:03}.txt");
        let found: Vec<&&str> = messages.iter().filter(|message| message.contains(&name)).collect();
        assert_eq!(found.len(), 1, "{name} in {messages:#?}");
        found[0].to_owned()
    };
    assert!(of(1).contains("had 2000 bytes") && of(1).contains("gone"), "{}", of(1));
    assert!(of(2).contains("had 2000 bytes") && of(2).contains("700 now"), "{}", of(2));
    assert!(of(3).contains("other content") && of(3).contains("2000 bytes then, 2000 now"), "{}", of(3));
    let audit = cluster.audit(id);
    assert_eq!((audit.rows.aggregated.receipts, audit.rows.set_aside.receipts), (5, 3), "{audit}");
    assert!(audit.balanced(), "{audit}");

    // The one that has grown counts as it was, and the audit says so.
    assert!(audit.to_string().contains("005.txt"), "{audit}");
    for number in [1, 2, 3] {
        std::fs::remove_file(path(number)).ok();
    }
    std::fs::write(path(5), grown).expect("it is ours");
    assert_equal(&cluster.output(id), &wanted(&cluster, "in"));
}
