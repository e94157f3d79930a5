//! Which message goes on which connection, and who may send it.

use std::fmt;

use elastic_flow_wire::message::Message;
use elastic_flow_wire::{Lane, Role};

/// The kind of a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// [`Message::Notice`].
    Notice,
    /// [`Message::Assign`].
    Assign,
    /// [`Message::Ack`].
    Ack,
    /// [`Message::Revoke`].
    Revoke,
    /// [`Message::Release`].
    Release,
    /// [`Message::Result`].
    Result,
    /// [`Message::Heartbeat`].
    Heartbeat,
    /// [`Message::Credit`].
    Credit,
    /// [`Message::Draining`].
    Draining,
    /// [`Message::Goodbye`].
    Goodbye,
    /// [`Message::Holding`].
    Holding,
    /// [`Message::Look`].
    Look,
    /// [`Message::Found`].
    Found,
}

impl MessageKind {
    /// The kind of `message`.
    #[must_use]
    pub const fn of(message: &Message) -> Self {
        match message {
            Message::Notice(_) => Self::Notice,
            Message::Assign(_) => Self::Assign,
            Message::Ack(_) => Self::Ack,
            Message::Revoke(_) => Self::Revoke,
            Message::Release(_) => Self::Release,
            Message::Result(_) => Self::Result,
            Message::Heartbeat(_) => Self::Heartbeat,
            Message::Credit(_) => Self::Credit,
            Message::Draining => Self::Draining,
            Message::Goodbye(_) => Self::Goodbye,
            Message::Holding(_) => Self::Holding,
            Message::Look(_) => Self::Look,
            Message::Found(_) => Self::Found,
        }
    }

    /// The connection it goes on. A step's notice shares its lane with the assignments that must not overtake it.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Notice | Self::Assign | Self::Result | Self::Holding | Self::Look | Self::Found => Lane::Data,
            Self::Ack
            | Self::Revoke
            | Self::Release
            | Self::Heartbeat
            | Self::Credit
            | Self::Draining
            | Self::Goodbye => Lane::Control,
        }
    }

    /// Whether a peer of this role may send it.
    #[must_use]
    pub const fn allowed(self, role: Role) -> bool {
        match role {
            Role::Master => !matches!(self, Self::Result | Self::Draining | Self::Holding | Self::Found),
            Role::Worker => {
                matches!(
                    self,
                    Self::Result
                        | Self::Heartbeat
                        | Self::Credit
                        | Self::Draining
                        | Self::Goodbye
                        | Self::Holding
                        | Self::Found
                )
            }
            Role::Client => false,
        }
    }

    /// The kind as a metrics label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Assign => "assign",
            Self::Ack => "ack",
            Self::Revoke => "revoke",
            Self::Release => "release",
            Self::Result => "result",
            Self::Heartbeat => "heartbeat",
            Self::Credit => "credit",
            Self::Draining => "draining",
            Self::Goodbye => "goodbye",
            Self::Holding => "holding",
            Self::Look => "look",
            Self::Found => "found",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_not_command_and_a_client_may_not_speak() {
        let all = [
            MessageKind::Notice,
            MessageKind::Assign,
            MessageKind::Ack,
            MessageKind::Revoke,
            MessageKind::Release,
            MessageKind::Result,
            MessageKind::Heartbeat,
            MessageKind::Credit,
            MessageKind::Draining,
            MessageKind::Goodbye,
            MessageKind::Holding,
            MessageKind::Look,
            MessageKind::Found,
        ];
        let may = |role| all.iter().filter(|kind| kind.allowed(role)).map(|kind| kind.label()).collect::<Vec<_>>();
        assert_eq!(may(Role::Worker), ["result", "heartbeat", "credit", "draining", "goodbye", "holding", "found"]);
        assert_eq!(
            may(Role::Master),
            ["notice", "assign", "ack", "revoke", "release", "heartbeat", "credit", "goodbye", "look"]
        );
        assert!(may(Role::Client).is_empty());
    }
}
