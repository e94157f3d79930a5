//! What somebody told the master to do, and who that was.

use std::fmt;

use serde::{Deserialize, Serialize};

/// As what somebody asks the master for something.
///
/// Serialised as its name where the format is for people (`"submit"`), else as its index: variants are only ever appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CallerRole {
    /// The master's own process: a typed handle, `run`, or a signal that it got.
    Local,
    /// Somebody with the token that looks.
    Read,
    /// Somebody with the token that submits.
    Submit,
    /// Somebody with the token that does everything.
    Admin,
    /// A worker, about itself.
    Worker,
}

impl CallerRole {
    /// The name that people, the command line and JSON use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for CallerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who asks the master for something: what the caller was let in as, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// As what.
    pub role: CallerRole,
    /// The address that the request came from; none within the master's process.
    pub address: Option<String>,
}

impl Caller {
    /// The master's own process.
    #[must_use]
    pub const fn local() -> Self {
        Self { role: CallerRole::Local, address: None }
    }

    /// Somebody at `address`.
    #[must_use]
    pub fn remote(role: CallerRole, address: impl Into<String>) -> Self {
        Self { role, address: Some(address.into()) }
    }
}

/// What the master was told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CommandKind {
    /// To queue the step.
    Submit,
    /// To queue the step, as a replay of another one.
    Replay,
    /// To stop the step.
    Cancel,
    /// To give a node no more work; it happened while the step ran.
    Drain,
}

impl CommandKind {
    /// The name that people, the command line and JSON use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Replay => "replay",
            Self::Cancel => "cancel",
            Self::Drain => "drain",
        }
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A command that took effect on a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What was to be done.
    pub kind: CommandKind,
    /// The node that was drained, by name; none for other commands.
    pub node: Option<String>,
    /// Who wanted it.
    pub by: Caller,
    /// Wall time at which the master took it, unix nanoseconds.
    pub at: u64,
}
