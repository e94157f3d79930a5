//! What a worker does in an exchange, event by event.

use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};
use elastic_flow_wire::message::{
    Assignment, ExchangeNotice, Message, Outcome, Parcels, ParcelsTaken, PartitionAssignment, PartitionId,
    PartitionOwner, PartitionSum, Payload, PayloadKind, Segment, StepNotice, TaskChunk, digest,
};

use super::core::{Effect, Event, WorkerCore, answer};
use super::exchange::{ExchangeId, REACH_WITHIN};
use super::partitions::answer_partition;

const STEP: StepId = StepId(1);
const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn attempt(number: u64) -> Attempt {
    Attempt { epoch: 1, number }
}

fn receipt(stage: u16, partition: u32, sequence: u64) -> ReceiptId {
    ReceiptId { step: STEP, stage: StageId(stage), round: 0, partition, sequence, check: 0 }
}

fn segment(partition: u32, body: &'static [u8]) -> Segment {
    Segment { receipt: receipt(1, partition, 0), rows: 1, digest: digest(body), body: Bytes::from_static(body) }
}

/// Of the first stage behind an exchange.
fn part(number: u32) -> PartitionId {
    PartitionId { stage: StageId(1), number }
}

fn assignment(number: u64, generation: u32) -> Assignment {
    let payload = Payload { kind: PayloadKind::Items, body: Bytes::new() };
    let chunks = vec![TaskChunk { receipt: receipt(0, 0, number), input: 0, payload }];
    Assignment { attempt: attempt(number), step: STEP, stage: StageId(0), generation, chunks }
}

/// Partition 0 is this worker's, 1 the other's.
fn exchange(generation: u32) -> Event {
    let owner = |node: NodeId, partition| PartitionOwner {
        node,
        name: format!("w{}", node.0),
        address: "there".to_owned(),
        partitions: vec![partition],
    };
    let owners = vec![owner(ME, 0), owner(OTHER, 1)];
    Event::Message(Message::Exchange(ExchangeNotice {
        step: STEP,
        epoch: 1,
        generation,
        stages: 2,
        partitions: 2,
        owners,
    }))
}

fn parcels(number: u64, generation: u32, body: &'static [u8]) -> Event {
    let segments = vec![segment(0, body)];
    let parcels = Parcels { step: STEP, attempt: attempt(number), generation, segments };
    Event::PeerMessage(OTHER, Message::Parcels(parcels))
}

fn merged(generation: u32, bodies: &[&'static [u8]]) -> Event {
    let mut merged = PartitionSum::default();
    bodies.iter().for_each(|body| merged.add(&PartitionSum::of(&segment(0, body))));
    let exchange = ExchangeId { step: STEP, epoch: 1, generation };
    Event::Merged { exchange, partition: part(0), merged, failed: None }
}

fn partition(number: u64, bodies: &[&'static [u8]]) -> Event {
    let mut sum = PartitionSum::default();
    bodies.iter().for_each(|body| sum.add(&PartitionSum::of(&segment(0, body))));
    let assignment = PartitionAssignment { attempt: attempt(number), receipt: receipt(1, 0, 0), generation: 1, sum };
    Event::Message(Message::Partition(assignment))
}

/// A task that has given something for both partitions.
fn done(number: u64) -> Event {
    let segments = vec![segment(0, b"mine"), segment(1, b"yours")];
    let outcome = Outcome::Done { chunks: Vec::new(), segments, nanos: 1, skips: Vec::new() };
    Event::Finished(answer(&assignment(number, 1), outcome))
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Start(it, partitions) => format!("start {} into {partitions}", it.attempt.number),
        Effect::Merge { partition, segments, .. } => format!("merge {} into {}", segments.len(), partition.number),
        Effect::FinishPartition(_, it, _) => format!("finish {}", it.receipt.partition),
        Effect::DropPartitions(it) => format!("drop {}", it.generation),
        Effect::Connect { node, address } => format!("connect {} at {address}", node.0),
        Effect::Disconnect(node) => format!("disconnect {}", node.0),
        Effect::SendPeer(node, Message::Parcels(it)) => format!("give {} #{}", node.0, it.attempt.number),
        Effect::ReplyPeer(node, Message::Taken(it)) => format!("taken {} #{}", node.0, it.attempt.number),
        Effect::Send(Message::Result(it)) => match &it.outcome {
            Outcome::Exchanged { sums, .. } => format!("exchanged {} {sums:?}", it.attempt.number),
            Outcome::HandedBack => format!("back {}", it.attempt.number),
            Outcome::NotHere { message, .. } => format!("differs {}: {message}", it.attempt.number),
            other @ (Outcome::Done { .. } | Outcome::Failed { .. }) => format!("{other:?}"),
        },
        Effect::Send(Message::Unreached(it)) => it.message.clone(),
        other @ (Effect::Prepare(_)
        | Effect::SendPeer(..)
        | Effect::ReplyPeer(..)
        | Effect::Look(_)
        | Effect::Stop(_)
        | Effect::Send(_)
        | Effect::Forget(_)
        | Effect::Observe(_)
        | Effect::Left) => format!("{other:?}"),
    }
}

struct Bench {
    core: WorkerCore,
    now: Mono,
}

impl Bench {
    /// A worker that knows step and exchange.
    fn new(slots: usize) -> Self {
        let core = WorkerCore::new("w1".to_owned(), ME, slots, Duration::from_secs(60), false);
        let mut bench = Self { core, now: Mono::ZERO };
        bench.on(Event::Connected);
        let (program, params) = ("p".to_owned(), Vec::new());
        bench.on(Event::Message(Message::Notice(StepNotice { step: STEP, program, params, plan: 0, max_skips: 0 })));
        bench.on(Event::Prepared(STEP, Ok(())));
        assert_eq!(bench.on(exchange(1)), ["connect 2 at there"]);
        bench
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        let mut effects = Vec::new();
        self.core.handle(self.now, event, &mut effects);
        effects.iter().map(shown).collect()
    }

    fn assign(&mut self, number: u64, generation: u32) -> Vec<String> {
        self.on(Event::Message(Message::Assign(assignment(number, generation))))
    }
}

#[test]
fn what_a_task_gives_goes_to_the_owners_and_sums_to_the_master() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.assign(1, 1), ["start 1 into 2"]);
    assert!(bench.on(Event::PeerUp(OTHER)).is_empty());
    let effects = bench.on(done(1));
    assert_eq!(effects[..2], ["give 2 #1", "merge 1 into 0"]);
    let sums = [(part(0), PartitionSum::of(&segment(0, b"mine"))), (part(1), PartitionSum::of(&segment(1, b"yours")))];
    assert_eq!(effects[2..], [format!("exchanged 1 {sums:?}")]);
}

#[test]
fn an_owner_gets_again_what_it_has_not_said_to_have() {
    let mut bench = Bench::new(2);
    bench.assign(1, 1);
    assert!(!bench.on(done(1)).iter().any(|it| it.starts_with("give")), "nobody is connected");
    assert_eq!(bench.on(Event::PeerUp(OTHER)), ["give 2 #1"]);
    bench.on(Event::PeerDown(OTHER));
    assert_eq!(bench.on(Event::PeerUp(OTHER)), ["give 2 #1"]);
    assert_eq!(bench.core.waiting_bytes(), 5 + 256 + 128, "the body, and what it costs to keep it");
    let taken = ParcelsTaken { step: STEP, attempt: attempt(1), generation: 1 };
    bench.on(Event::PeerMessage(OTHER, Message::Taken(taken)));
    assert_eq!(bench.core.waiting_bytes(), 0);
    bench.on(Event::PeerDown(OTHER));
    assert!(bench.on(Event::PeerUp(OTHER)).is_empty());
}

#[test]
fn parcels_that_come_twice_are_taken_once() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.on(parcels(7, 1, b"a")), ["merge 1 into 0"]);
    assert!(bench.on(parcels(7, 1, b"a")).is_empty(), "it is acknowledged when it is merged");
    assert_eq!(bench.on(merged(1, &[b"a"])), ["taken 2 #7"]);
    assert_eq!(bench.on(parcels(7, 1, b"a")), ["taken 2 #7"]);
    assert_eq!(bench.on(partition(9, &[b"a"])), ["finish 0"]);
}

#[test]
fn merging_comes_before_the_next_task_and_a_partition_when_all_is_merged() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.assign(1, 1), ["start 1 into 2"]);
    bench.assign(2, 1);
    assert!(bench.on(parcels(7, 1, b"a")).is_empty());
    assert_eq!(bench.on(done(1))[..1], ["merge 2 into 0"]);
    bench.on(parcels(8, 1, b"b"));
    assert_eq!(bench.on(merged(1, &[b"a", b"mine"])), ["taken 2 #7", "merge 1 into 0"], "and no task before");
    assert!(bench.on(partition(9, &[b"a", b"mine", b"b"])).is_empty());
    assert!(bench.core.holding().any(|it| it == attempt(9)), "it is not lost");
    assert_eq!(bench.on(merged(1, &[b"b"])), ["taken 2 #8", "finish 0"]);
    assert!(bench.on(partition(9, &[b"a", b"mine", b"b"])).is_empty(), "told twice, worked on once");
}

#[test]
fn a_partition_that_has_other_parcels_than_count_is_given_back() {
    let mut bench = Bench::new(1);
    bench.on(parcels(7, 1, b"a"));
    bench.on(merged(1, &[b"a"]));
    let effects = bench.on(partition(9, &[b"b"]));
    assert!(effects[0].starts_with("differs 9: partition 0 of stage 1 has "), "{effects:?}");
}

#[test]
fn an_exchange_that_begins_anew_takes_nothing_of_the_one_before() {
    let mut bench = Bench::new(1);
    bench.assign(1, 1);
    bench.on(parcels(7, 1, b"a"));
    // The producer has heard of it first.
    assert!(bench.on(parcels(8, 2, b"b")).is_empty());
    assert_eq!(bench.on(exchange(2)), ["disconnect 2", "drop 1", "connect 2 at there"], "its slot is at work yet");
    assert!(bench.on(exchange(1)).is_empty(), "an old notice that comes late");
    assert_eq!(bench.on(done(1)), ["merge 1 into 0", "back 1"]);
    assert!(bench.assign(3, 1).is_empty(), "of an exchange that is over");
    assert_eq!(bench.on(merged(2, &[b"b"])), ["taken 2 #8"]);
    assert_eq!(bench.assign(4, 2), ["start 4 into 2"]);
    let released = bench.on(Event::Message(Message::Release(STEP)));
    assert_eq!(released[released.len() - 2..], ["disconnect 2", "drop 2"]);
}

#[test]
fn an_owner_that_cannot_be_reached_is_told_once() {
    let mut bench = Bench::new(1);
    bench.assign(1, 1);
    bench.on(Event::Tick);
    bench.now = Mono::ZERO + REACH_WITHIN;
    assert!(bench.on(Event::Tick).is_empty(), "there was nothing to give");
    bench.on(done(1));
    bench.on(Event::Tick);
    bench.now += REACH_WITHIN;
    let told = bench.on(Event::Tick);
    assert!(told[0].contains("worker w2 cannot be reached at there"), "{told:?}");
    bench.now += REACH_WITHIN;
    assert!(bench.on(Event::Tick).is_empty());
}

#[test]
fn a_worker_that_owns_partitions_does_not_leave_before_they_are_done() {
    let mut bench = Bench::new(1);
    assert!(!bench.on(Event::Drain).iter().any(|it| it.contains("Left")));
    let ended = bench.on(Event::Message(Message::Release(STEP)));
    assert!(ended.last().unwrap().contains("Left"), "{ended:?}");
}

#[test]
fn a_merge_of_an_exchange_that_is_over_keeps_its_thread_busy() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.on(parcels(7, 1, b"a")), ["merge 1 into 0"]);
    bench.on(exchange(2));
    assert!(bench.on(parcels(8, 2, b"b")).is_empty(), "its one thread merges for the one before");
    assert!(bench.assign(3, 2).is_empty());
    assert_eq!(bench.on(merged(1, &[b"a"])), ["merge 1 into 0"]);
    assert_eq!(bench.on(merged(2, &[b"b"])), ["taken 2 #8", "start 3 into 2"]);
}

#[test]
fn a_worker_that_cannot_run_the_program_says_so_of_its_partitions() {
    let mut bench = Bench::new(1);
    bench.on(Event::Prepared(STEP, Err("another plan".to_owned())));
    bench.on(parcels(7, 1, b"a"));
    let effects = bench.on(partition(9, &[b"a"]));
    assert!(effects[0].contains("Failed") && effects[0].contains("another plan"), "{effects:?}");
}

#[test]
fn a_worker_that_loses_its_master_ends_its_exchange() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.on(Event::Disconnected), ["disconnect 2", "drop 1"]);
    bench.on(Event::Connected);
    assert_eq!(bench.on(exchange(1)), ["connect 2 at there"], "another master counts from one again");
}

#[test]
fn a_partition_whose_notice_was_lost_is_not_held_so_that_it_is_missed() {
    let mut core = WorkerCore::new("w1".to_owned(), ME, 1, Duration::from_secs(60), false);
    let mut effects = Vec::new();
    for event in [Event::Connected, exchange(1), partition(9, &[b"a"])] {
        core.handle(Mono::ZERO, event, &mut effects);
    }
    assert_eq!(core.holding().count(), 0);
}

#[test]
fn a_partition_that_is_told_twice_is_worked_on_once() {
    let mut bench = Bench::new(2);
    bench.on(parcels(7, 1, b"a"));
    bench.on(merged(1, &[b"a"]));
    assert_eq!(bench.on(partition(9, &[b"a"])), ["finish 0"]);
    assert!(bench.on(partition(9, &[b"a"])).is_empty(), "though a thread is free");
}

#[test]
fn what_a_partition_gives_for_the_next_exchange_goes_to_its_owners_and_the_last_stage_to_the_master() {
    let mut bench = Bench::new(1);
    bench.on(Event::PeerUp(OTHER));
    bench.on(parcels(1, 1, b"a"));
    bench.on(merged(1, &[b"a"]));
    assert_eq!(bench.on(partition(9, &[b"a"])), ["finish 0"]);
    let of_second = |number, body: &'static [u8]| Segment { receipt: receipt(2, number, 0), ..segment(number, body) };
    let given = |stage, attempt_number, segments: Vec<Segment>| {
        let sum = PartitionSum::default();
        let assignment =
            PartitionAssignment { attempt: attempt(attempt_number), receipt: receipt(stage, 0, 0), generation: 1, sum };
        let outcome = Outcome::Done { chunks: Vec::new(), segments, nanos: 1, skips: Vec::new() };
        Event::Finished(answer_partition(&assignment, outcome))
    };
    // Its own share is merged at once; the other's goes there; the master gets sums alone.
    let effects = bench.on(given(1, 9, vec![of_second(0, b"mine"), of_second(1, b"yours")]));
    let second = |number| PartitionId { stage: StageId(2), number };
    let sums =
        [(second(0), PartitionSum::of(&of_second(0, b"mine"))), (second(1), PartitionSum::of(&of_second(1, b"yours")))];
    assert_eq!(effects, ["give 2 #9".to_owned(), "merge 1 into 0".to_owned(), format!("exchanged 9 {sums:?}")]);
    // What the last stage gives is for the master.
    let last = Segment { receipt: receipt(2, 0, 0), ..segment(0, b"end") };
    let effects = bench.on(given(2, 10, vec![last]));
    assert!(effects.iter().any(|it| it.starts_with("Done")), "{effects:?}");
}

#[test]
fn a_partition_that_cannot_be_merged_keeps_no_producer_waiting_and_fails_when_it_is_wanted() {
    let mut bench = Bench::new(1);
    bench.on(parcels(1, 1, b"a"));
    assert!(bench.on(parcels(2, 1, b"b")).is_empty(), "its thread is at work");
    let exchange = ExchangeId { step: STEP, epoch: 1, generation: 1 };
    let (merged, failed) = (PartitionSum::default(), Some("it panicked".to_owned()));
    let effects = bench.on(Event::Merged { exchange, partition: part(0), merged, failed });
    assert_eq!(effects, ["taken 2 #1", "taken 2 #2"]);
    assert_eq!(bench.on(parcels(3, 1, b"c")), ["taken 2 #3"]);
    let effects = bench.on(partition(9, &[b"a", b"b", b"c"]));
    assert!(effects.iter().any(|it| it.contains("Failed") && it.contains("it panicked")), "{effects:?}");
}

#[test]
fn what_waits_for_a_later_stage_is_merged_before_another_partition_is_worked_on() {
    let mut bench = Bench::new(1);
    bench.on(parcels(1, 1, b"a"));
    let of_second = Segment { receipt: receipt(2, 0, 0), ..segment(0, b"later") };
    let later = Parcels { step: STEP, attempt: attempt(2), generation: 1, segments: vec![of_second] };
    bench.on(Event::PeerMessage(OTHER, Message::Parcels(later)));
    bench.on(partition(9, &[b"a"]));
    assert_eq!(bench.on(merged(1, &[b"a"])), ["taken 2 #1", "merge 1 into 0"], "and not the work on the first stage");
}

#[test]
fn what_is_too_much_for_one_message_fails_by_its_size() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.assign(1, 1), ["start 1 into 2"]);
    let body = Bytes::from(vec![0; 256 << 20]);
    let much = |_| Segment { receipt: receipt(1, 1, 0), rows: 1, digest: 0, body: body.clone() };
    let outcome =
        Outcome::Done { chunks: Vec::new(), segments: (0..5).map(much).collect(), nanos: 1, skips: Vec::new() };
    let effects = bench.on(Event::Finished(answer(&assignment(1, 1), outcome)));
    assert!(effects.len() == 1 && effects[0].contains("bytes for one worker"), "{}", effects.len());
}
