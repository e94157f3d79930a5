//! The contract over each network, and what concerns an endpoint alone.

use std::io;
use std::sync::Arc;

use elastic_flow_clock::SystemClock;
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::{Keys, Role, Secret};
use tokio::io::DuplexStream;

use crate::net::MemoryListener;
use crate::{Endpoint, EndpointConfig, Memory, Net, Tcp, TransportError};

mod tcp {
    crate::transport_contract!(crate::Tcp, "127.0.0.1:0");
}

mod memory {
    crate::transport_contract!(crate::Memory::new(), "memory:0");
}

/// Pipes that claim to reach another machine: frames carry tags, and bodies are compressed.
mod beyond {
    crate::transport_contract!(super::Beyond::default(), "yam1:0");
}

#[derive(Debug, Clone, Default)]
struct Beyond(Memory);

impl Net for Beyond {
    type Stream = DuplexStream;
    type Listener = MemoryListener;

    async fn connect(&self, addr: &str) -> io::Result<DuplexStream> {
        self.0.connect(addr).await
    }

    async fn listen(&self, addr: &str) -> io::Result<MemoryListener> {
        self.0.listen(addr).await
    }

    async fn accept(&self, listener: &mut MemoryListener) -> io::Result<(DuplexStream, String)> {
        self.0.accept(listener).await
    }

    fn local_addr(&self, listener: &MemoryListener) -> io::Result<String> {
        self.0.local_addr(listener)
    }

    async fn is_loopback(&self, _addr: &str) -> io::Result<bool> {
        Ok(false)
    }

    fn peer_is_loopback(&self, _stream: &DuplexStream) -> bool {
        false
    }

    fn adopt(&self, stream: DuplexStream) -> io::Result<DuplexStream> {
        self.0.adopt(stream)
    }
}

fn config(role: Role) -> EndpointConfig {
    let keys = Keys::derive(&Secret::from_bytes([7; 32]), "logs");
    EndpointConfig::new("logs", role, "yam1", NodeId(1), keys)
}

async fn listen<N: Net>(net: N, addr: &str, config: EndpointConfig) -> Result<Endpoint, TransportError> {
    Endpoint::listen(net, addr, config, Arc::new(SystemClock::new())).await
}

#[tokio::test]
async fn beyond_this_machine_a_key_and_plain_text_must_be_meant() {
    for addr in ["0.0.0.0:0", "10.1.2.3:7117"] {
        let text = listen(Tcp, addr, config(Role::Master)).await.unwrap_err().to_string();
        assert!(text.contains("no key was given") && text.contains("security.key_file"), "{text}");
        let keyed = EndpointConfig { key_given: true, ..config(Role::Master) };
        let text = listen(Tcp, addr, keyed).await.unwrap_err().to_string();
        assert!(text.contains("not encrypted") && text.contains("security.insecure_plaintext"), "{text}");
        let clock = Arc::new(SystemClock::new());
        let dialled = Endpoint::dial(Tcp, addr, config(Role::Worker), clock).await;
        assert!(matches!(dialled, Err(TransportError::KeyNotGiven { .. })), "{dialled:?}");
    }
    let meant = EndpointConfig { key_given: true, insecure_plaintext: true, ..config(Role::Master) };
    assert!(listen(Tcp, "0.0.0.0:0", meant).await.is_ok());
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_at_once() {
    let refused = async |config| listen(Memory::new(), "yam1:0", config).await.unwrap_err().to_string();
    let worker = refused(config(Role::Worker)).await;
    assert!(worker.contains("Worker cannot take connections"), "{worker}");
    let hasty = EndpointConfig { dead_after: crate::HEARTBEAT_EVERY, ..config(Role::Master) };
    assert!(refused(hasty).await.contains("heartbeat.dead_after"));
    let named = EndpointConfig { name: "two words".to_owned(), ..config(Role::Master) };
    assert!(refused(named).await.contains("introduce itself"));
    let taken = Memory::new();
    let _first = listen(taken.clone(), "yam1", config(Role::Master)).await.unwrap();
    let second = listen(taken, "yam1", config(Role::Master)).await;
    assert!(matches!(second, Err(TransportError::Listen { .. })), "{second:?}");
}

#[tokio::test]
async fn strangers_from_one_address_are_few() {
    let net = Beyond::default();
    let meant = EndpointConfig { key_given: true, insecure_plaintext: true, ..config(Role::Master) };
    let master = listen(net.clone(), "yam1:0", meant).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..=crate::STRANGERS_PER_ADDRESS_MAX {
        crowd.push(net.connect(master.local_addr()).await.unwrap());
    }
    while master.stats().connections < crowd.len() as u64 {
        tokio::task::yield_now().await;
    }
    let crowded = master.stats().turned.iter().find(|it| it.0 == crate::Turned::Crowded).map(|it| it.1);
    assert_eq!(crowded, Some(1));
}

#[tokio::test]
async fn heartbeats_go_on_while_the_runtime_is_blocked() {
    let beat = std::time::Duration::from_millis(5);
    let quick = |role, node| EndpointConfig { heartbeat_every: beat, node: NodeId(node), ..config(role) };
    let master = listen(Tcp, "127.0.0.1:0", quick(Role::Master, 1)).await.unwrap();
    let clock = Arc::new(SystemClock::new());
    let worker = Endpoint::dial(Tcp, master.local_addr(), quick(Role::Worker, 2), clock).await.unwrap();
    assert!(master.next_event().await.is_some() && worker.next_event().await.is_some());
    // This thread is the whole I/O runtime of both nodes, and from here on it does nothing else.
    for endpoint in [&master, &worker] {
        let before = endpoint.stats().control_received.messages;
        while endpoint.stats().control_received.messages < before + 5 {
            std::hint::spin_loop();
        }
    }
}

#[tokio::test]
async fn a_shutdown_that_takes_too_long_is_cut() {
    let net = Memory::new();
    let master = listen(net.clone(), "yam1:0", config(Role::Master)).await.unwrap();
    let small = EndpointConfig { node: NodeId(2), credit_bytes: 1, ..config(Role::Worker) };
    let clock = Arc::new(SystemClock::new());
    let worker = Endpoint::dial(net, master.local_addr(), small, clock).await.unwrap();
    let Some(crate::TransportEvent::Up { sender, .. }) = master.next_event().await else { panic!("no worker") };
    // The worker takes nothing, so the second never gets its credit.
    for number in 0..2 {
        let notice = elastic_flow_wire::message::StepNotice {
            step: elastic_flow_receipt::StepId(number),
            program: "word_count".to_owned(),
            params: Vec::new(),
            plan: 1,
            max_skips: 0,
        };
        sender.send(elastic_flow_wire::message::Message::Notice(notice)).await.unwrap();
    }
    master.shutdown(std::time::Duration::from_millis(50)).await;
    assert_eq!(master.stats().links_up, 0);
    assert_eq!(master.stats().data_sent.messages, 1);
    while master.next_event().await.is_some() {}
    drop(worker);
}
