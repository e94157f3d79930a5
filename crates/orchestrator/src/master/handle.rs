//! How a running master is spoken to from inside its process.

use std::sync::Arc;

use elastic_flow_dataflow::format::Format;
use elastic_flow_dataflow::seam::StepOutput;
use elastic_flow_dataflow::source::{ItemBatches, ResolvedSource, SourceSpec};
use elastic_flow_queue::{Caller, StepSpec, StepState};
use elastic_flow_receipt::{Audit, ReceiptId, StepId};
use elastic_flow_store::Store;
use elastic_flow_wire::with_causes;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::account::Account;
use super::aggregate::Saved;
use super::dead_letters::page;
use super::shell::{Command, Loop, Question};
use super::source::{ACCOUNT, HandedOver, RESULT, StepSource};
use super::view::list;
use crate::api::{
    ApiError, ClusterEvent, ClusterEventKind, ClusterView, DeadLetterFilter, DeadLetterView, FailureView,
    ReceiptFilter, ReceiptView, ResultView, StepView, Submission, WorkerView,
};
use crate::programs::Programs;

/// Speaks to a running master. Clones speak to the same one.
///
/// What it tells the master to do is journalled as of its caller: the master's own process, unless [`MasterHandle::by`] says otherwise.
#[derive(Debug, Clone)]
pub struct MasterHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: broadcast::Sender<ClusterEvent>,
    pub(super) programs: Arc<Programs>,
    pub(super) store: Arc<dyn Store>,
    pub(super) handed_over: Arc<HandedOver>,
    /// The window that steps are submitted under.
    pub(super) window: Option<Arc<str>>,
    /// Whether it is known of which servers the cluster consists.
    pub(super) knows_servers: bool,
    /// Whoever speaks through it.
    pub(super) caller: Caller,
}

impl MasterHandle {
    /// One through which `caller` speaks.
    #[must_use]
    pub fn by(&self, caller: Caller) -> Self {
        Self { caller, ..self.clone() }
    }

    /// Queues a step and waits until it is durable.
    ///
    /// # Errors
    /// The program is not registered, its parameters are wrong, an input is not there, or the store failed.
    ///
    /// # Cancel safety
    /// Not safe: the step may have been queued. Submit with a key, and again.
    pub async fn submit(&self, submission: Submission) -> Result<StepId, ApiError> {
        self.submit_all(submission, None).await
    }

    /// Queues a step over an iterator of the caller's. It does not survive a crash of the master.
    ///
    /// # Errors
    /// As [`MasterHandle::submit`].
    ///
    /// # Cancel safety
    /// Not safe: the step may have been queued.
    pub async fn submit_items(&self, submission: Submission, items: Box<dyn ItemBatches>) -> Result<StepId, ApiError> {
        let submission = Submission { inputs: vec![("input".to_owned(), SourceSpec::OneShot)], ..submission };
        self.submit_all(submission, Some(items)).await
    }

    async fn submit_all(
        &self,
        mut submission: Submission,
        items: Option<Box<dyn ItemBatches>>,
    ) -> Result<StepId, ApiError> {
        let program = self
            .programs
            .get(&submission.program)
            .ok_or_else(|| ApiError::Invalid(self.programs.unknown(&submission.program)))?;
        let handed_over = items.map(|it| self.handed_over.put(it));
        let window = self.window.as_deref().map(str::to_owned);
        let knows_servers = self.knows_servers;
        let prepared = tokio::task::spawn_blocking(move || {
            let prepared = crate::programs::prepare(program.as_ref(), &submission.params)?;
            submission.inputs = in_order(&submission, &program.default_inputs(), &prepared.plan.inputs)?;
            if submission.inputs.is_empty() {
                return Err(format!("program `{}` has no default input: name one with --input", submission.program));
            }
            let each_worker = |(_, it): &(String, SourceSpec)| matches!(it, SourceSpec::EachWorker { .. });
            if !knows_servers && submission.inputs.iter().any(each_worker) {
                return Err("each_worker: this master does not know its servers: name them under [servers] of its configuration".to_owned());
            }
            if let Some(window) = window.as_deref().filter(|_| submission.inputs.iter().any(each_worker)) {
                return Err(format!(
                    "each_worker: the window {window:?} cannot be looked for in files that their servers alone can read: leave \
                     distribute.window out"
                ));
            }
            let resolved =
                ResolvedSource::resolve(submission.inputs.iter().map(|(_, it)| it)).map_err(|it| with_causes(&it))?;
            let source = StepSource { resolved, handed_over, window }.encode()?;
            Ok((submission, source))
        });
        let (submission, source) = prepared
            .await
            .map_err(|_| ApiError::Invalid("the program panicked while it was prepared".to_owned()))?
            .map_err(ApiError::Invalid)?;
        let inputs =
            elastic_flow_wire::encode_to_vec(&submission.inputs).map_err(|it| ApiError::Invalid(it.to_string()))?;
        let spec = StepSpec {
            program: submission.program,
            params: submission.params,
            inputs,
            inputs_text: submission.inputs.iter().map(|(name, it)| format!("{name}: {}", describe(it))).collect(),
            on_failure: submission.on_failure,
            key: submission.key,
            label: submission.label,
            replay_of: None,
            allow_missing_servers: submission.allow_missing_servers,
        };
        self.request_step(|by, reply| Command::Submit(by, Box::new(spec), source, reply)).await
    }

    async fn request(
        &self,
        command: impl FnOnce(Caller, oneshot::Sender<Result<Option<StepId>, ApiError>>) -> Command,
    ) -> Result<Option<StepId>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(self.caller.clone(), reply)).await.map_err(|_| ApiError::Stopping)?;
        answer.await.map_err(|_| ApiError::Stopping)?
    }

    /// A request that is about a step, and answered with it.
    async fn request_step(
        &self,
        command: impl FnOnce(Caller, oneshot::Sender<Result<Option<StepId>, ApiError>>) -> Command,
    ) -> Result<StepId, ApiError> {
        self.request(command).await?.ok_or_else(|| ApiError::Invalid("the answer names no step".to_owned()))
    }

    async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Loop) -> T + Send + 'static) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |it| {
            // Whoever asked may have stopped waiting.
            reply.send(question(it)).ok();
        });
        self.commands.send(Command::Ask(question)).await.map_err(|_| ApiError::Stopping)?;
        answer.await.map_err(|_| ApiError::Stopping)
    }

    /// All steps, oldest first.
    ///
    /// # Errors
    /// The master is stopping.
    pub async fn steps(&self) -> Result<Vec<StepView>, ApiError> {
        self.ask(|it| it.core.step_views(it.clock.now())).await
    }

    /// One step.
    ///
    /// # Errors
    /// There is no such step.
    pub async fn step(&self, step: StepId) -> Result<StepView, ApiError> {
        let mut view = self.view_of(step).await?;
        if view.state.is_final() && view.progress.is_none() {
            // One that never started has no account, and one whose result is not kept any more has none either.
            if let Ok(account) = self.account(step).await {
                view.progress = Some(account.progress().clone());
                view.files = account.files().to_vec();
            }
        }
        Ok(view)
    }

    /// A step as far as it is in memory.
    async fn view_of(&self, step: StepId) -> Result<StepView, ApiError> {
        self.ask(move |it| it.core.step_view(step, it.clock.now())).await?.ok_or(ApiError::NoStep(step))
    }

    /// Waits until a step has ended, its output and audit included.
    ///
    /// # Errors
    /// There is no such step, or the master stops first.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn wait(&self, step: StepId) -> Result<StepView, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Wait(step, reply)).await.map_err(|_| ApiError::Stopping)?;
        answer.await.map_err(|_| ApiError::Stopping)?;
        self.step(step).await
    }

    /// Cancels a step: a pending one leaves the queue, a running one stops after the chunks in hand.
    ///
    /// # Errors
    /// There is no such step, or it has ended otherwise.
    pub async fn cancel(&self, step: StepId) -> Result<StepView, ApiError> {
        self.request_step(|by, reply| Command::Cancel(by, step, reply)).await?;
        self.step(step).await
    }

    /// Queues a step that runs what is missing in the result of an ended one, and merges it into the kept result.
    ///
    /// # Errors
    /// There is no such step, it has not ended, or nothing of it is missing.
    pub async fn replay(&self, step: StepId) -> Result<StepId, ApiError> {
        let spec = self.ask(move |it| it.core.may_replay(step)).await??;
        let store = Arc::clone(&self.store);
        let listed = tokio::task::spawn_blocking(move || store.list(step)).await.map_err(|_| ApiError::Stopping)?;
        let listed = listed.map_err(|it| ApiError::Store(with_causes(&it)))?;
        let left = |name: &str| name.parse::<ReceiptId>().is_ok() || name == super::source::REST;
        if !listed.iter().any(|it| left(&it.name)) {
            if let Some(gap) = self.account(step).await.ok().and_then(|it| it.audit().gaps.into_iter().next()) {
                return Err(ApiError::Conflict(format!(
                    "step {step} has nothing to replay: what it did without ({gap}) it never knew; submit it anew when {} is back",
                    gap.server
                )));
            }
            return Err(ApiError::Conflict(format!(
                "step {step} has nothing to replay: every receipt is aggregated; items that it skipped are listed by \
                 `dead-letters {step}`, submit those of them that you have mended as a new step"
            )));
        }
        let spec = StepSpec { replay_of: Some(step), key: None, ..spec };
        self.request_step(|by, reply| Command::Submit(by, Box::new(spec), bytes::Bytes::new(), reply)).await
    }

    /// A step's audit.
    ///
    /// # Errors
    /// There is no such step, it has not started, or its account is not kept any more.
    pub async fn audit(&self, step: StepId) -> Result<Audit, ApiError> {
        let StepView { program, params, .. } = self.step(step).await?;
        let mut audit = match self.ask(move |it| it.core.audit(step)).await? {
            Some(audit) => audit,
            None => self.account(step).await?.audit(),
        };
        (audit.program, audit.params) = (program, params);
        Ok(audit)
    }

    /// A step's failures, oldest first, the first thousand of them.
    ///
    /// # Errors
    /// As [`MasterHandle::audit`].
    pub async fn failures(&self, step: StepId) -> Result<Vec<FailureView>, ApiError> {
        match self.ask(move |it| it.core.failures(step)).await? {
            Some(failures) => Ok(failures),
            None => Ok(self.account(step).await?.failures().to_vec()),
        }
    }

    /// What a step has set aside, skipped items and whole chunks, in the order in which it did, paged.
    ///
    /// # Errors
    /// As [`MasterHandle::audit`].
    pub async fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Result<Vec<DeadLetterView>, ApiError> {
        match self.ask(move |it| it.core.dead_letters(step, filter)).await? {
            Some(letters) => Ok(letters),
            None => Ok(page(self.account(step).await?.dead_letters(), filter)),
        }
    }

    /// A step's receipts, filtered and paged.
    ///
    /// # Errors
    /// As [`MasterHandle::audit`]; or the filter names a station that there is not.
    pub async fn receipts(&self, step: StepId, filter: ReceiptFilter) -> Result<Vec<ReceiptView>, ApiError> {
        let asked = filter.clone();
        match self.ask(move |it| it.core.receipts(step, &asked)).await?? {
            Some(receipts) => Ok(receipts),
            None => {
                let account = self.account(step).await?;
                list(account.ledger(), account.parts(), &filter, |it| account.name_of(it))
            }
        }
    }

    /// What is known of one receipt.
    ///
    /// # Errors
    /// As [`MasterHandle::audit`]; or the step has no such receipt.
    pub async fn receipt(&self, receipt: ReceiptId) -> Result<ReceiptView, ApiError> {
        let filter = ReceiptFilter { from: receipt.sequence, limit: 1, ..ReceiptFilter::default() };
        let found = self.receipts(receipt.step, filter).await?;
        found.into_iter().find(|it| it.id == receipt).ok_or_else(|| {
            ApiError::Invalid(format!(
                "step {} has no receipt {receipt}: it is mistyped or from another store",
                receipt.step
            ))
        })
    }

    async fn account(&self, step: StepId) -> Result<Account, ApiError> {
        let view = self.view_of(step).await?;
        if !view.state.is_final() {
            return Err(ApiError::Conflict(format!(
                "step {step} is {}: it has no receipts before it starts",
                view.state
            )));
        }
        if view.started_at.is_none() {
            return Err(ApiError::Conflict(format!(
                "step {step} is {}: it never started, and has no receipts",
                view.state
            )));
        }
        let bytes = self.kept(step, ACCOUNT).await?;
        let bytes = bytes.ok_or_else(|| ApiError::NoResult(step, "its account is not kept any more".to_owned()))?;
        elastic_flow_wire::decode(&bytes)
            .map_err(|it| ApiError::Store(format!("the account of step {step} does not decode: {it}")))
    }

    async fn kept(&self, step: StepId, name: &'static str) -> Result<Option<bytes::Bytes>, ApiError> {
        let store = Arc::clone(&self.store);
        let got = tokio::task::spawn_blocking(move || store.get(step, name)).await.map_err(|_| ApiError::Stopping)?;
        got.map_err(|it| ApiError::Store(with_causes(&it)))
    }

    /// A step's result; of a running one the aggregate so far.
    ///
    /// # Errors
    /// There is no such step, or it has no result (yet, or any more).
    pub async fn result(&self, step: StepId) -> Result<ResultView, ApiError> {
        let view = self.step(step).await?;
        let (ended, complete) = (view.state.is_final(), Self::completed(&view));
        let (cached, swept) = self.ask(move |it| (it.outputs.get(&step).cloned(), it.swept_after(step))).await?;
        if let Some(kept) = swept {
            let why = format!(
                "it is {} and its result is not kept any more: that was so for {} s after its end (store.keep_results)",
                view.state,
                kept.as_secs_f64()
            );
            return Err(ApiError::NoResult(step, why));
        }
        let output = match cached {
            Some(output) => output,
            None if ended => {
                let saved = self.kept(step, RESULT).await?;
                let saved =
                    saved.ok_or_else(|| ApiError::NoResult(step, format!("it is {} and left none", view.state)))?;
                self.make(step, &view, saved).await?
            }
            None => {
                let Saved { bytes, receipts, receipts_conceived } = self.save(step).await?;
                let output = self.make(step, &view, bytes).await?;
                return Ok(ResultView { output, complete, receipts, receipts_conceived });
            }
        };
        let audit = self.audit(step).await?;
        Ok(ResultView {
            output,
            complete,
            receipts: audit.rows.aggregated.receipts,
            receipts_conceived: audit.rows.conceived.receipts,
        })
    }

    /// Takes the output of an ended step out of the master's memory, for its typed value; none if it is not there any more, or
    /// somebody else holds it at the moment.
    ///
    /// # Errors
    /// The master is stopping.
    pub async fn take_output(&self, step: StepId) -> Result<Option<Box<dyn StepOutput>>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::TakeOutput(step, reply)).await.map_err(|_| ApiError::Stopping)?;
        Ok(answer.await.map_err(|_| ApiError::Stopping)?.and_then(Arc::into_inner))
    }

    /// Waits until the master takes no more questions: it has stopped.
    pub(crate) async fn gone(&self) {
        self.commands.closed().await;
    }

    async fn save(&self, step: StepId) -> Result<Saved, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Save(step, reply)).await.map_err(|_| ApiError::Stopping)?;
        let saved = answer.await.map_err(|_| ApiError::NoResult(step, "it has not started".to_owned()))?;
        saved.map_err(|it| ApiError::NoResult(step, it))
    }

    async fn make(
        &self,
        step: StepId,
        view: &StepView,
        saved: bytes::Bytes,
    ) -> Result<Arc<Box<dyn StepOutput>>, ApiError> {
        let program = self
            .programs
            .get(&view.program)
            .ok_or_else(|| ApiError::NoResult(step, self.programs.unknown(&view.program)))?;
        let params = view.params.clone();
        let made = tokio::task::spawn_blocking(move || {
            let prepared = crate::programs::prepare(program.as_ref(), &params)?;
            let mut aggregator = (prepared.aggregator)();
            aggregator.restore(&saved).map_err(|it| with_causes(&it))?;
            aggregator.finish().map_err(|it| with_causes(&it))
        });
        let made = made.await.map_err(|_| ApiError::NoResult(step, "its aggregator panicked".to_owned()))?;
        Ok(Arc::new(made.map_err(|it| ApiError::NoResult(step, it))?))
    }

    /// The workers that are connected.
    ///
    /// # Errors
    /// The master is stopping.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, ApiError> {
        self.ask(Loop::worker_views).await
    }

    /// Gives the worker of this name no more work; it finishes what it has, and stays connected. A worker that is started anew takes
    /// work again. Gives the workers of that name: as a rule one.
    ///
    /// # Errors
    /// No worker of this name is connected, or the store failed.
    ///
    /// # Cancel safety
    /// Not safe: the worker may have been drained. Doing it again changes nothing.
    pub async fn drain(&self, name: &str) -> Result<Vec<WorkerView>, ApiError> {
        self.request(|by, reply| Command::Drain(by, name.to_owned(), reply)).await?;
        let workers = self.workers().await?;
        Ok(workers.into_iter().filter(|it| it.joined && it.name == name).collect())
    }

    /// The cluster in short.
    ///
    /// # Errors
    /// The master is stopping.
    pub async fn cluster(&self) -> Result<ClusterView, ApiError> {
        self.ask(Loop::cluster_view).await
    }

    /// Events from now on. A receiver that is 10,000 events behind loses the oldest, and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ClusterEvent> {
        self.events.subscribe()
    }

    /// The events after `number` that are still kept: the last 10,000.
    ///
    /// # Errors
    /// The master is stopping.
    pub async fn events_since(&self, number: u64) -> Result<Vec<ClusterEvent>, ApiError> {
        self.ask(move |it| it.recent.iter().filter(|it| it.number > number).cloned().collect()).await
    }

    /// The metrics of the workers in Prometheus text, by node name, as their last heartbeats brought them.
    ///
    /// # Errors
    /// The master is stopping.
    pub async fn worker_metrics(&self) -> Result<Vec<(String, String)>, ApiError> {
        self.ask(Loop::worker_metrics).await
    }

    /// The registered programs.
    #[must_use]
    pub const fn programs(&self) -> &Arc<Programs> {
        &self.programs
    }

    /// Whether a step completed.
    #[must_use]
    pub const fn completed(view: &StepView) -> bool {
        matches!(view.state, StepState::Completed | StepState::CompletedWithSkips)
    }

    /// Writes a result in `format`, streamed, on the calling thread.
    ///
    /// # Errors
    /// `out` fails.
    pub fn write(result: &ResultView, format: Format, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        result.output.write(format, out)
    }
}

/// The inputs of a step by the index that the plan gives them: those that were named, else the program's defaults.
fn in_order(
    submission: &Submission,
    defaults: &[(String, SourceSpec)],
    wanted: &[String],
) -> Result<Vec<(String, SourceSpec)>, String> {
    if wanted.is_empty() {
        // The flow takes whatever there is, under any name.
        return Ok(if submission.inputs.is_empty() { defaults.to_vec() } else { submission.inputs.clone() });
    }
    if let Some((unknown, _)) = submission.inputs.iter().find(|(name, _)| !wanted.contains(name)) {
        return Err(format!("program `{}` has no input `{unknown}`: it has {}", submission.program, wanted.join(", ")));
    }
    let find = |name: &String| {
        let named = submission.inputs.iter().chain(defaults).find(|(known, _)| known == name);
        named.cloned().ok_or_else(|| {
            format!("program `{}` needs an input `{name}`: name it with --input {name}=PATH", submission.program)
        })
    };
    wanted.iter().map(find).collect()
}

/// A source in words.
fn describe(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Lines { paths } => paths.join(" "),
        SourceSpec::Range { start, end } => format!("{start}..{end}"),
        SourceSpec::Registered { name } => format!("registered:{name}"),
        SourceSpec::OneShot => "an iterator".to_owned(),
        SourceSpec::EachWorker { globs } => format!("each_worker:{}", globs.join(" ")),
    }
}

impl ClusterEventKind {
    /// The step that it is about; none if it is about a worker.
    #[must_use]
    pub const fn step(&self) -> Option<StepId> {
        match self {
            Self::Step { step, .. }
            | Self::Progress { step, .. }
            | Self::Files { step, .. }
            | Self::Failure { step, .. } => Some(*step),
            Self::Worker { .. } | Self::Verdict { .. } => None,
        }
    }

    /// Its name in the event stream.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Step { .. } => "step",
            Self::Worker { .. } => "worker",
            Self::Verdict { .. } => "verdict",
            Self::Progress { .. } => "progress",
            Self::Files { .. } => "files",
            Self::Failure { .. } => "failure",
        }
    }
}
