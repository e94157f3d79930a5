//! Why the queue refuses a command or a record.

use elastic_flow_receipt::StepId;

use crate::limits;
use crate::transition::{IllegalTransition, StepState};

/// Why a command was refused. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no such step, or it left the queue long after its end.
    #[error("there is no step {}", id.0)]
    NoStep {
        /// The step asked for.
        id: StepId,
    },
    /// The step's state does not allow it.
    #[error("step {}: {illegal}", id.0)]
    Illegal {
        /// The step.
        id: StepId,
        /// What is not legal.
        illegal: IllegalTransition,
    },
    /// Steps start in order, one at a time, and it is not this one's turn.
    #[error("step {} cannot start: {} comes first", id.0, first.0)]
    NotItsTurn {
        /// The step that was to start.
        id: StepId,
        /// The step that runs, or that waits longer.
        first: StepId,
    },
    /// The idempotency key belongs to another submission.
    #[error("the idempotency key `{key}` belongs to step {}, whose content differs; submit under another key", id.0)]
    KeyTaken {
        /// The key.
        key: String,
        /// The step that has it.
        id: StepId,
    },
    /// The step to replay has nothing to replay, or has not ended.
    #[error("step {} is {state}; a step is replayed once it is FAILED, CANCELLED or COMPLETED_WITH_SKIPS", id.0)]
    NotReplayable {
        /// The step that was to be replayed.
        id: StepId,
        /// Its state.
        state: StepState,
    },
    /// As many steps wait as may.
    #[error(
        "{} steps of {bytes} bytes wait already; the limits are {} steps and {} bytes: submit again when some have run",
        .steps, limits::PENDING_STEPS_MAX, limits::PENDING_BYTES_MAX
    )]
    Full {
        /// Steps that wait.
        steps: usize,
        /// Bytes of their specs.
        bytes: usize,
    },
    /// What was submitted is not well-formed.
    #[error("the submission is refused")]
    Spec(#[from] SpecError),
}

/// What is wrong with a submission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A name of a program or parameter is not one.
    #[error("{what} `{}` is not a name: 1 to {} of the characters A-Z a-z 0-9 . _ -", name.escape_debug(), limits::NAME_BYTES_MAX)]
    Name {
        /// What it should name.
        what: &'static str,
        /// The text, cut to what can be shown.
        name: String,
    },
    /// A text is empty, too long, or has control characters.
    #[error("the {what} of {bytes} bytes is not 1 to {bytes_max} bytes without control characters")]
    Text {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A parameter is given twice.
    #[error("parameter `{name}` is given twice")]
    ParamTwice {
        /// Its name.
        name: String,
    },
    /// Too many parameters.
    #[error("{count} parameters are over the limit of {}", limits::PARAMS_MAX)]
    TooManyParams {
        /// How many there are.
        count: usize,
    },
    /// A parameter's value is too long.
    #[error(
        "the value of parameter `{name}` has {bytes} bytes, over the limit of {}; give data as an input",
        limits::PARAM_BYTES_MAX
    )]
    ParamTooLong {
        /// Its name.
        name: String,
        /// Bytes of its value.
        bytes: usize,
    },
    /// The inputs are too long.
    #[error(
        "the inputs take {bytes} bytes, over the limit of {}; name fewer files, or a glob",
        limits::INPUTS_BYTES_MAX
    )]
    InputsTooLong {
        /// Their bytes, descriptions included.
        bytes: usize,
    },
}

/// Why a record does not follow from those before it: the journal is not one that this queue wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A record speaks of a step that no record before it submitted.
    #[error("a queue record speaks of step {}, which was never submitted", id.0)]
    NoStep {
        /// The step.
        id: StepId,
    },
    /// An id was given out twice, or out of order.
    #[error("a queue record submits step {}, but the next free id is {}", id.0, next.0)]
    IdReused {
        /// The id in the record.
        id: StepId,
        /// The least id that is free.
        next: StepId,
    },
    /// A transition that the table does not have.
    #[error("a queue record is not legal for step {}: {illegal}", id.0)]
    Illegal {
        /// The step.
        id: StepId,
        /// What is not legal.
        illegal: IllegalTransition,
    },
    /// A step starts before its turn.
    #[error("a queue record starts step {}, but step {} comes first", id.0, first.0)]
    NotItsTurn {
        /// The step.
        id: StepId,
        /// The step that runs, or that waits longer.
        first: StepId,
    },
    /// Two steps carry the same idempotency key.
    #[error("a queue record gives step {} the idempotency key of step {}", id.0, holder.0)]
    KeyTwice {
        /// The later step.
        id: StepId,
        /// The step that has the key.
        holder: StepId,
    },
    /// A step that has not ended is forgotten.
    #[error("a queue record forgets step {}, which is {state}", id.0)]
    ForgottenTooEarly {
        /// The step.
        id: StepId,
        /// Its state.
        state: StepState,
    },
    /// The ids given out run out of numbers.
    #[error("a queue record uses the last step id; the journal is not one that a queue wrote")]
    IdsExhausted,
}
