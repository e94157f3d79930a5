//! Elastic Flow against the same work by hand: `--check` fails where a line is over its bound.
//!
//! This program is everything that it measures: it starts itself as a process of the reference, and as a program of Elastic Flow,
//! whose workers are this program again.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use elastic_flow_benches::end_to_end::{self, Options};
use elastic_flow_benches::{programs, reference};

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::from(2)
        }
    }
}

/// Flags are this bench's; a command is the reference's or the app's.
fn dispatch() -> anyhow::Result<ExitCode> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let texts: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    match texts.first().map(String::as_str) {
        Some(reference::MASTER | reference::WORKER) => reference::main(&texts).map(|()| ExitCode::SUCCESS),
        Some(command) if !command.starts_with("--") => programs::main(std::env::args_os().collect()),
        Some(_) | None => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("benches");
            end_to_end::main(&Options::from_args(&texts, folder)?)
        }
    }
}
