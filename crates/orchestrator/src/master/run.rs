//! The state of the running step: what became of each of its chunks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_queue::StepSpec;
use elastic_flow_receipt::{Attempt, Earlier, Ledger, NodeId, ReceiptId, Station, StepId, Tally};
use elastic_flow_wire::message::{FailureKind, Payload, PayloadKind};

use super::dead_letters::DeadLetter;
use super::effects::{Ending, Observation};
use super::exchange::Exchange;
use super::nodes::{Needs, ReadBytes};
use crate::api::{FailureView, FilesView, Progress};
use crate::journal::DoneRecord;

/// What a chunk is doing, from the scheduler's view. The ledger has its stations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Its conception is not in the journal yet.
    Conceived,
    /// It can be assigned.
    Pending,
    /// It waits out a backoff.
    Waiting,
    /// The master turns it into bytes.
    Shipping,
    /// It is on a worker.
    Open(Attempt),
    /// Its result is accepted and on its way into the journal.
    Accepted,
    /// It has its final station.
    Final,
}

/// A chunk of the running step.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) receipt: ReceiptId,
    /// Its cut; the payload is let go when the chunk is final.
    pub(crate) cut: Cut,
    pub(crate) doing: Doing,
    pub(crate) failures: u32,
    pub(crate) losses: u32,
    /// Most chunks in its next task: halved when a task fails and nobody knows on which.
    pub(crate) company: u32,
    /// Workers on which it failed.
    pub(crate) failed_on: Vec<NodeId>,
    /// Whether its payload is in the store.
    pub(crate) kept: bool,
    /// Whether a worker did not have its files: it is given out with its bytes.
    pub(crate) absent: bool,
    /// The server on whose disk it lies, and which alone reads it.
    pub(crate) server: Option<String>,
    /// When it has waited out its backoff, while it waits.
    until: Mono,
}

impl Chunk {
    /// Whether its payload is all that a worker needs.
    pub(crate) fn carries(&self) -> bool {
        self.cut.payload.kind != PayloadKind::Split
    }

    /// Whether it is of files that the master can read, and says where they are: numbers are known before they are read, lines
    /// are not.
    pub(crate) fn reads_files(&self) -> bool {
        !self.carries() && self.cut.entries.is_none() && self.server.is_none()
    }

    /// What it needs of a worker; one that was lost with `max_losses` workers is to be alone.
    pub(crate) fn needs(&self, max_losses: u32) -> Needs<'_> {
        let reads = if self.carries() { &[][..] } else { &self.cut.covers };
        let (avoid, alone, looked) = (&self.failed_on[..], self.losses >= max_losses, self.reads_files());
        Needs { avoid, alone, reads, looked, on: self.server.as_deref(), in_place: false }
    }
}

/// An open task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) node: NodeId,
    /// Sequence numbers of its chunks, rising.
    pub(crate) chunks: Vec<u64>,
    pub(crate) sent_at: Mono,
    /// Bytes of its payloads.
    pub(crate) bytes: u64,
}

/// What lies on the disk of one server.
#[derive(Debug, Default)]
pub(crate) struct OnServer {
    /// Its pending chunks.
    pub(crate) pending: BTreeSet<u64>,
    /// Its chunks that are not final.
    pub(crate) left: u64,
}

/// What is being asked of the servers.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) question: Bytes,
    /// What they have, by name; none for one that the step does without.
    pub(crate) answers: BTreeMap<String, Option<Bytes>>,
}

/// Where the opening of the step's program and source stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Asked,
    Open,
}

/// The running step.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) step: StepId,
    pub(crate) spec: StepSpec,
    pub(crate) opening: Opening,
    pub(crate) plan: u64,
    /// The build that began it; none before it is opened.
    pub(crate) build: Option<u128>,
    pub(crate) parts: Vec<SourcePart>,
    /// Whether some of the parts lie on the disk of a server.
    pub(crate) is_on_servers: bool,
    /// Bytes of the parts, where they are known, without those of missing servers.
    source_bytes: Option<u64>,
    pub(crate) started_at: Mono,
    pub(crate) started_wall: u64,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) ledger: Ledger,
    /// Pending chunks that any worker may take.
    pub(crate) pending: BTreeSet<u64>,
    /// What lies on the disk of one server, by its name.
    pub(crate) on_servers: BTreeMap<String, OnServer>,
    /// What is being asked of the servers, before the source is known.
    pub(crate) asking: Option<Asking>,
    /// What a worker is asked before it reads files.
    pub(crate) question: Option<Bytes>,
    /// Servers that are needed and not there, since when.
    pub(crate) missing_since: BTreeMap<String, Mono>,
    /// No worker has what is to be read in place, since then.
    pub(crate) unread_since: Option<Mono>,
    /// What the step does without, by server.
    pub(crate) gaps: BTreeMap<String, Tally>,
    /// Which of its files the workers have, as they said.
    pub(crate) files: Vec<FilesView>,
    /// Bytes read, by worker and where they came from.
    pub(crate) reads: BTreeMap<String, ReadBytes>,
    pub(crate) waiting: BTreeSet<(Mono, u64)>,
    pub(crate) tasks: BTreeMap<Attempt, Task>,
    /// Chunks by what they are doing, kept in step with `Chunk::doing`.
    pub(crate) conceived: u64,
    pub(crate) shipping: u64,
    pub(crate) accepted: u64,
    pub(crate) finals: u64,
    pub(crate) cutting: bool,
    pub(crate) exhausted: bool,
    pub(crate) ending: Option<Ending>,
    pub(crate) finishing: bool,
    /// What is to be told of its end once that is durable.
    pub(crate) end: Option<Observation>,
    /// No worker that takes work since then.
    pub(crate) deserted_since: Option<Mono>,
    pub(crate) set_aside: u64,
    /// Why the first of them was.
    pub(crate) set_aside_for: Option<FailureKind>,
    /// Items that were skipped in accepted results.
    pub(crate) skipped: u64,
    /// All that was set aside, items and chunks, in the order of the journal.
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) aggregated: u64,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_cut: u64,
    /// Payload bytes of shipped chunks in the master's memory.
    pub(crate) shipped_bytes: u64,
    /// Source bytes of the chunks that the master is turning into bytes.
    pub(crate) shipping_bytes: u64,
    /// Whether what is cut now carries its bytes from the start: it has no file that a worker could have.
    pub(crate) carries: bool,
    pub(crate) entries_done: u64,
    pub(crate) retried: u64,
    /// The source that is cut, for a replay of this step.
    pub(crate) source: Bytes,
    /// What a replayed step had cut of it.
    pub(crate) cut_earlier: Vec<Vec<Cover>>,
    /// What a replay goes on from; not known before it is opened.
    pub(crate) earlier: Option<Box<Earlier>>,
    /// The names of the nodes that its receipts passed: they outlive the nodes.
    pub(crate) names: BTreeMap<NodeId, String>,
    /// The last failures, oldest first, at most [`FAILURES_KEPT`].
    pub(crate) failures: Vec<FailureView>,
    /// Its stages behind exchanges; none where what its tasks give goes to the master.
    pub(crate) exchanged_stages: u16,
    /// The exchange that is at work.
    pub(crate) exchange: Option<Exchange>,
    /// Before this, after a restart, no exchange begins: workers come back one by one, and the first is not to own everything.
    pub(crate) settles_until: Mono,
    /// Exchanges that were begun in this life of the master.
    pub(crate) generations: u32,
    /// Records of exchanges of which none was seen to count, in recovery.
    pub(crate) uncommitted: Vec<DoneRecord>,
    /// The exchange that counts, by the master's life and its generation, in recovery.
    pub(crate) committed: Option<(u64, u32)>,
    /// Exponentially weighted nanoseconds a byte of finished tasks.
    pub(crate) nanos_per_byte: Option<f64>,
}

/// Failures that a step keeps for people; the rest are counted.
pub(crate) const FAILURES_KEPT: usize = 1_000;

impl Run {
    pub(crate) fn new(step: StepId, spec: StepSpec, now: Mono, wall: u64) -> Self {
        Self {
            step,
            earlier: spec.replay_of.map(|it| Box::new(Earlier::unknown(it))),
            names: BTreeMap::new(),
            spec,
            opening: Opening::Asked,
            plan: 0,
            build: None,
            parts: Vec::new(),
            is_on_servers: false,
            source_bytes: Some(0),
            started_at: now,
            started_wall: wall,
            chunks: Vec::new(),
            ledger: Ledger::new(step),
            pending: BTreeSet::new(),
            on_servers: BTreeMap::new(),
            asking: None,
            question: None,
            missing_since: BTreeMap::new(),
            unread_since: None,
            gaps: BTreeMap::new(),
            files: Vec::new(),
            reads: BTreeMap::new(),
            waiting: BTreeSet::new(),
            tasks: BTreeMap::new(),
            conceived: 0,
            shipping: 0,
            accepted: 0,
            finals: 0,
            cutting: false,
            exhausted: false,
            ending: None,
            finishing: false,
            end: None,
            deserted_since: None,
            set_aside: 0,
            set_aside_for: None,
            skipped: 0,
            dead_letters: Vec::new(),
            aggregated: 0,
            bytes_done: 0,
            bytes_cut: 0,
            shipped_bytes: 0,
            shipping_bytes: 0,
            carries: false,
            entries_done: 0,
            retried: 0,
            source: Bytes::new(),
            cut_earlier: Vec::new(),
            failures: Vec::new(),
            exchanged_stages: 0,
            exchange: None,
            settles_until: Mono::ZERO,
            generations: 0,
            uncommitted: Vec::new(),
            committed: None,
            nanos_per_byte: None,
        }
    }

    pub(crate) fn chunk(&self, sequence: u64) -> Option<&Chunk> {
        self.chunks.get(usize::try_from(sequence).ok()?)
    }

    pub(crate) fn chunk_mut(&mut self, sequence: u64) -> Option<&mut Chunk> {
        self.chunks.get_mut(usize::try_from(sequence).ok()?)
    }

    /// The chunk of a receipt, if the whole receipt is equal: a foreign one finds nothing.
    pub(crate) fn known(&self, receipt: &ReceiptId) -> Option<&Chunk> {
        self.chunk(receipt.sequence).filter(|it| it.receipt == *receipt)
    }

    /// Takes in a chunk whose conception is being journalled (or was).
    pub(crate) fn add(&mut self, receipt: ReceiptId, cut: Cut) {
        self.carries = cut.payload.kind != PayloadKind::Split;
        if self.carries {
            self.shipped_bytes = self.shipped_bytes.saturating_add(cut.payload.body.len() as u64);
        }
        self.bytes_cut = self.bytes_cut.saturating_add(cut.bytes);
        self.conceived = self.conceived.saturating_add(1);
        let part = cut.covers.first().and_then(|it| self.parts.get(it.part as usize));
        let server = part.and_then(|it| it.server.clone());
        if let Some(server) = &server {
            let on = self.on_servers.entry(server.clone()).or_default();
            on.left = on.left.saturating_add(1);
        }
        self.chunks.push(Chunk {
            receipt,
            cut,
            doing: Doing::Conceived,
            failures: 0,
            losses: 0,
            company: u32::MAX,
            failed_on: Vec::new(),
            kept: false,
            absent: false,
            server,
            until: Mono::default(),
        });
    }

    /// Moves a chunk, keeping every index in step.
    pub(crate) fn to(&mut self, sequence: u64, doing: Doing, until: Mono) {
        let Some(chunk) = self.chunk_mut(sequence) else { return };
        let before = std::mem::replace(&mut chunk.doing, doing);
        let waited_until = std::mem::replace(&mut chunk.until, until);
        let bytes = chunk.cut.bytes;
        // What an exchange has been given waits for all the rest: it does not keep the rest from being cut.
        if self.is_partitioned() && self.chunk(sequence).is_some_and(Chunk::carries) {
            let held = self.chunk(sequence).map_or(0, |it| it.cut.payload.body.len() as u64);
            if doing == Doing::Accepted {
                self.shipped_bytes = self.shipped_bytes.saturating_sub(held);
            }
            if before == Doing::Accepted {
                self.shipped_bytes = self.shipped_bytes.saturating_add(held);
            }
        }
        // Of the few steps that have such chunks.
        let server = self.chunk(sequence).and_then(|it| it.server.clone());
        let pending = match server.as_ref().and_then(|it| self.on_servers.get_mut(it)) {
            Some(on) => {
                let left = u64::from(doing != Doing::Final);
                let was_left = u64::from(before != Doing::Final);
                on.left = on.left.saturating_add(left).saturating_sub(was_left);
                &mut on.pending
            }
            None => &mut self.pending,
        };
        if before == Doing::Pending {
            pending.remove(&sequence);
        }
        if doing == Doing::Pending {
            pending.insert(sequence);
        }
        match before {
            Doing::Conceived => self.conceived = self.conceived.saturating_sub(1),
            Doing::Waiting => {
                self.waiting.remove(&(waited_until, sequence));
            }
            Doing::Shipping => {
                self.shipping = self.shipping.saturating_sub(1);
                self.shipping_bytes = self.shipping_bytes.saturating_sub(bytes);
            }
            Doing::Accepted => self.accepted = self.accepted.saturating_sub(1),
            Doing::Final => self.finals = self.finals.saturating_sub(1),
            Doing::Pending | Doing::Open(_) => {}
        }
        match doing {
            Doing::Conceived => self.conceived = self.conceived.saturating_add(1),
            Doing::Waiting => {
                self.waiting.insert((until, sequence));
            }
            Doing::Shipping => {
                self.shipping = self.shipping.saturating_add(1);
                self.shipping_bytes = self.shipping_bytes.saturating_add(bytes);
            }
            Doing::Accepted => self.accepted = self.accepted.saturating_add(1),
            Doing::Final => self.finals = self.finals.saturating_add(1),
            Doing::Pending | Doing::Open(_) => {}
        }
    }

    /// The pending chunks that compete with this one for a worker.
    pub(crate) fn pending_beside(&self, sequence: u64) -> &BTreeSet<u64> {
        let server = self.chunk(sequence).and_then(|it| it.server.as_ref());
        server.and_then(|it| self.on_servers.get(it)).map_or(&self.pending, |it| &it.pending)
    }

    /// Chunks that can be assigned.
    pub(crate) fn pending_count(&self) -> u64 {
        let on_servers: usize = self.on_servers.values().map(|it| it.pending.len()).sum();
        self.pending.len().saturating_add(on_servers) as u64
    }

    /// Learns what its source consists of.
    pub(crate) fn set_parts(&mut self, parts: Vec<SourcePart>) {
        self.is_on_servers = parts.iter().any(|it| it.server.is_some());
        let bytes = |it: &SourcePart| it.length.map(|length| length.saturating_mul(it.unit_bytes));
        self.source_bytes = parts.iter().filter(|it| !it.missing).map(bytes).sum();
        self.parts = parts;
    }

    /// Notes why a chunk was set aside, live and in recovery. One whose server is missing is a gap, and no failure.
    pub(crate) fn note_set_aside(
        &mut self,
        receipt: ReceiptId,
        kind: FailureKind,
        item: Option<u64>,
        node: &str,
        message: &str,
    ) {
        if kind != FailureKind::Missing {
            self.set_aside_for.get_or_insert(kind);
        } else if let Some(chunk) = self.chunk(receipt.sequence) {
            let (server, bytes) = (chunk.server.clone().unwrap_or_default(), chunk.cut.bytes);
            *self.gaps.entry(server).or_default() += Tally { receipts: 1, entries: 0, bytes };
        }
        self.dead_letters.push(DeadLetter::set_aside(receipt, kind, item, node, message));
    }

    /// Chunks that the step does without.
    pub(crate) fn gap_chunks(&self) -> u64 {
        self.gaps.values().map(|it| it.receipts).sum()
    }

    /// Lets a chunk's payload go: it is not needed again, or the store has it.
    pub(crate) fn let_go(&mut self, sequence: u64) {
        let Some(chunk) = self.chunk_mut(sequence) else { return };
        if chunk.cut.payload.kind != PayloadKind::Split {
            let bytes = std::mem::take(&mut chunk.cut.payload.body).len() as u64;
            self.shipped_bytes = self.shipped_bytes.saturating_sub(bytes);
        }
    }

    /// A payload that a restart had lost is there again.
    pub(crate) fn refill(&mut self, receipt: &ReceiptId, payload: Payload, now: Mono) {
        let Some(doing) = self.known(receipt).map(|it| it.doing) else { return };
        if matches!(doing, Doing::Accepted | Doing::Final) {
            return;
        }
        self.shipped_bytes = self.shipped_bytes.saturating_add(payload.body.len() as u64);
        if let Some(chunk) = self.chunk_mut(receipt.sequence) {
            chunk.cut.payload = payload;
        }
        // A worker may have kept the chunk over the restart: then the payload is there in case it fails.
        if doing == Doing::Shipping {
            self.to(receipt.sequence, Doing::Pending, now);
        }
    }

    /// What was cut of the source, for a replay, where that was not all.
    pub(crate) fn rest(&self) -> Option<Vec<Vec<Cover>>> {
        if self.exhausted {
            return None;
        }
        let from_source = |it: &&Chunk| self.ledger.get(&it.receipt).is_ok_and(|it| it.to_record().parents.is_empty());
        let own = self.chunks.iter().filter(from_source).map(|it| it.cut.covers.clone());
        Some(self.cut_earlier.iter().cloned().chain(own).collect())
    }

    /// The name of a node that its receipts come to.
    pub(crate) fn learn_name(&mut self, node: NodeId, name: &str) {
        self.names.entry(node).or_insert_with(|| name.to_owned());
    }

    /// Leaves a mark in the ledger. A chunk that is final takes none, and counts what came too late.
    pub(crate) fn mark(&mut self, receipt: &ReceiptId, station: Station, node: Option<NodeId>, wall: u64) {
        // Only a receipt of the run is marked, and a second final station is what the audit is there to show.
        self.ledger.mark(receipt, station, node, wall).ok();
    }

    /// What was read of a chunk.
    pub(crate) fn entries_of(&self, receipt: &ReceiptId) -> Option<u64> {
        self.ledger.get(receipt).ok().and_then(|it| it.read()).map(|it| it.entries)
    }

    /// Chunks that did not get into the result, with what is needed to run them again.
    pub(crate) fn left(&self) -> Vec<(ReceiptId, Cut)> {
        let aggregated =
            |it: &Chunk| self.ledger.get(&it.receipt).is_ok_and(|it| it.station() == Some(Station::Aggregated));
        self.chunks.iter().filter(|it| !aggregated(it)).map(|it| (it.receipt, it.cut.clone())).collect()
    }

    /// Bytes of the source, where they are known; of a replay, without those that it has no more to read.
    pub(crate) fn bytes_total(&self) -> Option<u64> {
        let earlier = self.earlier.as_ref().map_or(0, |it| it.replayed().bytes);
        self.source_bytes.map(|all| all.saturating_sub(earlier))
    }

    pub(crate) fn remember(&mut self, failure: FailureView) {
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(failure);
        }
    }

    pub(crate) fn progress(&self, now: Mono) -> Progress {
        let (held, bytes, entries) = match &self.exchange {
            Some(exchange) => (self.accepted, exchange.bytes, exchange.entries),
            None => (0, 0, 0),
        };
        Progress {
            chunks: self.chunks.len() as u64,
            chunks_done: self.aggregated.saturating_add(held),
            chunks_set_aside: self.set_aside,
            items_skipped: self.skipped,
            chunks_open: self.tasks.values().map(|it| it.chunks.len() as u64).sum(),
            source_exhausted: self.exhausted,
            bytes_total: self.bytes_total(),
            bytes_done: self.bytes_done.saturating_add(bytes),
            entries_done: self.entries_done.saturating_add(entries),
            elapsed_nanos: now.since(self.started_at).as_nanos().try_into().unwrap_or(u64::MAX),
            retried: self.retried,
        }
    }
}
