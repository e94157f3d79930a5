//! A heartbeat monitor of one's own, which reads the living workers from a file: out of it, a worker's chunks go to others; in it
//! again, it works again.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::orchestrator::NodeId;
use elastic_flow::orchestrator::api::{ReceiptView, WorkerView};
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON, wait_runs};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::wait::wait_until;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
const FILES: u64 = 12;

/// Says who is living, in one instant.
fn let_live(place: &Place, names: &str) {
    place.write("living.new", names);
    std::fs::rename(place.path("living.new"), place.path("living")).expect("the file takes the place of the old one");
}

fn view_of(cluster: &Cluster, name: &str) -> WorkerView {
    cluster.workers().into_iter().find(|it| it.name == name).expect("a worker of that name is connected")
}

fn wait_living(cluster: &Cluster, name: &str, living: bool) {
    let what = format!("{name} {} living", if living { "is" } else { "is not" });
    wait_until(SOON, &what, || cluster.workers().iter().any(|it| it.name == name && it.living == living));
}

/// A cluster whose monitor counts `w1` alone as living, and the input of its steps: files of one chunk each.
fn start() -> (Cluster, String) {
    let place = Place::new();
    let_live(&place, "w1\n");
    for number in 0..FILES {
        let text = corpus::named(&format!("file{number}"), number, 2_000);
        place.write(&format!("in/{number:03}.txt"), text);
    }
    let input = place.text("in/*.txt");
    let sets = ["heartbeat.monitor=living-file", "distribute.chunk_bytes=2000", "distribute.task_chunks_max=1"];
    let sets = sets.map(str::to_owned).into();
    let options = Options { program: TESTBED, workers: 2, slots: 1, durable: false, sets };
    let cluster = Cluster::start_in(place, options, "memory".to_owned());
    wait_living(&cluster, "w1", true);
    wait_living(&cluster, "w2", false);
    (cluster, input)
}

/// Where each chunk of a step was last, by its number.
fn nodes_of(cluster: &Cluster, step: u64) -> Vec<Option<String>> {
    let receipts: Vec<ReceiptView> = cluster.get(&format!("/steps/{step}/receipts"));
    receipts.into_iter().map(|it| it.node).collect()
}

fn check(cluster: &Cluster, step: u64) {
    cluster.wait_end(step, StepState::Completed);
    let audit = cluster.audit(step);
    assert!(audit.balanced() && audit.rows.aggregated.receipts == FILES, "{audit}");
    assert_equal(
        &cluster.output(step),
        &counts_of(cluster.place(), "cat -- \"$1\"/*.txt", &cluster.place().text("in")),
    );
}

fn all_at(name: &str, chunks: u64) -> Vec<Option<String>> {
    (0..chunks).map(|_| Some(name.to_owned())).collect()
}

#[test]
fn out_of_the_file_a_workers_chunks_go_to_others_and_in_again_it_works_again() {
    let (cluster, input) = start();
    let node = |name: &str| -> Option<NodeId> { view_of(&cluster, name).node };
    let (first, side) = (node("w1"), cluster.place().text("side"));
    let (side_param, marker) = (format!("side={side}"), cluster.place().text("marker"));
    let marker_param = format!("marker={marker}");
    let line = ["--input", &input, "--param", "hold=file0", "--param", &side_param, "--param", &marker_param];
    let step = cluster.submit("word_count", &line);
    // The first chunk holds, and others wait behind it.
    wait_runs(&side, 1);
    wait_until(SOON, "chunks wait at w1", || view_of(&cluster, "w1").open_chunks == 3);
    assert_eq!(view_of(&cluster, "w2").open_chunks, 0);

    let_live(cluster.place(), "w2\n");
    wait_living(&cluster, "w1", false);
    wait_until(SOON, "the chunks of w1 are at w2", || view_of(&cluster, "w2").open_chunks == 3);
    assert_eq!(view_of(&cluster, "w1").open_chunks, 0);
    assert_eq!(nodes_of(&cluster, step)[..3], all_at("w2", 3));
    let table = cluster.cli(&["workers"]).expect_code(0).text();
    let row = table.lines().find(|line| line.starts_with("w1")).expect("it is listed");
    assert!(row.contains("not living"), "{table}");
    std::fs::write(&marker, "").expect("the marker");
    check(&cluster, step);
    // What w1 was at work on counts for whoever was first.
    assert_eq!(nodes_of(&cluster, step)[1..], all_at("w2", FILES - 1));

    let_live(cluster.place(), "w1\n");
    wait_living(&cluster, "w1", true);
    let next = cluster.submit("word_count", &["--input", &input]);
    check(&cluster, next);
    assert_eq!(nodes_of(&cluster, next), all_at("w1", FILES));
    assert_eq!(node("w1"), first, "it was not started again");
    let metrics = cluster.ask("GET", "/metrics", "").expect("the master answers").body;
    let series = "elastic_flow_workers_lost_total{reason=\"not_living\"} ";
    let lost: u32 = metrics.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).expect("the series");
    assert!(lost >= 3, "{lost}: w2, w1, and w2 again");
}

#[test]
fn without_the_file_the_last_verdict_stays_and_the_log_says_so() {
    let (mut cluster, input) = start();
    std::fs::remove_file(cluster.place().path("living")).expect("the file was there");
    let said = cluster.master().line_with(SOON, "the heartbeat monitor gives no verdict; its last one stays");
    assert!(said.contains("No such file"), "{said}");
    let step = cluster.submit("word_count", &["--input", &input]);
    check(&cluster, step);
    assert_eq!(nodes_of(&cluster, step), all_at("w1", FILES));
    assert!(!view_of(&cluster, "w2").living);
}
