//! The output of a flow that ends in `map` and the like is part of its type.

use elastic_flow_dataflow::{Chain, Flow, Text, TypedProgram};

fn lengths(lines: Flow<Text>) -> Flow<usize, impl Chain<Item = usize>> {
    lines.map(|line| line.len())
}

fn main() {
    TypedProgram::new("lengths", lengths).ok();
}
