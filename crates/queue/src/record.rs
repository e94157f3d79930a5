//! What the queue writes to the journal.

use elastic_flow_receipt::{NodeId, StepId};
use serde::{Deserialize, Serialize};

use crate::command::Caller;
use crate::error_kind::StepErrorKind;
use crate::step::StepSpec;
use crate::transition::{StepEvent, StepState};

/// One change of the queue, as the journal keeps it. The queue's state is a fold over these.
///
/// Where the format is not for people, a variant is its index and a struct its fields in order: variants are only ever appended, fields
/// never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRecord {
    /// A step was accepted.
    Submitted {
        /// Its id: above every id before it.
        id: StepId,
        /// What it is.
        spec: StepSpec,
        /// Wall time of its acceptance, unix nanoseconds.
        wall: u64,
        /// Who submitted it.
        by: Caller,
    },
    /// Something happened to a step.
    Transition {
        /// The step.
        id: StepId,
        /// What happened.
        event: StepEvent,
        /// Wall time at which it happened, unix nanoseconds.
        wall: u64,
        /// Why, where there is something to say.
        reason: Option<String>,
        /// Who wanted it; none where it came about by itself.
        by: Option<Caller>,
    },
    /// An ended step left the queue to make room: its result and payloads may be removed.
    Forgotten {
        /// The step.
        id: StepId,
    },
    /// Every id below `next` has been given out: written into a snapshot, where the steps themselves do not show it.
    IdsUsed {
        /// The next id to give out.
        next: StepId,
    },
    /// A step failed: the transition [`StepEvent::Fail`], with its kind.
    Failed {
        /// The step.
        id: StepId,
        /// Why, for programs.
        kind: StepErrorKind,
        /// Wall time at which it failed, unix nanoseconds.
        wall: u64,
        /// Why, for people.
        reason: String,
    },
    /// A node is to be given no more work. The step that runs, if one does, shows it.
    Drained {
        /// The worker; none if it is the master, which stops.
        node: Option<NodeId>,
        /// Its name.
        name: String,
        /// Wall time, unix nanoseconds.
        wall: u64,
        /// Who wanted it.
        by: Caller,
    },
}

/// A step's change of state, as [`crate::Queue::apply`] reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepChange {
    /// The step.
    pub id: StepId,
    /// Its state before; none if it was just accepted.
    pub from: Option<StepState>,
    /// Its state now.
    pub to: StepState,
}
