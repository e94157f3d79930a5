//! A flow runs after the function that builds it has ended: its closures own what they use.

use elastic_flow_dataflow::{Flow, Text};

#[derive(serde::Deserialize)]
struct Settings {
    shortest: usize,
}

fn long_words(lines: Flow<Text>, settings: Settings) -> Flow<(Text, u64)> {
    lines.words().filter(|word| word.len() >= settings.shortest).counts()
}

fn main() {}
