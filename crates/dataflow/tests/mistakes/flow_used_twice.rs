//! A flow goes one way.

use elastic_flow_dataflow::{Flow, Text};

fn words_and_lowercase_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    let words = lines.words();
    let lowercase = words.to_ascii_lowercase();
    words.merge(lowercase).counts()
}

fn main() {}
