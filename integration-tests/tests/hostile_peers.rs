//! Peers that have no key, mean another cluster, speak another language, or stop in the middle of a word: none of them is let in,
//! and none of them is felt.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options, SOON, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};
use elastic_flow_integration_tests::process::resident_bytes;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
const TESTBED_OTHER: &str = env!("CARGO_BIN_EXE_testbed_other");

fn start(workers: usize, sets: &[&str]) -> Cluster {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    Cluster::start(Options { program: TESTBED, workers, slots: 1, durable: false, sets })
}

/// A step that gets done shows that the cluster is well.
fn check_work(cluster: &Cluster) {
    let input = cluster.place().write("work.txt", corpus::lines(1, 100_000));
    let id = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(id, StepState::Completed);
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), &input));
}

/// The frame header that announces a body of `bytes`, with an honest checksum.
fn header(kind: u8, bytes: u32) -> Vec<u8> {
    let mut frame = b"EFL1".to_vec();
    frame.extend([1, kind, 0, 1]);
    frame.extend(bytes.to_le_bytes());
    frame.extend(bytes.to_le_bytes());
    frame.extend(0_u32.to_le_bytes());
    frame.extend(0_u64.to_le_bytes());
    frame.extend(0_u32.to_le_bytes());
    frame
}

/// Sends bytes to the master and waits until it hangs up; gives what it answered.
fn send(cluster: &Cluster, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(cluster.listen_addr()).expect("the port is open");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    // It may have hung up before all is sent.
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it does not hang up on {:?}: {error}", bytes.get(..40).unwrap_or(bytes)),
    }
    answer
}

#[test]
fn strangers_on_the_port_are_hung_up_on_and_not_felt() {
    let mut cluster = start(2, &[]);
    check_work(&cluster);
    let master = cluster.master().id();
    let before = resident_bytes(master);
    let noise = corpus::noise(1, 1 << 20);
    let mut half = header(1, 300);
    half.extend([0; 20]);
    let letters: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0",
        &noise,
        // Half a handshake: the deadline ends it.
        &half,
        b"EFL1",
        // A frame of 4 GiB, as a handshake and as data.
        &header(1, u32::MAX),
        &header(7, u32::MAX),
        // A body as large as a frame may be after the handshake, from somebody who has not made one.
        &header(1, 16 << 20),
    ];
    std::thread::scope(|scope| {
        for letter in letters {
            let cluster = &cluster;
            scope.spawn(move || send(cluster, letter));
        }
    });
    let grown = resident_bytes(master).saturating_sub(before);
    assert!(grown < 16 << 20, "the master has grown by {grown} bytes");
    assert_eq!(cluster.workers().len(), 2);
    check_work(&cluster);
}

#[test]
fn many_silent_connections_do_not_keep_a_worker_out() {
    let mut cluster = start(1, &[]);
    let silent: Vec<TcpStream> = (0..300).filter_map(|_| TcpStream::connect(cluster.listen_addr()).ok()).collect();
    check_work(&cluster);
    cluster.start_worker("late");
    cluster.wait_workers(2);
    // The deadline of the handshake ends all of them.
    for mut stream in silent {
        stream.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
        let ended = stream.read(&mut [0; 64]);
        assert!(matches!(&ended, Ok(0)) || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
    check_work(&cluster);
}

#[test]
fn a_worker_with_another_key_is_refused_and_says_so() {
    let cluster = start(1, &[]);
    let key = cluster.place().text("other-key");
    let mut making = cluster.place().command(TESTBED);
    assert!(making.args(["key", "new", &key]).status().expect("it runs").success());
    let stranger = cluster.spawn_worker(TESTBED, "stranger", &["--set", &format!("security.key_file={key}")]);
    let ended = stranger.wait(LONG).expect_code(3);
    assert!(ended.stderr.contains("key"), "{}", ended.stderr);
    assert_eq!(cluster.workers().len(), 1);
    let secret = std::fs::read_to_string(&key).expect("a key");
    assert!(!ended.stderr.contains(secret.trim()), "a key is never shown");
    check_work(&cluster);
}

#[test]
fn a_worker_of_another_cluster_is_refused_and_says_so() {
    let cluster = start(1, &[]);
    let stranger = cluster.spawn_worker(TESTBED, "stranger", &["--set", "cluster=elsewhere"]);
    let ended = stranger.wait(LONG).expect_code(3);
    assert!(ended.stderr.contains("elsewhere"), "{}", ended.stderr);
    assert_eq!(cluster.workers().len(), 1);
    check_work(&cluster);
}

#[test]
fn another_build_gets_no_chunk_and_is_shown_as_one() {
    let mut cluster = start(1, &["distribute.chunk_bytes=100"]);
    cluster.start_worker_of(TESTBED_OTHER, "other", &[]);
    cluster.wait_workers(2);
    let same: Vec<(String, bool)> =
        cluster.workers().into_iter().map(|worker| (worker.name, worker.same_build)).collect();
    let same_of = |name: &str| same.iter().find(|(its, _)| its == name).map(|(_, same)| *same);
    assert_eq!((same_of("w1"), same_of("other")), (Some(true), Some(false)));
    let table = cluster.cli(&["workers"]).expect_code(0).text();
    let line = table.lines().find(|line| line.starts_with("other")).expect("it is listed");
    assert!(line.contains("build"), "{table}");

    let lines = 2_000;
    let input = cluster.place().write("input.txt", "1\n".repeat(lines));
    let id = cluster.submit("sum_constant", &["--input", &input]);
    cluster.wait_end(id, StepState::Completed);
    let sum = cluster.cli(&["result", &id.to_string(), "--json"]).expect_code(0).text();
    assert!(sum.contains(&lines.to_string()), "a constant of another build has come in: {sum}");
    let nodes = cluster.cli(&["receipts", &id.to_string(), "--node", "other", "--json"]).expect_code(0).text();
    assert_eq!(nodes, "", "no chunk went to the other build");
}

#[test]
fn with_another_build_alone_a_step_waits_and_says_for_what() {
    let mut cluster = start(0, &[]);
    cluster.start_worker_of(TESTBED_OTHER, "other", &[]);
    cluster.wait_workers(1);
    let input = cluster.place().write("input.txt", "1\n2\n");
    let id = cluster.submit("sum_constant", &["--input", &input]);
    wait_until(SOON, "the step says that no worker of its build is there", || {
        cluster.step(id).waiting_for.is_some_and(|what| what.contains("build"))
    });
    cluster.start_worker("w1");
    cluster.wait_end(id, StepState::Completed);
}

#[test]
fn two_workers_of_one_name_are_not_confused() {
    let mut cluster = start(1, &["distribute.chunk_bytes=2000"]);
    let input = cluster.place().write("input.txt", corpus::lines(4, 40_000));
    let side = cluster.place().text("side");
    let params = ["--input", &input, "--param", "slow=50ms", "--param", &format!("side={side}")];
    let id = cluster.submit("word_count", &params);
    wait_runs(&side, 2);
    cluster.start_worker("w1");
    cluster.wait_end(id, StepState::Completed);
    assert!(cluster.audit(id).balanced());
    assert_equal(&cluster.output(id), &counts_of_file(cluster.place(), &input));
}
