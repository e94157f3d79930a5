//! How far a step is, on standard error: a bar on a terminal, a line every few seconds elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytesize::ByteSize;
use elastic_flow_orchestrator::api::{Progress, StepView};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar moves; also how long a step may run without one.
pub(crate) const BAR_EVERY: Duration = Duration::from_millis(250);
/// How often a line comes where there is no terminal; also how long a step may run without one.
pub(crate) const LINE_EVERY: Duration = Duration::from_secs(5);

/// Standard error, shared by progress and whatever else is said there.
#[derive(Debug)]
pub(crate) struct Screen {
    bar: Mutex<Option<ProgressBar>>,
    terminal: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { bar: Mutex::new(None), terminal: io::stderr().is_terminal() }
    }

    /// Whether somebody watches.
    #[cfg(feature = "admin")]
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// How often to call [`Screen::show`].
    pub(crate) const fn every(&self) -> Duration {
        if self.terminal { BAR_EVERY } else { LINE_EVERY }
    }

    /// Shows how far a step is.
    pub(crate) fn show(&self, step: &StepView) {
        let Some(progress) = &step.progress else { return };
        let line = describe(step, progress);
        if !self.terminal {
            self.say(&line);
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(new_bar);
        let (done, all) = share(progress);
        bar.set_length(all.max(1));
        bar.set_position(done);
        bar.set_message(line);
    }

    /// Prints a line above the bar, if there is one.
    pub(crate) fn say(&self, line: &str) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let print = || {
            writeln!(io::stderr(), "{line}").ok();
        };
        match bar.as_ref() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("[{bar:30}] {wide_msg}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// What is done, and of how much: bytes where they are known, else chunks.
fn share(progress: &Progress) -> (u64, u64) {
    match progress.bytes_total {
        Some(total) if total > 0 => (progress.bytes_done.min(total), total),
        _ => (progress.chunks_done, progress.chunks),
    }
}

/// `step 1: 34 of 80 chunks, 512.0 MiB of 1.2 GiB (42 %), 310.5 MiB/s, 3s left`.
fn describe(step: &StepView, progress: &Progress) -> String {
    let mut line = format!("step {}: {}", step.id.0, progress.chunks_done);
    if progress.source_exhausted {
        write!(line, " of {}", progress.chunks).ok();
    }
    line.push_str(" chunks");
    if progress.bytes_done > 0 {
        write!(line, ", {}", size(progress.bytes_done)).ok();
    }
    if let Some(total) = progress.bytes_total.filter(|total| *total > 0) {
        let percent = progress.bytes_done.min(total).saturating_mul(100).checked_div(total).unwrap_or_default();
        write!(line, " of {} ({percent} %)", size(total)).ok();
    }
    if let Some(rate) = per_second(progress.bytes_done, progress.elapsed_nanos).filter(|rate| *rate > 0) {
        write!(line, ", {}/s", size(rate)).ok();
        let left = progress.bytes_total.map(|total| total.saturating_sub(progress.bytes_done).div_ceil(rate));
        if let Some(left) = left.filter(|left| *left > 0) {
            write!(line, ", {} left", humantime::format_duration(Duration::from_secs(left))).ok();
        }
    }
    if progress.retried > 0 {
        write!(line, ", {} sent again", progress.retried).ok();
    }
    if progress.chunks_set_aside > 0 {
        write!(line, ", {} set aside", progress.chunks_set_aside).ok();
    }
    if let Some(reason) = &step.waiting_for {
        write!(line, "; waits for {reason}").ok();
    }
    line
}

/// A rate, rounded down.
pub(crate) fn per_second(count: u64, elapsed_nanos: u64) -> Option<u64> {
    let rate = u128::from(count).saturating_mul(1_000_000_000).checked_div(u128::from(elapsed_nanos))?;
    u64::try_from(rate).ok()
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use elastic_flow_queue::{OnFailure, StepState};
    use elastic_flow_receipt::StepId;

    fn step(progress: Progress, waiting_for: Option<&str>) -> StepView {
        StepView {
            id: StepId(3),
            program: "p".to_owned(),
            label: None,
            key: None,
            params: Vec::new(),
            inputs: Vec::new(),
            state: StepState::Running,
            on_failure: OnFailure::Continue,
            replay_of: None,
            submitted_at: 0,
            started_at: None,
            ended_at: None,
            reason: None,
            error_kind: None,
            commands: Vec::new(),
            waiting_for: waiting_for.map(str::to_owned),
            progress: Some(progress),
            files: Vec::new(),
        }
    }

    #[test]
    fn progress_tells_chunks_bytes_rate_and_time_left() {
        let progress = Progress {
            chunks: 80,
            chunks_done: 20,
            source_exhausted: true,
            bytes_total: Some(4 << 30),
            bytes_done: 1 << 30,
            elapsed_nanos: 4_000_000_000,
            retried: 2,
            ..Progress::default()
        };
        let view = step(progress, Some("workers"));
        let line = describe(&view, view.progress.as_ref().unwrap());
        assert_eq!(
            line,
            "step 3: 20 of 80 chunks, 1.0 GiB of 4.0 GiB (25 %), 256.0 MiB/s, 12s left, 2 sent again; waits for workers"
        );
    }

    #[test]
    fn nothing_is_made_up_where_nothing_is_known() {
        let view = step(Progress { chunks: 5, chunks_done: 1, ..Progress::default() }, None);
        assert_eq!(describe(&view, view.progress.as_ref().unwrap()), "step 3: 1 chunks");
        assert_eq!(per_second(5, 0), None);
        assert_eq!(share(view.progress.as_ref().unwrap()), (1, 5));
    }
}
