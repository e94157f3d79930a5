//! The worker's part in an exchange: what its tasks gave and their owners have not got yet, and the partitions that it owns. No
//! I/O, no clock.
//!
//! A worker knows one exchange at a time, that of the step that runs. Parcels of an older one are dropped; those of one that it
//! has not been told of yet wait until it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId, StepId};
use elastic_flow_wire::codec::MESSAGE_BYTES_MAX;
use elastic_flow_wire::message::{
    ExchangeNotice, Message, Parcels, ParcelsTaken, PartitionAssignment, PartitionId, PartitionSum, PeerUnreached,
    Segment,
};

use super::core::Effect;

/// Bytes of parcels that no owner has yet, at most: beyond it no further task of the source is begun, and no partition whose output
/// is for another exchange. Merging goes on, and so does what empties this, whatever others do.
const OUTBOX_BYTES_MAX: u64 = 256 << 20;
/// What parcels, and each segment in them, cost beside the bodies, about, in bytes.
const PARCELS_COST: u64 = 256;
const SEGMENT_COST: u64 = 128;
/// Parcels of which none was acknowledged for so long are given again, the first of them: what waited for a link may be dropped.
const RESEND_AFTER: Duration = Duration::from_secs(10);
/// So many at once.
const RESENT_AT_ONCE: usize = 64;
/// For so long an owner that has parcels to get may be out of reach.
pub(super) const REACH_WITHIN: Duration = Duration::from_secs(20);

/// Which exchange: of a life of the master, and within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExchangeId {
    /// The step.
    pub step: StepId,
    /// The life of the master.
    pub epoch: u64,
    /// The number within it.
    pub generation: u32,
}

/// Where an owner stands, as its producers see it.
#[derive(Debug)]
struct Owner {
    name: String,
    address: String,
    connected: bool,
    /// Parcels that it has not said to have.
    unacknowledged: VecDeque<Parcels>,
    /// Not connected, with something to send, since then.
    waits_since: Option<Mono>,
    /// Connected, and nothing of what was sent acknowledged, since then.
    unanswered_since: Option<Mono>,
    /// Whether the master knows that it cannot be reached.
    told: bool,
}

/// A partition that is owned here.
#[derive(Debug, Default)]
struct Owned {
    /// Parcels that are to be merged.
    waiting: Vec<(Attempt, Segment)>,
    merged: PartitionSum,
    is_at_work: bool,
    /// The attempts of what is being merged, one a segment.
    merging: Vec<Attempt>,
    /// What it is to be when it is complete.
    wanted: Option<PartitionAssignment>,
    /// Whether it was worked on: what was merged is gone.
    is_done: bool,
    /// Why merging has failed.
    failed: Option<String>,
}

/// What a partition that is owned here is ready for.
#[derive(Debug)]
pub(super) enum Ready {
    /// Merge these.
    Merge(PartitionId, Vec<Segment>),
    /// Work on it: all is merged.
    Finish(PartitionAssignment),
    /// It cannot be worked on: merging has failed.
    Fail(PartitionAssignment, String),
    /// What is here is not what was given: an attempt that the master does not count has given, too.
    Differs(PartitionAssignment, String),
}

/// The exchanges of a step, on one worker: one behind each stage but the last.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: ExchangeId,
    /// How many stages there are behind exchanges, and how many partitions each has.
    stages: u16,
    pub(super) partitions: u32,
    me: Option<NodeId>,
    owner_of: BTreeMap<u32, NodeId>,
    owners: BTreeMap<NodeId, Owner>,
    /// The numbers of the partitions that are owned here, of all stages, and what has come of them.
    mine: BTreeSet<u32>,
    owned: BTreeMap<PartitionId, Owned>,
    /// The attempts whose parcels have come.
    seen: BTreeSet<Attempt>,
    /// Of whom they came, and how many segments of each are not merged yet.
    unmerged: BTreeMap<Attempt, (NodeId, usize)>,
    /// Bytes of parcels that wait for their owners.
    waiting_bytes: u64,
}

pub(super) fn id_of(notice: &ExchangeNotice) -> ExchangeId {
    ExchangeId { step: notice.step, epoch: notice.epoch, generation: notice.generation }
}

impl Exchange {
    /// Begins one, on the node `me`; asks for connections to the other owners.
    pub(super) fn begin(notice: ExchangeNotice, me: NodeId, out: &mut Vec<Effect>) -> Self {
        let id = id_of(&notice);
        let mut exchange = Self {
            id,
            stages: notice.stages,
            partitions: notice.partitions,
            me: None,
            owner_of: BTreeMap::new(),
            owners: BTreeMap::new(),
            mine: BTreeSet::new(),
            owned: BTreeMap::new(),
            seen: BTreeSet::new(),
            unmerged: BTreeMap::new(),
            waiting_bytes: 0,
        };
        for owner in notice.owners {
            exchange.owner_of.extend(owner.partitions.iter().map(|it| (*it, owner.node)));
            if owner.node == me {
                exchange.me = Some(me);
                exchange.mine.extend(owner.partitions);
                continue;
            }
            out.push(Effect::Connect { node: owner.node, address: owner.address.clone() });
            exchange.owners.insert(
                owner.node,
                Owner {
                    name: owner.name,
                    address: owner.address,
                    connected: false,
                    unacknowledged: VecDeque::new(),
                    waits_since: None,
                    unanswered_since: None,
                    told: false,
                },
            );
        }
        exchange
    }

    /// Ends it here: nothing of it is wanted any more.
    pub(super) fn end(self, out: &mut Vec<Effect>) {
        out.extend(self.owners.into_keys().map(Effect::Disconnect));
        out.push(Effect::DropPartitions(self.id));
    }

    pub(super) const fn owns_partitions(&self) -> bool {
        self.me.is_some()
    }

    /// Whether so much waits for owners that no further task is to give more.
    pub(super) const fn is_full(&self) -> bool {
        self.waiting_bytes > OUTBOX_BYTES_MAX
    }

    /// Bytes of parcels that wait for their owners.
    pub(super) const fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// What a task, or a partition, has given: to its owners, this worker perhaps among them. Gives the sums, by partition.
    pub(super) fn give(
        &mut self,
        attempt: Attempt,
        segments: Vec<Segment>,
        out: &mut Vec<Effect>,
    ) -> Vec<(PartitionId, PartitionSum)> {
        let sums = segments.iter().map(|it| (PartitionId::of(&it.receipt), PartitionSum::of(it))).collect();
        let mut by_owner = BTreeMap::<NodeId, Vec<Segment>>::new();
        for segment in segments {
            if let Some(owner) = self.owner_of.get(&segment.receipt.partition) {
                by_owner.entry(*owner).or_default().push(segment);
            }
        }
        for (node, segments) in by_owner {
            let parcels = Parcels { step: self.id.step, attempt, generation: self.id.generation, segments };
            match self.owners.get_mut(&node) {
                None => self.take(node, parcels, out),
                Some(owner) => {
                    if owner.connected {
                        out.push(Effect::SendPeer(node, Message::Parcels(parcels.clone())));
                    }
                    self.waiting_bytes = self.waiting_bytes.saturating_add(bytes_of(&parcels));
                    owner.unacknowledged.push_back(parcels);
                }
            }
        }
        sums
    }

    /// Takes parcels in, those of one attempt once. They are acknowledged when they are merged, so that a producer which is ahead of
    /// that waits.
    pub(super) fn take(&mut self, from: NodeId, parcels: Parcels, out: &mut Vec<Effect>) {
        let attempt = parcels.attempt;
        if !self.seen.insert(attempt) {
            if !self.unmerged.contains_key(&attempt) {
                self.acknowledge(from, attempt, out);
            }
            return;
        }
        let mut taken = 0;
        for segment in parcels.segments {
            // One that cannot be merged any more takes nothing in, and keeps nobody waiting.
            if let Some(owned) = self.owned(PartitionId::of(&segment.receipt)).filter(|it| it.failed.is_none()) {
                owned.waiting.push((attempt, segment));
                taken += 1;
            }
        }
        if taken == 0 {
            self.acknowledge(from, attempt, out);
        } else {
            self.unmerged.insert(attempt, (from, taken));
        }
    }

    /// What has come of a partition, if it is owned here.
    fn owned(&mut self, id: PartitionId) -> Option<&mut Owned> {
        let is_mine = (1..=self.stages).contains(&id.stage.0) && self.mine.contains(&id.number);
        is_mine.then(|| self.owned.entry(id).or_default())
    }

    fn acknowledge(&self, to: NodeId, attempt: Attempt, out: &mut Vec<Effect>) {
        if Some(to) != self.me {
            let (step, generation) = (self.id.step, self.id.generation);
            out.push(Effect::ReplyPeer(to, Message::Taken(ParcelsTaken { step, attempt, generation })));
        }
    }

    /// An owner has parcels: they are let go.
    pub(super) fn on_taken(&mut self, node: NodeId, attempt: Attempt) {
        if let Some(owner) = self.owners.get_mut(&node) {
            // They are mostly taken in the order in which they were given.
            let at = owner.unacknowledged.iter().position(|it| it.attempt == attempt);
            if let Some(taken) = at.and_then(|at| owner.unacknowledged.remove(at)) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes_of(&taken));
            }
            owner.unanswered_since = None;
        }
    }

    /// An owner can be reached: it gets what it has not said to have.
    pub(super) fn on_up(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.connected = true;
            owner.waits_since = None;
            let again = owner.unacknowledged.iter().cloned();
            out.extend(again.map(|it| Effect::SendPeer(node, Message::Parcels(it))));
        }
    }

    pub(super) fn on_down(&mut self, node: NodeId) {
        if let Some(owner) = self.owners.get_mut(&node) {
            owner.connected = false;
        }
    }

    /// An owner that has parcels to get and was out of reach for too long is told to the master, once.
    pub(super) fn watch(&mut self, now: Mono, out: &mut Vec<Effect>) {
        for (node, owner) in &mut self.owners {
            if owner.connected || owner.unacknowledged.is_empty() {
                owner.waits_since = None;
                let waits = owner.connected && !owner.unacknowledged.is_empty();
                let since = waits.then(|| *owner.unanswered_since.get_or_insert(now));
                if since.is_some_and(|since| now >= since + RESEND_AFTER) {
                    owner.unanswered_since = None;
                    let first = owner.unacknowledged.iter().take(RESENT_AT_ONCE).cloned();
                    out.extend(first.map(|it| Effect::SendPeer(*node, Message::Parcels(it))));
                }
                continue;
            }
            owner.unanswered_since = None;
            let since = *owner.waits_since.get_or_insert(now);
            if now >= since + REACH_WITHIN && !std::mem::replace(&mut owner.told, true) {
                let message = format!(
                    "worker {} cannot be reached at {} for {} s: say with --advertise where the others reach it, and let them \
                     connect there",
                    owner.name,
                    if owner.address.is_empty() { "no address" } else { &owner.address },
                    REACH_WITHIN.as_secs()
                );
                let (step, generation) = (self.id.step, self.id.generation);
                let unreached = PeerUnreached { step, generation, node: *node, message };
                out.push(Effect::Send(Message::Unreached(unreached)));
            }
        }
    }

    /// The attempts on partitions that are not complete.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Attempt> {
        self.owned.values().filter_map(|it| it.wanted.as_ref()).map(|it| it.attempt)
    }

    /// All of a partition has been given. It is told again where that may have been lost: it counts once.
    pub(super) fn want(&mut self, assignment: PartitionAssignment) {
        let owned = self.owned(PartitionId::of(&assignment.receipt)).filter(|it| !it.is_done);
        if let Some(owned) = owned {
            owned.wanted.get_or_insert(assignment);
        }
    }

    /// A compute thread has merged what it was given.
    pub(super) fn on_merged(
        &mut self,
        partition: PartitionId,
        merged: PartitionSum,
        failed: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(owned) = self.owned.get_mut(&partition) else { return };
        owned.is_at_work = false;
        owned.merged.add(&merged);
        owned.failed = owned.failed.take().or(failed);
        let mut done = std::mem::take(&mut owned.merging);
        if owned.failed.is_some() {
            done.extend(std::mem::take(&mut owned.waiting).into_iter().map(|(attempt, _)| attempt));
        }
        for attempt in done {
            let Some((from, left)) = self.unmerged.get_mut(&attempt) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0 {
                let from = *from;
                self.unmerged.remove(&attempt);
                self.acknowledge(from, attempt, out);
            }
        }
    }

    /// The partitions that are wanted of a worker that cannot work on them.
    pub(super) fn take_wanted(&mut self) -> Vec<PartitionAssignment> {
        self.owned.values_mut().filter_map(|it| it.wanted.take()).collect()
    }

    /// The next partition that something can be done for, marked as at work where a compute thread does it. Merging comes first: what
    /// is worked on gives more to merge.
    pub(super) fn next_ready(&mut self) -> Option<Ready> {
        self.next_merge().or_else(|| self.next_complete())
    }

    fn next_merge(&mut self) -> Option<Ready> {
        let (partition, owned) = self.owned.iter_mut().find(|(_, it)| !it.is_at_work && !it.waiting.is_empty())?;
        owned.is_at_work = true;
        let (attempts, segments) = std::mem::take(&mut owned.waiting).into_iter().unzip();
        owned.merging = attempts;
        Some(Ready::Merge(*partition, segments))
    }

    fn next_complete(&mut self) -> Option<Ready> {
        // What is worked on for another exchange would add to what waits already.
        let from = if self.is_full() { self.stages } else { 1 };
        for (partition, owned) in &mut self.owned {
            let Some(wanted) = owned.wanted.as_ref().filter(|_| !owned.is_at_work && owned.waiting.is_empty()) else {
                continue;
            };
            if let Some(message) = owned.failed.clone() {
                owned.is_done = true;
                return owned.wanted.take().map(|it| Ready::Fail(it, message));
            }
            if wanted.sum == owned.merged {
                if partition.stage.0 < from {
                    continue;
                }
                owned.is_done = true;
                return owned.wanted.take().map(Ready::Finish);
            }
            // What is still under way comes; more, or other, than was given does not go away.
            if owned.merged.parcels >= wanted.sum.parcels {
                let message =
                    format!("{partition} has {:?} where the tasks that count gave {:?}", owned.merged, wanted.sum);
                owned.is_done = true;
                return owned.wanted.take().map(|it| Ready::Differs(it, message));
            }
        }
        None
    }

    /// Why what a task, or a partition, has given cannot be sent, if it is too much for one message to one owner.
    pub(super) fn too_much(&self, segments: &[Segment]) -> Option<String> {
        let mut by_owner = BTreeMap::<NodeId, u64>::new();
        for segment in segments {
            let owner = self.owner_of.get(&segment.receipt.partition).filter(|it| self.owners.contains_key(it));
            if let Some(owner) = owner {
                let bytes = by_owner.entry(*owner).or_insert(PARCELS_COST);
                *bytes = bytes.saturating_add(cost_of(segment));
            }
        }
        let most = by_owner.into_values().max().filter(|most| *most > MESSAGE_BYTES_MAX as u64)?;
        Some(format!(
            "what is exchanged is {most} bytes for one worker, of at most {MESSAGE_BYTES_MAX} at once: make chunks smaller, have more \
             workers, or reduce before it is exchanged"
        ))
    }
}

/// What a segment costs.
fn cost_of(segment: &Segment) -> u64 {
    SEGMENT_COST.saturating_add(segment.body.len() as u64)
}

pub(super) fn bytes_of(parcels: &Parcels) -> u64 {
    parcels.segments.iter().map(cost_of).fold(PARCELS_COST, u64::saturating_add)
}

/// The exchange that parcels are of.
pub(super) const fn exchange_of(parcels: &Parcels) -> ExchangeId {
    ExchangeId { step: parcels.step, epoch: parcels.attempt.epoch, generation: parcels.generation }
}
