//! The states of a step, and the one table of legal moves between them. Knows nothing of a queue.
//!
//! ```text
//!  PENDING ───────────start──────────▶ RUNNING ──complete, complete with skips, fail──▶ COMPLETED, COMPLETED_WITH_SKIPS, FAILED
//!     │                                │  │  ▲                                             ▲
//!     │                        request │  │  └─resume─┐                                    │ the same three:
//!     │                       a cancel │  └─interrupt─▶ INTERRUPTED                        │ the cancel came too late
//!     │                                ▼                   │                               │
//!     │                         CANCEL_PENDING ◀──request──┘───────────────────────────────┘
//!     │                                │         a cancel
//!     └──cancel──▶ CANCELLED ◀──cancel─┘
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a step is in its life.
///
/// Serialised as its name where the format is for people (`"CANCEL_PENDING"`), else as its index: variants are only ever appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StepState {
    /// Accepted; waits for its turn.
    Pending,
    /// Its chunks are being distributed.
    Running,
    /// A cancel was asked for while it ran; the chunks in hand are being finished.
    CancelPending,
    /// Its master was stopped on purpose while it ran; it runs on at the next start.
    Interrupted,
    /// Ended, and every receipt is aggregated.
    Completed,
    /// Ended, and receipts were set aside within what the step allows.
    CompletedWithSkips,
    /// Ended without a complete result.
    Failed,
    /// Ended on request, or swept because an earlier step failed.
    Cancelled,
}

impl StepState {
    /// Every state, in the order of its index.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::CancelPending,
        Self::Interrupted,
        Self::Completed,
        Self::CompletedWithSkips,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name that people, the command line and JSON use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::CancelPending => "CANCEL_PENDING",
            Self::Interrupted => "INTERRUPTED",
            Self::Completed => "COMPLETED",
            Self::CompletedWithSkips => "COMPLETED_WITH_SKIPS",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether the step has ended: no event leads out of such a state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::CancelPending | Self::Interrupted => false,
            Self::Completed | Self::CompletedWithSkips | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Whether the step has begun and not ended: it holds the one place at which steps run.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Running | Self::CancelPending | Self::Interrupted => true,
            Self::Pending | Self::Completed | Self::CompletedWithSkips | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The state that `event` leads to: the one table of legal transitions, for the live path and for recovery.
    ///
    /// # Errors
    /// The event is not legal in this state.
    ///
    /// # Examples
    /// ```
    /// use elastic_flow_queue::{StepEvent, StepState};
    ///
    /// assert_eq!(StepState::Running.after(StepEvent::RequestCancel), Ok(StepState::CancelPending));
    /// assert!(StepState::Completed.after(StepEvent::Fail).is_err());
    /// ```
    pub const fn after(self, event: StepEvent) -> Result<Self, IllegalTransition> {
        use StepEvent as E;
        match (self, event) {
            (Self::Pending, E::Start) | (Self::Interrupted, E::Resume) => Ok(Self::Running),
            (Self::Running, E::Interrupt) => Ok(Self::Interrupted),
            (Self::Running | Self::Interrupted, E::RequestCancel) => Ok(Self::CancelPending),
            (Self::Pending | Self::CancelPending, E::Cancel) => Ok(Self::Cancelled),
            (Self::Running | Self::CancelPending, E::Complete) => Ok(Self::Completed),
            (Self::Running | Self::CancelPending, E::CompleteWithSkips) => Ok(Self::CompletedWithSkips),
            (Self::Running | Self::CancelPending, E::Fail) => Ok(Self::Failed),
            _ => Err(IllegalTransition { from: self, event }),
        }
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for StepState {
    type Err = UnknownState;

    /// Reads a state's name, in any case, with `-` or `_` between words.
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let wanted = text.replace('-', "_");
        Self::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(&wanted)).ok_or(UnknownState)
    }
}

/// A text is not the name of a step state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a step state; states are PENDING, RUNNING, CANCEL_PENDING, INTERRUPTED, COMPLETED, COMPLETED_WITH_SKIPS, FAILED and CANCELLED"
)]
#[expect(unnameable_types, reason = "callers only print it; it is reached through FromStr::Err")]
pub struct UnknownState;

/// What happens to a step.
///
/// Serialised as its index where the format is not for people: variants are only ever appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEvent {
    /// Its turn has come.
    Start,
    /// Its audit closed, and every receipt is aggregated.
    Complete,
    /// Its audit closed, and receipts were set aside within what it allows.
    CompleteWithSkips,
    /// It cannot give a complete result.
    Fail,
    /// Somebody asks that it stop; it goes on with the chunks in hand.
    RequestCancel,
    /// It has stopped on request, or never started.
    Cancel,
    /// Its master stops on purpose.
    Interrupt,
    /// Its master is back.
    Resume,
}

impl StepEvent {
    /// Every event, in the order of its index.
    pub const ALL: [Self; 8] = [
        Self::Start,
        Self::Complete,
        Self::CompleteWithSkips,
        Self::Fail,
        Self::RequestCancel,
        Self::Cancel,
        Self::Interrupt,
        Self::Resume,
    ];

    /// Its name, for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Complete => "complete",
            Self::CompleteWithSkips => "complete with skips",
            Self::Fail => "fail",
            Self::RequestCancel => "request a cancel",
            Self::Cancel => "cancel",
            Self::Interrupt => "interrupt",
            Self::Resume => "resume",
        }
    }
}

impl fmt::Display for StepEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An event that is not legal in a step's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {event} while the step is {from}")]
pub struct IllegalTransition {
    /// The state that it was in.
    pub from: StepState,
    /// What should have happened to it.
    pub event: StepEvent,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as a picture: a row a state, a column an event in the order of [`StepEvent::ALL`], `.` for illegal.
    const TABLE: &str = "
        PENDING              RUNNING     .          .                    .       .              CANCELLED .           .
        RUNNING              .           COMPLETED  COMPLETED_WITH_SKIPS FAILED  CANCEL_PENDING .         INTERRUPTED .
        CANCEL_PENDING       .           COMPLETED  COMPLETED_WITH_SKIPS FAILED  .              CANCELLED .           .
        INTERRUPTED          .           .          .                    .       CANCEL_PENDING .         .           RUNNING
        COMPLETED            .           .          .                    .       .              .         .           .
        COMPLETED_WITH_SKIPS .           .          .                    .       .              .         .           .
        FAILED               .           .          .                    .       .              .         .           .
        CANCELLED            .           .          .                    .       .              .         .           .
    ";

    #[test]
    fn every_pair_of_state_and_event_leads_where_the_picture_says() {
        let mut pairs = 0;
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut cells = line.split_whitespace();
            let from: StepState = cells.next().unwrap().parse().unwrap();
            for event in StepEvent::ALL {
                let expected = match cells.next().unwrap() {
                    "." => Err(IllegalTransition { from, event }),
                    name => Ok(name.parse().unwrap()),
                };
                assert_eq!(from.after(event), expected, "{from} on {event}");
                pairs += 1;
            }
        }
        assert_eq!(pairs, StepState::ALL.len() * StepEvent::ALL.len());
    }

    #[test]
    fn no_event_leads_out_of_a_final_state_and_some_event_leads_out_of_every_other() {
        for state in StepState::ALL {
            let leads_out = StepEvent::ALL.into_iter().any(|event| state.after(event).is_ok());
            assert_eq!(leads_out, !state.is_final(), "{state}");
        }
    }

    #[test]
    fn a_state_is_exactly_one_of_pending_active_and_final() {
        for state in StepState::ALL {
            let kinds = [state == StepState::Pending, state.is_active(), state.is_final()];
            assert_eq!(kinds.into_iter().filter(|kind| *kind).count(), 1, "{state}");
        }
    }

    #[test]
    fn json_carries_the_name_and_the_name_reads_back() {
        for state in StepState::ALL {
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{}\"", state.name()));
            assert_eq!(serde_json::from_str::<StepState>(&json).unwrap(), state);
            assert_eq!(state.name().to_lowercase().replace('_', "-").parse(), Ok(state));
        }
        assert_eq!("DONE".parse::<StepState>(), Err(UnknownState));
    }
}
