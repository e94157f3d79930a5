//! Shows an aggregator of one's own: how many lines there are, how long they are on average, how much that varies, and the longest.
//!
//! `cargo run --example custom_aggregator -- run` measures the text in `examples/data`; `--input F` another one.
//!
//! Every chunk is folded to a [`Summary`] where it is read, and the master merges the summaries. They come in any order, and how a
//! source is cut is not the program's to say. So the merging has one law: any chunks in any order give the same. Floating-point
//! numbers would break it, since their sums depend on the order; this keeps whole numbers, and divides once, at the end.

use std::io::{self, Write};

use elastic_flow::prelude::*;
use serde::{Deserialize, Serialize};

/// What is known of some lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Summary {
    lines: u64,
    bytes: u64,
    /// The sum of the squares of the lengths.
    squares: u128,
    /// The longest line; of several, the first by its bytes.
    longest: Option<Text>,
}

impl Summary {
    fn add(mut self, line: Text) -> Self {
        let length = line.len() as u64;
        self.lines += 1;
        self.bytes += length;
        self.squares += u128::from(length) * u128::from(length);
        self.longest = longer(self.longest, Some(line));
        self
    }

    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.squares += other.squares;
        self.longest = longer(self.longest.take(), other.longest);
    }
}

fn longer(one: Option<Text>, other: Option<Text>) -> Option<Text> {
    [one, other].into_iter().flatten().min_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)))
}

/// What the program gives.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Lengths {
    lines: u64,
    mean: f64,
    deviation: f64,
    longest: Option<Text>,
}

/// Brings summaries of chunks together.
#[derive(Debug)]
struct LineLengths;

impl Aggregate for LineLengths {
    type Item = Summary;
    type State = Summary;
    type Output = Lengths;

    fn start(&self) -> Summary {
        Summary::default()
    }

    fn merge(&self, state: &mut Summary, chunk: Summary, _receipt: Option<ReceiptId>) {
        state.merge(chunk);
    }

    fn finish(&self, all: Summary) -> Lengths {
        let Summary { lines, bytes, squares, longest } = all;
        let count = lines.max(1) as f64;
        let mean = bytes as f64 / count;
        let variance = (squares as f64 / count - mean * mean).max(0.0);
        Lengths { lines, mean, deviation: variance.sqrt(), longest }
    }
}

/// One summary a chunk.
fn summaries(lines: Flow<Text>) -> Flow<Summary, impl Chain<Item = Summary, Output: Send>> {
    lines.fold_chunk(Summary::default, Summary::add)
}

fn report(it: &Lengths, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} lines of {:.1} bytes on average, standard deviation {:.1}", it.lines, it.mean, it.deviation)?;
    let longest = it.longest.as_ref().map(|it| it.to_str_lossy()).unwrap_or_default();
    writeln!(out, "the longest: {longest}")
}

fn main() -> ExitCode {
    let program = match TypedProgram::new("line_lengths", summaries) {
        Ok(program) => program,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            return ExitCode::from(2);
        }
    };
    let text = SourceSpec::Lines { paths: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/data/*.txt").to_owned()] };
    App::new().register(program.aggregate(LineLengths).default_input(text).report(report)).main()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 7] = ["a", "", "four", "x y z", "five!", "abcde", "ten bytes."];

    fn summary(lines: &[&str]) -> Summary {
        lines.iter().fold(Summary::default(), |summary, line| summary.add(Text::from(*line)))
    }

    fn merged<'a>(chunks: impl IntoIterator<Item = &'a [&'a str]>) -> Summary {
        let mut state = LineLengths.start();
        chunks.into_iter().for_each(|it| LineLengths.merge(&mut state, summary(it), None));
        state
    }

    #[test]
    fn any_chunks_in_any_order_give_the_same() {
        let all = summary(&LINES);
        // Every way to cut the lines: one bit for each place between two of them.
        for cuts in 0..1_u32 << (LINES.len() - 1) {
            let mut chunks = Vec::new();
            let mut rest = &LINES[..];
            for place in (0..LINES.len() - 1).rev().filter(|it| cuts & (1 << it) != 0) {
                let (before, chunk) = rest.split_at(place + 1);
                chunks.push(chunk);
                rest = before;
            }
            chunks.push(rest);
            assert_eq!(merged(chunks.iter().rev().copied()), all, "in order, cut {cuts:b}");
            assert_eq!(merged(chunks.iter().copied()), all, "backwards, cut {cuts:b}");
            let middle = chunks.len() / 2;
            chunks.rotate_left(middle);
            assert_eq!(merged(chunks.iter().copied()), all, "from the middle, cut {cuts:b}");
        }
    }

    #[test]
    fn a_cluster_gives_what_the_formulas_say() {
        let program = TypedProgram::new("line_lengths", summaries).unwrap().aggregate(LineLengths);
        let run = Cluster::local(2).run(&program, ["ab", "abcd", "abcd", "abcdef"]).unwrap();
        assert_eq!(
            run.output,
            Lengths { lines: 4, mean: 4.0, deviation: 2.0_f64.sqrt(), longest: Some("abcdef".into()) }
        );
        assert!(run.audit.balanced());
    }

    #[test]
    fn no_lines_have_no_longest_one_and_no_length() {
        let program = TypedProgram::new("line_lengths", summaries).unwrap().aggregate(LineLengths);
        let empty: [&str; 0] = [];
        assert_eq!(program.on(empty).unwrap(), Lengths { lines: 0, mean: 0.0, deviation: 0.0, longest: None });
    }
}
