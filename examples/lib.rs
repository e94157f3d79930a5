//! Programs that show Elastic Flow: `word_count`, `interceptor` and `custom_aggregator`, to be run with `cargo run --example`.
