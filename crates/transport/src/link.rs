//! A link: the two connections of one peer, from up to down.
//!
//! ```text
//!            I/O runtime                                heartbeat thread
//!   data writer <- outbox (room, credit)     control writer <- outbox, credit due, heartbeats
//!   data reader -> inbox, with a grant       control reader -> credit, inbox
//!            └──────────── how each ended ──> settle ──> Down, once
//! ```
//!
//! Leaving in good order: data is sent to its end and its connection half closed; then goodbye is said on the control
//! connection. The peer reads both to their ends, so what was sent before the goodbye has arrived.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::frame::FRAME_BYTES_AIM;
use elastic_flow_wire::message::Message;
use elastic_flow_wire::{FrameError, Lane, MessageDecoder, MessageEncoder, Role, with_causes};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::control;
use crate::credit::{ReceiveCredit, SendCredit};
use crate::event::{DownReason, PeerInfo, TransportEvent, Violation};
use crate::lane::MessageKind;
use crate::net::Net;
use crate::pipe::{CONTROL_READ_BYTES, DATA_READ_BYTES, MessageReader, MessageWriter, PipeError, Read, Span, Wired};
use crate::sender::{Outbox, Outgoing, cost_bytes, peer_sender};
use crate::shared::{Queued, Shared};
use crate::stats::Direction;

/// How long one connection waits for the end of the other: what was said last may still be under way.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// A message beyond this is not encoded as a whole before it is written.
const LARGE_BYTES: u64 = 2 * FRAME_BYTES_AIM as u64;

/// How one half of a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed, in good order as far as this connection tells.
    Eof,
    /// The connection failed, or was told to end.
    Closed,
    /// Nothing was heard for too long.
    Silent,
    /// The peer broke the protocol.
    Violation(Violation),
    /// The peer said goodbye.
    Goodbye(String),
    /// All that waited has been sent, since this node leaves.
    Drained,
    /// This node has said goodbye.
    Left,
}

impl From<PipeError> for End {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Frame(error) => error.into(),
            PipeError::Stalled => Self::Silent,
            PipeError::Io(_) | PipeError::Handshake(_) | PipeError::Early => Self::Closed,
        }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Violation(Violation::Frame(with_causes(&error)))
    }
}

impl End {
    fn reason(self) -> DownReason {
        match self {
            Self::Eof | Self::Closed | Self::Drained => DownReason::Closed,
            Self::Silent => DownReason::Silent,
            Self::Violation(violation) => DownReason::Protocol(violation),
            Self::Goodbye(why) => DownReason::Goodbye(why),
            Self::Left => DownReason::Left,
        }
    }
}

/// What the halves of a link share.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) node: NodeId,
    pub(crate) role: Role,
    /// Room for what this node sends.
    pub(crate) send_credit: Arc<SendCredit>,
    /// Room for what it receives.
    pub(crate) receive_credit: Arc<ReceiveCredit>,
    /// Ends every half at once.
    pub(crate) stop: CancellationToken,
    /// This node leaves: send what waits.
    pub(crate) closing: CancellationToken,
    /// What waited has been sent: say goodbye.
    pub(crate) farewell: CancellationToken,
    /// Why this node leaves, if it said so.
    pub(crate) why: OnceLock<String>,
}

impl Link {
    /// Checks that the peer may send this, here.
    pub(crate) fn check(&self, lane: Lane, came_as: Lane, message: &Message) -> Result<(), Violation> {
        let kind = MessageKind::of(message);
        if !kind.allowed(self.role) {
            return Err(Violation::Role { role: self.role, kind });
        }
        if kind.lane() != lane || came_as != lane {
            return Err(Violation::WrongLane { kind, lane });
        }
        Ok(())
    }
}

/// The two connections of a peer, both proved.
#[derive(Debug)]
pub(crate) struct Pair<S> {
    pub(crate) control: Wired<S>,
    pub(crate) data: Wired<S>,
}

pub(crate) type Reader<S> = MessageReader<ReadHalf<S>>;
pub(crate) type Writer<S> = MessageWriter<WriteHalf<S>>;

/// The reader and writer of a connection.
pub(crate) fn split<S: AsyncRead + AsyncWrite>(
    wired: Wired<S>,
    lane: Lane,
    shared: &Shared,
) -> Result<(Reader<S>, Writer<S>), FrameError> {
    let Wired { stream, wires, received, loopback } = wired;
    let (read_bytes, level) = match lane {
        Lane::Control => (CONTROL_READ_BYTES, None),
        Lane::Data => (DATA_READ_BYTES, shared.config.compression.resolve(loopback)),
    };
    let encoder = MessageEncoder::new(wires.frames_out, level, wires.key_out)?;
    let decoder = MessageDecoder::new(wires.frames_in, wires.key_in);
    let (read, write) = tokio::io::split(stream);
    let reader = MessageReader::new(read, decoder, received, read_bytes);
    Ok((reader, MessageWriter::new(write, encoder, shared.config.dead_after)))
}

/// Runs a link from up to down, and reports both. The caller has entered the node as connected.
pub(crate) async fn run<N: Net>(net: N, shared: Arc<Shared>, peer: PeerInfo, pair: Pair<N::Stream>) -> DownReason {
    let node = peer.node;
    let (sender, outbox) = peer_sender(node);
    let Outbox { data, control, credit } = outbox;
    let link = Arc::new(Link {
        node,
        role: peer.role,
        send_credit: credit,
        receive_credit: ReceiveCredit::new(shared.config.credit_bytes),
        stop: shared.abort.child_token(),
        closing: shared.closing.child_token(),
        farewell: CancellationToken::new(),
        why: OnceLock::new(),
        shared: Arc::clone(&shared),
    });
    // Its rise and its fall: a consumer that takes nothing gets no more links.
    let places = link.stop.run_until_cancelled(Arc::clone(&shared.borders).acquire_many_owned(2)).await;
    let Some(Ok(mut rise)) = places else {
        shared.disconnect(node);
        return DownReason::Left;
    };
    let fall = rise.split(1);
    shared.stats.link_up();
    tracing::info!(peer = %peer.name, node = %Hex(node), address = %peer.address, "connected");
    // Held to the end: a consumer that only listens does not end the link by dropping its sender.
    let kept = sender.clone();
    shared.inbox.push_border(Queued { event: TransportEvent::Up { peer, sender }, _place: Some(rise) });

    let (ended, control_end) = oneshot::channel();
    let mut control_end = ControlEnd(Some(control_end));
    let mut tasks = JoinSet::new();
    let reason = match split(pair.data, Lane::Data, &shared) {
        Err(error) => End::from(error).reason(),
        Ok((reader, writer)) => {
            tasks.spawn(read_data(Arc::clone(&link), reader));
            tasks.spawn(write_data(Arc::clone(&link), writer, data));
            let job = control::run(net, Arc::clone(&link), pair.control, control, ended);
            // If the hub has ended, the job is dropped, and with it the other end of `control_end`.
            shared.hub.run(job).await;
            settle(&link, &mut control_end, &mut tasks).await
        }
    };
    link.stop.cancel();
    while tasks.join_next().await.is_some() {}
    control_end.finished().await;
    drop(kept);
    shared.stats.link_down();
    shared.disconnect(node);
    tracing::info!(node = %Hex(node), %reason, "disconnected");
    let event = TransportEvent::Down { node, reason: reason.clone() };
    shared.inbox.push_border(Queued { event, _place: fall });
    reason
}

/// How the control connection, on its own thread, tells of its end.
struct ControlEnd(Option<oneshot::Receiver<End>>);

impl ControlEnd {
    /// Waits for the end, once; for ever after it. Cancel safe.
    async fn ended(&mut self) -> End {
        let Some(receiver) = &mut self.0 else { return std::future::pending().await };
        let end = receiver.await.unwrap_or(End::Closed);
        self.0 = None;
        end
    }

    /// Waits until nothing more can come from it.
    async fn finished(&mut self) {
        if self.0.is_some() {
            self.ended().await;
        }
    }
}

/// Waits for the end of the link, and finds out its reason.
async fn settle(link: &Link, control: &mut ControlEnd, data: &mut JoinSet<End>) -> DownReason {
    loop {
        let end = tokio::select! {
            biased;
            end = control.ended() => return after_control(end, data).await,
            end = next_end(data) => end,
        };
        match end {
            End::Drained => link.farewell.cancel(),
            // The other connection knows more: a goodbye, or silence.
            End::Eof | End::Closed => {
                return timeout(LINGER, control.ended()).await.unwrap_or(End::Closed).reason();
            }
            End::Silent | End::Violation(_) | End::Goodbye(_) | End::Left => return end.reason(),
        }
    }
}

async fn after_control(end: End, data: &mut JoinSet<End>) -> DownReason {
    if matches!(end, End::Goodbye(_)) {
        // What was sent before the goodbye may still be under way on the other connection.
        let rest = async { while !matches!(next_end(data).await, End::Eof | End::Closed) {} };
        // Late or not, the peer is gone.
        timeout(LINGER, rest).await.ok();
    }
    end.reason()
}

async fn next_end(tasks: &mut JoinSet<End>) -> End {
    match tasks.join_next().await {
        Some(Ok(end)) => end,
        Some(Err(error)) => {
            tracing::error!(%error, "a connection's task failed");
            End::Closed
        }
        None => End::Closed,
    }
}

async fn read_data<S: AsyncRead + Unpin>(link: Arc<Link>, mut reader: Reader<S>) -> End {
    let Some(end) = link.stop.run_until_cancelled(receive_data(&link, &mut reader)).await else {
        return End::Closed;
    };
    end
}

async fn receive_data<S: AsyncRead + Unpin>(link: &Link, reader: &mut Reader<S>) -> End {
    loop {
        loop {
            match reader.ready() {
                Ok(Some(Read { lane: came_as, message, span })) => {
                    if let Err(violation) = deliver_data(link, came_as, message, span) {
                        return End::Violation(violation);
                    }
                }
                Ok(None) => break,
                Err(error) => return error.into(),
            }
        }
        // Between messages the connection may rest: that the peer is alive shows on the control connection.
        let filled = if reader.within_message() {
            match timeout(link.shared.config.dead_after, reader.fill()).await {
                Ok(filled) => filled,
                Err(_elapsed) => return End::Silent,
            }
        } else {
            reader.fill().await
        };
        match filled {
            Ok(true) => {}
            Ok(false) if reader.within_message() => return End::Closed,
            Ok(false) => return End::Eof,
            Err(_) => return End::Closed,
        }
    }
}

fn deliver_data(link: &Link, came_as: Lane, message: Message, span: Span) -> Result<(), Violation> {
    link.check(Lane::Data, came_as, &message)?;
    let (raw_bytes, wire_bytes) = link.shared.book(link.node, Direction::Received, Lane::Data, &message, span);
    let bytes = cost_bytes(raw_bytes);
    let grant = link.receive_credit.receive(bytes).ok_or(Violation::NoCredit { bytes })?;
    let event = TransportEvent::Message { node: link.node, message, wire_bytes, grant: Some(grant) };
    link.shared.inbox.push_data(event.into());
    Ok(())
}

async fn write_data<S: AsyncWrite + Unpin>(
    link: Arc<Link>,
    mut writer: Writer<S>,
    queue: mpsc::Receiver<Outgoing>,
) -> End {
    let stop = link.stop.clone();
    stop.run_until_cancelled(send_data(&link, &mut writer, queue)).await.unwrap_or(End::Closed)
}

async fn send_data<S: AsyncWrite + Unpin>(
    link: &Link,
    writer: &mut Writer<S>,
    mut queue: mpsc::Receiver<Outgoing>,
) -> End {
    let mut held: Option<Outgoing> = None;
    loop {
        let next = match held.take() {
            Some(next) => Some(next),
            None => tokio::select! {
                biased;
                () = link.closing.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
                next = queue.recv() => next,
            },
        };
        let Some(next) = next else { break };
        link.send_credit.take(next.cost_bytes).await;
        if let Err(error) = push_data(link, writer, next).await {
            return error.into();
        }
        // What waits and has credit goes along in the same write; nothing is delayed for it.
        while writer.waiting_bytes() < FRAME_BYTES_AIM {
            let Ok(next) = queue.try_recv() else { break };
            if !link.send_credit.try_take(next.cost_bytes) {
                held = Some(next);
                break;
            }
            if let Err(error) = push_data(link, writer, next).await {
                return error.into();
            }
        }
        if let Err(error) = writer.write().await {
            return error.into();
        }
    }
    match writer.finish().await {
        Ok(()) => End::Drained,
        Err(error) => error.into(),
    }
}

/// Puts a message behind those that wait to be written; a large one is written at once.
async fn push_data<S: AsyncWrite + Unpin>(
    link: &Link,
    writer: &mut Writer<S>,
    next: Outgoing,
) -> Result<(), PipeError> {
    let traffic = if next.cost_bytes > LARGE_BYTES {
        writer.write_large(&next.message, Lane::Data).await?
    } else {
        writer.push(&next.message, Lane::Data)?
    };
    link.shared.book(link.node, Direction::Sent, Lane::Data, &next.message, traffic);
    Ok(())
}

/// A node's incarnation in logs: as many digits as tell nodes apart.
pub(crate) struct Hex(pub(crate) NodeId);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0.0 >> 96)
    }
}
