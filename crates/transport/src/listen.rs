//! Taking connections: strangers within limits, their handshakes, and the pairing of what belongs together.
//!
//! One task owns all of it. A stranger's place is given back when its link is up or it has been turned away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::{Hello, Lane, Refusal, RefusalReason, Role};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::event::PeerInfo;
use crate::link::{self, Pair};
use crate::net::Net;
use crate::pipe::{PipeError, Wired, welcome};
use crate::session::{LinkId, Listening, ServerHandshake, lane_of, link_of};
use crate::shared::{Shared, fresh};
use crate::stats::Turned;

/// Connections that have not proved themselves, or wait for their twin, at once.
pub const STRANGERS_MAX: usize = 128;
/// Of these, from one address beyond this machine.
pub const STRANGERS_PER_ADDRESS_MAX: usize = 16;
/// How often the connections that were turned away are summed up in the log.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);
/// How long to wait when the system gives no further connection (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that has proved itself.
struct Proved<S> {
    hello: Hello,
    host: String,
    wired: Wired<S>,
    place: Place,
}

/// A stranger's place among the limits.
struct Place {
    _all: OwnedSemaphorePermit,
    _address: Option<OwnedSemaphorePermit>,
}

/// Half a link.
struct Waiting<S> {
    proved: Proved<S>,
    until: Instant,
}

pub(crate) struct Listen<N: Net> {
    net: N,
    shared: Arc<Shared>,
    strangers: Arc<Semaphore>,
    by_address: BTreeMap<String, Arc<Semaphore>>,
    handshakes: JoinSet<Met<N::Stream>>,
    waiting: BTreeMap<(NodeId, LinkId), Waiting<N::Stream>>,
    links: JoinSet<()>,
    summed_up: u64,
    /// Whether somebody was named since the last sum: strangers cost a bounded number of lines.
    named: bool,
}

/// How a handshake ended.
type Met<S> = Result<Box<Proved<S>>, TurnedAway>;

/// A stranger that was turned away.
struct TurnedAway {
    host: String,
    reason: Turned,
}

enum Happened<N: Net> {
    Accepted(std::io::Result<(N::Stream, String)>),
    Met(Result<Met<N::Stream>, JoinError>),
    LinkEnded(Result<(), JoinError>),
    Late,
    Summary,
    Closing,
}

impl<N: Net> Listen<N> {
    pub(crate) fn new(net: N, shared: Arc<Shared>) -> Self {
        Self {
            net,
            shared,
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            by_address: BTreeMap::new(),
            handshakes: JoinSet::new(),
            waiting: BTreeMap::new(),
            links: JoinSet::new(),
            summed_up: 0,
            named: false,
        }
    }

    /// Runs until the endpoint closes and every link has ended.
    pub(crate) async fn run(mut self, mut listener: N::Listener) {
        let mut summary = interval(SUMMARY_EVERY);
        summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let late = self.waiting.values().map(|it| it.until).min();
            let happened = tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => Happened::<N>::Closing,
                Some(ended) = self.links.join_next(), if !self.links.is_empty() => Happened::LinkEnded(ended),
                Some(done) = self.handshakes.join_next(), if !self.handshakes.is_empty() => Happened::Met(done),
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => Happened::Late,
                _ = summary.tick() => Happened::Summary,
                accepted = self.net.accept(&mut listener) => Happened::Accepted(accepted),
            };
            match happened {
                Happened::Closing => break,
                Happened::LinkEnded(ended) => note(ended),
                Happened::Met(Ok(Ok(proved))) => self.pair(*proved),
                Happened::Met(Ok(Err(stranger))) => self.name(&stranger),
                Happened::Met(Err(error)) => note(Err(error)),
                Happened::Late => self.drop_late(),
                Happened::Summary => self.sum_up(),
                Happened::Accepted(Ok((stream, host))) => self.take(stream, host),
                Happened::Accepted(Err(error)) => {
                    tracing::warn!(%error, "cannot take a connection");
                    // Closing is noticed a moment later then.
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.waiting.clear();
        self.handshakes.shutdown().await;
        while let Some(ended) = self.links.join_next().await {
            note(ended);
        }
        self.sum_up();
    }

    /// Starts the handshake of a stranger, if there is a place for it.
    fn take(&mut self, stream: N::Stream, host: String) {
        self.shared.stats.connection();
        let loopback = self.net.peer_is_loopback(&stream);
        let Some(place) = self.place(&host, loopback) else {
            self.shared.stats.turned(Turned::Crowded);
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.handshakes.spawn(async move {
            let limit = shared.config.handshake_timeout;
            let reason = match timeout(limit, meet(&shared, stream, loopback)).await {
                Ok(Ok((hello, wired))) => return Ok(Box::new(Proved { hello, host, wired, place })),
                Ok(Err(PipeError::Handshake(error))) => error.turned(),
                Ok(Err(PipeError::Frame(_))) => Turned::Garbage,
                Ok(Err(PipeError::Io(_) | PipeError::Early)) => Turned::Lost,
                Ok(Err(PipeError::Stalled)) | Err(_) => Turned::Late,
            };
            shared.stats.turned(reason);
            Err(TurnedAway { host, reason })
        });
    }

    fn place(&mut self, host: &str, loopback: bool) -> Option<Place> {
        let all = Arc::clone(&self.strangers).try_acquire_owned().ok()?;
        if loopback {
            return Some(Place { _all: all, _address: None });
        }
        // Only addresses that have a stranger here now are kept, so the map is as small as their number.
        self.by_address.retain(|_, places| places.available_permits() < STRANGERS_PER_ADDRESS_MAX);
        let fresh_places = || Arc::new(Semaphore::new(STRANGERS_PER_ADDRESS_MAX));
        let places = self.by_address.entry(host.to_owned()).or_insert_with(fresh_places);
        let address = Arc::clone(places).try_acquire_owned().ok()?;
        Some(Place { _all: all, _address: Some(address) })
    }

    /// Brings the two connections of a link together.
    fn pair(&mut self, proved: Proved<N::Stream>) {
        let key = (proved.hello.incarnation, link_of(&proved.hello.nonce));
        let Some(other) = self.waiting.remove(&key) else {
            let until = Instant::now() + self.shared.config.handshake_timeout;
            self.waiting.insert(key, Waiting { proved, until });
            return;
        };
        let (control, data) = match (lane_of(proved.hello.channel), lane_of(other.proved.hello.channel)) {
            (Lane::Control, Lane::Data) => (proved, other.proved),
            (Lane::Data, Lane::Control) => (other.proved, proved),
            // Twice the same: neither is to be trusted.
            (Lane::Control, Lane::Control) | (Lane::Data, Lane::Data) => {
                return self.shared.stats.turned(Turned::Garbage);
            }
        };
        if !self.shared.connect(control.hello.incarnation) {
            return self.shared.stats.turned(Turned::Duplicate);
        }
        let Proved { hello, host, wired, place } = control;
        if wired.wires.old_key || data.wired.wires.old_key {
            self.shared.stats.old_key();
            tracing::info!(peer = %hello.name, "connected with the old key: give it the new one before the old one goes");
        }
        let pair = Pair { control: wired, data: data.wired };
        drop((place, data.place));
        let (net, shared) = (self.net.clone(), Arc::clone(&self.shared));
        self.links.spawn(async move {
            link::run(net, shared, introduce(hello, host), pair).await;
        });
    }

    fn drop_late(&mut self) {
        let now = Instant::now();
        let before = self.waiting.len();
        self.waiting.retain(|_, it| it.until > now);
        (self.waiting.len()..before).for_each(|_| self.shared.stats.turned(Turned::Late));
    }

    /// Says who was turned away, once between two sums.
    fn name(&mut self, stranger: &TurnedAway) {
        if !std::mem::replace(&mut self.named, true) {
            let (address, reason) = (&stranger.host, stranger.reason.label());
            tracing::warn!(%address, reason, "a connection was turned away; further ones are counted and summed up");
        }
    }

    fn sum_up(&mut self) {
        self.named = false;
        let turned = self.shared.stats.turned_by_reason();
        let total: u64 = turned.iter().map(|it| it.1).sum();
        if total > self.summed_up {
            let reasons: Vec<String> =
                turned.iter().filter(|it| it.1 > 0).map(|(reason, count)| format!("{reason} {count}")).collect();
            tracing::warn!(new = total - self.summed_up, since_start = %reasons.join(", "), "connections turned away");
            self.summed_up = total;
        }
    }
}

async fn meet<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    shared: &Shared,
    stream: S,
    loopback: bool,
) -> Result<(Hello, Wired<S>), PipeError> {
    let config = &shared.config;
    let listening = Listening {
        cluster: config.cluster.clone(),
        node: config.node,
        name: config.name.clone(),
        build: config.build,
        epoch: config.epoch,
        keys: config.keys.keys(),
        tags: !loopback,
        takes: if config.role == Role::Peer { Role::Peer } else { Role::Worker },
    };
    let session = ServerHandshake::new(listening, fresh()?);
    let object = |hello: &Hello| object(shared, hello);
    welcome(stream, session, object, loopback, config.dead_after).await
}

/// What speaks against a peer that holds the key, seen from the whole of the endpoint.
fn object(shared: &Shared, hello: &Hello) -> Option<Refusal> {
    if shared.is_connected(hello.incarnation) {
        let message = format!("node {} is connected already; its first connection is kept", hello.name);
        return Some(Refusal { reason: RefusalReason::DuplicateNode, message });
    }
    if shared.connected() >= shared.config.max_connections {
        let message = format!("no room: {} nodes are connected, as many as may be", shared.connected());
        return Some(Refusal { reason: RefusalReason::Busy, message });
    }
    None
}

fn introduce(hello: Hello, address: String) -> PeerInfo {
    PeerInfo {
        node: hello.incarnation,
        name: hello.name,
        role: hello.role,
        build: hello.build,
        plans: hello.plans,
        schema: hello.schema,
        slots: hello.slots,
        epoch: if hello.role == Role::Master { hello.epoch } else { 0 },
        address,
        data_address: hello.data_address,
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the listener failed");
    }
}
