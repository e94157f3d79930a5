//! Pipes within the process, found by name.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use super::Net;

/// Bytes that one direction of a pipe holds before its writer waits.
const PIPE_BYTES: usize = 256 * 1024;
/// Connections that wait to be accepted; a further one is refused.
const BACKLOG: usize = 128;

type Incoming = mpsc::Sender<DuplexStream>;

#[derive(Debug, Default)]
struct Registry {
    listeners: BTreeMap<String, Incoming>,
    named: u64,
}

/// A network within one value: clones share it, and nothing outside of them sees it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    registry: Arc<Mutex<Registry>>,
}

/// A listener of [`Memory`]; its name is free again once it has been dropped.
#[derive(Debug)]
pub struct MemoryListener {
    name: String,
    incoming: mpsc::Receiver<DuplexStream>,
}

impl Memory {
    /// An empty network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Every critical section leaves the map whole, so a panic elsewhere cannot have torn it.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Net for Memory {
    type Stream = DuplexStream;
    type Listener = MemoryListener;

    async fn connect(&self, addr: &str) -> io::Result<DuplexStream> {
        let listener = self.registry().listeners.get(addr).cloned();
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens at {addr}"));
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        listener.ok_or_else(refused)?.try_send(theirs).map_err(|_full_or_closed| refused())?;
        // As a real connect does, lets the other side run; a retry loop must not starve it.
        tokio::task::yield_now().await;
        Ok(ours)
    }

    async fn listen(&self, addr: &str) -> io::Result<MemoryListener> {
        tokio::task::yield_now().await;
        let mut registry = self.registry();
        let name = if addr.is_empty() || addr.ends_with(":0") {
            registry.named += 1;
            format!("memory:{}", registry.named)
        } else {
            addr.to_owned()
        };
        if registry.listeners.get(&name).is_some_and(|held| !held.is_closed()) {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{name} has a listener already")));
        }
        let (sender, incoming) = mpsc::channel(BACKLOG);
        registry.listeners.insert(name.clone(), sender);
        Ok(MemoryListener { name, incoming })
    }

    async fn accept(&self, listener: &mut MemoryListener) -> io::Result<(DuplexStream, String)> {
        match listener.incoming.recv().await {
            Some(stream) => Ok((stream, "memory".to_owned())),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, format!("{} has been taken down", listener.name))),
        }
    }

    fn local_addr(&self, listener: &MemoryListener) -> io::Result<String> {
        Ok(listener.name.clone())
    }

    async fn is_loopback(&self, _addr: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn peer_is_loopback(&self, _stream: &DuplexStream) -> bool {
        true
    }

    fn adopt(&self, stream: DuplexStream) -> io::Result<DuplexStream> {
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_one_listener_and_is_free_after_it() {
        let net = Memory::new();
        let first = net.listen("a").await.unwrap();
        assert_eq!(net.listen("a").await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert_eq!(net.connect("a").await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(net.local_addr(&net.listen("a").await.unwrap()).unwrap(), "a");
    }

    #[tokio::test]
    async fn chosen_names_differ_and_networks_are_apart() {
        let net = Memory::new();
        let (one, two) = (net.listen("x:0").await.unwrap(), net.listen("x:0").await.unwrap());
        assert_ne!(one.name, two.name);
        assert!(Memory::new().connect(&one.name).await.is_err());
        assert!(net.clone().connect(&one.name).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_backlog_refuses() {
        let net = Memory::new();
        let _listener = net.listen("a").await.unwrap();
        let mut held = Vec::new();
        for _ in 0..BACKLOG {
            held.push(net.connect("a").await.unwrap());
        }
        assert_eq!(net.connect("a").await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
