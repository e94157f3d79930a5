//! Why a step ended otherwise than completed, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a step ended otherwise than completed: what a caller can tell apart without reading a message.
///
/// Serialised as its name where the format is for people (`"user-panic"`), else as its index: variants are only ever appended. Each
/// has a heading of its name in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StepErrorKind {
    /// A step that failed under a build that kept no kind.
    Unknown,
    /// User code returned an error on a chunk as often as it may be tried.
    UserError,
    /// User code panicked on a chunk as often as it may be tried.
    UserPanic,
    /// User code ended the step (`FlowError::fail`).
    ProgramEnded,
    /// More items or chunks were set aside than may be.
    Skips,
    /// The source, or a part of it, is gone, has changed, or cannot be read or decoded.
    Input,
    /// The program is not registered, does not take the parameters or the input, or cannot be prepared.
    Program,
    /// Results could not be merged, or the output could not be made of them.
    Aggregate,
    /// No worker took the step's work for as long as it waits for one.
    NoWorkers,
    /// A worker ran out of a resource, or chunks are suspected of killing the workers that they are on.
    Resources,
    /// The store failed.
    Store,
    /// What the replayed step had left is not kept any more.
    NothingKept,
    /// Somebody cancelled the step, or another step's failure did.
    Cancelled,
    /// The audit does not balance.
    Unbalanced,
    /// The engine contradicts itself.
    Bug,
}

impl StepErrorKind {
    /// Every kind, in the order of its index.
    pub const ALL: [Self; 15] = [
        Self::Unknown,
        Self::UserError,
        Self::UserPanic,
        Self::ProgramEnded,
        Self::Skips,
        Self::Input,
        Self::Program,
        Self::Aggregate,
        Self::NoWorkers,
        Self::Resources,
        Self::Store,
        Self::NothingKept,
        Self::Cancelled,
        Self::Unbalanced,
        Self::Bug,
    ];

    /// The name that people, the command line and JSON use, and the heading in `docs/errors.md`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::UserError => "user-error",
            Self::UserPanic => "user-panic",
            Self::ProgramEnded => "program-ended",
            Self::Skips => "skips",
            Self::Input => "input",
            Self::Program => "program",
            Self::Aggregate => "aggregate",
            Self::NoWorkers => "no-workers",
            Self::Resources => "resources",
            Self::Store => "store",
            Self::NothingKept => "nothing-kept",
            Self::Cancelled => "cancelled",
            Self::Unbalanced => "unbalanced",
            Self::Bug => "bug",
        }
    }

    /// What to do about it: one sentence without its full stop.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unknown => "see its reason and its failures",
            Self::UserError | Self::UserPanic => {
                "mend the input that the failures name, then replay the step; or mend the program, and submit the step anew"
            }
            Self::ProgramEnded => "the program's own message says what is wrong: mend that, and submit the step anew",
            Self::Skips => {
                "see what was set aside, mend the input or the program and submit the step anew, or allow more with \
                 retry.max_skips and replay it"
            }
            Self::Input => "put the input back as it was at submission and replay the step, or submit it anew",
            Self::Program => {
                "start the master with the build that has the program, or correct the parameters, and submit the step anew"
            }
            Self::Aggregate => {
                "mend the program's aggregator, its output, or what follows its global reduction, and submit the step anew"
            }
            Self::NoWorkers => "start a worker of the master's build, then replay the step",
            Self::Resources => {
                "give the workers more memory, disk or open files, or cut smaller chunks, then replay the step"
            }
            Self::Store => {
                "make room on the disk or restore access to the store, start the master again, then replay the step"
            }
            Self::NothingKept => "submit the step anew",
            Self::Cancelled => "replay the step to go on from its partial result",
            Self::Unbalanced | Self::Bug => "do not use its result: report it, with the audit and the master's log",
        }
    }
}

impl fmt::Display for StepErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for StepErrorKind {
    type Err = UnknownErrorKind;

    fn from_str(text: &str) -> Result<Self, UnknownErrorKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownErrorKind)
    }
}

/// A text is not the name of a [`StepErrorKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of step error; docs/errors.md has a heading for each")]
#[expect(unnameable_types, reason = "callers only print it; it is reached through FromStr::Err")]
pub struct UnknownErrorKind;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back_from_their_names_and_from_json() {
        for kind in StepErrorKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<StepErrorKind>(&format!("\"{kind}\"")).unwrap(), kind);
        }
        assert!("panic".parse::<StepErrorKind>().is_err());
    }
}
