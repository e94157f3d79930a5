//! Why an endpoint could not be made.

use std::io;

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Beyond this machine, connections are not encrypted yet.
    #[error(
        "{addr} is beyond this machine, where connections are not encrypted yet: set security.insecure_plaintext = true to \
         accept authenticated plain text on a network that you trust, or use a loopback address"
    )]
    Plaintext {
        /// The address.
        addr: String,
    },
    /// Beyond this machine, a key must be given on purpose.
    #[error(
        "{addr} is beyond this machine, and no key was given for it: make one with `key new FILE`, copy it to every server, and \
         name it as security.key_file"
    )]
    KeyNotGiven {
        /// The address.
        addr: String,
    },
    /// Only a master takes connections, only a worker opens them.
    #[error("a node with the role {role:?} cannot {what}")]
    Role {
        /// The node's role.
        role: elastic_flow_wire::Role,
        /// What it was to do.
        what: &'static str,
    },
    /// A name or address is not what it may be.
    #[error("the node cannot introduce itself")]
    Names(#[source] elastic_flow_wire::HelloError),
    /// A setting is out of range.
    #[error("{setting} is {value}, but must be {expected}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The thread for heartbeats could not be started.
    #[error("cannot start the heartbeat thread")]
    Thread(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Entropy(#[source] io::Error),
}
