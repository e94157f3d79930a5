//! Workers that have not the master's files, and links that take their time.

use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_queue::{Caller, StepSpec};
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId};
use elastic_flow_wire::message::{Assignment, ChunkRead, Message, Outcome, Payload, PayloadKind, ReadFrom, TaskResult};

use super::core::{CoreConfig, MasterCore, Planted};
use super::effects::{Effect, Event, Joined, Opened};
use super::nodes::LeastOpenReceipts;
use super::reconcile::LINK_BYTES_A_SECOND_MIN;
use super::ship::{SHIPPED_BYTES_MAX, SHIPPED_CHUNK_BYTES};
use crate::config::Settings;

const MIB: u64 = 1 << 20;
/// Bytes of the one file of the source: more than any test cuts.
const FILE_BYTES: u64 = 1 << 40;

/// A master whose journal syncs at once, over a file that is cut as it asks.
struct Bench {
    core: MasterCore,
    now: Mono,
    cut_bytes: u64,
    /// Sizes of the chunks that were cut since the last look.
    cuts: Vec<u64>,
    ships: Vec<(ReceiptId, u64)>,
    assigned: Vec<(NodeId, Assignment)>,
    revoked: Vec<Attempt>,
}

impl Bench {
    /// A running step and workers, by slots.
    fn new(slots: &[u32]) -> Self {
        let config = CoreConfig {
            settings: Settings::default(),
            build: 1,
            name: "master".to_owned(),
            method: Box::new(LeastOpenReceipts),
            observing: false,
            monitored: false,
            planted: Planted::default(),
        };
        let mut bench = Self {
            core: MasterCore::new(config, 1),
            now: Mono::ZERO,
            cut_bytes: 0,
            cuts: Vec::new(),
            ships: Vec::new(),
            assigned: Vec::new(),
            revoked: Vec::new(),
        };
        for (slots, node) in slots.iter().zip(1..) {
            let (node, name) = (NodeId(node), format!("w{node}"));
            bench.on(Event::NodeUp(Joined { node, name, address: String::new(), slots: *slots, build: 1 }));
            bench.on(Event::Holding(node, Vec::new()));
        }
        bench.on(Event::Submit(1, Caller::local(), Box::new(StepSpec::new("p")), Bytes::new()));
        bench
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other effects say nothing here")]
    fn on(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.core.handle(self.now, 0, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Journal(number, _) => self.on(Event::Journaled(number)),
                Effect::Open(open) => self.on(Event::Opened(open.step, Ok(opened()))),
                Effect::Cut { step, chunks, target_bytes, .. } => {
                    let cuts: Vec<Cut> = (0..chunks).map(|_| self.cut(target_bytes)).collect();
                    self.cuts.extend(cuts.iter().map(|it| it.bytes));
                    self.on(Event::Cut { step, cuts, exhausted: false });
                }
                Effect::Ship(receipt, payload) => {
                    let bytes = u64::from_le_bytes(payload.body[..].try_into().unwrap());
                    self.ships.push((receipt, bytes));
                }
                Effect::Send(node, Message::Assign(assignment)) => self.assigned.push((node, assignment)),
                Effect::Send(_, Message::Revoke(attempt)) => self.revoked.push(attempt),
                _ => {}
            }
        }
    }

    fn cut(&mut self, bytes: u64) -> Cut {
        let covers = vec![Cover { part: 0, offset: self.cut_bytes, length: bytes }];
        self.cut_bytes += bytes;
        let payload = Payload { kind: PayloadKind::Split, body: Bytes::copy_from_slice(&bytes.to_le_bytes()) };
        Cut { input: 0, covers, entries: None, bytes, payload, repeatable: true }
    }

    /// The assignments since the last look.
    fn given(&mut self) -> Vec<(NodeId, Assignment)> {
        std::mem::take(&mut self.assigned)
    }

    fn answer(&mut self, node: NodeId, assignment: &Assignment, outcome: Outcome) {
        let receipts = assignment.chunks.iter().map(|it| it.receipt).collect();
        let (attempt, step, stage) = (assignment.attempt, assignment.step, assignment.stage);
        self.on(Event::Result(node, TaskResult { attempt, step, stage, generation: 0, receipts, outcome }));
    }

    fn done(&mut self, node: NodeId, assignment: &Assignment) {
        let read =
            |it: ReceiptId| ChunkRead { receipt: it, entries: 1, bytes: MIB, nanos: 1_000_000, from: ReadFrom::Place };
        let chunks = assignment.chunks.iter().map(|it| read(it.receipt)).collect();
        self.answer(
            node,
            assignment,
            Outcome::Done { chunks, segments: Vec::new(), nanos: 1_000_000, skips: Vec::new() },
        );
    }

    fn not_here(&mut self, node: NodeId, assignment: &Assignment) {
        let receipts = assignment.chunks.iter().map(|it| it.receipt).take(1).collect();
        self.answer(node, assignment, Outcome::NotHere { receipts, message: "no such file".to_owned() });
    }

    /// Ships what was asked for so far; the payloads have as many bytes as their chunks.
    fn ship(&mut self) {
        for (receipt, bytes) in std::mem::take(&mut self.ships) {
            let body = Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
            self.on(Event::Shipped(receipt, Ok(Payload { kind: PayloadKind::Bytes, body })));
        }
    }

    fn pulse(&mut self, node: NodeId, holding: &[Attempt]) {
        self.on(Event::Pulse { node, holding: holding.to_vec() });
    }

    /// Payload bytes that the master holds.
    fn shipped_bytes(&self) -> u64 {
        self.core.run.as_ref().unwrap().shipped_bytes
    }
}

fn opened() -> Opened {
    let part = SourcePart {
        input: 0,
        name: "a".to_owned(),
        length: Some(FILE_BYTES),
        unit_bytes: 1,
        server: None,
        missing: false,
    };
    Opened {
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
    }
}

fn kinds(given: &[(NodeId, Assignment)]) -> Vec<PayloadKind> {
    given.iter().flat_map(|(_, it)| &it.chunks).map(|it| it.payload.kind).collect()
}

#[test]
fn what_is_shipped_stays_within_its_limit_and_goes_on_as_results_come() {
    let far = NodeId(1);
    let mut bench = Bench::new(&[4]);
    let mut done = 0;
    for _ in 0..200 {
        for (_, assignment) in bench.given() {
            if kinds(&[(far, assignment.clone())]).contains(&PayloadKind::Split) {
                bench.not_here(far, &assignment);
            } else {
                done += assignment.chunks.iter().map(|it| it.payload.body.len() as u64).sum::<u64>();
                bench.done(far, &assignment);
            }
        }
        bench.ship();
        assert!(bench.shipped_bytes() <= SHIPPED_BYTES_MAX, "{} MiB are held", bench.shipped_bytes() / MIB);
    }
    assert!(done > 32 * SHIPPED_BYTES_MAX, "{} MiB got through", done / MIB);
}

#[test]
fn a_worker_is_not_asked_again_for_a_file_that_it_has_not_got() {
    let far = NodeId(1);
    let mut bench = Bench::new(&[1]);
    let first = bench.given();
    assert!(kinds(&first).iter().all(|it| *it == PayloadKind::Split));
    bench.cuts.clear();
    for (_, assignment) in &first {
        bench.not_here(far, assignment);
    }
    bench.ship();
    let then = kinds(&bench.assigned);
    assert!(!then.is_empty() && then.iter().all(|it| *it == PayloadKind::Bytes), "{then:?}");
    for _ in 0..20 {
        for (_, assignment) in bench.given() {
            assert!(assignment.chunks.iter().all(|it| it.payload.kind == PayloadKind::Bytes));
            bench.done(far, &assignment);
        }
        bench.ship();
    }
    assert!(!bench.cuts.is_empty() && bench.cuts.iter().all(|it| *it == SHIPPED_CHUNK_BYTES), "{:?}", bench.cuts);
}

#[test]
fn who_has_the_files_reads_them_beside_a_worker_that_has_not() {
    let (near, far) = (NodeId(1), NodeId(2));
    let mut bench = Bench::new(&[1, 1]);
    let mut kinds_at = std::collections::BTreeMap::new();
    for _ in 0..40 {
        for (node, assignment) in bench.given() {
            let split = kinds(&[(node, assignment.clone())]).contains(&PayloadKind::Split);
            *kinds_at.entry((node, split)).or_insert(0) += 1;
            if node == far && split {
                bench.not_here(far, &assignment);
            } else {
                bench.done(node, &assignment);
            }
        }
        bench.ship();
    }
    let count = |node, split| kinds_at.get(&(node, split)).copied().unwrap_or(0);
    assert!(count(near, true) > 20, "{kinds_at:?}");
    assert!(count(far, false) > 20, "{kinds_at:?}");
    assert!(count(far, true) <= 3, "{kinds_at:?}");
}

/// A worker with three shipped tasks on their way to it, none of which is there.
fn under_way() -> (Bench, NodeId, Vec<Attempt>) {
    let far = NodeId(1);
    let mut bench = Bench::new(&[1]);
    for _ in 0..2 {
        for (_, assignment) in bench.given() {
            if kinds(&[(far, assignment.clone())]).contains(&PayloadKind::Split) {
                bench.not_here(far, &assignment);
            } else {
                bench.done(far, &assignment);
            }
            bench.ship();
        }
    }
    let tasks = &bench.core.run.as_ref().unwrap().tasks;
    let open: Vec<Attempt> = tasks.keys().copied().collect();
    assert!(open.len() >= 2 && tasks.values().all(|it| it.bytes >= MIB), "{tasks:?}");
    assert!(bench.revoked.is_empty());
    (bench, far, open)
}

#[test]
fn what_is_under_way_on_a_slow_link_is_not_sent_twice() {
    let (mut bench, far, open) = under_way();
    // As long as the slowest link takes for the first.
    let patience = 3 + bench.core.run.as_ref().unwrap().tasks[&open[0]].bytes / LINK_BYTES_A_SECOND_MIN;
    for second in 1..patience {
        bench.now = Mono::ZERO + Duration::from_secs(second);
        bench.pulse(far, &[]);
    }
    assert_eq!(bench.revoked, []);
    // The first comes through, and the time of the others counts from there.
    for second in [patience, patience + 2] {
        bench.now = Mono::ZERO + Duration::from_secs(second);
        bench.pulse(far, &open[..1]);
    }
    assert_eq!(bench.revoked, []);
}

#[test]
fn what_was_overtaken_is_lost() {
    let (mut bench, far, open) = under_way();
    bench.now = Mono::ZERO + Duration::from_secs(3);
    bench.pulse(far, &open[1..2]);
    assert_eq!(bench.revoked, [open[0]]);
}

#[test]
fn what_no_link_takes_so_long_for_is_lost() {
    let (mut bench, far, open) = under_way();
    bench.now = Mono::ZERO + Duration::from_secs(24 * 3_600);
    bench.pulse(far, &[]);
    assert_eq!(bench.revoked, open);
}
