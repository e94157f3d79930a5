//! The lines of `--bench end_to_end`: what Elastic Flow takes against the same work by hand.
//!
//! Each line is measured over interleaved pairs: once the one side, once the other, the next time the other way round, so that what
//! else the machine does hits both alike. The ratio is the median of those of the pairs.

mod lines;
mod overhead;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::statistics::{Spread, spread};

/// Pairs of each line where nothing else is asked for.
const PAIRS: usize = 15;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether a line over its bound is an error.
    pub check: bool,
    /// Whether each line runs just once, over tiny data, so that it is known to run.
    pub tiny: bool,
    /// The lines to run; all where none is named.
    pub only: Vec<String>,
    /// Pairs of each line.
    pub pairs: usize,
    /// Mebibytes of text in place of as many as a line asks for, where a machine is too slow or too busy for those.
    pub text_mib: Option<u64>,
    /// Where text is kept.
    pub folder: PathBuf,
}

impl Options {
    /// From the arguments that the bench is called with.
    ///
    /// # Errors
    /// An argument is none of the known ones, or misses its value.
    pub fn from_args(args: &[String], folder: PathBuf) -> anyhow::Result<Self> {
        let mut options = Self { check: false, tiny: false, only: Vec::new(), pairs: PAIRS, text_mib: None, folder };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--check" => options.check = true,
                "--test" => options.tiny = true,
                // What cargo says to every bench.
                "--bench" => {}
                "--only" => options.only.push(value()?.clone()),
                "--pairs" => options.pairs = value()?.parse().context("--pairs needs a number")?,
                "--text-mib" => options.text_mib = Some(value()?.parse().context("--text-mib needs a number")?),
                other => bail!("`{other}` is none of --check, --only NAME, --pairs N, --text-mib N and --test"),
            }
        }
        let unknown = options.only.iter().find(|name| !lines::LINES.iter().any(|line| line.name == **name));
        match unknown {
            Some(name) => {
                let known: Vec<_> = lines::LINES.iter().map(|line| line.name).collect();
                bail!("`{name}` is no line; they are {}", known.join(", "))
            }
            None if options.pairs == 0 => bail!("--pairs is 0, so that nothing would be measured"),
            None => Ok(options),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// A line: what is measured, and what is asked of it.
struct Line {
    name: &'static str,
    /// What it must not exceed.
    must: f64,
    /// What it should not exceed.
    aim: f64,
    measure: fn(&lines::Bench) -> anyhow::Result<Measured>,
}

/// What a line gave.
struct Measured {
    ratio: Spread,
    /// What the ratio is made of, for people.
    detail: String,
}

impl Measured {
    /// The ratio of pairs, each of the seconds of both sides.
    fn of(pairs: &[(f64, f64)]) -> Self {
        let ratio = spread(pairs.iter().map(|(ours, by_hand)| ours / by_hand).collect());
        let ours = spread(pairs.iter().map(|(ours, _)| *ours).collect()).median;
        let by_hand = spread(pairs.iter().map(|(_, by_hand)| *by_hand).collect()).median;
        Self { ratio, detail: format!("{ours:.4} s against {by_hand:.4} s, medians of {} pairs", pairs.len()) }
    }
}

/// Runs the lines that are asked for. Standard output gets `name ratio iqr bound PASS|FAIL`, standard error what that is made of.
///
/// # Errors
/// A run fails, or both sides do not give the same.
pub fn main(options: &Options) -> anyhow::Result<ExitCode> {
    let bench = lines::Bench::new(options)?;
    let (mut out, mut log) = (io::stdout().lock(), io::stderr().lock());
    let mut failed = 0;
    for line in lines::LINES.iter().filter(|line| options.wants(line.name)) {
        let Measured { ratio: Spread { median, iqr }, detail } =
            (line.measure)(&bench).with_context(|| format!("{} failed", line.name))?;
        let Line { name, must, aim, .. } = line;
        let passes = median <= *must;
        let verdict = match (options.tiny, passes) {
            (true, _) => "RAN",
            (false, true) => "PASS",
            (false, false) => "FAIL",
        };
        writeln!(out, "{name} {median:.4} {iqr:.4} {must} {verdict}")?;
        out.flush()?;
        writeln!(log, "  {name}: {detail}; the aim is {aim}")?;
        failed += usize::from(!options.tiny && !passes);
    }
    Ok(if options.check && failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
