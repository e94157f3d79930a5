//! An item does not live beyond the call that gets it: what leaves is owned.

use elastic_flow_dataflow::{Chain, Flow, Text};

fn first_words(lines: Flow<Text>) -> Flow<&'static [u8], impl Chain<Item = &'static [u8], Output = Vec<&'static [u8]>>> {
    lines.map(|line| line.split(|byte| *byte == b' ').next().unwrap_or_default())
}

fn main() {}
