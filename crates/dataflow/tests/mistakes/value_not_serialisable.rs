//! A value of a keyed reduction has to be encoded.

use elastic_flow_dataflow::{Flow, Text};

struct Longest {
    bytes: usize,
}

fn longest(lines: Flow<Text>) -> Flow<(Text, Longest)> {
    lines
        .words()
        .map(|word| (word.clone(), Longest { bytes: word.len() }))
        .reduce_by_key(|one, other| if one.bytes < other.bytes { other } else { one })
}

fn main() {}
