//! An item that leaves its worker has to be encoded.

use elastic_flow_dataflow::{Chain, Flow, Text, TypedProgram};

struct Line {
    bytes: usize,
}

fn lines(lines: Flow<Text>) -> Flow<Line, impl Chain<Item = Line, Output = Vec<Line>>> {
    lines.map(|line| Line { bytes: line.len() })
}

fn main() {
    TypedProgram::new("lines", lines).ok();
}
