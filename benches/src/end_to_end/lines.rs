//! What each line runs.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use elastic_flow::orchestrator::Settings;
use serde_json::Value;

use super::{Line, Measured, Options, overhead};
use crate::process::{Run, run, run_watched};
use crate::statistics::Spread;
use crate::{corpus, programs, reference};

/// Every line, in the order in which they run.
pub(super) const LINES: &[Line] = &[
    Line { name: "word_count", must: 1.5, aim: 1.3, measure: |bench| bench.words("word_count") },
    Line { name: "word_count_closures", must: 2.2, aim: 1.7, measure: |bench| bench.words("word_count_closures") },
    Line { name: "sum_u64", must: 1.2, aim: 1.05, measure: Bench::sum },
    Line { name: "empty_chunks", must: 4.0, aim: 2.5, measure: Bench::empty_chunks },
    Line { name: "start", must: 8.0, aim: 4.0, measure: Bench::start },
    Line { name: "overhead", must: 0.03, aim: 0.01, measure: Bench::overhead },
    Line { name: "memory", must: 256.0, aim: 128.0, measure: Bench::memory },
];

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The data of a run.
struct Scale {
    /// Bytes of the text whose words are counted.
    text_bytes: u64,
    /// Its different words.
    distinct: u64,
    /// Bytes of the text that memory is measured over where that line is asked for by its name; `text_bytes` elsewhere.
    long_text_bytes: u64,
    /// Different words of the text that memory is measured over.
    long_distinct: u64,
    /// Numbers that are summed up.
    numbers: u64,
    empty_chunks: (&'static str, u64),
    /// Pairs of a start for each pair of another line: starts are short, and spread the more.
    starts: usize,
}

const FULL: Scale = Scale {
    text_bytes: GIB,
    distinct: 50_000,
    long_text_bytes: 4 * GIB,
    long_distinct: 500_000,
    numbers: 4_000_000_000,
    empty_chunks: (programs::EMPTY, programs::EMPTY_CHUNKS),
    starts: 4,
};

const TINY: Scale = Scale {
    text_bytes: 64 << 10,
    distinct: 1_000,
    long_text_bytes: 64 << 10,
    long_distinct: 1_000,
    numbers: 1_000_000,
    empty_chunks: (programs::FEW_EMPTY, programs::FEW_EMPTY_CHUNKS),
    starts: 1,
};

/// Bytes and different words of the text of a start.
const SHORT_TEXT: (u64, u64) = (1 << 10, 100);

/// How to run both sides, and over what.
pub(super) struct Bench {
    options: Options,
    scale: Scale,
    pairs: usize,
    /// This very program, which is both sides.
    program: PathBuf,
}

impl Bench {
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        let (mut scale, pairs) = if options.tiny { (TINY, 1) } else { (FULL, options.pairs) };
        if let Some(mib) = options.text_mib {
            (scale.text_bytes, scale.long_text_bytes) = (mib.saturating_mul(MIB), mib.saturating_mul(MIB));
        }
        let program = std::env::current_exe().context("failed to find this program")?;
        Ok(Self { options: options.clone(), scale, pairs, program })
    }

    /// Runs pairs, each of two sides that give an answer and the seconds that it took.
    fn pairs(
        &self,
        count: usize,
        ours: impl Fn() -> anyhow::Result<(String, f64)>,
        by_hand: impl Fn() -> anyhow::Result<(String, f64)>,
    ) -> anyhow::Result<Measured> {
        let mut pairs = Vec::with_capacity(count);
        for pair in 0..count {
            let (ours, by_hand) = if pair % 2 == 0 {
                let ours = ours()?;
                (ours, by_hand()?)
            } else {
                let by_hand = by_hand()?;
                (ours()?, by_hand)
            };
            ensure!(ours.0 == by_hand.0, "the answer is {:?}, but by hand it is {:?}", ours.0, by_hand.0);
            pairs.push((ours.1, by_hand.1));
        }
        Ok(Measured::of(&pairs))
    }

    fn run_program(&self, program: &str, more: &[&str]) -> anyhow::Result<Run> {
        run(&self.program, &[&["run", "--program", program], more].concat())
    }

    fn run_reference(&self, args: &[&str]) -> anyhow::Result<Run> {
        run(&self.program, &[&[reference::MASTER], args].concat())
    }

    fn text(&self, bytes: u64, distinct: u64) -> anyhow::Result<String> {
        let path = corpus::text(&self.options.folder, bytes, distinct)?;
        path.into_os_string().into_string().ok().context("the folder of the text has a name that is no text")
    }

    fn words_of(&self, count: usize, program: &str, text: &str) -> anyhow::Result<Measured> {
        self.pairs(
            count,
            || Ok(answer(&self.run_program(program, &["--input", text])?)),
            || Ok(answer(&self.run_reference(&["words", text])?)),
        )
    }

    fn words(&self, program: &str) -> anyhow::Result<Measured> {
        self.words_of(self.pairs, program, &self.text(self.scale.text_bytes, self.scale.distinct)?)
    }

    fn start(&self) -> anyhow::Result<Measured> {
        let (bytes, distinct) = SHORT_TEXT;
        self.words_of(self.pairs * self.scale.starts, "word_count", &self.text(bytes, distinct)?)
    }

    fn sum(&self) -> anyhow::Result<Measured> {
        let numbers = self.scale.numbers.to_string();
        let range = format!("range:0..{numbers}");
        self.pairs(
            self.pairs,
            || Ok(answer(&self.run_program("sum", &["--input", &range])?)),
            || Ok(answer(&self.run_reference(&["sum", &numbers])?)),
        )
    }

    /// The time of the step, without that of the processes, which is another line.
    fn empty_chunks(&self) -> anyhow::Result<Measured> {
        let (source, count) = self.scale.empty_chunks;
        let (source, count) = (format!("registered:{source}"), count.to_string());
        let in_flight = Settings::default().open_per_slot.to_string();
        let ours = || {
            let run = self.run_program(
                programs::EMPTY,
                &["--json", "--set", "distribute.chunk_items=1", "--slots", "1", "--input", &source],
            )?;
            let said: Value = serde_json::from_str(&run.output).context("--json did not give JSON")?;
            ensure!(
                said.pointer("/audit/rows/aggregated/receipts") == Some(&Value::from(count.parse::<u64>()?)),
                "the step did not have {count} chunks: {}",
                run.output
            );
            let at =
                |name: &str| said.pointer(name).and_then(Value::as_u64).context("--json did not give the step's times");
            let nanos = at("/step/ended_at")?.saturating_sub(at("/step/started_at")?);
            let result = said.pointer("/result/0").context("--json did not give the result")?;
            Ok((result.to_string(), seconds_of(nanos)))
        };
        let by_hand = || {
            let run = self.run_reference(&["echo", &count, &in_flight])?;
            let (replies, nanos) =
                run.output.trim_end().split_once(' ').context("the reference said something else")?;
            Ok((replies.to_owned(), seconds_of(nanos.parse()?)))
        };
        self.pairs(self.pairs, ours, by_hand)
    }

    /// The CPU time of receipts, ledger and checksums by themselves over that of the run whose chunks they are.
    fn overhead(&self) -> anyhow::Result<Measured> {
        let text = self.text(self.scale.text_bytes, self.scale.distinct)?;
        let mut shares = Vec::with_capacity(self.pairs);
        let mut detail = String::new();
        for _ in 0..self.pairs {
            let run = self.run_program("word_count", &["--input", &text])?;
            let chunks = overhead::chunks_of(&run.output)?;
            let pieces = overhead::Pieces::measure(&text, self.scale.text_bytes, chunks)?;
            // A run over tiny data is over within a tick of the CPU clock.
            shares.push(pieces.cpu_seconds() / run.cpu_seconds.max(0.01));
            detail =
                format!("{pieces} of {:.2} s for {chunks} chunks, in the last of {} runs", run.cpu_seconds, self.pairs);
        }
        Ok(Measured { ratio: crate::statistics::spread(shares), detail })
    }

    /// Peak memory in MiB of the process that has most.
    fn memory(&self) -> anyhow::Result<Measured> {
        let asked_for = self.options.only.iter().any(|only| only == "memory");
        let bytes = if asked_for { self.scale.long_text_bytes } else { self.scale.text_bytes };
        let text = self.text(bytes, self.scale.long_distinct)?;
        let (_, peaks) = run_watched(&self.program, &["run", "--program", "word_count", "--input", &text])?;
        ensure!(!peaks.is_empty() || self.options.tiny, "the processes were gone before their memory was read");
        let most = peaks.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
        let each: Vec<_> = peaks.iter().map(|(name, bytes)| format!("{name} {} MiB", bytes / MIB)).collect();
        let detail = format!(
            "{}, over {} MiB of text with {} different words",
            each.join(", "),
            bytes / MIB,
            self.scale.long_distinct
        );
        #[expect(clippy::cast_precision_loss, reason = "megabytes of memory are exact in it")]
        Ok(Measured { ratio: Spread { median: most as f64 / MIB as f64, iqr: 0.0 }, detail })
    }
}

/// The first line that a run wrote, and its seconds.
fn answer(run: &Run) -> (String, f64) {
    (run.output.lines().next().unwrap_or_default().to_owned(), run.seconds)
}

#[expect(clippy::cast_precision_loss, reason = "to a quarter of a year, nanoseconds are exact in it")]
fn seconds_of(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
