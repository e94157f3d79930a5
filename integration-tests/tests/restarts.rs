//! The queue, and a master that is killed: what it acknowledged is there, what was done is not done again.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::orchestrator::api::{ReceiptView, StepView};
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, names_of, wait_runs};
use elastic_flow_integration_tests::corpus::{self, Numbers};
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of, counts_of_file};
use elastic_flow_integration_tests::process::Signal;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// Asks for the long form of a test.
const LONG_FORM: &str = "ELASTIC_FLOW_LONG";

fn options(durable: bool, sets: &[&str]) -> Options {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    Options { program: TESTBED, workers: 2, slots: 1, durable, sets }
}

/// A step of one chunk that takes `slow`, and has begun.
fn submit_slow(cluster: &Cluster, slow: &str) -> u64 {
    let input = cluster.place().write("slow.txt", "slow\n");
    let side = cluster.place().text("slow-side");
    let before = names_of(&side).len();
    let id = cluster.submit(
        "word_count",
        &["--input", &input, "--param", &format!("slow={slow}"), "--param", &format!("side={side}")],
    );
    wait_runs(&side, before + 1);
    id
}

#[test]
fn steps_run_one_at_a_time_and_in_order() {
    let cluster = Cluster::start(options(false, &[]));
    let input = cluster.place().write("input.txt", corpus::lines(1, 20_000));
    let first = submit_slow(&cluster, "1s");
    let second = cluster.submit("word_count", &["--input", &input, "--label", "the second"]);
    let third = cluster.submit("word_count", &["--input", &input]);
    let states: Vec<StepState> = cluster.get::<Vec<StepView>>("/steps").iter().map(|view| view.state).collect();
    assert_eq!(states, [StepState::Running, StepState::Pending, StepState::Pending]);
    let ends: Vec<StepView> = [first, second, third].map(|id| cluster.wait_end(id, StepState::Completed)).into();
    for pair in ends.windows(2) {
        assert!(pair[0].ended_at <= pair[1].started_at, "{pair:#?}");
    }
    assert_equal(&cluster.output(third), &counts_of_file(cluster.place(), &input));
    let table = cluster.cli(&["steps"]).expect_code(0).text();
    assert!(table.contains("the second"), "{table}");
}

#[test]
fn a_key_makes_submitting_twice_one_step() {
    let cluster = Cluster::start(options(true, &[]));
    let input = cluster.place().write("input.txt", "a b a\n");
    let id = cluster.submit("word_count", &["--input", &input, "--key", "monday"]);
    assert_eq!(cluster.submit("word_count", &["--input", &input, "--key", "monday"]), id);
    cluster.wait_end(id, StepState::Completed);
    assert_eq!(cluster.submit("word_count", &["--input", &input, "--key", "monday"]), id);
    let other = ["submit", "--program", "word_count", "--input", &input, "--param", "slow=1ms", "--key", "monday"];
    let refused = cluster.cli(&other).expect_code(3);
    assert!(refused.stderr.contains("monday"), "{}", refused.stderr);
    assert_ne!(cluster.submit("word_count", &["--input", &input, "--key", "tuesday"]), id);
}

#[test]
fn a_key_outlives_the_master() {
    let mut cluster = Cluster::start(options(true, &[]));
    let input = cluster.place().write("input.txt", "a b a\n");
    let id = cluster.submit("word_count", &["--input", &input, "--key", "monday"]);
    cluster.kill_master();
    cluster.start_master();
    assert_eq!(cluster.submit("word_count", &["--input", &input, "--key", "monday"]), id);
    cluster.wait_end(id, StepState::Completed);
}

#[test]
fn cancel_takes_a_pending_step_out_and_stops_a_running_one() {
    let cluster = Cluster::start(options(false, &["distribute.chunk_bytes=1000"]));
    let input = cluster.place().write("input.txt", corpus::lines(3, 60_000));
    let side = cluster.place().text("side");
    let running =
        cluster.submit("word_count", &["--input", &input, "--param", "slow=50ms", "--param", &format!("side={side}")]);
    let pending = cluster.submit("word_count", &["--input", &input]);
    wait_runs(&side, 3);
    cluster.cli(&["cancel", &pending.to_string()]).expect_code(0);
    cluster.wait_end(pending, StepState::Cancelled);
    cluster.cli(&["cancel", &running.to_string()]).expect_code(0);
    cluster.wait_end(running, StepState::Cancelled);
    let audit = cluster.audit(running);
    let rows = audit.rows;
    assert!(audit.balance.balanced(), "{audit}");
    assert!(rows.aggregated.receipts > 0 && rows.aggregated.receipts < 60, "{audit}");
    assert_eq!(rows.conceived.receipts, rows.aggregated.receipts + rows.abandoned.receipts, "{audit}");

    // What was not done can be replayed, and makes it whole.
    std::fs::remove_file(&side).expect("the side file");
    let done = rows.aggregated.receipts;
    cluster.cli(&["replay", &running.to_string(), "--wait"]).expect_code(0);
    let all = cluster.audit(running + 2);
    assert!(all.balanced(), "{all}");
    assert_equal(&cluster.output(running + 2), &counts_of_file(cluster.place(), &input));
    assert!(names_of(&side).len() as u64 <= 61 - done, "what was done is not done again");
}

#[test]
fn who_told_the_master_what_outlives_it_and_so_does_a_drain() {
    let mut cluster = Cluster::start(options(true, &[]));
    let running = submit_slow(&cluster, "2s");
    let input = cluster.place().write("input.txt", "a b a\n");
    let pending = cluster.submit("word_count", &["--input", &input]);
    cluster.cli(&["cancel", &pending.to_string()]).expect_code(0);
    let drained = cluster.cli(&["drain", "w2"]).expect_code(0).text();
    assert!(drained.contains("draining"), "{drained}");
    let unknown = cluster.cli(&["drain", "w3"]).expect_code(3);
    assert!(unknown.stderr.contains("no worker \"w3\""), "{}", unknown.stderr);

    cluster.kill_master();
    cluster.start_master();
    cluster.wait_workers(2);
    cluster.wait_end(running, StepState::Completed);
    let shown = |id: u64| cluster.cli(&["step", &id.to_string()]).expect_code(0).text();
    let commands = |id| -> Vec<String> {
        let text = shown(id);
        let lines = text.lines().filter_map(|line| line.strip_prefix("command "));
        lines.filter_map(|line| line.trim_start().split_once(" at ")).map(|(what, _)| what.to_owned()).collect()
    };
    let local = |what: &str| format!("{what} from 127.0.0.1");
    assert_eq!(commands(running), [local("submit by submit"), local("drain of w2 by admin")]);
    assert_eq!(commands(pending), [local("submit by submit"), local("cancel by submit")]);
    let list = cluster.cli(&["steps"]).expect_code(0).text();
    assert!(list.contains("submit by submit from 127.0.0.1, drain of w2 by admin from 127.0.0.1"), "{list}");

    // The worker is the same process: it gets nothing in the master's next life either.
    let draining: Vec<(String, bool)> = cluster.workers().into_iter().map(|it| (it.name, it.draining)).collect();
    assert!(
        draining.contains(&("w2".to_owned(), true)) && draining.contains(&("w1".to_owned(), false)),
        "{draining:?}"
    );
    let lines = cluster.place().write("lines.txt", corpus::lines(5, 20_000));
    let next = cluster.submit("word_count", &["--input", &lines]);
    cluster.wait_end(next, StepState::Completed);
    let on_w2 = cluster.cli(&["receipts", &next.to_string(), "--node", "w2", "--json"]).expect_code(0).text();
    assert_eq!(on_w2, "");
}

#[test]
fn a_failed_step_sets_off_what_it_was_submitted_with() {
    let cluster = Cluster::start(options(false, &["retry.max_attempts=1"]));
    let input = cluster.place().write("input.txt", "bad\n");
    submit_slow(&cluster, "1s");
    let fails = ["--input", &input, "--param", "bad=bad", "--on-failure", "cancel-and-wait"];
    let failing = cluster.submit("fails_until_marker", &fails);
    let swept = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(failing, StepState::Failed);
    let view = cluster.wait_end(swept, StepState::Cancelled);
    assert!(view.reason.is_some_and(|reason| reason.contains(&failing.to_string())));
    let next = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(next, StepState::Completed);
}

#[test]
fn a_pending_step_outlives_a_killed_master() {
    let mut cluster = Cluster::start(options(true, &[]));
    let input = cluster.place().write("input.txt", corpus::lines(5, 50_000));
    let running = submit_slow(&cluster, "700ms");
    let pending = cluster.submit("word_count", &["--input", &input]);
    assert_eq!(cluster.step(pending).state, StepState::Pending);
    let epoch = cluster.view().epoch;
    cluster.kill_master();
    cluster.start_master();
    assert!(cluster.view().epoch > epoch, "a master that starts again has a higher epoch");
    cluster.wait_end(running, StepState::Completed);
    cluster.wait_end(pending, StepState::Completed);
    assert_equal(&cluster.output(pending), &counts_of_file(cluster.place(), &input));
    assert!(cluster.audit(running).balanced() && cluster.audit(pending).balanced());
}

#[test]
fn a_master_that_is_stopped_interrupts_its_step_and_goes_on_with_it() {
    let mut cluster = Cluster::start(options(true, &["distribute.chunk_bytes=2000"]));
    let input = cluster.place().write("input.txt", corpus::lines(6, 80_000));
    let side = cluster.place().text("side");
    let id =
        cluster.submit("word_count", &["--input", &input, "--param", "slow=50ms", "--param", &format!("side={side}")]);
    wait_runs(&side, 5);
    cluster.master().signal(Signal::TERM);
    wait_until(SOON, "the master leaves", || cluster.master().has_ended());
    cluster.start_master();
    cluster.wait_end(id, StepState::Completed);
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), &input));
}

#[test]
fn results_of_ended_steps_outlive_a_killed_master() {
    let mut cluster = Cluster::start(options(true, &[]));
    let input = cluster.place().write("input.txt", corpus::lines(7, 100_000));
    let id = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(id, StepState::Completed);
    cluster.kill_master();
    cluster.start_master();
    assert_eq!(cluster.step(id).state, StepState::Completed, "an end that was seen is durable");
    assert!(cluster.audit(id).balanced());
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), &input));
}

#[test]
fn a_second_master_on_the_same_store_is_refused() {
    let mut cluster = Cluster::start(options(true, &[]));
    let holder = cluster.master().id().to_string();
    let second = cluster.spawn_second_master().wait(SOON).expect_code(2);
    assert!(second.stderr.contains(&holder), "it names the holder {holder}: {}", second.stderr);
}

/// The names of the chunks that the master says are in the aggregate.
fn acknowledged(cluster: &Cluster, id: u64) -> Vec<String> {
    let receipts: Vec<ReceiptView> = cluster.get(&format!("/steps/{id}/receipts?station=aggregated"));
    let name = |receipt: &ReceiptView| {
        let (path, _, _) = receipt.covers.first().expect("it covers a file");
        let number = path.rsplit('/').next().and_then(|file| file.strip_suffix(".txt")).expect("a file of ours");
        format!("file{}", number.parse::<u32>().expect("a number"))
    };
    receipts.iter().map(name).collect()
}

#[test]
fn a_master_killed_at_random_moments_does_nothing_twice_and_loses_nothing() {
    const FILES: usize = 120;
    let kills = if std::env::var_os(LONG_FORM).is_some() { 30 } else { 5 };
    let seed = u64::from(std::process::id());
    let mut numbers = Numbers::new(seed);
    let sets = ["distribute.chunk_bytes=2000", "distribute.task_chunks_max=1", "retry.max_losses=1000"];
    let mut cluster = Cluster::start(options(true, &sets));
    for number in 0..FILES {
        let text = corpus::named(&format!("file{number}"), number as u64, 2_000);
        cluster.place().write(&format!("in/{number:03}.txt"), text);
    }
    let (input, side) = (cluster.place().text("in/*.txt"), cluster.place().text("side"));
    let side_param = format!("side={side}");
    let id = cluster.submit("word_count", &["--input", &input, "--param", "slow=60ms", "--param", &side_param]);
    let mut killed = 0;
    // What one master had acknowledged, and how many runs had been noted when the next one was there.
    let mut done: Vec<(Vec<String>, usize)> = Vec::new();
    for _ in 0..kills {
        // After a random number of further chunks, and at a random moment of the next.
        let more = usize::try_from(numbers.below(1 + (2 * FILES / (3 * kills)) as u64)).expect("a small number");
        let wanted = names_of(&side).len() + more;
        wait_until(SOON, "chunks run", || names_of(&side).len() >= wanted || cluster.step(id).state.is_final());
        std::thread::sleep(std::time::Duration::from_micros(numbers.below(60_000)));
        let acknowledged = acknowledged(&cluster, id);
        if cluster.step(id).state.is_final() {
            break;
        }
        cluster.kill_master();
        killed += 1;
        cluster.start_master();
        // What the former master had given out was begun by now, or is forgotten.
        done.push((acknowledged, names_of(&side).len()));
    }
    cluster.wait_end(id, StepState::Completed);
    assert!(killed * 2 >= kills, "seed {seed}: the step was over after {killed} kills");
    let audit = cluster.audit(id);
    assert!(audit.balanced(), "seed {seed}: {audit}");
    assert_eq!(audit.rows.aggregated.receipts, FILES as u64, "seed {seed}: {audit}");
    assert_equal(&cluster.output(id), &counts_of(cluster.place(), "cat -- \"$1\"/*.txt", &cluster.place().text("in")));

    let names = names_of(&side);
    for (number, (acknowledged, noted)) in done.iter().enumerate() {
        let again: Vec<&String> = names[*noted..].iter().filter(|name| acknowledged.contains(name)).collect();
        assert!(again.is_empty(), "seed {seed}: {again:?} were done at kill {number} and ran again");
    }
    // What a worker has at work or in hand stays with it, unless the other one is back first and is given it.
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), FILES, "seed {seed}");
    let again = names.len() - FILES;
    assert!(again <= 2 * killed, "seed {seed}: {again} chunks ran again after {killed} kills");
}

#[test]
fn a_result_is_the_same_after_a_restart_until_it_was_kept_long_enough() {
    let mut cluster = Cluster::start(options(true, &[]));
    let input = cluster.place().write("input.txt", corpus::lines(8, 5_000));
    let id = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(id, StepState::Completed);
    let result =
        |cluster: &Cluster, format| cluster.cli(&["result", &id.to_string(), "--format", format]).expect_code(0).stdout;
    let before = ["jsonl", "csv"].map(|format| result(&cluster, format));
    cluster.kill_master();
    cluster.start_master();
    assert_eq!(["jsonl", "csv"].map(|format| result(&cluster, format)), before);
    assert!(!before[0].is_empty());

    cluster.kill_master();
    cluster.set("store.keep_results=0s");
    cluster.start_master();
    let gone = cluster.cli(&["result", &id.to_string()]).expect_code(3);
    assert!(
        gone.stderr.contains("is not kept any more") && gone.stderr.contains("store.keep_results"),
        "{}",
        gone.stderr
    );
    assert_eq!(cluster.step(id).state, StepState::Completed, "the step itself is known");
}
