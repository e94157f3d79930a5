//! The connected peers of a node, and what is on its way to them. The node's loop never waits for a peer: a task for each peer
//! does, and its queue is bounded by what the deciding code lets be open on it.

use std::collections::HashMap;

use elastic_flow_receipt::NodeId;
use elastic_flow_transport::PeerSender;
use elastic_flow_wire::message::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages that wait for a peer. Open tasks, notices and acknowledgements of a worker stay far below it.
const MESSAGES_MAX: usize = 16_384;

/// The links of a node.
#[derive(Debug, Default)]
pub(crate) struct Links {
    queues: HashMap<NodeId, mpsc::Sender<Message>>,
    tasks: JoinSet<()>,
}

impl Links {
    /// A peer is there. One that was there before under the same incarnation is replaced.
    pub(crate) fn up(&mut self, node: NodeId, sender: PeerSender) {
        let (queue, messages) = mpsc::channel(MESSAGES_MAX);
        self.queues.insert(node, queue);
        self.tasks.spawn(forward(sender, messages));
        while self.tasks.try_join_next().is_some() {}
    }

    /// A peer is gone: what waits for it is dropped, the deciding code knows of it.
    pub(crate) fn down(&mut self, node: NodeId) {
        self.queues.remove(&node);
    }

    /// Hands a message over. False if the peer is gone or takes nothing any more: the message is dropped, which the protocol bears.
    pub(crate) fn send(&self, node: NodeId, message: Message) -> bool {
        self.queues.get(&node).is_some_and(|it| it.try_send(message).is_ok())
    }

    /// Sends what waits, then ends every link's task.
    pub(crate) async fn flush(&mut self) {
        self.queues.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn forward(sender: PeerSender, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        if let Err(error) = sender.send(message).await {
            tracing::debug!(node = %sender.node(), error = elastic_flow_wire::with_causes(&error), "a message was not sent");
            if matches!(error, elastic_flow_transport::SendError::Down(_)) {
                return;
            }
        }
    }
}
