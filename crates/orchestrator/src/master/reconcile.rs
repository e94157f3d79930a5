//! What workers say that they have: when they join, and with each heartbeat.

use std::time::Duration;

use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, Station};
use elastic_flow_wire::message::{HeldTask, Message};

use super::core::MasterCore;
use super::effects::Effect;
use super::nodes::Node;
use super::run::{Doing, Run, Task};

/// The slowest link that is waited for, in bytes a second. On a slower one assignments are sent twice.
pub(super) const LINK_BYTES_A_SECOND_MIN: u64 = 16 << 10;

impl MasterCore {
    /// What a worker has at work, or finished, of an earlier link or of an earlier life of this master: as long as its chunks are
    /// nowhere else, the attempts are open again as they were, so that nothing is computed twice.
    ///
    /// That is a saving and no condition: whatever is not taken up here is still judged by [`Self::on_result`] when it comes.
    pub(super) fn on_holding(&mut self, now: Mono, node: NodeId, tasks: &[HeldTask]) {
        let Some(entry) = self.nodes.by_id.get_mut(&node) else { return };
        entry.announced = true;
        if entry.living == Some(false) {
            return;
        }
        // What an exchange gave went with the link, and comes to nothing: a master that begins one anew does not wait for it.
        let Some(run) = self.run.as_mut().filter(|it| !it.finishing && !it.is_partitioned()) else { return };
        let step = run.step;
        for task in tasks.iter().filter(|it| it.step == step && !it.receipts.is_empty()) {
            let idle = |it: &ReceiptId| {
                run.known(it).is_some_and(|it| matches!(it.doing, Doing::Pending | Doing::Waiting | Doing::Shipping))
            };
            if run.tasks.contains_key(&task.attempt) || !task.receipts.iter().all(idle) {
                continue;
            }
            let mut sequences: Vec<u64> = task.receipts.iter().map(|it| it.sequence).collect();
            sequences.sort_unstable();
            sequences.dedup();
            run.learn_name(node, &entry.joined.name);
            for receipt in &task.receipts {
                run.to(receipt.sequence, Doing::Open(task.attempt), now);
                for station in [Station::Distributed, Station::Sent] {
                    run.mark(receipt, station, Some(node), self.wall);
                }
            }
            entry.open.insert(task.attempt);
            entry.open_chunks = entry.open_chunks.saturating_add(sequences.len() as u64);
            run.tasks.insert(task.attempt, Task { node, chunks: sequences, sent_at: now, bytes: 0 });
        }
    }

    /// An attempt that its worker does not hold was lost on the way: it is assigned again.
    pub(super) fn on_pulse(&mut self, now: Mono, node: NodeId, holding: &[Attempt], out: &mut Vec<Effect>) {
        let after = self.settings.reconcile_after;
        let Some(entry) = self.nodes.by_id.get_mut(&node) else { return };
        // Whatever was taken from it has not killed it.
        entry.taken.clear();
        // What it said of earlier links was lost on the way: it gets work all the same.
        entry.announced |= now >= entry.joined_at + after;
        let newest = holding.iter().max().copied();
        if newest > entry.seen {
            entry.seen = newest;
            entry.moved_at = now;
        }
        self.reconcile_partitions(now, node, holding, out);
        let Some(entry) = self.nodes.by_id.get(&node) else { return };
        let Some(run) = self.run.as_ref() else { return };
        for attempt in lost(entry, run, holding, now, after) {
            let Some(task) = self.run.as_ref().and_then(|it| it.tasks.get(&attempt)) else { continue };
            let sequences = task.chunks.clone();
            self.close_task(attempt);
            self.reopen(now, attempt, &sequences);
            for sequence in sequences {
                self.note_retry(sequence, out);
            }
            // Should it arrive after all, its work is not wanted. A worker that had lost the notice as well gets it again.
            out.push(Effect::Send(node, Message::Revoke(attempt)));
            if let Some(entry) = self.nodes.by_id.get_mut(&node) {
                entry.notified = false;
            }
            self.untold(node);
        }
    }

    /// A worker has answered, so that something has come through to it.
    pub(super) fn note_arrival(&mut self, now: Mono, node: NodeId) {
        if let Some(entry) = self.nodes.by_id.get_mut(&node) {
            entry.moved_at = now;
        }
    }
}

/// Attempts that are open on a worker, and neither there nor on their way any more.
///
/// What was sent after one and is there has overtaken it, which a link does not do. Otherwise it may be under way as long as its
/// bytes, and those before it, take on the slowest link, from the last arrival on: sending it again would only lengthen the queue.
fn lost(entry: &Node, run: &Run, holding: &[Attempt], now: Mono, after: Duration) -> Vec<Attempt> {
    let mut lost = Vec::new();
    let mut ahead_bytes = 0_u64;
    for attempt in entry.open.iter().filter(|it| !holding.contains(it)) {
        let Some(task) = run.tasks.get(attempt) else { continue };
        let until = if Some(*attempt) <= entry.seen {
            task.sent_at + after
        } else {
            ahead_bytes = ahead_bytes.saturating_add(task.bytes);
            let takes = Duration::from_millis(ahead_bytes.saturating_mul(1_000) / LINK_BYTES_A_SECOND_MIN);
            task.sent_at.max(entry.moved_at) + after + takes
        };
        if now >= until {
            lost.push(*attempt);
        }
    }
    lost
}
