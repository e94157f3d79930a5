//! The master's HTTP face: who is let in, and what Prometheus reads.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use elastic_flow::admin::Role;
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, wait_runs};
use elastic_flow_integration_tests::process::{Process, Signal};
use elastic_flow_integration_tests::wait::{skipped, wait_for, wait_until};
use elastic_flow_integration_tests::{corpus, http};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

fn start(sets: &[&str]) -> Cluster {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    Cluster::start(Options { program: TESTBED, workers: 2, slots: 1, durable: false, sets })
}

/// Asks with headers of the test's own beside the right host; gives the status.
fn status(cluster: &Cluster, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let host = cluster.admin_addr().to_string();
    let mut all = vec![("host", host.as_str()), ("content-type", "application/json")];
    for (name, value) in headers {
        all.retain(|(its, _)| its != name);
        all.push((name, value));
    }
    http::ask(cluster.admin_addr(), method, path, &all, "{}").expect("an answer").status
}

#[test]
fn requests_are_admitted_by_host_token_and_role() {
    let cluster = start(&[]);
    let bearer = |role| format!("Bearer {}", cluster.token(role));
    let (read, submit) = (bearer(Role::Read), bearer(Role::Submit));
    let (read, submit) = (("authorization", read.as_str()), ("authorization", submit.as_str()));
    let steps = "/api/v1/steps";
    assert_eq!(status(&cluster, "GET", steps, &[]), 401);
    assert_eq!(status(&cluster, "GET", steps, &[("authorization", "Bearer 0123456789abcdef")]), 401);
    assert_eq!(status(&cluster, "GET", steps, &[read]), 200);
    assert_eq!(status(&cluster, "GET", steps, &[read, ("host", "evil.example")]), 421);
    assert_eq!(status(&cluster, "GET", steps, &[read, ("origin", "http://evil.example")]), 403);
    assert_eq!(status(&cluster, "POST", steps, &[read]), 403);
    assert_eq!(status(&cluster, "POST", steps, &[]), 401);
    // Admitted, and then refused for what it says.
    assert_eq!(status(&cluster, "POST", steps, &[submit]), 400);
    assert_eq!(status(&cluster, "DELETE", steps, &[submit]), 405);
    assert_eq!(status(&cluster, "GET", "/api/v1/steps/99", &[read]), 404);
    assert_eq!(status(&cluster, "GET", "/api/v1/../../etc/passwd", &[read]), 404);
    for open in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(&cluster, "GET", open, &[]), 200, "{open}");
        assert_eq!(status(&cluster, "GET", open, &[("host", "evil.example")]), 421, "{open}");
    }
}

/// Samples by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
        (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?} has no number")))
    };
    let all: Vec<(String, f64)> = lines.map(sample).collect();
    let by_name: BTreeMap<String, f64> = all.iter().cloned().collect();
    assert_eq!(by_name.len(), all.len(), "a series comes twice in\n{text}");
    by_name
}

fn metrics(cluster: &Cluster) -> String {
    let answer = cluster.ask("GET", "/metrics", "").expect("an answer");
    assert_eq!(answer.status, 200);
    answer.body
}

fn receipts(samples: &BTreeMap<String, f64>, station: &str) -> f64 {
    samples.get(&format!("elastic_flow_receipts_total{{station=\"{station}\"}}")).copied().unwrap_or_default()
}

/// One step that completes, one with a chunk set aside, one that is cancelled.
fn run_steps(cluster: &Cluster) {
    let input = cluster.place().write("input.txt", corpus::lines(1, 50_000));
    let bad = cluster.place().write("bad.txt", "good\nbad\n");
    let whole = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(whole, StepState::Completed);
    let skips = cluster.submit("fails_until_marker", &["--input", &input, &bad, "--param", "bad=bad"]);
    cluster.wait_end(skips, StepState::CompletedWithSkips);
    let side = cluster.place().text("side");
    let slow = ["--input", &input, "--param", "slow=100ms", "--param", &format!("side={side}")];
    let cancelled = cluster.submit("word_count", &slow);
    wait_runs(&side, 2);
    cluster.cli(&["cancel", &cancelled.to_string()]).expect_code(0);
    cluster.wait_end(cancelled, StepState::Cancelled);
}

const SETTINGS: [&str; 2] = ["distribute.chunk_bytes=2000", "retry.max_skips=1"];

#[test]
fn the_account_of_receipts_balances_in_the_metrics() {
    let cluster = start(&SETTINGS);
    run_steps(&cluster);
    let text = metrics(&cluster);
    let all = samples(&text);
    let [conceived, aggregated, aside, abandoned] =
        ["conceived", "aggregated", "set_aside", "abandoned"].map(|station| receipts(&all, station));
    assert!(aggregated > 50.0 && abandoned > 0.0, "{text}");
    assert!((aside - 1.0).abs() < 0.5, "{text}");
    assert!((conceived - (aggregated + aside + abandoned)).abs() < 0.5, "{text}");
    assert_eq!(all.get("elastic_flow_workers_connected"), Some(&2.0), "{text}");
    // The workers' own series come with their heartbeats.
    wait_until(SOON, "the workers' series are there", || {
        let text = metrics(&cluster);
        ["w1", "w2"].iter().all(|name| text.contains(&format!("elastic_flow_task_seconds_count{{node=\"{name}\"")))
    });
    // Every node says what it runs, and here all run the same.
    let text = metrics(&cluster);
    let labels = |node: &str| {
        let start = format!("elastic_flow_build_info{{{node}");
        text.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix("} 1"))
    };
    let own = labels("version=").unwrap_or_else(|| panic!("the master's build is not told: {text}"));
    assert!(own.contains("build=\"") && !own.contains("build=\"000000000000\""), "{own}");
    for node in ["node=\"w1\",version=", "node=\"w2\",version="] {
        assert_eq!(labels(node), Some(own), "{text}");
    }
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        assert!(line.starts_with("# TYPE elastic_flow_"), "{line}");
    }
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn promtool_accepts_the_metrics() {
    if !is_there("promtool") {
        skipped("promtool is not installed (Debian: apt-get install prometheus)");
        return;
    }
    let cluster = start(&SETTINGS);
    run_steps(&cluster);
    let file = cluster.place().write("metrics.txt", metrics(&cluster));
    let mut command = cluster.place().command("/bin/sh");
    command.args(["-c", "promtool check metrics < \"$1\"", "sh", &file]);
    let ended = Process::start(cluster.place(), "promtool", &mut command).wait(SOON).expect_code(0);
    assert_eq!(ended.stderr.trim(), "");
}

#[test]
fn prometheus_scrapes_a_step_and_its_query_balances() {
    if !is_there("prometheus") {
        skipped("prometheus is not installed (Debian: apt-get install prometheus)");
        return;
    }
    let cluster = start(&SETTINGS);
    let master = cluster.admin_addr();
    let config = format!(
        "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\nscrape_configs:\n  - job_name: elastic_flow\n    \
         static_configs: [{{ targets: ['{master}'] }}]\n"
    );
    let config = cluster.place().write("prometheus.yml", config);
    let own = std::net::SocketAddr::new(master.ip(), 9090);
    let mut command = cluster.place().command("prometheus");
    command.arg(format!("--config.file={config}"));
    command.arg(format!("--storage.tsdb.path={}", cluster.place().text("prometheus")));
    command.arg(format!("--web.listen-address={own}"));
    let prometheus = Process::start(cluster.place(), "prometheus", &mut command);
    let query = |text: &str| -> Option<serde_json::Value> {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let host = own.to_string();
        let path = format!("/api/v1/query?query={encoded}");
        let answer = http::ask(own, "GET", &path, &[("host", &host)], "").ok()?;
        serde_json::from_str(&answer.body).ok()
    };
    let number = |text: &str| -> Option<f64> { query(text)?.pointer("/data/result/0/value/1")?.as_str()?.parse().ok() };
    wait_until(SOON, "prometheus scrapes", || number("up") == Some(1.0));

    let input = cluster.place().write("slow.txt", corpus::lines(2, 30_000));
    let slow = cluster.submit("word_count", &["--input", &input, "--param", "slow=200ms"]);
    wait_for(SOON, "it is scraped while a step runs", || number("elastic_flow_chunks_open").filter(|open| *open > 0.0));
    cluster.wait_end(slow, StepState::Completed);
    run_steps(&cluster);

    // Each station is scraped to its end before they are set against each other.
    let last = samples(&metrics(&cluster));
    let of = |station: &str| format!("sum(elastic_flow_receipts_total{{station=\"{station}\"}})");
    for station in ["conceived", "aggregated", "set_aside", "abandoned"] {
        let wanted = Some(receipts(&last, station));
        wait_until(SOON, &format!("{station} is scraped"), || number(&of(station)) == wanted);
    }
    let balance = format!("{} - {} - {} - {}", of("conceived"), of("aggregated"), of("set_aside"), of("abandoned"));
    assert_eq!(number(&balance), Some(0.0));
    prometheus.signal(Signal::TERM);
    drop(prometheus.wait(Duration::from_secs(20)));
}
