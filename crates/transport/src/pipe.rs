//! Messages over a stream: reading, writing and the handshake, each with its deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use elastic_flow_wire::frame::{FRAME_BYTES_AIM, HANDSHAKE_BYTES_MAX, HEADER_BYTES};
use elastic_flow_wire::message::Message;
use elastic_flow_wire::{
    Challenge, FrameError, Hello, Lane, MessageDecoder, MessageEncoder, MessageParts, Refusal, Traffic,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::session::{ClientHandshake, HandshakeError, ServerHandshake, Wires};

/// What is read at once on a data connection: a frame of the size aimed at.
pub(crate) const DATA_READ_BYTES: usize = FRAME_BYTES_AIM + 2 * HEADER_BYTES;
/// What is read at once on a control connection.
pub(crate) const CONTROL_READ_BYTES: usize = 8 * 1024;
/// A write buffer that has grown beyond this is given back.
const KEPT_BYTES: usize = 2 * FRAME_BYTES_AIM;

/// Why reading or writing ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No byte moved for as long as it may take.
    #[error("nothing moved in time")]
    Stalled,
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The peer closed in the middle of the handshake.
    #[error("closed during the handshake")]
    Early,
}

/// A stream after its handshake.
#[derive(Debug)]
pub(crate) struct Wired<S> {
    pub(crate) stream: S,
    pub(crate) wires: Wires,
    /// What came behind the handshake.
    pub(crate) received: BytesMut,
    pub(crate) loopback: bool,
}

/// A connection's traffic before and after a message.
pub(crate) type Span = (Traffic, Traffic);

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) lane: Lane,
    pub(crate) message: Message,
    pub(crate) span: Span,
}

/// Reads messages.
#[derive(Debug)]
pub(crate) struct MessageReader<R> {
    io: R,
    received: BytesMut,
    decoder: MessageDecoder,
    read_bytes: usize,
    /// The traffic up to the last message that was given out.
    booked: Traffic,
}

impl<R: AsyncRead + Unpin> MessageReader<R> {
    pub(crate) fn new(io: R, decoder: MessageDecoder, received: BytesMut, read_bytes: usize) -> Self {
        Self { io, received, decoder, read_bytes, booked: Traffic::default() }
    }

    /// The next message that is there already.
    pub(crate) fn ready(&mut self) -> Result<Option<Read>, FrameError> {
        let Some((lane, message)) = self.decoder.next_message(&mut self.received)? else { return Ok(None) };
        let now = self.decoder.traffic();
        let before = std::mem::replace(&mut self.booked, now);
        Ok(Some(Read { lane, message, span: (before, now) }))
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn within_message(&self) -> bool {
        self.decoder.finish(&self.received).is_err()
    }

    /// Reads more; `false` at the end of the stream. Cancel safe.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        // Room is a fixed amount, or as much again as has come: never what a header announces.
        if self.received.capacity() - self.received.len() < self.read_bytes / 4 {
            self.received.reserve(self.read_bytes.max(self.received.len()));
        }
        Ok(self.io.read_buf(&mut self.received).await? > 0)
    }
}

/// Writes messages: encoded once, into one buffer that goes out as it is.
#[derive(Debug)]
pub(crate) struct MessageWriter<W> {
    io: W,
    encoder: MessageEncoder,
    out: BytesMut,
    stall: Duration,
}

impl<W: AsyncWrite + Unpin> MessageWriter<W> {
    /// A write of which no byte moves for `stall` has failed.
    pub(crate) fn new(io: W, encoder: MessageEncoder, stall: Duration) -> Self {
        Self { io, encoder, out: BytesMut::new(), stall }
    }

    /// Encodes a message behind those that wait to be written; gives the traffic before and after.
    pub(crate) fn push(&mut self, message: &Message, lane: Lane) -> Result<Span, FrameError> {
        let before = self.encoder.traffic();
        self.encoder.push(message, lane, &mut self.out)?;
        Ok((before, self.encoder.traffic()))
    }

    /// Writes what waits, and behind it a large message, frame by frame: no more than one of them is in memory beside the
    /// message itself, however slow the peer. Gives the traffic before and after.
    ///
    /// Not cancel safe, as [`Self::write`].
    pub(crate) async fn write_large(&mut self, message: &Message, lane: Lane) -> Result<Span, PipeError> {
        let before = self.encoder.traffic();
        let mut parts = MessageParts::new(message, lane)?;
        while self.encoder.push_frame(&mut parts, &mut self.out)? {
            self.write().await?;
        }
        Ok((before, self.encoder.traffic()))
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.out.len()
    }

    /// Writes all that waits. Not cancel safe: a dropped write may have written a part.
    pub(crate) async fn write(&mut self) -> Result<(), PipeError> {
        write_all(&mut self.io, &mut self.out, self.stall).await?;
        if self.out.capacity() > KEPT_BYTES {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Says to the peer that nothing more comes.
    pub(crate) async fn finish(&mut self) -> Result<(), PipeError> {
        timeout(self.stall, self.io.shutdown()).await.map_err(|_elapsed| PipeError::Stalled)??;
        Ok(())
    }
}

/// Writes and empties `out`. A slow peer is fine, one that takes nothing for `stall` is not.
async fn write_all<W: AsyncWrite + Unpin>(io: &mut W, out: &mut BytesMut, stall: Duration) -> Result<(), PipeError> {
    while out.has_remaining() {
        let written = timeout(stall, io.write(out)).await.map_err(|_elapsed| PipeError::Stalled)??;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        out.advance(written);
    }
    timeout(stall, io.flush()).await.map_err(|_elapsed| PipeError::Stalled)??;
    Ok(())
}

/// What a stranger may make us keep: two handshake frames.
const STRANGER_BYTES: usize = 2 * (HEADER_BYTES + HANDSHAKE_BYTES_MAX);

/// Reads from a stranger: a header's worth first, so that what is no handshake is turned away after a few bytes.
async fn read_stranger<S: AsyncRead + Unpin>(stream: &mut S, received: &mut BytesMut) -> Result<(), PipeError> {
    let room = match HEADER_BYTES.checked_sub(received.len()) {
        Some(missing) if missing > 0 => missing,
        _ => STRANGER_BYTES.saturating_sub(received.len()).max(1),
    };
    let mut limited = stream.take(room as u64);
    if limited.read_buf(received).await? == 0 {
        return Err(PipeError::Early);
    }
    Ok(())
}

/// Runs the client's side of a handshake. The caller bounds the time.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    hello: Hello,
    keys: Arc<elastic_flow_wire::KeySet>,
    loopback: bool,
    stall: Duration,
) -> Result<(Challenge, Wired<S>), PipeError> {
    let (mut received, mut out) = (BytesMut::with_capacity(STRANGER_BYTES), BytesMut::new());
    let mut session = ClientHandshake::start(hello, keys, !loopback, &mut out)?;
    loop {
        // A listener that refuses at once may have closed before it has read all: its answer is still to be read.
        let written = write_all(&mut stream, &mut out, stall).await;
        read_stranger(&mut stream, &mut received).await.map_err(|error| written.err().unwrap_or(error))?;
        if let Some(challenge) = session.receive(&mut received, &mut out)? {
            return Ok((challenge, Wired { stream, wires: session.into_wires(), received, loopback }));
        }
    }
}

/// Runs the listener's side of a handshake. The caller bounds the time.
pub(crate) async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut session: ServerHandshake,
    object: impl Fn(&Hello) -> Option<Refusal>,
    loopback: bool,
    stall: Duration,
) -> Result<(Hello, Wired<S>), PipeError> {
    let (mut received, mut out) = (BytesMut::with_capacity(STRANGER_BYTES), BytesMut::new());
    loop {
        read_stranger(&mut stream, &mut received).await?;
        let result = session.receive(&mut received, &mut out, &object);
        let written = write_all(&mut stream, &mut out, stall).await;
        match result {
            Ok(Some(hello)) => {
                written?;
                return Ok((hello, Wired { stream, wires: session.into_wires(), received, loopback }));
            }
            Ok(None) => written?,
            Err(error) => {
                // Lets the refusal arrive: closing with unread bytes would overtake it.
                if matches!(error, HandshakeError::Refuse(_)) && written.is_ok() {
                    part(stream).await;
                }
                return Err(error.into());
            }
        }
    }
}

/// Closes in good order: nothing more to say, and what the peer still says is read away, up to a limit.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut away = [0; 256];
    let mut left = STRANGER_BYTES;
    while let Ok(read @ 1..) = stream.read(&mut away).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}
