//! The programs that are held against the [`mod@crate::reference`].

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use elastic_flow::dataflow::source::{EncodedItems, ItemBatches};
use elastic_flow::prelude::*;

use crate::reference;

/// The name of the source of empty chunks, and of the program that counts them.
pub const EMPTY: &str = "empty_chunks";
/// Empty chunks of a whole run, and of one over tiny data.
pub const EMPTY_CHUNKS: u64 = 10_000;
/// As the source of a run over tiny data.
pub const FEW_EMPTY: &str = "few_empty_chunks";
/// Its chunks.
pub const FEW_EMPTY_CHUNKS: u64 = 100;

/// A program that counts words.
type WordCount = TypedProgram<Text, (Text, u64), Vec<(Text, u64)>>;

/// The word count with named operators.
///
/// # Errors
/// None: the name is right.
pub fn word_count() -> anyhow::Result<WordCount> {
    Ok(TypedProgram::new("word_count", |lines: Flow<Text>| lines.words().to_ascii_lowercase().counts())?)
}

/// The word count with closures.
///
/// # Errors
/// None: the name is right.
pub fn word_count_closures() -> anyhow::Result<WordCount> {
    Ok(TypedProgram::new("word_count_closures", |lines: Flow<Text>| {
        lines.flat_map(Text::into_words).map(Text::to_ascii_lowercase).counts()
    })?)
}

/// `map`, `filter`, `map` and a sum.
///
/// # Errors
/// None: the name is right.
pub fn sum() -> anyhow::Result<TypedProgram<u64, u64, u64>> {
    Ok(TypedProgram::new("sum", |numbers: Flow<u64>| {
        numbers.map(reference::spread).filter(reference::is_kept).map(reference::narrow).sum()
    })?)
}

/// Counts items that take no byte.
///
/// # Errors
/// None: the name is right.
pub fn empty_chunks() -> anyhow::Result<TypedProgram<(), u64, u64>> {
    Ok(TypedProgram::new(EMPTY, |nothings: Flow<()>| nothings.count())?)
}

/// Runs a command line of the app that has all of them. Each prints its result in one line, as the reference does.
///
/// # Errors
/// None: the programs plan.
pub fn main(line: Vec<std::ffi::OsString>) -> anyhow::Result<ExitCode> {
    let number = |number: &u64, out: &mut dyn Write| writeln!(out, "{number}");
    Ok(App::new()
        .register(word_count()?.report(|counts, out| report_words(counts, out)))
        .register(word_count_closures()?.report(|counts, out| report_words(counts, out)))
        .register(sum()?.report(number))
        .register(empty_chunks()?.report(number))
        .source(EMPTY, Arc::new(|| nothings(EMPTY_CHUNKS)))
        .source(FEW_EMPTY, Arc::new(|| nothings(FEW_EMPTY_CHUNKS)))
        .main_from(line))
}

/// Distinct and all words.
fn report_words(counts: &[(Text, u64)], out: &mut dyn Write) -> io::Result<()> {
    let all: u64 = counts.iter().map(|(_, times)| times).sum();
    writeln!(out, "{} {all}", counts.len())
}

fn nothings(count: u64) -> Box<dyn ItemBatches> {
    Box::new(EncodedItems::new((0..count).map(|_| ())))
}
