//! A store of a user's own, in a crate outside of the workspace: short, held to the exported contract, and as good as ours.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;

use elastic_flow::prelude::{Audit, StepState};
use elastic_flow::receipt::WorkerReads;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::outside::Outside;
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::wait::wait_until;

const STORE: &str = include_str!("../outside/own_store/src/store.rs");
const FILES: [(&str, &str); 4] = [
    ("src/lib.rs", include_str!("../outside/own_store/src/lib.rs")),
    ("src/main.rs", include_str!("../outside/own_store/src/main.rs")),
    ("src/store.rs", STORE),
    ("tests/own_contract.rs", include_str!("../outside/own_store/tests/own_contract.rs")),
];
const FACADE: &str = "elastic-flow = { path = \"{workspace}/crates/elastic-flow\", features = [";
const LAST_TOLD: &str = "elastic_flow_old_key_uses_total{by=\"node\"}";
/// Promises of the contract, at least.
const PROMISES_MIN: usize = 32;

/// What a master tells of a step.
#[derive(Debug, PartialEq)]
struct Told {
    result: Vec<u8>,
    audit: Audit,
    /// The master's series; with their values those that count chunks, items and bytes of the source.
    series: BTreeMap<String, Option<String>>,
}

fn series(cluster: &Cluster) -> BTreeMap<String, Option<String>> {
    let metrics = cluster.ask("GET", "/metrics", "").expect("the master answers").body;
    let samples = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let counts = ["elastic_flow_receipts_total{", "elastic_flow_entries_total", "elastic_flow_source_bytes_total"];
    // What workers tell of themselves comes when it comes.
    let of_master = samples.filter(|(series, _)| !series.contains("node=\""));
    let told = of_master.map(|(series, value)| {
        let counts = counts.iter().any(|it| series.starts_with(it));
        (series.to_owned(), counts.then(|| value.to_owned()))
    });
    told.collect()
}

/// Runs a step on a master with this store, and on two workers.
fn told_on(store: &str, program: &'static str, input: &str) -> Told {
    let place = Place::new();
    let store = store.replace("DIR", &place.text("store"));
    // A worker that a busy machine holds up is not to be taken for dead: its chunks would be counted twice on the way.
    let sets = ["distribute.chunk_bytes=20000", "distribute.chunk_adapts=false", "heartbeat.dead_after=60s"];
    let sets = sets.map(str::to_owned).into();
    let options = Options { program, workers: 2, slots: 1, durable: true, sets };
    let cluster = Cluster::start_in(place, options, store.clone());
    assert_eq!(cluster.view().store, store);
    let step = cluster.submit("word_count", &["--input", input]);
    cluster.wait_end(step, StepState::Completed);
    let path = cluster.place().text("counts");
    cluster.cli(&["result", &step.to_string(), "--output", &path, "--format", "tsv"]).expect_code(0);
    let result = sorted(cluster.place(), &cluster.place().path("counts"));
    let mut audit = cluster.audit(step);
    // Which workers they were is drawn, and which of them read how much is chance.
    audit.nodes.clear();
    let shipped_bytes = audit.reads.iter().map(|it| it.shipped_bytes).sum();
    let in_place_bytes = audit.reads.iter().map(|it| it.in_place_bytes).sum();
    audit.reads = vec![WorkerReads { worker: "all".to_owned(), in_place_bytes, shipped_bytes }];
    // A master tells of its links once a second; this comes last.
    wait_until(SOON, "the master has told of its links", || series(&cluster).contains_key(LAST_TOLD));
    Told { result, audit, series: series(&cluster) }
}

/// Lines that are neither empty nor a comment.
fn lines_of_code(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[test]
fn a_store_of_ones_own_is_short_keeps_the_contract_and_serves_as_ours_do() {
    let lines = lines_of_code(STORE);
    assert!(lines < 150, "{lines} lines");
    let place = Place::new();
    let more = if cfg!(feature = "store-rocksdb") { "\"store-rocksdb\"" } else { "" };
    let manifest = format!("[dependencies]\n{FACADE}{more}] }}\n[dev-dependencies]\n{FACADE}\"store-contract\"] }}\n");
    let outside = Outside::new(&place, "own_store", &manifest, &FILES);
    // Makes the program, too.
    let tested = outside.cargo(&["test"]).text();
    let kept = tested.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ... ok")).count();
    assert!(kept >= PROMISES_MIN, "{tested}");

    let program: &'static str = outside.executable().to_str().expect("a plain name").to_owned().leak();
    let input = place.write("input.txt", corpus::lines(13, 400_000));
    let reference = told_on("memory", program, &input);
    assert!(reference.audit.balanced() && reference.audit.rows.aggregated.receipts > 10, "{}", reference.audit);
    assert!(reference.series.contains_key("elastic_flow_receipts_total{station=\"aggregated\"}"), "{reference:?}");
    assert_equal(&reference.result, &counts_of_file(&place, &input));
    let mut stores = vec!["fs:DIR", "mine:DIR"];
    stores.extend(cfg!(feature = "store-rocksdb").then_some("rocksdb:DIR"));
    for store in stores {
        let told = told_on(store, program, &input);
        assert!(told.result == reference.result, "another result on {store}");
        assert_eq!(told.audit, reference.audit, "on {store}");
        assert_eq!(told.series, reference.series, "on {store}");
    }
}
