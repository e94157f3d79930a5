//! The distributer: conceives chunks, asks for more of the source, and assigns tasks.

use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::Cut;
use elastic_flow_receipt::{
    Attempt, ConceivedChunk as LedgerChunk, Cover, NodeId, ReceiptId, StageId, Station, StepId,
};
use elastic_flow_wire::message::{Assignment, Message, PayloadKind, StepNotice, TaskChunk};

use super::core::{MasterCore, Then};
use super::effects::{Effect, Hook};
use super::nodes::{ChunkFacts, Needs, Node};
use super::run::{Chunk, Doing, Opening, Run, Task};
use super::ship::{SHIPPED_BYTES_MAX, SHIPPED_CHUNK_BYTES};
use crate::api::ApiError;
use crate::config::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ReadFiles};
use crate::journal::{ConceivedChunk, ConceivedRecord, Record};

/// The first stage of every plan, which reads the source.
pub(super) const SOURCE_STAGE: StageId = StageId(0);
/// Chunks that are asked for at once, at most.
const CUTS_AT_ONCE_MAX: u64 = 256;
/// Pending chunks that are looked at for one that a free worker may take, when earlier ones have to wait for a certain worker.
const SCAN_MAX: usize = 64;
/// Bytes of a task, at most, unless its first chunk alone has more.
const TASK_BYTES_MAX: u64 = 128 << 20;
/// Bytes of a task whose chunks carry theirs, at most, unless its first chunk alone has more: a worker has the message as a whole
/// before it begins, and on a slow link all of its slots wait for it.
const SHIPPED_TASK_BYTES_MAX: u64 = 4 << 20;
/// A chunk is to take about this long; short enough that all slots work to the end.
const CHUNK_NANOS_AIM: f64 = 250e6;

impl MasterCore {
    pub(super) fn on_cut(&mut self, wall: u64, step: StepId, cuts: Vec<Cut>, exhausted: bool, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut().filter(|it| it.step == step && it.cutting) else { return };
        run.cutting = false;
        if run.ending.is_some() {
            return;
        }
        run.exhausted = exhausted;
        self.conceive(wall, cuts.into_iter().map(|cut| (None, cut)).collect(), out);
    }

    /// Conceives the chunks that a replay takes over from the step that it replays.
    pub(super) fn conceive_replays(
        &mut self,
        step: StepId,
        replays: Vec<(ReceiptId, Cut)>,
        cuts: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(run) = self.run.as_mut().filter(|it| it.step == step) else { return };
        run.exhausted = !cuts;
        let wall = run.started_wall;
        self.conceive(wall, replays.into_iter().map(|(parent, cut)| (Some(parent), cut)).collect(), out);
    }

    fn conceive(&mut self, wall: u64, cuts: Vec<(Option<ReceiptId>, Cut)>, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        let (step, exhausted) = (run.step, run.exhausted);
        let first = run.chunks.len() as u64;
        let mut chunks = Vec::with_capacity(cuts.len());
        for (parent, cut) in cuts {
            let sequence = run.chunks.len() as u64;
            let receipt = ReceiptId::conceive(step, SOURCE_STAGE, 0, 0, sequence, wall, cut.bytes);
            let chunk = journalled(receipt, parent, &cut);
            enter(run, wall, &chunk, cut);
            chunks.push(chunk);
        }
        if self.settings.keep_payloads_always {
            // In the store before it is sent, and before the journal says that it is there.
            for sequence in first..first.saturating_add(chunks.len() as u64) {
                self.keep(sequence, out);
            }
        }
        let Some(run) = self.run.as_ref() else { return };
        let last = run.chunks.len() as u64;
        self.totals.conceived = self.totals.conceived.saturating_add(last.saturating_sub(first));
        let number = self.journal(Record::Conceived(ConceivedRecord { step, at: wall, chunks, exhausted }), out);
        self.then(number, Then::Distribute(first..last));
    }

    pub(super) fn ask_for_cuts(&mut self, out: &mut Vec<Effect>) {
        let slots = self.nodes.slots();
        let company = u64::from(self.settings.task_chunks_max).min(4);
        let places = slots.saturating_mul(u64::from(self.settings.open_per_slot));
        let lacks = |it: &Node| it.takes_work() && !it.lacks.is_empty();
        let far = self.settings.read == ReadFiles::Ship || self.nodes.by_id.values().any(lacks);
        let Some(run) = self.run.as_mut() else { return };
        if run.opening == Opening::Asked || run.cutting || run.exhausted || run.ending.is_some() {
            return;
        }
        // Lazily: nothing before a worker could take it, and nothing beyond what the open tasks and their successors need.
        // The first answers tell how large chunks should be, so that few are cut before.
        let answered = run.accepted > 0 || run.finals > 0;
        let wanted = places.saturating_mul(if answered { company } else { 1 });
        let ahead = run.pending_count().saturating_add(run.conceived).saturating_add(run.shipping);
        // What lies on servers is cut at once: descriptors alone, and each server is to have its share from the start.
        let wanted = if run.is_on_servers { u64::MAX } else { wanted };
        if slots == 0 || ahead >= wanted || (run.carries && run.shipped_bytes >= SHIPPED_BYTES_MAX) {
            return;
        }
        run.cutting = true;
        let chunks = if run.chunks.is_empty() { slots } else { wanted.saturating_sub(ahead) };
        let target_bytes = match chunk_bytes(&self.settings, run, slots) {
            _ if run.carries || run.bytes_total().is_none() => SHIPPED_CHUNK_BYTES,
            // What lies on servers is not shipped.
            bytes if far && !run.is_on_servers => bytes.min(SHIPPED_CHUNK_BYTES),
            bytes => bytes,
        };
        out.push(Effect::Cut {
            step: run.step,
            chunks: u32::try_from(chunks.clamp(1, CUTS_AT_ONCE_MAX)).unwrap_or(1),
            target_bytes,
            target_items: self.settings.chunk_items,
        });
    }

    pub(super) fn distribute(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_ref() else { return };
        if run.opening == Opening::Asked || run.ending.is_some() || run.pending_count() == 0 {
            return;
        }
        if run.is_partitioned() && run.exchange.is_none() {
            return;
        }
        self.distribute_on_servers(now, out);
        let mut from = 0;
        let mut scanned = 0;
        while scanned < SCAN_MAX && self.nodes.free(self.settings.open_per_slot) > 0 {
            let Some(first) = self.run.as_ref().and_then(|it| it.pending.range(from..).next().copied()) else { break };
            from = first.saturating_add(1);
            match self.worker_for(first) {
                None => {
                    scanned = scanned.saturating_add(1);
                    self.ship_if_due(now, first, out);
                }
                Some(node) => {
                    let chunks = self.company(first, node);
                    from = chunks.last().map_or(from, |it| it.saturating_add(1));
                    self.assign(now, node, chunks, out);
                }
            }
        }
    }

    /// What lies on the disk of one server goes there, whatever the others have to do.
    fn distribute_on_servers(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_ref() else { return };
        let servers: Vec<String> = run.on_servers.keys().cloned().collect();
        for server in servers {
            let first = |core: &Self| core.run.as_ref()?.on_servers.get(&server)?.pending.first().copied();
            while let Some(first) = first(self)
                && let Some(node) = self.worker_for(first)
            {
                let chunks = self.company(first, node);
                self.assign(now, node, chunks, out);
            }
        }
    }

    fn worker_for(&mut self, sequence: u64) -> Option<NodeId> {
        let run = self.run.as_ref()?;
        let chunk = run.chunk(sequence)?;
        let part =
            chunk.cut.covers.first().and_then(|it| run.parts.get(it.part as usize)).map_or("", |it| it.name.as_str());
        let facts = ChunkFacts { receipt: chunk.receipt, bytes: chunk.cut.bytes, part };
        let ships = chunk.absent || (self.settings.read == ReadFiles::Ship && chunk.reads_files());
        if ships && !chunk.carries() {
            return None;
        }
        let needs = chunk.needs(self.settings.max_losses);
        let in_place = self.settings.read == ReadFiles::InPlace && needs.looked;
        let needs = Needs { looked: needs.looked && run.question.is_some(), in_place, ..needs };
        self.nodes.pick(self.method.as_mut(), facts, needs, self.settings.open_per_slot)
    }

    /// The chunks that share a task with `first`: many while there is much to do, few towards the end, so that all slots work.
    fn company(&self, first: u64, node: NodeId) -> Vec<u64> {
        let Some(run) = self.run.as_ref() else { return Vec::new() };
        let carries = run.chunk(first).is_some_and(Chunk::carries);
        let with_first = |it: &Chunk| {
            it.failed_on.is_empty()
                && it.carries() == carries
                && (carries || (!it.absent && self.nodes.by_id.get(&node).is_some_and(|node| node.has(&it.cut.covers))))
        };
        let pending = run.pending_beside(first);
        let slots = match run.chunk(first).and_then(|it| it.server.as_deref()) {
            Some(server) => self.nodes.slots_of(server),
            None => self.nodes.slots(),
        };
        let shares = slots.max(1).saturating_mul(u64::from(self.settings.open_per_slot));
        let by_count = (pending.len() as u64).div_ceil(shares).clamp(1, u64::from(self.settings.task_chunks_max));
        let bytes_max = match run.bytes_total() {
            Some(total) => {
                let rest = total.saturating_sub(run.bytes_done);
                (rest / shares).clamp(1, TASK_BYTES_MAX)
            }
            None => TASK_BYTES_MAX,
        };
        let company_of = |sequence| {
            run.chunk(sequence)
                .map_or(1, |it| if it.losses >= self.settings.max_losses { 1 } else { u64::from(it.company) })
        };
        let bytes_max = if carries { bytes_max.min(SHIPPED_TASK_BYTES_MAX) } else { bytes_max };
        let mut most = by_count.min(company_of(first));
        let mut bytes = run.chunk(first).map_or(0, |it| it.cut.bytes);
        let mut chunks = vec![first];
        for sequence in pending.range(first.saturating_add(1)..).copied() {
            let Some(chunk) = run.chunk(sequence) else { break };
            most = most.min(company_of(sequence));
            bytes = bytes.saturating_add(chunk.cut.bytes);
            if chunks.len() as u64 >= most || bytes > bytes_max || !with_first(chunk) {
                break;
            }
            chunks.push(sequence);
        }
        chunks
    }

    /// Tells a worker of the running step, once.
    pub(super) fn notify(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_ref() else { return };
        let Some(entry) = self.nodes.by_id.get_mut(&node) else { return };
        if !std::mem::replace(&mut entry.notified, true) {
            out.push(Effect::Send(node, Message::Notice(notice(run, self.settings.max_skips))));
        }
    }

    fn assign(&mut self, now: Mono, node: NodeId, sequences: Vec<u64>, out: &mut Vec<Effect>) {
        self.attempts = self.attempts.saturating_add(1);
        let attempt = Attempt { epoch: self.epoch, number: self.attempts };
        let worker = self.nodes.name(node);
        self.notify(node, out);
        let Some(run) = self.run.as_mut() else { return };
        let Some(entry) = self.nodes.by_id.get_mut(&node) else { return };
        entry.open.insert(attempt);
        entry.open_chunks = entry.open_chunks.saturating_add(sequences.len() as u64);
        run.learn_name(node, &worker);
        let generation = self.generation_for(node, out);
        let Some(run) = self.run.as_mut() else { return };
        let mut chunks = Vec::with_capacity(sequences.len());
        let mut payload_bytes = 0_u64;
        for sequence in &sequences {
            run.to(*sequence, Doing::Open(attempt), now);
            let Some(chunk) = run.chunk(*sequence) else { continue };
            let (receipt, input, bytes) = (chunk.receipt, chunk.cut.input, chunk.cut.bytes);
            payload_bytes = payload_bytes.saturating_add(chunk.cut.payload.body.len() as u64);
            chunks.push(TaskChunk { receipt, input, payload: chunk.cut.payload.clone() });
            let entries = chunk.cut.entries;
            for station in [Station::Distributed, Station::Sent] {
                run.mark(&receipt, station, Some(node), self.wall);
            }
            if self.observing {
                let event = crate::interceptor::ChunkEvent {
                    receipt,
                    node: self.name.clone(),
                    peer: Some(worker.clone()),
                    entries,
                    bytes,
                    error: None,
                };
                out.push(Effect::Observe(super::effects::Observation::Chunk(Hook::Distributed, event.clone())));
                out.push(Effect::Observe(super::effects::Observation::Chunk(Hook::Sent, event)));
            }
        }
        self.totals.distributed = self.totals.distributed.saturating_add(sequences.len() as u64);
        let step = run.step;
        run.tasks.insert(attempt, Task { node, chunks: sequences, sent_at: now, bytes: payload_bytes });
        out.push(Effect::Send(
            node,
            Message::Assign(Assignment { attempt, step, stage: SOURCE_STAGE, generation, chunks }),
        ));
    }

    /// The ending of a step: what has no final station yet is abandoned.
    pub(super) fn abandon_rest(&mut self, out: &mut Vec<Effect>) {
        let observing = self.observing;
        let Some(run) = self.run.as_mut() else { return };
        let rest: Vec<u64> =
            run.chunks.iter().filter(|it| it.doing != Doing::Final).map(|it| it.receipt.sequence).collect();
        for sequence in rest {
            run.to(sequence, Doing::Final, Mono::default());
            let Some(receipt) = run.chunk(sequence).map(|it| it.receipt) else { continue };
            run.mark(&receipt, Station::Abandoned, None, self.wall);
            self.totals.abandoned = self.totals.abandoned.saturating_add(1);
            if observing {
                Self::observe_complete(&self.name, run, sequence, None, out);
            }
        }
    }

    /// The step that a replay would run again.
    ///
    /// # Errors
    /// There is no such step, or it has not ended.
    pub fn may_replay(&self, step: StepId) -> Result<elastic_flow_queue::StepSpec, ApiError> {
        let entry = self.queue.get(step).ok_or(ApiError::NoStep(step))?;
        if entry.state.is_final() {
            Ok(entry.spec.clone())
        } else {
            Err(ApiError::Conflict(format!("step {step} is {}: a step can be replayed once it has ended", entry.state)))
        }
    }
}

fn notice(run: &Run, max_skips: u64) -> StepNotice {
    let (program, params) = (run.spec.program.clone(), run.spec.params.clone());
    StepNotice { step: run.step, program, params, plan: run.plan, max_skips }
}

/// The size of the next chunks: as large as takes [`CHUNK_NANOS_AIM`] here, and small enough that every slot gets several.
fn chunk_bytes(settings: &crate::config::Settings, run: &Run, slots: u64) -> u64 {
    if !settings.chunk_adapts {
        return settings.chunk_bytes;
    }
    let by_time = match run.nanos_per_byte {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to a range of positive bytes first"
        )]
        Some(nanos) if nanos > 0.0 => {
            (CHUNK_NANOS_AIM / nanos).clamp(CHUNK_BYTES_MIN as f64, CHUNK_BYTES_MAX as f64) as u64
        }
        _ => settings.chunk_bytes,
    };
    let rest = run.bytes_total().map_or(u64::MAX, |total| total.saturating_sub(run.bytes_cut));
    let by_share = rest / slots.max(1).saturating_mul(4);
    by_time.min(by_share).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
}

/// The journal's record of a chunk: a split is its own recipe, a shipped payload is named by its digest.
fn journalled(receipt: ReceiptId, parent: Option<ReceiptId>, cut: &Cut) -> ConceivedChunk {
    let digest = xxhash_rust::xxh3::xxh3_64(&cut.payload.body);
    let mut kept = cut.clone();
    if kept.payload.kind != PayloadKind::Split {
        kept.payload.body = bytes::Bytes::new();
    }
    ConceivedChunk { receipt, parent, cut: kept, digest }
}

/// Takes a conceived chunk into the run and its ledger: the live path and recovery share it.
pub(super) fn enter(run: &mut Run, wall: u64, chunk: &ConceivedChunk, cut: Cut) {
    let entered = run.ledger.conceive(LedgerChunk {
        id: chunk.receipt,
        input: cut.input,
        entries: cut.entries,
        bytes: cut.bytes,
        conceived_at: wall,
        digest: Some(chunk.digest),
        parents: chunk.parent.into_iter().collect(),
        generation: 0,
        covers: cut.covers.iter().map(|it| Cover { part: it.part, offset: it.offset, length: it.length }).collect(),
    });
    debug_assert!(entered.is_ok(), "sequence numbers rise");
    run.add(chunk.receipt, cut);
}
