//! `run`: a cluster on this machine for one step. This process is the master, the workers are its children.

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_orchestrator::api::{FailureView, ResultView, StepView};
use elastic_flow_orchestrator::{MasterHandle, StopMode, StopReason, Submission};
use elastic_flow_queue::{OnFailure, StepState};
use elastic_flow_receipt::{Audit, StepId};

use super::block_on;
use crate::app::App;
use crate::args::{Common, Run as Args};
use crate::children::WorkerCommand;
use crate::context::{Context, Flags, own_executable, slots_for};
use crate::exit_code::{Failure, of_state};
use crate::logging::LogFormat;
use crate::output::{self, Destination};
use crate::processes::{Embedded, WORKER_GRACE};
use crate::progress::Screen;
use crate::signals::StopSignals;
use crate::{inputs, stores};

/// Threads for I/O.
const IO_THREADS: usize = 2;
/// Failures that are shown in full.
const FAILURES_SHOWN: usize = 3;

pub(crate) fn run(app: &App, common: &Common, args: &Args) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    context.check_names()?;
    let program = context.program(args.step.program.as_deref())?;
    let params = inputs::params(program.as_ref(), &args.step.params)?;
    let submission = Submission {
        program: program.name().to_owned(),
        inputs: inputs::on_one_server(inputs::inputs(program.as_ref(), &args.step, &params)?),
        params: params.to_pairs(),
        on_failure: OnFailure::Continue,
        key: None,
        label: None,
        allow_missing_servers: false,
    };
    let destination = Destination::parse(&args.output)?;
    context.start_log("warn", matches!(common.log_format, LogFormat::Json).then_some("master"))?;
    block_on(IO_THREADS, start(&context, args, submission, destination))
}

async fn start(
    context: &Context<'_>,
    args: &Args,
    submission: Submission,
    destination: Destination,
) -> Result<u8, Failure> {
    let mut signals = StopSignals::new().map_err(|error| Failure::failed(format!("cannot take signals: {error}")))?;
    let screen = Arc::new(Screen::new());
    let slots = args.slots.unwrap_or_else(|| slots_for(args.workers));
    let command = worker_command(context, args, slots);
    #[cfg(feature = "admin")]
    let metrics = args.admin.as_ref().map(|_| elastic_flow_admin::Metrics::install());
    // The configured store is that of the cluster's own master, which may be running.
    let store = stores::open(context.app, args.store.as_deref().unwrap_or("memory"))?;
    let Embedded { master, mut workers, key } =
        Embedded::start(context, &command, (args.workers, slots), store, &screen).await?;
    #[cfg(not(feature = "admin"))]
    drop(key);
    #[cfg(feature = "admin")]
    let admin = match (&args.admin, metrics) {
        (Some(listen), Some(metrics)) => {
            let admin = crate::face::master(context, listen, &master, &key, metrics).await?;
            output::note(&format!("admin on http://{}", admin.local_addr()));
            Some(admin)
        }
        _ => None,
    };

    let job = Job { context, handle: master.handle(), destination, screen: Arc::clone(&screen) };
    let ended = tokio::select! {
        biased;
        signal = signals.recv() => Err(Failure::interrupted(format!("stopped by {signal}"))),
        () = workers.all_gave_up() => Err(Failure::failed("no worker process could be started: see above")),
        reason = master.stopped() => Err(master_gone(&reason)),
        ended = job.run(submission) => ended,
    };
    screen.clear();
    let stop = async {
        #[cfg(feature = "admin")]
        if let Some(admin) = admin {
            admin.stop().await;
        }
        workers.finish().await;
        master.stop(StopMode::Now).await;
    };
    signals.or_at_once(stop).await;
    ended
}

fn master_gone(reason: &StopReason) -> Failure {
    match reason {
        StopReason::StoreFailed(message) => Failure::failed(format!("the store failed: {message}")),
        StopReason::Asked | StopReason::Terminated(_) | _ => Failure::failed("the master stopped by itself"),
    }
}

/// The command line of a worker: this one's configuration and log, and what only a child has.
fn worker_command(context: &Context<'_>, args: &Args, slots: u32) -> WorkerCommand {
    let common = context.common;
    let mut arguments: Vec<OsString> = vec!["worker".into(), "--key-stdin".into()];
    let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
    add("--slots", slots.to_string().into());
    if let Some(config) = &common.config {
        add("--config", config.into());
    }
    for set in &common.sets {
        add("--set", set.into());
    }
    if let Some(log) = &common.log {
        add("--log", log.into());
    }
    #[cfg(feature = "admin")]
    if args.admin.is_some() {
        arguments.push("--metrics".into());
    }
    let raw_lines = matches!(common.log_format, LogFormat::Json);
    arguments.extend(["--log-format".into(), if raw_lines { "json" } else { "human" }.into()]);
    WorkerCommand { executable: own_executable(), arguments, raw_lines, grace: WORKER_GRACE }
}

/// The one step of this run.
struct Job<'a> {
    context: &'a Context<'a>,
    handle: MasterHandle,
    destination: Destination,
    screen: Arc<Screen>,
}

impl Job<'_> {
    /// Runs the step, prints what came of it, and gives the exit code.
    async fn run(&self, submission: Submission) -> Result<u8, Failure> {
        let failed = |error: elastic_flow_orchestrator::ApiError| Failure::failed(error.to_string());
        let id = self.handle.submit(submission).await.map_err(|error| Failure::usage(error.to_string()))?;
        let view = tokio::select! {
            biased;
            view = self.handle.wait(id) => view.map_err(failed)?,
            never = self.show_progress(id) => never,
        };
        self.screen.clear();
        let audit = self.handle.audit(id).await.map_err(failed)?;
        let result = match view.state {
            StepState::Completed | StepState::CompletedWithSkips => Some(self.handle.result(id).await.map_err(failed)?),
            StepState::Failed
            | StepState::Cancelled
            | StepState::Pending
            | StepState::Running
            | StepState::CancelPending
            | StepState::Interrupted => None,
        };
        let failures = if view.state == StepState::Completed {
            Vec::new()
        } else {
            self.handle.failures(id).await.map_err(failed)?
        };
        explain_ending(&view, &failures);
        let (json, destination) = (self.context.common.json, self.destination.clone());
        let code = of_state(view.state);
        let printing = tokio::task::spawn_blocking(move || print(&view, &audit, result.as_ref(), &destination, json));
        printing.await.map_err(|error| Failure::failed(format!("the result cannot be printed: {error}")))??;
        Ok(code)
    }

    /// Shows how far the step is, for as long as it is polled.
    async fn show_progress(&self, id: StepId) -> StepView {
        loop {
            tokio::time::sleep(self.screen.every()).await;
            if let Ok(view) = self.handle.step(id).await {
                self.screen.show(&view);
            }
        }
    }
}

/// Why a step ended otherwise than completed, on standard error.
pub(crate) fn explain_ending(view: &StepView, failures: &[FailureView]) {
    if view.state == StepState::Completed {
        return;
    }
    let reason = view.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    output::note(&format!("step {} {}{reason}", view.id, view.state));
    if let Some(skipped) = view.progress.as_ref().map(|it| it.items_skipped).filter(|it| *it > 0) {
        let (items, are) = if skipped == 1 { ("1 item".to_owned(), "is") } else { (format!("{skipped} items"), "are") };
        output::note(&format!("  {items} skipped, which {are} listed by: dead-letters {}", view.id));
    }
    let mut nodes_shown = Vec::new();
    for failure in failures.iter().take(FAILURES_SHOWN) {
        let place = match (failure.receipt, failure.item) {
            (Some(receipt), Some(item)) => format!("chunk {receipt}, item {item}"),
            (Some(receipt), None) => format!("chunk {receipt}"),
            (None, _) => "a task".to_owned(),
        };
        let aside = if failure.set_aside { ", set aside" } else { "" };
        let message = failure.message.trim_end();
        output::note(&format!("  {place} on {} (attempt {}{aside}): {message}", failure.node, failure.attempts));
        if nodes_shown.contains(&&failure.node) {
            continue;
        }
        nodes_shown.push(&failure.node);
        for line in &failure.log_tail {
            output::note(&format!("    {} | {line}", failure.node));
        }
    }
    if let Some(more) = failures.len().checked_sub(FAILURES_SHOWN).filter(|more| *more > 0) {
        output::note(&format!("  and {more} more"));
    }
    if let Some(kind) = view.error_kind {
        output::note(&format!("  {kind}: {} (docs/errors.md#{kind})", kind.remedy()));
    }
}

/// Writes the result where it goes, and the audit in a line.
fn print(
    view: &StepView,
    audit: &Audit,
    result: Option<&ResultView>,
    destination: &Destination,
    json: bool,
) -> Result<(), Failure> {
    if let (Destination::File(path, format), Some(result)) = (destination, result) {
        output::write_file(path, |out| match format {
            Some(format) => result.output.write(*format, out),
            None => result.output.output(out),
        })?;
    }
    if json {
        return output::to_stdout(|out| print_json(out, view, audit, result, destination));
    }
    match (destination, result) {
        (Destination::Rows(format), result) => {
            if let Some(result) = result {
                output::to_stdout(|out| result.output.write(*format, out))?;
            }
            // Rows are for programs: nothing else goes between them.
            output::note(&audit.line());
            Ok(())
        }
        (Destination::Report | Destination::File(..), result) => output::to_stdout(|out| {
            if let Some(result) = result {
                result.output.report(out)?;
            }
            if let Some(pace) = pace(view, audit) {
                writeln!(out, "{pace}")?;
            }
            writeln!(out, "{}", audit.line())
        }),
    }
}

/// How long the step took, and how much it read in a second.
fn pace(view: &StepView, audit: &Audit) -> Option<String> {
    let nanos = view.ended_at?.saturating_sub(view.started_at?);
    let seconds = Duration::from_nanos(nanos).as_secs_f64().max(1e-9);
    let bytes = audit.rows.aggregated.bytes;
    Some(format!("{seconds:.3} s, {:.1} MB/s", bytes as f64 / 1e6 / seconds))
}

/// One object; the result is streamed into it.
fn print_json(
    out: &mut dyn Write,
    view: &StepView,
    audit: &Audit,
    result: Option<&ResultView>,
    destination: &Destination,
) -> std::io::Result<()> {
    out.write_all(b"{\"step\":")?;
    serde_json::to_writer(&mut *out, view)?;
    out.write_all(b",\"audit\":")?;
    serde_json::to_writer(&mut *out, audit)?;
    match (destination, result) {
        (_, None) => {}
        (Destination::File(path, _), Some(_)) => {
            out.write_all(b",\"output\":")?;
            serde_json::to_writer(&mut *out, path)?;
        }
        (Destination::Report | Destination::Rows(_), Some(result)) => {
            out.write_all(b",\"result\":")?;
            result.output.write(elastic_flow_dataflow::format::Format::Json, out)?;
        }
    }
    out.write_all(b"}\n")
}
