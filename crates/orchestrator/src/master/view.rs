//! What the master shows of its state.

use elastic_flow_clock::Mono;
use elastic_flow_queue::{Command, Step, StepState};
use elastic_flow_receipt::{Audit, Filter, Ledger, NodeId, Station, StepId};

use super::account::{audit, gaps_of, name_of, reads_of};
use super::core::MasterCore;
use super::dead_letters::{page, skipped_of};
use super::effects::Ending;
use super::exchange::Exchange;
use super::run::{Opening, Run};
use crate::api::{
    ApiError, CommandView, DeadLetterFilter, DeadLetterView, FailureView, Progress, ReceiptFilter, ReceiptView,
    StepView,
};

/// Receipts listed at once where the filter names no limit.
const RECEIPTS_LISTED: u32 = 1_000;
/// Receipts listed at once, at most.
const RECEIPTS_LISTED_MAX: u32 = 10_000;

/// A worker as the deciding code sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its incarnation.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Compute threads.
    pub slots: u32,
    /// Whether it may run the master's steps.
    pub same_build: bool,
    /// Who wanted it to get no more work; none if it gets some.
    pub drained: Option<Command>,
    /// Whether it counts as living.
    pub living: bool,
    /// Chunks open on it.
    pub open_chunks: u64,
    /// Bytes of accepted results that it read from its own disk.
    pub read_in_place_bytes: u64,
    /// Bytes of accepted results that were shipped to it.
    pub read_shipped_bytes: u64,
}

impl MasterCore {
    /// All steps, oldest first.
    #[must_use]
    pub fn step_views(&self, now: Mono) -> Vec<StepView> {
        self.queue.steps().map(|it| self.view_of(it, now)).collect()
    }

    /// One step.
    #[must_use]
    pub fn step_view(&self, step: StepId, now: Mono) -> Option<StepView> {
        self.queue.get(step).map(|it| self.view_of(it, now))
    }

    fn view_of(&self, step: &Step, now: Mono) -> StepView {
        let run = self.run.as_ref().filter(|it| it.step == step.id);
        // An end that is decided and not durable yet is not shown: a crash would take it back.
        let ending = run.is_some() && step.state.is_final();
        let state = match run.and_then(|it| it.ending.as_ref()) {
            Some(Ending::Cancelled) if ending => StepState::CancelPending,
            _ if ending => StepState::Running,
            _ => step.state,
        };
        StepView {
            id: step.id,
            program: step.spec.program.clone(),
            label: step.spec.label.clone(),
            key: step.spec.key.clone(),
            params: step.spec.params.clone(),
            inputs: step.spec.inputs_text.clone(),
            state,
            on_failure: step.spec.on_failure,
            replay_of: step.spec.replay_of,
            submitted_at: step.submitted_at,
            started_at: step.started_at,
            ended_at: step.ended_at().filter(|_| !ending),
            reason: step.reason.clone().filter(|_| !ending),
            error_kind: step.error_kind().filter(|_| !ending),
            commands: step.commands.iter().map(CommandView::of).collect(),
            waiting_for: run.and_then(|it| self.waiting_for(it, now)),
            progress: run
                .map(|it| it.progress(now))
                .or_else(|| self.accounts.get(&step.id).map(|it| it.progress().clone())),
            files: match self.accounts.get(&step.id) {
                Some(account) => account.files().to_vec(),
                None => run.map(|it| it.files.clone()).unwrap_or_default(),
            },
        }
    }

    /// How far the running step is.
    #[must_use]
    pub fn progress(&self, now: Mono) -> Option<(StepId, Progress)> {
        self.run.as_ref().map(|it| (it.step, it.progress(now)))
    }

    /// Chunks of the running step whose results are in the aggregate, or on their way into it; and all that there are.
    pub(crate) fn aggregated(&self, step: StepId) -> Option<(u64, u64)> {
        self.run.as_ref().filter(|it| it.step == step).map(|it| (it.aggregated, it.chunks.len() as u64))
    }

    /// What the running step waits for, said by the code that decides it.
    fn waiting_for(&self, run: &Run, now: Mono) -> Option<String> {
        if let Some(since) = run.deserted_since {
            let left = self.settings.grace.saturating_sub(now.since(since));
            let wanted = self.nodes.wanted();
            return Some(format!("a worker{wanted}, for {:.0} s more", left.as_secs_f64()));
        }
        if run.finishing {
            return Some("its output".to_owned());
        }
        if let Some((server, since)) = run.missing_since.iter().min_by_key(|(_, since)| **since) {
            let left = self.settings.grace.saturating_sub(now.since(*since));
            return Some(format!(
                "server {server}, which alone has what is on its disk, for {:.0} s more",
                left.as_secs_f64()
            ));
        }
        if let Some(since) = run.unread_since {
            let left = self.settings.grace.saturating_sub(now.since(since));
            return Some(format!("a worker that has its files (source.read), for {:.0} s more", left.as_secs_f64()));
        }
        if let Some(asking) = &run.asking {
            let servers = self.settings.servers.iter().filter(|it| !asking.answers.contains_key(*it));
            let servers: Vec<&str> = servers.map(String::as_str).collect();
            return Some(format!("what {} have of its input", servers.join(", ")));
        }
        if run.opening == Opening::Asked {
            return Some("its program and source".to_owned());
        }
        if let Some((_, task)) = run.tasks.first_key_value() {
            let chunks: usize = run.tasks.values().map(|it| it.chunks.len()).sum();
            let oldest = now.since(run.tasks.values().map(|it| it.sent_at).min().unwrap_or(task.sent_at));
            return Some(format!("user code in {chunks} chunks, the oldest for {:.1} s", oldest.as_secs_f64()));
        }
        if let Some(partitions) = run.exchange.as_ref().map(Exchange::at_work).filter(|it| *it > 0) {
            return Some(format!("{partitions} partitions, which their owners work on"));
        }
        if run.is_partitioned() && run.exchange.is_none() && run.pending_count() > 0 {
            return Some("a worker to own its partitions".to_owned());
        }
        if run.accepted > 0 || run.conceived > 0 {
            return Some("the journal".to_owned());
        }
        if !run.waiting.is_empty() {
            return Some(format!("the backoff of {} failed chunks", run.waiting.len()));
        }
        if run.shipping > 0 {
            return Some(format!("the bytes of {} chunks, whose files no worker with room has", run.shipping));
        }
        if run.cutting {
            return Some("its source".to_owned());
        }
        None
    }

    /// The workers.
    #[must_use]
    pub fn node_views(&self) -> Vec<NodeView> {
        self.nodes
            .by_id
            .iter()
            .map(|(id, it)| NodeView {
                node: *id,
                name: it.joined.name.clone(),
                address: it.joined.address.clone(),
                slots: it.joined.slots,
                same_build: it.joined.build == self.build,
                drained: it.drained.clone(),
                living: it.is_living(),
                open_chunks: it.open_chunks,
                read_in_place_bytes: it.reads.in_place,
                read_shipped_bytes: it.reads.shipped,
            })
            .collect()
    }

    /// Workers that may be given chunks: of a build that may run them, and not drained.
    #[must_use]
    pub fn workers_that_take_work(&self) -> usize {
        self.nodes.by_id.values().filter(|it| it.takes_work()).count()
    }

    /// Chunks open on workers.
    #[must_use]
    pub fn open_chunks(&self) -> u64 {
        self.nodes.by_id.values().map(|it| it.open_chunks).sum()
    }

    /// The audit of a step that runs or whose account is in memory; none for others.
    #[must_use]
    pub fn audit(&self, step: StepId) -> Option<Audit> {
        if let Some(account) = self.accounts.get(&step) {
            return Some(account.audit());
        }
        let run = self.run.as_ref().filter(|it| it.step == step)?;
        let skipped = skipped_of(&run.dead_letters);
        let mut audit = audit(&run.ledger, &run.parts, run.earlier.as_deref(), &run.names, skipped);
        audit.reads = reads_of(run);
        audit.gaps = gaps_of(&run.parts, &run.gaps);
        Some(audit)
    }

    /// The failures of a step that runs or whose account is in memory; none for others.
    #[must_use]
    pub fn failures(&self, step: StepId) -> Option<Vec<FailureView>> {
        if let Some(account) = self.accounts.get(&step) {
            return Some(account.failures().to_vec());
        }
        self.run.as_ref().filter(|it| it.step == step).map(|it| it.failures.clone())
    }

    /// What was set aside of a step that runs or whose account is in memory; none for others.
    #[must_use]
    pub fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Option<Vec<DeadLetterView>> {
        if let Some(account) = self.accounts.get(&step) {
            return Some(page(account.dead_letters(), filter));
        }
        self.run.as_ref().filter(|it| it.step == step).map(|it| page(&it.dead_letters, filter))
    }

    /// Receipts of a step that runs or whose account is in memory; none for others.
    ///
    /// # Errors
    /// The filter names a station that there is not.
    pub fn receipts(&self, step: StepId, filter: &ReceiptFilter) -> Result<Option<Vec<ReceiptView>>, ApiError> {
        if let Some(account) = self.accounts.get(&step) {
            return list(account.ledger(), account.parts(), filter, |it| account.name_of(it)).map(Some);
        }
        match self.run.as_ref().filter(|it| it.step == step) {
            Some(run) => list(&run.ledger, &run.parts, filter, |it| name_of(&run.names, it)).map(Some),
            None => Ok(None),
        }
    }
}

/// Receipts of a ledger, filtered and paged.
///
/// # Errors
/// The filter names a station that there is not.
pub fn list(
    ledger: &Ledger,
    parts: &[elastic_flow_dataflow::seam::SourcePart],
    filter: &ReceiptFilter,
    name: impl Fn(NodeId) -> String,
) -> Result<Vec<ReceiptView>, ApiError> {
    let station = match &filter.station {
        None => None,
        Some(text) => Some(Station::from_name(text).ok_or_else(|| {
            let names: Vec<&str> = Station::ALL.iter().map(|it| it.name()).collect();
            ApiError::Invalid(format!("`{text}` is not a station; stations are {}", names.join(", ")))
        })?),
    };
    let limit = if filter.limit == 0 { RECEIPTS_LISTED } else { filter.limit.min(RECEIPTS_LISTED_MAX) };
    let part = |index: u32| parts.get(index as usize).map_or_else(|| index.to_string(), |it| it.name.clone());
    Ok(ledger
        .select(Filter { station, ..Filter::default() }, None)
        .filter(|it| it.id().sequence >= filter.from)
        .map(|it| ReceiptView {
            id: it.id(),
            entries: it.read().map(|it| it.entries).or(it.entries()),
            bytes: it.bytes(),
            conceived_at: it.conceived_at(),
            station: it.station().map_or("conceived", Station::name).to_owned(),
            node: it.node().map(&name),
            attempts: u32::from(it.attempts()),
            failures: u32::from(it.failures()),
            losses: u32::from(it.losses()),
            covers: it.covers().map(|it| (part(it.part), it.offset, it.length)).collect(),
            error: it.error().map(str::to_owned),
        })
        .filter(|it| filter.node.is_none() || it.node == filter.node)
        .take(limit as usize)
        .collect())
}
