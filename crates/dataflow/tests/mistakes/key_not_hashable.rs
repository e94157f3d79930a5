//! A key is compared and hashed.

use elastic_flow_dataflow::{Flow, Text};

fn by_length(lines: Flow<Text>) -> Flow<(f64, u64)> {
    lines.map(|line| line.len() as f64).counts()
}

fn main() {}
