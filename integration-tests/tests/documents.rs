//! What the documents list is what there is.
#![allow(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::path::Path;

use elastic_flow::queue::StepErrorKind;
use elastic_flow_integration_tests::cluster::SOON;
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::Process;

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

#[test]
fn every_kind_of_step_error_has_its_heading_and_no_heading_is_left_over() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let listed: BTreeSet<&str> = headings.iter().copied().collect();
    let kinds: BTreeSet<&str> = StepErrorKind::ALL.into_iter().map(StepErrorKind::name).collect();
    assert_eq!(listed, kinds);
    assert_eq!(headings.len(), listed.len(), "each heading once");
}

/// The commands that `docs/from-elixir.md` gives, in backticks behind `PROG`.
fn commands_of(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|it| it.strip_prefix("PROG ")).map(str::to_owned).collect()
}

#[test]
fn every_command_that_the_document_for_elixir_gives_is_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/from-elixir.md");
    let commands = commands_of(&std::fs::read_to_string(path).expect("the document is there"));
    assert!(commands.len() > 20, "{commands:?}");
    let place = Place::new();
    for command in commands {
        let words = command.split_ascii_whitespace().map(|word| match word {
            "ID" => "1",
            "TEXT" | "FILE" | "NAME" => "x",
            word => word,
        });
        // Behind what stands there, which is read before it, this asks for help, and not for the thing to be done.
        let words: Vec<&str> = words.chain(["--help"]).collect();
        let ended = Process::start(&place, "help", place.command(TESTBED).args(&words)).wait(SOON);
        assert_eq!(ended.code(), 0, "PROG {command}: {}", ended.stderr);
    }
    let wrong =
        Process::start(&place, "help", place.command(TESTBED).args(["steps", "--no-such", "--help"])).wait(SOON);
    assert_eq!(wrong.code(), 2, "what is not an option is told even so");
}
