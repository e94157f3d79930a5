//! A test's own folder: inputs, stores, keys, logs. Gone when the test passes; kept, and its logs shown, when it fails.
#![allow(clippy::expect_used, reason = "a test without its folder has failed")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// Bytes of the end of each log that are shown.
const SHOWN_BYTES: usize = 6_000;

/// A folder that belongs to one test.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    logs: AtomicU32,
}

impl Place {
    /// An empty one.
    ///
    /// # Panics
    /// The system gives no folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("elastic-flow-it-").tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("logs")).expect("a new folder takes a folder");
        Self { folder, logs: AtomicU32::new(0) }
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in it, as text.
    ///
    /// # Panics
    /// The temporary folder's name is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a temporary folder has a plain name").to_owned()
    }

    /// Writes a file and gives its path as text.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder");
        std::fs::write(&path, content).expect("a file of the test");
        self.text(name)
    }

    /// Two fresh log files, for standard output and standard error of one process.
    #[must_use]
    pub fn log_files(&self, name: &str) -> (PathBuf, PathBuf) {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        let path = |ending| self.path(&format!("logs/{number:03}-{name}.{ending}"));
        (path("out"), path("err"))
    }

    /// A command that sees neither the user's settings nor the user's folders.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear();
        for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir(self.folder.path());
        command
    }

    fn show_logs(&self) -> std::io::Result<()> {
        let mut out = std::io::stderr().lock();
        writeln!(out, "--- the test failed; its folder is kept: {}", self.folder.path().display())?;
        let mut logs: Vec<PathBuf> =
            std::fs::read_dir(self.path("logs"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        logs.sort();
        for log in logs {
            let bytes = std::fs::read(&log)?;
            if !bytes.is_empty() {
                let tail = &bytes[bytes.len().saturating_sub(SHOWN_BYTES)..];
                writeln!(out, "--- {}\n{}", log.display(), String::from_utf8_lossy(tail).trim_end())?;
            }
        }
        Ok(())
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            self.show_logs().ok();
        }
    }
}
