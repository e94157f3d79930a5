//! The worker's deciding code: which task runs next, what is kept until the master has it. No I/O, no clock (DESIGN S1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use elastic_flow_clock::Mono;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StepId};
use elastic_flow_wire::message::{
    Assignment, FailureKind, Found, HeldTask, Look, Message, Outcome, Parcels, PartitionAssignment, PartitionId,
    PartitionSum, Segment, SkippedItem, StepNotice, TaskResult, digest,
};

use super::exchange::{Exchange, ExchangeId, bytes_of};
use crate::interceptor::ChunkEvent;
use crate::master::{Hook, Observation};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// There is a connection to the master.
    Connected,
    /// There is none any more.
    Disconnected,
    /// The master said something.
    Message(Message),
    /// The answer to [`Effect::Prepare`].
    Prepared(StepId, Result<(), String>),
    /// A compute thread is done with an attempt.
    Finished(TaskResult),
    /// A compute thread is done with [`Effect::Merge`].
    Merged {
        /// The exchange.
        exchange: ExchangeId,
        /// The partition.
        partition: PartitionId,
        /// What was merged.
        merged: PartitionSum,
        /// Why it failed, if it did.
        failed: Option<String>,
    },
    /// The worker that was to be connected to can be reached.
    PeerUp(NodeId),
    /// It cannot any more.
    PeerDown(NodeId),
    /// Another worker said something.
    PeerMessage(NodeId, Message),
    /// The answer to [`Effect::Look`].
    Found(Found),
    /// Time has passed.
    Tick,
    /// The worker is to leave: nothing new starts, what is queued is handed back.
    Drain,
}

/// Something is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Build the program of a step and compare its plan.
    Prepare(StepNotice),
    /// Run this on a free compute thread, and split its output into so many partitions, if any.
    Start(Assignment, u32),
    /// Merge these into a partition, on a free compute thread.
    Merge {
        /// The exchange.
        exchange: ExchangeId,
        /// The partition.
        partition: PartitionId,
        /// What is to be merged.
        segments: Vec<Segment>,
    },
    /// Run its stage over a partition that is complete, on a free compute thread. Its output, where it is for another exchange, is
    /// split into so many partitions.
    FinishPartition(ExchangeId, PartitionAssignment, u32),
    /// Let go of what was merged of an exchange.
    DropPartitions(ExchangeId),
    /// Connect to another worker, for as long as it takes.
    Connect {
        /// Which.
        node: NodeId,
        /// Where.
        address: String,
    },
    /// Drop the connection to another worker.
    Disconnect(NodeId),
    /// Say this to a worker that this one has connected to.
    SendPeer(NodeId, Message),
    /// Say this to a worker that has connected to this one.
    ReplyPeer(NodeId, Message),
    /// Look which files are here.
    Look(Look),
    /// The attempt is not wanted any more: stop it at its next block.
    Stop(Attempt),
    /// Say this to the master.
    Send(Message),
    /// Forget what was prepared for the step.
    Forget(StepId),
    /// Tell interceptors.
    Observe(Observation),
    /// Nothing is left here that the master has not: the worker may leave.
    Left,
}

/// What is known of a step here.
#[derive(Debug)]
pub(super) enum Program {
    Preparing,
    Ready,
    Refused(String),
}

/// A result that the master has not acknowledged.
#[derive(Debug)]
pub(super) struct Held {
    result: TaskResult,
    sent_at: Option<Mono>,
}

/// A task on a compute thread.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) step: StepId,
    pub(super) receipts: Vec<ReceiptId>,
}

/// The worker's deciding code.
#[derive(Debug)]
pub struct WorkerCore {
    name: String,
    pub(super) slots: usize,
    resend_after: Duration,
    observing: bool,
    connected: bool,
    draining: bool,
    left: bool,
    pub(super) programs: BTreeMap<StepId, Program>,
    queued: VecDeque<Assignment>,
    pub(super) working: BTreeMap<Attempt, Working>,
    held: BTreeMap<Attempt, Held>,
    /// The newest attempt that was taken on.
    newest: Option<Attempt>,
    /// What is being looked for: the step, and the digest of the question.
    looking: BTreeSet<(StepId, u64)>,
    /// This node.
    pub(super) node: NodeId,
    pub(super) exchange: Option<Exchange>,
    /// Parcels of an exchange that is not known here yet.
    pub(super) early: Vec<(NodeId, Parcels)>,
    pub(super) early_bytes: u64,
    /// Compute threads that merge, of whatever exchange.
    pub(super) merging: usize,
    /// The last exchange that ended while the master was there: what comes of it, or before it, is not early.
    pub(super) ended: Option<ExchangeId>,
}

impl WorkerCore {
    /// A worker with `slots` compute threads, which sends a result again when it was not acknowledged for `resend_after`.
    #[must_use]
    pub const fn new(name: String, node: NodeId, slots: usize, resend_after: Duration, observing: bool) -> Self {
        Self {
            node,
            exchange: None,
            early: Vec::new(),
            early_bytes: 0,
            merging: 0,
            ended: None,
            name,
            slots,
            resend_after,
            observing,
            connected: false,
            draining: false,
            left: false,
            programs: BTreeMap::new(),
            queued: VecDeque::new(),
            working: BTreeMap::new(),
            held: BTreeMap::new(),
            newest: None,
            looking: BTreeSet::new(),
        }
    }

    /// Takes an event in and pushes what is to be done, in order.
    pub fn handle(&mut self, now: Mono, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Connected => {
                self.connected = true;
                out.push(Effect::Send(Message::Holding(self.held_tasks())));
                self.offer(now, Duration::ZERO, out);
            }
            Event::Disconnected => {
                // What was queued is open elsewhere by now; what is at work may still be the first to finish.
                self.connected = false;
                self.queued.clear();
                // The master begins an exchange anew that has lost a worker; another master numbers them anew.
                self.early.clear();
                self.early_bytes = 0;
                self.ended = None;
                if let Some(exchange) = self.exchange.take() {
                    exchange.end(out);
                }
                self.programs.retain(|_, it| !matches!(it, Program::Refused(_)));
            }
            Event::Message(message) => self.on_message(message, out),
            Event::Prepared(step, result) => {
                if let Some(program) = self.programs.get_mut(&step) {
                    *program = result.map_or_else(Program::Refused, |()| Program::Ready);
                }
            }
            Event::Finished(result) => {
                self.working.remove(&result.attempt);
                let result = self.exchanged(result, out);
                self.observe_finished(&result, out);
                self.hold(result);
            }
            Event::Found(found) => {
                self.looking.remove(&(found.step, found.question));
                if self.connected {
                    out.push(Effect::Send(Message::Found(found)));
                }
            }
            Event::Merged { exchange, partition, merged, failed } => {
                self.merging = self.merging.saturating_sub(1);
                if let Some(it) = self.current(exchange) {
                    it.on_merged(partition, merged, failed, out);
                }
            }
            Event::PeerUp(node) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.on_up(node, out);
                }
            }
            Event::PeerDown(node) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.on_down(node);
                }
            }
            Event::PeerMessage(node, message) => self.on_peer_message(node, message, out),
            Event::Tick => {
                self.offer(now, self.resend_after, out);
                if let Some(exchange) = self.exchange.as_mut().filter(|_| self.connected) {
                    exchange.watch(now, out);
                }
            }
            Event::Drain => self.on_drain(out),
        }
        self.start(out);
        self.offer_new(now, out);
        let owns = self.exchange.as_ref().is_some_and(Exchange::owns_partitions);
        if self.draining && !self.left && self.working.is_empty() && self.held.is_empty() && !owns {
            self.left = true;
            out.push(Effect::Left);
        }
    }

    /// Every attempt that is here in some form: what the heartbeat tells, so that the master sees what was lost on the way.
    pub fn holding(&self) -> impl Iterator<Item = Attempt> {
        let queued = self.queued.iter().map(|it| it.attempt);
        let wanted = self.exchange.iter().flat_map(Exchange::wanted);
        queued.chain(self.working.keys().copied()).chain(self.held.keys().copied()).chain(wanted)
    }

    /// What a master that is new, or had lost this worker, is told before anything else.
    fn held_tasks(&self) -> Vec<HeldTask> {
        let working = self.working.iter().map(|(attempt, it)| HeldTask {
            attempt: *attempt,
            step: it.step,
            receipts: it.receipts.clone(),
        });
        let held = self.held.values().map(|it| HeldTask {
            attempt: it.result.attempt,
            step: it.result.step,
            receipts: it.result.receipts.clone(),
        });
        working.chain(held).collect()
    }

    /// Tasks that wait for a compute thread.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Compute threads at work.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.working.len().saturating_add(self.merging)
    }

    /// Bytes of parcels that wait for their owners.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.exchange.as_ref().map_or(0, Exchange::waiting_bytes)
    }

    /// Bytes of results that the master has not acknowledged.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held.values().map(|it| result_bytes(&it.result)).sum()
    }

    fn on_message(&mut self, message: Message, out: &mut Vec<Effect>) {
        match message {
            Message::Notice(notice) => {
                if self.programs.insert(notice.step, Program::Preparing).is_some() {
                    out.push(Effect::Forget(notice.step));
                }
                out.push(Effect::Prepare(notice));
            }
            Message::Assign(assignment) => self.on_assign(assignment, out),
            Message::Ack(attempt) => {
                self.held.remove(&attempt);
            }
            Message::Revoke(attempt) => {
                self.queued.retain(|it| it.attempt != attempt);
                if self.working.contains_key(&attempt) {
                    out.push(Effect::Stop(attempt));
                }
            }
            Message::Release(step) => self.on_release(step, out),
            // A slow disk is not to be looked at twice at once: its answer serves whoever asked again.
            Message::Look(look) => {
                if self.looking.insert((look.step, digest(&look.question))) {
                    out.push(Effect::Look(look));
                }
            }
            Message::Goodbye(_)
            | Message::Heartbeat(_)
            | Message::Credit(_)
            | Message::Draining
            | Message::Holding(_)
            | Message::Found(_)
            | Message::Result(_)
            | Message::Parcels(_)
            | Message::Taken(_)
            | Message::Unreached(_) => {}
            Message::Exchange(notice) => self.on_exchange(notice, out),
            Message::Partition(assignment) => self.on_partition(assignment),
        }
    }

    fn on_assign(&mut self, assignment: Assignment, out: &mut Vec<Effect>) {
        let attempt = assignment.attempt;
        // Attempts rise, and a link keeps its order: this one was told twice. Its first result may have been acknowledged by now, and
        // a second one under the same name would be let go with it.
        if Some(attempt) <= self.newest {
            return;
        }
        if self.draining {
            self.newest = Some(attempt);
            self.hand_back(assignment);
            return;
        }
        let unknown = assignment.generation > 0 && self.exchange_for(&assignment).is_none();
        if unknown || !self.programs.contains_key(&assignment.step) {
            return; // its notice was lost: the heartbeat shows that the attempt is not here, and both come again
        }
        self.newest = Some(attempt);
        if self.observing {
            for chunk in &assignment.chunks {
                let event = self.event(chunk.receipt, None, chunk.payload.body.len() as u64, None);
                out.push(Effect::Observe(Observation::Chunk(Hook::Received, event)));
            }
        }
        self.queued.push_back(assignment);
    }

    fn on_release(&mut self, step: StepId, out: &mut Vec<Effect>) {
        self.queued.retain(|it| it.step != step);
        self.held.retain(|_, it| it.result.step != step);
        for attempt in self.working.iter().filter(|(_, it)| it.step == step).map(|(attempt, _)| *attempt) {
            out.push(Effect::Stop(attempt));
        }
        if self.programs.remove(&step).is_some() {
            out.push(Effect::Forget(step));
        }
        self.early.retain(|(_, it)| it.step != step);
        self.early_bytes = self.early.iter().map(|(_, it)| bytes_of(it)).sum();
        if let Some(exchange) = self.exchange.take_if(|it| it.id.step == step) {
            self.ended = Some(exchange.id);
            exchange.end(out);
        }
    }

    fn on_drain(&mut self, out: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        if self.connected {
            out.push(Effect::Send(Message::Draining));
        }
        for assignment in std::mem::take(&mut self.queued) {
            self.hand_back(assignment);
        }
    }

    /// Stops what is at work: the grace of a worker that leaves is over. It is handed back as it stops.
    pub fn stop_working(&self, out: &mut Vec<Effect>) {
        out.extend(self.working.keys().map(|it| Effect::Stop(*it)));
    }

    fn hand_back(&mut self, assignment: Assignment) {
        self.hold(answer(&assignment, Outcome::HandedBack));
    }

    pub(super) fn hold(&mut self, result: TaskResult) {
        self.held.insert(result.attempt, Held { result, sent_at: None });
    }

    fn start(&mut self, out: &mut Vec<Effect>) {
        self.start_partitions(out);
        let mut waiting = VecDeque::new();
        while self.busy() < self.slots
            && !self.exchange.as_ref().is_some_and(Exchange::is_full)
            && let Some(assignment) = self.queued.pop_front()
        {
            match self.programs.get(&assignment.step) {
                Some(Program::Ready) => {
                    let receipts = assignment.chunks.iter().map(|it| it.receipt).collect();
                    self.working.insert(assignment.attempt, Working { step: assignment.step, receipts });
                    let partitions = self.exchange_for(&assignment).map_or(0, |it| it.partitions);
                    out.push(Effect::Start(assignment, partitions));
                }
                Some(Program::Refused(message)) => {
                    let outcome = Outcome::Failed {
                        kind: FailureKind::Program,
                        receipt: None,
                        item: None,
                        message: message.clone(),
                        log_tail: Vec::new(),
                    };
                    self.hold(answer(&assignment, outcome));
                }
                Some(Program::Preparing) => waiting.push_back(assignment),
                None => {}
            }
        }
        while let Some(assignment) = waiting.pop_back() {
            self.queued.push_front(assignment);
        }
    }

    /// Sends what was never sent.
    fn offer_new(&mut self, now: Mono, out: &mut Vec<Effect>) {
        if self.connected {
            for held in self.held.values_mut().filter(|it| it.sent_at.is_none()) {
                held.sent_at = Some(now);
                out.push(Effect::Send(Message::Result(held.result.clone())));
            }
        }
    }

    /// Sends again what was not acknowledged for so long.
    fn offer(&mut self, now: Mono, after: Duration, out: &mut Vec<Effect>) {
        if !self.connected {
            return;
        }
        for held in self.held.values_mut() {
            if held.sent_at.is_some_and(|it| now >= it + after) {
                held.sent_at = Some(now);
                out.push(Effect::Send(Message::Result(held.result.clone())));
            }
        }
    }

    fn observe_finished(&self, result: &TaskResult, out: &mut Vec<Effect>) {
        if !self.observing {
            return;
        }
        match &result.outcome {
            Outcome::Done { chunks, .. } | Outcome::Exchanged { chunks, .. } => {
                for read in chunks {
                    for hook in [Hook::Processed, Hook::Sent] {
                        let event = self.event(read.receipt, Some(read.entries), read.bytes, None);
                        out.push(Effect::Observe(Observation::Chunk(hook, event)));
                    }
                }
            }
            Outcome::Failed { receipt, message, .. } => {
                for receipt in receipt.iter().chain(result.receipts.first().filter(|_| receipt.is_none())) {
                    let event = self.event(*receipt, None, 0, Some(message.clone()));
                    out.push(Effect::Observe(Observation::Chunk(Hook::Failed, event)));
                }
            }
            Outcome::NotHere { .. } | Outcome::HandedBack => {}
        }
    }

    fn event(&self, receipt: ReceiptId, entries: Option<u64>, bytes: u64, error: Option<String>) -> ChunkEvent {
        ChunkEvent { receipt, node: self.name.clone(), peer: None, entries, bytes, error }
    }
}

/// The result of an assignment.
#[must_use]
pub fn answer(assignment: &Assignment, outcome: Outcome) -> TaskResult {
    TaskResult {
        attempt: assignment.attempt,
        step: assignment.step,
        stage: assignment.stage,
        generation: assignment.generation,
        receipts: assignment.chunks.iter().map(|it| it.receipt).collect(),
        outcome,
    }
}

fn result_bytes(result: &TaskResult) -> u64 {
    match &result.outcome {
        Outcome::Done { segments, skips, .. } => {
            let kept = |it: &SkippedItem| it.error.len() + it.kept.as_ref().map_or(0, |it| it.body.len());
            let skipped: u64 = skips.iter().map(|it| kept(it) as u64).sum();
            segments.iter().map(|it| it.body.len() as u64).sum::<u64>().saturating_add(skipped)
        }
        Outcome::Failed { .. } | Outcome::NotHere { .. } | Outcome::HandedBack | Outcome::Exchanged { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use elastic_flow_receipt::{ReceiptId, StageId};
    use elastic_flow_wire::message::{ChunkRead, Payload, PayloadKind, ReadFrom, Segment, TaskChunk};

    use super::*;

    const STEP: StepId = StepId(1);

    fn assignment(number: u64) -> Assignment {
        let receipt = ReceiptId { step: STEP, stage: StageId(0), round: 0, partition: 0, sequence: number, check: 0 };
        let payload = Payload { kind: PayloadKind::Items, body: Bytes::new() };
        let chunks = vec![TaskChunk { receipt, input: 0, payload }];
        Assignment { attempt: Attempt { epoch: 1, number }, step: STEP, stage: StageId(0), generation: 0, chunks }
    }

    fn notice() -> Event {
        Event::Message(Message::Notice(StepNotice {
            step: STEP,
            program: "p".to_owned(),
            params: Vec::new(),
            plan: 0,
            max_skips: 0,
        }))
    }

    fn done(number: u64) -> Event {
        Event::Finished(answer(
            &assignment(number),
            Outcome::Done { chunks: Vec::new(), segments: Vec::new(), nanos: 0, skips: Vec::new() },
        ))
    }

    /// What comes out, in short: `start 1`, `send done 1`, `prepare`.
    fn shown(effects: &[Effect]) -> Vec<String> {
        let show = |it: &Effect| match it {
            Effect::Prepare(_) => "prepare".to_owned(),
            Effect::Start(it, 0) => format!("start {}", it.attempt.number),
            Effect::Start(it, partitions) => format!("start {} into {partitions}", it.attempt.number),
            Effect::Merge { partition, segments, .. } => format!("merge {} into {partition}", segments.len()),
            Effect::FinishPartition(_, it, _) => format!("finish {}", it.receipt.partition),
            Effect::DropPartitions(_) => "drop".to_owned(),
            Effect::Connect { node, .. } => format!("connect {}", node.0),
            Effect::Disconnect(node) => format!("disconnect {}", node.0),
            Effect::SendPeer(node, _) => format!("give {}", node.0),
            Effect::ReplyPeer(node, _) => format!("taken {}", node.0),
            Effect::Look(it) => format!("look {}", it.step),
            Effect::Stop(it) => format!("stop {}", it.number),
            Effect::Send(Message::Result(it)) => {
                let how = match it.outcome {
                    Outcome::Done { .. } => "done",
                    Outcome::Failed { .. } => "failed",
                    Outcome::NotHere { .. } => "not here",
                    Outcome::HandedBack => "back",
                    Outcome::Exchanged { .. } => "exchanged",
                };
                format!("send {how} {}", it.attempt.number)
            }
            Effect::Send(Message::Holding(tasks)) => {
                let numbers: Vec<u64> = tasks.iter().map(|it| it.attempt.number).collect();
                format!("holding {numbers:?}")
            }
            Effect::Send(_) => "send".to_owned(),
            Effect::Forget(_) => "forget".to_owned(),
            Effect::Observe(_) => "observe".to_owned(),
            Effect::Left => "left".to_owned(),
        };
        effects.iter().map(show).collect()
    }

    struct Bench {
        core: WorkerCore,
        now: Mono,
    }

    impl Bench {
        fn new(slots: usize) -> Self {
            let mut bench = Self {
                core: WorkerCore::new("w".to_owned(), NodeId(1), slots, Duration::from_secs(2), false),
                now: Mono::ZERO,
            };
            assert_eq!(bench.on(Event::Connected), ["holding []"]);
            assert_eq!(bench.on(notice()), ["prepare"]);
            assert!(bench.on(Event::Prepared(STEP, Ok(()))).is_empty());
            bench
        }

        fn on(&mut self, event: Event) -> Vec<String> {
            let mut effects = Vec::new();
            self.core.handle(self.now, event, &mut effects);
            shown(&effects)
        }

        fn assign(&mut self, number: u64) -> Vec<String> {
            self.on(Event::Message(Message::Assign(assignment(number))))
        }
    }

    #[test]
    fn tasks_start_in_order_as_slots_become_free() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.assign(1), ["start 1"]);
        assert!(bench.assign(2).is_empty());
        assert_eq!(bench.on(done(1)), ["start 2", "send done 1"]);
    }

    #[test]
    fn a_result_is_kept_and_sent_again_until_it_is_acknowledged() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.on(done(1));
        bench.now = Mono::ZERO + Duration::from_secs(1);
        assert!(bench.on(Event::Tick).is_empty());
        bench.now = Mono::ZERO + Duration::from_secs(2);
        assert_eq!(bench.on(Event::Tick), ["send done 1"]);
        bench.on(Event::Disconnected);
        let offered = ["holding [1]", "send done 1"];
        assert_eq!(bench.on(Event::Connected), offered, "offered again to whoever is master now");
        bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 1 })));
        bench.now = Mono::ZERO + Duration::from_secs(60);
        assert!(bench.on(Event::Tick).is_empty());
        assert_eq!(bench.core.holding().count(), 0);
    }

    #[test]
    fn an_attempt_that_is_told_twice_runs_once() {
        let mut bench = Bench::new(2);
        assert_eq!(bench.assign(1), ["start 1"]);
        assert!(bench.assign(1).is_empty());
        bench.on(done(1));
        assert!(bench.assign(1).is_empty(), "not while its result is held");
        bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 1 })));
        assert!(bench.assign(1).is_empty(), "nor when it is let go");
        assert_eq!(bench.assign(2), ["start 2"]);
    }

    #[test]
    fn what_is_queued_is_dropped_with_the_connection_and_what_is_at_work_goes_on() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.assign(2);
        bench.on(Event::Disconnected);
        let holding: Vec<u64> = bench.core.holding().map(|it| it.number).collect();
        assert_eq!(holding, [1]);
        assert!(bench.on(done(1)).is_empty(), "nobody to send it to");
        assert_eq!(bench.on(Event::Connected), ["holding [1]", "send done 1"]);
    }

    #[test]
    fn a_new_link_begins_with_the_receipts_of_what_is_at_work_and_what_is_held() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.on(done(1));
        bench.assign(2);
        bench.on(Event::Disconnected);
        let mut effects = Vec::new();
        bench.core.handle(bench.now, Event::Connected, &mut effects);
        let Some(Effect::Send(Message::Holding(tasks))) = effects.first() else { panic!("{effects:?}") };
        let told: Vec<(u64, StepId, u64)> =
            tasks.iter().map(|it| (it.attempt.number, it.step, it.receipts[0].sequence)).collect();
        assert_eq!(told, [(2, STEP, 2), (1, STEP, 1)]);
    }

    #[test]
    fn a_program_that_is_refused_fails_its_tasks_by_name() {
        let mut bench = Bench::new(1);
        bench.on(notice());
        bench.on(Event::Prepared(STEP, Err("another plan".to_owned())));
        assert_eq!(bench.assign(1), ["send failed 1"]);
    }

    #[test]
    fn a_step_that_has_ended_leaves_nothing() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.assign(2);
        assert_eq!(bench.on(Event::Message(Message::Release(STEP))), ["stop 1", "forget"]);
        bench.on(done(1));
        bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 1 })));
        assert_eq!(bench.core.holding().count(), 0);
        assert!(bench.assign(3).is_empty(), "its notice is gone: the task is dropped, not run");
        assert_eq!(bench.core.holding().count(), 0);
    }

    #[test]
    fn a_worker_that_leaves_hands_back_what_is_queued_and_ends_when_all_is_acknowledged() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.assign(2);
        assert_eq!(bench.on(Event::Drain), ["send", "send back 2"]);
        assert_eq!(bench.assign(3), ["send back 3"]);
        assert_eq!(bench.on(done(1)), ["send done 1"]);
        bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 1 })));
        bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 2 })));
        assert_eq!(bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 3 }))), ["left"]);
    }

    #[test]
    fn an_attempt_that_is_revoked_leaves_the_queue_or_is_stopped() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.assign(2);
        let revoke = |number| Event::Message(Message::Revoke(Attempt { epoch: 1, number }));
        assert!(bench.on(revoke(2)).is_empty());
        assert_eq!(bench.on(revoke(1)), ["stop 1"]);
        assert_eq!(bench.on(done(1)), ["send done 1"], "what had been finished is told all the same");
        assert_eq!(bench.core.queued(), 0);
    }

    #[test]
    fn what_is_queued_at_work_and_held_is_told_in_the_heartbeat_and_counted() {
        let mut bench = Bench::new(1);
        for number in 1..=3 {
            bench.assign(number);
        }
        let segment =
            Segment { receipt: assignment(1).chunks[0].receipt, rows: 1, digest: 0, body: Bytes::from_static(b"four") };
        let outcome = Outcome::Done { chunks: Vec::new(), segments: vec![segment], nanos: 0, skips: Vec::new() };
        bench.on(Event::Finished(answer(&assignment(1), outcome)));
        let mut holding: Vec<u64> = bench.core.holding().map(|it| it.number).collect();
        holding.sort_unstable();
        assert_eq!(holding, [1, 2, 3]);
        assert_eq!((bench.core.queued(), bench.core.busy(), bench.core.held_bytes()), (1, 1, 4));
    }

    #[test]
    fn a_result_that_was_sent_again_waits_as_long_for_the_next_time() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.on(done(1));
        bench.now = Mono::ZERO + Duration::from_secs(2);
        assert_eq!(bench.on(Event::Tick), ["send done 1"]);
        bench.now = Mono::ZERO + Duration::from_millis(3_999);
        assert!(bench.on(Event::Tick).is_empty());
        bench.now = Mono::ZERO + Duration::from_secs(4);
        assert_eq!(bench.on(Event::Tick), ["send done 1"]);
    }

    #[test]
    fn tasks_whose_program_is_being_prepared_wait_in_their_order_and_hold_up_no_other_step() {
        let mut bench = Bench::new(2);
        let second = StepNotice { step: StepId(2), program: "q".to_owned(), params: Vec::new(), plan: 0, max_skips: 0 };
        assert_eq!(bench.on(Event::Message(Message::Notice(second))), ["prepare"]);
        for number in [1, 2] {
            let of_second = Assignment { step: StepId(2), ..assignment(number) };
            assert!(bench.on(Event::Message(Message::Assign(of_second))).is_empty());
        }
        assert_eq!(bench.assign(3), ["start 3"]);
        bench.on(Event::Tick);
        assert_eq!(bench.on(Event::Prepared(StepId(2), Ok(()))), ["start 1"]);
        assert_eq!(bench.on(done(3)), ["start 2", "send done 3"]);
    }

    #[test]
    fn a_second_notice_of_a_step_forgets_what_was_prepared_for_the_first() {
        let mut bench = Bench::new(1);
        assert_eq!(bench.on(notice()), ["forget", "prepare"]);
        assert!(bench.assign(1).is_empty(), "it waits for the new preparation");
        assert_eq!(bench.on(Event::Prepared(STEP, Ok(()))), ["start 1"]);
    }

    #[test]
    fn a_task_whose_notice_was_lost_is_not_held_so_that_it_is_missed() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        let unknown = Assignment { step: StepId(2), ..assignment(2) };
        assert!(bench.on(Event::Message(Message::Assign(unknown))).is_empty());
        assert_eq!(bench.core.holding().count(), 1);
    }

    #[test]
    fn a_refusal_is_not_held_against_the_next_master() {
        let mut bench = Bench::new(1);
        bench.on(notice());
        bench.on(Event::Prepared(STEP, Err("another plan".to_owned())));
        bench.on(Event::Disconnected);
        bench.on(Event::Connected);
        assert!(bench.assign(1).is_empty(), "its notice was lost: it is missed, and told again");
        assert_eq!(bench.on(notice()), ["prepare"]);
    }

    #[test]
    fn the_end_of_a_step_leaves_what_is_there_of_others() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        bench.on(done(1));
        bench.assign(2);
        bench.assign(3);
        assert!(bench.on(Event::Message(Message::Release(StepId(2)))).is_empty());
        assert_eq!(bench.core.holding().count(), 3);
        assert_eq!(bench.on(Event::Message(Message::Release(STEP))), ["stop 2", "forget"]);
        assert_eq!(bench.core.holding().count(), 1, "what is at work ends by itself");
    }

    #[test]
    fn a_worker_says_once_that_it_leaves_and_once_that_it_has_left() {
        let mut bench = Bench::new(1);
        bench.assign(1);
        assert_eq!(bench.on(Event::Drain), ["send"]);
        assert!(bench.on(Event::Drain).is_empty());
        let mut stopped = Vec::new();
        bench.core.stop_working(&mut stopped);
        assert_eq!(shown(&stopped), ["stop 1"], "its grace is over");
        bench.on(Event::Message(Message::Release(STEP)));
        assert!(bench.on(Event::Tick).is_empty(), "something is at work");
        assert_eq!(bench.on(done(1)), ["send done 1"]);
        assert_eq!(bench.on(Event::Message(Message::Ack(Attempt { epoch: 1, number: 1 }))), ["left"]);
        assert!(bench.on(Event::Tick).is_empty());
    }

    #[test]
    fn hooks_see_a_chunk_received_processed_sent_or_failed() {
        let mut bench = Bench::new(1);
        bench.core.observing = true;
        let mut hooks = |event| {
            let mut effects = Vec::new();
            bench.core.handle(Mono::ZERO, event, &mut effects);
            let hook = |it: Effect| {
                let Effect::Observe(Observation::Chunk(hook, event)) = it else { return None };
                Some((hook, event.receipt.sequence, event.entries))
            };
            effects.into_iter().filter_map(hook).collect::<Vec<_>>()
        };
        let assign = |number| Event::Message(Message::Assign(assignment(number)));
        assert_eq!(hooks(assign(1)), [(Hook::Received, 1, None)]);
        let read = ChunkRead {
            receipt: assignment(1).chunks[0].receipt,
            entries: 6,
            bytes: 7,
            nanos: 8,
            from: ReadFrom::Place,
        };
        let outcome = Outcome::Done { chunks: vec![read], segments: Vec::new(), nanos: 0, skips: Vec::new() };
        let finished = hooks(Event::Finished(answer(&assignment(1), outcome)));
        assert_eq!(finished, [(Hook::Processed, 1, Some(6)), (Hook::Sent, 1, Some(6))]);
        hooks(assign(2));
        let (kind, message) = (FailureKind::User, "no".to_owned());
        let outcome = Outcome::Failed { kind, receipt: None, item: None, message, log_tail: Vec::new() };
        let failed = hooks(Event::Finished(answer(&assignment(2), outcome)));
        assert_eq!(failed, [(Hook::Failed, 2, None)], "the first of its task where nobody knows which");
    }
}
