//! Counts words, on this machine or on many.
//!
//! A word is a maximal run of bytes that are not ASCII white space, with ASCII letters lowered; other bytes stay as they are.
//!
//! `cargo run --release --example word_count -- run` counts the words of the Rust sources in the local Cargo registry.
//! `--input F` counts those of other files, `--output FILE` writes every word with its count, and `--param slow=20ms` sleeps so
//! long a chunk, for walk-throughs. With `--param exchange=true` the workers exchange what they have counted, so that each of them
//! adds up the words that fall to it; without, the master adds them up alone.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use elastic_flow::dataflow::params::Duration;
use elastic_flow::prelude::*;
use serde::Deserialize;

/// Words that the report shows.
const SHOWN: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How long every chunk sleeps first.
    slow: Option<Duration>,
    /// Whether the workers add up the counts, each for the words that fall to it.
    exchange: bool,
}

fn count_words(lines: Flow<Text>, params: Params) -> Flow<(Text, u64)> {
    match params.slow {
        None => counts(lines.words().to_ascii_lowercase(), params.exchange),
        Some(slow) => {
            let sleep = move |lines| {
                thread::sleep(*slow);
                lines
            };
            counts(lines.map_batch(usize::MAX, sleep).words().to_ascii_lowercase(), params.exchange)
        }
    }
}

fn counts(words: Flow<Text, impl Chain<Item = Text>>, exchange: bool) -> Flow<(Text, u64)> {
    if exchange { words.partition().counts() } else { words.counts() }
}

/// All counts, the most frequent first, equal ones by their bytes.
fn ranked(counts: &[(Text, u64)]) -> Vec<&(Text, u64)> {
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_unstable_by(|(one, times), (other, others)| {
        Reverse(times).cmp(&Reverse(others)).then_with(|| one.cmp(other))
    });
    ranked
}

fn report(counts: &[(Text, u64)], out: &mut dyn Write) -> io::Result<()> {
    for (word, times) in ranked(counts).into_iter().take(SHOWN) {
        writeln!(out, "{times:>12}  {}", word.to_str_lossy())?;
    }
    let all: u64 = counts.iter().map(|(_, times)| times).sum();
    writeln!(out, "{} distinct words, {all} words in all", counts.len())
}

fn output(counts: &[(Text, u64)], out: &mut dyn Write) -> io::Result<()> {
    for (word, times) in ranked(counts) {
        out.write_all(word)?;
        writeln!(out, "\t{times}")?;
    }
    Ok(())
}

/// The Rust sources of the local Cargo registry, which are there wherever this was built; else a text of our own.
fn default_input() -> String {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|it| Path::new(&it).join(".cargo")));
    if let Some(sources) = home.map(|it| it.join("registry/src"))
        && sources.is_dir()
    {
        return sources.join("**/*.rs").to_string_lossy().into_owned();
    }
    concat!(env!("CARGO_MANIFEST_DIR"), "/data/*.txt").to_owned()
}

fn main() -> ExitCode {
    let program = match TypedProgram::new("word_count", count_words) {
        Ok(program) => program,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            return ExitCode::from(2);
        }
    };
    let source = SourceSpec::Lines { paths: vec![default_input()] };
    App::new()
        .register(
            program
                .default_input(source)
                .report(|counts, out| report(counts, out))
                .output(|counts, out| output(counts, out)),
        )
        .main()
}
