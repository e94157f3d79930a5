//! The handshake as two state machines. Pure: bytes go in and out, nonces are handed in.
//!
//! A link is two connections. What ties them together is the first half of the client's nonce, the *link id*, drawn anew for
//! each attempt to connect; the second half is drawn for each connection.

use std::sync::Arc;

use bytes::BytesMut;
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::{
    Challenge, Channel, Frame, FrameDecoder, FrameEncoder, FrameError, FrameKey, FrameKind, Handshake, Hello,
    HelloError, KeyId, KeyMismatch, KeySet, PROTOCOL_VERSIONS, Refusal, RefusalReason, Role, RoleKey, Side, Transcript,
};

use crate::stats::Turned;

/// The size of a nonce in bytes.
pub(crate) const NONCE_BYTES: usize = 32;
const LINK_BYTES: usize = NONCE_BYTES / 2;

/// Which two connections belong together.
pub(crate) type LinkId = [u8; LINK_BYTES];

/// A nonce of this link and these fresh bytes.
pub(crate) fn link_nonce(link: LinkId, fresh: [u8; LINK_BYTES]) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    for (place, byte) in nonce.iter_mut().zip(link.into_iter().chain(fresh)) {
        *place = byte;
    }
    nonce
}

/// The link that a client's nonce names.
pub(crate) fn link_of(nonce: &[u8; NONCE_BYTES]) -> LinkId {
    nonce.first_chunk().copied().unwrap_or_default()
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer's bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer's frame is no handshake.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The frame is not the one whose turn it is.
    #[error("{found:?} frame came out of turn")]
    Turn {
        /// What came.
        found: FrameKind,
    },
    /// This side refuses.
    #[error("{}", .0.message)]
    Refuse(Refusal),
    /// The other side refuses.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The listener does not hold the key.
    #[error("the listener has not proved that it holds the key")]
    Impostor(#[from] KeyMismatch),
    /// The listener's epoch is lower than one that this node has seen.
    #[error("the master is of epoch {found}, but one of epoch {seen} has been seen: stop the older of the two")]
    OldMaster {
        /// The listener's.
        found: u64,
        /// The highest seen.
        seen: u64,
    },
    /// The listener chose a version that was not offered, or plain frames beyond loopback.
    #[error("the listener answered with what was not offered")]
    Answer,
}

impl HandshakeError {
    /// How to count it.
    #[must_use]
    pub fn turned(&self) -> Turned {
        match self {
            Self::Frame(_) | Self::Hello(_) | Self::Turn { .. } | Self::Answer => Turned::Garbage,
            Self::Refuse(refusal) | Self::Refused(refusal) => reason(refusal.reason),
            Self::Impostor(_) => Turned::Key,
            Self::OldMaster { .. } => Turned::Epoch,
        }
    }

    /// Whether trying again may help without anybody changing a setting.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self.turned(), Turned::Version | Turned::Cluster | Turned::Key | Turned::Role)
    }
}

fn reason(reason: RefusalReason) -> Turned {
    match reason {
        RefusalReason::Version => Turned::Version,
        RefusalReason::Cluster => Turned::Cluster,
        RefusalReason::Key => Turned::Key,
        RefusalReason::Role => Turned::Role,
        RefusalReason::DuplicateNode => Turned::Duplicate,
        RefusalReason::EpochFenced => Turned::Epoch,
        RefusalReason::Busy => Turned::Crowded,
        _ => Turned::Garbage,
    }
}

/// Where a connection stands after its handshake.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) frames_out: FrameEncoder,
    pub(crate) frames_in: FrameDecoder,
    /// The key of what this side sends, where frames carry tags.
    pub(crate) key_out: Option<FrameKey>,
    pub(crate) key_in: Option<FrameKey>,
    /// Whether the client has proved the old key of a rotation; only the listener knows.
    pub(crate) old_key: bool,
}

impl Wires {
    fn new(frames_out: FrameEncoder) -> Self {
        Self { frames_out, frames_in: FrameDecoder::new(), key_out: None, key_in: None, old_key: false }
    }
}

/// The client's side.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    wires: Wires,
    keys: Arc<KeySet>,
    hello: Hello,
    hello_body: Vec<u8>,
    /// Frames beyond loopback must carry tags.
    tags_due: bool,
    challenged: Option<(Challenge, Transcript)>,
}

impl ClientHandshake {
    /// Appends the hello to `out`. `hello.epoch` is the highest that this node has seen.
    pub(crate) fn start(
        hello: Hello,
        keys: Arc<KeySet>,
        tags_due: bool,
        out: &mut BytesMut,
    ) -> Result<Self, HandshakeError> {
        let mut frames_out = FrameEncoder::new();
        let hello_body = Handshake::Hello(hello.clone()).put(&mut frames_out, out)?;
        let wires = Wires::new(frames_out);
        Ok(Self { wires, keys, hello, hello_body, tags_due, challenged: None })
    }

    /// Takes what was received; appends what is to be sent to `out`; gives the listener's answer once all is proved.
    pub(crate) fn receive(
        &mut self,
        received: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<Option<Challenge>, HandshakeError> {
        while let Some(frame) = self.wires.frames_in.next_frame(received)? {
            match (Handshake::from_frame(&frame)?, &self.challenged) {
                (Handshake::Refuse(refusal), _) => return Err(HandshakeError::Refused(refusal)),
                (Handshake::Challenge(challenge), None) => self.on_challenge(challenge, &frame, out)?,
                (Handshake::Welcome(proof), Some((challenge, transcript))) => {
                    let key = self.key_for(challenge.keys);
                    key.verify(Side::Server, transcript, &proof)?;
                    if challenge.tags {
                        let (client, server) = key.frame_keys(transcript);
                        (self.wires.key_out, self.wires.key_in) = (Some(client), Some(server));
                    }
                    return Ok(Some(challenge.clone()));
                }
                _ => return Err(HandshakeError::Turn { found: frame.kind() }),
            }
        }
        Ok(None)
    }

    fn on_challenge(&mut self, challenge: Challenge, frame: &Frame, out: &mut BytesMut) -> Result<(), HandshakeError> {
        let (lowest, highest) = self.hello.versions;
        if !(lowest..=highest).contains(&challenge.version) || (self.tags_due && !challenge.tags) {
            return Err(HandshakeError::Answer);
        }
        if challenge.epoch < self.hello.epoch {
            return Err(HandshakeError::OldMaster { found: challenge.epoch, seen: self.hello.epoch });
        }
        let transcript = Transcript::new(&self.hello_body, frame.body(), &[]);
        let proof = self.key_for(challenge.keys).proof(Side::Client, &transcript);
        Handshake::Proof(proof).put(&mut self.wires.frames_out, out)?;
        self.challenged = Some((challenge, transcript));
        Ok(())
    }

    /// The key to prove, and to be proved, to a listener that takes these.
    fn key_for(&self, taken: (KeyId, Option<KeyId>)) -> &RoleKey {
        self.keys.shared_with(taken).role(self.hello.role.key_role())
    }

    pub(crate) fn into_wires(self) -> Wires {
        self.wires
    }
}

/// What a listener says of itself, and whom it takes.
#[derive(Debug, Clone)]
pub(crate) struct Listening {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) build: [u8; 32],
    pub(crate) epoch: u64,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) tags: bool,
    /// The role of those that may connect.
    pub(crate) takes: Role,
}

/// The listener's side.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    wires: Wires,
    listening: Listening,
    nonce: [u8; NONCE_BYTES],
    greeted: Option<(Hello, Transcript)>,
}

impl ServerHandshake {
    pub(crate) fn new(listening: Listening, nonce: [u8; NONCE_BYTES]) -> Self {
        let wires = Wires::new(FrameEncoder::new());
        Self { wires, listening, nonce, greeted: None }
    }

    /// Takes what was received; appends what is to be sent to `out`, a refusal as well; gives the client's hello once all is
    /// proved. `object` says why a client with the right key is refused all the same.
    pub(crate) fn receive(
        &mut self,
        received: &mut BytesMut,
        out: &mut BytesMut,
        object: impl Fn(&Hello) -> Option<Refusal>,
    ) -> Result<Option<Hello>, HandshakeError> {
        let result = self.try_receive(received, out, object);
        if let Err(HandshakeError::Refuse(refusal)) = &result {
            Handshake::Refuse(refusal.clone()).put(&mut self.wires.frames_out, out)?;
        }
        result
    }

    fn try_receive(
        &mut self,
        received: &mut BytesMut,
        out: &mut BytesMut,
        object: impl Fn(&Hello) -> Option<Refusal>,
    ) -> Result<Option<Hello>, HandshakeError> {
        while let Some(frame) = self.wires.frames_in.next_frame(received)? {
            match (Handshake::from_frame(&frame)?, &self.greeted) {
                (Handshake::Hello(hello), None) => self.on_hello(hello, &frame, out)?,
                (Handshake::Proof(proof), Some((hello, transcript))) => {
                    let proven = self.listening.keys.proven(hello.role, Side::Client, transcript, &proof);
                    let (keys, old) = proven.map_err(|mismatch| {
                        HandshakeError::Refuse(Refusal { reason: RefusalReason::Key, message: mismatch.to_string() })
                    })?;
                    let key = keys.role(hello.role.key_role());
                    let objection = self.object(hello).or_else(|| object(hello));
                    objection.map_or(Ok(()), |refusal| Err(HandshakeError::Refuse(refusal)))?;
                    let welcome = Handshake::Welcome(key.proof(Side::Server, transcript));
                    welcome.put(&mut self.wires.frames_out, out)?;
                    self.wires.old_key = old;
                    if self.listening.tags {
                        let (client, server) = key.frame_keys(transcript);
                        (self.wires.key_out, self.wires.key_in) = (Some(server), Some(client));
                    }
                    return Ok(Some(hello.clone()));
                }
                _ => return Err(HandshakeError::Turn { found: frame.kind() }),
            }
        }
        Ok(None)
    }

    fn on_hello(&mut self, hello: Hello, frame: &Frame, out: &mut BytesMut) -> Result<(), HandshakeError> {
        let version = hello.admit(&self.listening.cluster, PROTOCOL_VERSIONS).map_err(HandshakeError::Refuse)?;
        let challenge = Handshake::Challenge(Challenge {
            version,
            incarnation: self.listening.node,
            name: self.listening.name.clone(),
            epoch: self.listening.epoch,
            build: self.listening.build,
            tags: self.listening.tags,
            keys: self.listening.keys.ids(),
            nonce: self.nonce,
        });
        let challenge_body = challenge.put(&mut self.wires.frames_out, out)?;
        let transcript = Transcript::new(frame.body(), &challenge_body, &[]);
        self.greeted = Some((hello, transcript));
        Ok(())
    }

    /// What speaks against a client that holds the key, seen from this node alone.
    fn object(&self, hello: &Hello) -> Option<Refusal> {
        let ours = self.listening.epoch;
        if hello.epoch > ours {
            let message = format!(
                "this master is of epoch {ours}, but you have seen one of epoch {}: stop the older of the two",
                hello.epoch
            );
            return Some(Refusal { reason: RefusalReason::EpochFenced, message });
        }
        if hello.role != self.listening.takes {
            let here = if self.listening.takes == Role::Peer { "an exchange of workers" } else { "a master" };
            let message = format!("roles do not fit: a {:?} cannot join {here}", hello.role);
            return Some(Refusal { reason: RefusalReason::Role, message });
        }
        if hello.incarnation == self.listening.node {
            let message = "this node has called itself: check the master's address".to_owned();
            return Some(Refusal { reason: RefusalReason::Role, message });
        }
        None
    }

    pub(crate) fn into_wires(self) -> Wires {
        self.wires
    }
}

/// The lane that a connection announces.
pub(crate) fn lane_of(channel: Channel) -> elastic_flow_wire::Lane {
    match channel {
        Channel::Control => elastic_flow_wire::Lane::Control,
        Channel::Data => elastic_flow_wire::Lane::Data,
    }
}

#[cfg(test)]
mod tests;
