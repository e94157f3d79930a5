//! The master's deciding code by itself: what happens to it, and what it does about it, in short words.

mod accept;
mod assign;
mod failures;
mod nodes;
mod recover;
mod replay;
mod verdict;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_queue::{Caller, CallerRole, StepSpec};
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StepId};
use elastic_flow_wire::message::{
    Assignment, ChunkRead, FailureKind, Message, Outcome, Payload, PayloadKind, ReadFrom, TaskResult,
};

use super::core::{CoreConfig, MasterCore, Planted};
use super::effects::{Effect, Event, Joined, Opened};
use super::nodes::LeastOpenReceipts;
use super::recover::Recovery;
use super::ship::SHIPPED_BYTES_MAX;
use crate::config::Settings;
use crate::journal::Record;

const STEP: StepId = StepId(1);
const WALL: u64 = 1_000;
/// Bytes of two payloads that are all that may be held of shipped ones.
const HALF: usize = (SHIPPED_BYTES_MAX / 2) as usize;
/// The master's build.
const BUILD: u128 = 1;

/// A task at a time on each slot, a chunk in each task: what is given out is easy to foresee.
fn one_each() -> Settings {
    Settings { open_per_slot: 1, task_chunks_max: 1, ..Settings::default() }
}

/// A task at a time on each slot, of as many chunks as there are to share.
fn many_each() -> Settings {
    Settings { open_per_slot: 1, ..Settings::default() }
}

fn config(settings: Settings) -> CoreConfig {
    let (name, method) = ("master".to_owned(), Box::new(LeastOpenReceipts));
    let planted = Planted::default();
    CoreConfig { settings, build: BUILD, name, method, observing: false, monitored: false, planted }
}

/// Whoever submits steps here.
fn caller() -> Caller {
    Caller::remote(CallerRole::Submit, "10.0.0.7")
}

/// Chunk `number` of a file of which each chunk has `bytes`.
fn split_of(number: u64, bytes: u64) -> Cut {
    Cut {
        input: 0,
        covers: vec![Cover { part: 0, offset: number * bytes, length: bytes }],
        entries: None,
        bytes,
        payload: Payload { kind: PayloadKind::Split, body: Bytes::from_static(b"where it is") },
        repeatable: true,
    }
}

fn splits(numbers: std::ops::Range<u64>) -> Vec<Cut> {
    numbers.map(|it| split_of(it, 1)).collect()
}

/// A chunk of an iterator, whose payload has `bytes`.
fn items(number: u64, bytes: usize) -> Cut {
    let payload = Payload { kind: PayloadKind::Items, body: Bytes::from(vec![7; bytes]) };
    Cut { bytes: bytes as u64, entries: Some(1), payload, ..split_of(number, 1) }
}

/// A source of one file with so many bytes.
fn file(length: Option<u64>) -> Opened {
    Opened {
        exchanged_stages: 0,
        plan: 8,
        parts: vec![SourcePart { input: 0, name: "f".to_owned(), length, unit_bytes: 1, server: None, missing: false }],
        replays: Vec::new(),
        cuts: true,
        refilled: Vec::new(),
        source: Bytes::from_static(b"the source"),
        cut_earlier: Vec::new(),
        earlier: None,
        expanded: false,
        question: None,
    }
}

/// A master, with what it has written and given out.
struct Bench {
    core: MasterCore,
    now: Mono,
    records: Vec<Record>,
    /// What came out of the last event, in order.
    last: Vec<Effect>,
    written: u64,
    /// Whether records are durable at once.
    syncs: bool,
    /// By the attempt's number.
    tasks: BTreeMap<u64, (NodeId, Assignment)>,
}

impl Bench {
    fn new(config: CoreConfig) -> Self {
        let core = MasterCore::new(config, 1);
        let (records, last, tasks) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { core, now: Mono::ZERO, records, last, written: 0, syncs: true, tasks }
    }

    /// A master whose first step is open, over a source of one file with `length` bytes.
    fn open(settings: Settings, length: Option<u64>) -> Self {
        let mut bench = Self::new(config(settings));
        assert_eq!(bench.submit(StepSpec::new("p")), ["open", "reply"]);
        assert!(bench.on(Event::Opened(STEP, Ok(file(length)))).is_empty());
        bench
    }

    /// As [`Bench::open`], with workers `w1`, `w2` and so on, of so many slots each, and a source cut into `cuts` and no further.
    fn running(settings: Settings, slots: &[u32], cuts: Vec<Cut>) -> Self {
        let length = cuts.iter().map(|it| it.bytes).sum();
        let mut bench = Self::open(settings, Some(length));
        for (index, slots) in slots.iter().enumerate() {
            bench.join(index as u128 + 1, *slots);
        }
        bench.cut(cuts, true);
        bench
    }

    /// The next life of this master, over what is durable.
    fn again(self, settings: Settings) -> (Self, Vec<String>) {
        let mut bench = Self::new(config(settings));
        let mut recovery = Recovery::new(config(bench.core.settings.clone()), self.core.epoch + 1);
        for record in &self.records {
            recovery.apply(record).unwrap();
        }
        let mut effects = Vec::new();
        bench.core = recovery.finish(self.now, WALL + 1, &mut effects);
        (bench.now, bench.records) = (self.now, self.records);
        let shown = bench.take(effects);
        (bench, shown)
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        let mut effects = Vec::new();
        self.core.handle(self.now, WALL, event, &mut effects);
        self.take(effects)
    }

    fn take(&mut self, mut effects: Vec<Effect>) -> Vec<String> {
        let mut seen = 0;
        loop {
            let synced = self.written;
            for effect in effects.iter().skip(seen) {
                if let Effect::Journal(number, record) = effect {
                    self.written = *number;
                    self.records.push(record.clone());
                }
                if let Effect::Send(node, Message::Assign(it)) = effect {
                    self.tasks.insert(it.attempt.number, (*node, it.clone()));
                }
            }
            seen = effects.len();
            if !self.syncs || self.written == synced {
                break;
            }
            self.core.handle(self.now, WALL, Event::Journaled(self.written), &mut effects);
        }
        self.last = effects;
        self.last.iter().filter_map(|it| shown(it, self.syncs)).collect()
    }

    /// All that was written is durable now.
    fn sync(&mut self) -> Vec<String> {
        self.on(Event::Journaled(self.written))
    }

    fn after(&mut self, millis: u64) -> Vec<String> {
        self.now += Duration::from_millis(millis);
        self.on(Event::Tick)
    }

    fn submit(&mut self, spec: StepSpec) -> Vec<String> {
        self.on(Event::Submit(1, caller(), Box::new(spec), Bytes::from_static(b"the source")))
    }

    fn join(&mut self, node: u128, slots: u32) -> Vec<String> {
        self.join_as(node, slots, BUILD)
    }

    fn join_as(&mut self, node: u128, slots: u32, build: u128) -> Vec<String> {
        let node = NodeId(node);
        let joined = Joined { node, name: format!("w{}", node.0), address: String::new(), slots, build };
        let mut shown = self.on(Event::NodeUp(joined));
        let mut effects = std::mem::take(&mut self.last);
        shown.extend(self.on(Event::Holding(node, Vec::new())));
        effects.append(&mut self.last);
        self.last = effects;
        shown
    }

    fn lose(&mut self, node: u128) -> Vec<String> {
        self.on(Event::NodeDown { node: NodeId(node), reason: "gone".to_owned() })
    }

    fn cut(&mut self, cuts: Vec<Cut>, exhausted: bool) -> Vec<String> {
        self.on(Event::Cut { step: STEP, cuts, exhausted })
    }

    /// The result of an attempt that was given out.
    fn result(&self, attempt: u64, outcome: Outcome) -> TaskResult {
        let assignment = &self.tasks[&attempt].1;
        TaskResult {
            attempt: assignment.attempt,
            step: assignment.step,
            stage: assignment.stage,
            generation: assignment.generation,
            receipts: assignment.chunks.iter().map(|it| it.receipt).collect(),
            outcome,
        }
    }

    /// What is read of the chunks of an attempt: an item each, and all their bytes.
    fn reads(&self, attempt: u64) -> Vec<ChunkRead> {
        let run = self.core.run.as_ref();
        let bytes = |it: &ReceiptId| run.and_then(|run| run.chunk(it.sequence)).map_or(1, |it| it.cut.bytes);
        let receipts = self.tasks[&attempt].1.chunks.iter().map(|it| it.receipt);
        receipts
            .map(|receipt| ChunkRead { receipt, entries: 1, bytes: bytes(&receipt), nanos: 1, from: ReadFrom::Place })
            .collect()
    }

    fn answer(&mut self, attempt: u64, outcome: Outcome) -> Vec<String> {
        let result = self.result(attempt, outcome);
        self.on(Event::Result(self.tasks[&attempt].0, result))
    }

    fn done(&mut self, attempt: u64) -> Vec<String> {
        self.done_in(attempt, 1)
    }

    fn done_in(&mut self, attempt: u64, nanos: u64) -> Vec<String> {
        let chunks = self.reads(attempt);
        self.answer(attempt, Outcome::Done { chunks, segments: Vec::new(), nanos, skips: Vec::new() })
    }

    /// An attempt fails on the chunk with this number, or nobody knows where.
    fn failed(&mut self, attempt: u64, on: Option<u64>) -> Vec<String> {
        self.fails_as(FailureKind::User, attempt, on)
    }

    fn fails_as(&mut self, kind: FailureKind, attempt: u64, on: Option<u64>) -> Vec<String> {
        let receipt = on.map(|it| self.receipt(it));
        let (message, log_tail) = (format!("attempt {attempt} failed"), Vec::new());
        self.answer(attempt, Outcome::Failed { kind, receipt, item: Some(5), message, log_tail })
    }

    fn not_here(&mut self, attempt: u64, absent: &[u64]) -> Vec<String> {
        let receipts = absent.iter().map(|it| self.receipt(*it)).collect();
        self.answer(attempt, Outcome::NotHere { receipts, message: "no such file".to_owned() })
    }

    fn shipped(&mut self, sequence: u64, body: Result<&'static [u8], &str>) -> Vec<String> {
        let payload = body.map(|it| Payload { kind: PayloadKind::Bytes, body: Bytes::from_static(it) });
        let receipt = self.receipt(sequence);
        self.on(Event::Shipped(receipt, payload.map_err(str::to_owned)))
    }

    fn receipt(&self, sequence: u64) -> ReceiptId {
        self.core.run.as_ref().and_then(|it| it.chunk(sequence)).unwrap().receipt
    }

    /// The aggregate is made: the step ends.
    fn finish(&mut self) -> Vec<String> {
        let step = self.core.running().unwrap();
        self.on(Event::Finished(step, Ok(Vec::new())))
    }

    fn attempt(&self, number: u64) -> Attempt {
        Attempt { epoch: self.core.epoch, number }
    }
}

/// An effect in short, but for observations; records only where they are not durable at once.
fn shown(effect: &Effect, syncs: bool) -> Option<String> {
    Some(match effect {
        Effect::Observe(_) => return None,
        Effect::Journal(..) if syncs => return None,
        Effect::Journal(_, Record::Conceived(it)) => format!("journal {} chunks", it.chunks.len()),
        Effect::Journal(_, Record::Done(it)) => {
            format!("journal done {:?}", sequences(it.chunks.iter().map(|it| it.receipt)))
        }
        Effect::Journal(..) => "journal".to_owned(),
        Effect::Reply(_, Ok(_)) => "reply".to_owned(),
        Effect::Reply(_, Err(error)) => format!("refuse: {error}"),
        Effect::Send(node, message) => sent(*node, message),
        Effect::Open(_) => "open".to_owned(),
        Effect::Cut { chunks, .. } => format!("cut {chunks}"),
        Effect::Ship(receipt, _) => format!("ship {}", receipt.sequence),
        Effect::Merge(..) => "merge".to_owned(),
        Effect::Finish { .. } => "finish".to_owned(),
        Effect::Keep(receipt, _) => format!("keep {}", receipt.sequence),
        Effect::Ended(_, state) => format!("ended {state}"),
        Effect::Forget(step) => format!("forget {step}"),
        Effect::Terminate(_) => "terminate".to_owned(),
        Effect::Drained => "drained".to_owned(),
    })
}

fn sent(node: NodeId, message: &Message) -> String {
    let node = node.0;
    match message {
        Message::Notice(_) => format!("notice w{node}"),
        Message::Assign(it) => {
            format!("assign w{node} #{} {:?}", it.attempt.number, sequences(it.chunks.iter().map(|it| it.receipt)))
        }
        Message::Ack(it) => format!("ack w{node} #{}", it.number),
        Message::Revoke(it) => format!("revoke w{node} #{}", it.number),
        Message::Release(_) => format!("release w{node}"),
        Message::Result(_)
        | Message::Heartbeat(_)
        | Message::Credit(_)
        | Message::Draining
        | Message::Goodbye(_)
        | Message::Holding(_)
        | Message::Look(_)
        | Message::Found(_)
        | Message::Parcels(_)
        | Message::Taken(_)
        | Message::Unreached(_) => format!("{message:?}"),
        Message::Exchange(it) => format!("exchange w{node} {}", it.generation),
        Message::Partition(it) => format!("partition w{node} {}", it.receipt.partition),
    }
}

fn sequences(receipts: impl Iterator<Item = ReceiptId>) -> Vec<u64> {
    receipts.map(|it| it.sequence).collect()
}
