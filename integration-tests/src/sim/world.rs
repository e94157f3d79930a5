//! The event queue in virtual time, and the network between the simulated nodes.

use std::collections::{BTreeMap, BTreeSet};

use elastic_flow_clock::{Mono, SeededRng};
use elastic_flow_orchestrator::{master, worker};
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::Message;

use super::master::{Disk, MasterSim, ms};
use super::oracle::{Oracle, Summary, Violation};
use super::plan::{Bug, RunPlan};
use super::worker::WorkerSim;

/// Virtual milliseconds after the faults within which everything must have ended.
const HEALING_MS: u64 = 300_000;
/// Events of a run, at most: more means that something goes round in circles.
const EVENTS_MAX: u64 = 2_000_000;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum What {
    ToMaster {
        link: u64,
        index: usize,
        message: Box<Message>,
    },
    ToWorker {
        link: u64,
        index: usize,
        message: Box<Message>,
    },
    MasterEvent {
        life: u64,
        event: Box<master::Event>,
    },
    WorkerEvent {
        index: usize,
        life: u64,
        event: Box<worker::Event>,
    },
    /// A message from one worker to another, on a link that `dialler` has opened.
    ToPeer {
        dialler: NodeId,
        from: NodeId,
        to: NodeId,
        message: Box<Message>,
    },
    PeerConnect {
        from: NodeId,
        to: NodeId,
    },
    PeerLost {
        from: NodeId,
        to: NodeId,
    },
    Synced {
        life: u64,
        number: u64,
    },
    MasterTick {
        life: u64,
    },
    WorkerTick {
        index: usize,
        life: u64,
    },
    Pulse {
        index: usize,
        life: u64,
    },
    Connect {
        index: usize,
        life: u64,
    },
    MasterLoses {
        link: u64,
    },
    WorkerLoses {
        index: usize,
        link: u64,
    },
    CrashMaster,
    StartMaster,
    CrashWorker(usize),
    StartWorker(usize),
    Freeze(usize, u64),
    CutLink(usize),
    Monitor {
        life: u64,
    },
    Living(usize, bool),
    Submit(usize),
    Cancel(usize),
}

/// Names of nodes.
pub(super) struct Ids;

impl Ids {
    pub(super) const fn node(index: usize, life: u64) -> NodeId {
        NodeId(((index as u128) << 64) | life as u128)
    }
}

/// Everything there is in a run.
#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    pub(super) bug: Option<Bug>,
    pub(super) plan: RunPlan,
    pub(super) now: Mono,
    pub(super) rng: SeededRng,
    queue: BTreeMap<(Mono, u64), What>,
    serial: u64,
    lives: u64,
    pub(super) master: Option<MasterSim>,
    pub(super) disk: Disk,
    pub(super) workers: Vec<Option<WorkerSim>>,
    /// Workers that the monitor counts as not living.
    pub(super) not_living: BTreeSet<usize>,
    /// Planned steps whose submission was acknowledged.
    pub(super) submitted: BTreeMap<usize, elastic_flow_receipt::StepId>,
    pub(super) oracle: Oracle,
    pub(super) summary: Summary,
    /// When the last message on a link in one direction arrives, so that order holds unless a fault breaks it.
    arrivals: BTreeMap<(u64, bool), Mono>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = SeededRng::new(seed);
        let plan = RunPlan::draw(&mut rng);
        let workers = (0..plan.workers).map(|_| None).collect();
        Self {
            seed,
            bug,
            plan,
            now: Mono::ZERO,
            rng,
            queue: BTreeMap::new(),
            serial: 0,
            lives: 0,
            master: None,
            disk: Disk::default(),
            workers,
            not_living: BTreeSet::new(),
            submitted: BTreeMap::new(),
            oracle: Oracle::default(),
            summary: Summary::default(),
            arrivals: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Summary, Violation> {
        match self.play() {
            Ok(()) => Ok(self.summary),
            Err(what) => Err(Violation { seed: self.seed, at_ms: self.now.as_nanos() / 1_000_000, what }),
        }
    }

    fn play(&mut self) -> Result<(), String> {
        self.schedule_all();
        let deadline = ms(self.plan.faulty_ms + HEALING_MS);
        while let Some(((at, serial), what)) = self.queue.pop_first() {
            if at > deadline {
                return Err(format!("it does not end: {}", self.picture()));
            }
            if self.summary.events > EVENTS_MAX {
                return Err(format!("it goes round in circles: {}", self.picture()));
            }
            self.now = at;
            self.summary.events += 1;
            self.summary.trace = self.summary.trace.rotate_left(7) ^ at.as_nanos() ^ serial;
            self.happen(what)?;
            if at > ms(self.plan.faulty_ms) && self.all_ended() {
                return self.judge();
            }
        }
        Err("nothing is left to happen".to_owned())
    }

    fn schedule_all(&mut self) {
        self.at(0, What::StartMaster);
        for index in 0..self.plan.workers {
            self.later(0, 300, What::StartWorker(index));
        }
        for (index, step) in self.plan.steps.clone().into_iter().enumerate() {
            self.at(step.at_ms, What::Submit(index));
            if let Some(at) = step.cancel_at_ms {
                self.at(at, What::Cancel(index));
            }
        }
        let faults = self.plan.faults.clone();
        for (at, index) in faults.worker_crashes {
            self.at(at, What::CrashWorker(index));
        }
        for (at, index, lasts) in faults.freezes {
            self.at(at, What::Freeze(index, lasts));
        }
        for (at, index) in faults.cuts {
            self.at(at, What::CutLink(index));
        }
        for (at, index, lasts) in faults.verdicts {
            self.at(at, What::Living(index, false));
            self.at(at + lasts, What::Living(index, true));
        }
        for at in faults.master_crashes {
            self.at(at, What::CrashMaster);
        }
    }

    fn happen(&mut self, what: What) -> Result<(), String> {
        if let Some(index) = concerns(&what)
            && let Some(worker) = self.workers.get(index).and_then(Option::as_ref)
            && worker.frozen_until > self.now
        {
            let thaw = worker.frozen_until;
            self.put(thaw, what);
            return Ok(());
        }
        match what {
            What::ToMaster { link, message, .. } => self.deliver_to_master(link, *message),
            What::ToWorker { link, index, message } => match self.workers[index].as_ref() {
                Some(worker) if worker.link == Some(link) => self.worker_event(index, worker::Event::Message(*message)),
                _ => Ok(()),
            },
            What::MasterEvent { life, event } if self.master_is(life) => self.master_event(*event),
            What::WorkerEvent { index, life, event } if self.worker_is(index, life) => self.worker_event(index, *event),
            What::Synced { life, number } if self.master_is(life) => self.synced(number),
            What::MasterTick { life } if self.master_is(life) => {
                self.later(250, 250, What::MasterTick { life });
                self.master_event(master::Event::Tick)
            }
            What::WorkerTick { index, life } if self.worker_is(index, life) => {
                self.later(250, 250, What::WorkerTick { index, life });
                self.worker_event(index, worker::Event::Tick)
            }
            What::Pulse { index, life } if self.worker_is(index, life) => {
                self.pulse(index);
                self.later(1_000, 1_000, What::Pulse { index, life });
                Ok(())
            }
            What::ToPeer { dialler, from, to, message } => self.deliver_to_peer(dialler, from, to, *message),
            What::PeerConnect { from, to } => self.peer_connect(from, to),
            What::PeerLost { from, to } => self.peer_lost(from, to),
            What::Connect { index, life } => self.connect(index, life),
            What::MasterLoses { link } => self.master_loses(link),
            What::WorkerLoses { index, link } => self.worker_loses(index, link),
            What::CrashMaster => self.crash_master(),
            What::StartMaster => self.start_master(),
            fault @ (What::CrashWorker(_)
            | What::StartWorker(_)
            | What::Freeze(..)
            | What::CutLink(_)
            | What::Living(..)) => {
                self.strike(&fault);
                Ok(())
            }
            What::Monitor { life } if self.master_is(life) => self.verdict(life),
            What::Submit(index) => self.submit(index),
            What::Cancel(index) => self.cancel(index),
            What::MasterEvent { .. }
            | What::WorkerEvent { .. }
            | What::Synced { .. }
            | What::MasterTick { .. }
            | What::WorkerTick { .. }
            | What::Monitor { .. }
            | What::Pulse { .. } => Ok(()),
        }
    }

    fn deliver_to_master(&mut self, link: u64, message: Message) -> Result<(), String> {
        let Some((_, node)) = self.master.as_ref().and_then(|it| it.links.get(&link).copied()) else { return Ok(()) };
        match message {
            Message::Result(result) => {
                self.oracle.returned(&result);
                self.master_event(master::Event::Result(node, result))
            }
            Message::Heartbeat(pulse) => {
                let holding = pulse.working.into_iter().map(|(attempt, _)| attempt).collect();
                self.master_event(master::Event::Pulse { node, holding })
            }
            Message::Draining => self.master_event(master::Event::NodeDraining(node)),
            Message::Found(found) => self.master_event(master::Event::Found(node, found)),
            Message::Unreached(unreached) => self.master_event(master::Event::Unreached(node, unreached)),
            Message::Holding(tasks) => self.master_event(master::Event::Holding(node, tasks)),
            _ => Ok(()),
        }
    }

    fn worker_loses(&mut self, index: usize, link: u64) -> Result<(), String> {
        let Some(worker) = self.workers[index].as_mut().filter(|it| it.link == Some(link)) else { return Ok(()) };
        worker.link = None;
        let life = worker.life;
        self.later(10, 1_000, What::Connect { index, life });
        self.worker_event(index, worker::Event::Disconnected)
    }

    /// Both sides find out by themselves, at once or after the silence that counts as death.
    pub(super) fn lose_link(&mut self, index: usize) {
        let links: Vec<u64> = self
            .master
            .iter()
            .flat_map(|it| it.links.iter())
            .filter(|(_, (it, _))| *it == index)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            let most = if self.rng.chance(0.5) { 50 } else { 5_000 };
            self.later(0, most, What::MasterLoses { link });
            self.later(0, most, What::WorkerLoses { index, link });
        }
    }

    /// What befalls a worker.
    fn strike(&mut self, fault: &What) {
        match *fault {
            What::CrashWorker(index) => self.crash_worker(index),
            What::StartWorker(index) => self.start_worker(index),
            What::Freeze(index, lasts) => self.freeze(index, lasts),
            What::CutLink(index) => {
                self.summary.cuts += 1;
                self.lose_link(index);
                self.cut_peers(index);
            }
            What::Living(index, living) => self.count_as(index, living),
            _ => {}
        }
    }

    fn freeze(&mut self, index: usize, lasts: u64) {
        let until = self.now.as_nanos() / 1_000_000 + lasts;
        let Some(worker) = self.workers[index].as_mut() else { return };
        worker.frozen_until = ms(until);
        self.summary.freezes += 1;
        if lasts > 5_000 {
            self.lose_link(index);
        }
    }

    fn count_as(&mut self, index: usize, living: bool) {
        if living {
            self.not_living.remove(&index);
        } else {
            self.summary.not_living += 1;
            self.not_living.insert(index);
        }
    }

    fn master_is(&self, life: u64) -> bool {
        self.master.as_ref().is_some_and(|it| it.life == life)
    }

    fn worker_is(&self, index: usize, life: u64) -> bool {
        self.workers[index].as_ref().is_some_and(|it| it.life == life)
    }

    pub(super) fn fresh_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    fn is_faulty(&self) -> bool {
        self.now < ms(self.plan.faulty_ms)
    }

    /// Puts a message on its way: in order, unless a fault drops, doubles or delays it.
    pub(super) fn send(&mut self, link: u64, what: What) {
        let to_master = matches!(what, What::ToMaster { .. });
        if let Some(what) = self.disturbed(what) {
            let soon = ms(self.now.as_nanos() / 1_000_000 + 1 + self.rng.below(5));
            let arrival = self.arrivals.entry((link, to_master)).or_insert(soon);
            *arrival = soon.max(*arrival);
            let arrival = *arrival;
            self.put(arrival, what);
        }
    }

    /// A message as a fault leaves it: dropped, or on its way later than others are; itself where none strikes.
    pub(super) fn disturbed(&mut self, what: What) -> Option<What> {
        let faulty = self.is_faulty();
        let (drop, double, delay) = (self.plan.faults.drop, self.plan.faults.double, self.plan.faults.delay);
        if faulty && self.rng.per_mille(drop) {
            self.summary.dropped += 1;
            return None;
        }
        if faulty && self.rng.per_mille(double) {
            self.summary.doubled += 1;
            let again = match &what {
                What::ToMaster { link, index, message } => {
                    What::ToMaster { link: *link, index: *index, message: message.clone() }
                }
                What::ToWorker { link, index, message } => {
                    What::ToWorker { link: *link, index: *index, message: message.clone() }
                }
                What::ToPeer { dialler, from, to, message } => {
                    What::ToPeer { dialler: *dialler, from: *from, to: *to, message: message.clone() }
                }
                _ => return None,
            };
            self.later(1, 2_000, again);
        }
        if faulty && self.rng.per_mille(delay) {
            self.summary.delayed += 1;
            self.later(1, 3_000, what);
            return None;
        }
        Some(what)
    }

    fn at(&mut self, at_ms: u64, what: What) {
        self.put(ms(at_ms), what);
    }

    /// Some time between `least` and `most` milliseconds from now.
    pub(super) fn later(&mut self, least: u64, most: u64, what: What) {
        let wait = least + self.rng.below(most.saturating_sub(least) + 1);
        let at = Mono::from_nanos(self.now.as_nanos() + wait * 1_000_000);
        self.put(at, what);
    }

    fn put(&mut self, at: Mono, what: What) {
        self.serial += 1;
        self.queue.insert((at, self.serial), what);
    }
}

/// The worker whose process has to run for this to happen.
const fn concerns(what: &What) -> Option<usize> {
    match what {
        What::ToWorker { index, .. }
        | What::WorkerEvent { index, .. }
        | What::WorkerTick { index, .. }
        | What::Pulse { index, .. }
        | What::Connect { index, .. }
        | What::WorkerLoses { index, .. } => Some(*index),
        _ => None,
    }
}
