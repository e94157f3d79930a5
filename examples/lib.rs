//! Programs that show Elastic Flow: `word_count`, `log_report`, `interceptor` and `custom_aggregator`, to be run with `cargo run --example`.
