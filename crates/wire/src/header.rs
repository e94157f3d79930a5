//! The frame header as bytes. [`crate::frame`] documents it.

use bytes::BufMut;

use crate::codec::{CONTROL_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::frame::{
    FRAME_RAW_BYTES_MAX, FRAME_WIRE_BYTES_MAX, FrameError, FrameKind, HANDSHAKE_BYTES_MAX, HEADER_BYTES, MAGIC,
    WIRE_VERSION,
};

/// The body is compressed.
const FLAG_COMPRESSED: u8 = 1;
/// A tag follows the body.
const FLAG_TAGGED: u8 = 2;

/// Bytes of the header that the checksum covers: all before itself.
pub(crate) const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FrameKind,
    pub(crate) compressed: bool,
    pub(crate) tagged: bool,
    pub(crate) codec: u8,
    pub(crate) raw_bytes: u32,
    pub(crate) wire_bytes: u32,
    pub(crate) rest_bytes: u32,
    pub(crate) sequence: u64,
    pub(crate) checksum: u32,
}

/// Fails unless the bytes so far are the start of our magic.
pub(crate) fn check_magic(received: &[u8]) -> Result<(), FrameError> {
    if received.iter().zip(&MAGIC).all(|(found, wanted)| found == wanted) { Ok(()) } else { Err(FrameError::Magic) }
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out: &mut [u8] = &mut bytes;
        out.put_slice(&MAGIC);
        out.put_u8(WIRE_VERSION);
        out.put_u8(self.kind as u8);
        out.put_u8(if self.compressed { FLAG_COMPRESSED } else { 0 } | if self.tagged { FLAG_TAGGED } else { 0 });
        out.put_u8(self.codec);
        out.put_u32_le(self.raw_bytes);
        out.put_u32_le(self.wire_bytes);
        out.put_u32_le(self.rest_bytes);
        out.put_u64_le(self.sequence);
        out.put_u32_le(self.checksum);
        bytes
    }

    /// Reads a header and checks what it says by itself: known values, lengths within their bounds and fitting each other.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [m0, m1, m2, m3, version, kind, flags, codec, r0, r1, r2, r3, w0, w1, w2, w3, rest @ ..] = *bytes;
        let [t0, t1, t2, t3, s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3] = rest;
        check_magic(&[m0, m1, m2, m3])?;
        if version != WIRE_VERSION {
            return Err(FrameError::Version { found: version });
        }
        if flags & !(FLAG_COMPRESSED | FLAG_TAGGED) != 0 {
            return Err(FrameError::Flags { found: flags });
        }
        let header = Self {
            kind: FrameKind::from_byte(kind).ok_or(FrameError::Kind { found: kind })?,
            compressed: flags & FLAG_COMPRESSED != 0,
            tagged: flags & FLAG_TAGGED != 0,
            codec,
            raw_bytes: u32::from_le_bytes([r0, r1, r2, r3]),
            wire_bytes: u32::from_le_bytes([w0, w1, w2, w3]),
            rest_bytes: u32::from_le_bytes([t0, t1, t2, t3]),
            sequence: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        };
        header.check_lengths()?;
        Ok(header)
    }

    fn check_lengths(self) -> Result<(), FrameError> {
        let Self { kind, raw_bytes, wire_bytes, rest_bytes, .. } = self;
        let (wire_bytes_max, raw_bytes_max, message_bytes_max) = if kind.is_handshake() {
            (HANDSHAKE_BYTES_MAX, HANDSHAKE_BYTES_MAX, HANDSHAKE_BYTES_MAX)
        } else if kind == FrameKind::Control {
            (FRAME_WIRE_BYTES_MAX, FRAME_RAW_BYTES_MAX, CONTROL_BYTES_MAX)
        } else {
            (FRAME_WIRE_BYTES_MAX, FRAME_RAW_BYTES_MAX, MESSAGE_BYTES_MAX)
        };
        for (what, bytes, bytes_max) in [
            ("body", u64::from(wire_bytes), wire_bytes_max),
            ("decompressed body", u64::from(raw_bytes), raw_bytes_max),
            ("message", u64::from(raw_bytes) + u64::from(rest_bytes), message_bytes_max),
        ] {
            if bytes > bytes_max as u64 {
                return Err(FrameError::TooLarge { what, bytes, bytes_max: bytes_max as u64 });
            }
        }
        let fits = if self.compressed { wire_bytes < raw_bytes } else { wire_bytes == raw_bytes };
        let plain_handshake = !kind.is_handshake() || !(self.compressed || self.tagged || rest_bytes > 0);
        if raw_bytes == 0 || wire_bytes == 0 || !fits || !plain_handshake {
            return Err(FrameError::Lengths { raw_bytes, wire_bytes, rest_bytes });
        }
        Ok(())
    }
}
