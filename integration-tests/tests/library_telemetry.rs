//! A cluster within a program installs nothing in its process. One test: what is installed is the process's.

use elastic_flow::metrics;
use elastic_flow::prelude::*;

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    lines.words().counts()
}

#[test]
fn used_as_a_library_it_installs_neither_a_recorder_nor_a_subscriber() {
    let program = TypedProgram::new("word_count", count_words).expect("a program");
    let run = Cluster::local(2).run(&program, ["to be or", "not to be"]).expect("a result");
    assert!(run.audit.balanced());

    let text = metrics::render();
    assert!(text.starts_with("# No series: ") && text.contains("Metrics::install()"), "{text}");
    assert!(!tracing::dispatcher::has_been_set(), "there is a subscriber");
    // A recorder is taken only where there is none.
    ::metrics::set_global_recorder(::metrics::NoopRecorder).expect("no recorder was there");
    metrics::Metrics::install();
    assert!(metrics::render().contains("another make"), "{}", metrics::render());
}
