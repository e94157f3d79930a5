//! Runs checks: numbered, timed, up to the first that fails.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

use crate::checks::{Action, CHECKS, Check, ROCKSDB_SCOPE};
use crate::shell::{Shell, cache_folder, now, say};
use crate::tools::{Tool, cargo_deny};
use crate::{blocks, named_tests};

/// `cargo xtask test ARGS`.
pub(crate) fn test(shell: &Shell, args: &[String]) -> anyhow::Result<ExitCode> {
    match selection(args)? {
        Selection::List => {
            CHECKS.iter().for_each(|check| say(&format!("{:15} {}", check.name, check.shows)));
            Ok(ExitCode::SUCCESS)
        }
        Selection::Run(checks) => run(shell, &checks),
    }
}

/// What the arguments ask for.
#[derive(Debug)]
enum Selection {
    List,
    Run(Vec<&'static Check>),
}

fn selection(args: &[String]) -> anyhow::Result<Selection> {
    let (mut only, mut skip) = (BTreeSet::new(), BTreeSet::new());
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let names = match arg {
            "--list" => return Ok(Selection::List),
            "--only" => &mut only,
            "--skip" => &mut skip,
            other => bail!("`{other}` is none of --only NAME, --skip NAME and --list"),
        };
        let name = args.next().with_context(|| format!("{arg} needs the name of a check; --list shows them"))?;
        let known = CHECKS.iter().any(|check| check.name == name);
        ensure!(known, "there is no check `{name}`; --list shows them");
        names.insert(name);
    }
    let selected = |check: &&Check| (only.is_empty() || only.contains(check.name)) && !skip.contains(check.name);
    Ok(Selection::Run(CHECKS.iter().filter(selected).collect()))
}

fn run(shell: &Shell, checks: &[&Check]) -> anyhow::Result<ExitCode> {
    let tools: BTreeSet<Tool> = checks.iter().flat_map(|check| check.needs).copied().collect();
    for tool in tools {
        tool.provide(shell)?;
    }
    let started = now();
    let (mut passed, mut skipped) = (0, Vec::new());
    for (at, check) in checks.iter().enumerate() {
        say(&format!("\n== {}/{} {}: {}", at + 1, checks.len(), check.name, check.shows));
        let check_started = now();
        let outcome = perform(shell, check.action);
        let seconds = check_started.elapsed().as_secs_f64();
        match outcome {
            Ok(more) => skipped.extend(more),
            Err(error) => {
                say(&format!("== {} FAILED after {seconds:.1} s: {error:#}", check.name));
                say(&format!("   again, alone: cargo xtask test --only {}", check.name));
                say(&format!("{passed} passed, 1 failed"));
                return Ok(ExitCode::FAILURE);
            }
        }
        passed += 1;
        say(&format!("== {} passed in {seconds:.1} s", check.name));
    }
    say(&format!("\nall checks passed in {:.0} s", started.elapsed().as_secs_f64()));
    skipped.iter().for_each(|why| say(&format!("not run on this machine: {why}")));
    say(&format!("{passed} passed, 0 failed{}", if skipped.is_empty() { "" } else { ", and not all tests ran" }));
    // What only some machines can show has to be shown somewhere.
    let must_run = std::env::var_os("CI").is_some();
    Ok(if is_enough(must_run, &skipped) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether checks that passed are enough, with what this machine could not run: not where all `must_run`.
const fn is_enough(must_run: bool, skipped: &[String]) -> bool {
    !must_run || skipped.is_empty()
}

/// Runs a check. Gives what of it this machine could not run.
fn perform(shell: &Shell, action: Action) -> anyhow::Result<Vec<String>> {
    let outcome = match action {
        Action::Cargo(args) => succeed(&mut shell.cargo(args)),
        Action::Rustdoc(args) => succeed(shell.cargo(args).env("RUSTDOCFLAGS", "-D warnings")),
        Action::Deny(args) => succeed(&mut shell.command(cargo_deny(shell)?, args)),
        Action::RocksDb { command, targets, trailing } => {
            let mut args = vec![command];
            // One profile for all: `bench` is the release profile, and has no flag for it.
            args.extend((command != "bench").then_some("--release"));
            args.extend(ROCKSDB_SCOPE.iter().chain(targets));
            if !trailing.is_empty() {
                args.push("--");
                args.extend(trailing);
            }
            succeed(shell.cargo(args).env("CARGO_TARGET_DIR", rocksdb_target()?))
        }
        Action::Tests(args) => return named_tests::check(shell, args),
        Action::Blocks => return blocks::check(shell),
    };
    outcome.map(|()| Vec::new())
}

/// Where RocksDB is built: outside of the clone, so that a fresh clone need not build it anew.
fn rocksdb_target() -> anyhow::Result<std::path::PathBuf> {
    match std::env::var_os("ELASTIC_FLOW_ROCKSDB_TARGET").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => Ok(cache_folder()?.join("rocksdb-target")),
    }
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("failed to start {}", command.get_program().display()))?;
    ensure!(status.success(), "{} ended with {status}", words(command));
    Ok(())
}

fn words(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words: Vec<_> = std::iter::once(program).chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_cannot_run_fails_where_all_must_run() {
        let why = ["it needs root".to_owned()];
        assert!(is_enough(false, &why) && is_enough(true, &[]) && is_enough(false, &[]));
        assert!(!is_enough(true, &why));
    }

    fn selected(args: &[&str]) -> anyhow::Result<Vec<&'static str>> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        match selection(&args)? {
            Selection::List => bail!("a list"),
            Selection::Run(checks) => Ok(checks.into_iter().map(|check| check.name).collect()),
        }
    }

    #[test]
    fn without_arguments_every_check_runs_in_its_order() {
        assert_eq!(selected(&[]).unwrap(), CHECKS.iter().map(|check| check.name).collect::<Vec<_>>());
    }

    #[test]
    fn only_and_skip_select_by_name_in_the_lists_order() {
        assert_eq!(selected(&["--only", "deny", "--only", "format"]).unwrap(), ["format", "deny"]);
        let rest = selected(&["--skip", "rocksdb-test"]).unwrap();
        assert_eq!((rest.len(), rest.contains(&"rocksdb-test")), (CHECKS.len() - 1, false));
    }

    #[test]
    fn an_unknown_name_or_option_is_refused_rather_than_running_nothing() {
        for wrong in [&["--only", "formt"][..], &["--only"], &["format"], &["--only", "format", "--quick"]] {
            assert!(selected(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_arguments() {
        let shell = Shell::at_workspace_root().unwrap();
        let error = succeed(&mut shell.command("sh", ["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.starts_with("sh -c exit 3 ended with"), "{error}");
    }
}
