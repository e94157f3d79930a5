//! Parts of one's own, named by the configuration: a distribution method, over files that are shipped although the workers could read them,
//! and an interceptor.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON};
use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
const BYTES: usize = 6_000;

#[test]
fn the_configuration_names_a_method_of_the_programs_own_and_that_files_are_shipped() {
    // As many chunks as one worker has places for, so that its method alone decides.
    let sets = ["distribute.method=last-by-name", "distribute.chunk_bytes=2100", "source.read=ship"];
    let sets = sets.map(str::to_owned).into();
    let cluster = Cluster::start(Options { program: TESTBED, workers: 2, slots: 1, durable: false, sets });
    let input = cluster.place().write("input.txt", corpus::lines(7, BYTES));
    let step = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(step, StepState::Completed);
    assert_equal(&cluster.output(step), &counts_of_file(cluster.place(), &input));
    let audit = cluster.audit(step);
    assert_eq!(audit.rows.aggregated.receipts, 3, "{audit}");
    let reads: Vec<_> = audit.reads.iter().map(|it| (it.worker.as_str(), it.in_place_bytes)).collect();
    assert_eq!(reads, [("w2", 0)], "{audit}");
    assert_eq!(audit.reads.iter().map(|it| it.shipped_bytes).sum::<u64>(), audit.rows.aggregated.bytes);
    assert!(cluster.step(step).files.is_empty(), "nobody is asked for files");
}

#[test]
fn an_interceptor_that_the_configuration_names_sees_what_happens_on_every_node() {
    let sets = ["interceptors=says", "distribute.chunk_bytes=100"].map(str::to_owned).into();
    let mut cluster = Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable: false, sets });
    let input = cluster.place().write("input.txt", "to be or not to be\n");
    let step = cluster.submit("word_count", &["--input", &input]);
    cluster.wait_end(step, StepState::Completed);
    let receipt = |line: String| line.rsplit(' ').next().unwrap_or_default().to_owned();
    let distributed = receipt(cluster.master().line_with(SOON, "saw distributed of "));
    let processed = receipt(cluster.worker("w1").line_with(SOON, "w1 saw processed of "));
    let aggregated = receipt(cluster.master().line_with(SOON, "saw aggregated of "));
    assert!(
        !distributed.is_empty() && distributed == processed && processed == aggregated,
        "{distributed} {processed} {aggregated}"
    );
    drop(cluster.master().line_with(SOON, &format!("saw step {step} become COMPLETED")));
}
