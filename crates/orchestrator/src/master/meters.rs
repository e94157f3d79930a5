//! The master's metrics, through the `metrics` facade: whoever installed a recorder gets them.

use elastic_flow_clock::Mono;
use elastic_flow_queue::StepState;
use elastic_flow_transport::{Endpoint, TransportStats};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::core::{MasterCore, Totals};
use super::shell::About;

/// Why a worker counts as lost whose connection stands.
pub(super) const NOT_LIVING: &str = "not_living";

/// A counter, and which of the totals it tells.
type Told = (Counter, fn(&Totals) -> u64);

/// Handles of the master's series, and what they have been told so far.
pub(super) struct Meters {
    told: Totals,
    told_transport: TransportStats,
    stations: Vec<Told>,
    open: Gauge,
    depth: Gauge,
    workers: Gauge,
    told_workers: usize,
    step_seconds: Histogram,
    running_since: Option<Mono>,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").field("told", &self.told).finish_non_exhaustive()
    }
}

impl Meters {
    pub(super) fn new(about: &About) -> Self {
        gauge!("elastic_flow_epoch").set(about.epoch as f64);
        crate::meters::build_info(about.build);
        let station = |name: &'static str| counter!("elastic_flow_receipts_total", "station" => name);
        let stations: Vec<Told> = vec![
            (station("conceived"), |it| it.conceived),
            (station("distributed"), |it| it.distributed),
            (station("returned"), |it| it.returned),
            (station("retried"), |it| it.retried),
            (station("aggregated"), |it| it.aggregated),
            (station("set_aside"), |it| it.set_aside),
            (station("abandoned"), |it| it.abandoned),
            (counter!("elastic_flow_items_skipped_total"), |it| it.skipped),
            (counter!("elastic_flow_retries_total"), |it| it.retried),
            (counter!("elastic_flow_results_duplicate_total"), |it| it.duplicates),
            (counter!("elastic_flow_results_stale_total"), |it| it.stale),
            (counter!("elastic_flow_attempt_failures_total"), |it| it.failures),
            (counter!("elastic_flow_entries_total"), |it| it.entries),
            (counter!("elastic_flow_source_bytes_total"), |it| it.bytes),
        ];
        for (counter, _) in &stations {
            counter.increment(0);
        }
        for reason in ["silent", "closed", "protocol", "goodbye", "left", NOT_LIVING] {
            counter!("elastic_flow_workers_lost_total", "reason" => reason).increment(0);
        }
        Self {
            told: Totals::default(),
            told_workers: 0,
            told_transport: TransportStats::default(),
            stations,
            open: gauge!("elastic_flow_chunks_open"),
            depth: gauge!("elastic_flow_queue_depth"),
            workers: gauge!("elastic_flow_workers_connected"),
            step_seconds: histogram!("elastic_flow_step_seconds"),
            running_since: None,
        }
    }

    /// Tells what has changed since the last call. Cheap when nothing has.
    pub(super) fn update(&mut self, core: &MasterCore) {
        let workers = core.nodes_connected();
        if workers != self.told_workers {
            self.told_workers = workers;
            self.workers.set(workers as f64);
        }
        let totals = core.totals();
        if totals == self.told {
            return;
        }
        for (counter, of) in &self.stations {
            let more = of(&totals).saturating_sub(of(&self.told));
            if more > 0 {
                counter.increment(more);
            }
        }
        self.told = totals;
        self.open.set(core.open_chunks() as f64);
    }

    /// Tells what is looked at once a second only.
    pub(super) fn slow(&mut self, core: &MasterCore, endpoint: &Endpoint) {
        self.open.set(core.open_chunks() as f64);
        self.depth.set(core.queue().pending_count() as f64);
        crate::meters::transport(&endpoint.stats(), &mut self.told_transport);
    }

    pub(super) fn lost(&self, reason: &'static str) {
        counter!("elastic_flow_workers_lost_total", "reason" => reason).increment(1);
    }

    pub(super) fn step(&mut self, to: StepState, now: Mono) {
        if to == StepState::Running {
            self.running_since = Some(now);
        } else if to.is_final()
            && let Some(since) = self.running_since.take()
        {
            self.step_seconds.record(now.since(since).as_secs_f64());
        }
        if to.is_final() {
            counter!("elastic_flow_steps_total", "state" => to.name().to_ascii_lowercase()).increment(1);
        }
    }
}
