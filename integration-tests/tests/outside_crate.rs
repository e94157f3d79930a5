//! A program of a user's, in a crate outside of the workspace whose only dependency is `elastic-flow`.
#![allow(clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use elastic_flow_integration_tests::corpus;
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file, sorted};
use elastic_flow_integration_tests::outside::{Outside, workspace};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::Process;

const LONG: Duration = Duration::from_secs(180);

/// The Rust blocks of the README, in their order.
fn readme_blocks() -> Vec<String> {
    let readme = fs::read_to_string(workspace().join("README.md")).expect("there is a README");
    let blocks = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next().map(str::to_owned));
    blocks.collect()
}

/// The README's program, with the README's test of it as a `#[test]`.
fn program() -> String {
    let blocks = readme_blocks();
    let whole = blocks.iter().find(|block| block.contains("fn main()")).expect("the README has a whole program");
    let test = blocks.iter().find(|block| block.contains("assert!(")).expect("the README has a test");
    format!("{whole}\n#[test]\nfn readme() -> Result<(), Box<dyn std::error::Error>> {{\n{test}\nOk(())\n}}\n")
}

#[test]
fn the_readmes_program_builds_passes_its_test_and_counts_as_the_systems_tools_do() {
    let place = Place::new();
    let manifest = "[dependencies]\nelastic-flow = { path = \"{workspace}/crates/elastic-flow\" }\n";
    let outside = Outside::new(&place, "outside_word_count", manifest, &[("src/main.rs", &program())]);

    outside.cargo(&["build"]);
    let tested = outside.cargo(&["test"]).text();
    assert!(tested.contains("test readme ... ok"), "{tested}");

    let input = place.write("input.txt", corpus::lines(11, 500_000));
    let output = place.text("counts");
    let mut command = place.command(outside.executable());
    command.args(["run", "--input", &input, "--output", &output, "--format", "tsv"]);
    let ended = Process::start(&place, "run", &mut command).wait(LONG).expect_code(0);
    assert!(ended.text().trim_end().ends_with(": balanced"), "{}", ended.text());
    assert_equal(&sorted(&place, &place.path("counts")), &counts_of_file(&place, &input));
}

/// A program that uses the cluster as a library, and says what it counted.
const LIBRARY_PROGRAM: &str = r#"
use elastic_flow::prelude::*;

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    lines.words().counts()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program = TypedProgram::new("word_count", count_words)?;
    let run = Cluster::local(2).run(&program, ["to be or", "not to be"])?;
    println!("{} words, {}", run.output.len(), run.audit.balanced());
    Ok(())
}
"#;

#[test]
fn without_default_features_there_is_neither_command_line_nor_http_server_and_it_works() {
    let place = Place::new();
    let outside = |name: &str, features: &str| {
        let manifest =
            format!("[dependencies]\nelastic-flow = {{ path = \"{{workspace}}/crates/elastic-flow\"{features} }}\n");
        Outside::new(&place, name, &manifest, &[("src/main.rs", LIBRARY_PROGRAM)])
    };
    let heavy = |outside: &Outside<'_>| {
        let tree = outside.cargo(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{lib}"]).text();
        assert!(tree.lines().any(|name| name.trim() == "elastic_flow_orchestrator"), "{tree}");
        let names = tree.lines().map(str::trim).filter(|name| ["clap", "axum", "rocksdb"].contains(name));
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    // The question finds them where they are.
    assert_eq!(heavy(&outside("outside_default", "")), ["axum".to_owned(), "clap".to_owned()].into());
    let plain = outside("outside_library", ", default-features = false");
    assert_eq!(heavy(&plain), BTreeSet::new());
    assert_eq!(plain.cargo(&["run", "--quiet"]).text(), "4 words, true\n");
}
