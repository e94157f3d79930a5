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
    /// [`Message::Exchange`].
    Exchange,
    /// [`Message::Parcels`].
    Parcels,
    /// [`Message::Taken`].
    Taken,
    /// [`Message::Partition`].
    Partition,
    /// [`Message::Unreached`].
    Unreached,
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
            Message::Exchange(_) => Self::Exchange,
            Message::Parcels(_) => Self::Parcels,
            Message::Taken(_) => Self::Taken,
            Message::Partition(_) => Self::Partition,
            Message::Unreached(_) => Self::Unreached,
        }
    }

    /// The connection it goes on. A step's notice shares its lane with the assignments that must not overtake it.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Notice
            | Self::Assign
            | Self::Result
            | Self::Holding
            | Self::Look
            | Self::Found
            | Self::Exchange
            | Self::Parcels
            | Self::Partition => Lane::Data,
            Self::Ack
            | Self::Revoke
            | Self::Release
            | Self::Heartbeat
            | Self::Credit
            | Self::Draining
            | Self::Goodbye
            | Self::Taken
            | Self::Unreached => Lane::Control,
        }
    }

    /// Whether a peer of this role may send it.
    #[must_use]
    pub const fn allowed(self, role: Role) -> bool {
        match role {
            Role::Master => matches!(
                self,
                Self::Notice
                    | Self::Assign
                    | Self::Ack
                    | Self::Revoke
                    | Self::Release
                    | Self::Heartbeat
                    | Self::Credit
                    | Self::Goodbye
                    | Self::Look
                    | Self::Exchange
                    | Self::Partition
            ),
            Role::Worker => matches!(
                self,
                Self::Result
                    | Self::Heartbeat
                    | Self::Credit
                    | Self::Draining
                    | Self::Goodbye
                    | Self::Holding
                    | Self::Found
                    | Self::Unreached
            ),
            Role::Peer => {
                matches!(self, Self::Heartbeat | Self::Credit | Self::Goodbye | Self::Parcels | Self::Taken)
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
            Self::Exchange => "exchange",
            Self::Parcels => "parcels",
            Self::Taken => "taken",
            Self::Partition => "partition",
            Self::Unreached => "unreached",
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
            MessageKind::Exchange,
            MessageKind::Parcels,
            MessageKind::Taken,
            MessageKind::Partition,
            MessageKind::Unreached,
        ];
        let may = |role| all.iter().filter(|kind| kind.allowed(role)).map(|kind| kind.label()).collect::<Vec<_>>();
        assert_eq!(
            may(Role::Worker),
            ["result", "heartbeat", "credit", "draining", "goodbye", "holding", "found", "unreached"]
        );
        assert_eq!(
            may(Role::Master),
            [
                "notice",
                "assign",
                "ack",
                "revoke",
                "release",
                "heartbeat",
                "credit",
                "goodbye",
                "look",
                "exchange",
                "partition"
            ]
        );
        assert_eq!(may(Role::Peer), ["heartbeat", "credit", "goodbye", "parcels", "taken"]);
        assert!(may(Role::Client).is_empty());
    }
}
