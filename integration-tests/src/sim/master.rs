//! The simulated shell of a master: the real deciding code on a simulated disk, source and aggregate.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use elastic_flow_clock::Mono;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::journal::{ClusterRecord, Record};
use elastic_flow_orchestrator::master::{
    Account, CoreConfig, Effect, Event, Joined, LeastOpenReceipts, MasterCore, Open, Opened, Recovery, RoundRobin,
};
use elastic_flow_queue::{Caller, StepSpec, StepState};
use elastic_flow_receipt::{NodeId, ReceiptId, StepId};
use elastic_flow_wire::message::{Message, Payload, PayloadKind, Segment};
use std::sync::Arc;

use super::plan::{Bug, Lies, StepPlan};
use super::world::{What, World};

/// Items, and bytes, of every chunk.
pub(super) const ENTRIES: u64 = 10;
/// The source of a step whose servers have said what they have.
const EXPANDED: &[u8] = b"expanded";
/// What its servers are asked before it is opened.
pub(super) const OF_SERVERS: &[u8] = b"what is yours?";
/// Builds of all nodes.
const BUILD: u128 = 7;

/// A master that is up.
#[derive(Debug)]
pub(super) struct MasterSim {
    pub(super) core: MasterCore,
    pub(super) life: u64,
    /// Workers of which its last verdict was that they are living.
    living: BTreeSet<NodeId>,
    /// Its view of the links: by id, the worker and its incarnation.
    pub(super) links: BTreeMap<u64, (usize, NodeId)>,
    /// Records that are written and not synced.
    unsynced: Vec<(u64, Vec<u8>)>,
    /// Chunks cut of the running step's source.
    cut: u64,
    /// How often each chunk is in the running step's aggregate.
    aggregate: BTreeMap<u64, u32>,
}

/// What survives a crash of the master.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) journal: Vec<Vec<u8>>,
    /// What is kept of ended steps.
    results: BTreeMap<StepId, Kept>,
}

/// What is kept of a step that has ended.
#[derive(Debug)]
pub(super) struct Kept {
    /// How often each chunk of its source is in its result.
    pub(super) counts: BTreeMap<u64, u32>,
    /// What is known of its receipts.
    pub(super) account: Arc<Account>,
}

/// The payload of chunk `number` of the planned step `step`.
fn body(step: usize, number: u64) -> Bytes {
    let mut bytes = (step as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    Bytes::from(bytes)
}

/// The planned step and the chunk that a payload is of.
pub(super) fn read_body(body: &[u8]) -> Option<(usize, u64)> {
    let (step, number) = body.split_first_chunk::<8>()?;
    let number: [u8; 8] = number.try_into().ok()?;
    Some((usize::try_from(u64::from_le_bytes(*step)).ok()?, u64::from_le_bytes(number)))
}

fn spec(index: usize) -> StepSpec {
    StepSpec {
        params: vec![("index".to_owned(), index.to_string())],
        key: Some(format!("step-{index}")),
        ..StepSpec::new("sim")
    }
}

/// The name of a worker's server.
pub(super) fn server(index: usize) -> String {
    format!("w{index}")
}

fn index_of(spec: &StepSpec) -> usize {
    spec.params.first().and_then(|(_, it)| it.parse().ok()).unwrap_or(0)
}

impl World {
    pub(super) fn start_master(&mut self) -> Result<(), String> {
        if self.master.is_some() {
            return Ok(());
        }
        let records: Vec<Record> = self
            .disk
            .journal
            .iter()
            .map(|it| Record::decode(it))
            .collect::<Result<_, _>>()
            .map_err(|it| it.to_string())?;
        let epoch = 1 + records.iter().filter(|it| matches!(it, Record::Cluster(_))).count() as u64;
        let cluster = Record::Cluster(ClusterRecord { incarnation: 1, epoch });
        self.disk.journal.push(cluster.encode().map_err(|it| it.to_string())?);
        let config = CoreConfig {
            settings: Settings {
                retry_backoff: std::time::Duration::from_millis(20),
                servers: (0..self.plan.workers).map(server).collect(),
                ..Settings::default()
            },
            build: BUILD,
            name: "master".to_owned(),
            method: if self.plan.sync_ms.is_multiple_of(2) {
                Box::new(LeastOpenReceipts)
            } else {
                Box::new(RoundRobin::default())
            },
            observing: false,
            monitored: self.plan.monitored,
            planted: Bug::planted(self.bug),
        };
        let mut recovery = Recovery::new(config, epoch);
        for record in &records {
            recovery.apply(record).map_err(|it| format!("the journal does not fold: {it}"))?;
        }
        let mut effects = Vec::new();
        let core = recovery.finish(self.now, self.wall(), &mut effects);
        self.oracle.recovered(&core)?;
        let mut aggregate = BTreeMap::new();
        if let Some(running) = core.running() {
            for record in &records {
                if let Record::Done(done) = record
                    && done.step == running
                    && core.counts(done)
                {
                    merge(&mut aggregate, &done.segments)?;
                }
            }
        }
        let life = self.fresh_life();
        let (living, links, unsynced) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        self.master = Some(MasterSim { core, life, living, links, unsynced, cut: 0, aggregate });
        self.later(1, 250, What::MasterTick { life });
        if self.plan.monitored {
            self.later(1, 250, What::Monitor { life });
        }
        self.perform(effects)
    }

    /// The process is gone. Of what was not synced, a prefix may have reached the disk all the same.
    pub(super) fn crash_master(&mut self) -> Result<(), String> {
        let Some(master) = self.master.take() else { return Ok(()) };
        self.summary.master_crashes += 1;
        let survive = usize::try_from(self.rng.below(master.unsynced.len() as u64 + 1)).unwrap_or(0);
        self.summary.torn_records += (master.unsynced.len() - survive) as u64;
        for (_, bytes) in master.unsynced.into_iter().take(survive) {
            self.harden(bytes)?;
        }
        for (link, (index, _)) in master.links {
            self.later(0, 5_000, What::WorkerLoses { index, link });
        }
        self.later(10, 4_000, What::StartMaster);
        Ok(())
    }

    fn harden(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        let record = Record::decode(&bytes).map_err(|it| it.to_string())?;
        self.oracle.durable(&record)?;
        self.disk.journal.push(bytes);
        Ok(())
    }

    pub(super) fn synced(&mut self, number: u64) -> Result<(), String> {
        let Some(master) = self.master.as_mut() else { return Ok(()) };
        let count = master.unsynced.iter().take_while(|(it, _)| *it <= number).count();
        let synced: Vec<_> = master.unsynced.drain(..count).collect();
        for (_, bytes) in synced {
            self.harden(bytes)?;
        }
        self.master_event(Event::Journaled(number))
    }

    pub(super) fn node_up(&mut self, index: usize, link: u64, node: NodeId) -> Result<(), String> {
        let slots = self.plan.slots;
        if let Some(master) = self.master.as_mut() {
            master.links.insert(link, (index, node));
        }
        let joined = Joined { node, name: format!("w{index}"), address: format!("{node}"), slots, build: BUILD };
        self.master_event(Event::NodeUp(joined))
    }

    pub(super) fn master_loses(&mut self, link: u64) -> Result<(), String> {
        let lost = self.master.as_mut().and_then(|it| it.links.remove(&link));
        let Some((_, node)) = lost else { return Ok(()) };
        if let Some(master) = self.master.as_mut() {
            master.living.remove(&node);
        }
        self.master_event(Event::NodeDown { node, reason: "simulated".to_owned() })
    }

    /// The monitor speaks about every worker that is connected.
    pub(super) fn verdict(&mut self, life: u64) -> Result<(), String> {
        self.later(250, 250, What::Monitor { life });
        let Some(master) = self.master.as_mut() else { return Ok(()) };
        let verdict: BTreeMap<NodeId, bool> =
            master.links.values().map(|(index, node)| (*node, !self.not_living.contains(index))).collect();
        master.living = verdict.iter().filter(|(_, living)| **living).map(|(node, _)| *node).collect();
        self.master_event(Event::Verdict(verdict))?;
        let views = self.master.as_ref().map_or_else(Vec::new, |it| it.core.node_views());
        match views.iter().find(|it| !it.living && it.open_chunks > 0) {
            Some(view) => Err(format!("chunks are open on a worker that is not living: {view:?}")),
            None => Ok(()),
        }
    }

    pub(super) fn submit(&mut self, index: usize) -> Result<(), String> {
        if self.submitted.contains_key(&index) {
            return Ok(());
        }
        // A client that hears nothing asks again, with the same key.
        self.later(500, 1_500, What::Submit(index));
        self.master_event(Event::Submit(index as u64, Caller::local(), Box::new(spec(index)), Bytes::new()))
    }

    pub(super) fn cancel(&mut self, index: usize) -> Result<(), String> {
        match self.submitted.get(&index) {
            Some(step) => self.master_event(Event::Cancel(u64::MAX, Caller::local(), *step)),
            None => Ok(()),
        }
    }

    pub(super) fn master_event(&mut self, event: Event) -> Result<(), String> {
        let (now, wall) = (self.now, self.wall());
        let Some(master) = self.master.as_mut() else { return Ok(()) };
        let mut effects = Vec::new();
        master.core.handle(now, wall, event, &mut effects);
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            let Some(master) = self.master.as_mut() else { return Ok(()) };
            let life = master.life;
            match effect {
                Effect::Journal(number, record) => {
                    let bytes = record.encode().map_err(|it| it.to_string())?;
                    if Record::decode(&bytes).ok().as_ref() != Some(&record) {
                        return Err(format!("a record does not survive its encoding: {record:?}"));
                    }
                    master.unsynced.push((number, bytes));
                    let most = self.plan.sync_ms;
                    self.later(0, most, What::Synced { life, number });
                }
                Effect::Reply(request, Ok(Some(step))) => {
                    if request != u64::MAX {
                        self.oracle.submitted(step)?;
                        self.submitted.insert(usize::try_from(request).unwrap_or(usize::MAX), step);
                    }
                }
                Effect::Send(node, message) => {
                    self.oracle.sent(&message)?;
                    if self.plan.monitored && matches!(message, Message::Assign(_)) && !master.living.contains(&node) {
                        return Err(format!("a chunk was given to {node}, which is not living"));
                    }
                    let link =
                        master.links.iter().find(|(_, (_, it))| *it == node).map(|(link, (index, _))| (*link, *index));
                    if let Some((link, index)) = link {
                        self.send(link, What::ToWorker { link, index, message: Box::new(message) });
                    }
                }
                Effect::Open(open) => self.open(&open)?,
                Effect::Cut { step, chunks, .. } => self.cut(step, chunks),
                Effect::Ship(receipt, payload) => {
                    let payload = Payload { kind: PayloadKind::Bytes, ..payload };
                    self.later(
                        1,
                        50,
                        What::MasterEvent { life, event: Box::new(Event::Shipped(receipt, Ok(payload))) },
                    );
                }
                Effect::Merge(_, segments) => merge(&mut master.aggregate, &segments)?,
                Effect::Finish { step, account, .. } => {
                    let counts = std::mem::take(&mut master.aggregate);
                    self.disk.results.insert(step, Kept { counts, account });
                    self.later(
                        1,
                        50,
                        What::MasterEvent { life, event: Box::new(Event::Finished(step, Ok(Vec::new()))) },
                    );
                }
                Effect::Reply(_, Ok(None) | Err(_))
                | Effect::Keep(..)
                | Effect::Ended(..)
                | Effect::Observe(_)
                | Effect::Forget(_)
                | Effect::Terminate(_)
                | Effect::Drained => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, open: &Open) -> Result<(), String> {
        let Open { step, spec, cut_before, answers, source, .. } = open;
        let (step, index) = (*step, index_of(spec));
        let plan = &self.plan.steps[index];
        let on_servers = plan.lies == Lies::OnServers;
        let Some(life) = self.master.as_ref().map(|it| it.life) else { return Ok(()) };
        if on_servers && answers.is_empty() && source != EXPANDED {
            if !cut_before.is_empty() {
                return Err(format!("{step} was cut before its servers said what they have"));
            }
            let event = Event::AskServers(step, Bytes::from_static(OF_SERVERS));
            self.later(1, 50, What::MasterEvent { life, event: Box::new(event) });
            return Ok(());
        }
        if on_servers && !answers.is_empty() && answers.len() != self.plan.workers {
            return Err(format!("{step} is opened with the answers of {} servers", answers.len()));
        }
        let question = matches!(plan.lies, Lies::Files(_)).then(|| Bytes::from_static(b"is it there?"));
        let parts = self.parts(index);
        let refilled: Vec<(ReceiptId, Payload)> = cut_before
            .iter()
            .filter(|it| it.wanted)
            .map(|it| {
                let number = it.cut.covers[0].offset / ENTRIES;
                (it.receipt, Payload { kind: PayloadKind::Items, body: body(index, number) })
            })
            .collect();
        let opened = Opened {
            plan: 1,
            exchanged_stages: plan.exchanged_stages,
            parts,
            replays: Vec::new(),
            cuts: true,
            refilled,
            source: if on_servers { Bytes::from_static(EXPANDED) } else { Bytes::new() },
            cut_earlier: Vec::new(),
            earlier: None,
            expanded: !answers.is_empty(),
            question,
        };
        let Some(master) = self.master.as_mut() else { return Ok(()) };
        master.cut = cut_before.len() as u64;
        if cut_before.is_empty() {
            master.aggregate.clear();
        }
        self.later(1, 50, What::MasterEvent { life, event: Box::new(Event::Opened(step, Ok(opened))) });
        Ok(())
    }

    /// The parts of a step's source: one, or one a server, to which its chunks belong in turn.
    fn parts(&self, index: usize) -> Vec<SourcePart> {
        let StepPlan { chunks, lies, .. } = self.plan.steps[index];
        let workers = self.plan.workers as u64;
        let part = |name: String, chunks: u64, server| SourcePart {
            input: 0,
            name,
            length: Some(chunks * ENTRIES),
            unit_bytes: 1,
            server,
            missing: false,
        };
        if lies != Lies::OnServers {
            return vec![part(format!("step {index}"), chunks, None)];
        }
        let own = |worker: u64| chunks / workers + u64::from(worker < chunks % workers);
        let of =
            |worker: usize| part(format!("{}:step {index}", server(worker)), own(worker as u64), Some(server(worker)));
        (0..self.plan.workers).map(of).collect()
    }

    fn cut(&mut self, step: StepId, chunks: u32) {
        let Some(master) = self.master.as_mut() else { return };
        let Some(index) = master.core.queue().get(step).map(|it| index_of(&it.spec)) else { return };
        let plan = &self.plan.steps[index];
        let end = plan.chunks.min(master.cut + u64::from(chunks));
        let kind = if plan.shipped { PayloadKind::Items } else { PayloadKind::Split };
        let (lies, workers) = (plan.lies, self.plan.workers as u64);
        let cover = |number: u64| match lies {
            Lies::OnServers => Cover {
                part: u32::try_from(number % workers).unwrap_or(0),
                offset: number / workers * ENTRIES,
                length: ENTRIES,
            },
            _ => Cover { part: 0, offset: number * ENTRIES, length: ENTRIES },
        };
        let cuts: Vec<Cut> = (master.cut..end)
            .map(|number| Cut {
                input: 0,
                covers: vec![cover(number)],
                // Lines are not counted before they are read.
                entries: (lies == Lies::Nowhere).then_some(ENTRIES),
                bytes: ENTRIES,
                payload: Payload { kind, body: body(index, number) },
                repeatable: true,
            })
            .collect();
        master.cut = end;
        let (life, exhausted) = (master.life, end == plan.chunks);
        self.later(1, 30, What::MasterEvent { life, event: Box::new(Event::Cut { step, cuts, exhausted }) });
    }

    /// Whether every planned step has ended.
    pub(super) fn all_ended(&self) -> bool {
        let Some(master) = &self.master else { return false };
        let ended = |index| {
            self.submitted.get(&index).and_then(|it| master.core.queue().get(*it)).is_some_and(|it| it.state.is_final())
        };
        (0..self.plan.steps.len()).all(ended) && master.core.running().is_none()
    }

    /// What must hold at the end, of every step.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        let Some(master) = &self.master else { return Err("there is no master at the end".to_owned()) };
        for (index, plan) in self.plan.steps.iter().enumerate() {
            let step = self.submitted.get(&index).and_then(|it| master.core.queue().get(*it));
            let Some(step) = step else { return Err(format!("step {index} was acknowledged and is not in the queue")) };
            let kept = self.disk.results.get(&step.id);
            self.oracle.ended(plan, step, kept).map_err(|it| format!("step {index}: {it}"))?;
            match step.state {
                StepState::Completed => self.summary.completed += 1,
                StepState::Failed => self.summary.failed += 1,
                _ => self.summary.cancelled += 1,
            }
            self.summary.aggregated += kept.map_or(0, |it| it.counts.len() as u64);
        }
        Ok(())
    }

    /// What a run that does not end looks like.
    pub(super) fn picture(&self) -> String {
        let Some(master) = &self.master else { return "the master is down".to_owned() };
        let steps = master.core.step_views(self.now);
        let steps: Vec<String> =
            steps.iter().map(|it| format!("{} {} {:?} {:?}", it.id, it.state, it.waiting_for, it.progress)).collect();
        format!("{steps:?}; workers {:?}; links {:?}", master.core.node_views(), master.links)
    }

    pub(super) fn wall(&self) -> u64 {
        1_700_000_000_000_000_000 + self.now.as_nanos()
    }
}

fn merge(aggregate: &mut BTreeMap<u64, u32>, segments: &[Segment]) -> Result<(), String> {
    for segment in segments {
        let numbers: Vec<u64> = elastic_flow_wire::decode(&segment.body).map_err(|it| it.to_string())?;
        for number in numbers {
            *aggregate.entry(number).or_default() += 1;
        }
    }
    Ok(())
}

/// A moment so many milliseconds after the start.
pub(super) const fn ms(ms: u64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}
