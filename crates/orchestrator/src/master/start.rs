//! Starting a master: its epoch, its recovery, its threads.

use std::sync::Arc;
use std::time::Duration;

use elastic_flow_clock::Clock;
use elastic_flow_queue::Caller;
use elastic_flow_receipt::{NodeId, StepId};
use elastic_flow_store::{Store, StoreError};
use elastic_flow_transport::{Endpoint, EndpointConfig, Net};
use elastic_flow_wire::{Role, with_causes};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

use super::aggregate::AggregateThread;
use super::aggregate::OpenAggregate;
use super::core::{CoreConfig, MasterCore, Planted};
use super::effects::Effect;
use super::handle::MasterHandle;
use super::journaler::Journaler;
use super::monitor::MonitorThread;
use super::nodes::{Distribute, LeastOpenReceipts, RoundRobin};
use super::recover::Recovery;
use super::shell::{About, Command, EVENTS_KEPT, Inputs, Loop, StopReason};
use super::source::{HandedOver, RESULT, SourceThread};
use crate::config::{KeepPayloads, MAX_SKIPS_MAX, MasterConfig, MethodKind, NodeConfig, Settings};
use crate::error::StartError;
use crate::interceptor::Interceptors;
use crate::journal::{ClusterRecord, Record};
use crate::observer::Observer;
use crate::programs::Programs;

/// Commands that wait for the loop.
const COMMANDS: usize = 1_024;
/// Answers of a thread that wait for the loop.
const ANSWERS: usize = 1_024;
/// Time for the tasks in hand beyond the grace, before the loop is given up.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// How a master stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Tasks in hand may end, for so long.
    Drain(Duration),
    /// What runs is interrupted at once.
    Now,
}

/// A running master.
#[derive(Debug)]
pub struct Master {
    handle: MasterHandle,
    local_addr: String,
    stopped: watch::Receiver<Option<StopReason>>,
    tasks: JoinSet<()>,
}

impl Master {
    /// Starts a master on its store: raises the epoch, finds the steps as they were, goes on with the one that ran.
    ///
    /// # Errors
    /// The configured window is not registered, the store or the address cannot be had, the journal is corrupt or from another
    /// version, the system has no thread left.
    ///
    /// # Cancel safety
    /// Not safe: the epoch may have been raised, which harms nothing.
    pub async fn start<N: Net>(
        config: MasterConfig,
        programs: Arc<Programs>,
        interceptors: Interceptors,
        store: Arc<dyn Store>,
        net: N,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        if let Some(name) = config.window.as_deref().filter(|name| programs.window(name).is_none()) {
            return Err(StartError::UnknownWindow(programs.unknown_window(name)));
        }
        let core_config = core_config(&config, !interceptors.is_empty());
        let durability = config.durability;
        let recovered = recover_aside(&store, &programs, &clock, core_config).await?;
        let node = crate::fresh_node()?;
        let endpoint = endpoint_config(&config.node, Role::Master, node, recovered.epoch);
        let endpoint = Endpoint::listen(net, &config.listen, endpoint, Arc::clone(&clock)).await?;
        let local_addr = endpoint.local_addr().to_owned();
        let about = About {
            cluster: config.node.cluster.clone(),
            name: config.node.name.clone(),
            node,
            address: config.advertise.unwrap_or_else(|| local_addr.clone()),
            epoch: recovered.epoch,
            build: config.node.build,
            store: store.url(),
            store_is_durable: store.is_durable(),
            started_at: clock.now(),
            shutdown_grace: config.node.shutdown_grace,
            keep_results: config.keep_results,
            min_workers: config.min_workers,
            expected: config.expected,
            incarnation: recovered.incarnation,
        };
        tracing::info!(
            cluster = %about.cluster, epoch = about.epoch, address = %local_addr, store = %about.store, durable = about.store_is_durable,
            "master started"
        );
        let handed_over = Arc::new(HandedOver::default());
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (written_out, written) = mpsc::channel(ANSWERS);
        let (sources_out, sources) = mpsc::channel(ANSWERS);
        let (aggregates_out, aggregates) = mpsc::channel(ANSWERS);
        let (verdicts_out, verdicts) = mpsc::channel(1);
        let start_monitor = |it| MonitorThread::start(it, config.node.heartbeat_every, verdicts_out);
        let monitor = config.monitor.as_ref().map(start_monitor).transpose().map_err(StartError::Thread)?;
        let threads = (
            Journaler::start(Arc::clone(&store), durability, Arc::clone(&clock), written_out)
                .map_err(StartError::Thread)?,
            SourceThread::start(Arc::clone(&programs), Arc::clone(&store), Arc::clone(&handed_over), sources_out)
                .map_err(StartError::Thread)?,
            AggregateThread::start(Arc::clone(&store), durability, aggregates_out).map_err(StartError::Thread)?,
            Observer::start(interceptors, &about.name).map_err(StartError::Thread)?,
        );
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let handle = MasterHandle {
            commands,
            events: events.clone(),
            programs: Arc::clone(&programs),
            store,
            handed_over,
            window: config.window.map(Into::into),
            knows_servers: !about.expected.is_empty(),
            caller: Caller::local(),
        };
        let (stopped_out, stopped) = watch::channel(None);
        let mut runner =
            Loop::new(recovered.core, clock, programs, about, endpoint, threads, events, recovered.aggregator);
        runner.monitor = monitor;
        let inputs = Inputs { commands: commands_in, written, sources, aggregates, verdicts };
        let mut tasks = JoinSet::new();
        tasks.spawn(runner.run(inputs, recovered.effects, stopped_out));
        Ok(Self { handle, local_addr, stopped, tasks })
    }

    /// Where workers reach it: `host:port`, the port as the system chose it.
    #[must_use]
    pub fn local_addr(&self) -> &str {
        &self.local_addr
    }

    /// Speaks to it.
    #[must_use]
    pub fn handle(&self) -> MasterHandle {
        self.handle.clone()
    }

    /// Waits until it ends, by itself or because it was asked to.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn stopped(&self) -> StopReason {
        let mut stopped = self.stopped.clone();
        let reason = stopped.wait_for(Option::is_some).await.map(|it| it.clone());
        // A loop that ends says why; one that is gone without a word has panicked.
        reason.ok().flatten().unwrap_or(StopReason::Broken)
    }

    /// Stops it: tasks in hand may end, what still runs then is interrupted, and runs on at the next start on a durable store.
    ///
    /// # Cancel safety
    /// Dropping it ends the master at once, as a crash would.
    pub async fn stop(mut self, mode: StopMode) {
        let grace = match mode {
            StopMode::Drain(grace) => grace,
            StopMode::Now => Duration::ZERO,
        };
        // A loop that has ended takes no command, and need not.
        self.handle.commands.send(Command::Stop(grace)).await.ok();
        let ended = tokio::time::timeout(grace.saturating_add(STOP_SLACK), async {
            while self.tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!("the master did not end in time and was cut off");
        }
    }
}

fn core_config(config: &MasterConfig, observing: bool) -> CoreConfig {
    let method: Box<dyn Distribute> = match &config.method {
        MethodKind::LeastOpenReceipts => Box::new(LeastOpenReceipts),
        MethodKind::RoundRobin => Box::new(RoundRobin::default()),
        MethodKind::Custom(make) => make.make(),
    };
    let max_skips = config.settings.max_skips.min(MAX_SKIPS_MAX);
    let servers = config.expected.iter().map(|it| it.name.clone()).collect();
    let keep_payloads_always = config.settings.keep_payloads_always || config.keep_payloads == KeepPayloads::Always;
    CoreConfig {
        settings: Settings { keep_payloads_always, max_skips, servers, ..config.settings.clone() },
        build: config.node.build,
        name: config.node.name.clone(),
        method,
        observing,
        monitored: config.monitor.is_some(),
        planted: Planted::default(),
    }
}

/// A node's face to the network.
pub(crate) fn endpoint_config(config: &NodeConfig, role: Role, node: NodeId, epoch: u64) -> EndpointConfig {
    let mut endpoint = EndpointConfig::new(&config.cluster, role, &config.name, node, config.keys.clone());
    endpoint.build = crate::wide_build(config.build);
    endpoint.epoch = epoch;
    endpoint.key_given = config.key_given;
    endpoint.compression = config.compress;
    endpoint.heartbeat_every = config.heartbeat_every;
    endpoint.dead_after = config.dead_after;
    endpoint.insecure_plaintext = config.insecure_plaintext;
    endpoint
}

/// A master as its journal shows it.
struct Recovered {
    core: MasterCore,
    epoch: u64,
    incarnation: u128,
    effects: Vec<Effect>,
    aggregator: Option<OpenAggregate>,
}

/// Recovers where it may block.
async fn recover_aside(
    store: &Arc<dyn Store>,
    programs: &Arc<Programs>,
    clock: &Arc<dyn Clock>,
    config: CoreConfig,
) -> Result<Recovered, StartError> {
    let (store, programs, clock) = (Arc::clone(store), Arc::clone(programs), Arc::clone(clock));
    let recovered = tokio::task::spawn_blocking(move || recover(store.as_ref(), &programs, clock.as_ref(), config));
    recovered.await.map_err(|_| StartError::Recovery("the program panicked".to_owned()))?
}

/// Reads the journal twice: first the decisions, then, where a step was running, its results into a fresh aggregate.
fn recover(
    store: &dyn Store,
    programs: &Programs,
    clock: &dyn Clock,
    config: CoreConfig,
) -> Result<Recovered, StartError> {
    let mut cluster = None;
    visit(store, &mut |record| {
        if let Record::Cluster(it) = record {
            cluster = Some(it);
        }
        Ok(())
    })?;
    let cluster = match cluster {
        Some(before) => ClusterRecord { epoch: before.epoch.saturating_add(1), ..before },
        None => ClusterRecord { incarnation: crate::fresh_node()?.0, epoch: 1 },
    };
    let record = Record::Cluster(cluster.clone()).encode().map_err(|it| StartError::Recovery(with_causes(&it)))?;
    // Durable before anything is assigned under it, whatever the durability of the rest.
    store.append(&[&record], elastic_flow_store::Durability::Synced)?;
    let mut recovery = Recovery::new(config, cluster.epoch);
    visit(store, &mut |record| recovery.apply(&record).map_err(|it| with_causes(&it)))?;
    let mut effects = Vec::new();
    let core = recovery.finish(clock.now(), clock.wall().unix_nanos(), &mut effects);
    let aggregator = match core.running() {
        Some(step) => merge_again(store, programs, &core, step)?,
        None => None,
    };
    Ok(Recovered { core, epoch: cluster.epoch, incarnation: cluster.incarnation, effects, aggregator })
}

/// The aggregate of a running step, as far as it was journalled.
fn merge_again(
    store: &dyn Store,
    programs: &Programs,
    core: &MasterCore,
    step: StepId,
) -> Result<Option<OpenAggregate>, StartError> {
    let Some(spec) = core.queue().get(step).map(|it| it.spec.clone()) else { return Ok(None) };
    // A program that is not there any more fails its step when that is opened, by name.
    let Some(program) = programs.get(&spec.program) else { return Ok(None) };
    let Ok(prepared) = crate::programs::prepare(program.as_ref(), &spec.params) else { return Ok(None) };
    let mut aggregator = (prepared.aggregator)();
    if let Some(old) = spec.replay_of
        && let Some(saved) = store.get(old, RESULT)?
    {
        aggregator.restore(&saved).map_err(|it| StartError::Recovery(with_causes(&it)))?;
    }
    visit(store, &mut |record| match record {
        Record::Done(done) if done.step == step && core.counts(&done) => {
            done.segments.iter().try_for_each(|it| aggregator.merge(it)).map_err(|it| with_causes(&it))
        }
        Record::Cluster(_)
        | Record::Queue(_)
        | Record::Source(_)
        | Record::Plan(_)
        | Record::Conceived(_)
        | Record::Done(_)
        | Record::SetAside(_)
        | Record::Exchanged(_)
        | Record::Closed(_) => Ok(()),
    })?;
    Ok(Some((step, aggregator)))
}

fn visit(store: &dyn Store, take: &mut dyn FnMut(Record) -> Result<(), String>) -> Result<(), StartError> {
    let mut wrong = None;
    let replayed = store.replay(&mut |bytes| {
        let taken = Record::decode(bytes).map_err(|it| with_causes(&it)).and_then(&mut *take);
        taken.map_err(|detail| {
            wrong = Some(detail.clone());
            StoreError::Invalid { url: store.url(), detail }
        })
    });
    match (replayed, wrong) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(detail)) => Err(StartError::Recovery(detail)),
        (Err(error), None) => Err(error.into()),
    }
}
