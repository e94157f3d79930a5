//! Runs of a process, with their time, CPU time and memory. Linux only: all but the time is read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use elastic_flow::clock::{Clock, SystemClock};

/// Ticks of the CPU times in `/proc`, a second: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a run gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it wrote to standard output.
    pub output: String,
    /// From its launch to its end.
    pub seconds: f64,
    /// CPU time of it and of all processes that it waited for.
    pub cpu_seconds: f64,
}

/// The largest resident set that each process of a run had, in bytes, by its first argument.
pub type Peaks = Vec<(String, u64)>;

/// Runs a process to its end.
///
/// # Errors
/// It cannot be started, or does not succeed.
pub fn run(program: &Path, args: &[&str]) -> anyhow::Result<Run> {
    let clock = SystemClock::new();
    let (cpu, start) = (children_cpu_seconds()?, clock.now());
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let seconds = clock.now().since(start).as_secs_f64();
    let output = output.with_context(|| format!("failed to start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {args:?} ended with {}: {said}", program.display(), output.status);
    Ok(Run {
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        seconds,
        cpu_seconds: children_cpu_seconds()? - cpu,
    })
}

/// Runs a process to its end, looking at its memory and at that of its children all the while.
///
/// # Errors
/// As [`run`].
pub fn run_watched(program: &Path, args: &[&str]) -> anyhow::Result<(Run, Peaks)> {
    thread::scope(|scope| {
        let running = scope.spawn(|| run(program, args));
        let mut peaks = BTreeMap::new();
        while !running.is_finished() {
            look(std::process::id(), &mut peaks);
            thread::sleep(LOOK_EVERY);
        }
        let run = running.join().map_err(|_| anyhow::anyhow!("the thread that ran it panicked"))??;
        Ok((run, peaks.into_values().collect()))
    })
}

/// CPU time of all processes that this one has waited for.
fn children_cpu_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("failed to read /proc/self/stat")?;
    // The second field is a name in brackets, which may have blanks; then cutime and cstime are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat has no name")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<u32>);
    let ticks: u32 = ticks.sum::<Result<_, _>>().context("/proc/self/stat has no times")?;
    Ok(f64::from(ticks) / TICKS_PER_SECOND)
}

/// Notes the peak of every process below `ancestor`. Processes come and go meanwhile: what cannot be read is gone.
fn look(ancestor: u32, peaks: &mut BTreeMap<u32, (String, u64)>) {
    let Ok(listed) = fs::read_dir("/proc") else { return };
    let pids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parents: BTreeMap<u32, u32> = pids.filter_map(|pid| Some((pid, parent_of(pid)?))).collect();
    for pid in parents.keys().copied() {
        let mut above = parents.get(&pid).copied();
        while let Some(parent) = above.filter(|parent| *parent != ancestor) {
            above = parents.get(&parent).copied();
        }
        if let (Some(_), Some(bytes)) = (above, peak_bytes_of(pid)) {
            let (_, peak) = peaks.entry(pid).or_insert_with(|| (first_argument_of(pid), 0));
            *peak = bytes.max(*peak);
        }
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn peak_bytes_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

fn first_argument_of(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1).map(|it| String::from_utf8_lossy(it).into_owned()).unwrap_or_default()
}
