//! The master's HTTP face against its own OpenAPI document: schemathesis sends what the document allows and what it does not, and
//! holds every answer against it.
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

use std::path::PathBuf;
use std::time::Duration;

use elastic_flow::admin::Role;
use elastic_flow::orchestrator::api::ReceiptView;
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, wait_runs};
use elastic_flow_integration_tests::process::Process;
use serde_json::{Value, json};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// What has to be installed, with its versions.
const VERSIONS: &str = include_str!("../schemathesis.txt");
/// Requests of each kind to an operation, at most.
const EXAMPLES: &str = "25";
/// Time for all of them, on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(300);
/// A submission has to have the right form (else it is 400), and to be something that this very program can run (else 422).
const SETTINGS: &str = "[checks.positive_data_acceptance]\n\
                        expected-statuses = [\"2xx\", \"401\", \"403\", \"404\", \"409\", \"422\"]\n";

/// The program, where `cargo xtask test` puts it.
fn schemathesis() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache"))).expect("HOME is set");
    let root = cache.join("elastic-flow").join("schemathesis");
    let installed = std::fs::read_to_string(root.join("installed.txt"));
    assert!(
        installed.is_ok_and(|versions| versions == VERSIONS),
        "schemathesis is not in {}: `cargo xtask test` installs it there, or by hand: `python3 -m venv DIR`, \
         `DIR/bin/pip install -r integration-tests/schemathesis.txt`, and a copy of that file as DIR/installed.txt",
        root.display()
    );
    root.join("bin").join("schemathesis")
}

/// Steps in every state: 1 completed, 2 with skips, 3 running, behind which everything else waits, 4 cancelled.
fn start() -> Cluster {
    let sets = vec!["retry.max_attempts=1".to_owned(), "retry.max_skips=1".to_owned()];
    let cluster = Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable: true, sets });
    let input = cluster.place().write("input.txt", "stay\nbad\n");
    let done = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(done, StepState::Completed);
    let skipped = cluster.submit("fails_until_marker", &["--input", &input, "--param", "bad=bad"]);
    cluster.wait_end(skipped, StepState::CompletedWithSkips);
    let (side, never) = (cluster.place().text("side"), cluster.place().text("never"));
    let held = ["--input", &input, "--param", "hold=stay", "--param", &format!("marker={never}")];
    cluster.submit("word_count", &[&held[..], &["--param", &format!("side={side}")]].concat());
    wait_runs(&side, 1);
    let cancelled = cluster.submit("word_count", &["--input", &input]);
    cluster.cli(&["cancel", &cancelled.to_string()]).expect_code(0);
    cluster.wait_end(cancelled, StepState::Cancelled);
    cluster
}

/// The document as the master serves it, and how many operations it has.
fn document(cluster: &Cluster) -> (Value, usize) {
    let document: Value = cluster.get("/openapi.json");
    let items = document["paths"].as_object().expect("paths").values();
    let operations = items.map(|item| item.as_object().expect("an item").len()).sum();
    (document, operations)
}

/// Adds examples that lead to what is there: no seed would find a receipt.
fn with_examples(mut document: Value, cluster: &Cluster) -> Value {
    let receipts: Vec<ReceiptView> = cluster.get("/steps/2/receipts");
    let receipt = json!({ "one": { "value": receipts[0].id } });
    let steps = json!({ "done": { "value": 1 }, "skipped": { "value": 2 }, "running": { "value": 3 }, "cancelled": { "value": 4 } });
    for item in document["paths"].as_object_mut().expect("paths").values_mut() {
        for operation in item.as_object_mut().expect("an item").values_mut() {
            for parameter in operation["parameters"].as_array_mut().expect("parameters") {
                match parameter["name"].as_str() {
                    Some("id") => parameter["examples"] = steps.clone(),
                    Some("receipt") => parameter["examples"] = receipt.clone(),
                    _ => {}
                }
            }
        }
    }
    let input = cluster.place().text("input.txt");
    let submission = json!({ "program": "word_count", "inputs": [["lines", { "Lines": { "paths": [input] } }]] });
    document["paths"]["/api/v1/steps"]["post"]["requestBody"]["content"]["application/json"]["examples"] =
        json!({ "words": { "value": submission } });
    document
}

#[test]
fn answers_are_those_that_the_document_tells_whatever_is_sent() {
    let schemathesis = schemathesis();
    let mut cluster = start();
    let (served, operations) = document(&cluster);
    let file = cluster.place().write("openapi.json", with_examples(served, &cluster).to_string());
    let settings = cluster.place().write("schemathesis.toml", SETTINGS);
    let mut command = cluster.place().command(schemathesis);
    command.args(["--config-file", &settings, "run", &file]);
    command.args(["--url", &format!("http://{}", cluster.admin_addr())]);
    command.args(["--header", &format!("Authorization: Bearer {}", cluster.token(Role::Submit))]);
    command.args(["--max-examples", EXAMPLES, "--generation-deterministic", "--no-color", "--workers", "1"]);
    // It does not end; `server_tests.rs` of the crate has its tests.
    command.args(["--exclude-path", "/api/v1/events"]);
    let ended = Process::start(cluster.place(), "schemathesis", &mut command).wait(WITHIN);
    let said = ended.text();
    assert_eq!(ended.code(), 0, "{said}\n{}", ended.stderr);
    assert!(said.contains(&format!("Tested: {}", operations - 1)), "all but the events are tested:\n{said}");
    // Pending steps were submitted, and found what to wait for.
    assert!(cluster.step(3).state.is_active() && cluster.workers().len() == 1, "the cluster is as it was");
    let log = cluster.master().stderr();
    assert!(!log.contains("panicked"), "{log}");
}
