//! `store du`, `check` and `gc` on the store of a stopped master, and a copy of that store as another master's.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use elastic_flow::orchestrator::api::ReceiptView;
use elastic_flow::prelude::{StepId, StepState};
use elastic_flow::store::{Durability, Store};
use elastic_flow::store_fs::{FsOptions, FsStore};
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process, Signal};
use elastic_flow_integration_tests::wait::wait_until;
use serde_json::Value;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

fn options() -> Options {
    let sets = ["distribute.chunk_bytes=2000", "retry.max_attempts=1", "retry.max_skips=1"];
    let sets = sets.map(str::to_owned).into();
    Options { program: TESTBED, workers: 1, slots: 1, durable: true, sets }
}

/// A cluster whose step 1 completed, and whose step 2 set a chunk aside.
fn with_two_steps() -> (Cluster, String) {
    let cluster = Cluster::start(options());
    let input = cluster.place().write("input.txt", [corpus::lines(5, 10_000), b"bad\n".to_vec()].concat());
    let done = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(done, StepState::Completed);
    let marker = format!("marker={}", cluster.place().text("marker"));
    let arguments = ["--input", &input, "--param", "bad=bad", "--param", &marker];
    let skipped = cluster.submit("fails_until_marker", &arguments);
    cluster.wait_end(skipped, StepState::CompletedWithSkips);
    (cluster, input)
}

fn stop(cluster: &mut Cluster) {
    cluster.master().signal(Signal::TERM);
    wait_until(SOON, "the master stops", || cluster.master().has_ended());
    cluster.kill_master();
}

fn store_of(cluster: &Cluster) -> PathBuf {
    cluster.place().path("store")
}

/// Runs `store ARGUMENTS` on the store of a cluster.
fn store_command(cluster: &Cluster, arguments: &[&str]) -> Ended {
    store_command_on(cluster.place(), &store_of(cluster), arguments)
}

fn store_command_on(place: &Place, store: &Path, arguments: &[&str]) -> Ended {
    let mut command = place.command(TESTBED);
    command.arg("store").args(arguments).args(["--store", &format!("fs:{}", store.display())]);
    Process::start(place, "store", &mut command).wait(SOON)
}

fn json(ended: &Ended) -> Value {
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

/// Every file below `folder` but the lock, with what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") {
            let bytes = fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let target = to.join(path.strip_prefix(from).expect("it lies below"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::write(target, bytes).expect("a copy");
    }
}

fn open(store: &Path) -> FsStore {
    FsStore::open(store, FsOptions::default()).expect("the store opens").0
}

#[test]
fn a_running_master_keeps_its_store_to_itself() {
    let mut cluster = Cluster::start(Options { workers: 0, ..options() });
    let holder = cluster.master().id().to_string();
    for arguments in [&["du"][..], &["check"], &["gc"], &["gc", "--dry-run"]] {
        let refused = store_command(&cluster, arguments).expect_code(2);
        assert!(refused.stderr.contains(&format!("held by process {holder}")), "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn where_no_store_is_none_is_made() {
    let place = Place::new();
    for store in ["fs:typo", "memory", "nobody:x"] {
        let mut command = place.command(TESTBED);
        command.args(["store", "gc", "--store", store]);
        Process::start(&place, "store", &mut command).wait(SOON).expect_code(2);
    }
    assert!(!place.path("typo").exists());
}

#[test]
fn du_says_what_each_step_takes_and_it_adds_up() {
    let (mut cluster, _) = with_two_steps();
    stop(&mut cluster);
    let usage = json(&store_command(&cluster, &["du", "--json"]).expect_code(0));
    let steps = usage["steps"].as_array().expect("steps");
    let states: Vec<&str> = steps.iter().map(|step| step["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["COMPLETED", "COMPLETED_WITH_SKIPS"]);
    for step in steps {
        assert!(step["journal_bytes"].as_u64() > Some(0) && step["result_bytes"].as_u64() > Some(0), "{step}");
    }
    // Only what was set aside has payloads of its own.
    assert_eq!(steps[0]["payload_bytes"], 0);
    assert!(steps[1]["payload_bytes"].as_u64() > Some(0), "{usage}");
    let on_disk: usize = files(&store_of(&cluster)).values().map(Vec::len).sum();
    assert_eq!(usage["total_bytes"], on_disk);
    let table = store_command(&cluster, &["du"]).expect_code(0).text();
    let heads: Vec<&str> = table.lines().next().expect("a line").split_whitespace().collect();
    assert_eq!(heads, ["STEP", "STATE", "JOURNAL", "PAYLOADS", "RESULTS", "TOTAL"]);
    assert!(table.lines().any(|line| line.starts_with("2 ") && line.contains("COMPLETED_WITH_SKIPS")), "{table}");
}

/// Damages a byte of a file while `look` looks.
fn with_damage<T>(path: &Path, at: usize, look: impl FnOnce() -> T) -> T {
    let whole = fs::read(path).expect("a file");
    let mut damaged = whole.clone();
    damaged[at] ^= 1;
    fs::write(path, damaged).expect("it is written");
    let seen = look();
    fs::write(path, whole).expect("it is written");
    seen
}

#[test]
fn check_reads_everything_and_names_file_and_offset_of_what_is_bad() {
    let (mut cluster, _) = with_two_steps();
    stop(&mut cluster);
    let whole = store_command(&cluster, &["check"]).expect_code(0).text();
    assert!(whole.ends_with("everything is as it was written\n"), "{whole}");
    let findings = json(&store_command(&cluster, &["check", "--json"]).expect_code(0));
    assert_eq!((findings["whole"].as_bool(), findings["findings"]["payloads"].as_u64()), (Some(true), Some(5)));

    let all = files(&store_of(&cluster));
    let payload = all.keys().find(|path| path.ends_with("payloads/1/result.zst")).expect("a result");
    let last = all[payload].len() - 1;
    let found = with_damage(payload, last, || store_command(&cluster, &["check", "--json"]).expect_code(1));
    let bad = json(&found)["findings"]["bad"].clone();
    assert_eq!(bad[0]["place"], payload.to_str().expect("a plain name"), "{bad}");
    assert_eq!((bad[0]["offset"].as_u64(), bad.as_array().map(Vec::len)), (Some(24), Some(1)), "{bad}");

    let journal = all.keys().find(|path| path.extension().is_some_and(|it| it == "log")).expect("a journal");
    // In the first record's payload; the record begins behind the segment's header.
    let found = with_damage(journal, 28 + 28 + 2, || store_command(&cluster, &["check"]).expect_code(1)).text();
    assert!(found.contains(&format!("bad       {} at byte 28: ", journal.display())), "{found}");
    store_command(&cluster, &["check"]).expect_code(0);
}

#[test]
fn gc_removes_what_no_step_needs_and_a_master_goes_on_with_the_rest() {
    let (mut cluster, input) = with_two_steps();
    let receipts: Vec<ReceiptView> = cluster.get("/steps/2/receipts?station=aggregated");
    let wanted = (cluster.output(1), cluster.audit(1), cluster.audit(2));
    stop(&mut cluster);
    let folder = store_of(&cluster);
    let left = {
        let store = open(&folder);
        let chunk =
            store.list(StepId(2)).expect("a list").into_iter().find(|it| it.name.len() > 10).expect("a chunk").name;
        let bytes = store.get(StepId(2), &chunk).expect("it reads").expect("it is there");
        // Of a step that no journal knows; left by a crash; and back after a power cut, though it is in the result.
        store.put(StepId(77), "result", b"orphan", Durability::Os).expect("it is kept");
        store.put(StepId(2), &receipts[0].id.to_string(), &bytes, Durability::Os).expect("it is kept");
        chunk
    };
    fs::write(folder.join("payloads/2/result.zst.9.tmp"), "part").expect("it is written");

    let before = files(&folder);
    let planned = json(&store_command(&cluster, &["gc", "--dry-run", "--json"]).expect_code(0));
    assert_eq!(files(&folder), before, "a dry run changes nothing");
    let shown = store_command(&cluster, &["gc"]).expect_code(0).text();
    assert!(shown.starts_with("REMOVED "), "{shown}");
    let removed = planned["removed"].as_array().expect("a list");
    let reasons: Vec<&str> = removed.iter().filter_map(|it| it["reason"].as_str()).collect();
    assert_eq!(reasons, ["aggregated", "unknown_step"], "{planned}");
    assert_eq!(removed[0]["payloads"], serde_json::json!([receipts[0].id]), "{planned}");
    for entry in removed {
        let what = entry["what"].as_str().expect("a text");
        assert!(shown.contains(what), "{what} in {shown}");
    }
    let after = files(&folder);
    assert!(!folder.join("payloads/77").exists() && !folder.join("payloads/2/result.zst.9.tmp").exists());
    assert!(after.contains_key(&folder.join(format!("payloads/2/{left}.zst"))), "what is to be replayed stays");
    assert!(after.values().map(Vec::len).sum::<usize>() < before.values().map(Vec::len).sum());
    let again = store_command(&cluster, &["gc"]).expect_code(0).text();
    assert_eq!(again, "nothing to remove\n");
    store_command(&cluster, &["check"]).expect_code(0);

    cluster.start_master();
    cluster.wait_workers(1);
    assert_eq!((cluster.output(1), cluster.audit(1), cluster.audit(2)), wanted);
    cluster.place().write("marker", "");
    cluster.cli(&["replay", "2", "--wait"]).expect_code(0);
    assert_equal(&cluster.output(3), &counts_of_file(cluster.place(), &input));
}

#[test]
fn gc_takes_results_that_were_kept_long_enough() {
    let (mut cluster, _) = with_two_steps();
    stop(&mut cluster);
    store_command(&cluster, &["gc", "--set", "store.keep_results=0s"]).expect_code(0);
    let store = open(&store_of(&cluster));
    assert_eq!(store.steps().expect("steps"), []);
}

/// Everything that a master says of its steps.
fn answers(cluster: &Cluster, steps: &[u64]) -> Vec<String> {
    let paths = ["", "/audit", "/receipts", "/failures", "/result?format=tsv"];
    let paths = steps.iter().flat_map(|id| paths.map(|path| format!("/api/v1/steps/{id}{path}")));
    paths
        .map(|path| {
            let answer = cluster.ask("GET", &path, "").expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            answer.body
        })
        .collect()
}

#[test]
fn a_copy_of_a_store_gives_the_same_answers_and_goes_on() {
    let (mut cluster, input) = with_two_steps();
    let side = cluster.place().text("side");
    let (side_param, marker) = (format!("side={side}"), cluster.place().text("go-on"));
    let held = ["--param", "hold=stay", "--param", &format!("marker={marker}"), "--param", &side_param];
    let stay = cluster.place().write("stay.txt", "stay\n");
    let running = cluster.submit("word_count", &[&["--input", &stay], &held[..]].concat());
    wait_runs(&side, 1);
    let pending = cluster.submit("word_count", &["--input", &input, "--label", "waits"]);
    let before = answers(&cluster, &[1, 2]);
    stop(&mut cluster);

    let place = Place::new();
    copy(&store_of(&cluster), &place.path("store"));
    let store = format!("fs:{}", place.text("store"));
    let copied = Cluster::start_in(place, options(), store);
    assert_eq!(answers(&copied, &[1, 2]), before);
    fs::write(marker, "").expect("it is written");
    copied.wait_end(running, StepState::Completed);
    let ended = copied.wait_end(pending, StepState::Completed);
    assert_eq!(ended.label.as_deref(), Some("waits"));
    assert_equal(&copied.output(pending), &counts_of_file(copied.place(), &input));
}

#[test]
fn a_journal_of_another_format_is_refused_by_its_number() {
    let (mut cluster, _) = with_two_steps();
    stop(&mut cluster);
    {
        let store = open(&store_of(&cluster));
        let mut records = Vec::new();
        let read = store.replay(&mut |record| {
            records.push(record.to_vec());
            Ok(())
        });
        read.expect("it reads");
        records[2][0] = 200;
        store.rewrite(&mut records.into_iter()).expect("it is written");
    }
    let refused = cluster.spawn_master().wait(SOON).expect_code(2);
    assert!(refused.stderr.contains("the journal has format 200"), "{}", refused.stderr);
    let found = store_command(&cluster, &["check"]).expect_code(1).text();
    assert!(found.contains("bad       journal record 3: the journal has format 200"), "{found}");
    let refused = store_command(&cluster, &["gc"]).expect_code(1);
    assert!(refused.stderr.contains("journal record 3"), "{}", refused.stderr);
}
