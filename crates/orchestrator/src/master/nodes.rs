//! The workers that are connected, and which of them should get the next task.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::Cover;
use elastic_flow_queue::{Command, QueueRecord};
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId};
use elastic_flow_wire::message::{ChunkRead, ReadFrom};

use super::effects::Joined;

/// Drained workers that are remembered, the last ones: each is a process that has to be gone before it is safe to forget.
const DRAINS_KEPT: usize = 1_000;

/// A connected worker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) joined: Joined,
    pub(crate) joined_at: Mono,
    /// Whether it has said what it has of earlier links. Before, nothing is given to it: it may hold the result already.
    pub(crate) announced: bool,
    /// Who wanted it to get no more work, if somebody did; the worker itself where it leaves.
    pub(crate) drained: Option<Command>,
    /// Whether its build may run the master's steps.
    pub(crate) eligible: bool,
    /// What the heartbeat monitor said of it last; nothing before it was asked. Where there is none, it lives as long as its link.
    pub(crate) living: Option<bool>,
    /// Chunks of the running step that were taken from it by a verdict, and it has not sent a heartbeat since.
    pub(crate) taken: Vec<u64>,
    /// Open tasks.
    pub(crate) open: BTreeSet<Attempt>,
    /// Chunks of those tasks.
    pub(crate) open_chunks: u64,
    /// Whether it has been told of the running step.
    pub(crate) notified: bool,
    /// Parts of the running step's source that it did not have: what reads them goes to it with its bytes.
    pub(crate) lacks: BTreeSet<u32>,
    /// When it was last asked what it has of the running step's source.
    pub(crate) asked_at: Option<Mono>,
    /// When it was first asked that.
    pub(crate) asked_since: Option<Mono>,
    /// Whether it has answered which files it has.
    pub(crate) looked: bool,
    /// Bytes of accepted results, by where they came from.
    pub(crate) reads: ReadBytes,
    /// The newest attempt that a heartbeat of it has named. A link keeps its order: whatever is older has arrived, or never will.
    pub(crate) seen: Option<Attempt>,
    /// When an assignment was last seen to have arrived at it.
    pub(crate) moved_at: Mono,
}

impl Node {
    /// One that has just joined.
    pub(crate) const fn new(joined: Joined, now: Mono, eligible: bool, monitored: bool) -> Self {
        Self {
            joined,
            joined_at: now,
            announced: false,
            drained: None,
            eligible,
            living: if monitored { None } else { Some(true) },
            taken: Vec::new(),
            open: BTreeSet::new(),
            open_chunks: 0,
            notified: false,
            lacks: BTreeSet::new(),
            asked_at: None,
            asked_since: None,
            looked: false,
            reads: ReadBytes { in_place: 0, shipped: 0 },
            seen: None,
            moved_at: now,
        }
    }

    /// Nothing that it said of a step holds for the next one.
    pub(crate) fn forget_step(&mut self) {
        self.lacks.clear();
        self.forget_question();
        self.looked = false;
    }

    /// The next question is another one.
    pub(crate) const fn forget_question(&mut self) {
        self.asked_at = None;
        self.asked_since = None;
    }

    /// Whether it is not known to lack any of these.
    pub(crate) fn has(&self, covers: &[Cover]) -> bool {
        self.lacks.is_empty() || !covers.iter().any(|it| self.lacks.contains(&it.part))
    }

    pub(crate) const fn is_living(&self) -> bool {
        matches!(self.living, Some(true))
    }

    pub(crate) const fn takes_work(&self) -> bool {
        self.eligible && self.drained.is_none() && self.is_living()
    }
}

/// A worker that has room for a task, as a distribution method sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its incarnation.
    pub node: NodeId,
    /// Its name.
    pub name: &'a str,
    /// Compute threads.
    pub slots: u32,
    /// Chunks open on it.
    pub open_chunks: u64,
}

/// What a distribution method may know of the chunk that is to be distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkFacts<'a> {
    /// Its receipt.
    pub receipt: ReceiptId,
    /// Its bytes.
    pub bytes: u64,
    /// The name of the source part that it begins in.
    pub part: &'a str,
}

/// Picks the worker that gets the next task. Deterministic: no clock, no randomness; state of its own is fine.
pub trait Distribute: Send + Sync + Debug {
    /// One of `candidates` (never empty, in order of incarnation), by index. An index that is out of bounds takes the last, and so does a
    /// panic.
    fn pick(&mut self, chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize;
}

/// The one with the fewest open receipts for each of its slots.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastOpenReceipts;

impl Distribute for LeastOpenReceipts {
    fn pick(&mut self, _chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
        let load = |it: &Candidate<'_>| it.open_chunks.saturating_mul(1_000) / u64::from(it.slots.max(1));
        candidates.iter().enumerate().min_by_key(|(_, it)| load(it)).map_or(0, |(index, _)| index)
    }
}

/// In turn, by order of incarnation.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin {
    last: Option<NodeId>,
}

impl Distribute for RoundRobin {
    fn pick(&mut self, _chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
        let next = self.last.and_then(|last| candidates.iter().position(|it| it.node > last)).unwrap_or(0);
        self.last = candidates.get(next).map(|it| it.node);
        next
    }
}

/// All connected workers.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) by_id: BTreeMap<NodeId, Node>,
    /// Who was drained, oldest first: connected or not, for a worker that comes back in the same life stays drained.
    drains: VecDeque<(NodeId, Command)>,
}

impl Nodes {
    /// A worker is there.
    pub(crate) fn join(&mut self, mut node: Node) {
        let drain = self.drains.iter().find(|(id, _)| *id == node.joined.node);
        node.drained = drain.map(|(_, command)| command.clone());
        self.by_id.insert(node.joined.node, node);
    }

    /// A worker gets no more work.
    pub(crate) fn drain(&mut self, node: NodeId, command: Command) {
        if let Some(it) = self.by_id.get_mut(&node) {
            it.drained = Some(command.clone());
        }
        if self.drains.len() == DRAINS_KEPT {
            self.drains.pop_front();
        }
        self.drains.push_back((node, command));
    }

    /// The records that drain them again.
    pub(crate) fn drains(&self) -> impl Iterator<Item = QueueRecord> {
        self.drains.iter().map(|(node, it)| QueueRecord::Drained {
            node: Some(*node),
            name: it.node.clone().unwrap_or_default(),
            wall: it.at,
            by: it.by.clone(),
        })
    }

    /// Compute threads of all workers that take work.
    pub(crate) fn slots(&self) -> u64 {
        self.by_id.values().filter(|it| it.takes_work()).map(|it| u64::from(it.joined.slots)).sum()
    }

    /// Compute threads of the workers of this name that take work.
    pub(crate) fn slots_of(&self, server: &str) -> u64 {
        let own = self.by_id.values().filter(|it| it.takes_work() && it.joined.name == server);
        own.map(|it| u64::from(it.joined.slots)).sum()
    }

    pub(crate) fn any_takes_work(&self) -> bool {
        self.by_id.values().any(Node::takes_work)
    }

    /// What to say behind "a worker" where those that are there do not count; empty where there are none.
    pub(crate) fn wanted(&self) -> String {
        let others = self.by_id.values().filter(|it| !it.eligible).count();
        let lost = self.by_id.values().filter(|it| it.eligible && !it.is_living()).count();
        match (others, lost) {
            (0, 0) => String::new(),
            (others, 0) => format!(" of the master's build ({others} of another build connected)"),
            (0, lost) => format!(" that heartbeat.monitor counts as living ({lost} not living connected)"),
            (others, lost) => format!(
                " of the master's build that heartbeat.monitor counts as living ({others} of another build and {lost} not \
                 living connected)"
            ),
        }
    }

    /// Tasks that could be given out now.
    pub(crate) fn free(&self, open_per_slot: u32) -> u64 {
        self.by_id.values().map(|it| free_of(it, open_per_slot)).sum()
    }

    pub(crate) fn name(&self, node: NodeId) -> String {
        self.by_id.get(&node).map_or_else(|| node.to_string(), |it| it.joined.name.clone())
    }

    /// The worker for a chunk, of those that could take it. None if the chunk has to wait.
    pub(crate) fn pick(
        &self,
        method: &mut dyn Distribute,
        chunk: ChunkFacts<'_>,
        needs: Needs<'_>,
        open_per_slot: u32,
    ) -> Option<NodeId> {
        let candidates: Vec<Candidate<'_>> = self
            .could_take(needs, open_per_slot)
            .map(|(id, it)| Candidate {
                node: *id,
                name: &it.joined.name,
                slots: it.joined.slots,
                open_chunks: it.open_chunks,
            })
            .collect();
        let last = candidates.last()?.node;
        // User code, on the master's own thread: a panic in it picks the last, as an index out of bounds does.
        let picked = catch_unwind(AssertUnwindSafe(|| method.pick(chunk, &candidates))).unwrap_or(usize::MAX);
        Some(candidates.get(picked).map_or(last, |it| it.node))
    }

    /// The workers with room that could take a chunk now.
    pub(crate) fn could_take(&self, needs: Needs<'_>, open_per_slot: u32) -> impl Iterator<Item = (&NodeId, &Node)> {
        let Needs { avoid, alone, reads, looked, on, in_place } = needs;
        // There is no other worker for what lies on the disk of one, and what is not shipped is only where its files are.
        let could_have = move |it: &Node| !in_place || ((!looked || it.looked) && it.has(reads));
        let another = |(id, it): (&NodeId, &Node)| it.takes_work() && !avoid.contains(id) && could_have(it);
        let elsewhere = on.is_none() && self.by_id.iter().any(another);
        self.by_id.iter().filter(move |(id, it)| {
            free_of(it, open_per_slot) > 0
                && !(elsewhere && avoid.contains(id))
                && (!alone || it.open.is_empty())
                && (!looked || it.looked)
                && on.is_none_or(|server| it.joined.name == server)
                && it.has(reads)
        })
    }
}

/// What a chunk needs of the worker that gets it, beside room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs<'a> {
    /// It goes to none of these as long as another worker could take it.
    pub(crate) avoid: &'a [NodeId],
    /// It goes to an idle worker only.
    pub(crate) alone: bool,
    /// What it reads where its worker is; nothing if it carries its bytes.
    pub(crate) reads: &'a [Cover],
    /// It goes to a worker that has said which files it has.
    pub(crate) looked: bool,
    /// The server that alone can read it.
    pub(crate) on: Option<&'a str>,
    /// Its bytes cannot be brought to a worker that lacks its files.
    pub(crate) in_place: bool,
}

/// Bytes that were read, by where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadBytes {
    /// From files of the worker.
    pub(crate) in_place: u64,
    /// With the task.
    pub(crate) shipped: u64,
}

impl ReadBytes {
    /// Counts what was read of a chunk.
    pub(crate) const fn add(&mut self, read: &ChunkRead) {
        match read.from {
            ReadFrom::Place => self.in_place = self.in_place.saturating_add(read.bytes),
            ReadFrom::Task => self.shipped = self.shipped.saturating_add(read.bytes),
            ReadFrom::Nowhere => {}
        }
    }
}

fn free_of(node: &Node, open_per_slot: u32) -> u64 {
    if !node.takes_work() || !node.announced {
        return 0;
    }
    u64::from(node.joined.slots.max(1)).saturating_mul(u64::from(open_per_slot)).saturating_sub(node.open.len() as u64)
}

#[cfg(test)]
mod tests {
    use elastic_flow_receipt::{StageId, StepId};

    use super::*;

    fn nodes(open: &[(u128, u32, u64)]) -> Nodes {
        let mut nodes = Nodes::default();
        for (id, slots, tasks) in open {
            let joined =
                Joined { node: NodeId(*id), name: format!("w{id}"), address: String::new(), slots: *slots, build: 1 };
            let open = (0..*tasks).map(|number| Attempt { epoch: 1, number: number + 1 }).collect();
            let fresh = Node::new(joined, Mono::ZERO, true, false);
            let node = Node { announced: true, open, open_chunks: *tasks, ..fresh };
            nodes.by_id.insert(NodeId(*id), node);
        }
        nodes
    }

    fn chunk(part: &str) -> ChunkFacts<'_> {
        let receipt = ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence: 0, check: 0 };
        ChunkFacts { receipt, bytes: 1, part }
    }

    #[test]
    fn the_least_loaded_for_its_slots_is_picked() {
        let nodes = nodes(&[(1, 1, 2), (2, 4, 3), (3, 1, 1)]);
        let picked = nodes.pick(&mut LeastOpenReceipts, chunk("f"), Needs::default(), 3);
        assert_eq!(picked, Some(NodeId(2)));
    }

    #[test]
    fn turns_are_taken_in_order_and_full_workers_left_out() {
        let nodes = nodes(&[(1, 1, 0), (2, 1, 3), (3, 1, 0)]);
        let mut turns = RoundRobin::default();
        let picked: Vec<_> =
            (0..4).map(|_| nodes.pick(&mut turns, chunk("f"), Needs::default(), 3).unwrap().0).collect();
        assert_eq!(picked, [1, 3, 1, 3]);
    }

    #[test]
    fn a_worker_on_which_a_chunk_failed_is_avoided_as_long_as_there_is_another() {
        let avoid = Needs { avoid: &[NodeId(1)], ..Needs::default() };
        let two = nodes(&[(1, 1, 0), (2, 1, 3)]);
        assert_eq!(two.pick(&mut LeastOpenReceipts, chunk("f"), avoid, 3), None, "the other will have room");
        let one = nodes(&[(1, 1, 0)]);
        assert_eq!(one.pick(&mut LeastOpenReceipts, chunk("f"), avoid, 3), Some(NodeId(1)));
    }

    #[test]
    fn a_chunk_that_must_run_alone_waits_for_an_idle_worker() {
        let busy = nodes(&[(1, 2, 1)]);
        assert_eq!(busy.pick(&mut LeastOpenReceipts, chunk("f"), Needs { alone: true, ..Needs::default() }, 3), None);
        let idle = nodes(&[(1, 2, 1), (2, 1, 0)]);
        assert_eq!(
            idle.pick(&mut LeastOpenReceipts, chunk("f"), Needs { alone: true, ..Needs::default() }, 3),
            Some(NodeId(2))
        );
    }

    /// A method of one's own: the same file always goes to the same worker.
    #[derive(Debug)]
    struct ByFile;

    impl Distribute for ByFile {
        fn pick(&mut self, chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
            let hash =
                chunk.part.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
            hash % candidates.len()
        }
    }

    /// A method of one's own that panics.
    #[derive(Debug)]
    struct Broken;

    impl Distribute for Broken {
        fn pick(&mut self, _chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
            assert!(candidates.is_empty(), "no luck");
            0
        }
    }

    #[test]
    fn a_method_of_ones_own_that_panics_picks_the_last() {
        let nodes = nodes(&[(1, 8, 0), (2, 8, 0)]);
        assert_eq!(nodes.pick(&mut Broken, chunk("f"), Needs::default(), 3), Some(NodeId(2)));
    }

    #[test]
    fn a_method_of_ones_own_sees_the_file() {
        let nodes = nodes(&[(1, 8, 0), (2, 8, 0), (3, 8, 0)]);
        let at = |part| nodes.pick(&mut ByFile, chunk(part), Needs::default(), 3).unwrap();
        assert_eq!(at("a.log"), at("a.log"));
        let all: BTreeSet<NodeId> = ["a.log", "b.log", "c.log"].into_iter().map(at).collect();
        assert_eq!(all.len(), 3);
    }
}
