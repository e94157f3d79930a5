//! Opening connections: until it works, and again after each loss.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::SeededRng;
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::{Challenge, Channel, Role, with_causes};
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::event::{PeerInfo, TransportEvent};
use crate::link::{self, Pair};
use crate::net::Net;
use crate::pipe::{PipeError, Wired, greet};
use crate::session::{HandshakeError, LinkId, link_nonce};
use crate::shared::{Shared, fresh};
use crate::stats::Turned;

/// Why an attempt to connect failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Connect(io::Error),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("no complete handshake within {} s", .0.as_secs_f32())]
    Late(Duration),
    #[error(transparent)]
    Pipe(PipeError),
    /// The two connections reached two listeners.
    #[error("two masters answer at this address")]
    TwoListeners,
    /// Beyond this machine without what that takes.
    #[error(transparent)]
    NotAllowed(#[from] crate::error::TransportError),
}

impl From<PipeError> for DialError {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Handshake(error) => Self::Handshake(error),
            PipeError::Io(error) => Self::Connect(error),
            other @ (PipeError::Frame(_) | PipeError::Stalled | PipeError::Early) => Self::Pipe(other),
        }
    }
}

impl DialError {
    fn turned(&self) -> Turned {
        match self {
            Self::Connect(_) => Turned::Lost,
            Self::Handshake(error) => error.turned(),
            Self::Late(_) | Self::Pipe(PipeError::Stalled) => Turned::Late,
            Self::Pipe(PipeError::Early) => Turned::Lost,
            Self::Pipe(_) => Turned::Garbage,
            Self::TwoListeners => Turned::Duplicate,
            Self::NotAllowed(_) => Turned::Role,
        }
    }

    /// Whether trying again may help without anybody changing a setting.
    fn may_pass(&self) -> bool {
        match self {
            Self::Handshake(error) => error.may_pass(),
            Self::NotAllowed(_) => false,
            Self::Connect(_) | Self::Late(_) | Self::Pipe(_) | Self::TwoListeners => true,
        }
    }
}

pub(crate) struct Dial<N: Net> {
    net: N,
    shared: Arc<Shared>,
    addr: String,
    /// The highest master's epoch so far: a lower one is fenced.
    epoch: u64,
    jitter: SeededRng,
    backoff: Backoff,
}

impl<N: Net> Dial<N> {
    pub(crate) fn new(net: N, shared: Arc<Shared>, addr: String) -> Self {
        let NodeId(node) = shared.config.node;
        // Nodes draw their incarnations at random, so their waits differ, and a simulated node repeats its own.
        let [a, b, c, d, e, f, g, h, ..] = node.to_le_bytes();
        let jitter = SeededRng::new(u64::from_le_bytes([a, b, c, d, e, f, g, h])).fork("dial");
        let epoch = shared.config.epoch;
        Self { net, shared, addr, epoch, jitter, backoff: Backoff::default() }
    }

    /// Runs until the endpoint closes, or the listener refuses for good.
    pub(crate) async fn run(mut self) {
        let closing = self.shared.closing.clone();
        loop {
            let Some(attempt) = closing.run_until_cancelled(self.attempt()).await else { return };
            let error = match attempt {
                Ok((peer, pair)) => {
                    let up = Instant::now();
                    self.shared.connect(peer.node);
                    link::run(self.net.clone(), Arc::clone(&self.shared), peer, pair).await;
                    if closing.is_cancelled() {
                        return;
                    }
                    // A listener that takes us and drops us at once is not dialled in a tight loop.
                    if up.elapsed() > self.shared.config.dead_after {
                        self.backoff.succeeded();
                    }
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(error) = &error {
                self.shared.stats.turned(error.turned());
                if !error.may_pass() {
                    let reason = with_causes(error);
                    tracing::error!(address = %self.addr, error = reason, "refused");
                    self.shared.inbox.push_border(TransportEvent::Refused { reason }.into());
                    return;
                }
            }
            let wait = self.backoff.failed(self.jitter.u64());
            if let Some(error) = error
                && self.backoff.worth_saying()
            {
                let (address, tries, error) = (&self.addr, self.backoff.failures(), with_causes(&error));
                tracing::warn!(%address, error, tries, "cannot connect yet, trying on");
            }
            if closing.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// Opens both connections of a link.
    async fn attempt(&mut self) -> Result<(PeerInfo, Pair<N::Stream>), DialError> {
        let link: LinkId = fresh().map_err(DialError::Connect)?;
        let both = async { tokio::try_join!(self.open(link, Channel::Control), self.open(link, Channel::Data)) };
        let ((challenge, control), (twin, data)) = both.await?;
        if (challenge.incarnation, challenge.epoch) != (twin.incarnation, twin.epoch) {
            return Err(DialError::TwoListeners);
        }
        self.epoch = self.epoch.max(challenge.epoch);
        Ok((self.introduce(challenge), Pair { control, data }))
    }

    async fn open(&self, link: LinkId, channel: Channel) -> Result<(Challenge, Wired<N::Stream>), DialError> {
        let config = &self.shared.config;
        let stream = self.net.connect(&self.addr).await.map_err(DialError::Connect)?;
        self.shared.stats.connection();
        let loopback = self.net.peer_is_loopback(&stream);
        if !loopback {
            config.check_beyond_loopback(&self.addr)?;
        }
        let nonce = link_nonce(link, fresh().map_err(DialError::Connect)?);
        let hello = config.hello(self.epoch, channel, nonce);
        let greeting = greet(stream, hello, config.keys.keys(), loopback, config.dead_after);
        let limit = config.handshake_timeout;
        timeout(limit, greeting).await.map_err(|_elapsed| DialError::Late(limit))?.map_err(DialError::from)
    }

    /// A listener says less of itself than a client does.
    fn introduce(&self, challenge: Challenge) -> PeerInfo {
        PeerInfo {
            node: challenge.incarnation,
            name: challenge.name,
            role: if self.shared.config.role == Role::Peer { Role::Peer } else { Role::Master },
            build: challenge.build,
            plans: 0,
            schema: 0,
            slots: 0,
            epoch: challenge.epoch,
            address: self.addr.clone(),
            data_address: String::new(),
        }
    }
}
