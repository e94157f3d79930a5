//! The test program: flows that go slowly, fail or panic on demand, and note in a side file what really ran.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use elastic_flow::dataflow::params::Duration;
use elastic_flow::orchestrator::master::{Candidate, ChunkFacts, Distribute};
use elastic_flow::orchestrator::{Monitor, MonitorError, NodeId, Watched};
use elastic_flow::prelude::*;
use serde::Deserialize;

/// How often a chunk that is held looks whether it may go on.
const HOLD_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
/// How often a reader that is held at a line looks at most: for two minutes.
const HOLD_LOOKS_MAX: u32 = 12_000;

/// Parameters of the programs that read lines.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    /// How long every chunk sleeps first.
    slow: Option<Duration>,
    /// A file to which every chunk that runs appends its first word, and the process that runs it.
    side: Option<PathBuf>,
    /// A file whose existence makes `bad` and `hold` harmless.
    marker: Option<PathBuf>,
    /// The line that fails, or panics.
    bad: String,
    /// A chunk with this first line does not end before `marker` is there; in `holds_at_a_line`, a line anywhere.
    hold: String,
    /// A file that `holds_at_a_line` makes when it is at `hold`.
    reached: Option<PathBuf>,
    /// Whether the workers exchange what they have counted.
    exchange: bool,
    /// Means nothing; makes a submission as large as one likes.
    #[serde(rename = "note")]
    _note: String,
}

impl Params {
    fn is_lifted(&self) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.exists())
    }
}

/// Appends the first word of a chunk to a file, in one write, so that chunks do not mix.
fn append(side: &Path, lines: &[Text]) -> io::Result<()> {
    let first = lines.first().map(|line| line.to_str_lossy().into_owned()).unwrap_or_default();
    let word = first.split_ascii_whitespace().next().unwrap_or("-");
    let line = format!("{word} {}\n", std::process::id());
    OpenOptions::new().append(true).create(true).open(side)?.write_all(line.as_bytes())
}

/// What a chunk does before its lines flow on.
fn enter(params: &Params, lines: &[Text]) {
    if let Some(side) = &params.side
        && let Err(error) = append(side, lines)
    {
        writeln!(io::stderr(), "cannot note a chunk in {}: {error}", side.display()).ok();
    }
    if let Some(slow) = params.slow {
        thread::sleep(*slow);
    }
    if !params.hold.is_empty() && lines.first().is_some_and(|line| **line == *params.hold.as_bytes()) {
        while !params.is_lifted() {
            thread::sleep(HOLD_PAUSE);
        }
    }
}

fn count_words(lines: Flow<Text>, params: Params) -> Flow<(Text, u64)> {
    let exchange = params.exchange;
    let entered = move |lines: Vec<Text>| {
        enter(&params, &lines);
        lines
    };
    let words = lines.map_batch(usize::MAX, entered).words().to_ascii_lowercase();
    if exchange { words.partition().counts() } else { words.counts() }
}

/// Fails on the line `bad` until `marker` is there.
fn fail_until_marker(lines: Flow<Text>, params: Params) -> Flow<(Text, u64)> {
    let known = params.clone();
    let entered = move |lines: Vec<Text>| {
        enter(&params, &lines);
        lines
    };
    let checked = move |line: Text| {
        if *line == *known.bad.as_bytes() && !known.is_lifted() { Err("this line is not wanted yet") } else { Ok(line) }
    };
    lines.map_batch(usize::MAX, entered).try_map(checked).words().to_ascii_lowercase().counts()
}

/// Holds its reader at the line `hold`, wherever it stands: makes the file `reached`, and goes on when `marker` is there.
///
/// The lines behind are not read before that, but for what is in the same block.
fn hold_at_line(lines: Flow<Text>, params: Params) -> Flow<Text, impl Chain<Item = Text>> {
    let held = move |line: Text| {
        if *line == *params.hold.as_bytes() { wait_at_line(&params).map(|()| line) } else { Ok(line) }
    };
    lines.try_map(held)
}

/// Counts the words behind [`hold_at_line`].
fn count_behind_line(lines: Flow<Text>, params: Params) -> Flow<(Text, u64)> {
    hold_at_line(lines, params).words().to_ascii_lowercase().counts()
}

fn wait_at_line(params: &Params) -> Result<(), String> {
    if let Some(reached) = &params.reached {
        std::fs::write(reached, "").map_err(|error| format!("cannot make {}: {error}", reached.display()))?;
    }
    for _ in 0..HOLD_LOOKS_MAX {
        if params.is_lifted() {
            return Ok(());
        }
        thread::sleep(HOLD_PAUSE);
    }
    Err("nobody lets this line go".to_owned())
}

/// Sums lines that are numbers, and skips the others. Ends the step at the line `bad`; holds at the line `hold` until `marker`
/// is there.
fn sum_numbers(lines: Flow<Text>, params: Params) -> Single<u64> {
    let parsed = move |line: Text| -> FlowResult<u64> {
        if *line == *params.hold.as_bytes() && !params.hold.is_empty() {
            wait_at_line(&params).or_retry()?;
            return Ok(0);
        }
        if *line == *params.bad.as_bytes() && !params.bad.is_empty() {
            return Err(FlowError::fail("this line ends it"));
        }
        line.to_str_lossy().parse::<u64>().or_skip()
    };
    lines.try_map(parsed).sum()
}

/// Panics on the line `bad`.
#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_on_line(lines: Flow<Text>, params: Params) -> Flow<(Text, u64)> {
    let bad = params.bad.into_bytes();
    let checked = move |line: &Text| {
        if **line == *bad {
            panic!("user code has met the line that it panics on");
        }
    };
    lines.inspect(checked).words().to_ascii_lowercase().counts()
}

/// A chunk ends where lines with another first word begin.
fn by_first_word(before: &[u8], after: &[u8]) -> bool {
    let first = |line: &[u8]| line.split(u8::is_ascii_whitespace).next().map(<[u8]>::to_vec);
    first(before) != first(after)
}

/// Of the workers with room, the one whose name comes last.
#[derive(Debug)]
struct LastByName;

impl Distribute for LastByName {
    fn pick(&mut self, _chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
        candidates.iter().enumerate().max_by_key(|(_, it)| it.name).map_or(0, |(index, _)| index)
    }
}

/// The workers whose names stand in the file `living` of the working folder, one a line, are living.
#[derive(Debug)]
struct LivingFile;

impl Monitor for LivingFile {
    fn living(&mut self, workers: &[Watched]) -> Result<Vec<NodeId>, MonitorError> {
        let text = std::fs::read_to_string("living")?;
        let is_named = |worker: &&Watched| text.lines().any(|line| line.trim() == worker.name);
        Ok(workers.iter().filter(is_named).map(|worker| worker.node).collect())
    }
}

/// Sums a constant that stands in a closure, and nowhere else. Holds at the line `hold` until `marker` is there.
fn sum_constant<const CONSTANT: u64>(lines: Flow<Text>, params: Params) -> Single<u64> {
    hold_at_line(lines, params).map(|_| CONSTANT).sum()
}

/// Parameters of `limited` as the first build takes them.
#[derive(Debug, Deserialize)]
struct Limit {
    limit: u8,
}

/// The same as any other build takes them: more of them, of a wider type, and none that has to be given.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Limits {
    limit: u64,
    floor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { limit: u64::MAX, floor: 0 }
    }
}

/// Counts the lines that are not longer than the limit.
fn count_short_lines(lines: Flow<Text>, params: Limit) -> Single<u64> {
    lines.filter(move |line| line.len() <= usize::from(params.limit)).count()
}

/// Counts the lines whose length lies within the limits.
fn count_lines_within(lines: Flow<Text>, params: Limits) -> Single<u64> {
    lines.filter(move |line| (params.floor..=params.limit).contains(&(line.len() as u64))).count()
}

/// Counts the words of two inputs apart: those of `users` come behind an `@`.
fn count_words_by_input(inputs: Inputs, (): ()) -> Flow<(Text, u64)> {
    let users = inputs.lines("users").words().map(|word| Text::from([b"@", &*word].concat()));
    inputs.lines("logs").words().merge(users).counts()
}

fn output(counts: &Vec<(Text, u64)>, out: &mut dyn Write) -> io::Result<()> {
    for (word, times) in counts {
        out.write_all(word)?;
        writeln!(out, "\t{times}")?;
    }
    Ok(())
}

/// What the test program registers.
///
/// # Errors
/// A name is wrong.
pub fn app<const CONSTANT: u64>() -> Result<App, Box<dyn std::error::Error>> {
    let app = App::new();
    let app = if CONSTANT == 1 {
        app.program("limited", count_short_lines)
    } else {
        app.program("limited", count_lines_within)
    };
    Ok(app
        .register(TypedProgram::new("words_by_input", count_words_by_input)?.output(output))
        .register(TypedProgram::new("word_count", count_words)?.output(output))
        .register(TypedProgram::new("fails_until_marker", fail_until_marker)?.output(output))
        .register(TypedProgram::new("holds_at_a_line", count_behind_line)?.output(output))
        .register(TypedProgram::new("panics_on_a_line", panic_on_line)?.output(output))
        .program("sums_numbers", sum_numbers)
        .distribute("last-by-name", || LastByName)
        .monitor("living-file", || LivingFile)
        .window("by_first_word", by_first_word)
        .interceptor("says", Says)
        .window("by_tens", |before: &u64, after: &u64| before / 10 != after / 10)
        .program("sum_constant", sum_constant::<CONSTANT>))
}

/// An interceptor that says on standard error what it sees.
#[derive(Debug)]
struct Says;

impl Says {
    fn chunk(hook: &str, event: &ChunkEvent) {
        writeln!(io::stderr(), "{} saw {hook} of {}", event.node, event.receipt).ok();
    }
}

impl Interceptor for Says {
    fn distributed(&self, event: &ChunkEvent) {
        Self::chunk("distributed", event);
    }

    fn processed(&self, event: &ChunkEvent) {
        Self::chunk("processed", event);
    }

    fn aggregated(&self, event: &ChunkEvent) {
        Self::chunk("aggregated", event);
    }

    fn step_changed(&self, step: StepId, _: Option<StepState>, to: StepState) {
        writeln!(io::stderr(), "saw step {step} become {to}").ok();
    }
}

/// The whole of the program's `main`.
#[must_use]
pub fn main<const CONSTANT: u64>() -> ExitCode {
    match app::<CONSTANT>() {
        Ok(app) => app.main(),
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::from(2)
        }
    }
}
