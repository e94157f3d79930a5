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

/// The names in the first column of the tables of `docs/operators.md`.
fn operators_listed(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

#[test]
fn every_operator_is_in_the_document_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/operators.md")).expect("the document is there");
    let listed = operators_listed(&text);
    let mut there = BTreeSet::new();
    for file in std::fs::read_dir(root.join("crates/dataflow/src/operators")).expect("the operators are there") {
        let source = std::fs::read_to_string(file.expect("a file").path()).expect("it can be read");
        let methods = source.lines().filter_map(|line| line.strip_prefix("    pub fn "));
        let name = |it: &str| it.split(['(', '<']).next().unwrap_or_default().to_owned();
        there.extend(methods.map(name));
    }
    assert!(there.len() > 40, "{there:?}");
    assert_eq!(listed.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>(), there);
    assert_eq!(listed.len(), there.len(), "each once");
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
