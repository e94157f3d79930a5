//! How bytes get from one node to another: the [`Net`] trait, TCP, and pipes within the process.
//!
//! Knows nothing of frames, keys or peers. A simulator implements [`Net`] as well.

mod memory;
mod tcp;

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub use memory::{Memory, MemoryListener};
pub use tcp::Tcp;

/// A way to listen and to connect.
///
/// Addresses are text, as people write them (`10.0.0.1:7117`, `yam1:7117`); port 0 lets the implementation choose.
pub trait Net: Clone + Send + Sync + 'static {
    /// A connection: ordered bytes both ways.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Where connections are accepted.
    type Listener: Send + 'static;

    /// Opens a connection.
    ///
    /// # Errors
    /// Whatever the network says, and `TimedOut` after the implementation's own deadline.
    ///
    /// # Cancel safety
    /// Safe to drop: the attempt is given up.
    fn connect(&self, addr: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Starts to listen.
    ///
    /// # Errors
    /// If the address is taken, malformed, or not this machine's.
    fn listen(&self, addr: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Waits for the next connection; gives it with the peer's host, without the port.
    ///
    /// # Errors
    /// Whatever the network says; the caller waits a little and tries again.
    ///
    /// # Cancel safety
    /// Safe to drop: no connection is lost.
    fn accept(&self, listener: &mut Self::Listener) -> impl Future<Output = io::Result<(Self::Stream, String)>> + Send;

    /// The address at which `listener` is reached, its port as the system chose it.
    ///
    /// # Errors
    /// If the system does not tell.
    fn local_addr(&self, listener: &Self::Listener) -> io::Result<String>;

    /// Whether everything that `addr` stands for is this very machine.
    ///
    /// # Errors
    /// If the name cannot be resolved.
    fn is_loopback(&self, addr: &str) -> impl Future<Output = io::Result<bool>> + Send;

    /// Whether the other end of `stream` is this very machine.
    fn peer_is_loopback(&self, stream: &Self::Stream) -> bool;

    /// Moves a stream that was made on one runtime to the runtime that this is called on.
    ///
    /// # Errors
    /// If the new runtime cannot take it.
    fn adopt(&self, stream: Self::Stream) -> io::Result<Self::Stream>;
}
