//! Messages cut into frames, and put together again.
//!
//! A message is encoded in one pass, straight into the frames that carry it. It is measured first, which costs nothing for the
//! byte strings that large messages consist of, so that each frame can say how much is still to come. A very large one can also
//! be taken apart first, and its frames made one at a time, so that it is not in memory twice. The receiver believes
//! that figure only as far as bytes have arrived, and slices large bodies out of the received buffer instead of copying them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::body;
use crate::codec::{Bincode, CONTROL_BYTES_MAX, Codec, MESSAGE_BYTES_MAX, Sink, Tier, encoded_bytes};
use crate::compress::{CompressError, Compressor, Decompressor};
use crate::frame::{
    FRAME_BYTES_AIM, FRAME_RAW_BYTES_MAX, Frame, FrameDecoder, FrameEncoder, FrameError, FrameKind, HEADER_BYTES,
    Sealed, length,
};
use crate::message::Message;
use crate::secret::FrameKey;

/// What a message is to the connection that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Small and urgent, at most [`CONTROL_BYTES_MAX`].
    Control,
    /// Bulk, at most [`MESSAGE_BYTES_MAX`].
    Data,
}

impl Lane {
    /// The largest message of this lane, encoded, in bytes.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Control => CONTROL_BYTES_MAX,
            Self::Data => MESSAGE_BYTES_MAX,
        }
    }

    const fn kind(self) -> FrameKind {
        match self {
            Self::Control => FrameKind::Control,
            Self::Data => FrameKind::Data,
        }
    }

    const fn tier(self) -> Tier {
        match self {
            Self::Control => Tier::Control,
            Self::Data => Tier::Message,
        }
    }
}

/// What went through, since the connection began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Frames.
    pub frames: u64,
    /// Bytes of bodies before compression.
    pub raw_bytes: u64,
    /// Bytes on the wire, headers and tags included.
    pub wire_bytes: u64,
}

/// Writes the messages of one direction of a connection.
#[derive(Debug)]
pub struct MessageEncoder {
    frames: FrameEncoder,
    compressor: Option<Compressor>,
    traffic: Traffic,
}

impl MessageEncoder {
    /// Goes on where the handshake's encoder ended. `level` is what [`crate::Compression::resolve`] gave, `key` that of this
    /// direction.
    ///
    /// # Errors
    /// zstd has no memory for its context.
    pub fn new(mut frames: FrameEncoder, level: Option<i32>, key: Option<FrameKey>) -> Result<Self, FrameError> {
        if let Some(key) = key {
            frames.set_key(key);
        }
        let compressor = level.map(Compressor::new).transpose()?;
        Ok(Self { frames, compressor, traffic: Traffic::default() })
    }

    /// What went out so far.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Appends the frames of `message` to `out`.
    ///
    /// # Errors
    /// The message is larger than its lane allows, or zstd fails. `out` and the sequence are as before then.
    pub fn push(&mut self, message: &Message, lane: Lane, out: &mut BytesMut) -> Result<(), FrameError> {
        let total_bytes = encoded_bytes(message)?;
        if total_bytes > lane.bytes_max() {
            let (bytes, bytes_max) = (total_bytes as u64, lane.bytes_max() as u64);
            return Err(FrameError::TooLarge { what: "message", bytes, bytes_max });
        }
        let (start, sequence) = (out.len(), self.frames.sequence);
        if let Err(error) = self.cut(message, lane, total_bytes, out) {
            out.truncate(start);
            self.frames.sequence = sequence;
            return Err(error);
        }
        self.traffic.messages += 1;
        self.traffic.frames += self.frames.sequence - sequence;
        self.traffic.raw_bytes += total_bytes as u64;
        self.traffic.wire_bytes += (out.len() - start) as u64;
        Ok(())
    }

    /// Appends the next frame of `message` to `out`; false, and no frame, if there is none left.
    ///
    /// # Errors
    /// zstd fails. The connection is of no use then: a part of the message may be on its way.
    pub fn push_frame(&mut self, message: &mut MessageParts, out: &mut BytesMut) -> Result<bool, FrameError> {
        if message.rest_bytes == 0 {
            return Ok(false);
        }
        let (before_bytes, start) = (out.len(), FrameEncoder::begin(out));
        let raw_bytes = message.take(FRAME_BYTES_AIM, out)?;
        let rest_bytes = message.rest_bytes;
        seal(&mut self.frames, self.compressor.as_mut(), out, start, message.kind, rest_bytes)?;
        message.kind = FrameKind::Continuation;
        self.traffic.frames += 1;
        self.traffic.raw_bytes += raw_bytes as u64;
        self.traffic.wire_bytes += (out.len() - before_bytes) as u64;
        self.traffic.messages += u64::from(rest_bytes == 0);
        Ok(true)
    }

    fn cut(&mut self, message: &Message, lane: Lane, total_bytes: usize, out: &mut BytesMut) -> Result<(), FrameError> {
        if self.compressor.is_none() {
            let frames = total_bytes.div_ceil(FRAME_BYTES_AIM);
            out.reserve(total_bytes + frames * self.frames.overhead_bytes());
        }
        let start = FrameEncoder::begin(out);
        let mut cutter = Cutter {
            frames: &mut self.frames,
            compressor: self.compressor.as_mut(),
            out,
            start,
            kind: lane.kind(),
            rest_bytes: total_bytes,
            result: Ok(()),
        };
        Bincode::encode(message, &mut cutter)?;
        cutter.finish()
    }
}

/// A message on its way into frames, one at a time: encoded, but with its large bodies as they are, so that they are not copied
/// before their turn.
#[derive(Debug)]
pub struct MessageParts {
    pub(crate) parts: VecDeque<Bytes>,
    /// What is not in a frame yet.
    rest_bytes: usize,
    /// The kind of the next frame.
    kind: FrameKind,
}

impl MessageParts {
    /// Takes `message` apart, for a connection of this lane.
    ///
    /// # Errors
    /// The message is larger than its lane allows, or has no encoding.
    pub fn new(message: &Message, lane: Lane) -> Result<Self, FrameError> {
        let mut collector = Collector::default();
        body::setting_apart(|| Bincode::encode(message, &mut collector))?;
        collector.close();
        let rest_bytes = collector.parts.iter().map(Bytes::len).sum();
        if rest_bytes > lane.bytes_max() {
            let (bytes, bytes_max) = (rest_bytes as u64, lane.bytes_max() as u64);
            return Err(FrameError::TooLarge { what: "message", bytes, bytes_max });
        }
        Ok(Self { parts: collector.parts, rest_bytes, kind: lane.kind() })
    }

    /// Moves up to `most_bytes` of what is left to `out`; says how many.
    fn take(&mut self, most_bytes: usize, out: &mut BytesMut) -> Result<usize, FrameError> {
        let take_bytes = self.rest_bytes.min(most_bytes);
        let mut missing_bytes = take_bytes;
        while missing_bytes > 0 {
            let part = self.parts.front_mut().ok_or(FrameError::Cut)?;
            let taken = part.split_to(part.len().min(missing_bytes));
            out.extend_from_slice(&taken);
            missing_bytes -= taken.len();
            if part.is_empty() {
                self.parts.pop_front();
            }
        }
        self.rest_bytes -= take_bytes;
        Ok(take_bytes)
    }
}

/// Collects an encoded message in parts.
#[derive(Debug, Default)]
struct Collector {
    parts: VecDeque<Bytes>,
    /// What was written since the last large body.
    small: BytesMut,
}

impl Collector {
    fn close(&mut self) {
        if !self.small.is_empty() {
            self.parts.push_back(self.small.split().freeze());
        }
    }
}

impl Sink for Collector {
    fn put(&mut self, bytes: &[u8]) {
        match body::apart(bytes) {
            Some(body) => {
                self.close();
                self.parts.push_back(body);
            }
            None => self.small.extend_from_slice(bytes),
        }
    }
}

/// Cuts what is written to it into frames.
struct Cutter<'a> {
    frames: &'a mut FrameEncoder,
    compressor: Option<&'a mut Compressor>,
    out: &'a mut BytesMut,
    /// Where the frame in hand begins in `out`.
    start: usize,
    kind: FrameKind,
    /// What the message has beyond the frames that are sealed.
    rest_bytes: usize,
    result: Result<(), FrameError>,
}

impl Sink for Cutter<'_> {
    #[inline]
    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.result.is_ok() {
            let room_bytes = FRAME_BYTES_AIM - self.body_bytes();
            if room_bytes == 0 {
                // More comes than was measured.
                self.result = Err(FrameError::Cut);
                return;
            }
            let (now, later) = bytes.split_at_checked(room_bytes).unwrap_or((bytes, &[]));
            self.out.extend_from_slice(now);
            bytes = later;
            if self.body_bytes() == FRAME_BYTES_AIM && self.rest_bytes > FRAME_BYTES_AIM {
                self.result = self.seal();
                self.start = FrameEncoder::begin(self.out);
            }
        }
    }
}

impl Cutter<'_> {
    fn body_bytes(&self) -> usize {
        self.out.len() - self.start - HEADER_BYTES
    }

    fn finish(mut self) -> Result<(), FrameError> {
        std::mem::replace(&mut self.result, Ok(()))?;
        self.seal()?;
        if self.rest_bytes == 0 { Ok(()) } else { Err(FrameError::Cut) }
    }

    fn seal(&mut self) -> Result<(), FrameError> {
        let raw_bytes = self.body_bytes();
        self.rest_bytes = self.rest_bytes.checked_sub(raw_bytes).ok_or(FrameError::Cut)?;
        let kind = std::mem::replace(&mut self.kind, FrameKind::Continuation);
        seal(self.frames, self.compressor.as_deref_mut(), self.out, self.start, kind, self.rest_bytes)
    }
}

/// Completes the frame that begins at `start`, compressed where that pays; `rest_bytes` of its message come after it.
fn seal(
    frames: &mut FrameEncoder,
    compressor: Option<&mut Compressor>,
    out: &mut BytesMut,
    start: usize,
    kind: FrameKind,
    rest_bytes: usize,
) -> Result<(), FrameError> {
    let raw_bytes = length(out.len() - start - HEADER_BYTES)?;
    let compressed = match compressor {
        Some(compressor) => squeeze(compressor, out, start + HEADER_BYTES)?,
        None => false,
    };
    let sealed = Sealed { kind, codec: Bincode::ID, compressed, raw_bytes, rest_bytes: length(rest_bytes)? };
    frames.seal(out, start, sealed)
}

/// Replaces what `out` holds from `start` on by its compressed form, where that pays.
fn squeeze(compressor: &mut Compressor, out: &mut BytesMut, start: usize) -> Result<bool, CompressError> {
    let Some(compressed) = compressor.compress(out.get(start..).unwrap_or_default())? else {
        return Ok(false);
    };
    out.truncate(start);
    out.extend_from_slice(compressed);
    Ok(true)
}

/// A message of which a part has come.
#[derive(Debug)]
struct Partial {
    lane: Lane,
    bytes: Vec<u8>,
}

/// Reads the messages of one direction of a connection from its bytes, however they were split on their way.
#[derive(Debug)]
pub struct MessageDecoder {
    frames: FrameDecoder,
    decompressor: Option<Decompressor>,
    partial: Option<Partial>,
    failed: bool,
    traffic: Traffic,
}

impl MessageDecoder {
    /// Goes on where the handshake's decoder ended. With a `key`, that of this direction, every frame must carry its tag.
    #[must_use]
    pub fn new(mut frames: FrameDecoder, key: Option<FrameKey>) -> Self {
        frames.start_messages(key);
        Self { frames, decompressor: None, partial: None, failed: false, traffic: Traffic::default() }
    }

    /// What came in so far.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Memory held for a message of which a part has come, in bytes: at most about twice that part.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.capacity())
    }

    /// Takes the next message off the front of `received`; none while it is not all there, so that more must be read.
    ///
    /// # Errors
    /// The bytes are no message that may come now. Every later call fails too.
    pub fn next_message(&mut self, received: &mut BytesMut) -> Result<Option<(Lane, Message)>, FrameError> {
        if self.failed {
            return Err(FrameError::Failed);
        }
        let result = self.try_next(received);
        self.failed = result.is_err();
        result
    }

    /// Says at the end of a stream whether it ended between messages.
    ///
    /// # Errors
    /// As [`FrameDecoder::finish`].
    pub fn finish(&self, received: &BytesMut) -> Result<(), FrameError> {
        if self.failed { Err(FrameError::Failed) } else { self.frames.finish(received) }
    }

    fn try_next(&mut self, received: &mut BytesMut) -> Result<Option<(Lane, Message)>, FrameError> {
        while let Some(frame) = self.frames.next_frame(received)? {
            self.traffic.frames += 1;
            self.traffic.raw_bytes += u64::from(frame.header.raw_bytes);
            self.traffic.wire_bytes += frame.wire_bytes as u64;
            let Some((lane, bytes)) = self.join(frame)? else { continue };
            let message = body::sharing(&bytes, || Bincode::decode(&bytes, lane.tier()))?;
            self.traffic.messages += 1;
            return Ok(Some((lane, message)));
        }
        Ok(None)
    }

    /// Adds a frame to the message in hand, and gives the message's bytes with its last.
    fn join(&mut self, frame: Frame) -> Result<Option<(Lane, Bytes)>, FrameError> {
        let lane = if frame.kind() == FrameKind::Control { Lane::Control } else { Lane::Data };
        let rest_bytes = frame.header.rest_bytes as usize;
        if self.partial.is_none() && rest_bytes == 0 && !frame.header.compressed {
            return Ok(Some((lane, frame.body)));
        }
        let mut partial = self.partial.take().unwrap_or_else(|| Partial { lane, bytes: Vec::new() });
        self.append(&frame, &mut partial.bytes)?;
        if rest_bytes == 0 {
            return Ok(Some((partial.lane, partial.bytes.into())));
        }
        // Room for as much again as has come, never for what was merely announced.
        let ahead_bytes = rest_bytes.min(partial.bytes.len());
        if partial.bytes.capacity() - partial.bytes.len() < ahead_bytes.min(FRAME_BYTES_AIM) {
            partial.bytes.reserve_exact(ahead_bytes);
        }
        self.partial = Some(partial);
        Ok(None)
    }

    fn append(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if !frame.header.compressed {
            out.extend_from_slice(&frame.body);
            return Ok(());
        }
        let mut decompressor = match self.decompressor.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new()?,
        };
        let raw_bytes = frame.header.raw_bytes as usize;
        let result = decompressor.decompress(&frame.body, raw_bytes, FRAME_RAW_BYTES_MAX, out);
        self.decompressor = Some(decompressor);
        Ok(result?)
    }
}
