//! The wire codec of Elastic Flow: bytes in, messages out. No sockets, no clock, no randomness.
//!
//! Modules in reading order:
//! - [`message`]: everything that peers say to each other, as data;
//! - [`codec`]: values to bytes and back, behind the [`Codec`] trait; [`batch`]: many items of one type, one at a time;
//! - [`compress`]: zstd with limits, stored where it does not pay;
//! - [`frame`]: the fixed header, checksums, sequence and MAC;
//! - [`stream`]: messages cut into frames and put together again;
//! - [`secret`]: the cluster's secret, the keys derived from it, proofs; [`hello`]: what the handshake says.
//!
//! Two rules hold throughout: no length that a peer names sizes an allocation before it was checked against a limit, and no
//! byte sequence panics.

pub mod batch;
mod body;
pub mod codec;
pub mod compress;
pub mod frame;
mod header;
pub mod hello;
pub mod message;
pub mod secret;
pub mod stream;
#[cfg(test)]
mod tests;

pub use batch::{BatchReader, SeqEncoder, decode_each, decode_each_borrowed};
pub use codec::{Bincode, Codec, CodecError, Sink, Tier, decode, encode, encode_to_vec, encoded_bytes};
pub use compress::{CompressError, Compression, Compressor, Decompressor};
pub use frame::{Frame, FrameDecoder, FrameEncoder, FrameError, FrameKind};
pub use hello::{Challenge, Channel, Handshake, Hello, HelloError, PROTOCOL_VERSIONS, Refusal, RefusalReason, Role};
pub use secret::{FrameKey, KeyMismatch, KeyRole, Keys, Proof, RoleKey, Secret, SecretError, Side, Transcript};
pub use stream::{Lane, MessageDecoder, MessageEncoder, Traffic};
