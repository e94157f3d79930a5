//! A program with a store of its own: `--store mine:DIR`.

use std::path::Path;
use std::sync::Arc;

use elastic_flow::prelude::*;
use elastic_flow::store::{RealFiles, Store, StoreError};
use own_store::OwnStore;

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    lines.words().to_ascii_lowercase().counts()
}

fn mine(folder: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(OwnStore::open(Path::new(folder), Arc::new(RealFiles))?))
}

fn main() -> ExitCode {
    App::new().program("word_count", count_words).store("mine", Arc::new(mine)).main()
}
