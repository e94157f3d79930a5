//! Chunks of files that a worker has not got: the master turns them into bytes, few at a time, as places for them come free.

use std::time::Duration;

use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId};
use elastic_flow_wire::message::{FailureKind, Payload};

use super::accept::Failed;
use super::core::MasterCore;
use super::effects::Effect;
use super::nodes::{Needs, Node};
use super::run::Doing;
use crate::config::ReadFiles;

/// Payload bytes of shipped chunks that the master holds before it makes no more, unless a chunk alone has more. A payload is held
/// until its result is in the journal.
pub(super) const SHIPPED_BYTES_MAX: u64 = 32 << 20;
/// How long a chunk is not shipped to a worker that lacks its file while others have not said whether they have it.
const SHIP_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a shipped chunk, about: small, since it lives in the master's memory until its result is there.
pub(super) const SHIPPED_CHUNK_BYTES: u64 = 2 << 20;

impl MasterCore {
    /// The worker has not these files. No attempt is used; the chunks are shipped, and the worker is not asked for the files again.
    /// What it alone could have has failed, and with `source.read = "in-place"` others are looked for.
    pub(super) fn on_not_here(
        &mut self,
        now: Mono,
        node: NodeId,
        attempt: Attempt,
        all: &[ReceiptId],
        (absent, message): (&[ReceiptId], &str),
        out: &mut Vec<Effect>,
    ) {
        self.give_back(now, attempt, all);
        let ships = self.settings.read != ReadFiles::InPlace;
        let Some(run) = self.run.as_mut() else { return };
        let (mut lacks, mut lost) = (Vec::new(), Vec::new());
        for receipt in absent {
            if run.known(receipt).is_none_or(|it| it.carries()) {
                continue;
            }
            if let Some(chunk) = run.chunk_mut(receipt.sequence) {
                if chunk.server.is_some() {
                    if chunk.doing == Doing::Pending {
                        lost.push(*receipt);
                    }
                    continue;
                }
                chunk.absent = ships;
                lacks.extend(chunk.cut.covers.iter().map(|it| it.part));
            }
        }
        if let Some(entry) = self.nodes.by_id.get_mut(&node) {
            entry.lacks.extend(lacks);
        }
        // Nobody else can read these: what is wrong with the file may pass, and is tried again like any failure.
        let worker = self.nodes.name(node);
        for receipt in lost {
            let message = message.to_owned();
            let failed =
                Failed { kind: FailureKind::Source, receipt: Some(receipt), item: None, message, log_tail: Vec::new() };
            self.totals.failures = self.totals.failures.saturating_add(1);
            self.blame(now, node, receipt, &worker, failed, out);
        }
    }

    /// Begins to ship a chunk that no worker with room reads where it is: if one could take it with its bytes, and the master's
    /// memory has room for them. If not, it waits as the descriptor that it is.
    pub(super) fn ship_if_due(&mut self, now: Mono, sequence: u64, out: &mut Vec<Effect>) {
        if self.settings.read == ReadFiles::InPlace {
            return;
        }
        let open_per_slot = self.settings.open_per_slot;
        let free = self.nodes.free(open_per_slot);
        let Some(run) = self.run.as_mut() else { return };
        let Some(chunk) = run.chunk(sequence).filter(|it| !it.carries()) else { return };
        let held = run.shipped_bytes.saturating_add(run.shipping_bytes);
        let fits = held == 0 || held.saturating_add(chunk.cut.bytes) <= SHIPPED_BYTES_MAX;
        // A worker that has not said yet which files it has may read this one by itself: that is waited for, though not long.
        let may_have = |it: &Node| {
            it.takes_work() && !it.looked && it.asked_since.is_some_and(|since| now < since + SHIP_PATIENCE)
        };
        if run.question.is_some() && self.nodes.by_id.values().any(may_have) {
            return;
        }
        let needs = chunk.needs(self.settings.max_losses);
        let needs = Needs { reads: &[], looked: needs.looked && run.question.is_some(), ..needs };
        if !fits || run.shipping >= free || self.nodes.could_take(needs, open_per_slot).next().is_none() {
            return;
        }
        let (receipt, payload) = (chunk.receipt, chunk.cut.payload.clone());
        run.to(sequence, Doing::Shipping, now);
        out.push(Effect::Ship(receipt, payload));
    }

    /// The master has turned a split into bytes, or could not: then its own copy is gone or changed as well, and no retry helps.
    pub(super) fn on_shipped(
        &mut self,
        now: Mono,
        receipt: ReceiptId,
        result: Result<Payload, String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.run.as_mut().filter(|it| it.step == receipt.step) else { return };
        if run.known(&receipt).is_none_or(|it| it.doing != Doing::Shipping) {
            return;
        }
        match result {
            Ok(payload) => run.refill(&receipt, payload, now),
            Err(message) => self.set_aside(receipt, FailureKind::Source, None, message, None, out),
        }
    }
}
