//! What a seed decides before the run: the cluster, the steps, and the faults.

use elastic_flow_clock::SeededRng;
use elastic_flow_orchestrator::master::Planted;

/// A bug that is planted into the deciding code, to see whether the oracles find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Results are merged whether or not their chunks are final already.
    NoDeduplication,
    /// Results are acknowledged before their record is even asked for.
    AcknowledgementBeforeRecord,
    /// Results are acknowledged when their record is asked for, before it is durable.
    AcknowledgementBeforeSync,
    /// Attempts are numbered from 1 in every life, under one epoch.
    AttemptsReusedAfterRestart,
    /// An exchange goes on without what a lost worker gave or owned.
    ExchangeOutlivesWorkers,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NoDeduplication,
        Self::AcknowledgementBeforeRecord,
        Self::AcknowledgementBeforeSync,
        Self::AttemptsReusedAfterRestart,
        Self::ExchangeOutlivesWorkers,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoDeduplication => "no-deduplication",
            Self::AcknowledgementBeforeRecord => "acknowledgement-before-record",
            Self::AcknowledgementBeforeSync => "acknowledgement-before-sync",
            Self::AttemptsReusedAfterRestart => "attempts-reused-after-restart",
            Self::ExchangeOutlivesWorkers => "exchange-outlives-workers",
        }
    }

    pub(super) fn planted(bug: Option<Self>) -> Planted {
        Planted {
            no_deduplication: bug == Some(Self::NoDeduplication),
            acknowledge_before_record: bug == Some(Self::AcknowledgementBeforeRecord),
            acknowledge_before_sync: bug == Some(Self::AcknowledgementBeforeSync),
            attempts_reused_after_restart: bug == Some(Self::AttemptsReusedAfterRestart),
            exchange_outlives_workers: bug == Some(Self::ExchangeOutlivesWorkers),
        }
    }
}

/// Where the source of a step lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lies {
    /// Nowhere: its chunks bring all that they need.
    Nowhere,
    /// In files, of which a worker lacks some with this many per mille.
    Files(u32),
    /// On the disks of the servers, each of which alone reads its own.
    OnServers,
}

/// A step of a run.
#[derive(Debug, Clone)]
pub(super) struct StepPlan {
    /// Chunks of its source.
    pub(super) chunks: u64,
    /// Whether its chunks are shipped with their payload.
    pub(super) shipped: bool,
    /// Where its source lies; only that of one whose chunks are not shipped lies anywhere.
    pub(super) lies: Lies,
    /// Chunks on which user code always fails.
    pub(super) poison: Vec<u64>,
    /// Per mille of the attempts on the other chunks that fail.
    pub(super) flaky: u32,
    /// Stages behind exchanges, through which its workers pass what their tasks give.
    pub(super) exchanged_stages: u16,
    /// When it is submitted, in milliseconds.
    pub(super) at_ms: u64,
    /// When it is cancelled, if at all.
    pub(super) cancel_at_ms: Option<u64>,
}

/// How hostile a run is: each kind of fault is in or out, with a strength of its own (swarm testing).
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Per mille of messages that are dropped, doubled, delayed.
    pub(super) drop: u32,
    pub(super) double: u32,
    pub(super) delay: u32,
    /// Times of a worker's crash, with the worker.
    pub(super) worker_crashes: Vec<(u64, usize)>,
    /// Times of a worker's freeze, with the worker and how long it lasts.
    pub(super) freezes: Vec<(u64, usize, u64)>,
    /// Times at which a link breaks without a crash, with the worker.
    pub(super) cuts: Vec<(u64, usize)>,
    /// Times of the master's crash.
    pub(super) master_crashes: Vec<u64>,
    /// Times from which a worker counts as not living, with the worker and for how long. Of a monitored run alone.
    pub(super) verdicts: Vec<(u64, usize, u64)>,
}

/// What a seed decides before the run.
#[derive(Debug, Clone)]
pub(super) struct RunPlan {
    pub(super) workers: usize,
    pub(super) slots: u32,
    pub(super) steps: Vec<StepPlan>,
    pub(super) faults: Faults,
    pub(super) faulty_ms: u64,
    pub(super) sync_ms: u64,
    pub(super) work_ms: u64,
    /// Whether the master has a heartbeat monitor.
    pub(super) monitored: bool,
}

impl RunPlan {
    pub(super) fn draw(rng: &mut SeededRng) -> Self {
        let workers = 1 + small(rng, 5);
        let faulty_ms = 2_000 + rng.below(20_000);
        let steps = (0..1 + rng.below(3)).map(|index| step(rng, index, faulty_ms)).collect();
        let times = |rng: &mut SeededRng, most: u64| -> Vec<u64> {
            let count = if rng.chance(0.5) { rng.below(most + 1) } else { 0 };
            (0..count).map(|_| rng.below(faulty_ms)).collect()
        };
        let strength = |rng: &mut SeededRng| if rng.chance(0.4) { few(rng, 150) } else { 0 };
        let faults = Faults {
            drop: strength(rng),
            double: strength(rng),
            delay: strength(rng),
            worker_crashes: times(rng, 8).into_iter().map(|at| (at, small(rng, workers))).collect(),
            freezes: times(rng, 4).into_iter().map(|at| (at, small(rng, workers), 500 + rng.below(9_000))).collect(),
            cuts: times(rng, 8).into_iter().map(|at| (at, small(rng, workers))).collect(),
            master_crashes: times(rng, 4),
            verdicts: Vec::new(),
        };
        let sync_ms = if rng.chance(0.5) { rng.below(20) } else { rng.below(1_000) };
        let (slots, work_ms) = (1 + few(rng, 3), 1 + rng.below(400));
        let plan = Self { workers, slots, steps, faults, faulty_ms, sync_ms, work_ms, monitored: false };
        // Numbers of their own, so that what a seed decides beside is the same with and without.
        plan.monitored(&mut rng.fork("monitor")).exchanging(&mut rng.fork("exchange"))
    }

    /// A third of the steps has exchanges: one, two or three.
    fn exchanging(mut self, rng: &mut SeededRng) -> Self {
        for step in &mut self.steps {
            step.exchanged_stages =
                if rng.chance(0.33) { 1 + u16::from(rng.chance(0.5)) + u16::from(rng.chance(0.2)) } else { 0 };
        }
        self
    }

    /// In a third of the runs a monitor says now and then that a worker is not living, whatever it does.
    fn monitored(mut self, rng: &mut SeededRng) -> Self {
        self.monitored = rng.chance(0.33);
        if self.monitored {
            let count = rng.below(12);
            let verdict = |_| (rng.below(self.faulty_ms), small(rng, self.workers), 100 + rng.below(6_000));
            self.faults.verdicts = (0..count).map(verdict).collect();
        }
        self
    }
}

fn step(rng: &mut SeededRng, index: u64, faulty_ms: u64) -> StepPlan {
    let chunks = if rng.chance(0.1) { rng.below(3) } else { 1 + rng.below(60) };
    let poison = if rng.chance(0.2) && chunks > 0 { vec![rng.below(chunks)] } else { Vec::new() };
    let shipped = rng.chance(0.5);
    let lies = match rng.below(3) {
        0 if !shipped => Lies::Files(few(rng, 1_000)),
        1 if !shipped => Lies::OnServers,
        _ => Lies::Nowhere,
    };
    StepPlan {
        chunks,
        shipped,
        lies,
        poison,
        exchanged_stages: 0,
        flaky: if rng.chance(0.3) { few(rng, 200) } else { 0 },
        at_ms: if index == 0 { 0 } else { rng.below(faulty_ms) },
        cancel_at_ms: rng.chance(0.15).then(|| rng.below(faulty_ms)),
    }
}

fn small(rng: &mut SeededRng, below: usize) -> usize {
    usize::try_from(rng.below(below as u64)).unwrap_or(0)
}

fn few(rng: &mut SeededRng, below: u64) -> u32 {
    u32::try_from(rng.below(below)).unwrap_or(0)
}
