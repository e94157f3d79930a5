//! Nodes that are to get no more work: a worker by somebody's wish or its own, or the master. Journalled, so that a worker stays
//! drained when its master comes back, and shown with the step that runs.

use elastic_flow_queue::{Caller, CallerRole, Command, CommandKind, QueueRecord};
use elastic_flow_receipt::NodeId;

use super::core::MasterCore;
use super::effects::{Effect, RequestId};
use crate::api::ApiError;

impl MasterCore {
    /// Somebody wants the workers of this name drained. Asking again changes nothing.
    pub(super) fn on_drain_worker(&mut self, request: RequestId, by: Caller, name: &str, out: &mut Vec<Effect>) {
        let named = || self.nodes.by_id.iter().filter(|(_, it)| it.joined.name == name);
        if named().next().is_none() {
            out.push(Effect::Reply(request, Err(ApiError::NoWorker(name.to_owned()))));
            return;
        }
        let fresh: Vec<NodeId> = named().filter(|(_, it)| it.drained.is_none()).map(|(id, _)| *id).collect();
        for node in fresh {
            self.drain(Some(node), name.to_owned(), by.clone(), out);
        }
        self.reply_when_durable(request, self.running(), out);
    }

    /// A worker leaves, and says so: most often it got a signal.
    pub(super) fn on_node_draining(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let Some(it) = self.nodes.by_id.get(&node).filter(|it| it.drained.is_none()) else { return };
        let by = Caller::remote(CallerRole::Worker, host_of(&it.joined.address));
        self.drain(Some(node), it.joined.name.clone(), by, out);
    }

    /// The master itself is to stop.
    pub(super) fn on_drain(&mut self, by: Option<Caller>, out: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.draining, true)
            && let Some(by) = by
        {
            self.drain(None, self.name.clone(), by, out);
        }
    }

    fn drain(&mut self, node: Option<NodeId>, name: String, by: Caller, out: &mut Vec<Effect>) {
        let record = QueueRecord::Drained { node, name, wall: self.wall, by };
        self.apply_queue(vec![record], out);
    }

    /// Takes in that a worker is drained, live and in recovery.
    pub(super) fn note_drain(&mut self, record: &QueueRecord) {
        if let QueueRecord::Drained { node: Some(node), name, wall, by } = record {
            let kind = CommandKind::Drain;
            self.nodes.drain(*node, Command { kind, node: Some(name.clone()), by: by.clone(), at: *wall });
        }
    }
}

/// The host of an address, which may have a port behind it.
fn host_of(address: &str) -> String {
    let host =
        address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']']).to_owned()
}
