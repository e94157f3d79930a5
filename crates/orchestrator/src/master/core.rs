//! The master's deciding code: events and time go in, effects come out. No I/O, no clock, no randomness (DESIGN S1).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_queue::{
    Caller, Effect as QueueEffect, Queue, QueueError, QueueRecord, StepErrorKind, StepSpec, StepState,
};
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StepId};
use elastic_flow_wire::message::{Message, Segment};
use elastic_flow_wire::with_causes;

use super::account::Account;
use super::dead_letters::LeftOut;
use super::effects::{Cause, Effect, Ending, Event, Joined, Observation, Open, Opened, RequestId};
use super::exchange::Exchange;
use super::nodes::{Distribute, Node, Nodes};
use super::run::{Doing, Opening, Run};
use crate::api::ApiError;
use crate::config::{ReadFiles, Settings};
use crate::journal::{ClosedRecord, ClusterRecord, PlanRecord, Record, SourceRecord};

/// Accounts of ended steps in memory; older ones are in the store.
const ACCOUNTS_KEPT: usize = 16;

/// What waits for a record to be in the journal.
#[derive(Debug)]
pub(super) enum Then {
    /// A client's answer.
    Reply(RequestId, Option<StepId>),
    /// A worker may let go of a result that lost.
    Acknowledge(NodeId, Attempt),
    /// These chunks may be distributed.
    Distribute(std::ops::Range<u64>),
    /// This task counts.
    Commit { node: NodeId, attempt: Attempt, sequences: Vec<u64>, segments: Vec<Segment> },
    /// The exchange counts.
    CommitExchange,
    /// The step's end.
    Ended(StepId),
}

/// Switches that plant a known bug, for the simulator's own exam. All off in a real master.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// Results are merged whether or not their chunks are final already.
    pub no_deduplication: bool,
    /// Results are acknowledged before their record is even asked for.
    pub acknowledge_before_record: bool,
    /// Results are acknowledged when their record is asked for, before it is durable.
    pub acknowledge_before_sync: bool,
    /// Attempts are numbered from 1 in every life, under one epoch.
    pub attempts_reused_after_restart: bool,
    /// An exchange goes on without what a lost worker gave or owned.
    pub exchange_outlives_workers: bool,
}

/// Numbers that only rise, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Chunks conceived.
    pub conceived: u64,
    /// Chunks given to workers, every attempt counted.
    pub distributed: u64,
    /// Chunks whose results came back.
    pub returned: u64,
    /// Chunks aggregated.
    pub aggregated: u64,
    /// Chunks set aside.
    pub set_aside: u64,
    /// Items skipped by accepted results.
    pub skipped: u64,
    /// Chunks abandoned.
    pub abandoned: u64,
    /// Chunks sent again.
    pub retried: u64,
    /// Results dropped because their chunks were final.
    pub duplicates: u64,
    /// Results dropped because their step had ended.
    pub stale: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Items read by accepted results.
    pub entries: u64,
    /// Source bytes read by accepted results.
    pub bytes: u64,
}

/// The master's deciding code.
#[derive(Debug)]
pub struct MasterCore {
    pub(super) settings: Settings,
    pub(super) build: u128,
    pub(super) epoch: u64,
    pub(super) attempts: u64,
    pub(super) planted: Planted,
    pub(super) observing: bool,
    monitored: bool,
    pub(super) name: String,
    pub(super) method: Box<dyn Distribute>,
    pub(super) queue: Queue,
    pub(super) nodes: Nodes,
    pub(super) run: Option<Run>,
    pub(super) totals: Totals,
    /// Sources of the steps that have not ended.
    pub(super) sources: BTreeMap<StepId, Bytes>,
    /// Accounts of the last steps that ended.
    pub(super) accounts: BTreeMap<StepId, Arc<Account>>,
    /// The wall time of the event in hand: a label.
    pub(super) wall: u64,
    pub(super) written: u64,
    pub(super) synced: u64,
    pub(super) waiting: BTreeMap<u64, VecDeque<Then>>,
    pub(super) draining: bool,
    drained: bool,
}

/// What a master is made from.
#[derive(Debug)]
pub struct CoreConfig {
    /// Settings.
    pub settings: Settings,
    /// This build.
    pub build: u128,
    /// The master's name.
    pub name: String,
    /// How workers are picked.
    pub method: Box<dyn Distribute>,
    /// Whether chunk observations are wanted (there is an interceptor).
    pub observing: bool,
    /// Whether a worker gets work only after a verdict that it is living (there is a heartbeat monitor).
    pub monitored: bool,
    /// Known bugs, for the simulator.
    pub planted: Planted,
}

impl MasterCore {
    /// A master in its `epoch`th life, over an empty journal; [`super::recover`] makes one over a journal with records.
    #[must_use]
    pub fn new(config: CoreConfig, epoch: u64) -> Self {
        Self {
            settings: config.settings,
            build: config.build,
            epoch: if config.planted.attempts_reused_after_restart { 1 } else { epoch },
            attempts: 0,
            planted: config.planted,
            observing: config.observing,
            monitored: config.monitored,
            name: config.name,
            method: config.method,
            queue: Queue::new(),
            nodes: Nodes::default(),
            run: None,
            totals: Totals::default(),
            sources: BTreeMap::new(),
            accounts: BTreeMap::new(),
            wall: 0,
            written: 0,
            synced: 0,
            waiting: BTreeMap::new(),
            draining: false,
            drained: false,
        }
    }

    /// Takes an event in at time `now` (`wall` is a label only) and pushes what is to be done, in order.
    pub fn handle(&mut self, now: Mono, wall: u64, event: Event, out: &mut Vec<Effect>) {
        self.wall = wall;
        match event {
            Event::Submit(request, by, spec, source) => self.on_submit(wall, request, by, *spec, source, out),
            Event::Cancel(request, by, step) => self.on_cancel(wall, request, by, step, out),
            Event::DrainWorker(request, by, name) => self.on_drain_worker(request, by, &name, out),
            Event::NodeUp(joined) => self.on_node_up(now, joined, out),
            Event::Holding(node, tasks) => self.on_holding(now, node, &tasks),
            Event::NodeDown { node, reason } => self.on_node_down(now, node, &reason, out),
            Event::NodeDraining(node) => self.on_node_draining(node, out),
            Event::Pulse { node, holding } => self.on_pulse(now, node, &holding, out),
            Event::AskServers(step, question) => self.on_ask_servers(step, question),
            Event::Found(node, found) => self.on_found(node, found, out),
            Event::Verdict(living) => self.on_verdict(now, &living, out),
            Event::Opened(step, result) => self.on_opened(now, step, result, out),
            Event::Cut { step, cuts, exhausted } => self.on_cut(wall, step, cuts, exhausted, out),
            Event::CutFailed(step, cause) | Event::MergeFailed(step, cause) => self.fail(step, cause),
            Event::Shipped(receipt, result) => self.on_shipped(now, receipt, result, out),
            Event::Result(node, result) => self.on_result(now, node, result, out),
            Event::Unreached(node, unreached) => self.on_unreached(node, unreached),
            Event::Journaled(number) => self.on_journaled(now, number, out),
            Event::Finished(step, result) => self.on_finished(wall, step, result, out),
            Event::Tick => self.on_tick(now),
            Event::Drain(by) => self.on_drain(by, out),
            Event::Interrupt => self.on_interrupt(wall, out),
        }
        self.advance(now, wall, out);
    }

    /// The time of the next thing that only time brings about.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let run = self.run.as_ref()?;
        let backoff = run.waiting.first().map(|(until, _)| *until);
        if run.ending.is_some() || run.finishing {
            return backoff;
        }
        let waits = [run.deserted_since, run.unread_since, run.missing_since.values().min().copied()];
        let grace = waits.into_iter().flatten().min().map(|since| since + self.settings.grace);
        [backoff, grace].into_iter().flatten().min()
    }

    /// Does whatever can be done now: starts the next step, distributes, cuts, ends.
    fn advance(&mut self, now: Mono, wall: u64, out: &mut Vec<Effect>) {
        self.start_next(now, wall, out);
        self.watch_workers(now);
        self.watch_servers(now, out);
        self.watch_readers(now);
        self.open_when_answered(out);
        self.ask_workers(now, out);
        self.begin_exchange(now, out);
        self.distribute(now, out);
        self.watch_exchange(now, out);
        self.ask_for_cuts(out);
        self.end_if_done(now, out);
        if self.draining && self.run.is_none() && self.waiting.is_empty() && !self.drained {
            self.drained = true;
            out.push(Effect::Drained);
        }
    }

    /// Numbers a record and asks for it to be journalled.
    pub(super) fn journal(&mut self, record: Record, out: &mut Vec<Effect>) -> u64 {
        self.written = self.written.saturating_add(1);
        out.push(Effect::Journal(self.written, record));
        self.written
    }

    /// What is to happen once record `number` is in the journal.
    pub(super) fn then(&mut self, number: u64, then: Then) {
        self.waiting.entry(number).or_default().push_back(then);
    }

    fn on_submit(
        &mut self,
        wall: u64,
        request: RequestId,
        by: Caller,
        spec: StepSpec,
        source: Bytes,
        out: &mut Vec<Effect>,
    ) {
        if self.draining {
            out.push(Effect::Reply(request, Err(ApiError::Stopping)));
            return;
        }
        match self.queue.submit(spec, by, wall) {
            Err(error) => {
                // Only what is not well-formed is wrong by itself; the rest depends on what else there is.
                let wrong = matches!(error, QueueError::Spec(_));
                let refused = if wrong { ApiError::Invalid } else { ApiError::Conflict };
                out.push(Effect::Reply(request, Err(refused(with_causes(&error)))));
            }
            Ok((step, records)) => {
                if !records.is_empty() {
                    self.apply_queue(records, out);
                    self.sources.insert(step, source.clone());
                    self.journal(Record::Source(SourceRecord { step, resolved: source }), out);
                }
                self.reply_when_durable(request, Some(step), out);
            }
        }
    }

    fn on_cancel(&mut self, wall: u64, request: RequestId, by: Caller, step: StepId, out: &mut Vec<Effect>) {
        match self.queue.cancel(step, by, None, wall) {
            Err(QueueError::NoStep { .. }) => out.push(Effect::Reply(request, Err(ApiError::NoStep(step)))),
            Err(error) => out.push(Effect::Reply(request, Err(ApiError::Conflict(with_causes(&error))))),
            Ok(decision) => {
                self.apply_queue(decision.records, out);
                if let Some(run) = self.run.as_mut().filter(|it| it.step == step) {
                    run.ending.get_or_insert(Ending::Cancelled);
                } else {
                    self.sources.remove(&step);
                }
                self.reply_when_durable(request, Some(step), out);
            }
        }
    }

    /// What was decided so far is acknowledged once it is in the journal.
    pub(super) fn reply_when_durable(&mut self, request: RequestId, step: Option<StepId>, out: &mut Vec<Effect>) {
        if self.synced >= self.written {
            out.push(Effect::Reply(request, Ok(step)));
        } else {
            self.then(self.written, Then::Reply(request, step));
        }
    }

    /// The worker may let go of this attempt's result once all that was decided so far is in the journal.
    pub(super) fn acknowledge_when_durable(&mut self, node: NodeId, attempt: Attempt, out: &mut Vec<Effect>) {
        if self.synced >= self.written {
            out.push(Effect::Send(node, Message::Ack(attempt)));
        } else {
            self.then(self.written, Then::Acknowledge(node, attempt));
        }
    }

    /// Journals queue records, applies them, and tells of the changes of state.
    pub(super) fn apply_queue(&mut self, records: Vec<QueueRecord>, out: &mut Vec<Effect>) {
        for record in records {
            // Decided from this very state a moment ago: it applies.
            if let Ok(Some(change)) = self.queue.apply(&record) {
                let reason = self.queue.get(change.id).and_then(|it| it.reason.clone());
                let (step, from, to) = (change.id, change.from, change.to);
                let observation = Observation::Step { step, from, to, reason };
                // The end of the running step is told once it is durable: a crash before that takes it back.
                match self.run.as_mut().filter(|it| it.step == step && to.is_final()) {
                    Some(run) => run.end = Some(observation),
                    None => out.push(Effect::Observe(observation)),
                }
            }
            self.note_drain(&record);
            if let QueueRecord::Forgotten { id } = &record {
                self.accounts.remove(id);
                out.push(Effect::Forget(*id));
            }
            self.journal(Record::Queue(record), out);
        }
    }

    fn start_next(&mut self, now: Mono, wall: u64, out: &mut Vec<Effect>) {
        if self.run.is_some() || self.draining {
            return;
        }
        let Some((step, spec)) = self.queue.next_to_run().map(|it| (it.id, it.spec.clone())) else { return };
        if let Ok(decision) = self.queue.started(step, wall) {
            self.apply_queue(decision.records, out);
            self.run = Some(Run::new(step, spec.clone(), now, wall));
            self.forget_notices();
            let source = self.sources.get(&step).cloned().unwrap_or_default();
            let (cut_before, exhausted, answers) = (Vec::new(), false, Vec::new());
            out.push(Effect::Open(Box::new(Open { step, spec, source, cut_before, exhausted, answers })));
        }
    }

    /// No worker knows the step that runs now.
    pub(super) fn forget_notices(&mut self) {
        for node in self.nodes.by_id.values_mut() {
            node.notified = false;
            node.forget_step();
        }
    }

    fn on_opened(&mut self, now: Mono, step: StepId, result: Result<Opened, Cause>, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut().filter(|it| it.step == step && it.opening == Opening::Asked) else { return };
        match result {
            Err(cause) => {
                run.opening = Opening::Open;
                run.exhausted = true;
                self.fail(step, cause);
            }
            Ok(opened) => {
                run.opening = Opening::Open;
                let fresh = run.chunks.is_empty() && !run.exhausted;
                let began = run.build.replace(self.build).filter(|it| !fresh && *it != self.build);
                let same_plan = run.plan == opened.plan;
                run.plan = opened.plan;
                run.exchanged_stages = opened.exchanged_stages;
                run.source = opened.source;
                run.cut_earlier = opened.cut_earlier;
                run.earlier = opened.earlier;
                run.question = opened.question.filter(|_| self.settings.read != ReadFiles::Ship);
                if opened.expanded {
                    self.sources.insert(step, run.source.clone());
                    let record = SourceRecord { step, resolved: run.source.clone() };
                    self.written = self.written.saturating_add(1);
                    out.push(Effect::Journal(self.written, Record::Source(record)));
                }
                for (receipt, payload) in opened.refilled {
                    run.refill(&receipt, payload, now);
                }
                if fresh {
                    run.set_parts(opened.parts.clone());
                    let record = PlanRecord { step, plan: opened.plan, parts: opened.parts, build: self.build };
                    self.journal(Record::Plan(record), out);
                    self.conceive_replays(step, opened.replays, opened.cuts, out);
                }
                if let Some(began) = began.filter(|_| !(self.settings.allow_mixed_builds && same_plan)) {
                    self.fail(step, begun_by_another(began, self.build));
                }
                self.watch_skips();
            }
        }
    }

    fn on_journaled(&mut self, now: Mono, number: u64, out: &mut Vec<Effect>) {
        self.synced = self.synced.max(number);
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > number {
                break;
            }
            for then in entry.remove() {
                match then {
                    Then::Reply(request, step) => out.push(Effect::Reply(request, Ok(step))),
                    Then::Acknowledge(node, attempt) => out.push(Effect::Send(node, Message::Ack(attempt))),
                    Then::Distribute(range) => {
                        if let Some(run) = self.run.as_mut() {
                            for sequence in range {
                                if run.chunk(sequence).is_some_and(|it| it.doing == Doing::Conceived) {
                                    run.to(sequence, Doing::Pending, now);
                                }
                            }
                        }
                    }
                    Then::Commit { node, attempt, sequences, segments } => {
                        self.commit(node, attempt, &sequences, segments, out);
                    }
                    Then::CommitExchange => self.on_exchange_committed(out),
                    Then::Ended(step) => self.on_ended(step, out),
                }
            }
        }
    }

    /// A step's failure from outside its chunks: what is in hand may end, then it fails.
    pub(super) fn fail(&mut self, step: StepId, cause: Cause) {
        if let Some(run) = self.run.as_mut().filter(|it| it.step == step && !it.finishing) {
            run.cutting = false;
            match &run.ending {
                None | Some(Ending::Done | Ending::Cancelled) => run.ending = Some(Ending::Failed(cause)),
                Some(Ending::Failed(_)) => {}
            }
        }
    }

    fn on_tick(&mut self, now: Mono) {
        let Some(run) = self.run.as_mut() else { return };
        while let Some((until, sequence)) = run.waiting.first().copied() {
            if until > now {
                break;
            }
            run.to(sequence, Doing::Pending, now);
        }
    }

    fn watch_workers(&mut self, now: Mono) {
        let working = self.nodes.any_takes_work();
        let partitions = self.run.as_ref().and_then(|it| it.exchange.as_ref()).map_or(0, Exchange::at_work);
        let at_work = partitions > 0 || self.nodes.by_id.values().any(|it| it.is_living() && !it.open.is_empty());
        let grace = self.settings.grace;
        let wanted = self.nodes.wanted();
        let Some(run) = self.run.as_mut() else { return };
        // Servers that are waited for by their names.
        let by_name = run.asking.is_some() || run.on_servers.values().any(|it| it.left > 0);
        // What is left is in hand, on workers that will get no more.
        let in_hand = at_work
            && run.exhausted
            && run.pending_count().saturating_add(run.shipping).saturating_add(run.conceived) == 0
            && run.waiting.is_empty();
        if working || run.finishing || by_name || in_hand {
            run.deserted_since = None;
            return;
        }
        let since = *run.deserted_since.get_or_insert(now);
        if now >= since + grace && run.ending.is_none() {
            let step = run.step;
            let message = format!(
                "no worker{wanted} for {} s (retry.grace): start one, then replay the step",
                grace.as_secs_f64()
            );
            self.fail(step, Cause::new(StepErrorKind::NoWorkers, message));
        }
    }

    fn end_if_done(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_mut() else { return };
        if run.finishing
            || run.opening == Opening::Asked
            || !run.tasks.is_empty()
            || run.accepted > 0
            || run.conceived > 0
        {
            return;
        }
        if run.ending.is_none() {
            if !run.exhausted || run.finals < run.chunks.len() as u64 {
                return;
            }
            run.ending = Some(Ending::Done);
        }
        let Some(ending) = run.ending.clone() else { return };
        run.finishing = true;
        self.abandon_rest(out);
        let Some(run) = self.run.as_mut() else { return };
        let (left, rest, source) = (run.left(), run.rest(), run.source.clone());
        let account = Arc::new(Account::of(run, now));
        out.push(Effect::Finish { step: run.step, ending, left, source, rest, account: Arc::clone(&account) });
        self.remember(account);
    }

    fn on_finished(&mut self, wall: u64, step: StepId, result: Result<Vec<String>, Cause>, out: &mut Vec<Effect>) {
        let Some(run) = self.run.as_ref().filter(|it| it.step == step && it.finishing) else { return };
        if let (Ok(notes), Some(account)) = (&result, self.accounts.get_mut(&step))
            && !notes.is_empty()
        {
            Arc::make_mut(account).note(notes.clone());
        }
        let decision = match (&run.ending, result) {
            (_, Err(cause)) => self.queue.failed(step, cause.kind, &cause.message, wall),
            (Some(Ending::Failed(cause)), Ok(_)) => self.queue.failed(step, cause.kind, &cause.message, wall),
            (Some(Ending::Cancelled), Ok(_)) => self.queue.cancelled(step, wall),
            (Some(Ending::Done) | None, Ok(_)) => match self.verdict(step) {
                Ok(skips) => self.queue.completed(step, skips, wall),
                Err(cause) => self.queue.failed(step, cause.kind, &cause.message, wall),
            },
        };
        if let Ok(decision) = decision {
            self.apply_queue(decision.records, out);
            if decision.effects.contains(&QueueEffect::ShutDown) {
                out.push(Effect::Terminate(step));
            }
        }
        let number = self.journal(Record::Closed(ClosedRecord { step }), out);
        self.then(number, Then::Ended(step));
    }

    /// Whether the step completed, with skips or without, or why it did not.
    fn verdict(&self, step: StepId) -> Result<bool, Cause> {
        let Some(account) = self.accounts.get(&step) else {
            return Err(Cause::new(StepErrorKind::Bug, "its account is lost: a bug"));
        };
        let audit = account.audit();
        if !audit.balanced() {
            let message = format!("its audit does not balance: {}", audit.line());
            return Err(Cause::new(StepErrorKind::Unbalanced, message));
        }
        match account.left_out() {
            LeftOut { items: 0, chunks: 0 } => Ok(account.has_gaps()),
            some if some.total() <= self.settings.max_skips => Ok(true),
            some => {
                let first = self.run.as_ref().and_then(|it| it.set_aside_for);
                let kind = some.kind(self.settings.max_skips, first);
                Err(Cause::new(kind, account.too_many(some, self.settings.max_skips)))
            }
        }
    }

    fn on_ended(&mut self, step: StepId, out: &mut Vec<Effect>) {
        if self.run.as_ref().is_none_or(|it| it.step != step) {
            return;
        }
        let run = self.run.take();
        // Of an exchange a worker may have something that was never given a task of it since it was told.
        let exchanged = run.as_ref().is_some_and(|it| it.is_partitioned());
        out.extend(run.and_then(|it| it.end).map(Effect::Observe));
        self.sources.remove(&step);
        for (id, node) in &mut self.nodes.by_id {
            node.open.clear();
            node.open_chunks = 0;
            node.forget_step();
            node.taken.clear();
            if std::mem::take(&mut node.notified) || exchanged {
                out.push(Effect::Send(*id, Message::Release(step)));
            }
        }
        let state = self.queue.get(step).map_or(StepState::Failed, |it| it.state);
        out.push(Effect::Ended(step, state));
    }

    /// Stops now. Payloads that exist only in this memory go to the store, so that the step can run on later.
    fn on_interrupt(&mut self, wall: u64, out: &mut Vec<Effect>) {
        self.draining = true;
        let open = |it: &&super::run::Chunk| it.doing != Doing::Final;
        let open: Vec<u64> =
            self.run.iter().flat_map(|it| &it.chunks).filter(open).map(|it| it.receipt.sequence).collect();
        for sequence in open {
            self.keep(sequence, out);
        }
        if let Some(step) = self.run.as_ref().map(|it| it.step)
            && let Ok(decision) = self.queue.interrupted(step, None, wall)
        {
            self.apply_queue(decision.records, out);
        }
    }

    fn on_node_up(&mut self, now: Mono, joined: Joined, out: &mut Vec<Effect>) {
        out.push(Effect::Observe(Observation::Worker { name: joined.name.clone(), connected: true, reason: None }));
        let eligible = joined.build == self.build || self.settings.allow_mixed_builds;
        self.nodes.join(Node::new(joined, now, eligible, self.monitored));
    }

    fn on_node_down(&mut self, now: Mono, node: NodeId, reason: &str, out: &mut Vec<Effect>) {
        let Some(gone) = self.nodes.by_id.remove(&node) else { return };
        let name = gone.joined.name;
        out.push(Effect::Observe(Observation::Worker {
            name: name.clone(),
            connected: false,
            reason: Some(reason.to_owned()),
        }));
        for attempt in gone.open {
            self.lose(now, attempt, &name, reason, out);
        }
        self.lose_taken(node, &gone.taken, &name, reason, out);
        self.lose_exchange(node, &name, reason, out);
    }

    /// Keeps the account of a step that has ended, and lets the oldest go.
    fn remember(&mut self, account: Arc<Account>) {
        self.accounts.insert(account.step(), account);
        while self.accounts.len() > ACCOUNTS_KEPT {
            self.accounts.pop_first();
        }
    }

    /// The records that say all that is not over, for a journal that is written anew. Only between steps.
    #[must_use]
    pub fn snapshot(&self, cluster: ClusterRecord) -> Vec<Record> {
        let queue = self.queue.records().map(Record::Queue);
        let sources = self
            .sources
            .iter()
            .map(|(step, resolved)| Record::Source(SourceRecord { step: *step, resolved: resolved.clone() }));
        let drains = self.nodes.drains().map(Record::Queue);
        std::iter::once(Record::Cluster(cluster)).chain(queue).chain(sources).chain(drains).collect()
    }

    /// The step that runs.
    #[must_use]
    pub fn running(&self) -> Option<StepId> {
        self.run.as_ref().map(|it| it.step)
    }

    /// How many workers are connected.
    pub(super) fn nodes_connected(&self) -> usize {
        self.nodes.by_id.len()
    }

    /// Numbers for the metrics.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// The queue.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn is_running(&self, receipt: &ReceiptId) -> bool {
        self.run.as_ref().is_some_and(|it| it.step == receipt.step)
    }
}

/// Why a step does not go on under a master of another build than the one that began it: equal plans can hide other closures.
fn begun_by_another(began: u128, build: u128) -> Cause {
    let short = |build: u128| format!("{build:032x}").chars().take(8).collect::<String>();
    let message = format!(
        "it was begun by build {}, and this master is of build {}, whose code may differ: replay it, to go on from what it has with \
         this build, or submit it anew; to end a step under the build that began it, upgrade between steps",
        short(began),
        short(build)
    );
    Cause::new(StepErrorKind::Program, message)
}
