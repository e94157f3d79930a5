//! What lies on the disks of servers, and who reads the files that the master can read, too.

use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_queue::{Caller, StepErrorKind, StepSpec, StepState};
use elastic_flow_receipt::{NodeId, StepId};
use elastic_flow_wire::message::{
    Assignment, ChunkRead, FailureKind, Found, Message, Outcome, Payload, PayloadKind, ReadFrom, TaskResult, digest,
};

use super::core::{CoreConfig, MasterCore, Planted};
use super::effects::{Effect, Event, Joined, Open, Opened};
use super::nodes::LeastOpenReceipts;
use super::servers::ANSWER_WITHIN;
use crate::config::{ReadFiles, Settings};

const STEP: StepId = StepId(1);
/// Chunks of each part, of ten bytes each.
const CHUNKS: u64 = 4;
const GRACE: Duration = Duration::from_secs(30);

/// A master whose journal syncs at once, and whose step reads either one file or what `yam1` and `yam2` have.
struct Bench {
    core: MasterCore,
    now: Mono,
    on_servers: bool,
    opens: Vec<Open>,
    looks: Vec<NodeId>,
    ships: usize,
    assigned: Vec<(NodeId, Assignment)>,
}

fn settings(read: ReadFiles) -> Settings {
    let servers = vec!["yam1".to_owned(), "yam2".to_owned()];
    Settings { read, servers, grace: GRACE, task_chunks_max: 1, ..Settings::default() }
}

impl Bench {
    fn new(settings: Settings, on_servers: bool, allow_missing_servers: bool) -> Self {
        let config = CoreConfig {
            settings,
            build: 1,
            name: "master".to_owned(),
            method: Box::new(LeastOpenReceipts),
            observing: false,
            monitored: false,
            planted: Planted::default(),
        };
        let core = MasterCore::new(config, 1);
        let (opens, looks, assigned) = (Vec::new(), Vec::new(), Vec::new());
        let mut bench = Self { core, now: Mono::ZERO, on_servers, opens, looks, ships: 0, assigned };
        let spec = Box::new(StepSpec { allow_missing_servers, ..StepSpec::new("p") });
        bench.on(Event::Submit(1, Caller::local(), spec, Bytes::new()));
        bench
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other effects say nothing here")]
    fn on(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.core.handle(self.now, 0, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Journal(number, _) => self.on(Event::Journaled(number)),
                Effect::Open(open) => {
                    let event = self.open(&open);
                    self.opens.push(*open);
                    self.on(event);
                }
                Effect::Cut { step, .. } => {
                    let parts = if self.on_servers { 0..2 } else { 0..1 };
                    let cuts = parts.flat_map(|part| (0..CHUNKS).map(move |number| cut(part, number))).collect();
                    self.on(Event::Cut { step, cuts, exhausted: true });
                }
                Effect::Ship(receipt, _) => {
                    self.ships += 1;
                    let body = Bytes::from_static(b"0123456789");
                    self.on(Event::Shipped(receipt, Ok(Payload { kind: PayloadKind::Bytes, body })));
                }
                Effect::Send(node, Message::Look(_)) => self.looks.push(node),
                Effect::Send(node, Message::Assign(assignment)) => self.assigned.push((node, assignment)),
                Effect::Finish { step, .. } => self.on(Event::Finished(step, Ok(Vec::new()))),
                _ => {}
            }
        }
    }

    fn open(&self, open: &Open) -> Event {
        if self.on_servers && open.answers.is_empty() {
            return Event::AskServers(open.step, Bytes::from_static(b"globs"));
        }
        let part = |name: &str, server: Option<&str>, missing: bool| SourcePart {
            input: 0,
            name: name.to_owned(),
            length: (!missing).then_some(CHUNKS * 10),
            unit_bytes: 1,
            server: server.map(str::to_owned),
            missing,
        };
        let of_server = |(server, answer): &(String, Option<Bytes>)| part("x.log", Some(server), answer.is_none());
        let parts = if self.on_servers {
            open.answers.iter().map(of_server).collect()
        } else {
            vec![part("a.log", None, false)]
        };
        let opened = Opened {
            exchanged_stages: 0,
            plan: 1,
            parts,
            replays: Vec::new(),
            cuts: true,
            refilled: Vec::new(),
            source: Bytes::from_static(b"expanded"),
            cut_earlier: Vec::new(),
            earlier: None,
            expanded: self.on_servers,
            question: (!self.on_servers).then(|| Bytes::from_static(b"files")),
        };
        Event::Opened(open.step, Ok(opened))
    }

    fn join(&mut self, node: u128, build: u128) -> NodeId {
        let name = format!("yam{node}");
        let node = NodeId(node);
        self.on(Event::NodeUp(Joined { node, name, address: String::new(), slots: 1, build }));
        self.on(Event::Holding(node, Vec::new()));
        node
    }

    fn found(&mut self, node: NodeId, absent: Vec<u32>) {
        let question = if self.on_servers { digest(b"globs") } else { digest(b"files") };
        let listed = Bytes::from_static(if self.on_servers { b"list" } else { b"" });
        let message = "no such file".to_owned();
        self.on(Event::Found(node, Found { step: STEP, question, here: 1, absent, message, listed }));
    }

    fn answer(&mut self, node: NodeId, assignment: &Assignment, outcome: Outcome) {
        let receipts = assignment.chunks.iter().map(|it| it.receipt).collect();
        let (attempt, step, stage) = (assignment.attempt, assignment.step, assignment.stage);
        self.on(Event::Result(node, TaskResult { attempt, step, stage, generation: 0, receipts, outcome }));
    }

    /// Does all that is assigned, and what comes of that. The sequence numbers and kinds, by worker.
    fn work(&mut self) -> Vec<(NodeId, u64, PayloadKind)> {
        let mut done = Vec::new();
        while let Some((node, assignment)) = self.assigned.pop() {
            let read = |it: &elastic_flow_wire::message::TaskChunk| {
                let from = if it.payload.kind == PayloadKind::Split { ReadFrom::Place } else { ReadFrom::Task };
                ChunkRead { receipt: it.receipt, entries: 1, bytes: 10, nanos: 1, from }
            };
            let chunks = assignment.chunks.iter().map(read).collect();
            done.extend(assignment.chunks.iter().map(|it| (node, it.receipt.sequence, it.payload.kind)));
            self.answer(node, &assignment, Outcome::Done { chunks, segments: Vec::new(), nanos: 1, skips: Vec::new() });
        }
        done.sort_unstable_by_key(|(_, sequence, _)| *sequence);
        done
    }

    fn after(&mut self, wait: Duration) {
        self.now += wait;
        self.on(Event::Tick);
    }

    fn ended(&self) -> (StepState, String) {
        let step = self.core.queue().get(STEP).unwrap();
        (step.state, step.reason.clone().unwrap_or_default())
    }
}

fn cut(part: u32, number: u64) -> Cut {
    let covers = vec![Cover { part, offset: number * 10, length: 10 }];
    let payload = Payload { kind: PayloadKind::Split, body: Bytes::from_static(b"where") };
    Cut { input: 0, covers, entries: None, bytes: 10, payload, repeatable: true }
}

#[test]
fn each_server_is_asked_and_reads_its_own() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, false);
    let (one, two) = (bench.join(1, 1), bench.join(2, 1));
    let other = bench.join(3, 1);
    assert_eq!(bench.looks, [one, two], "those of the map, once, and no other worker");
    bench.found(one, Vec::new());
    bench.found(other, Vec::new());
    assert_eq!(bench.opens.len(), 1, "not opened before all have answered");
    bench.found(two, Vec::new());
    let answers: Vec<&str> = bench.opens[1].answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(answers, ["yam1", "yam2"]);
    let done = bench.work();
    let own = |(node, sequence, kind): &(NodeId, u64, PayloadKind)| {
        *node == if *sequence < CHUNKS { one } else { two } && *kind == PayloadKind::Split
    };
    assert_eq!(done.len() as u64, 2 * CHUNKS);
    assert!(done.iter().all(own), "{done:?}");
    assert_eq!(bench.ended().0, StepState::Completed);
    let reads: Vec<_> = bench.core.audit(STEP).unwrap().reads.into_iter().map(|it| it.in_place_bytes).collect();
    assert_eq!(reads, [40, 40]);
}

#[test]
fn a_missing_server_fails_the_step_by_name_when_the_grace_is_over() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, false);
    let one = bench.join(1, 1);
    bench.join(2, 9);
    bench.found(one, Vec::new());
    assert_eq!(bench.core.next_deadline(), Some(Mono::ZERO + GRACE));
    bench.after(GRACE - Duration::from_millis(1));
    assert_eq!(bench.ended().0, StepState::Running);
    bench.after(Duration::from_millis(1));
    let (state, reason) = bench.ended();
    assert_eq!(state, StepState::Failed);
    assert!(
        reason.contains("yam2 is missing, or does not answer or takes no work (see `workers`),")
            && reason.contains("--allow-missing-servers"),
        "{reason}"
    );
}

#[test]
fn a_step_that_may_goes_on_without_and_names_the_gap() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, true);
    let one = bench.join(1, 1);
    bench.found(one, Vec::new());
    bench.after(GRACE);
    assert_eq!(bench.opens[1].answers[1], ("yam2".to_owned(), None));
    // Its chunks are not there, and this bench cuts them all the same: nobody takes them, and they are given up in their turn.
    bench.work();
    bench.after(GRACE);
    assert_eq!(bench.ended().0, StepState::CompletedWithSkips);
    let audit = bench.core.audit(STEP).unwrap();
    assert!(audit.gaps.iter().any(|it| it.server == "yam2" && it.known.is_none()), "{:?}", audit.gaps);
    assert!(audit.line().contains("missing: x.log, all of it"), "{}", audit.line());
}

#[test]
fn a_server_that_goes_missing_leaves_a_gap_of_known_size() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, true);
    let (one, two) = (bench.join(1, 1), bench.join(2, 1));
    bench.found(one, Vec::new());
    bench.found(two, Vec::new());
    bench.on(Event::NodeDown { node: two, reason: "gone".to_owned() });
    bench.assigned.retain(|(node, _)| *node == one);
    bench.work();
    assert_eq!(bench.ended().0, StepState::Running, "it is waited for");
    bench.after(GRACE);
    assert_eq!(bench.ended().0, StepState::CompletedWithSkips);
    let audit = bench.core.audit(STEP).unwrap();
    let gap = audit.gaps.first().unwrap();
    assert_eq!((gap.server.as_str(), gap.known.map(|it| (it.receipts, it.bytes))), ("yam2", Some((CHUNKS, 40))));
    assert!(audit.balanced());
}

#[test]
fn a_server_that_is_back_in_time_goes_on_where_it_was() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, false);
    let (one, two) = (bench.join(1, 1), bench.join(2, 1));
    bench.found(one, Vec::new());
    bench.found(two, Vec::new());
    bench.on(Event::NodeDown { node: two, reason: "gone".to_owned() });
    bench.assigned.retain(|(node, _)| *node == one);
    bench.work();
    bench.after(GRACE - Duration::from_secs(1));
    // The same server in another life.
    bench.on(Event::NodeUp(Joined {
        node: NodeId(22),
        name: "yam2".to_owned(),
        address: String::new(),
        slots: 1,
        build: 1,
    }));
    bench.on(Event::Holding(NodeId(22), Vec::new()));
    let done = bench.work();
    assert!(done.len() as u64 == CHUNKS && done.iter().all(|(node, ..)| *node == NodeId(22)), "{done:?}");
    assert_eq!(bench.ended(), (StepState::Completed, String::new()));
}

#[test]
fn a_file_that_its_only_server_cannot_read_is_tried_again_there_and_then_set_aside() {
    let settings = Settings { max_skips: 8, max_attempts: 2, open_per_slot: 8, ..settings(ReadFiles::Auto) };
    let mut bench = Bench::new(settings, true, false);
    let (one, two) = (bench.join(1, 1), bench.join(2, 1));
    bench.found(one, Vec::new());
    bench.found(two, Vec::new());
    for attempt in 1..=2 {
        let lost = |(node, it): &(NodeId, Assignment)| *node == two && it.chunks[0].receipt.sequence == CHUNKS;
        let place = bench.assigned.iter().position(lost).unwrap();
        let (_, assignment) = bench.assigned.remove(place);
        let receipts = assignment.chunks.iter().map(|it| it.receipt).collect();
        bench.answer(two, &assignment, Outcome::NotHere { receipts, message: format!("it is gone ({attempt})") });
        bench.after(Duration::from_secs(1));
    }
    bench.work();
    assert_eq!((bench.ended().0, bench.ships), (StepState::CompletedWithSkips, 0));
    let letters = bench.core.dead_letters(STEP, crate::api::DeadLetterFilter::default()).unwrap();
    assert_eq!(letters.iter().map(|it| it.error.as_str()).collect::<Vec<_>>(), ["it is gone (2)"]);
}

#[test]
fn without_any_server_it_fails_by_name_and_does_not_ask_for_ever() {
    let mut bench = Bench::new(Settings { servers: Vec::new(), ..settings(ReadFiles::Auto) }, true, false);
    bench.join(1, 1);
    let (state, reason) = bench.ended();
    assert_eq!((state, bench.opens.len()), (StepState::Failed, 1));
    assert!(reason.contains("[servers]"), "{reason}");
}

#[test]
fn with_all_servers_missing_they_are_named() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, false);
    bench.after(GRACE);
    let (state, reason) = bench.ended();
    assert!(state == StepState::Failed && reason.starts_with("yam1, yam2 are missing for 30 s"), "{reason}");
}

#[test]
fn a_server_that_lives_and_does_not_answer_is_waited_for_no_longer_than_a_missing_one_in_the_end() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), true, false);
    let one = bench.join(1, 1);
    bench.join(2, 1);
    bench.found(one, Vec::new());
    bench.after(ANSWER_WITHIN - Duration::from_secs(1));
    assert_eq!(bench.ended().0, StepState::Running);
    bench.after(Duration::from_secs(1));
    bench.after(GRACE);
    let (state, reason) = bench.ended();
    assert!(state == StepState::Failed && reason.contains("yam2"), "{reason}");
}

#[test]
fn a_worker_that_does_not_say_which_files_it_has_is_given_a_task_to_find_out() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), false, false);
    let one = bench.join(1, 1);
    bench.after(ANSWER_WITHIN);
    assert!(bench.assigned.iter().all(|(node, _)| *node == one) && !bench.assigned.is_empty());
}

#[test]
fn the_answer_to_another_question_answers_nothing() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), false, false);
    let one = bench.join(1, 1);
    let (message, listed) = (String::new(), Bytes::from_static(b"list"));
    let late = Found { step: STEP, question: digest(b"globs"), here: 0, absent: Vec::new(), message, listed };
    bench.on(Event::Found(one, late));
    assert!(bench.assigned.is_empty() && bench.core.step_view(STEP, bench.now).unwrap().files.is_empty());
    bench.found(one, Vec::new());
    assert_eq!(bench.assigned.len(), 3);
}

#[test]
fn beside_a_gap_that_is_allowed_a_failure_keeps_its_own_kind_and_reason() {
    let mut bench = Bench::new(Settings { max_attempts: 1, ..settings(ReadFiles::Auto) }, true, true);
    let (one, two) = (bench.join(1, 1), bench.join(2, 1));
    bench.found(one, Vec::new());
    bench.found(two, Vec::new());
    bench.on(Event::NodeDown { node: two, reason: "gone".to_owned() });
    bench.after(GRACE);
    bench.assigned.retain(|(node, _)| *node == one);
    let (_, assignment) = bench.assigned.remove(0);
    let failed = Outcome::Failed {
        kind: FailureKind::Panic,
        receipt: None,
        item: Some(7),
        message: "it panicked".to_owned(),
        log_tail: Vec::new(),
    };
    bench.answer(one, &assignment, failed);
    bench.work();
    let step = bench.core.queue().get(STEP).unwrap();
    assert_eq!(step.error_kind(), Some(StepErrorKind::UserPanic));
    let reason = step.reason.as_deref().unwrap();
    assert!(reason.starts_with("1 chunk was set aside") && reason.contains("it panicked"), "{reason}");
}

#[test]
fn in_place_a_chunk_that_failed_where_alone_its_file_is_is_tried_there_again() {
    let mut bench = Bench::new(settings(ReadFiles::InPlace), false, false);
    let (has, lacks) = (bench.join(1, 1), bench.join(2, 1));
    bench.found(has, Vec::new());
    bench.found(lacks, vec![0]);
    let (node, assignment) = bench.assigned.remove(0);
    assert_eq!(node, has);
    let receipt = Some(assignment.chunks[0].receipt);
    let (kind, message, log_tail) = (FailureKind::User, "no luck".to_owned(), Vec::new());
    bench.answer(has, &assignment, Outcome::Failed { kind, receipt, item: None, message, log_tail });
    bench.work();
    bench.after(Duration::from_secs(1));
    let done = bench.work();
    assert_eq!(done.iter().map(|(node, sequence, _)| (*node, *sequence)).collect::<Vec<_>>(), [(has, 0)]);
    assert_eq!((bench.ended().0, bench.ships), (StepState::Completed, 0));
}

#[test]
fn nobody_reads_a_file_before_it_has_looked_for_it() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), false, false);
    let (near, far) = (bench.join(1, 1), bench.join(2, 1));
    assert_eq!((bench.looks.as_slice(), bench.assigned.len()), (&[near, far][..], 0));
    bench.found(near, Vec::new());
    assert_eq!(
        (bench.assigned.len(), bench.ships),
        (3, 0),
        "as many as it has room for, and the other may have the file, too"
    );
    bench.found(far, vec![0]);
    assert_eq!(bench.ships, 1, "it has not, and has room");
    let done = bench.work();
    assert_eq!(done.len() as u64, CHUNKS);
    let in_place = |it: &(NodeId, u64, PayloadKind)| it.2 == PayloadKind::Split;
    assert!(done.iter().all(|it| in_place(it) == (it.0 == near)), "{done:?}");
    let step = bench.core.step_view(STEP, bench.now).unwrap();
    let files: Vec<_> = step.files.iter().map(|it| (it.worker.as_str(), it.here, it.absent)).collect();
    assert_eq!(files, [("yam1", 1, 0), ("yam2", 1, 1)]);
}

#[test]
fn an_answer_that_does_not_come_is_asked_for_again() {
    let mut bench = Bench::new(settings(ReadFiles::Auto), false, false);
    let one = bench.join(1, 1);
    bench.after(Duration::from_secs(1));
    assert_eq!(bench.looks, [one]);
    bench.after(Duration::from_secs(60));
    assert_eq!(bench.looks, [one, one]);
}

#[test]
fn in_place_nothing_is_shipped_and_a_file_that_nobody_has_fails_the_step_by_name() {
    let mut bench = Bench::new(settings(ReadFiles::InPlace), false, false);
    let one = bench.join(1, 1);
    bench.found(one, vec![0]);
    bench.after(GRACE);
    let (state, reason) = bench.ended();
    assert_eq!((state, bench.ships), (StepState::Failed, 0));
    assert!(reason.contains("a.log") && reason.contains("source.read"), "{reason}");
}

#[test]
fn in_place_a_worker_that_has_the_file_ends_the_wait() {
    let mut bench = Bench::new(settings(ReadFiles::InPlace), false, false);
    let one = bench.join(1, 1);
    bench.found(one, vec![0]);
    bench.after(GRACE / 2);
    let two = bench.join(2, 1);
    bench.found(two, Vec::new());
    let done = bench.work();
    assert!(done.len() as u64 == CHUNKS && done.iter().all(|(node, ..)| *node == two), "{done:?}");
    bench.after(GRACE);
    assert_eq!((bench.ended().0, bench.ships), (StepState::Completed, 0));
}

#[test]
fn shipping_asks_nobody_and_ships_all() {
    let mut bench = Bench::new(settings(ReadFiles::Ship), false, false);
    bench.join(1, 1);
    let done = bench.work();
    assert!(done.iter().all(|it| it.2 == PayloadKind::Bytes), "{done:?}");
    assert_eq!((done.len() as u64, bench.ships as u64, bench.looks.len()), (CHUNKS, CHUNKS, 0));
    assert_eq!(bench.core.audit(STEP).unwrap().reads.first().map(|it| it.shipped_bytes), Some(CHUNKS * 10));
}
