//! The sources of the published crates, for tests that read them.
#![allow(clippy::expect_used, reason = "a test tool: without the sources there is no test")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::outside::workspace;

/// The files under `src` of each published crate, with their text.
///
/// # Panics
/// They cannot be read.
#[must_use]
pub fn of_published_crates() -> Vec<Vec<(PathBuf, String)>> {
    let crates = fs::read_dir(workspace().join("crates")).expect("the published crates");
    let sources = |folder: &Path| {
        let mut found = Vec::new();
        rust_files(&folder.join("src"), &mut found);
        found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("a source"))).collect()
    };
    crates.map(|entry| sources(&entry.expect("a crate").path())).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}
