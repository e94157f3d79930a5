//! The worker's loop: takes what happens, asks the deciding code, does what it says.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use elastic_flow_clock::{Clock, Mono};
use elastic_flow_dataflow::seam::{PartitionedStage, Stage};
use elastic_flow_dataflow::source::{self, DataRoots, Seen};
use elastic_flow_receipt::{Attempt, NodeId, StageId, StepId};
use elastic_flow_transport::{Endpoint, Net, TransportEvent, TransportStats};
use elastic_flow_wire::Role;
use elastic_flow_wire::message::{Found, Look, Message, Pulse, StepNotice, digest};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use super::compute::{Board, Compute, Done, locked};
use super::core::{Effect, Event, WorkerCore};
use super::exchange::ExchangeId;
use super::peers::{PeerEvent, Peers};
use crate::config::{RenderMetrics, WorkerConfig};
use crate::error::StartError;
use crate::interceptor::Interceptors;
use crate::links::Links;
use crate::master::endpoint_config;
use crate::observer::Observer;
use crate::programs::Programs;

/// Finished tasks that wait for the loop, for each slot.
const FINISHED_PER_SLOT: usize = 4;
/// The loop looks at the clock so often, at least.
const TICK: Duration = Duration::from_millis(250);
/// A result that was not acknowledged for so long is sent again.
const RESEND_AFTER: Duration = Duration::from_secs(10);
/// Where a worker takes links of others whose master is on this machine, and where one does whose master is not.
const LISTEN_HERE: &str = "127.0.0.1:0";
const LISTEN_ANYWHERE: &str = "0.0.0.0:0";
/// Heartbeats that bring the node's metrics: every so many.
const METRICS_EVERY: u32 = 5;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    stop: mpsc::Sender<Duration>,
    stopped: watch::Receiver<Option<String>>,
    connected: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Worker {
    /// Starts a worker, which dials its master for as long as it takes.
    ///
    /// # Errors
    /// The configuration does not hold together, or the system has no thread left.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn start<N: Net>(
        config: WorkerConfig,
        programs: Arc<Programs>,
        interceptors: Interceptors,
        net: N,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let node = crate::fresh_node()?;
        let mut endpoint = endpoint_config(&config.node, Role::Worker, node, 0);
        endpoint.slots = config.slots;
        let listen = match &config.listen {
            Some(listen) => listen,
            None => match net.is_loopback(&config.master).await {
                Ok(true) => LISTEN_HERE,
                Ok(false) => LISTEN_ANYWHERE,
                // A name that is not known yet may be beyond: it is, for one who is allowed there.
                Err(_) if config.node.key_given && config.node.insecure_plaintext => LISTEN_ANYWHERE,
                Err(_) => LISTEN_HERE,
            },
        };
        let peer = endpoint_config(&config.node, Role::Peer, node, 0);
        let peers = Peers::start(net.clone(), listen, peer, Arc::clone(&clock)).await?;
        endpoint.data_address = config.advertise.clone().unwrap_or_else(|| peers.address());
        let endpoint = Endpoint::dial(net, &config.master, endpoint, Arc::clone(&clock)).await?;
        let slots = config.slots.max(1);
        let (finished, finished_in) = mpsc::channel(FINISHED_PER_SLOT.saturating_mul(slots as usize));
        let compute = Compute::start(slots, config.roots.clone(), config.log_tail.clone(), &clock, &finished)
            .map_err(StartError::Thread)?;
        let observer = Observer::start(interceptors, &config.node.name).map_err(StartError::Thread)?;
        let core = WorkerCore::new(config.node.name.clone(), node, slots as usize, RESEND_AFTER, observer.wanted());
        let shown = Arc::new(Mutex::new(Shown::default()));
        crate::meters::build_info(config.node.build);
        endpoint.set_pulse(pulse(Arc::clone(&shown), compute.board(), config.metrics.clone(), Arc::clone(&clock)));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (stop, stop_in) = mpsc::channel(4);
        let (stopped_out, stopped) = watch::channel(None);
        let (connected_out, connected) = watch::channel(false);
        let runner = Loop {
            core,
            clock,
            programs,
            endpoint,
            links: Links::default(),
            peers,
            compute,
            observer,
            shown,
            prepared: HashMap::new(),
            preparing: JoinSet::new(),
            roots: config.roots,
            looking: JoinSet::new(),
            master: None,
            stopping: None,
            left: false,
            told_transport: TransportStats::default(),
            tick,
            connected: connected_out,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(runner.run(finished_in, stop_in, stopped_out));
        Ok(Self { stop, stopped, connected, tasks })
    }

    /// Whether it is connected to its master now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until it ends: it was asked to, or its master will not have it. Says why.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.stopped.clone();
        let reason = stopped.wait_for(Option::is_some).await.map(|it| it.clone());
        reason.ok().flatten().unwrap_or_else(|| "its task ended".to_owned())
    }

    /// Stops it: what is queued is handed back at once, what is at work may end, for so long; then it leaves.
    ///
    /// # Cancel safety
    /// Dropping it ends the worker at once, as a crash would.
    pub async fn stop(mut self, grace: Duration) {
        // A loop that has ended takes no command, and need not.
        self.stop.send(grace).await.ok();
        let ended = tokio::time::timeout(grace.saturating_add(Duration::from_secs(5)), async {
            while self.tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!("the worker did not end in time and was cut off");
        }
    }
}

/// What the heartbeat shows of the deciding code.
#[derive(Debug, Default)]
struct Shown {
    holding: Vec<Attempt>,
    busy: u32,
    queued: u32,
}

fn pulse(
    shown: Arc<Mutex<Shown>>,
    board: Board,
    metrics: Option<RenderMetrics>,
    clock: Arc<dyn Clock>,
) -> impl Fn() -> Pulse + Send + Sync + 'static {
    let beats = AtomicU32::new(0);
    let rendering = AtomicBool::new(false);
    move || {
        let stalls: HashMap<Attempt, u64> = locked(&board).stalls(clock.now()).into_iter().collect();
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pulse = Pulse {
            busy: shown.busy,
            queued: shown.queued,
            working: shown.holding.iter().map(|it| (*it, stalls.get(it).copied().unwrap_or(0))).collect(),
            resident_bytes: resident_bytes(),
            metrics: String::new(),
        };
        drop(shown);
        let due = beats.fetch_add(1, Ordering::Relaxed).is_multiple_of(METRICS_EVERY);
        if let Some(render) = metrics.as_ref().filter(|_| due && !rendering.swap(true, Ordering::AcqRel)) {
            pulse.metrics = render();
            rendering.store(false, Ordering::Release);
        }
        pulse
    }
}

/// Resident memory of this process, 0 where the system does not tell.
fn resident_bytes() -> u64 {
    /// Bytes of a page, on every machine that this runs on with `/proc`.
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0).saturating_mul(PAGE_BYTES)
}

/// A step that can run here.
struct Ready {
    stages: Vec<Arc<dyn Stage>>,
    partitioned: Vec<Arc<dyn PartitionedStage>>,
    /// Items that may be skipped in the whole step.
    max_skips: u64,
}

struct Loop {
    core: WorkerCore,
    clock: Arc<dyn Clock>,
    programs: Arc<Programs>,
    endpoint: Endpoint,
    links: Links,
    peers: Peers,
    compute: Compute,
    observer: Observer,
    shown: Arc<Mutex<Shown>>,
    prepared: HashMap<StepId, Ready>,
    preparing: JoinSet<(StepId, Result<Ready, String>)>,
    roots: DataRoots,
    looking: JoinSet<Found>,
    master: Option<NodeId>,
    stopping: Option<Mono>,
    left: bool,
    told_transport: TransportStats,
    tick: Interval,
    connected: watch::Sender<bool>,
}

enum Input {
    Transport(TransportEvent),
    Finished(Done),
    Peer(PeerEvent),
    Prepared(StepId, Result<Ready, String>),
    Found(Found),
    Stop(Duration),
    Tick,
    Gone,
}

impl Loop {
    async fn run(
        mut self,
        mut finished: mpsc::Receiver<Done>,
        mut stop: mpsc::Receiver<Duration>,
        stopped: watch::Sender<Option<String>>,
    ) {
        let mut reason = "it was asked to".to_owned();
        while !self.left {
            match self.next(&mut finished, &mut stop).await {
                Input::Transport(TransportEvent::Refused { reason: why }) => {
                    reason = why;
                    break;
                }
                Input::Transport(event) => self.on_transport(event),
                Input::Finished(Done::Task(result)) => self.handle(Event::Finished(result)),
                Input::Finished(Done::Merged { exchange, partition, merged, failed }) => {
                    self.handle(Event::Merged { exchange, partition, merged, failed });
                }
                Input::Peer(PeerEvent::Up(node)) => self.handle(Event::PeerUp(node)),
                Input::Peer(PeerEvent::Down(node)) => self.handle(Event::PeerDown(node)),
                Input::Peer(PeerEvent::Message(node, message)) => self.handle(Event::PeerMessage(node, message)),
                Input::Prepared(step, result) => self.on_prepared(step, result),
                Input::Found(found) => self.handle(Event::Found(found)),
                Input::Stop(grace) => {
                    self.stopping = Some(self.clock.now() + grace);
                    self.handle(Event::Drain);
                }
                Input::Tick => self.handle(Event::Tick),
                Input::Gone => break,
            }
            self.watch_stop();
            self.show();
        }
        self.links.flush().await;
        self.endpoint.shutdown(Duration::from_secs(1)).await;
        self.peers.end().await;
        self.compute.detach();
        let observer = self.observer;
        if tokio::task::spawn_blocking(move || observer.join()).await.is_err() {
            tracing::error!("the interceptors could not be joined");
        }
        // Nobody has to listen.
        stopped.send(Some(reason)).ok();
    }

    /// Cancel safe: every arm is, and none awaits after it has taken a value.
    async fn next(&mut self, finished: &mut mpsc::Receiver<Done>, stop: &mut mpsc::Receiver<Duration>) -> Input {
        let room = !self.observer.is_behind();
        tokio::select! {
            biased;
            Some(grace) = stop.recv() => Input::Stop(grace),
            Some(result) = finished.recv() => Input::Finished(result),
            Some(prepared) = self.preparing.join_next() => match prepared {
                Ok((step, result)) => Input::Prepared(step, result),
                Err(_) => Input::Tick,
            },
            Some(found) = self.looking.join_next() => found.map_or(Input::Tick, Input::Found),
            // In its turn, however much comes in.
            _ = self.tick.tick() => Input::Tick,
            event = self.endpoint.next_event(), if room => event.map_or(Input::Gone, Input::Transport),
            event = self.peers.next(), if room => event.map_or(Input::Tick, Input::Peer),
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.core.handle(self.clock.now(), event, &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Prepare(notice) => self.prepare(notice),
                Effect::Merge { exchange, partition, segments } => {
                    if let Some(stage) = self.partitioned(exchange, partition.stage) {
                        self.compute.merge(exchange, partition, segments, stage);
                    }
                }
                Effect::FinishPartition(exchange, assignment, partitions) => {
                    if let Some(stage) = self.partitioned(exchange, assignment.receipt.stage) {
                        let partitions = if stage.to().is_some() { partitions } else { 0 };
                        self.compute.finish((exchange, partitions), assignment, stage, self.clock.now());
                    }
                }
                Effect::DropPartitions(exchange) => self.compute.drop_partitions(exchange),
                Effect::Connect { node, address } => self.peers.connect(node, address),
                Effect::Disconnect(node) => self.peers.disconnect(node),
                Effect::SendPeer(node, message) => self.peers.send(node, message),
                Effect::ReplyPeer(node, message) => self.peers.reply(node, message),
                Effect::Start(assignment, partitions) => {
                    let ready = self.prepared.get(&assignment.step);
                    let stage = ready.and_then(|it| it.stages.get(usize::from(assignment.stage.0))).cloned();
                    let max_skips = ready.map_or(0, |it| it.max_skips);
                    self.compute.run(assignment, stage, (max_skips, partitions), self.clock.now());
                }
                Effect::Look(look) => self.look(look),
                Effect::Stop(attempt) => locked(&self.compute.board()).stop(attempt),
                Effect::Send(message) => {
                    if let Some(master) = self.master {
                        self.links.send(master, message);
                    }
                }
                Effect::Forget(step) => {
                    self.prepared.remove(&step);
                }
                Effect::Observe(observation) => self.observer.push(observation),
                Effect::Left => self.left = true,
            }
        }
    }

    /// A stage behind an exchange. The deciding code starts nothing of a step that is not ready.
    fn partitioned(&self, exchange: ExchangeId, stage: StageId) -> Option<Arc<dyn PartitionedStage>> {
        let ready = self.prepared.get(&exchange.step)?;
        ready.partitioned.iter().find(|it| it.id() == stage).cloned()
    }

    /// A disk may be slow, so it is looked at where that may block.
    fn look(&mut self, look: Look) {
        let roots = self.roots.clone();
        self.looking.spawn_blocking(move || {
            let looked = catch_unwind(AssertUnwindSafe(|| source::look(&look.question, &roots)));
            // An answer has to come, whatever happens: it is waited for.
            let panicked = |_| Seen { message: "looking for the files panicked: a bug".to_owned(), ..Seen::default() };
            let Seen { here, absent, message, listed } = looked.unwrap_or_else(panicked);
            Found { step: look.step, question: digest(&look.question), here, absent, message, listed }
        });
    }

    /// User code builds the plan, so it runs where it may block.
    fn prepare(&mut self, notice: StepNotice) {
        let program = self.programs.get(&notice.program);
        let unknown = self.programs.unknown(&notice.program);
        self.preparing.spawn_blocking(move || {
            let step = notice.step;
            let prepare = || {
                let program = program.ok_or(unknown)?;
                let prepared = crate::programs::prepare(program.as_ref(), &notice.params)?;
                if prepared.plan.digest() == notice.plan {
                    let (stages, partitioned) = (prepared.stages, prepared.partitioned);
                    Ok(Ready { stages, partitioned, max_skips: notice.max_skips })
                } else {
                    Err(format!(
                        "this node's plan of program `{}` differs from the master's: start the same build on both",
                        notice.program
                    ))
                }
            };
            let prepared = catch_unwind(AssertUnwindSafe(prepare));
            (step, prepared.unwrap_or_else(|_| Err("the program panicked while it was prepared".to_owned())))
        });
    }

    fn on_prepared(&mut self, step: StepId, result: Result<Ready, String>) {
        let result = result.map(|it| {
            self.prepared.insert(step, it);
        });
        self.handle(Event::Prepared(step, result));
    }

    fn on_transport(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Up { peer, sender } => {
                tracing::info!(master = %peer.name, address = %peer.address, epoch = peer.epoch, "connected");
                self.links.up(peer.node, sender);
                self.master = Some(peer.node);
                self.connected.send_replace(true);
                self.handle(Event::Connected);
            }
            TransportEvent::Down { node, reason } => {
                tracing::warn!(%reason, "the connection to the master is gone");
                self.links.down(node);
                if self.master == Some(node) {
                    self.master = None;
                    self.connected.send_replace(false);
                    self.handle(Event::Disconnected);
                }
            }
            TransportEvent::Message { message: Message::Heartbeat(_), .. } => {}
            TransportEvent::Message { message, .. } => self.handle(Event::Message(message)),
            other @ (TransportEvent::Refused { .. } | _) => {
                tracing::debug!(?other, "a transport event that a worker has no use for")
            }
        }
    }

    /// When the grace of a stop is over, what is still at work is stopped, and the worker leaves.
    fn watch_stop(&mut self) {
        let Some(until) = self.stopping else { return };
        if self.clock.now() >= until && !self.left {
            let mut effects = Vec::new();
            self.core.stop_working(&mut effects);
            self.perform(effects);
            self.left = true;
        }
        if self.master.is_none() && self.core.busy() == 0 {
            self.left = true;
        }
    }

    fn show(&mut self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.holding.clear();
        shown.holding.extend(self.core.holding());
        shown.busy = u32::try_from(self.core.busy()).unwrap_or(u32::MAX);
        shown.queued = u32::try_from(self.core.queued()).unwrap_or(u32::MAX);
        drop(shown);
        self.observer.flush();
        metrics::gauge!("elastic_flow_results_held_bytes").set(self.core.held_bytes() as f64);
        metrics::gauge!("elastic_flow_parcels_waiting_bytes").set(self.core.waiting_bytes() as f64);
        metrics::gauge!("elastic_flow_tasks_busy").set(self.core.busy() as f64);
        crate::meters::transport(&self.endpoint.stats(), &mut self.told_transport);
    }
}
