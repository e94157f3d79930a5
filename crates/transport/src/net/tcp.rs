//! TCP.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Net;

/// How long a connection may take to open, name resolution included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// How long sent bytes may stay unacknowledged by the peer's kernel: as long as silence may last by default.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle time before the kernel probes. Heartbeats come sooner; this is for the data connection, which may be idle.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);

/// TCP with the options that a cluster wants: no delay, keepalive, and a limit on unacknowledged bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Tcp {
    fn tune(stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(())
    }

    async fn resolve(addr: &str) -> io::Result<Vec<SocketAddr>> {
        // An address that is already numeric needs no resolver, and no thread for one.
        if let Ok(numeric) = addr.parse::<SocketAddr>() {
            return Ok(vec![numeric]);
        }
        let name = addr.to_owned();
        let found = tokio::task::spawn_blocking(move || name.to_socket_addrs().map(Vec::from_iter))
            .await
            .map_err(io::Error::other)??;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no address is known for {addr}")));
        }
        Ok(found)
    }
}

impl Net for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn connect(&self, addr: &str) -> io::Result<TcpStream> {
        let open = async {
            let candidates = Self::resolve(addr).await?;
            TcpStream::connect(candidates.as_slice()).await
        };
        let stream = timeout(CONNECT_DEADLINE, open).await.map_err(|_elapsed| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer from {addr} within {} s", CONNECT_DEADLINE.as_secs()),
            )
        })??;
        Self::tune(&stream)?;
        Ok(stream)
    }

    async fn listen(&self, addr: &str) -> io::Result<TcpListener> {
        TcpListener::bind(Self::resolve(addr).await?.as_slice()).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(TcpStream, String)> {
        let (stream, peer) = listener.accept().await?;
        Self::tune(&stream)?;
        Ok((stream, peer.ip().to_string()))
    }

    fn local_addr(&self, listener: &TcpListener) -> io::Result<String> {
        listener.local_addr().map(|addr| addr.to_string())
    }

    async fn is_loopback(&self, addr: &str) -> io::Result<bool> {
        let resolved = timeout(CONNECT_DEADLINE, Self::resolve(addr)).await;
        let found = resolved.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(found.iter().all(|addr| addr.ip().to_canonical().is_loopback()))
    }

    fn peer_is_loopback(&self, stream: &TcpStream) -> bool {
        // A peer that cannot be told is treated as a stranger.
        stream.peer_addr().is_ok_and(|addr| addr.ip().to_canonical().is_loopback())
    }

    fn adopt(&self, stream: TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream.into_std()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn loopback_is_told_from_everything_else() {
        assert!(Tcp.is_loopback("127.0.0.1:0").await.unwrap());
        assert!(Tcp.is_loopback("[::1]:0").await.unwrap());
        assert!(Tcp.is_loopback("[::ffff:127.0.0.1]:0").await.unwrap());
        assert!(!Tcp.is_loopback("0.0.0.0:0").await.unwrap());
        assert!(!Tcp.is_loopback("10.0.0.1:7117").await.unwrap());
        assert!(Tcp.is_loopback("no port here").await.is_err());
    }

    #[tokio::test]
    async fn connections_are_tuned_at_both_ends() {
        let mut listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let addr = Tcp.local_addr(&listener).unwrap();
        let (client, accepted) = tokio::join!(Tcp.connect(&addr), Tcp.accept(&mut listener));
        let (server, host) = accepted.unwrap();
        assert_eq!(host, "127.0.0.1");
        for stream in [&client.unwrap(), &server] {
            assert!(stream.nodelay().unwrap());
            assert!(SockRef::from(stream).keepalive().unwrap());
            assert!(Tcp.peer_is_loopback(stream));
            #[cfg(target_os = "linux")]
            assert_eq!(SockRef::from(stream).tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        }
    }

    #[tokio::test]
    async fn a_stream_lives_on_after_its_first_runtime_has_gone() {
        let mut listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let addr = Tcp.local_addr(&listener).unwrap();
        let old = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // Left behind with its runtime, and adopted elsewhere, as the heartbeat thread does.
            let stream = runtime.block_on(Tcp.connect(&addr)).unwrap();
            (runtime, stream)
        });
        let (mut server, _) = Tcp.accept(&mut listener).await.unwrap();
        let (old_runtime, stream) = old.join().unwrap();
        let mut client = Tcp.adopt(stream).unwrap();
        old_runtime.shutdown_background();
        client.write_all(b"still here").await.unwrap();
        let mut heard = [0; 10];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"still here");
    }
}
