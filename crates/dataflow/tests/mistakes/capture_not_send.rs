//! A closure runs on compute threads of many workers, and what it captures goes with it.

use std::cell::Cell;
use std::rc::Rc;

use elastic_flow_dataflow::{Flow, Text};

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    let seen = Rc::new(Cell::new(0));
    lines.words().inspect(move |_| seen.set(seen.get() + 1)).counts()
}

fn main() {}
