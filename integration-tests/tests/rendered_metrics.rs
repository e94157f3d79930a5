//! A program with an HTTP server of its own gives the series' text there. One test: a recorder is the process's.

use elastic_flow::metrics::{self, Metrics};
use elastic_flow::prelude::*;

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    lines.words().counts()
}

#[test]
fn the_series_of_a_local_cluster_are_rendered_once_a_recorder_is_installed() {
    Metrics::install();
    let program = TypedProgram::new("word_count", count_words).expect("a program");
    let run = Cluster::local(2).run(&program, ["to be or", "not to be"]).expect("a result");
    assert!(run.audit.balanced());

    let text = metrics::render();
    for line in [
        "# TYPE elastic_flow_entries_total counter",
        "# HELP elastic_flow_entries_total Items read by chunks in the aggregate.",
        "elastic_flow_entries_total 2",
        "elastic_flow_receipts_total{station=\"aggregated\"} 1",
        "elastic_flow_steps_total{state=\"completed\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "no {line:?} in\n{text}");
    }
    // Again is the same recorder, with what it has counted.
    assert!(Metrics::install().render().is_some_and(|text| text.contains("elastic_flow_entries_total 2")));
}
