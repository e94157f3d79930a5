//! The cluster's secret, the keys of roles and connections derived from it, and the proofs that peers hold them.
//!
//! ```text
//! role key    HKDF-SHA256(secret, salt = cluster name, info = "elastic-flow auth v1 <role>")
//! key id      the first 4 bytes of HKDF-SHA256(secret, salt = cluster name, info = "elastic-flow auth v1 id")
//! transcript  SHA-256 over hello, challenge and channel binding, each behind its length
//! proof       HMAC-SHA256(role key, "EF1 client" or "EF1 server" || transcript)
//! frame keys  HKDF-SHA256-Expand(role key, "EF1 frames client" or "EF1 frames server" || transcript)
//! ```
//!
//! The secret itself is never sent. The sides' labels stop reflection, the nonces in hello and challenge stop replay, the
//! channel binding (once there is TLS) stops relaying. Comparisons take constant time. Keys are wiped when dropped.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The size of a secret, a key, a nonce and a proof, in bytes.
pub const KEY_BYTES: usize = 32;
/// The size of a frame's tag: HMAC-SHA256 cut to 128 bits.
pub const TAG_BYTES: usize = 16;

/// Why a text is no secret. Never shows any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Not 64 digits.
    #[error(
        "key has {found_digits} characters where 64 hexadecimal digits on one line are needed: make one with `key new`"
    )]
    Length {
        /// How many there are.
        found_digits: usize,
    },
    /// Something else than a hexadecimal digit.
    #[error("character {position} of the key is no hexadecimal digit: make a key with `key new`")]
    Digit {
        /// Which one, from 1.
        position: usize,
    },
    /// A key that anybody would try.
    #[error("key follows a pattern that is easily guessed: make one with `key new`")]
    Weak,
}

/// The secret that all nodes of a cluster share: 32 random bytes.
///
/// Its text form is 64 hexadecimal digits. It is shown as `***`, and wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Takes 32 bytes from a random source.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a secret from its text; white space around it is allowed.
    ///
    /// # Errors
    /// The text is not 64 hexadecimal digits, or repeats one or two bytes, or counts.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim_ascii();
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        decode_hex(text, &mut bytes)?;
        let step = |pair: &[u8; 2]| pair[1].wrapping_sub(pair[0]);
        let mut steps = bytes.array_windows().map(step);
        let first = steps.next();
        let counts = steps.all(|next| Some(next) == first);
        let repeats = bytes.iter().zip(bytes.iter().skip(2)).all(|(a, b)| a == b);
        if counts || repeats { Err(SecretError::Weak) } else { Ok(Self(bytes)) }
    }

    /// A key for one purpose: HKDF-SHA256 of the secret, with `salt` and `info` saying which.
    #[must_use]
    pub fn derive_key(&self, salt: &[u8], info: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        expand(&Hkdf::<Sha256>::new(Some(salt), &*self.0), &[info])
    }

    /// The text form, for a key file that only its owner can read, and for a child's standard input.
    #[must_use]
    pub fn reveal_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_hex(&*self.0))
    }
}

fn decode_hex(text: &str, out: &mut [u8; KEY_BYTES]) -> Result<(), SecretError> {
    if text.chars().count() != 2 * KEY_BYTES {
        return Err(SecretError::Length { found_digits: text.chars().count() });
    }
    let mut digits = text.chars().enumerate().map(|(index, character)| {
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        digit.ok_or(SecretError::Digit { position: index + 1 })
    });
    for byte in out {
        let (Some(high), Some(low)) = (digits.next(), digits.next()) else {
            return Err(SecretError::Length { found_digits: text.len() });
        };
        *byte = (high? << 4) | low?;
    }
    Ok(())
}

fn encode_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        }
    }
    text
}

/// What a derived key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Being a node of the cluster: master and workers.
    Worker,
    /// Submitting, cancelling and replaying steps.
    Submit,
    /// Reading states, results and audits.
    Read,
}

impl KeyRole {
    const fn label(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Submit => "submit",
            Self::Read => "read",
        }
    }
}

/// Said where a key does not fit; never says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key does not match: give every node of the cluster the same key and cluster name")]
pub struct KeyMismatch;

/// Which key is meant, without telling anything of it: derived from the secret, and shown as eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The keys of all roles.
#[derive(Debug, Clone)]
pub struct Keys {
    id: KeyId,
    worker: RoleKey,
    submit: RoleKey,
    read: RoleKey,
}

impl Keys {
    /// Derives the keys of the cluster named `cluster`.
    #[must_use]
    pub fn derive(secret: &Secret, cluster: &str) -> Self {
        let derive = |role: KeyRole| {
            let info = format!("elastic-flow auth v1 {}", role.label());
            RoleKey(secret.derive_key(cluster.as_bytes(), info.as_bytes()))
        };
        let [a, b, c, d, ..] = *secret.derive_key(cluster.as_bytes(), b"elastic-flow auth v1 id");
        Self {
            id: KeyId(u32::from_be_bytes([a, b, c, d])),
            worker: derive(KeyRole::Worker),
            submit: derive(KeyRole::Submit),
            read: derive(KeyRole::Read),
        }
    }

    /// Which keys these are.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The key of a role.
    #[must_use]
    pub const fn role(&self, role: KeyRole) -> &RoleKey {
        match role {
            KeyRole::Worker => &self.worker,
            KeyRole::Submit => &self.submit,
            KeyRole::Read => &self.read,
        }
    }
}

#[expect(clippy::expect_used, reason = "HKDF gives up to 8,160 bytes; KEY_BYTES is a constant below that")]
fn expand(hkdf: &Hkdf<Sha256>, info: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hkdf.expand_multi_info(info, &mut *key).expect("32 bytes are within what HKDF gives");
    key
}

#[expect(clippy::expect_used, reason = "a key of KEY_BYTES is what HKDF asks for with SHA-256")]
fn resumed(key: &[u8; KEY_BYTES]) -> Hkdf<Sha256> {
    Hkdf::from_prk(key).expect("32 bytes are enough for HKDF-SHA256")
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Which end of a connection: the client is the one that connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that connected.
    Client,
    /// The end that listens.
    Server,
}

impl Side {
    const fn proof_label(self) -> &'static [u8] {
        match self {
            Self::Client => b"EF1 client",
            Self::Server => b"EF1 server",
        }
    }

    const fn frames_label(self) -> &'static [u8] {
        match self {
            Self::Client => b"EF1 frames client",
            Self::Server => b"EF1 frames server",
        }
    }
}

/// A digest of all that was said before the proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcript([u8; KEY_BYTES]);

impl Transcript {
    /// Over the bodies of the hello and the challenge frames as they were on the wire, and over what binds the proofs to the
    /// channel below (a TLS exporter; empty without TLS).
    #[must_use]
    pub fn new(hello: &[u8], challenge: &[u8], channel_binding: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for part in [hello, challenge, channel_binding] {
            Digest::update(&mut digest, (part.len() as u64).to_le_bytes());
            Digest::update(&mut digest, part);
        }
        Self(digest.finalize().into())
    }
}

/// That its sender holds the role's key: worthless on any other connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof(pub [u8; KEY_BYTES]);

/// A role's key.
#[derive(Clone)]
pub struct RoleKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for RoleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl RoleKey {
    /// The proof that `side` sends.
    #[must_use]
    pub fn proof(&self, side: Side, transcript: &Transcript) -> Proof {
        Proof(self.proving(side, transcript).finalize().into_bytes().into())
    }

    /// Checks the proof that `side` sent, in constant time.
    ///
    /// # Errors
    /// [`KeyMismatch`], whatever the reason.
    pub fn verify(&self, side: Side, transcript: &Transcript, proof: &Proof) -> Result<(), KeyMismatch> {
        self.proving(side, transcript).verify_slice(&proof.0).map_err(|_| KeyMismatch)
    }

    fn proving(&self, side: Side, transcript: &Transcript) -> Hmac<Sha256> {
        keyed(&self.0).chain_update(side.proof_label()).chain_update(transcript.0)
    }

    /// The keys of a connection's frames: first those that the client sends, then those that the server sends.
    #[must_use]
    pub fn frame_keys(&self, transcript: &Transcript) -> (FrameKey, FrameKey) {
        let hkdf = resumed(&self.0);
        let key = |side: Side| FrameKey::new(&expand(&hkdf, &[side.frames_label(), &transcript.0]));
        (key(Side::Client), key(Side::Server))
    }
}

/// The key of one direction of one connection.
#[derive(Clone)]
pub struct FrameKey(Hmac<Sha256>);

impl fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FrameKey {
    /// From 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(keyed(key))
    }

    /// The tag of a frame.
    #[must_use]
    pub(crate) fn tag(&self, frame: &[u8]) -> [u8; TAG_BYTES] {
        let tag: [u8; KEY_BYTES] = self.0.clone().chain_update(frame).finalize().into_bytes().into();
        tag.first_chunk().copied().unwrap_or_default()
    }

    /// Checks a tag in constant time.
    pub(crate) fn verify(&self, frame: &[u8], tag: &[u8; TAG_BYTES]) -> Result<(), KeyMismatch> {
        self.0.clone().chain_update(frame).verify_truncated_left(tag).map_err(|_| KeyMismatch)
    }
}
