//! What becomes of results: accepted once, dropped as duplicate or stale, tried again, or set aside.

use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, Station};
use elastic_flow_wire::message::{ChunkRead, FailureKind, Message, Outcome, Segment, SkippedItem, TaskResult};

use super::account::name_of;
use super::assign::SOURCE_STAGE;
use super::core::{MasterCore, Then};
use super::dead_letters::note_skips;
use super::effects::{Effect, Hook, Observation};
use super::run::{Doing, Run};
use crate::api::FailureView;
use crate::interceptor::{ChunkEvent, Counts};
use crate::journal::{DoneRecord, Record, SetAsideRecord};

/// The backoff of a chunk doubles so often, at most.
const BACKOFF_DOUBLINGS_MAX: u32 = 5;
/// Weight of the newest task in the average of nanoseconds a byte.
const RATE_WEIGHT: f64 = 0.3;

/// A failure as the worker told it.
pub(super) struct Failed {
    pub(super) kind: FailureKind,
    pub(super) receipt: Option<ReceiptId>,
    pub(super) item: Option<u64>,
    pub(super) message: String,
    pub(super) log_tail: Vec<String>,
}

impl MasterCore {
    /// The acceptance rule (DESIGN A2): the first valid result wins, everything else is dropped, acknowledged and counted.
    pub(super) fn on_result(&mut self, now: Mono, node: NodeId, result: TaskResult, out: &mut Vec<Effect>) {
        self.close_task(result.attempt);
        let current = self.run.as_ref().is_some_and(|it| it.step == result.step && !it.finishing);
        if !current {
            self.totals.stale = self.totals.stale.saturating_add(1);
            // A step that is finishing can still be taken back by a crash: until its end is in the journal nothing of it is
            // acknowledged. It comes again, or its worker is told when the step ends.
            if self.run.as_ref().is_none_or(|it| it.step != result.step) {
                out.push(Effect::Send(node, Message::Ack(result.attempt)));
            }
            return;
        }
        if let (Some(run), Some(entry)) = (self.run.as_mut(), self.nodes.by_id.get(&node)) {
            run.learn_name(node, &entry.joined.name);
        }
        self.note_arrival(now, node);
        // Of what is exchanged, nothing comes to the master that is not of a partition.
        let of_source = result.stage == SOURCE_STAGE;
        if !of_source {
            self.on_partition(node, result, out);
            return;
        }
        match result.outcome {
            Outcome::Done { chunks, segments, nanos, skips } => {
                let facts =
                    Finished { attempt: result.attempt, stage: result.stage, generation: result.generation, nanos };
                self.on_done(now, node, &facts, &result.receipts, chunks, (segments, skips), out);
            }
            Outcome::Failed { kind, receipt, item, message, log_tail } => {
                out.push(Effect::Send(node, Message::Ack(result.attempt)));
                let failed = Failed { kind, receipt, item, message, log_tail };
                self.on_failed(now, node, result.attempt, &result.receipts, failed, out);
            }
            Outcome::NotHere { receipts, message } => {
                out.push(Effect::Send(node, Message::Ack(result.attempt)));
                self.on_not_here(now, node, result.attempt, &result.receipts, (&receipts, &message), out);
            }
            Outcome::HandedBack => {
                out.push(Effect::Send(node, Message::Ack(result.attempt)));
                self.give_back(now, result.attempt, &result.receipts);
            }
            Outcome::Exchanged { .. } => self.on_exchanged(now, node, result, out),
        }
    }

    /// The task is not open any more, wherever its chunks go from here.
    pub(super) fn close_task(&mut self, attempt: Attempt) {
        let Some(task) = self.run.as_mut().and_then(|it| it.tasks.remove(&attempt)) else { return };
        if let Some(node) = self.nodes.by_id.get_mut(&task.node) {
            node.open.remove(&attempt);
            node.open_chunks = node.open_chunks.saturating_sub(task.chunks.len() as u64);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message, taken apart by its only caller")]
    fn on_done(
        &mut self,
        now: Mono,
        node: NodeId,
        facts: &Finished,
        receipts: &[ReceiptId],
        reads: Vec<ChunkRead>,
        (segments, skips): (Vec<Segment>, Vec<SkippedItem>),
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.run.as_mut() else { return };
        let whole = !receipts.is_empty()
            && reads.len() == receipts.len()
            && reads.iter().zip(receipts).all(|(read, receipt)| read.receipt == *receipt)
            && receipts.iter().all(|it| run.known(it).is_some())
            && skips.iter().all(|it| receipts.contains(&it.receipt));
        let free = |it: &ReceiptId| run.known(it).is_some_and(|it| !matches!(it.doing, Doing::Accepted | Doing::Final));
        let fresh = whole && receipts.iter().all(free);
        let accepted = fresh || (self.planted.no_deduplication && whole);
        if !accepted {
            self.drop_result(now, node, facts.attempt, receipts, out);
            return;
        }
        self.supersede(now, facts.attempt, receipts, out);
        self.accept_reads(now, node, &reads, facts.nanos, out);
        for read in &reads {
            self.totals.entries = self.totals.entries.saturating_add(read.entries);
            self.totals.bytes = self.totals.bytes.saturating_add(read.bytes);
        }
        let worker = self.nodes.name(node);
        let Some(run) = self.run.as_mut() else { return };
        let (step, sequences) = (run.step, reads.iter().map(|it| it.receipt.sequence).collect());
        let record = DoneRecord {
            step,
            attempt: facts.attempt,
            stage: facts.stage,
            generation: facts.generation,
            node: worker,
            incarnation: node,
            chunks: reads,
            segments: segments.clone(),
            skips,
        };
        note_reads(run, &record.node, &record.chunks);
        note_skips(run, &record.node, &record.skips);
        if let Some(entry) = self.nodes.by_id.get_mut(&node) {
            record.chunks.iter().for_each(|it| entry.reads.add(it));
        }
        let skipped = record.skips.len() as u64;
        self.totals.skipped = self.totals.skipped.saturating_add(skipped);
        if self.planted.acknowledge_before_record {
            out.push(Effect::Send(node, Message::Ack(facts.attempt)));
        }
        let number = self.journal(Record::Done(record), out);
        if self.planted.acknowledge_before_sync {
            out.push(Effect::Send(node, Message::Ack(facts.attempt)));
        }
        self.then(number, Then::Commit { node, attempt: facts.attempt, sequences, segments });
        if skipped > 0 {
            self.watch_skips();
        }
    }

    /// The chunks of a result that is accepted.
    pub(super) fn accept_reads(
        &mut self,
        now: Mono,
        node: NodeId,
        reads: &[ChunkRead],
        nanos: u64,
        out: &mut Vec<Effect>,
    ) {
        let worker = self.nodes.name(node);
        let Some(run) = self.run.as_mut() else { return };
        run.learn_rate(reads, nanos);
        for read in reads {
            run.to(read.receipt.sequence, Doing::Accepted, now);
            for station in [Station::Received, Station::Processed, Station::Returned] {
                run.mark(&read.receipt, station, Some(node), self.wall);
            }
            if self.observing {
                let event = ChunkEvent {
                    receipt: read.receipt,
                    node: self.name.clone(),
                    peer: Some(worker.clone()),
                    entries: Some(read.entries),
                    bytes: read.bytes,
                    error: None,
                };
                out.push(Effect::Observe(Observation::Chunk(Hook::Received, event)));
            }
        }
        self.totals.returned = self.totals.returned.saturating_add(reads.len() as u64);
    }

    /// A result that lost: counted, and acknowledged where that loses nothing.
    fn drop_result(
        &mut self,
        now: Mono,
        node: NodeId,
        attempt: Attempt,
        receipts: &[ReceiptId],
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.run.as_mut() else { return };
        for receipt in receipts {
            // A foreign receipt is in no ledger.
            run.ledger.drop_duplicate(receipt).ok();
        }
        self.totals.duplicates = self.totals.duplicates.saturating_add(1);
        // What it lost to, another result or that a chunk was set aside, may still be on its way into the journal, and a crash
        // would take that back.
        self.acknowledge_when_durable(node, attempt, out);
        self.give_back(now, attempt, receipts);
    }

    /// The commit point has passed: merge, mark, tell, acknowledge.
    pub(super) fn commit(
        &mut self,
        node: NodeId,
        attempt: Attempt,
        sequences: &[u64],
        segments: Vec<Segment>,
        out: &mut Vec<Effect>,
    ) {
        self.count(node, sequences, segments, out);
        out.push(Effect::Send(node, Message::Ack(attempt)));
    }

    /// Chunks are aggregated, and what came of them is merged.
    pub(super) fn count(&mut self, node: NodeId, sequences: &[u64], segments: Vec<Segment>, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        out.push(Effect::Merge(run.step, segments));
        for sequence in sequences {
            finish_chunk(run, *sequence, Station::Aggregated, Some(node), self.wall);
            self.totals.aggregated = self.totals.aggregated.saturating_add(1);
            if self.observing {
                let Some(chunk) = run.chunk(*sequence) else { continue };
                let event = ChunkEvent {
                    receipt: chunk.receipt,
                    node: self.name.clone(),
                    peer: Some(self.nodes.name(node)),
                    entries: run.entries_of(&chunk.receipt),
                    bytes: chunk.cut.bytes,
                    error: None,
                };
                out.push(Effect::Observe(Observation::Chunk(Hook::Aggregated, event)));
                Self::observe_complete(&self.name, run, *sequence, None, out);
            }
        }
    }

    /// Other attempts on these chunks have lost: their other chunks are to be done again.
    pub(super) fn supersede(&mut self, now: Mono, winner: Attempt, receipts: &[ReceiptId], out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_ref() else { return };
        let mut losers: Vec<Attempt> = receipts
            .iter()
            .filter_map(|it| match run.known(it)?.doing {
                Doing::Open(attempt) if attempt != winner => Some(attempt),
                Doing::Conceived
                | Doing::Pending
                | Doing::Waiting
                | Doing::Shipping
                | Doing::Open(_)
                | Doing::Accepted
                | Doing::Final => None,
            })
            .collect();
        losers.sort_unstable();
        losers.dedup();
        for loser in losers {
            let Some(task) = self.run.as_ref().and_then(|it| it.tasks.get(&loser)) else { continue };
            let (node, sequences) = (task.node, task.chunks.clone());
            out.push(Effect::Send(node, Message::Revoke(loser)));
            self.close_task(loser);
            self.reopen(now, loser, &sequences);
        }
    }

    /// Chunks that were open under `attempt` can be assigned again; nobody is to blame.
    pub(super) fn reopen(&mut self, now: Mono, attempt: Attempt, sequences: &[u64]) {
        let Some(run) = self.run.as_mut() else { return };
        for sequence in sequences {
            if run.chunk(*sequence).is_some_and(|it| it.doing == Doing::Open(attempt)) {
                run.to(*sequence, Doing::Pending, now);
            }
        }
    }

    pub(super) fn give_back(&mut self, now: Mono, attempt: Attempt, receipts: &[ReceiptId]) {
        let sequences: Vec<u64> = receipts.iter().filter(|it| self.is_running(it)).map(|it| it.sequence).collect();
        self.reopen(now, attempt, &sequences);
    }

    fn on_failed(
        &mut self,
        now: Mono,
        node: NodeId,
        attempt: Attempt,
        all: &[ReceiptId],
        failed: Failed,
        out: &mut Vec<Effect>,
    ) {
        self.totals.failures = self.totals.failures.saturating_add(1);
        let worker = self.nodes.name(node);
        let Some(run) = self.run.as_mut() else { return };
        let open: Vec<ReceiptId> =
            all.iter().filter(|it| run.known(it).is_some_and(|it| it.doing == Doing::Open(attempt))).copied().collect();
        let culprit = match failed.receipt {
            Some(receipt) if open.contains(&receipt) => Some(receipt),
            _ if open.len() == 1 => open.first().copied(),
            _ => None,
        };
        if matches!(failed.kind, FailureKind::Fail | FailureKind::Skips) {
            self.give_back(now, attempt, &open);
            self.on_fatal(node, attempt, &open, failed, out);
            return;
        }
        for receipt in &open {
            run.to(receipt.sequence, Doing::Pending, now);
            if culprit.is_none() {
                // Nobody knows on which chunk it failed: halves, down to the one.
                let half = u32::try_from(open.len()).unwrap_or(u32::MAX).div_ceil(2).max(1);
                if let Some(chunk) = run.chunk_mut(receipt.sequence) {
                    chunk.company = half;
                }
            }
        }
        let Some(culprit) = culprit else {
            self.note_failure(None, &worker, 0, failed, false, out);
            return;
        };
        self.blame(now, node, culprit, &worker, failed, out);
    }

    /// A failure of one chunk: try it again elsewhere after a backoff, or set it aside.
    pub(super) fn blame(
        &mut self,
        now: Mono,
        node: NodeId,
        culprit: ReceiptId,
        worker: &str,
        failed: Failed,
        out: &mut Vec<Effect>,
    ) {
        let two_workers = self.nodes.by_id.values().filter(|it| it.takes_work()).count() >= 2;
        let backoff = self.settings.retry_backoff;
        let max_attempts = self.settings.max_attempts;
        let Some(run) = self.run.as_mut() else { return };
        let Some(chunk) = run.chunk_mut(culprit.sequence) else { return };
        chunk.failures = chunk.failures.saturating_add(1);
        chunk.company = 1;
        if !chunk.failed_on.contains(&node) {
            chunk.failed_on.push(node);
        }
        let failures = chunk.failures;
        // On two workers at least, where there are two: one sick server is not to condemn a chunk.
        let elsewhere = two_workers && chunk.server.is_none();
        let enough = failures >= max_attempts && (chunk.failed_on.len() >= 2 || !elsewhere);
        // Another attempt would not see what this one saw, and take the new content for the old.
        let hopeless = failed.kind == FailureKind::SourceChanged;
        run.mark(&culprit, Station::Failed, Some(node), self.wall);
        if enough || hopeless || failures >= max_attempts.saturating_mul(2) {
            let (kind, item, message) = (failed.kind, failed.item, failed.message.clone());
            self.note_failure(Some(culprit), worker, failures, failed, true, out);
            self.set_aside(culprit, kind, item, message, Some(node), out);
            return;
        }
        let doublings = failures.saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX);
        let until = now + backoff.saturating_mul(1 << doublings);
        run.to(culprit.sequence, Doing::Waiting, until);
        self.keep(culprit.sequence, out);
        self.note_failure(Some(culprit), worker, failures, failed, false, out);
        self.note_retry(culprit.sequence, out);
    }

    pub(super) fn set_aside(
        &mut self,
        receipt: ReceiptId,
        kind: FailureKind,
        item: Option<u64>,
        message: String,
        node: Option<NodeId>,
        out: &mut Vec<Effect>,
    ) {
        self.keep(receipt.sequence, out);
        let Some(run) = self.run.as_mut() else { return };
        let worker = node.map_or_else(|| self.name.clone(), |it| name_of(&run.names, it));
        let failures = run.chunk(receipt.sequence).map_or(0, |it| it.failures);
        finish_chunk(run, receipt.sequence, Station::SetAside, node, self.wall);
        run.ledger.set_error(&receipt, &message).ok();
        if node.is_none() {
            run.remember(FailureView {
                receipt: Some(receipt),
                item,
                node: worker.clone(),
                message: message.clone(),
                attempts: failures,
                log_tail: Vec::new(),
                set_aside: true,
            });
        }
        run.note_set_aside(receipt, kind, item, &worker, &message);
        self.totals.set_aside = self.totals.set_aside.saturating_add(1);
        if self.observing {
            Self::observe_complete(&self.name, run, receipt.sequence, Some(message.clone()), out);
        }
        let record = SetAsideRecord { receipt, kind, item, message, node: worker, incarnation: node, failures };
        self.journal(Record::SetAside(record), out);
    }

    /// A task was open on a worker that is lost.
    pub(super) fn lose(&mut self, now: Mono, attempt: Attempt, worker: &str, reason: &str, out: &mut Vec<Effect>) {
        let Some(task) = self.run.as_mut().and_then(|it| it.tasks.remove(&attempt)) else { return };
        for sequence in task.chunks {
            let Some(run) = self.run.as_mut() else { return };
            let Some(chunk) = run.chunk_mut(sequence).filter(|it| it.doing == Doing::Open(attempt)) else { continue };
            chunk.losses = chunk.losses.saturating_add(1);
            let receipt = chunk.receipt;
            run.ledger.lose(&receipt).ok();
            run.to(sequence, Doing::Pending, now);
            if !self.suspect(sequence, task.node, worker, reason, out) {
                self.keep(sequence, out);
                self.note_retry(sequence, out);
            }
        }
    }

    /// Sets a pending chunk aside that was open on too many workers that were lost, and says whether it did.
    pub(super) fn suspect(
        &mut self,
        sequence: u64,
        node: NodeId,
        worker: &str,
        reason: &str,
        out: &mut Vec<Effect>,
    ) -> bool {
        let max_losses = self.settings.max_losses;
        let Some(chunk) = self.run.as_ref().and_then(|it| it.chunk(sequence)) else { return false };
        let (losses, receipt) = (chunk.losses, chunk.receipt);
        if losses <= max_losses || chunk.doing != Doing::Pending {
            return false;
        }
        let message = format!(
            "open on {losses} workers that were lost, the last, alone, on {worker} ({reason}): suspected of killing workers"
        );
        let failed = Failed {
            kind: FailureKind::Resource,
            receipt: None,
            item: None,
            message: message.clone(),
            log_tail: Vec::new(),
        };
        self.note_failure(Some(receipt), worker, losses, failed, true, out);
        self.set_aside(receipt, FailureKind::Resource, None, message, Some(node), out);
        true
    }

    /// A payload that exists only in the master's memory goes to the store when something went wrong with it.
    pub(super) fn keep(&mut self, sequence: u64, out: &mut Vec<Effect>) {
        let Some(chunk) = self.run.as_mut().and_then(|it| it.chunk_mut(sequence)) else { return };
        let only_here = chunk.cut.payload.kind != elastic_flow_wire::message::PayloadKind::Split;
        if only_here && !chunk.kept && !chunk.cut.payload.body.is_empty() {
            chunk.kept = true;
            out.push(Effect::Keep(chunk.receipt, chunk.cut.clone()));
        }
    }

    pub(super) fn note_retry(&mut self, sequence: u64, out: &mut Vec<Effect>) {
        self.totals.retried = self.totals.retried.saturating_add(1);
        let Some(run) = self.run.as_mut() else { return };
        run.retried = run.retried.saturating_add(1);
        let Some((receipt, bytes)) = run.chunk(sequence).map(|it| (it.receipt, it.cut.bytes)) else { return };
        run.mark(&receipt, Station::Retried, None, self.wall);
        if self.observing {
            let error = run.ledger.get(&receipt).ok().and_then(|it| it.error().map(str::to_owned));
            let event = ChunkEvent { receipt, node: self.name.clone(), peer: None, entries: None, bytes, error };
            out.push(Effect::Observe(Observation::Chunk(Hook::Retried, event)));
        }
    }

    pub(super) fn note_failure(
        &mut self,
        receipt: Option<ReceiptId>,
        worker: &str,
        attempts: u32,
        failed: Failed,
        set_aside: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.run.as_mut() else { return };
        if let Some(receipt) = &receipt {
            run.ledger.set_error(receipt, &failed.message).ok();
        }
        if self.observing
            && let Some(receipt) = receipt
        {
            let bytes = run.chunk(receipt.sequence).map_or(0, |it| it.cut.bytes);
            let error = Some(failed.message.clone());
            let event = ChunkEvent {
                receipt,
                node: self.name.clone(),
                peer: Some(worker.to_owned()),
                entries: None,
                bytes,
                error,
            };
            out.push(Effect::Observe(Observation::Chunk(Hook::Failed, event)));
        }
        let view = FailureView {
            receipt: receipt.or(failed.receipt),
            item: failed.item,
            node: worker.to_owned(),
            message: failed.message,
            attempts,
            log_tail: failed.log_tail,
            set_aside,
        };
        run.remember(view.clone());
        out.push(Effect::Observe(Observation::Failure(run.step, view)));
    }

    pub(super) fn observe_complete(name: &str, run: &Run, sequence: u64, error: Option<String>, out: &mut Vec<Effect>) {
        let Some(chunk) = run.chunk(sequence) else { return };
        let event = ChunkEvent {
            receipt: chunk.receipt,
            node: name.to_owned(),
            peer: None,
            entries: run.entries_of(&chunk.receipt),
            bytes: chunk.cut.bytes,
            error,
        };
        let counts = Counts {
            conceived: run.chunks.len() as u64,
            aggregated: run.aggregated,
            set_aside: run.set_aside,
            items_skipped: run.skipped,
            source_exhausted: run.exhausted,
        };
        out.push(Effect::Observe(Observation::ChunkComplete(event, counts)));
    }
}

/// The head of a finished task's result.
struct Finished {
    attempt: Attempt,
    stage: elastic_flow_receipt::StageId,
    generation: u32,
    nanos: u64,
}

/// What accepted reads tell of their chunks: shared by the live path and recovery.
pub(super) fn note_reads(run: &mut Run, worker: &str, reads: &[ChunkRead]) {
    for read in reads {
        run.reads.entry(worker.to_owned()).or_default().add(read);
        // Read twice only where a known bug is planted; the audit shows it.
        run.ledger.read(&read.receipt, read.entries, read.bytes).ok();
        run.entries_done = run.entries_done.saturating_add(read.entries);
        run.bytes_done = run.bytes_done.saturating_add(read.bytes);
    }
}

/// Gives a chunk its final station: shared by the live path and recovery.
pub(super) fn finish_chunk(run: &mut Run, sequence: u64, station: Station, node: Option<NodeId>, wall: u64) {
    let Some(receipt) = run.chunk(sequence).map(|it| it.receipt) else { return };
    run.to(sequence, Doing::Final, Mono::ZERO);
    if station == Station::Aggregated {
        run.aggregated = run.aggregated.saturating_add(1);
        run.let_go(sequence);
    } else {
        run.set_aside = run.set_aside.saturating_add(1);
        if run.chunk(sequence).is_some_and(|it| it.kept) {
            run.let_go(sequence);
        }
    }
    run.mark(&receipt, station, node, wall);
}

impl Run {
    fn learn_rate(&mut self, reads: &[ChunkRead], nanos: u64) {
        let bytes: u64 = reads.iter().map(|it| it.bytes).sum();
        if bytes > 0 {
            let now = nanos as f64 / bytes as f64;
            self.nanos_per_byte = Some(self.nanos_per_byte.map_or(now, |before| before + RATE_WEIGHT * (now - before)));
        }
    }
}
