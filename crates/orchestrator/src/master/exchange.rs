//! Steps whose first stage is split by key and exchanged between the workers.
//!
//! ```text
//! tasks of the source ─ parcels ─> owners, who merge        the master: sums alone
//!        all done: every chunk accepted ──> Partition, to each owner, with the sum that it has to have
//!        all partitions of the stage done ──> those of the next stage, for which they have given parcels
//!        all partitions of the last stage done ──> every record into the journal, then one that says that they count
//! ```
//!
//! Until that record is in the journal, nothing of the exchange counts: its chunks are accepted, and not final. Results are
//! acknowledged at once all the same: they are sums, or what is made again with the rest. A worker that is
//! lost takes parcels along that nobody has any more, whether it gave them or owned them. The exchange is begun anew then, under
//! the next generation, and its chunks are assigned again; so it is after a crash of the master.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use elastic_flow_clock::Mono;
use elastic_flow_queue::StepErrorKind;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StageId, Station};
use elastic_flow_wire::message::{
    ExchangeNotice, Message, Outcome, PartitionAssignment, PartitionId, PartitionOwner, PartitionSum, PeerUnreached,
    TaskResult,
};

use super::accept::note_reads;
use super::core::{MasterCore, Then};
use super::dead_letters::note_skips;
use super::effects::{Cause, Effect, Observation};
use super::nodes::{Node, Nodes};
use super::run::{Doing, Opening, Run};
use crate::api::FailureView;
use crate::journal::{DoneRecord, ExchangedRecord, Record};

/// Partitions that there are at least: as many on one machine as on a few, so that their results come in the same order.
const PARTITIONS_MIN: u32 = 16;
/// Partitions that there are at most.
const PARTITIONS_MAX: u32 = 256;
/// An exchange is begun anew so often, at most.
const GENERATIONS_MAX: u32 = 16;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Tasks of the source give parcels.
    Giving,
    /// All is given to this stage; the owners work on its partitions.
    Working(StageId),
    /// All is here, and on its way into the journal.
    Committing,
}

/// A partition that its owner works on.
#[derive(Debug, Clone, Copy)]
struct OpenPartition {
    receipt: ReceiptId,
    owner: NodeId,
    sum: PartitionSum,
    /// When its owner was told, if it was.
    sent_at: Option<Mono>,
}

/// The exchanges of the running step, of which each is behind one stage and before another: they begin and count together.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    owners: Vec<PartitionOwner>,
    /// How many stages there are behind exchanges.
    stages: u16,
    /// How many partitions each of them has.
    partitions: u32,
    /// What each partition has been given.
    sums: BTreeMap<PartitionId, PartitionSum>,
    /// Who has been told of it, and may have given something; whether that came through, as far as is known.
    told: BTreeMap<NodeId, bool>,
    /// Results that count together, once all are there.
    held: Vec<DoneRecord>,
    /// The attempts on the source among them.
    counted: BTreeSet<Attempt>,
    /// Partitions that are at work.
    open: BTreeMap<Attempt, OpenPartition>,
    /// Items and source bytes of the results that are held.
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Items skipped in them.
    skips: u64,
}

impl Exchange {
    fn begin(generation: u32, stages: u16, nodes: &Nodes) -> Option<Self> {
        let able = |it: &&Node| it.takes_work() && it.announced;
        let mut able: Vec<&Node> = nodes.by_id.values().filter(able).collect();
        // One that nobody can reach owns nothing, unless it is alone.
        if able.len() > 1 {
            able.retain(|it| !it.joined.address.is_empty());
        }
        if able.is_empty() {
            return None;
        }
        // What a worker says of itself is bounded before it sizes anything.
        let slots_of = |it: &Node| it.joined.slots.clamp(1, PARTITIONS_MAX);
        let slots = able.iter().fold(0_u32, |all, it| all.saturating_add(slots_of(it)));
        let partitions = slots.saturating_mul(2).min(PARTITIONS_MAX).next_power_of_two().max(PARTITIONS_MIN);
        let mut owners: Vec<PartitionOwner> = able
            .iter()
            .map(|it| PartitionOwner {
                node: it.joined.node,
                name: it.joined.name.clone(),
                address: it.joined.address.clone(),
                partitions: Vec::new(),
            })
            .collect();
        // In turn, each as often as it has slots.
        let turns: Vec<usize> =
            able.iter().enumerate().flat_map(|(index, it)| (0..slots_of(it)).map(move |_| index)).collect();
        for (partition, index) in (0..partitions).zip(turns.iter().cycle()) {
            if let Some(owner) = owners.get_mut(*index) {
                owner.partitions.push(partition);
            }
        }
        Some(Self {
            generation,
            phase: Phase::Giving,
            owners,
            stages,
            partitions,
            sums: BTreeMap::new(),
            told: BTreeMap::new(),
            held: Vec::new(),
            counted: BTreeSet::new(),
            open: BTreeMap::new(),
            entries: 0,
            bytes: 0,
            skips: 0,
        })
    }

    /// Partitions that their owners work on.
    pub(crate) fn at_work(&self) -> usize {
        self.open.len()
    }

    /// Whether it cannot go on without this worker.
    fn needs(&self, node: NodeId) -> bool {
        self.phase != Phase::Committing
            && (self.told.contains_key(&node) || self.owners.iter().any(|it| it.node == node))
    }

    /// Adds what a task, or a partition, of stage `from` gave. False if it names a partition that does not come behind it.
    fn add(&mut self, from: StageId, sums: &[(PartitionId, PartitionSum)]) -> bool {
        let known = |id: &PartitionId| id.stage > from && id.stage.0 <= self.stages && id.number < self.partitions;
        let known = sums.iter().all(|(id, _)| known(id));
        for (id, sum) in sums.iter().filter(|_| known) {
            self.sums.entry(*id).or_default().add(sum);
        }
        known
    }
}

impl MasterCore {
    /// Begins the exchange of a step that has one, as soon as there is a worker.
    pub(super) fn begin_exchange(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        if run.exchanged_stages == 0
            || run.exchange.is_some()
            || run.opening == Opening::Asked
            || run.ending.is_some()
            || run.pending_count() == 0
            || now < run.settles_until
        {
            return;
        }
        let generation = run.generations.saturating_add(1);
        if let Some(exchange) = Exchange::begin(generation, run.exchanged_stages, &self.nodes) {
            run.generations = generation;
            let owners: Vec<NodeId> = exchange.owners.iter().map(|it| it.node).collect();
            run.exchange = Some(exchange);
            // Its owners merge from the start.
            for owner in owners {
                self.notify(owner, out);
                self.generation_for(owner, out);
            }
        }
    }

    /// A worker has lost what it was told: it is told again.
    pub(super) fn untold(&mut self, node: NodeId) {
        let exchange = self.run.as_mut().and_then(|it| it.exchange.as_mut());
        if let Some(told) = exchange.and_then(|it| it.told.get_mut(&node)) {
            *told = false;
        }
    }

    /// Whether what a record says counts, as far as the journal shows.
    #[must_use]
    pub fn counts(&self, done: &DoneRecord) -> bool {
        let committed = self.run.as_ref().and_then(|it| it.committed);
        done.generation == 0 || committed == Some((done.attempt.epoch, done.generation))
    }

    /// The generation under which a task is given to a worker, which is told of the exchange before its first; 0 where the step
    /// has none.
    pub(super) fn generation_for(&mut self, node: NodeId, out: &mut Vec<Effect>) -> u32 {
        let epoch = self.epoch;
        let Some(run) = self.run.as_mut() else { return 0 };
        let Some(exchange) = run.exchange.as_mut() else { return 0 };
        if exchange.told.insert(node, true) != Some(true) {
            let Exchange { generation, stages, partitions, .. } = *exchange;
            let owners = exchange.owners.clone();
            let notice = ExchangeNotice { step: run.step, epoch, generation, stages, partitions, owners };
            out.push(Effect::Send(node, Message::Exchange(notice)));
        }
        exchange.generation
    }

    /// A task has given its output to the owners: its chunks are done, and count with all others.
    pub(super) fn on_exchanged(&mut self, now: Mono, node: NodeId, result: TaskResult, out: &mut Vec<Effect>) {
        let Outcome::Exchanged { chunks, sums, nanos, skips } = result.outcome else { return };
        let (attempt, epoch) = (result.attempt, self.epoch);
        let Some(run) = self.run.as_mut() else { return };
        let free = |it: &ReceiptId| run.known(it).is_some_and(|it| !matches!(it.doing, Doing::Accepted | Doing::Final));
        let fresh = !result.receipts.is_empty()
            && chunks.len() == result.receipts.len()
            && chunks.iter().zip(&result.receipts).all(|(read, receipt)| read.receipt == *receipt && free(receipt))
            && skips.iter().all(|it| result.receipts.contains(&it.receipt));
        let current = |it: &Exchange| it.generation == result.generation && attempt.epoch == epoch;
        // Nothing is lost with it that would not be made again: it need not be kept, whatever becomes of it.
        out.push(Effect::Send(node, Message::Ack(attempt)));
        if run.exchange.as_ref().is_some_and(|it| current(it) && it.counted.contains(&attempt)) {
            return;
        }
        let given_twice =
            run.exchange.as_ref().is_some_and(|it| current(it) && it.phase != Phase::Committing) && !fresh;
        let exchange = run.exchange.as_mut().filter(|it| current(it) && it.phase == Phase::Giving);
        let Some(exchange) = exchange.filter(|_| fresh) else {
            // Of an earlier generation, or of what is done: what it gave counts nowhere.
            self.totals.stale = self.totals.stale.saturating_add(1);
            self.give_back(now, attempt, &result.receipts);
            if given_twice {
                let worker = self.nodes.name(node);
                self.restart_exchange(&format!("{worker} gave what another attempt had given"), out);
            }
            return;
        };
        if !exchange.add(result.stage, &sums) {
            let message = format!("{} named a partition that there is not", self.nodes.name(node));
            self.fail(result.step, Cause::new(StepErrorKind::Bug, message));
            return;
        }
        exchange.skips = exchange.skips.saturating_add(skips.len() as u64);
        exchange.entries = chunks.iter().fold(exchange.entries, |all, it| all.saturating_add(it.entries));
        exchange.bytes = chunks.iter().fold(exchange.bytes, |all, it| all.saturating_add(it.bytes));
        let skipped = exchange.skips;
        self.supersede(now, attempt, &result.receipts, out);
        let record = DoneRecord {
            step: result.step,
            attempt,
            stage: result.stage,
            generation: result.generation,
            node: self.nodes.name(node),
            incarnation: node,
            chunks,
            segments: Vec::new(),
            skips,
        };
        self.accept_reads(now, node, &record.chunks, nanos, out);
        if let Some(exchange) = self.run.as_mut().and_then(|it| it.exchange.as_mut()) {
            exchange.counted.insert(attempt);
            exchange.held.push(record);
        }
        if skipped > self.settings.max_skips {
            let message =
                format!("{skipped} items were skipped, of at most {} (retry.max_skips)", self.settings.max_skips);
            self.fail(result.step, Cause::new(StepErrorKind::Skips, message));
        }
    }

    /// A partition's result, or why there is none.
    pub(super) fn on_partition(&mut self, node: NodeId, result: TaskResult, out: &mut Vec<Effect>) {
        let worker = self.nodes.name(node);
        out.push(Effect::Send(node, Message::Ack(result.attempt)));
        let exchange = self.run.as_mut().and_then(|it| it.exchange.as_mut());
        let exchange = exchange.filter(|it| it.generation == result.generation);
        let Some(OpenPartition { receipt, .. }) = exchange.and_then(|it| it.open.remove(&result.attempt)) else {
            return;
        };
        match result.outcome {
            Outcome::Done { segments, .. } => {
                let record = DoneRecord {
                    step: result.step,
                    attempt: result.attempt,
                    stage: result.stage,
                    generation: result.generation,
                    node: worker,
                    incarnation: node,
                    chunks: Vec::new(),
                    segments,
                    skips: Vec::new(),
                };
                if let Some(exchange) = self.run.as_mut().and_then(|it| it.exchange.as_mut()) {
                    exchange.held.push(record);
                }
            }
            Outcome::Failed { item, message, log_tail, .. } => {
                let at = item.map(|it| format!(" at item {it}")).unwrap_or_default();
                let text = format!("{} on {worker}{at}: {message}", PartitionId::of(&receipt));
                let view = FailureView {
                    receipt: None,
                    item,
                    node: worker,
                    message: text.clone(),
                    attempts: 1,
                    log_tail,
                    set_aside: false,
                };
                self.tell_failure(view, out);
                self.fail(result.step, Cause::new(StepErrorKind::Aggregate, text));
            }
            // An attempt that was taken from its worker had given its parcels before it heard of that.
            Outcome::NotHere { message, .. } => {
                self.restart_exchange(&format!("{worker}: {message}"), out);
            }
            // It was for another exchange.
            Outcome::Exchanged { sums, .. } => {
                let exchange = self.run.as_mut().and_then(|it| it.exchange.as_mut());
                if !exchange.is_none_or(|it| it.add(result.stage, &sums)) {
                    let message = format!("{worker} named a partition that there is not");
                    self.fail(result.step, Cause::new(StepErrorKind::Bug, message));
                }
            }
            // It stopped, since its grace was over: it leaves, and what it has goes with it.
            Outcome::HandedBack => {
                self.restart_exchange(&format!("{worker} gave {} back", PartitionId::of(&receipt)), out);
            }
        }
    }

    /// A worker has parcels for another one and cannot reach it.
    pub(super) fn on_unreached(&mut self, node: NodeId, unreached: PeerUnreached) {
        let Some(run) = self.run.as_ref().filter(|it| it.step == unreached.step) else { return };
        let current = run.exchange.as_ref().is_some_and(|it| it.generation == unreached.generation);
        // One that is gone is known to be: the exchange has been begun anew without it.
        if current && self.nodes.by_id.contains_key(&unreached.node) {
            let message = format!("from {}: {}", self.nodes.name(node), unreached.message);
            self.fail(unreached.step, Cause::new(StepErrorKind::Resources, message));
        }
    }

    /// Goes on where the tasks of the source are all done, or the partitions; ends what is not wanted any more.
    pub(super) fn watch_exchange(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        let all_given = run.all_given();
        let Some(exchange) = run.exchange.as_ref() else { return };
        if run.ending.is_some() && exchange.phase != Phase::Committing {
            self.drop_exchange(false, out);
            return;
        }
        let next = match exchange.phase {
            Phase::Giving if all_given => 1,
            Phase::Working(stage) if exchange.open.is_empty() => stage.0.saturating_add(1),
            Phase::Giving | Phase::Working(_) | Phase::Committing => return,
        };
        // A stage of which no partition got anything has nothing to do.
        let of = |stage: u16| exchange.sums.range(PartitionId { stage: StageId(stage), number: 0 }..).next();
        match of(next).map(|(id, _)| id.stage) {
            Some(stage) => self.work_on_partitions(stage, now, out),
            None => self.commit_exchange(out),
        }
    }

    fn work_on_partitions(&mut self, stage: StageId, now: Mono, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        let (step, wall) = (run.step, self.wall);
        let Some(exchange) = run.exchange.as_mut() else { return };
        exchange.phase = Phase::Working(stage);
        for owner in &exchange.owners {
            for partition in &owner.partitions {
                let Some(sum) = exchange.sums.get(&PartitionId { stage, number: *partition }).copied() else {
                    continue;
                };
                self.attempts = self.attempts.saturating_add(1);
                let attempt = Attempt { epoch: self.epoch, number: self.attempts };
                let sequence = u64::from(*partition);
                let receipt = ReceiptId::conceive(step, stage, 0, *partition, sequence, wall, sum.rows);
                exchange.open.insert(attempt, OpenPartition { receipt, owner: owner.node, sum, sent_at: None });
            }
        }
        let owners: BTreeSet<NodeId> = exchange.open.values().map(|it| it.owner).collect();
        for owner in owners {
            self.assign_partitions(now, owner, &[], out);
        }
    }

    /// Gives a worker the partitions that it owns and is not known to have: those that it holds came through.
    fn assign_partitions(&mut self, now: Mono, node: NodeId, holding: &[Attempt], out: &mut Vec<Effect>) {
        let after = self.settings.reconcile_after;
        // The notices may have been lost, too.
        self.untold(node);
        self.notify(node, out);
        let generation = self.generation_for(node, out);
        let Some(exchange) = self.run.as_mut().and_then(|it| it.exchange.as_mut()) else { return };
        for (attempt, open) in exchange.open.iter_mut().filter(|(_, it)| it.owner == node) {
            if missing(open, attempt, holding, now, after) {
                open.sent_at = Some(now);
                let (receipt, sum) = (open.receipt, open.sum);
                let assignment = PartitionAssignment { attempt: *attempt, receipt, generation, sum };
                out.push(Effect::Send(node, Message::Partition(assignment)));
            }
        }
    }

    /// A worker's heartbeat: what it owns, and does not have, was lost on the way and is given again.
    pub(super) fn reconcile_partitions(&mut self, now: Mono, node: NodeId, holding: &[Attempt], out: &mut Vec<Effect>) {
        let after = self.settings.reconcile_after;
        let Some(exchange) = self.run.as_ref().and_then(|it| it.exchange.as_ref()) else { return };
        let lost = |(attempt, open): (&Attempt, &OpenPartition)| {
            open.owner == node && missing(open, attempt, holding, now, after)
        };
        if exchange.open.iter().any(lost) {
            if let Some(entry) = self.nodes.by_id.get_mut(&node) {
                entry.notified = false;
            }
            self.assign_partitions(now, node, holding, out);
        }
    }

    /// Everything is here: it counts as soon as all of it is in the journal.
    fn commit_exchange(&mut self, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        let Some(exchange) = run.exchange.as_mut() else { return };
        exchange.phase = Phase::Committing;
        let held = exchange.held.clone();
        let record = ExchangedRecord { step: run.step, epoch: self.epoch, generation: exchange.generation };
        for done in held {
            self.journal(Record::Done(done), out);
        }
        let number = self.journal(Record::Exchanged(record), out);
        self.then(number, Then::CommitExchange);
    }

    /// The commit point has passed: merge, mark, tell.
    pub(super) fn on_exchange_committed(&mut self, out: &mut Vec<Effect>) {
        let Some(exchange) = self.run.as_mut().and_then(|it| it.exchange.take()) else { return };
        for done in exchange.held {
            self.count_done(done, out);
        }
        self.watch_skips();
    }

    /// What a record of an exchange that counts says: its chunks are aggregated, its output is merged.
    fn count_done(&mut self, done: DoneRecord, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        note_reads(run, &done.node, &done.chunks);
        note_skips(run, &done.node, &done.skips);
        if let Some(entry) = self.nodes.by_id.get_mut(&done.incarnation) {
            done.chunks.iter().for_each(|it| entry.reads.add(it));
        }
        for read in &done.chunks {
            self.totals.entries = self.totals.entries.saturating_add(read.entries);
            self.totals.bytes = self.totals.bytes.saturating_add(read.bytes);
        }
        self.totals.skipped = self.totals.skipped.saturating_add(done.skips.len() as u64);
        let sequences: Vec<u64> = done.chunks.iter().map(|it| it.receipt.sequence).collect();
        self.count(done.incarnation, &sequences, done.segments, out);
    }

    /// A worker is gone, and with it what it gave or owned.
    pub(super) fn lose_exchange(&mut self, node: NodeId, name: &str, reason: &str, out: &mut Vec<Effect>) {
        let needed = self.run.as_ref().and_then(|it| it.exchange.as_ref()).is_some_and(|it| it.needs(node));
        if needed && !self.planted.exchange_outlives_workers {
            self.restart_exchange(&format!("{name} was lost ({reason})"), out);
        }
    }

    /// Begins the exchange anew: what was given is not there any more.
    fn restart_exchange(&mut self, why: &str, out: &mut Vec<Effect>) {
        self.drop_exchange(true, out);
        let Some(run) = self.run.as_mut() else { return };
        let (step, generations) = (run.step, run.generations);
        let message =
            format!("{why}: the exchange is begun anew from the source ({generations}, at most {GENERATIONS_MAX})");
        let node = self.name.clone();
        let (receipt, item, log_tail) = (None, None, Vec::new());
        let view = FailureView {
            receipt,
            item,
            node,
            message: message.clone(),
            attempts: generations,
            log_tail,
            set_aside: false,
        };
        self.tell_failure(view, out);
        if generations > GENERATIONS_MAX {
            self.fail(step, Cause::new(StepErrorKind::Resources, message));
        }
    }

    /// Forgets the exchange: its chunks are to be done again, if the step goes on.
    fn drop_exchange(&mut self, again: bool, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        let Some(exchange) = run.exchange.take() else { return };
        let tasks: Vec<(Attempt, NodeId, Vec<u64>)> =
            run.tasks.iter().map(|(attempt, it)| (*attempt, it.node, it.chunks.clone())).collect();
        for done in &exchange.held {
            for read in &done.chunks {
                run.to(read.receipt.sequence, Doing::Pending, Mono::ZERO);
                if !again {
                    continue;
                }
                run.mark(&read.receipt, Station::Retried, None, self.wall);
                run.retried = run.retried.saturating_add(1);
                self.totals.retried = self.totals.retried.saturating_add(1);
            }
        }
        for (attempt, open) in &exchange.open {
            out.push(Effect::Send(open.owner, Message::Revoke(*attempt)));
        }
        for (attempt, node, chunks) in tasks {
            out.push(Effect::Send(node, Message::Revoke(attempt)));
            self.close_task(attempt);
            self.reopen(Mono::ZERO, attempt, &chunks);
        }
    }

    fn tell_failure(&mut self, view: FailureView, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        run.remember(view.clone());
        out.push(Effect::Observe(Observation::Failure(run.step, view)));
    }
}

impl Run {
    /// Whether what its tasks give is exchanged between the workers.
    pub(super) const fn is_partitioned(&self) -> bool {
        self.exchanged_stages > 0
    }

    /// Whether the source is cut, and each of its chunks accepted or set aside: nothing more is given.
    fn all_given(&self) -> bool {
        self.exhausted
            && !self.cutting
            && self.tasks.is_empty()
            && self.waiting.is_empty()
            && self.conceived == 0
            && self.shipping == 0
            && self.accepted > 0
            && self.accepted.saturating_add(self.finals) == self.chunks.len() as u64
    }
}

/// Whether a partition was not given to its owner, which holds these attempts, or was lost on the way.
fn missing(open: &OpenPartition, attempt: &Attempt, holding: &[Attempt], now: Mono, after: Duration) -> bool {
    open.sent_at.is_none_or(|sent_at| !holding.contains(attempt) && now >= sent_at + after)
}

/// Takes in what an exchange gave that counts: shared with recovery.
pub(super) fn take_exchanged(run: &mut Run, record: &ExchangedRecord) -> Vec<DoneRecord> {
    run.committed = Some((record.epoch, record.generation));
    let counts = |it: &DoneRecord| it.attempt.epoch == record.epoch && it.generation == record.generation;
    std::mem::take(&mut run.uncommitted).into_iter().filter(counts).collect()
}
