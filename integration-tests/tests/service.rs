//! A service with a `main` of its own that spawns workers of itself.

use std::path::Path;

use elastic_flow_integration_tests::cluster::{LONG, SOON};
use elastic_flow_integration_tests::oracle_words::counts_of_file;
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Process, Signal, signal_to, wait_gone};
use elastic_flow_integration_tests::wait::{wait_for, wait_until};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");

struct Service {
    process: Process,
    input: String,
    marker: String,
    place: Place,
}

impl Service {
    /// A service whose step stands at a line.
    fn held() -> Self {
        let place = Place::new();
        let input = place.write("input.txt", "one two three fours\nhold here for a bit\nfive six seven  two\n");
        let [marker, reached] = ["marker", "reached"].map(|name| place.text(name));
        let mut command = place.command(SERVICE);
        command.args(["memory", &input, "hold=hold here for a bit"]);
        command.args([format!("marker={marker}"), format!("reached={reached}")]);
        let process = Process::start(&place, "service", &mut command);
        wait_until(SOON, "the step is at its line", || Path::new(&reached).exists());
        Self { process, input, marker, place }
    }

    fn workers(&self) -> Vec<u32> {
        wait_for(SOON, "two workers", || Some(self.process.children()).filter(|it| it.len() == 2))
    }
}

#[test]
fn a_service_gets_its_result_from_workers_of_its_own_and_leaves_none_behind_and_one_that_dies_is_replaced() {
    let service = Service::held();
    let first = service.workers();
    for worker in &first {
        signal_to(*worker, Signal::KILL);
    }
    wait_gone(SOON, &first);
    let second = service.workers();
    assert!(second.iter().all(|it| !first.contains(it)), "{first:?} {second:?}");
    std::fs::write(&service.marker, "").expect("it is lifted");
    let ended = service.process.wait(LONG).expect_code(0);
    let text = ended.text();
    let counts = String::from_utf8(counts_of_file(&service.place, &service.input)).expect("words");
    assert!(text.starts_with("the service itself\n") && text.contains(&counts), "{text}");
    assert!(text.contains("balanced"), "{text}");
    assert!(ended.stderr.contains("starting it again"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("the service itself"), "a worker ran the service: {}", ended.stderr);
    wait_gone(SOON, &second);
}

#[test]
fn workers_end_with_the_service_that_is_killed() {
    let mut service = Service::held();
    let workers = service.workers();
    service.process.kill();
    wait_gone(SOON, &workers);
}
