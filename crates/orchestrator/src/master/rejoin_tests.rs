//! Workers that come back, to the same master or to the next: what they have is not computed again.

use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_queue::{Caller, StepSpec};
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StepId};
use elastic_flow_wire::message::{
    Assignment, ChunkRead, HeldTask, Message, Outcome, Payload, PayloadKind, ReadFrom, TaskResult,
};

use super::core::{CoreConfig, MasterCore, Planted};
use super::effects::{Effect, Event, Joined, Opened};
use super::nodes::LeastOpenReceipts;
use super::recover::Recovery;
use crate::config::Settings;
use crate::journal::Record;

const CHUNKS: u64 = 4;

fn config() -> CoreConfig {
    CoreConfig {
        settings: Settings { open_per_slot: 1, task_chunks_max: 1, ..Settings::default() },
        build: 1,
        name: "master".to_owned(),
        method: Box::new(LeastOpenReceipts),
        observing: false,
        monitored: false,
        planted: Planted::default(),
    }
}

/// A master whose journal is on a disk that syncs at once.
pub(super) struct Bench {
    pub(super) core: MasterCore,
    now: Mono,
    pub(super) records: Vec<Record>,
    pub(super) assigned: Vec<(NodeId, Assignment)>,
    acknowledged: Vec<Attempt>,
}

impl Bench {
    /// The next life of a master over these records.
    pub(super) fn over(records: Vec<Record>, epoch: u64) -> Self {
        let mut recovery = Recovery::new(config(), epoch);
        for record in &records {
            recovery.apply(record).unwrap();
        }
        let mut effects = Vec::new();
        let core = recovery.finish(Mono::ZERO, 0, &mut effects);
        let (assigned, acknowledged) = (Vec::new(), Vec::new());
        let mut bench = Self { core, now: Mono::ZERO, records, assigned, acknowledged };
        bench.perform(effects);
        bench
    }

    pub(super) fn on(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.core.handle(self.now, 0, event, &mut effects);
        self.perform(effects);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other effects say nothing here")]
    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Journal(number, record) => {
                    self.records.push(record);
                    self.on(Event::Journaled(number));
                }
                Effect::Open(open) => {
                    let part = SourcePart {
                        input: 0,
                        name: "f".to_owned(),
                        length: Some(CHUNKS),
                        unit_bytes: 1,
                        server: None,
                        missing: false,
                    };
                    let opened = Opened {
                        exchanged_stages: 0,
                        plan: 1,
                        parts: vec![part],
                        replays: Vec::new(),
                        cuts: true,
                        refilled: Vec::new(),
                        source: Bytes::new(),
                        cut_earlier: Vec::new(),
                        earlier: None,
                        expanded: false,
                        question: None,
                    };
                    self.on(Event::Opened(open.step, Ok(opened)));
                }
                Effect::Cut { step, .. } => {
                    let cuts = (0..CHUNKS).map(cut).collect();
                    self.on(Event::Cut { step, cuts, exhausted: true });
                }
                Effect::Send(node, Message::Assign(assignment)) => self.assigned.push((node, assignment)),
                Effect::Send(_, Message::Ack(attempt)) => self.acknowledged.push(attempt),
                _ => {}
            }
        }
    }

    pub(super) fn join(&mut self, node: u128) {
        let joined =
            Joined { node: NodeId(node), name: format!("w{node}"), address: String::new(), slots: 1, build: 1 };
        self.on(Event::NodeUp(joined));
    }

    pub(super) fn holding(&mut self, node: u128, tasks: &[&Assignment]) {
        let held = |it: &&Assignment| HeldTask {
            attempt: it.attempt,
            step: it.step,
            receipts: it.chunks.iter().map(|it| it.receipt).collect(),
        };
        self.on(Event::Holding(NodeId(node), tasks.iter().map(held).collect()));
    }

    pub(super) fn done(&mut self, node: u128, assignment: &Assignment) {
        let receipts: Vec<ReceiptId> = assignment.chunks.iter().map(|it| it.receipt).collect();
        let read = |it: &ReceiptId| ChunkRead { receipt: *it, entries: 1, bytes: 1, nanos: 1, from: ReadFrom::Place };
        let chunks = receipts.iter().map(read).collect();
        let outcome = Outcome::Done { chunks, segments: Vec::new(), nanos: 1, skips: Vec::new() };
        let (attempt, step, stage) = (assignment.attempt, assignment.step, assignment.stage);
        let result = TaskResult { attempt, step, stage, generation: 0, receipts, outcome };
        self.on(Event::Result(NodeId(node), result));
    }

    /// Sequence numbers of the chunks that were given out since the last look, in order.
    pub(super) fn given(&mut self) -> Vec<u64> {
        let given = std::mem::take(&mut self.assigned);
        given.iter().flat_map(|(_, it)| &it.chunks).map(|it| it.receipt.sequence).collect()
    }
}

fn cut(number: u64) -> Cut {
    Cut {
        input: 0,
        covers: vec![Cover { part: 0, offset: number, length: 1 }],
        entries: None,
        bytes: 1,
        payload: Payload { kind: PayloadKind::Split, body: Bytes::new() },
        repeatable: true,
    }
}

/// A master with one worker, which has the first chunk.
pub(super) fn at_work() -> (Bench, Assignment) {
    let mut bench = Bench::over(Vec::new(), 1);
    bench.on(Event::Submit(1, Caller::local(), Box::new(StepSpec::new("p")), Bytes::new()));
    bench.join(1);
    bench.holding(1, &[]);
    let (_, assignment) = bench.assigned[0].clone();
    assert_eq!(bench.given(), [0]);
    (bench, assignment)
}

#[test]
fn a_worker_gets_nothing_before_it_has_said_what_it_holds() {
    let (mut bench, _) = at_work();
    bench.join(2);
    assert!(bench.given().is_empty());
    bench.holding(2, &[]);
    assert_eq!(bench.given(), [1]);
}

#[test]
fn a_worker_whose_word_was_lost_gets_work_when_its_heartbeats_go_on() {
    let (mut bench, _) = at_work();
    bench.join(2);
    let pulse = || Event::Pulse { node: NodeId(2), holding: Vec::new() };
    bench.now = Mono::ZERO + Duration::from_millis(2_900);
    bench.on(pulse());
    assert!(bench.given().is_empty());
    bench.now = Mono::ZERO + Duration::from_secs(3);
    bench.on(pulse());
    assert_eq!(bench.given(), [1]);
}

#[test]
fn the_next_master_leaves_a_chunk_with_the_worker_that_is_at_work_on_it() {
    let (bench, first) = at_work();
    let mut next = Bench::over(bench.records, 2);
    next.join(1);
    next.join(2);
    next.holding(2, &[]);
    next.holding(1, &[&first]);
    assert_eq!(next.given(), [0, 1], "worker 2 was there first and found chunk 0 free: the first to finish it counts");

    let (bench, first) = at_work();
    let mut next = Bench::over(bench.records, 2);
    next.join(1);
    next.holding(1, &[&first]);
    next.join(2);
    next.holding(2, &[]);
    assert_eq!(next.given(), [1], "chunk 0 is open on worker 1, whose slot it takes");
    next.done(1, &first);
    assert_eq!(next.acknowledged, [first.attempt]);
    assert_eq!(next.given(), [2], "and worker 1 goes on with another");
}

#[test]
fn a_chunk_that_is_kept_over_a_restart_is_free_again_when_its_worker_dies() {
    let (bench, first) = at_work();
    let mut next = Bench::over(bench.records, 2);
    next.join(1);
    next.holding(1, &[&first]);
    next.on(Event::NodeDown { node: NodeId(1), reason: "gone".to_owned() });
    next.join(2);
    next.holding(2, &[]);
    assert_eq!(next.given(), [0]);
}

#[test]
fn what_is_held_of_another_step_or_is_final_is_not_opened() {
    let (mut bench, first) = at_work();
    bench.done(1, &first);
    assert_eq!(bench.given(), [1]);
    let mut foreign = first.clone();
    foreign.step = StepId(9);
    foreign.attempt.number = 77;
    bench.on(Event::NodeDown { node: NodeId(1), reason: "cut".to_owned() });
    bench.join(1);
    bench.holding(1, &[&first, &foreign]);
    assert_eq!(bench.given(), [1], "its one slot is free");
}
