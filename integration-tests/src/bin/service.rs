//! A service with a `main` of its own, which spawns workers of itself for one step: `service STORE INPUT [KEY=VALUE ...]`.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

use elastic_flow::prelude::*;
use elastic_flow::worker_main;
use elastic_flow_integration_tests::testbed;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = testbed::app::<1>()?;
    worker_main(&app);
    // A worker does not get here: its line is none of these.
    println!("the service itself");
    let mut arguments = std::env::args().skip(1);
    let store = arguments.next().ok_or("no store")?;
    let input = arguments.next().ok_or("no input")?;
    let params = arguments.map(|it| it.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    let program = TypedProgram::new("holds_at_a_line", |lines: Flow<Text>| lines.words().counts())?;
    let cluster = Cluster::processes(2).slots(1).store(store).set("distribute.chunk_bytes=20").start_blocking(&app)?;
    let mut request = StepRequest::from(SourceSpec::Lines { paths: vec![input] });
    for (name, value) in params.flatten() {
        request = request.param(name, value);
    }
    let finished = cluster.submit(&program, request)?.result()?;
    let mut counts = finished.output;
    counts.sort();
    for (word, times) in counts {
        println!("{word}\t{times}");
    }
    println!("{}", finished.audit.line());
    cluster.stop();
    Ok(())
}
