//! Why there is no output.

use std::fmt;

use elastic_flow_dataflow::OutputError;
use elastic_flow_queue::StepErrorKind;
use elastic_flow_receipt::Audit;

use super::step::Partial;
use crate::api::{ApiError, FailureView, StepView};
use crate::error::StartError;

/// A step that ended otherwise than completed: why, what became of its chunks, and what there is of its result.
///
/// Printed, it says what happened and what to do. `docs/errors.md` has a heading for each kind.
pub struct StepError<O> {
    /// The step.
    pub step: StepView,
    /// What became of its chunks; none if it never started.
    pub audit: Option<Audit>,
    /// Its failures, oldest first: chunk, position of the item, node, message, attempts, and the last log lines of the node.
    pub failures: Vec<FailureView>,
    /// The result as far as it came, where there is one.
    pub partial: Option<Partial<O>>,
}

impl<O> StepError<O> {
    /// Why it ended so.
    #[must_use]
    pub fn kind(&self) -> StepErrorKind {
        self.step.error_kind.unwrap_or(StepErrorKind::Unknown)
    }
}

impl<O> fmt::Display for StepError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, kind) = (&self.step, self.kind());
        write!(f, "step {} of {} is {}", step.id, step.program, step.state)?;
        if let Some(reason) = &step.reason {
            write!(f, ": {}", in_a_line(reason))?;
        }
        if let Some(failure) = self.failures.last() {
            write!(f, "; the last failure, attempt {} on {}", failure.attempts, failure.node)?;
            match (failure.receipt, failure.item) {
                (Some(receipt), Some(item)) => write!(f, ", at item {item} of chunk {receipt}")?,
                (Some(receipt), None) => write!(f, ", at chunk {receipt}")?,
                (None, _) => {}
            }
            write!(f, ": {}", in_a_line(&failure.message))?;
        }
        if let Some(partial) = &self.partial {
            write!(f, "; {} of {} chunks are in its partial result", partial.receipts, partial.receipts_conceived)?;
        }
        write!(f, ". What to do: {} (docs/errors.md#{kind})", kind.remedy())
    }
}

impl<O> fmt::Debug for StepError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("step", &self.step)
            .field("audit", &self.audit)
            .field("failures", &self.failures)
            .field("partial", &self.partial.as_ref().map(|it| it.receipts))
            .finish()
    }
}

impl<O> std::error::Error for StepError<O> {}

/// The lines of a message, such as an assertion gives, in one.
fn in_a_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// Why a cluster gave no output.
#[non_exhaustive]
pub enum RunError<O> {
    /// A node could not start.
    Start(StartError),
    /// The master did not do what it was asked.
    Api(ApiError),
    /// The runtime could not start.
    Runtime(std::io::Error),
    /// The output is not what was asked for.
    Output(OutputError),
    /// The step did not complete.
    Step(Box<StepError<O>>),
}

impl<O> fmt::Display for RunError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Api(error) => error.fmt(f),
            Self::Runtime(_) => f.write_str("cannot start a runtime"),
            Self::Output(error) => error.fmt(f),
            Self::Step(error) => error.fmt(f),
        }
    }
}

impl<O> fmt::Debug for RunError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => f.debug_tuple("Start").field(error).finish(),
            Self::Api(error) => f.debug_tuple("Api").field(error).finish(),
            Self::Runtime(error) => f.debug_tuple("Runtime").field(error).finish(),
            Self::Output(error) => f.debug_tuple("Output").field(error).finish(),
            Self::Step(error) => f.debug_tuple("Step").field(error).finish(),
        }
    }
}

impl<O> std::error::Error for RunError<O> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Those that print as their content have the sources of that.
        match self {
            Self::Start(error) => error.source(),
            Self::Api(error) => error.source(),
            Self::Runtime(error) => Some(error),
            Self::Output(error) => error.source(),
            Self::Step(_) => None,
        }
    }
}

impl<O> From<StartError> for RunError<O> {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl<O> From<ApiError> for RunError<O> {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl<O> From<OutputError> for RunError<O> {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}
