//! The exit codes of every program, and the error that carries one.

use std::fmt;
use std::process::ExitCode;

use elastic_flow_queue::StepState;

/// The step completed, or the command did what it was asked.
pub const COMPLETED: u8 = 0;
/// The step failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong; a refused bind too. Nothing was started.
pub const USAGE: u8 = 2;
/// The master was not reached, or refused the request.
pub const UNREACHED: u8 = 3;
/// The step completed, with items or chunks set aside.
pub const COMPLETED_WITH_SKIPS: u8 = 4;
/// The step was cancelled.
pub const CANCELLED: u8 = 5;

/// The exit code that a step's state stands for. A step that has not ended, because its master was stopped, counts as cancelled:
/// it was stopped on purpose and runs on later.
#[must_use]
pub fn of_state(state: StepState) -> u8 {
    match state {
        StepState::Completed => COMPLETED,
        StepState::CompletedWithSkips => COMPLETED_WITH_SKIPS,
        StepState::Failed => FAILED,
        StepState::Cancelled
        | StepState::Pending
        | StepState::Running
        | StepState::CancelPending
        | StepState::Interrupted => CANCELLED,
    }
}

/// Why a command did not do what it was asked: a sentence, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The command line or the configuration is wrong.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    /// The work failed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// The master was not reached, or refused.
    #[must_use]
    pub fn unreached(message: impl Into<String>) -> Self {
        Self { code: UNREACHED, message: message.into() }
    }

    /// The work was stopped before its end.
    #[must_use]
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { code: CANCELLED, message: message.into() }
    }

    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// The exit code, for `main`.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_own_code() {
        assert_eq!(of_state(StepState::Completed), 0);
        assert_eq!(of_state(StepState::Failed), 1);
        assert_eq!(of_state(StepState::CompletedWithSkips), 4);
        assert_eq!(of_state(StepState::Cancelled), 5);
        assert_eq!(of_state(StepState::Interrupted), 5);
        assert_eq!(Failure::usage("x").code(), 2);
        assert_eq!(Failure::unreached("x").code(), 3);
    }
}
