//! The wire codec of Elastic Flow: bytes in, messages out. No sockets, no clock, no randomness.
//!
//! Modules in reading order:
//! - [`message`]: everything that peers say to each other, as data;
//! - [`codec`]: values to bytes and back, behind the [`Codec`] trait; [`batch`]: many items of one type, one at a time;
//! - [`compress`]: zstd with limits, stored where it does not pay;
//! - [`frame`]: the fixed header, checksums, sequence and MAC;
//! - [`stream`]: messages cut into frames and put together again;
//! - [`secret`]: the cluster's secret, the keys derived from it, proofs; `key_set`: two of them during a rotation; [`hello`]: what
//!   the handshake says;
//! - `causes`: errors in words.
//!
//! Two rules hold throughout: no length that a peer names sizes an allocation before it was checked against a limit, and no
//! byte sequence panics.
//!
//! ```
//! use bytes::BytesMut;
//! use elastic_flow_wire::message::Message;
//! use elastic_flow_wire::{Compression, FrameDecoder, FrameEncoder, Lane, MessageDecoder, MessageEncoder};
//!
//! # fn main() -> Result<(), elastic_flow_wire::FrameError> {
//! let level = Compression::Auto.resolve(false);
//! let mut encoder = MessageEncoder::new(FrameEncoder::new(), level, None)?;
//! let mut stream = BytesMut::new();
//! encoder.push(&Message::Credit(8 << 20), Lane::Control, &mut stream)?;
//!
//! let mut decoder = MessageDecoder::new(FrameDecoder::new(), None);
//! let mut received = stream.split_to(20);
//! assert_eq!(decoder.next_message(&mut received)?, None);
//! received.unsplit(stream);
//! assert_eq!(decoder.next_message(&mut received)?, Some((Lane::Control, Message::Credit(8 << 20))));
//! # Ok(())
//! # }
//! ```

pub mod batch;
mod body;
mod causes;
pub mod codec;
pub mod compress;
pub mod frame;
mod header;
pub mod hello;
mod key_set;
pub mod message;
pub mod secret;
pub mod stream;
#[cfg(test)]
mod tests;

pub use batch::{BatchReader, SeqEncoder, decode_each, decode_each_borrowed};
pub use causes::with_causes;
pub use codec::{Bincode, Codec, CodecError, Sink, Tier, decode, encode, encode_to_vec, encoded_bytes};
pub use compress::{CompressError, Compression, Compressor, Decompressor};
pub use frame::{Frame, FrameDecoder, FrameEncoder, FrameError, FrameKind};
pub use hello::{Challenge, Channel, Handshake, Hello, HelloError, PROTOCOL_VERSIONS, Refusal, RefusalReason, Role};
pub use key_set::KeySet;
pub use message::digest;
pub use secret::{FrameKey, KeyId, KeyMismatch, KeyRole, Keys, Proof, RoleKey, Secret, SecretError, Side, Transcript};
pub use stream::{Lane, MessageDecoder, MessageEncoder, MessageParts, Traffic};
