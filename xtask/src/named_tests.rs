//! Runs the tests, and holds a document to them: every test that it names exists, ran and passed.
//!
//! `docs/from-elixir.md` says in the last column of its tables which test holds what a row says. A test is named by its executable and its
//! path in it, as the tests print them: `model::a_reason_is_cut`, `elastic_flow_queue::step::tests::a_name_is_1_to_128`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use anyhow::{Context, ensure};

use crate::shell::{Shell, say};

/// The document that names tests.
const DOCUMENT: &str = "docs/from-elixir.md";

/// What a test prints, to standard error past its harness, or a block of a document, when this machine cannot run it, with why.
pub(crate) const SKIPPED: &str = "cannot run here: ";

/// Runs cargo's tests with `args`, and compares. Gives what tests said of why they did not run.
pub(crate) fn check(shell: &Shell, args: &[&str]) -> anyhow::Result<Vec<String>> {
    let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    // Both in one, so that what ran stays in its place: cargo names an executable there, the executable its tests here.
    let mut command = shell.cargo(args);
    command.stdout(writer.try_clone()?).stderr(writer).env("CARGO_TERM_COLOR", "never");
    let mut tests = command.spawn().context("failed to start cargo")?;
    // The command holds the writing end, too: without this the pipe would never end.
    drop(command);
    let mut passed = Passed::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("failed to read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        say(&line);
        passed.take(&line);
    }
    let status = tests.wait().context("failed to wait for cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", args.join(" "));
    let document = std::fs::read_to_string(shell.root().join(DOCUMENT));
    passed.hold(&document.with_context(|| format!("failed to read {DOCUMENT}"))?)?;
    Ok(passed.skipped.into_iter().collect())
}

/// Tests that passed, by executable and path.
#[derive(Debug, Default)]
struct Passed {
    executable: String,
    tests: BTreeSet<String>,
    /// Why tests did not run that passed all the same.
    skipped: BTreeSet<String>,
}

impl Passed {
    /// Takes in a line of what cargo and the tests print.
    fn take(&mut self, line: &str) {
        if let Some((_, why)) = line.split_once(SKIPPED) {
            self.skipped.insert(why.trim_end().to_owned());
        }
        if let Some((_, path)) = line.split_once("Running ").and_then(|(_, rest)| rest.rsplit_once('(')) {
            let file = path.trim_end_matches(')').rsplit('/').next().unwrap_or(path);
            // Behind its name an executable has the hash of its build.
            file.rsplit_once('-').map_or(file, |(name, _)| name).clone_into(&mut self.executable);
        } else if let Some(test) = line.strip_suffix(" ... ok") {
            // What a process printed without an end of line may stand before it.
            let test = test.rsplit_once("test ").map_or(test, |(_, test)| test);
            let test = test.split_once(' ').map_or(test, |(test, _)| test);
            self.tests.insert(format!("{}::{test}", self.executable));
        }
    }

    /// Whether every test that the document names is among them.
    fn hold(&self, document: &str) -> anyhow::Result<()> {
        let named = named(document);
        ensure!(!named.is_empty(), "{DOCUMENT} names no test");
        let missing = named.iter().filter(|(_, test)| !self.tests.contains(test));
        let missing: Vec<_> = missing.map(|(line, test)| format!("{DOCUMENT}:{line}: {test}")).collect();
        ensure!(missing.is_empty(), "named, and not among the tests that passed:\n{}", missing.join("\n"));
        say(&format!("{DOCUMENT} names {} tests, and each passed", named.len()));
        Ok(())
    }
}

/// What stands in backticks in the last column of the tables, with its line.
fn named(document: &str) -> Vec<(usize, String)> {
    let rows = document.lines().enumerate().filter_map(|(at, line)| {
        let cell = line.strip_prefix('|')?.trim_end().strip_suffix('|')?.rsplit('|').next()?;
        Some((at + 1, cell))
    });
    let in_backticks = |(at, cell): (usize, &str)| -> Vec<(usize, String)> {
        cell.split('`').skip(1).step_by(2).map(|test| (at, test.to_owned())).collect()
    };
    rows.flat_map(in_backticks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> Passed {
        let mut passed = Passed::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/elastic_flow_queue-0f4d8aeade35a8fa)",
            "test step::tests::a_name ... ok",
            "test step::tests::another ... ignored",
            "     Running tests/model.rs (target/debug/deps/model-5f6390ff1d9319b5)",
            "half a linetest a_reason ... ok",
            "test a_panic - should panic ... ok",
            "test a_failure ... FAILED",
            "test a_mount ... cannot run here: it needs root",
            "ok",
        ] {
            passed.take(line);
        }
        passed
    }

    #[test]
    fn a_named_test_has_to_have_passed() {
        let row = |test: &str| format!("| Original | Here | Test |\n|---|---|---|\n| `a::b` | `c` | `{test}` |\n");
        for test in ["elastic_flow_queue::step::tests::a_name", "model::a_reason", "model::a_panic"] {
            passed().hold(&row(test)).unwrap();
        }
        for test in ["elastic_flow_queue::step::tests::another", "model::a_failure", "model::a_name", "a_reason"] {
            let error = passed().hold(&row(test)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("\n{DOCUMENT}:3: {test}")), "{error}");
        }
    }

    #[test]
    fn what_this_machine_could_not_run_is_kept() {
        assert_eq!(passed().skipped.into_iter().collect::<Vec<_>>(), ["it needs root"]);
    }

    #[test]
    fn several_tests_may_stand_in_a_row_and_a_document_without_any_is_wrong() {
        let both = "| `x` | `model::a_reason`, `model::gone` |";
        assert_eq!(named(both), [(1, "model::a_reason".to_owned()), (1, "model::gone".to_owned())]);
        assert!(passed().hold("text with `model::a_reason`").is_err());
    }
}
