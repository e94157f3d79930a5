//! A worker at the end of a slow line: what waits for it waits in the source, not in anybody's memory, and none of it is sent twice.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options};
use elastic_flow_integration_tests::process::peak_resident_bytes;
use elastic_flow_integration_tests::throttle::SlowLine;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// What no process may reach, ever.
const MEMORY_MAX: u64 = 128 << 20;
/// Bytes of each line of the input, its end included: no border of a chunk falls on one.
const LINE_BYTES: u64 = 1_000;
/// The lines that the master has and the worker has not: a little over 1 GiB.
const LINES: u64 = 1_074_000;
const TOTAL_BYTES: u64 = LINES * LINE_BYTES;
const _: () = assert!(TOTAL_BYTES > 1 << 30 && LINES.is_multiple_of(LINES_AT_ONCE));
/// Lines that are written at once.
const LINES_AT_ONCE: u64 = 1_000;
/// The line, each way: 1 MB/s.
const RATE: u64 = 1_000_000;

/// A master and one worker that has none of the master's files, with a slow line between them.
struct Remote {
    cluster: Cluster,
    line: SlowLine,
}

impl Remote {
    fn start(slots: u32) -> Self {
        // Bytes on the line are bytes of the input, and a peer is dead when it is by default.
        let sets = ["compress=false", "heartbeat.every=1s", "heartbeat.dead_after=5s"].map(str::to_owned).into();
        let mut cluster = Cluster::start(Options { program: TESTBED, workers: 0, slots, durable: false, sets });
        let line = SlowLine::start(cluster.host(), cluster.listen_addr(), RATE);
        let empty = cluster.place().path("empty");
        std::fs::create_dir(&empty).expect("a folder");
        let roots = format!("source.data_roots={}", empty.display());
        cluster.start_worker_through(&line.address().to_string(), "far", &["--set", &roots]);
        cluster.wait_workers(1);
        Self { cluster, line }
    }

    /// Checks what holds at any time: nobody has grown, the worker was never given up, and nothing was sent twice.
    fn check(&mut self, id: u64) {
        let processes = [("the master", self.cluster.master().id()), ("the worker", self.cluster.worker("far").id())];
        for (who, process) in processes {
            let peak = peak_resident_bytes(process);
            assert!(peak < MEMORY_MAX, "{who} has had {} MiB in memory", peak >> 20);
        }
        let metrics = self.cluster.ask("GET", "/metrics", "").expect("an answer").body;
        let lost = metrics.lines().filter(|line| line.starts_with("elastic_flow_workers_lost_total"));
        assert!(lost.clone().all(|line| line.ends_with(" 0")), "{:?}", lost.collect::<Vec<_>>());
        assert_eq!(self.cluster.workers().len(), 1);
        let retried = self.cluster.audit(id).rows.retried.receipts;
        assert_eq!(retried, 0, "{:?}", self.cluster.failures(id));
    }
}

/// A large file, which goes even where its folder is kept for people to look at.
struct Input(PathBuf);

impl Input {
    fn write(path: PathBuf) -> Self {
        let mut line = vec![b'x'; usize::try_from(LINE_BYTES).expect("a short line") - 1];
        line.push(b'\n');
        let block = line.repeat(usize::try_from(LINES_AT_ONCE).expect("a small number"));
        let input = Self(path);
        let mut file = File::create(&input.0).expect("a file of the test");
        for _ in 0..LINES / LINES_AT_ONCE {
            file.write_all(&block).expect("room for the input");
        }
        input
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[test]
fn a_gibibyte_for_a_worker_at_a_megabyte_a_second_stays_out_of_memory() {
    let mut remote = Remote::start(4);
    let input = Input::write(remote.cluster.place().path("input.txt"));
    let before = remote.line.down_bytes();
    let id = remote.cluster.submit("sum_constant", &["--input", &input.0.display().to_string()]);
    // Longer than a silent peer is waited for, or an assignment that does not arrive; the master has done all that it may by then.
    wait_until(LONG, "some of it has passed", || remote.line.down_bytes() - before > 15 * RATE);
    remote.check(id);

    // The rest is not slow any more, so that the test is not: by now it would take a quarter of an hour.
    remote.line.lift();
    remote.cluster.wait_end(id, StepState::Completed);
    remote.check(id);
    let audit = remote.cluster.audit(id);
    assert!(audit.balanced(), "{audit}");
    assert_eq!(audit.rows.aggregated.receipts, audit.rows.conceived.receipts, "{audit}");
    let sum = remote.cluster.cli(&["result", &id.to_string(), "--json"]).expect_code(0).text();
    assert_eq!(sum.trim(), format!("[{LINES}]"));
    let passed = remote.line.down_bytes() - before;
    let most = TOTAL_BYTES / 100 * 101;
    assert!((TOTAL_BYTES..most).contains(&passed), "{passed} bytes have passed");
}
