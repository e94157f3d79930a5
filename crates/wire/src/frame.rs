//! Frames: what a connection carries, before and after the handshake.
//!
//! ```text
//!  0               4       5       6       7       8              12              16
//! +---------------+-------+-------+-------+-------+---------------+---------------+
//! | magic "EFL1"  |version| kind  | flags | codec | raw bytes     | wire bytes    |
//! +---------------+-------+-------+-------+-------+---------------+---------------+
//! | rest bytes    | sequence                      | checksum      |  body ...     |
//! +---------------+-------------------------------+---------------+---------------+
//! 16              20                              28              32
//! then, if the flag says so, 16 bytes of tag
//! ```
//!
//! Integers are little-endian. Flags: 1 the body is compressed with zstd, 2 a tag follows. *Raw bytes* is the size of the body
//! before compression, *wire bytes* its size as it follows, *rest bytes* what the message still has to come in continuation
//! frames, before compression. The *sequence* counts the frames of one direction from 0, handshake included; any other number
//! than the next ends the connection. The *checksum* is the CRC-32 of the 28 bytes before it and of the body; the *tag* is
//! HMAC-SHA256, cut to 16 bytes, over header and body, under the key of that direction.
//!
//! A header is checked as soon as it is there, and nothing is set aside for a body before it has come. After an error a decoder
//! gives nothing more: a stream that was wrong once cannot be trusted to have found its place again.

use bytes::{Bytes, BytesMut};

use crate::codec::{Bincode, Codec, CodecError};
use crate::compress::CompressError;
use crate::header::{CHECKED_BYTES, Header, check_magic};
use crate::secret::{FrameKey, TAG_BYTES};

/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"EFL1";
/// The version of the frame layout.
pub const WIRE_VERSION: u8 = 1;
/// The size of a header.
pub const HEADER_BYTES: usize = 32;
/// The largest body of a handshake frame: what a stranger may make us keep.
pub const HANDSHAKE_BYTES_MAX: usize = 512;
/// The size of body aimed at, before compression: small enough that others get their turn on a link.
pub const FRAME_BYTES_AIM: usize = 256 * 1024;
/// The largest body on the wire: 16 MiB.
pub const FRAME_WIRE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest body after decompression: 64 MiB.
pub const FRAME_RAW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The codec of every message, today.
const CODEC_ID: u8 = Bincode::ID;

const _: () = assert!(HEADER_BYTES == 4 + 4 + 4 + 4 + 4 + 8 + 4);
const _: () = assert!(HANDSHAKE_BYTES_MAX <= FRAME_BYTES_AIM && FRAME_BYTES_AIM <= FRAME_WIRE_BYTES_MAX);
const _: () = assert!(FRAME_WIRE_BYTES_MAX <= FRAME_RAW_BYTES_MAX);
const _: () = assert!(FRAME_RAW_BYTES_MAX <= crate::codec::MESSAGE_BYTES_MAX);
const _: () = assert!(crate::codec::MESSAGE_BYTES_MAX <= u32::MAX as usize);

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Client to server, the first: who it is.
    Hello = 1,
    /// Server to client: who it is, and its nonce.
    Challenge = 2,
    /// Client to server: that it holds the key.
    Proof = 3,
    /// Server to client: that it holds the key too, and that the connection stands.
    Welcome = 4,
    /// Server to client: that there will be no connection, and why.
    Refuse = 5,
    /// The start of a control message.
    Control = 6,
    /// The start of a data message.
    Data = 7,
    /// The next part of the message begun before.
    Continuation = 8,
}

impl FrameKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Hello,
        Self::Challenge,
        Self::Proof,
        Self::Welcome,
        Self::Refuse,
        Self::Control,
        Self::Data,
        Self::Continuation,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Whether it belongs to the handshake.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        matches!(self, Self::Hello | Self::Challenge | Self::Proof | Self::Welcome | Self::Refuse)
    }
}

/// Why bytes from a peer are no frame or message, or a message cannot be sent. Any of them ends the connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer speaks something else.
    #[error("peer does not speak this protocol: its first bytes are not {:?}", "EFL1")]
    Magic,
    /// The peer speaks another version.
    #[error("frame has layout version {found}, this build reads {WIRE_VERSION}: run the same version on every node")]
    Version {
        /// What it said.
        found: u8,
    },
    /// No such kind.
    #[error("frame kind {found} is unknown")]
    Kind {
        /// What it said.
        found: u8,
    },
    /// A known kind at the wrong time.
    #[error("{found:?} frame came where it may not")]
    Unexpected {
        /// What came.
        found: FrameKind,
    },
    /// Unknown flags.
    #[error("frame flags {found:#04x} are unknown")]
    Flags {
        /// What it said.
        found: u8,
    },
    /// No such codec.
    #[error("payload codec {found} is unknown")]
    Codec {
        /// What it said.
        found: u8,
    },
    /// A length over its limit; nothing was allocated for it.
    #[error("{what} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Lengths that contradict each other or the frame's kind.
    #[error("frame lengths contradict each other: raw {raw_bytes}, wire {wire_bytes}, rest {rest_bytes}")]
    Lengths {
        /// Before compression.
        raw_bytes: u32,
        /// On the wire.
        wire_bytes: u32,
        /// Still to come.
        rest_bytes: u32,
    },
    /// A frame is missing, doubled or out of order.
    #[error("frame {found} came where {expected} is next")]
    Sequence {
        /// The next one.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The bytes were damaged on their way.
    #[error("frame checksum does not match: the bytes were damaged on their way")]
    Checksum,
    /// A frame is not authentic, or lacks a tag where one is due, or has one where none is.
    #[error("frame is not authentic")]
    Tag,
    /// The stream ended inside a frame or message.
    #[error("stream ended inside a frame or message")]
    Cut,
    /// An earlier error has ended this stream.
    #[error("stream has failed before")]
    Failed,
    /// The body does not decompress, or a body could not be compressed.
    #[error("frame body failed in compression")]
    Compress(#[from] CompressError),
    /// The message does not decode, or has no encoding.
    #[error("message failed in the codec")]
    Encoding(#[from] CodecError),
}

/// Writes the frames of one direction of a connection.
#[derive(Debug, Default)]
pub struct FrameEncoder {
    pub(crate) sequence: u64,
    key: Option<FrameKey>,
}

impl FrameEncoder {
    /// Starts at frame 0, without a key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every frame carries a tag.
    pub fn set_key(&mut self, key: FrameKey) {
        self.key = Some(key);
    }

    /// Bytes that a frame takes beside its body.
    pub(crate) const fn overhead_bytes(&self) -> usize {
        HEADER_BYTES + if self.key.is_some() { TAG_BYTES } else { 0 }
    }

    /// Appends a handshake frame to `out`.
    ///
    /// # Errors
    /// The kind is none of the handshake, a key is set already, or the body is empty or over [`HANDSHAKE_BYTES_MAX`].
    pub fn put_handshake(&mut self, kind: FrameKind, body: &[u8], out: &mut BytesMut) -> Result<(), FrameError> {
        if !kind.is_handshake() || self.key.is_some() {
            return Err(FrameError::Unexpected { found: kind });
        }
        if body.is_empty() || body.len() > HANDSHAKE_BYTES_MAX {
            let (bytes, bytes_max) = (body.len() as u64, HANDSHAKE_BYTES_MAX as u64);
            return Err(FrameError::TooLarge { what: "handshake body", bytes, bytes_max });
        }
        let start = Self::begin(out);
        out.extend_from_slice(body);
        let raw_bytes = length(body.len())?;
        self.seal(out, start, Sealed { kind, codec: CODEC_ID, compressed: false, raw_bytes, rest_bytes: 0 })
    }

    /// Makes room for a header at the end of `out`; the body goes behind it, then [`Self::seal`] is called.
    pub(crate) fn begin(out: &mut BytesMut) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        start
    }

    /// Fills in the header of the frame that begins at `start` and ends with `out`, and appends its tag.
    pub(crate) fn seal(&mut self, out: &mut BytesMut, start: usize, sealed: Sealed) -> Result<(), FrameError> {
        let Some((head, body)) = out.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<HEADER_BYTES>())
        else {
            return Err(FrameError::Cut);
        };
        let mut header = Header {
            kind: sealed.kind,
            compressed: sealed.compressed,
            tagged: self.key.is_some(),
            codec: sealed.codec,
            raw_bytes: sealed.raw_bytes,
            wire_bytes: length(body.len())?,
            rest_bytes: sealed.rest_bytes,
            sequence: self.sequence,
            checksum: 0,
        };
        *head = header.to_bytes();
        header.checksum = checksum(head, body);
        *head = header.to_bytes();
        if let Some(key) = &self.key {
            let tag = key.tag(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&tag);
        }
        self.sequence += 1;
        Ok(())
    }
}

/// What [`FrameEncoder::seal`] is told of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed {
    pub(crate) kind: FrameKind,
    pub(crate) codec: u8,
    pub(crate) compressed: bool,
    pub(crate) raw_bytes: u32,
    pub(crate) rest_bytes: u32,
}

/// A length as the header has it.
pub(crate) fn length(bytes: usize) -> Result<u32, FrameError> {
    let too_large =
        |_| FrameError::TooLarge { what: "body", bytes: bytes as u64, bytes_max: FRAME_RAW_BYTES_MAX as u64 };
    u32::try_from(bytes).map_err(too_large)
}

fn checksum(header: &[u8; HEADER_BYTES], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header.first_chunk::<CHECKED_BYTES>().map_or(&[], |checked| checked.as_slice()));
    crc.update(body);
    crc.finalize()
}

/// A frame whose checksum and tag are right.
#[derive(Debug, Clone)]
pub struct Frame {
    pub(crate) header: Header,
    pub(crate) body: Bytes,
    pub(crate) wire_bytes: usize,
}

impl Frame {
    /// What it carries.
    #[must_use]
    pub const fn kind(&self) -> FrameKind {
        self.header.kind
    }

    /// Its body as it was on the wire.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Reads the frames of one direction of a connection from its bytes, however they were split on their way.
///
/// It starts with the handshake, in which it takes handshake frames only; [`crate::MessageDecoder`] takes over from there.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    sequence: u64,
    key: Option<FrameKey>,
    messages: bool,
    rest_bytes: u32,
    failed: bool,
}

impl FrameDecoder {
    /// Starts at frame 0, in the handshake.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on messages are taken, and handshake frames refused. With a key every frame must carry its tag.
    pub(crate) fn start_messages(&mut self, key: Option<FrameKey>) {
        self.messages = true;
        self.key = key;
    }

    /// Takes the next frame off the front of `received`; none while it is not all there.
    ///
    /// # Errors
    /// The bytes are no frame that may come now. Every later call fails too.
    pub fn next_frame(&mut self, received: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if self.failed {
            return Err(FrameError::Failed);
        }
        let result = self.try_next(received);
        self.failed = result.is_err();
        result
    }

    /// Says at the end of a stream whether it ended between frames.
    ///
    /// # Errors
    /// [`FrameError::Cut`] if something is left over or still to come, [`FrameError::Failed`] after an earlier error.
    pub fn finish(&self, received: &BytesMut) -> Result<(), FrameError> {
        if self.failed {
            Err(FrameError::Failed)
        } else if received.is_empty() && self.rest_bytes == 0 {
            Ok(())
        } else {
            Err(FrameError::Cut)
        }
    }

    fn try_next(&mut self, received: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some((head, rest)) = received.split_first_chunk::<HEADER_BYTES>() else {
            check_magic(received)?;
            return Ok(None);
        };
        let header = Header::parse(head)?;
        self.check_turn(&header)?;
        let body_bytes = header.wire_bytes as usize;
        let tag_bytes = if header.tagged { TAG_BYTES } else { 0 };
        let (Some(body), Some(tag)) = (rest.get(..body_bytes), rest.get(body_bytes..body_bytes + tag_bytes)) else {
            return Ok(None);
        };
        if checksum(head, body) != header.checksum {
            return Err(FrameError::Checksum);
        }
        if let Some(key) = &self.key {
            let frame = received.get(..HEADER_BYTES + body_bytes).unwrap_or_default();
            let tag = tag.first_chunk().ok_or(FrameError::Tag)?;
            key.verify(frame, tag).map_err(|_| FrameError::Tag)?;
        }
        let wire_bytes = HEADER_BYTES + body_bytes + tag_bytes;
        let mut frame = received.split_to(wire_bytes).freeze();
        let body = frame.split_off(HEADER_BYTES).split_to(body_bytes);
        self.sequence += 1;
        self.rest_bytes = header.rest_bytes;
        Ok(Some(Frame { header, body, wire_bytes }))
    }

    /// Whether this is what may come now: phase, tag, sequence, and the message's announced size going down step by step.
    fn check_turn(&self, header: &Header) -> Result<(), FrameError> {
        let due = match header.kind {
            FrameKind::Control | FrameKind::Data => self.messages && self.rest_bytes == 0,
            FrameKind::Continuation => self.messages && self.rest_bytes != 0,
            FrameKind::Hello | FrameKind::Challenge | FrameKind::Proof | FrameKind::Welcome | FrameKind::Refuse => {
                !self.messages
            }
        };
        if !due {
            return Err(FrameError::Unexpected { found: header.kind });
        }
        if header.codec != CODEC_ID {
            return Err(FrameError::Codec { found: header.codec });
        }
        if header.tagged != self.key.is_some() {
            return Err(FrameError::Tag);
        }
        if header.sequence != self.sequence {
            return Err(FrameError::Sequence { expected: self.sequence, found: header.sequence });
        }
        let Header { raw_bytes, wire_bytes, rest_bytes, .. } = *header;
        if self.rest_bytes != 0 && u64::from(raw_bytes) + u64::from(rest_bytes) != u64::from(self.rest_bytes) {
            return Err(FrameError::Lengths { raw_bytes, wire_bytes, rest_bytes });
        }
        Ok(())
    }
}
