//! The handle by which a node speaks to a peer.

use std::sync::Arc;

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::Message;
use elastic_flow_wire::{Lane, encoded_bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::credit::{MESSAGE_COST_BYTES, SendCredit};
use crate::lane::MessageKind;

/// Bytes of data messages that wait for the peer's credit or for the network, a link. One larger message may wait too.
pub(crate) const OUTBOX_BYTES: u32 = 4 * 1024 * 1024;
/// Data messages that wait, a link: as many as fit by their cost.
const OUTBOX_MESSAGES: usize = 16 * 1024;
const _: () = assert!(OUTBOX_MESSAGES as u64 * MESSAGE_COST_BYTES == OUTBOX_BYTES as u64);
/// Control messages that wait, a link. They are small, and their connection carries little else.
const CONTROL_MESSAGES: usize = 4096;

/// Why a message was not taken; it comes back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The link is down, or on its way down.
    #[error("the link is down")]
    Down(Box<Message>),
    /// Too many control messages wait; the peer does not take them.
    #[error("{CONTROL_MESSAGES} control messages wait already")]
    Full(Box<Message>),
    /// The message belongs on the data connection, which [`PeerSender::send`] waits for.
    #[error("a data message cannot be sent without waiting")]
    NotControl(Box<Message>),
    /// The message is larger than its connection takes.
    #[error("a message of {bytes} bytes is over the limit of {bytes_max} of its connection")]
    TooLarge {
        /// The message.
        message: Box<Message>,
        /// Its size encoded.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The message cannot be encoded.
    #[error("the message cannot be encoded: {1}")]
    Unencodable(Box<Message>, elastic_flow_wire::CodecError),
}

/// A data message on its way to the writer, with the room it takes up there.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    pub(crate) cost_bytes: u64,
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Speaks to one peer, as long as its link is up. Clones share the link.
#[derive(Debug, Clone)]
pub struct PeerSender {
    node: NodeId,
    data: mpsc::Sender<Outgoing>,
    control: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    credit: Arc<SendCredit>,
}

/// The ends that the link's writers hold.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) data: mpsc::Receiver<Outgoing>,
    pub(crate) control: mpsc::Receiver<Message>,
    pub(crate) credit: Arc<SendCredit>,
}

pub(crate) fn peer_sender(node: NodeId) -> (PeerSender, Outbox) {
    let (data, data_queue) = mpsc::channel(OUTBOX_MESSAGES);
    let (control, control_queue) = mpsc::channel(CONTROL_MESSAGES);
    let credit = Arc::new(SendCredit::default());
    let room = Arc::new(Semaphore::new(OUTBOX_BYTES as usize));
    let sender = PeerSender { node, data, control, room, credit: Arc::clone(&credit) };
    (sender, Outbox { data: data_queue, control: control_queue, credit })
}

/// What a message takes out of the peer's window.
pub(crate) fn cost_bytes(raw_bytes: u64) -> u64 {
    raw_bytes.saturating_add(MESSAGE_COST_BYTES)
}

/// The encoded size of a message that its lane can carry.
fn measure(message: Message, lane: Lane) -> Result<(Message, u64), SendError> {
    match encoded_bytes(&message) {
        Ok(bytes) if bytes <= lane.bytes_max() => Ok((message, bytes as u64)),
        Ok(bytes) => Err(SendError::TooLarge { message: Box::new(message), bytes, bytes_max: lane.bytes_max() }),
        Err(error) => Err(SendError::Unencodable(Box::new(message), error)),
    }
}

impl PeerSender {
    /// The peer.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Bytes on the data lane that the peer has not yet given credit back for.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.credit.in_flight_bytes()
    }

    /// Hands a message over, on the connection that it belongs on. Waits while a few MiB of data wait already for the peer's
    /// credit or for the network.
    ///
    /// That it was handed over does not say that it will arrive: only what the peer answers says that.
    ///
    /// # Errors
    /// [`SendError::Down`] once the link is down; [`SendError::TooLarge`] and [`SendError::Unencodable`] for a message that can
    /// never be sent.
    ///
    /// # Cancel safety
    /// Safe to drop: the message has then not been handed over.
    pub async fn send(&self, message: Message) -> Result<(), SendError> {
        match MessageKind::of(&message).lane() {
            Lane::Control => {
                let (message, _) = measure(message, Lane::Control)?;
                let Ok(place) = self.control.reserve().await else {
                    return Err(SendError::Down(Box::new(message)));
                };
                place.send(message);
            }
            Lane::Data => {
                let (message, raw_bytes) = measure(message, Lane::Data)?;
                let cost_bytes = cost_bytes(raw_bytes);
                // A message larger than the outbox takes all of it.
                let places = u32::try_from(cost_bytes).unwrap_or(OUTBOX_BYTES).min(OUTBOX_BYTES);
                let Ok(room) = Arc::clone(&self.room).acquire_many_owned(places).await else {
                    return Err(SendError::Down(Box::new(message)));
                };
                let Ok(place) = self.data.reserve().await else {
                    return Err(SendError::Down(Box::new(message)));
                };
                place.send(Outgoing { message, cost_bytes, _room: room });
            }
        }
        Ok(())
    }

    /// Hands a control message over without waiting.
    ///
    /// # Errors
    /// [`SendError::Down`] once the link is down, [`SendError::Full`] if the peer does not take what was sent before,
    /// [`SendError::NotControl`] for a message of the data lane.
    pub fn try_send_control(&self, message: Message) -> Result<(), SendError> {
        if MessageKind::of(&message).lane() != Lane::Control {
            return Err(SendError::NotControl(Box::new(message)));
        }
        let (message, _) = measure(message, Lane::Control)?;
        self.control.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(message) => SendError::Full(Box::new(message)),
            mpsc::error::TrySendError::Closed(message) => SendError::Down(Box::new(message)),
        })
    }
}
