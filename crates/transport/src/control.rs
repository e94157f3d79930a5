//! The control connection of a link: heartbeats, credit, and what is small and urgent.

use std::sync::Arc;
use std::time::Duration;

use elastic_flow_wire::message::{Message, Pulse};
use elastic_flow_wire::{FrameError, Lane};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout, timeout_at};

use crate::event::{TransportEvent, Violation};
use crate::link::{End, LINGER, Link, Reader, Writer, split};
use crate::liveness::Liveness;
use crate::net::Net;
use crate::pipe::{Read, Wired};
use crate::shared::Queued;
use crate::stats::Direction;

/// Control messages of one peer that the consumer has not yet taken. Beyond it, the connection is not read on.
const INBOX_MESSAGES: usize = 4096;
/// Heartbeats of one peer that the consumer has not yet taken. They may be large, and only the latest are worth anything.
const INBOX_BEATS: usize = 4;
/// The longest goodbye that is passed on, in characters.
const GOODBYE_CHARS: usize = 400;
/// Messages that go out in one write.
const BATCH_BYTES: usize = 64 * 1024;

/// The life of a control connection, on the hub. Says through `ended` how it ended.
pub(crate) async fn run<N: Net>(
    net: N,
    link: Arc<Link>,
    wired: Wired<N::Stream>,
    queue: mpsc::Receiver<Message>,
    ended: oneshot::Sender<End>,
) {
    let serve = async {
        let Wired { stream, wires, received, loopback } = wired;
        let Ok(stream) = net.adopt(stream) else { return End::Closed };
        let wired = Wired { stream, wires, received, loopback };
        match split(wired, Lane::Control, &link.shared) {
            Ok((reader, writer)) => serve(&link, reader, writer, queue).await,
            Err(error) => error.into(),
        }
    };
    let end = link.stop.run_until_cancelled(serve).await.unwrap_or(End::Closed);
    // The link that asked may have stopped waiting.
    ended.send(end).ok();
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    link: &Link,
    mut reader: Reader<S>,
    mut writer: Writer<S>,
    mut queue: mpsc::Receiver<Message>,
) -> End {
    let reading = receive(link, &mut reader);
    tokio::pin!(reading);
    tokio::select! {
        biased;
        end = &mut reading => end,
        end = send(link, &mut writer, &mut queue) => {
            if end == End::Left {
                // Closing with unread bytes could overtake the goodbye, so the peer closes first; if it is slow, so be it.
                timeout(LINGER, reading).await.ok();
            }
            end
        }
    }
}

async fn receive<S: AsyncRead + Unpin>(link: &Link, reader: &mut Reader<S>) -> End {
    let start = Instant::now();
    let mut peer = Liveness::new(Duration::ZERO, link.shared.config.dead_after);
    let places =
        Places { commands: Arc::new(Semaphore::new(INBOX_MESSAGES)), beats: Arc::new(Semaphore::new(INBOX_BEATS)) };
    loop {
        loop {
            match reader.ready() {
                Ok(Some(Read { lane: came_as, message, span })) => {
                    if let Err(violation) = link.check(Lane::Control, came_as, &message) {
                        return End::Violation(violation);
                    }
                    let booked = link.shared.book(link.node, Direction::Received, Lane::Control, &message, span);
                    match take(link, &places, message, booked.1).await {
                        // If that took its time, nobody listened meanwhile, and silence does not count.
                        Ok(None) => peer.heard(start.elapsed()),
                        Ok(Some(why)) => return End::Goodbye(why),
                        Err(violation) => return End::Violation(violation),
                    }
                }
                Ok(None) => break,
                Err(error) => return error.into(),
            }
        }
        match timeout_at(start + peer.deadline(), reader.fill()).await {
            Ok(Ok(true)) => peer.heard(start.elapsed()),
            Ok(Ok(false)) => return if reader.within_message() { End::Closed } else { End::Eof },
            Ok(Err(_)) => return End::Closed,
            Err(_elapsed) if peer.is_dead(start.elapsed()) => return End::Silent,
            Err(_elapsed) => {}
        }
    }
}

/// Places in the inbox for one peer's control messages.
struct Places {
    commands: Arc<Semaphore>,
    beats: Arc<Semaphore>,
}

/// Acts on a message, or hands it to the consumer. Gives the reason of a goodbye.
async fn take(link: &Link, places: &Places, message: Message, wire_bytes: u64) -> Result<Option<String>, Violation> {
    let place = match &message {
        Message::Credit(bytes) => {
            link.send_credit.grant(*bytes)?;
            return Ok(None);
        }
        // A peer's text reaches logs and terminals.
        Message::Goodbye(why) => {
            return Ok(Some(why.chars().filter(|it| !it.is_control()).take(GOODBYE_CHARS).collect()));
        }
        // The next one says more; none is worth stopping for.
        Message::Heartbeat(_) => Arc::clone(&places.beats).try_acquire_owned().ok(),
        Message::Notice(_)
        | Message::Assign(_)
        | Message::Ack(_)
        | Message::Revoke(_)
        | Message::Release(_)
        | Message::Result(_)
        | Message::Holding(_)
        | Message::Look(_)
        | Message::Found(_)
        | Message::Exchange(_)
        | Message::Parcels(_)
        | Message::Taken(_)
        | Message::Partition(_)
        | Message::Unreached(_)
        | Message::Draining => Arc::clone(&places.commands).acquire_owned().await.ok(),
    };
    let Some(place) = place else {
        link.shared.stats.heartbeat_dropped();
        return Ok(None);
    };
    let event = TransportEvent::Message { node: link.node, message, wire_bytes, grant: None };
    link.shared.inbox.push_control(Queued { event, _place: Some(place) });
    Ok(None)
}

/// What the writer does next.
enum Next {
    Beat,
    Say(Message),
    Leave,
}

async fn send<S: AsyncWrite + Unpin>(link: &Link, writer: &mut Writer<S>, queue: &mut mpsc::Receiver<Message>) -> End {
    let mut beat = interval(link.shared.config.heartbeat_every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Opens the peer's window.
    let mut next = Next::Say(Message::Credit(link.shared.config.credit_bytes));
    loop {
        let written = match next {
            Next::Leave => return leave(link, writer, queue).await,
            Next::Beat => push_heartbeat(link, writer),
            Next::Say(message) => push(link, writer, message),
        };
        let batched = written.and_then(|()| {
            while writer.waiting_bytes() < BATCH_BYTES {
                let Ok(message) = queue.try_recv() else { break };
                push(link, writer, message)?;
            }
            Ok(())
        });
        if let Err(error) = batched {
            return error.into();
        }
        if let Err(error) = writer.write().await {
            return error.into();
        }
        next = choose(link, &mut beat, queue).await;
    }
}

/// Cancel safe: every arm is.
async fn choose(link: &Link, beat: &mut Interval, queue: &mut mpsc::Receiver<Message>) -> Next {
    tokio::select! {
        biased;
        _ = beat.tick() => Next::Beat,
        bytes = link.receive_credit.due() => Next::Say(Message::Credit(bytes)),
        () = link.farewell.cancelled() => Next::Leave,
        Some(message) = queue.recv() => Next::Say(message),
    }
}

fn push<S: AsyncWrite + Unpin>(link: &Link, writer: &mut Writer<S>, message: Message) -> Result<(), FrameError> {
    if let Message::Goodbye(why) = message {
        // Said last, once the data that waits has been sent. The first reason stands.
        link.why.set(why).ok();
        link.closing.cancel();
        return Ok(());
    }
    let traffic = writer.push(&message, Lane::Control)?;
    link.shared.book(link.node, Direction::Sent, Lane::Control, &message, traffic);
    Ok(())
}

fn push_heartbeat<S: AsyncWrite + Unpin>(link: &Link, writer: &mut Writer<S>) -> Result<(), FrameError> {
    let pulse = link.shared.pulse();
    match push(link, writer, Message::Heartbeat(pulse)) {
        // A pulse with too much to say is still a pulse.
        Err(FrameError::TooLarge { .. }) => push(link, writer, Message::Heartbeat(Pulse::default())),
        other => other,
    }
}

async fn leave<S: AsyncWrite + Unpin>(link: &Link, writer: &mut Writer<S>, queue: &mut mpsc::Receiver<Message>) -> End {
    queue.close();
    let why = link.why.get().cloned().unwrap_or_else(|| "shutting down".to_owned());
    let pushed = (|| {
        while let Ok(message) = queue.try_recv() {
            push(link, writer, message)?;
        }
        writer.push(&Message::Goodbye(why), Lane::Control)
    })();
    if let Err(error) = pushed {
        return error.into();
    }
    match async { writer.write().await.and(writer.finish().await) }.await {
        Ok(()) => End::Left,
        Err(error) => error.into(),
    }
}
