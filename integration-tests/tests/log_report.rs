//! `examples/log_report`: the report of every server's access logs is SQLite's, whatever happens on the way, and each broken line is
//! listed.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;

use elastic_flow::orchestrator::api::StepView;
use elastic_flow::prelude::{Audit, StepState};
use elastic_flow_integration_tests::access_logs::AccessLogs;
use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process};
use elastic_flow_integration_tests::wait::wait_until;
use serde_json::Value;

const LOG_REPORT: &str = env!("CARGO_BIN_EXE_log_report");
const SERVERS: [usize; 3] = [1, 2, 3];
const DAY: &str = "2026-11-24";

fn run(place: &Place, logs: &AccessLogs, max_skips: u64, more: &[&str]) -> Ended {
    let (glob, max_skips) = (logs.glob(), format!("retry.max_skips={max_skips}"));
    let mut command = place.command(LOG_REPORT);
    command
        .args(["run", "--json", "--input", &glob, "--output", &place.text("report"), "--set", &max_skips])
        .args(more);
    Process::start(place, "run", &mut command).wait(LONG)
}

/// A master that knows its three servers by name.
fn master(place: Place, logs: &AccessLogs) -> Cluster {
    let mut sets = vec!["distribute.chunk_bytes=20000".to_owned(), format!("retry.max_skips={}", logs.broken)];
    sets.push("retry.grace=10s".to_owned());
    sets.extend(SERVERS.map(|server| format!("servers.server-{server}.role=worker")));
    let store = format!("fs:{}", place.text("store"));
    Cluster::start_in(place, Options { program: LOG_REPORT, workers: 0, slots: 1, durable: true, sets }, store)
}

/// A cluster of three servers; each may read its own logs alone.
fn cluster(place: Place, logs: &AccessLogs) -> Cluster {
    let mut cluster = master(place, logs);
    for server in SERVERS {
        let root = format!("source.data_roots={}", logs.server(server).display());
        cluster.start_worker_of(LOG_REPORT, &format!("server-{server}"), &["--set", &root]);
    }
    cluster.wait_workers(SERVERS.len());
    cluster
}

/// Waits for the end of a step over the logs of these servers, compares its report with SQLite's, and its dead letters with the
/// broken lines.
fn assert_reported(cluster: &Cluster, logs: &AccessLogs, servers: &[usize], step: u64, day: &str) -> Audit {
    let expected = logs.oracle(cluster.place(), servers, day);
    cluster.wait_end(step, StepState::CompletedWithSkips);
    let report = cluster.place().text("report");
    cluster.cli(&["result", &step.to_string(), "--output", &report]).expect_code(0);
    expected.assert_reported(report.as_ref());

    let listed = cluster.cli(&["dead-letters", &step.to_string(), "--json"]).expect_code(0).text();
    let letters: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(letters.len() as u64, expected.broken);
    assert!(letters.iter().all(|letter| letter["kind"] == "skipped"), "{listed}");
    assert!(letters.iter().all(|letter| letter["text"].is_string()), "each with its text: {listed}");
    let places: BTreeSet<_> = letters.iter().map(|it| (it["receipt"].to_string(), it["item"].to_string())).collect();
    assert_eq!(places.len(), letters.len(), "each line once: {listed}");
    let audit = cluster.audit(step);
    assert!(audit.balanced(), "{audit}");
    let lines = logs.lines / SERVERS.len() as u64 * servers.len() as u64;
    assert_eq!((audit.rows.aggregated.entries, audit.rows.skipped.entries), (lines, expected.broken), "{audit}");
    audit
}

#[test]
fn a_run_reports_what_sqlite_does_and_skips_the_broken_lines_alone() {
    let place = Place::new();
    let logs = AccessLogs::write(&place, 3, 4_000, 1);
    let expected = logs.oracle(&place, &SERVERS, "");
    assert_eq!(expected.broken, logs.broken);
    let ended = run(&place, &logs, logs.broken, &[]).expect_code(4);
    expected.assert_reported(&place.path("report"));
    let printed: Value = serde_json::from_slice(&ended.stdout).expect("one JSON object");
    let audit: Audit = serde_json::from_value(printed["audit"].clone()).expect("an audit");
    assert!(audit.balanced(), "{audit}");
    assert_eq!((audit.rows.aggregated.entries, audit.rows.skipped.entries), (logs.lines, logs.broken), "{audit}");

    let day = format!("day={DAY}");
    run(&place, &logs, logs.broken, &["--param", &day]).expect_code(4);
    logs.oracle(&place, &SERVERS, DAY).assert_reported(&place.path("report"));
    let wrong = run(&place, &logs, logs.broken, &["--param", "day=24.11.2026"]).expect_code(2);
    assert!(wrong.stderr.contains("parameter `day` has the value \"24.11.2026\""), "{}", wrong.stderr);
}

#[test]
fn one_more_broken_line_than_may_be_skipped_fails_the_run_by_name() {
    let place = Place::new();
    let logs = AccessLogs::write(&place, 1, 1_000, 2);
    let failed = run(&place, &logs, logs.broken - 1, &[]).expect_code(1);
    assert!(failed.stderr.contains("retry.max_skips"), "{}", failed.stderr);
    assert!(!place.path("report").exists());
}

#[test]
fn a_server_that_is_killed_half_way_changes_nothing_in_the_report() {
    let place = Place::new();
    let logs = AccessLogs::write(&place, 3, 4_000, 3);
    let mut cluster = cluster(place, &logs);
    let step = cluster.submit("log_report", &["--input", &logs.glob(), "--param", "slow=100ms"]);
    wait_until(LONG, "a part is done, and server-2 has one chunk in hand and another before it", || {
        let done = cluster.step(step).progress.is_some_and(|it| it.chunks_done >= 10);
        done && cluster.workers().iter().any(|it| it.name == "server-2" && it.open_chunks > 1)
    });
    cluster.kill_worker("server-2");
    let audit = assert_reported(&cluster, &logs, &SERVERS, step, "");
    assert!(audit.rows.retried.receipts > 0, "it had something in hand: {audit}");
}

#[test]
fn a_timer_that_goes_off_twice_makes_one_step() {
    let place = Place::new();
    let logs = AccessLogs::write(&place, 3, 500, 4);
    let cluster = cluster(place, &logs);
    let (glob, param) = (logs.glob(), format!("day={DAY}"));
    let line = ["--input", &glob, "--param", &param, "--key", DAY];
    let step = cluster.submit("log_report", &line);
    assert_eq!(cluster.submit("log_report", &line), step);
    assert_reported(&cluster, &logs, &SERVERS, step, DAY);
    assert_eq!(cluster.submit("log_report", &line), step, "after its end, too");
    assert_eq!(cluster.get::<Vec<StepView>>("/steps").len(), 1);
}

/// Servers whose own logs all lie at the same path, in mount namespaces of their own.
#[cfg(target_os = "linux")]
mod own_disks {
    use elastic_flow::orchestrator::api::ReceiptView;
    use elastic_flow_integration_tests::namespaces::Disk;
    use elastic_flow_integration_tests::wait::skipped;

    use super::*;

    /// A master, and the path at which each server will see its logs; none where this user may not mount.
    fn start(seed: u64) -> Option<(Cluster, AccessLogs, String)> {
        let place = Place::new();
        let logs = AccessLogs::write(&place, 3, 4_000, seed);
        place.write("own/nothing", "");
        let at = place.text("own");
        let disk = Disk { own: &at, at: &at };
        if let Err(why) = disk.check(&place) {
            skipped(&format!("servers with disks of their own need root, to make namespaces: {why}"));
            return None;
        }
        Some((master(place, &logs), logs, at))
    }

    fn start_server(cluster: &mut Cluster, logs: &AccessLogs, at: &str, server: usize) {
        let own = logs.server(server).to_str().expect("a plain name").to_owned();
        let root = format!("source.data_roots={at}");
        cluster.start_worker_on(Disk { own: &own, at }, &format!("server-{server}"), &["--set", &root]);
    }

    #[test]
    fn each_server_reads_its_own_logs_and_one_that_is_killed_half_way_goes_on_when_it_is_back() {
        let Some((mut cluster, logs, at)) = start(5) else { return };
        SERVERS.iter().for_each(|server| start_server(&mut cluster, &logs, &at, *server));
        cluster.wait_workers(SERVERS.len());
        let own = format!("each_worker:{at}/access.log*");
        let step = cluster.submit("log_report", &["--input", &own, "--param", "slow=100ms"]);
        wait_until(LONG, "a part is done, and server-2 has something in hand", || {
            let done = cluster.step(step).progress.is_some_and(|it| it.chunks_done >= 6);
            done && cluster.workers().iter().any(|it| it.name == "server-2" && it.open_chunks > 0)
        });
        cluster.kill_worker("server-2");
        start_server(&mut cluster, &logs, &at, 2);
        let audit = assert_reported(&cluster, &logs, &SERVERS, step, "");
        assert!(audit.reads.iter().all(|it| it.shipped_bytes == 0), "{audit}");
        let receipts: Vec<ReceiptView> = cluster.get(&format!("/steps/{step}/receipts"));
        let is_own = |it: &ReceiptView| {
            let node = it.node.as_deref().unwrap_or("nowhere");
            it.covers.iter().all(|(part, ..)| part.starts_with(&format!("{node}:")))
        };
        assert!(receipts.len() > 9 && receipts.iter().all(is_own), "{receipts:#?}");
    }

    #[test]
    fn a_server_that_is_missing_is_a_gap_with_its_name_where_that_is_allowed() {
        let Some((mut cluster, logs, at)) = start(6) else { return };
        [1, 3].iter().for_each(|server| start_server(&mut cluster, &logs, &at, *server));
        cluster.wait_workers(2);
        let own = format!("each_worker:{at}/access.log*");
        let line = ["submit", "--program", "log_report", "--input", &own, "--wait", "--output", "report"];
        let allowed = cluster.cli(&[&line[..], &["--allow-missing-servers"]].concat()).expect_code(4);
        assert!(allowed.text().contains("missing: server-2:"), "the gap is named: {}", allowed.text());
        let audit = assert_reported(&cluster, &logs, &[1, 3], 1, "");
        let gaps: Vec<_> = audit.gaps.iter().map(|it| (it.server.as_str(), it.known)).collect();
        assert_eq!(gaps, [("server-2", None)]);
    }
}
