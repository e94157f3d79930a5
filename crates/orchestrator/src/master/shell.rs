//! The master's loop: takes what happens, asks the deciding code, does what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elastic_flow_clock::{Clock, Mono};
use elastic_flow_dataflow::seam::StepOutput;
use elastic_flow_queue::{Caller, StepSpec, StepState};
use elastic_flow_receipt::{NodeId, StepId};
use elastic_flow_transport::{Endpoint, TransportEvent};
use elastic_flow_wire::message::{Message, Pulse};
use elastic_flow_wire::with_causes;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::aggregate::{self, AggregateThread, Finish, OpenAggregate, Saved};
use super::core::MasterCore;
use super::effects::{Effect, Event, Joined, Observation, RequestId};
use super::journaler::{self, Journaler, Written};
use super::meters::{Meters, NOT_LIVING};
use super::monitor::{MonitorThread, Verdict, Watched};
use super::source::{self, SourceThread};
use crate::api::{ApiError, ClusterEvent, ClusterEventKind, ClusterView, CommandView, FilesView, WorkerView};
use crate::config::ExpectedWorker;
use crate::journal::ClusterRecord;
use crate::links::Links;
use crate::observer::Observer;
use crate::programs::Programs;
use crate::retention;

/// Events that are kept for those who come back.
pub(super) const EVENTS_KEPT: usize = 10_000;
/// Outputs of ended steps that stay in memory where the store has them, too.
const OUTPUTS_KEPT: usize = 4;
/// Bytes of accepted results that may wait to be merged before no more are taken in.
const MERGE_BYTES_MAX: u64 = 64 << 20;
/// The loop looks at the clock so often, at least.
const TICK: Duration = Duration::from_millis(250);
/// A progress event is made so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// A journal that grew by so much is written anew between steps.
const REWRITE_BYTES: u64 = 64 << 20;
/// Transport events that are taken before effects are looked at again.
const EVENTS_AT_ONCE: usize = 64;

/// A question about the loop's state.
pub(super) type Question = Box<dyn FnOnce(&Loop) + Send>;
type Reply = oneshot::Sender<Result<Option<StepId>, ApiError>>;

/// What the loop is asked.
pub(super) enum Command {
    Submit(Caller, Box<StepSpec>, Bytes, Reply),
    Cancel(Caller, StepId, Reply),
    Drain(Caller, String, Reply),
    Wait(StepId, oneshot::Sender<()>),
    /// The aggregate so far, with the receipts in it and those conceived.
    Save(StepId, oneshot::Sender<Result<Saved, String>>),
    TakeOutput(StepId, oneshot::Sender<Option<Arc<Box<dyn StepOutput>>>>),
    Ask(Question),
    /// Stop: let the tasks in hand end, for so long; then interrupt what runs.
    Stop(Duration),
}

/// Why a master ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was asked to.
    Asked,
    /// A step failed whose `on_failure` is `terminate`.
    Terminated(StepId),
    /// The store failed: what was acknowledged is in it, nothing more can be.
    StoreFailed(String),
    /// Its loop panicked: a bug. The log has the message.
    Broken,
}

/// A worker's last heartbeat.
#[derive(Debug, Clone)]
struct LastPulse {
    pulse: Pulse,
    at: Mono,
}

/// What the loop owns beside the deciding code.
pub(super) struct Loop {
    pub(super) core: MasterCore,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) programs: Arc<Programs>,
    pub(super) outputs: BTreeMap<StepId, Arc<Box<dyn StepOutput>>>,
    pub(super) recent: VecDeque<ClusterEvent>,
    pub(super) about: About,
    pub(super) endpoint: Endpoint,
    pub(super) links: Links,
    pub(super) journal: Option<Journaler>,
    pub(super) sources: Option<SourceThread>,
    pub(super) aggregates: Option<AggregateThread>,
    pub(super) observer: Option<Observer>,
    pub(super) monitor: Option<MonitorThread>,
    pub(super) events: broadcast::Sender<ClusterEvent>,
    /// The aggregate of a step that a restart found running, with everything that was done merged already.
    pub(super) recovered: Option<OpenAggregate>,
    /// The step whose recovered aggregate is open already.
    begun: Option<StepId>,
    pub(super) meters: Meters,
    /// Jobs that found their thread's queue full, in order.
    pub(super) backlog: VecDeque<Deferred>,
    pub(super) replies: BTreeMap<RequestId, Reply>,
    pub(super) requests: RequestId,
    pub(super) waiters: HashMap<StepId, Vec<oneshot::Sender<()>>>,
    pulses: HashMap<NodeId, LastPulse>,
    pub(super) stopping: Option<Mono>,
    pub(super) stop: Option<StopReason>,
    pub(super) drained: bool,
    pub(super) last_progress: Mono,
    /// Bytes that went into the journal since it was last written anew.
    journal_bytes: u64,
    /// Steps whose results were kept long enough and are gone.
    swept: BTreeSet<StepId>,
}

/// What does not change in a master's life.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) node: NodeId,
    pub(super) address: String,
    pub(super) epoch: u64,
    pub(super) build: u128,
    pub(super) store: String,
    pub(super) store_is_durable: bool,
    pub(super) started_at: Mono,
    pub(super) shutdown_grace: Duration,
    pub(super) keep_results: Duration,
    pub(super) min_workers: u32,
    pub(super) expected: Vec<ExpectedWorker>,
    /// Drawn when the store was made.
    pub(super) incarnation: u128,
}

/// A job that waits for room in its thread's queue.
pub(super) enum Deferred {
    Journal(journaler::Job),
    Source(source::Job),
    Aggregate(aggregate::Job),
}

/// The queues that the loop reads.
pub(super) struct Inputs {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) written: mpsc::Receiver<Written>,
    pub(super) sources: mpsc::Receiver<source::Answer>,
    pub(super) aggregates: mpsc::Receiver<aggregate::Answer>,
    pub(super) verdicts: mpsc::Receiver<Verdict>,
}

/// What the loop chose to act on.
enum Input {
    Command(Command),
    Written(Written),
    Source(source::Answer),
    Aggregate(aggregate::Answer),
    Verdict(Verdict),
    Transport(TransportEvent),
    Tick,
    Gone,
}

impl Loop {
    #[expect(clippy::too_many_arguments, reason = "called once, by the code that starts the parts")]
    pub(super) fn new(
        core: MasterCore,
        clock: Arc<dyn Clock>,
        programs: Arc<Programs>,
        about: About,
        endpoint: Endpoint,
        threads: (Journaler, SourceThread, AggregateThread, Observer),
        events: broadcast::Sender<ClusterEvent>,
        recovered: Option<OpenAggregate>,
    ) -> Self {
        let (journal, sources, aggregates, observer) = threads;
        Self {
            core,
            programs,
            outputs: BTreeMap::new(),
            recent: VecDeque::new(),
            endpoint,
            links: Links::default(),
            journal: Some(journal),
            sources: Some(sources),
            aggregates: Some(aggregates),
            observer: Some(observer),
            monitor: None,
            events,
            recovered,
            begun: None,
            meters: Meters::new(&about),
            backlog: VecDeque::new(),
            replies: BTreeMap::new(),
            requests: 0,
            waiters: HashMap::new(),
            pulses: HashMap::new(),
            stopping: None,
            stop: None,
            drained: false,
            last_progress: clock.now(),
            journal_bytes: REWRITE_BYTES,
            swept: BTreeSet::new(),
            about,
            clock,
        }
    }

    /// Runs until the master ends; `first` are the effects of its recovery.
    pub(super) async fn run(
        mut self,
        mut inputs: Inputs,
        first: Vec<Effect>,
        stopped: watch::Sender<Option<StopReason>>,
    ) {
        // Before anything is heard: workers offer what they have kept as soon as they are back, opened source or not.
        if let Some((step, aggregator)) = self.recovered.take() {
            self.begun = Some(step);
            self.defer(Deferred::Aggregate(aggregate::Job::Begin(step, aggregator)));
        }
        self.perform(first);
        self.tidy();
        self.handle(Event::Tick);
        while self.stop.is_none() || !(self.drained || self.store_failed()) {
            let input = self.next(&mut inputs).await;
            if matches!(input, Input::Gone) {
                break;
            }
            self.take(input);
            self.take_ready(&mut inputs);
            self.ask_monitor();
            self.flush();
            self.watch_stop();
        }
        let reason = self.stop.clone().unwrap_or(StopReason::Asked);
        self.end().await;
        // Nobody has to listen.
        stopped.send(Some(reason)).ok();
    }

    fn store_failed(&self) -> bool {
        matches!(self.stop, Some(StopReason::StoreFailed(_)))
    }

    /// Whether more results may be taken in: not while those that are here wait for a slow aggregator, interceptor or disk.
    fn has_room(&self) -> bool {
        self.backlog.is_empty()
            && self.aggregates.as_ref().is_none_or(|it| it.waiting_bytes() < MERGE_BYTES_MAX)
            && self.observer.as_ref().is_none_or(|it| !it.is_behind())
    }

    /// Cancel safe: every arm is, and none awaits after it has taken a value.
    async fn next(&mut self, inputs: &mut Inputs) -> Input {
        let due = self.monitor.as_ref().and_then(MonitorThread::due);
        let next = [self.core.next_deadline(), due].into_iter().flatten().min();
        let tick = next.map_or(TICK, |at| TICK.min(at.since(self.clock.now())));
        let room = self.has_room();
        tokio::select! {
            biased;
            Some(written) = inputs.written.recv() => Input::Written(written),
            Some(answer) = inputs.aggregates.recv() => Input::Aggregate(answer),
            Some(answer) = inputs.sources.recv() => Input::Source(answer),
            Some(verdict) = inputs.verdicts.recv() => Input::Verdict(verdict),
            command = inputs.commands.recv() => command.map_or(Input::Gone, Input::Command),
            event = self.endpoint.next_event(), if room => event.map_or(Input::Gone, Input::Transport),
            () = tokio::time::sleep(tick) => Input::Tick,
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Command(command) => self.on_command(command),
            Input::Written(Written::Up { number, bytes }) => {
                self.journal_bytes = self.journal_bytes.saturating_add(bytes);
                self.handle(Event::Journaled(number));
            }
            Input::Written(Written::Failed(error)) => {
                let error = with_causes(&error);
                tracing::error!(error, "the store failed; the master stops");
                // Whoever waits for something to be durable is told that it is not.
                for (_, reply) in std::mem::take(&mut self.replies) {
                    reply.send(Err(ApiError::Store(error.clone()))).ok();
                }
                self.stop = Some(StopReason::StoreFailed(error));
            }
            Input::Source(answer) => self.on_source(answer),
            Input::Aggregate(aggregate::Answer::Event(event)) => self.handle(event),
            Input::Aggregate(aggregate::Answer::Output(step, output)) => {
                self.outputs.insert(step, output);
                // A store that outlives the process has them, and they are made of it again.
                while self.about.store_is_durable && self.outputs.len() > OUTPUTS_KEPT {
                    self.outputs.pop_first();
                }
            }
            Input::Verdict(verdict) => {
                if let Some(monitor) = &mut self.monitor {
                    monitor.answered();
                }
                if let Some(living) = verdict {
                    self.handle(Event::Verdict(living));
                }
            }
            Input::Transport(event) => self.on_transport(event),
            Input::Tick => self.handle(Event::Tick),
            Input::Gone => {}
        }
    }

    /// Takes what else is there already, without going back to the runtime for each.
    fn take_ready(&mut self, inputs: &mut Inputs) {
        for _ in 0..EVENTS_AT_ONCE {
            if let Ok(written) = inputs.written.try_recv() {
                self.take(Input::Written(written));
            } else if let Ok(answer) = inputs.aggregates.try_recv() {
                self.take(Input::Aggregate(answer));
            } else if let Ok(answer) = inputs.sources.try_recv() {
                self.take(Input::Source(answer));
            } else {
                return;
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.core.handle(self.clock.now(), self.clock.wall().unix_nanos(), event, &mut effects);
        self.perform(effects);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Submit(by, spec, source, reply) => {
                let request = self.request(reply);
                self.handle(Event::Submit(request, by, spec, source));
            }
            Command::Cancel(by, step, reply) => {
                let request = self.request(reply);
                self.handle(Event::Cancel(request, by, step));
            }
            Command::Drain(by, name, reply) => {
                let request = self.request(reply);
                self.handle(Event::DrainWorker(request, by, name));
            }
            Command::Wait(step, reply) => {
                let ended = self.core.queue().get(step).is_none_or(|it| it.state.is_final())
                    && self.core.running() != Some(step);
                if ended {
                    reply.send(()).ok();
                } else {
                    self.waiters.entry(step).or_default().push(reply);
                }
            }
            Command::Save(step, reply) => {
                // What counts now is on its way to the aggregate, before this, and nothing else is.
                let share = self.core.aggregated(step).unwrap_or_default();
                self.defer(Deferred::Aggregate(aggregate::Job::Save(step, share, reply)));
            }
            Command::TakeOutput(step, reply) => {
                reply.send(self.outputs.remove(&step)).ok();
            }
            Command::Ask(question) => question(self),
            Command::Stop(grace) => self.begin_stop(StopReason::Asked, Some(Caller::local()), grace),
        }
    }

    fn request(&mut self, reply: Reply) -> RequestId {
        self.requests += 1;
        self.replies.insert(self.requests, reply);
        self.requests
    }

    fn begin_stop(&mut self, reason: StopReason, by: Option<Caller>, grace: Duration) {
        if self.stop.is_none() {
            self.stop = Some(reason);
        }
        let until = self.clock.now() + grace;
        self.stopping = Some(self.stopping.map_or(until, |it| it.min(until)));
        self.handle(Event::Drain(by));
    }

    /// When the grace of a stop is over, what still runs is interrupted; a store that outlives this process runs it on later.
    fn watch_stop(&mut self) {
        let Some(until) = self.stopping else { return };
        if self.clock.now() >= until && !self.drained {
            self.handle(Event::Interrupt);
            self.drained = true;
        }
    }

    fn on_source(&mut self, answer: source::Answer) {
        match answer {
            source::Answer::Event(event) => self.handle(event),
            source::Answer::Opened(step, Err(message)) => self.handle(Event::Opened(step, Err(message))),
            source::Answer::Opened(step, Ok((opened, aggregator))) => {
                if self.begun.take() != Some(step) {
                    self.defer(Deferred::Aggregate(aggregate::Job::Begin(step, aggregator)));
                }
                self.handle(Event::Opened(step, Ok(opened)));
            }
        }
    }

    fn on_transport(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Up { peer, sender } => {
                self.links.up(peer.node, sender);
                tracing::info!(worker = %peer.name, address = %peer.address, slots = peer.slots, "worker joined");
                let build = crate::narrow_build(&peer.build);
                let address = peer_address(peer.address, peer.data_address);
                // Its handshake was a sign of life.
                let now = self.clock.now();
                let known = self.pulses.remove(&peer.node).map(|it| it.pulse);
                self.pulses.insert(peer.node, LastPulse { pulse: known.unwrap_or_default(), at: now });
                if let Some(monitor) = &mut self.monitor {
                    monitor.hurry();
                }
                self.handle(Event::NodeUp(Joined {
                    node: peer.node,
                    name: peer.name,
                    address,
                    slots: peer.slots,
                    build,
                }));
            }
            TransportEvent::Message { node, message, .. } => self.on_message(node, message),
            TransportEvent::Down { node, reason } => {
                self.links.down(node);
                self.pulses.remove(&node);
                self.meters.lost(reason.label());
                self.handle(Event::NodeDown { node, reason: reason.to_string() });
            }
            other @ (TransportEvent::Refused { .. } | _) => {
                tracing::debug!(?other, "a transport event that a master has no use for")
            }
        }
    }

    /// Asks the heartbeat monitor, if there is one and it is its time.
    fn ask_monitor(&mut self) {
        let now = self.clock.now();
        let Some(monitor) = &mut self.monitor else { return };
        monitor.watch(now);
        if monitor.due().is_none_or(|due| due > now) {
            return;
        }
        let age = |node: &NodeId| self.pulses.get(node).map_or(Duration::ZERO, |it| now.since(it.at));
        let watched = self.core.node_views().into_iter().map(|it| Watched {
            heartbeat_age: age(&it.node),
            node: it.node,
            name: it.name,
            address: it.address,
        });
        monitor.ask(now, watched.collect());
    }

    fn on_message(&mut self, node: NodeId, message: Message) {
        match message {
            Message::Result(result) => self.handle(Event::Result(node, result)),
            Message::Heartbeat(mut pulse) => {
                // Only some heartbeats bring the node's metrics; the others say nothing of them.
                if pulse.metrics.is_empty()
                    && let Some(last) = self.pulses.get_mut(&node)
                {
                    pulse.metrics = std::mem::take(&mut last.pulse.metrics);
                }
                let holding = pulse.working.iter().map(|(attempt, _)| *attempt).collect();
                self.pulses.insert(node, LastPulse { pulse, at: self.clock.now() });
                self.handle(Event::Pulse { node, holding });
            }
            Message::Draining => self.handle(Event::NodeDraining(node)),
            Message::Holding(tasks) => self.handle(Event::Holding(node, tasks)),
            Message::Found(found) => self.handle(Event::Found(node, found)),
            Message::Unreached(unreached) => self.handle(Event::Unreached(node, unreached)),
            Message::Notice(_)
            | Message::Assign(_)
            | Message::Ack(_)
            | Message::Revoke(_)
            | Message::Release(_)
            | Message::Credit(_)
            | Message::Look(_)
            | Message::Exchange(_)
            | Message::Parcels(_)
            | Message::Taken(_)
            | Message::Partition(_)
            | Message::Goodbye(_) => tracing::debug!(%node, "a message that a worker does not send"),
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Journal(number, record) => {
                    self.defer(Deferred::Journal(journaler::Job::Append(number, record)))
                }
                Effect::Keep(receipt, cut) => self.defer(Deferred::Journal(journaler::Job::Keep(receipt, cut))),
                Effect::Forget(step) => {
                    self.outputs.remove(&step);
                    self.defer(Deferred::Journal(journaler::Job::Forget(step)));
                }
                Effect::Reply(request, answer) => {
                    if let Some(reply) = self.replies.remove(&request) {
                        reply.send(answer).ok();
                    }
                }
                Effect::Send(node, message) => {
                    if !self.links.send(node, message) {
                        tracing::debug!(%node, "a message for a worker that is gone");
                    }
                }
                Effect::Open(open) => {
                    self.defer(Deferred::Source(source::Job::Open(open)));
                }
                Effect::Cut { step, chunks, target_bytes, target_items } => {
                    self.defer(Deferred::Source(source::Job::Cut { step, chunks, target_bytes, target_items }));
                }
                Effect::Ship(receipt, payload) => self.defer(Deferred::Source(source::Job::Ship(receipt, payload))),
                Effect::Merge(step, segments) => self.defer(Deferred::Aggregate(aggregate::Job::Merge(step, segments))),
                Effect::Finish { step, ending, left, source, rest, account } => {
                    let finish = Finish { step, ending, left, source, rest, account };
                    self.defer(Deferred::Aggregate(aggregate::Job::Finish(Box::new(finish))));
                }
                Effect::Ended(step, state) => self.on_ended(step, state),
                Effect::Observe(observation) => self.observe(observation),
                Effect::Terminate(step) => {
                    self.begin_stop(StopReason::Terminated(step), None, self.about.shutdown_grace)
                }
                Effect::Drained => self.drained = true,
            }
        }
    }

    fn on_ended(&mut self, step: StepId, state: StepState) {
        if state == StepState::Completed {
            self.defer(Deferred::Journal(journaler::Job::Tidy(step)));
        }
        self.wake_waiters(step);
        self.tidy();
    }

    fn wake_waiters(&mut self, step: StepId) {
        for waiter in self.waiters.remove(&step).into_iter().flatten() {
            waiter.send(()).ok();
        }
    }

    /// Between steps: results that were kept long enough go, and a long journal is written anew without what is over.
    fn tidy(&mut self) {
        let (keep_results, wall) = (self.about.keep_results, self.clock.wall().unix_nanos());
        let replayed = retention::replayed(self.core.queue());
        let steps = self.core.queue().steps();
        let over = steps.filter(|it| retention::is_over(it, keep_results, wall) && !replayed.contains(&it.id));
        let over: Vec<StepId> = over.map(|it| it.id).collect();
        for step in over {
            if self.swept.insert(step) {
                self.outputs.remove(&step);
                self.defer(Deferred::Journal(journaler::Job::Forget(step)));
            }
        }
        if self.journal_bytes >= REWRITE_BYTES && self.core.running().is_none() {
            self.journal_bytes = 0;
            let cluster = ClusterRecord { incarnation: self.about.incarnation, epoch: self.about.epoch };
            let records = self.core.snapshot(cluster);
            self.defer(Deferred::Journal(journaler::Job::Rewrite(records)));
        }
    }

    /// How long the result of a step was kept, if it is gone since.
    pub(super) fn swept_after(&self, step: StepId) -> Option<Duration> {
        self.swept.contains(&step).then_some(self.about.keep_results)
    }

    /// Hands a job to its thread, in order; it waits here while there is no room.
    fn defer(&mut self, job: Deferred) {
        if self.backlog.is_empty() {
            if let Some(job) = self.try_push(job) {
                self.backlog.push_back(job);
            }
        } else {
            self.backlog.push_back(job);
        }
    }

    fn try_push(&self, job: Deferred) -> Option<Deferred> {
        match job {
            Deferred::Journal(job) => self.journal.as_ref()?.try_push(job).map(Deferred::Journal),
            Deferred::Source(job) => self.sources.as_ref()?.try_push(job).map(Deferred::Source),
            Deferred::Aggregate(job) => self.aggregates.as_ref()?.try_push(job).map(Deferred::Aggregate),
        }
    }

    fn flush(&mut self) {
        while let Some(job) = self.backlog.pop_front() {
            if let Some(job) = self.try_push(job) {
                self.backlog.push_front(job);
                break;
            }
        }
        if let Some(observer) = &mut self.observer {
            observer.flush();
        }
        self.meters.update(&self.core);
        let now = self.clock.now();
        if now.since(self.last_progress) >= PROGRESS_EVERY {
            self.last_progress = now;
            self.meters.slow(&self.core, &self.endpoint);
            if let Some((step, progress)) = self.core.progress(now) {
                self.publish(ClusterEventKind::Progress { step, progress });
            }
        }
    }

    fn observe(&mut self, observation: Observation) {
        match &observation {
            Observation::Step { step, to, reason, from: _ } => {
                self.meters.step(*to, self.clock.now());
                match reason {
                    Some(reason) => tracing::info!(step = step.0, state = %to, reason, "step"),
                    None => tracing::info!(step = step.0, state = %to, "step"),
                }
                self.publish(ClusterEventKind::Step { step: *step, state: *to, reason: reason.clone() });
                // One that never ran ends with this; the running one once its output is made.
                if to.is_final() && self.core.running() != Some(*step) {
                    self.wake_waiters(*step);
                }
            }
            Observation::Worker { name, connected, reason } => {
                match reason {
                    Some(reason) if reason.starts_with("it left") => {
                        tracing::info!(worker = %name, reason, "worker left")
                    }
                    Some(reason) => tracing::warn!(worker = %name, reason, "worker lost"),
                    None => {}
                }
                self.publish(ClusterEventKind::Worker {
                    name: name.clone(),
                    connected: *connected,
                    reason: reason.clone(),
                });
            }
            Observation::Files(step, files) => {
                let FilesView { worker, here, absent, message } = files;
                if *absent == 0 {
                    tracing::info!(step = %step, worker, here, "the worker has the step's files");
                } else {
                    tracing::info!(step = %step, worker, here, absent, message, "the worker does not have all of the step's files");
                }
                self.publish(ClusterEventKind::Files { step: *step, files: files.clone() });
            }
            Observation::Verdict { name, living } => {
                if *living {
                    tracing::info!(worker = %name, "worker living again");
                } else {
                    self.meters.lost(NOT_LIVING);
                    tracing::warn!(worker = %name, "worker not living, says the heartbeat monitor");
                }
                self.publish(ClusterEventKind::Verdict { name: name.clone(), living: *living });
            }
            Observation::Failure(step, failure) => {
                let receipt = failure.receipt.map(|it| it.to_string());
                tracing::warn!(step = step.0, receipt, node = %failure.node, item = failure.item, error = %failure.message, "attempt failed");
                self.publish(ClusterEventKind::Failure { step: *step, failure: failure.clone() });
            }
            Observation::Chunk(..) | Observation::ChunkComplete(..) => {}
        }
        if let Some(observer) = &mut self.observer {
            observer.push(observation);
        }
    }

    fn publish(&mut self, kind: ClusterEventKind) {
        let number = self.recent.back().map_or(0, |it| it.number) + 1;
        let event = ClusterEvent { number, at: self.clock.wall().unix_nanos(), kind };
        self.recent.push_back(event.clone());
        if self.recent.len() > EVENTS_KEPT {
            self.recent.pop_front();
        }
        // Nobody has to listen.
        self.events.send(event).ok();
    }

    /// The order of stopping: say goodbye, end the threads with everything written, tell who waits.
    async fn end(mut self) {
        self.links.flush().await;
        self.endpoint.shutdown(Duration::from_secs(1)).await;
        while let Some(job) = self.backlog.pop_front() {
            match self.try_push(job) {
                None => {}
                Some(job) => {
                    self.backlog.push_front(job);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    if self.store_failed() {
                        break;
                    }
                }
            }
        }
        let threads = (self.aggregates.take(), self.journal.take(), self.observer.take(), self.sources.take());
        let joined = tokio::task::spawn_blocking(move || {
            let (aggregates, journal, observer, sources) = threads;
            if let Some(it) = sources {
                it.detach();
            }
            if let Some(it) = aggregates {
                it.join();
            }
            if let Some(it) = journal {
                it.join();
            }
            if let Some(it) = observer {
                it.join();
            }
        });
        if joined.await.is_err() {
            tracing::error!("a thread of the master could not be joined");
        }
    }

    pub(super) fn worker_views(&self) -> Vec<WorkerView> {
        let now = self.clock.now();
        let views = self.core.node_views();
        let missing = self.about.expected.iter().filter(|it| views.iter().all(|view| view.name != it.name));
        let missing: Vec<WorkerView> = missing.map(not_joined).collect();
        views
            .into_iter()
            .map(|it| {
                let last = self.pulses.get(&it.node);
                WorkerView {
                    node: Some(it.node),
                    joined: true,
                    name: it.name,
                    address: it.address,
                    slots: it.slots,
                    same_build: it.same_build,
                    draining: it.drained.is_some(),
                    drained: it.drained.as_ref().map(CommandView::of),
                    living: it.living,
                    open_chunks: it.open_chunks,
                    busy: last.map_or(0, |it| it.pulse.busy),
                    resident_bytes: last.map_or(0, |it| it.pulse.resident_bytes),
                    heartbeat_age_nanos: last
                        .map_or(0, |it| now.since(it.at).as_nanos().try_into().unwrap_or(u64::MAX)),
                    read_in_place_bytes: it.read_in_place_bytes,
                    read_shipped_bytes: it.read_shipped_bytes,
                }
            })
            .chain(missing)
            .collect()
    }

    pub(super) fn cluster_view(&self) -> ClusterView {
        let about = &self.about;
        let enough = self.core.workers_that_take_work() >= about.min_workers as usize;
        ClusterView {
            cluster: about.cluster.clone(),
            epoch: about.epoch,
            master: about.node,
            address: about.address.clone(),
            build: format!("{:032x}", about.build),
            store: about.store.clone(),
            workers: u32::try_from(self.core.node_views().len()).unwrap_or(u32::MAX),
            programs: self.programs.names(),
            uptime_nanos: self.clock.now().since(about.started_at).as_nanos().try_into().unwrap_or(u64::MAX),
            min_workers: about.min_workers,
            ready: enough && self.stopping.is_none() && self.stop.is_none(),
        }
    }

    pub(super) fn worker_metrics(&self) -> Vec<(String, String)> {
        let views = self.core.node_views().into_iter();
        views
            .filter_map(|it| Some((it.name, self.pulses.get(&it.node)?.pulse.metrics.clone())))
            .filter(|(_, metrics)| !metrics.is_empty())
            .collect()
    }
}

/// A worker that is not there, as the configuration has it.
fn not_joined(expected: &ExpectedWorker) -> WorkerView {
    WorkerView {
        node: None,
        joined: false,
        name: expected.name.clone(),
        address: expected.address.clone().unwrap_or_default(),
        slots: expected.slots.unwrap_or(0),
        same_build: false,
        draining: false,
        living: false,
        drained: None,
        open_chunks: 0,
        busy: 0,
        resident_bytes: 0,
        heartbeat_age_nanos: 0,
        read_in_place_bytes: 0,
        read_shipped_bytes: 0,
    }
}

/// Where a worker is reached that connected from `host` and says that it is reached at `said`: its port alone where it listens at
/// every address of its machine, nothing where it does not know.
fn peer_address(host: String, said: String) -> String {
    match said.strip_prefix(':') {
        _ if said.is_empty() => host,
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => said,
    }
}
