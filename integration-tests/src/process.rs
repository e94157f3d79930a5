//! A process that a test started: its output in files, signals by its id alone, gone at the latest when it is dropped.
#![allow(clippy::expect_used, reason = "a test tool: what goes wrong with a process fails the test")]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::place::Place;
use crate::wait::{wait_for, wait_until};

/// A running process, or one that has ended and not been asked for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said on standard error.
    pub stderr: String,
}

impl Ended {
    /// Its exit code, or minus the signal that ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|signal| -signal)).unwrap_or(i32::MIN)
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Itself, if its exit code is `code`.
    ///
    /// # Panics
    /// It is another one.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "the check alone is what most want")]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout:\n{}\nstderr:\n{}", self.text(), self.stderr);
        self
    }
}

impl Process {
    /// Starts it; its logs lie in `place`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(place: &Place, name: &str, command: &mut Command) -> Self {
        let (stdout, stderr) = place.log_files(name);
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("a log file"))
            .stderr(File::create(&stderr).expect("a log file"))
            .spawn()
            .expect("the process starts");
        Self { child, name: name.to_owned(), stdout, stderr }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    ///
    /// # Panics
    /// Its log is gone.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).expect("its log")).into_owned()
    }

    /// What it has said so far.
    ///
    /// # Panics
    /// Its log is gone.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).expect("its log")).into_owned()
    }

    /// Waits until it has printed a whole line with `text`, on either stream, and gives it.
    ///
    /// # Panics
    /// It ends or stays silent.
    #[must_use]
    pub fn line_with(&mut self, within: Duration, text: &str) -> String {
        let name = self.name.clone();
        wait_for(within, &format!("{name} says {text:?}"), || {
            let ended = self.has_ended();
            let said = self.stdout() + &self.stderr();
            let line = said.split_inclusive('\n').find(|line| line.ends_with('\n') && line.contains(text));
            assert!(line.is_some() || !ended, "{name} ended before it said {text:?}:\n{said}");
            line.map(|line| line.trim_end().to_owned())
        })
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It is gone.
    pub fn signal(&self, signal: Signal) {
        signal_to(self.id(), signal);
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// The system does not say.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the system knows its children").is_some()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end in time.
    #[must_use]
    pub fn wait(mut self, within: Duration) -> Ended {
        let status = wait_for(within, &format!("{} ends", self.name), || {
            self.child.try_wait().expect("the system knows its children")
        });
        let stdout = std::fs::read(&self.stdout).expect("its log");
        Ended { status, stdout, stderr: self.stderr() }
    }

    /// Ids of the processes that it started itself and that still run.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        children_of(self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to one process.
///
/// # Panics
/// It is gone.
pub fn signal_to(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("ids are small and positive");
    kill_process(id, signal).expect("the process is there");
}

/// The state letter and the parent of a process, as the system shows them.
fn state_of(id: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The command in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process runs, or is stopped; one that nobody has reaped yet does neither.
#[must_use]
pub fn is_running(id: u32) -> bool {
    state_of(id).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// Ids of running processes whose parent is `parent`.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| state_of(*id).is_some_and(|(state, its)| its == parent && state != 'Z')).collect()
}

/// Waits until none of these processes runs.
///
/// # Panics
/// One still does.
pub fn wait_gone(within: Duration, ids: &[u32]) {
    wait_until(within, &format!("processes {ids:?} are gone"), || ids.iter().all(|id| !is_running(*id)));
}

/// Resident memory of a process, in bytes.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn resident_bytes(id: u32) -> u64 {
    memory_bytes(id, "VmRSS:")
}

/// The most resident memory that a process has had so far, in bytes.
///
/// # Panics
/// It is gone.
#[must_use]
pub fn peak_resident_bytes(id: u32) -> u64 {
    memory_bytes(id, "VmHWM:")
}

fn memory_bytes(id: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it has memory");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024
}
