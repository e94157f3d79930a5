//! What a heartbeat monitor's verdict does.
//!
//! A worker that is not living gets nothing, and what is open on it goes to others at once. Its link stays: what it sends is judged
//! by the usual rules, and with the next verdict that it is living it gets work again.
//!
//! A verdict alone counts no loss against a chunk. Losses are counted to find the chunks that kill workers (DESIGN A6), and a
//! monitor often speaks of something else: a server that somebody takes out of service. Only if the worker's link then ends before
//! it has sent another heartbeat was it lost with these chunks, and the loss is counted then: a chunk that kills servers is found
//! where the monitor is faster than the transport, too.

use std::collections::BTreeMap;

use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId};
use elastic_flow_wire::message::Message;

use super::core::MasterCore;
use super::effects::{Effect, Observation};
use super::run::Doing;

/// Why a chunk is given to another worker.
const NOT_LIVING: &str = "not living, says heartbeat.monitor";

impl MasterCore {
    pub(super) fn on_verdict(&mut self, now: Mono, verdict: &BTreeMap<NodeId, bool>, out: &mut Vec<Effect>) {
        for (node, living) in verdict {
            let Some(entry) = self.nodes.by_id.get_mut(node) else { continue };
            let before = entry.living.replace(*living);
            // That a worker lives which has just joined is no news.
            if before.unwrap_or(true) != *living {
                let name = entry.joined.name.clone();
                out.push(Effect::Observe(Observation::Verdict { name, living: *living }));
            }
            if *living {
                entry.taken.clear();
            } else {
                let name = entry.joined.name.clone();
                for attempt in entry.open.clone() {
                    self.take_back(now, *node, attempt, out);
                }
                if before != Some(false) {
                    self.lose_exchange(*node, &name, NOT_LIVING, out);
                }
            }
        }
    }

    /// The chunks of a task are taken from a worker that is not living.
    fn take_back(&mut self, now: Mono, node: NodeId, attempt: Attempt, out: &mut Vec<Effect>) {
        let Some(task) = self.run.as_ref().and_then(|it| it.tasks.get(&attempt)) else { return };
        let sequences = task.chunks.clone();
        let worker = self.nodes.name(node);
        self.close_task(attempt);
        self.reopen(now, attempt, &sequences);
        // Its place is wanted for what it gets when it is living again.
        out.push(Effect::Send(node, Message::Revoke(attempt)));
        for sequence in &sequences {
            if !self.suspect(*sequence, node, &worker, NOT_LIVING, out) {
                self.keep(*sequence, out);
                self.note_retry(*sequence, out);
            }
        }
        if let Some(entry) = self.nodes.by_id.get_mut(&node) {
            entry.taken.extend(sequences);
        }
    }

    /// The link to a worker has ended before it has sent a heartbeat since these chunks were taken from it.
    pub(super) fn lose_taken(
        &mut self,
        node: NodeId,
        taken: &[u64],
        worker: &str,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        for sequence in taken {
            let Some(run) = self.run.as_mut() else { return };
            let Some(chunk) = run.chunk_mut(*sequence) else { continue };
            if matches!(chunk.doing, Doing::Accepted | Doing::Final) {
                continue;
            }
            chunk.losses = chunk.losses.saturating_add(1);
            let receipt = chunk.receipt;
            run.ledger.lose(&receipt).ok();
            // One that is open elsewhere by now may well succeed there.
            self.suspect(*sequence, node, worker, reason, out);
        }
    }
}
