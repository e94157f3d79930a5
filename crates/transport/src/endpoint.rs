//! The one sender and receiver of a node.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::Clock;
use elastic_flow_wire::Role;
use elastic_flow_wire::message::Pulse;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::EndpointConfig;
use crate::dial::Dial;
use crate::error::TransportError;
use crate::event::TransportEvent;
use crate::hub::{Hub, HubOwner};
use crate::listen::Listen;
use crate::net::Net;
use crate::shared::{Shared, fresh};
use crate::stats::TransportStats;

/// The tasks of an endpoint, in the order in which they end.
struct Owned {
    main: JoinSet<()>,
    hub: Option<HubOwner>,
}

/// Ends the events when the main task ends, in whatever way.
struct CloseInbox(Arc<Shared>);

impl Drop for CloseInbox {
    fn drop(&mut self) {
        self.0.inbox.close();
    }
}

/// A node's place on the network: all parcels of the node pass through it.
///
/// What happens comes out of [`next_event`](Self::next_event); what is to be sent goes through the
/// [`PeerSender`](crate::PeerSender) of each [`Up`](TransportEvent::Up). Dropping an endpoint ends its connections at once;
/// only [`shutdown`](Self::shutdown) promises a clean end.
pub struct Endpoint {
    shared: Arc<Shared>,
    local_addr: String,
    owned: Mutex<Owned>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("local_addr", &self.local_addr)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Takes connections at `addr`: the master's side, of workers, or that of a [`Peer`](Role::Peer), of other ones.
    ///
    /// # Errors
    /// If the address cannot be listened on, is beyond this machine without a key given on purpose and `insecure_plaintext`, or
    /// if the configuration does not hold together.
    ///
    /// # Cancel safety
    /// Safe to drop: nothing listens then.
    pub async fn listen<N: Net>(
        net: N,
        addr: &str,
        config: EndpointConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TransportError> {
        require(&config, &[Role::Master, Role::Peer], "take connections")?;
        let failed = |source: io::Error| TransportError::Listen { addr: addr.to_owned(), source };
        if !net.is_loopback(addr).await.map_err(failed)? {
            config.check_beyond_loopback(addr)?;
        }
        let listener = net.listen(addr).await.map_err(failed)?;
        let local_addr = net.local_addr(&listener).map_err(failed)?;
        Self::start(config, clock, local_addr, |shared| Listen::new(net, shared).run(listener))
    }

    /// Connects to the master at `addr`, or to a [`Peer`](Role::Peer), for as long as it takes, and again after each loss: the
    /// worker's side.
    ///
    /// Returns at once; [`Up`](TransportEvent::Up) tells of the connection.
    ///
    /// # Errors
    /// If `addr` is beyond this machine without a key given on purpose and `insecure_plaintext`, or if the configuration does not
    /// hold together.
    ///
    /// # Cancel safety
    /// Safe to drop: nothing is connected then.
    pub async fn dial<N: Net>(
        net: N,
        addr: &str,
        config: EndpointConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TransportError> {
        require(&config, &[Role::Worker, Role::Peer], "connect")?;
        // A name that is not known yet may be later; what it then stands for is checked again at each connection.
        if let Ok(false) = net.is_loopback(addr).await {
            config.check_beyond_loopback(addr)?;
        }
        let target = addr.to_owned();
        Self::start(config, clock, String::new(), |shared| Dial::new(net, shared, target).run())
    }

    fn start<F>(
        config: EndpointConfig,
        clock: Arc<dyn Clock>,
        local_addr: String,
        main: impl FnOnce(Arc<Shared>) -> F,
    ) -> Result<Self, TransportError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        config.check()?;
        fresh::<16>().map_err(TransportError::Entropy)?;
        let (hub, hub_owner) = Hub::start(config.heartbeat_thread).map_err(TransportError::Thread)?;
        let shared = Shared::new(config, hub, clock);
        let main = main(Arc::clone(&shared));
        let close = CloseInbox(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            main.await;
            drop(close);
        });
        let owned = Mutex::new(Owned { main: tasks, hub: Some(hub_owner) });
        Ok(Self { shared, local_addr, owned })
    }

    /// The next event; `None` once the endpoint has been shut down, or after [`Refused`](TransportEvent::Refused).
    ///
    /// # Cancel safety
    /// Safe to drop: no event is lost.
    pub async fn next_event(&self) -> Option<TransportEvent> {
        self.shared.inbox.pop().await.map(|queued| queued.event)
    }

    /// Where this endpoint listens, its port as the system chose it; empty for one that dials.
    #[must_use]
    pub fn local_addr(&self) -> &str {
        &self.local_addr
    }

    /// Sets what this node's heartbeats carry. `pulse` is called at each of them, on the heartbeat thread: it must be short, and
    /// must not wait for what may be busy.
    pub fn set_pulse(&self, pulse: impl Fn() -> Pulse + Send + Sync + 'static) {
        self.shared.set_pulse(Arc::new(pulse));
    }

    /// What has passed so far.
    #[must_use]
    pub fn stats(&self) -> TransportStats {
        self.shared.stats.snapshot()
    }

    /// Leaves in good order: takes and opens no further connection, sends what waits, says goodbye to each peer; after
    /// `deadline` ends what is left at once. Events that are there can still be taken, then `next_event` gives `None`.
    ///
    /// # Cancel safety
    /// If dropped, the endpoint goes on leaving, without the deadline; calling it again waits for the end.
    pub async fn shutdown(&self, deadline: Duration) {
        self.shared.closing.cancel();
        let mut owned = self.owned.lock().await;
        let Owned { main, hub } = &mut *owned;
        // A panic of the main task is printed where it happened; the events end all the same.
        let ended = timeout(deadline, async { while main.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("connections did not end in time and were cut");
        }
        self.shared.abort.cancel();
        while main.join_next().await.is_some() {}
        if let Some(hub) = hub.take() {
            hub.join().await;
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Ends the jobs on the heartbeat thread; the tasks here end with their JoinSet. In this order, so that no goodbye is said:
        // only a shutdown is an orderly end.
        self.shared.abort.cancel();
        self.shared.closing.cancel();
        self.shared.inbox.close();
    }
}

fn require(config: &EndpointConfig, roles: &[Role], what: &'static str) -> Result<(), TransportError> {
    if roles.contains(&config.role) { Ok(()) } else { Err(TransportError::Role { role: config.role, what }) }
}
