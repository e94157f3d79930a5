//! What a developer and CI run. `cargo xtask help` lists it.
//!
//! - [`checks`]: the list of checks, as data; [`run`]: runs them, numbered and timed, and stops at the first failure;
//! - [`tools`]: what the checks need beyond Rust, and how it is installed;
//! - [`blocks`]: executes the fenced blocks of README and walk-throughs;
//! - [`named_tests`]: runs the tests, and holds a document to those that it names;
//! - [`corpus`]: seeded text of any size;
//! - [`access_logs`]: seeded access logs of several servers, some lines broken and some files compressed;
//! - [`shell`]: the only place that starts processes and prints.

mod access_logs;
mod blocks;
mod checks;
mod corpus;
mod fenced;
mod named_tests;
mod run;
mod shell;
mod tools;

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::shell::{Shell, say};

const HELP: &str = "\
cargo xtask test [--only NAME ...] [--skip NAME ...] [--list]
    installs what is missing, or says what to install, and runs every check; stops at the first that fails
cargo xtask simulate --seeds N [--from S]
    runs the cluster's deciding code in the simulator, one run a seed
cargo xtask corpus --bytes N --distinct M --seed S --output FILE
    writes N bytes of text with M distinct words, the same for the same numbers, and prints its checksum
cargo xtask access-logs --servers N --lines N --seed S --output DIR
    writes the access logs of N servers, N lines each, the same for the same numbers; one line in 100 is broken on purpose";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn dispatch(args: &[String]) -> anyhow::Result<ExitCode> {
    let shell = Shell::at_workspace_root()?;
    match args.split_first() {
        Some((command, rest)) if command == "test" => run::test(&shell, rest),
        Some((command, rest)) if command == "simulate" => {
            let cargo = [
                "run",
                "--quiet",
                "--release",
                "--package",
                "elastic-flow-integration-tests",
                "--bin",
                "simulate",
                "--",
            ];
            let args = cargo.into_iter().chain(rest.iter().map(String::as_str));
            let succeeded = shell.cargo(args).status().context("failed to start cargo")?.success();
            Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some((command, rest)) if command == "corpus" => {
            let written = corpus::Corpus::from_args(rest)?.write()?;
            say(&written.to_string());
            Ok(ExitCode::SUCCESS)
        }
        Some((command, rest)) if command == "access-logs" => {
            let written = access_logs::AccessLogs::from_args(rest)?.write()?;
            say(&written.to_string());
            Ok(ExitCode::SUCCESS)
        }
        Some((command, _)) if command == "help" || command == "--help" => {
            say(HELP);
            Ok(ExitCode::SUCCESS)
        }
        Some((command, _)) => bail!("there is no command `{command}`\n{HELP}"),
        None => bail!("a command is missing\n{HELP}"),
    }
}
