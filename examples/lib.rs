//! Programs that show Elastic Flow: `word_count`, `log_report`, `top_pages`, `interceptor` and `custom_aggregator`, to be run with `cargo run --example`.
