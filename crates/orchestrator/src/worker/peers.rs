//! The links between workers: one endpoint that takes those of others, and one for each worker that this one has parcels for.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use elastic_flow_clock::Clock;
use elastic_flow_receipt::NodeId;
use elastic_flow_transport::{Endpoint, EndpointConfig, Net, TransportError, TransportEvent};
use elastic_flow_wire::message::Message;
use elastic_flow_wire::with_causes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::links::Links;

/// Events of links to other workers that wait for the loop.
const EVENTS: usize = 64;

/// What happened on a link to another worker.
#[derive(Debug)]
pub(super) enum PeerEvent {
    /// It is there: of a link that this worker has opened.
    Up(NodeId),
    /// It is gone.
    Down(NodeId),
    /// It said something, on a link that either has opened.
    Message(NodeId, Message),
}

type Dialled = Pin<Box<dyn Future<Output = Result<Endpoint, TransportError>> + Send>>;
type Dialler = Box<dyn Fn(String) -> Dialled + Send>;

/// The links to other workers.
pub(super) struct Peers {
    /// Takes the links of others.
    listening: Endpoint,
    /// Those that others have opened.
    incoming: Links,
    /// Opens a link.
    dial: Dialler,
    outgoing: Links,
    dialled: HashMap<NodeId, AbortHandle>,
    tasks: JoinSet<()>,
    events_out: mpsc::Sender<(NodeId, TransportEvent)>,
    events: mpsc::Receiver<(NodeId, TransportEvent)>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Peers {
    /// Takes links at `listen`.
    pub(super) async fn start<N: Net>(
        net: N,
        listen: &str,
        config: EndpointConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TransportError> {
        let listening = Endpoint::listen(net.clone(), listen, config.clone(), Arc::clone(&clock)).await?;
        let (events_out, events) = mpsc::channel(EVENTS);
        let dial: Dialler = Box::new(move |address| {
            let (net, config, clock) = (net.clone(), config.clone(), Arc::clone(&clock));
            Box::pin(async move { Endpoint::dial(net, &address, config, clock).await })
        });
        Ok(Self {
            listening,
            incoming: Links::default(),
            dial,
            outgoing: Links::default(),
            dialled: HashMap::new(),
            tasks: JoinSet::new(),
            events_out,
            events,
        })
    }

    /// Where others reach this worker: the port alone where it listens at every address of its machine.
    pub(super) fn address(&self) -> String {
        let address = self.listening.local_addr();
        match address.rsplit_once(':') {
            Some(("0.0.0.0" | "[::]", port)) => format!(":{port}"),
            _ => address.to_owned(),
        }
    }

    /// Connects to another worker, for as long as it takes; its events come under `node`, whoever answers there.
    pub(super) fn connect(&mut self, node: NodeId, address: String) {
        let (dialling, events) = ((self.dial)(address), self.events_out.clone());
        let task = self.tasks.spawn(async move {
            let endpoint = match dialling.await {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    tracing::warn!(%node, error = with_causes(&error), "another worker cannot be connected to");
                    return;
                }
            };
            while let Some(event) = endpoint.next_event().await {
                if events.send((node, event)).await.is_err() {
                    return;
                }
            }
        });
        if let Some(before) = self.dialled.insert(node, task) {
            before.abort();
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// Drops the link to another worker.
    pub(super) fn disconnect(&mut self, node: NodeId) {
        if let Some(task) = self.dialled.remove(&node) {
            task.abort();
        }
        self.outgoing.down(node);
    }

    /// Speaks to a worker that this one has connected to.
    pub(super) fn send(&self, node: NodeId, message: Message) {
        // Dropped where it is gone: it gets again what it has not said to have.
        self.outgoing.send(node, message);
    }

    /// Speaks to a worker that has connected to this one.
    pub(super) fn reply(&self, node: NodeId, message: Message) {
        self.incoming.send(node, message);
    }

    /// What happens next.
    ///
    /// Cancel safe: nothing is taken that is not given.
    pub(super) async fn next(&mut self) -> Option<PeerEvent> {
        tokio::select! {
            Some(event) = self.listening.next_event() => match event {
                TransportEvent::Up { peer, sender } => {
                    self.incoming.up(peer.node, sender);
                    None
                }
                TransportEvent::Down { node, .. } => {
                    self.incoming.down(node);
                    None
                }
                TransportEvent::Message { node, message, .. } => Some(PeerEvent::Message(node, message)),
                TransportEvent::Refused { .. } | _ => None,
            },
            Some(event) = self.events.recv() => match event {
                (wanted, TransportEvent::Up { peer, sender }) if peer.node == wanted => {
                    self.outgoing.up(wanted, sender);
                    Some(PeerEvent::Up(wanted))
                }
                (wanted, TransportEvent::Up { peer, .. }) => {
                    tracing::warn!(%wanted, found = %peer.node, address = %peer.address, "another worker answers there");
                    None
                }
                (wanted, TransportEvent::Down { .. }) => {
                    self.outgoing.down(wanted);
                    Some(PeerEvent::Down(wanted))
                }
                (wanted, TransportEvent::Message { node, message, .. }) if node == wanted => {
                    Some(PeerEvent::Message(wanted, message))
                }
                (_, TransportEvent::Message { .. } | TransportEvent::Refused { .. } | _) => None,
            },
            // Both have ended: so will the worker.
            else => std::future::pending().await,
        }
    }

    /// Ends every link.
    pub(super) async fn end(mut self) {
        self.tasks.shutdown().await;
        self.listening.shutdown(std::time::Duration::ZERO).await;
    }
}
