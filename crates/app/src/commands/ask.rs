//! The commands that ask a running master.

use std::collections::BTreeMap;
use std::io;

use elastic_flow_admin::{PARTIAL_HEADER, Role};
use elastic_flow_orchestrator::Submission;
use elastic_flow_orchestrator::api::{DeadLetterView, FailureView, ReceiptView, StepView, WorkerView};
use elastic_flow_queue::{OnFailure, StepState};
use elastic_flow_receipt::Audit;
use serde_json::Value;

use super::run::explain_ending;
use crate::app::App;
use crate::args::{AdminUrl, Common, Drain, OnFailureArg, OneStep, OutputArgs, Receipts, Replay, ResultArgs, Submit};
use crate::client::Client;
use crate::context::{Context, Flags};
use crate::exit_code::{COMPLETED, Failure, of_state};
use crate::output::{self, Destination};
use crate::progress::Screen;
use crate::{inputs, tables};

/// Receipts, or dead letters, that are asked for at a time.
const RECEIPTS_PAGE: u32 = 1_000;

fn connect<'a>(app: &'a App, common: &'a Common, url: &AdminUrl) -> Result<(Context<'a>, Client), Failure> {
    connect_as(app, common, url, Role::Submit)
}

fn connect_as<'a>(
    app: &'a App,
    common: &'a Common,
    url: &AdminUrl,
    role: Role,
) -> Result<(Context<'a>, Client), Failure> {
    let context = Context::new(app, common, Flags::default())?;
    context.start_log("warn", None)?;
    let client = Client::new(&context, &url.admin, role)?;
    Ok((context, client))
}

pub(crate) fn submit(app: &App, common: &Common, args: &Submit) -> Result<u8, Failure> {
    let (context, client) = connect(app, common, &args.url)?;
    let program = context.program(args.step.program.as_deref())?;
    let params = inputs::params(program.as_ref(), &args.step.params)?;
    let inputs = inputs::inputs(program.as_ref(), &args.step, &params)?;
    let folder =
        std::env::current_dir().map_err(|error| Failure::usage(format!("there is no current folder: {error}")))?;
    if !args.wait && (args.output.output.is_some() || args.output.format.is_some()) {
        return Err(Failure::usage("--output and --format take --wait; or ask later with `result`"));
    }
    let destination = Destination::parse(&args.output)?;
    let submission = Submission {
        program: program.name().to_owned(),
        inputs: inputs::for_another_process(inputs, &folder)?,
        params: params.to_pairs(),
        on_failure: match args.on_failure {
            OnFailureArg::Continue => OnFailure::Continue,
            OnFailureArg::CancelAndWait => OnFailure::CancelAndWait,
            OnFailureArg::Terminate => OnFailure::Terminate,
        },
        key: args.key.clone(),
        label: args.label.clone(),
        allow_missing_servers: args.allow_missing_servers,
    };
    let view: StepView = client.post("/steps", &submission)?;
    if args.wait {
        return wait(&client, common, view, Some(&destination));
    }
    submitted(common, &view)
}

pub(crate) fn replay(app: &App, common: &Common, args: &Replay) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.step.url)?;
    let view: StepView = client.post(&format!("/steps/{}/replay", args.step.id), &Value::Null)?;
    if args.wait {
        return wait(&client, common, view, None);
    }
    submitted(common, &view)
}

pub(crate) fn steps(app: &App, common: &Common, url: &AdminUrl) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, url)?;
    show(&client, common, "/steps", |out, steps: Vec<StepView>| tables::steps(out, &steps))
}

pub(crate) fn step(app: &App, common: &Common, args: &OneStep) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.url)?;
    show(&client, common, &format!("/steps/{}", args.id), |out, step: StepView| tables::step(out, &step))
}

pub(crate) fn workers(app: &App, common: &Common, url: &AdminUrl) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, url)?;
    show(&client, common, "/workers", |out, workers: Vec<WorkerView>| tables::workers(out, &workers))
}

pub(crate) fn audit(app: &App, common: &Common, args: &OneStep) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.url)?;
    show(&client, common, &format!("/steps/{}/audit", args.id), |out, audit: Audit| {
        writeln!(out, "{}", audit.to_string().trim_end())
    })
}

pub(crate) fn cancel(app: &App, common: &Common, args: &OneStep) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.url)?;
    let view: StepView = client.post(&format!("/steps/{}/cancel", args.id), &Value::Null)?;
    if common.json {
        output::json_line(&view)?;
    } else {
        output::to_stdout(|out| writeln!(out, "step {} {}", view.id, view.state))?;
    }
    Ok(COMPLETED)
}

pub(crate) fn drain(app: &App, common: &Common, args: &Drain) -> Result<u8, Failure> {
    let (_, client) = connect_as(app, common, &args.url, Role::Admin)?;
    let workers: Vec<WorkerView> =
        client.post(&format!("/workers/{}/drain", query_encode(&args.name)), &Value::Null)?;
    if common.json {
        output::json_line(&workers)?;
    } else {
        output::to_stdout(|out| tables::workers(out, &workers))?;
    }
    Ok(COMPLETED)
}

pub(crate) fn result(app: &App, common: &Common, args: &ResultArgs) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.step.url)?;
    let destination = Destination::parse(&with_json(&args.output, common))?;
    print_result(&client, args.step.id, &destination, false)?;
    Ok(COMPLETED)
}

pub(crate) fn receipts(app: &App, common: &Common, args: &Receipts) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.step.url)?;
    let mut seen: BTreeMap<String, (String, u32)> = BTreeMap::new();
    let mut print_news = || -> Result<(), Failure> {
        let heads = seen.is_empty() && !common.json;
        let mut rows = Vec::new();
        each_receipt(&client, args, |receipt| {
            let now = (receipt.station.clone(), receipt.attempts);
            if args.follow && seen.insert(receipt.id.to_string(), now.clone()) == Some(now) {
                return Ok(());
            }
            if common.json {
                return output::json_line(&receipt);
            }
            rows.push(tables::receipt_row(&receipt));
            Ok(())
        })?;
        match (heads, common.json) {
            (true, _) => output::to_stdout(|out| tables::write(out, &tables::RECEIPT_HEADS, &rows)),
            (false, false) => {
                output::to_stdout(|out| rows.iter().try_for_each(|row| writeln!(out, "{}", row.join("  ").trim_end())))
            }
            (false, true) => Ok(()),
        }
    };
    if !args.follow {
        print_news()?;
        return Ok(COMPLETED);
    }
    // A step that never started has no receipts to ask for.
    let view = client.wait(args.step.id, None, |view| if view.started_at.is_some() { print_news() } else { Ok(()) })?;
    Ok(of_state(view.state))
}

/// Hands over every receipt that the filter lets through, page by page.
fn each_receipt(
    client: &Client,
    args: &Receipts,
    mut take: impl FnMut(ReceiptView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let filter: String = [("node", &args.node), ("station", &args.station)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("&{name}={}", query_encode(value.as_deref()?))))
        .collect();
    let mut from = 0;
    loop {
        let path = format!("/steps/{}/receipts?from={from}&limit={RECEIPTS_PAGE}{filter}", args.step.id);
        let page: Vec<ReceiptView> = client.get(&path)?;
        let full = page.len() >= usize::try_from(RECEIPTS_PAGE).unwrap_or(usize::MAX);
        let next = page.last().map(|receipt| receipt.id.sequence.saturating_add(1));
        page.into_iter().try_for_each(&mut take)?;
        match next {
            Some(next) if full && next > from => from = next,
            _ => return Ok(()),
        }
    }
}

pub(crate) fn dead_letters(app: &App, common: &Common, args: &OneStep) -> Result<u8, Failure> {
    let (_, client) = connect(app, common, &args.url)?;
    let mut rows = Vec::new();
    let mut from = 0;
    loop {
        let path = format!("/steps/{}/dead-letters?from={from}&limit={RECEIPTS_PAGE}", args.id);
        let page: Vec<DeadLetterView> = client.get(&path)?;
        let Some(last) = page.last().map(|letter| letter.number) else { break };
        if common.json {
            page.iter().try_for_each(output::json_line)?;
        } else {
            rows.extend(page.iter().map(tables::dead_letter_row));
        }
        from = last.saturating_add(1);
    }
    if !common.json {
        output::to_stdout(|out| tables::write(out, &tables::DEAD_LETTER_HEADS, &rows))?;
    }
    Ok(COMPLETED)
}

fn show<T: serde::de::DeserializeOwned>(
    client: &Client,
    common: &Common,
    path: &str,
    write: impl FnOnce(&mut dyn io::Write, T) -> io::Result<()>,
) -> Result<u8, Failure> {
    if common.json {
        output::json_line(&client.get::<Value>(path)?)?;
    } else {
        let value = client.get(path)?;
        output::to_stdout(|out| write(out, value))?;
    }
    Ok(COMPLETED)
}

fn submitted(common: &Common, view: &StepView) -> Result<u8, Failure> {
    if common.json {
        output::json_line(view)?;
    } else {
        output::to_stdout(|out| writeln!(out, "step {}", view.id))?;
    }
    Ok(COMPLETED)
}

/// Waits for a step's end, prints what came of it, and gives its exit code.
fn wait(client: &Client, common: &Common, step: StepView, destination: Option<&Destination>) -> Result<u8, Failure> {
    let screen = Screen::new();
    let id = step.id.0;
    let view = client.wait(id, Some(step), |view| {
        if screen.is_terminal() {
            screen.show(view);
        }
        Ok(())
    });
    screen.clear();
    let view = view?;
    if view.state != StepState::Completed {
        let failures = client.get::<Vec<FailureView>>(&format!("/steps/{id}/failures"));
        explain_ending(&view, failures.as_deref().unwrap_or_default());
    }
    if view.started_at.is_none() {
        // Cancelled while it waited: there is nothing to account for.
        if common.json {
            output::json_line(&serde_json::json!({ "step": view }))?;
        }
        return Ok(of_state(view.state));
    }
    let has_result = matches!(view.state, StepState::Completed | StepState::CompletedWithSkips);
    let audit = || client.get::<Audit>(&format!("/steps/{id}/audit"));
    let audit = match if has_result { client.patiently(true, audit) } else { audit().map_err(Failure::from) } {
        Ok(audit) => audit,
        Err(failure) if has_result => return Err(failure),
        // The failure of a step may end its master.
        Err(failure) => {
            output::note(&failure.to_string());
            return Ok(of_state(view.state));
        }
    };
    if common.json {
        if let Some(Destination::File(..)) = destination
            && has_result
        {
            print_result(client, id, destination.unwrap_or(&Destination::Report), true)?;
        }
        output::json_line(&serde_json::json!({ "step": view, "audit": audit }))?;
        return Ok(of_state(view.state));
    }
    if let Some(destination) = destination.filter(|_| has_result) {
        print_result(client, id, destination, true)?;
    }
    match destination {
        Some(Destination::Rows(_)) => output::note(&audit.line()),
        Some(Destination::Report | Destination::File(..)) | None => {
            output::to_stdout(|out| writeln!(out, "{}", audit.line()))?;
        }
    }
    Ok(of_state(view.state))
}

/// Streams a result to where it goes; a partial one is said to be one. A master that was `reached` before may be away meanwhile.
fn print_result(client: &Client, id: u64, destination: &Destination, reached: bool) -> Result<(), Failure> {
    let format = match destination {
        Destination::Report => "report".to_owned(),
        Destination::Rows(format) | Destination::File(_, Some(format)) => format.to_string(),
        Destination::File(_, None) => "output".to_owned(),
    };
    let path = format!("/steps/{id}/result?format={format}");
    let mut answer = client.patiently(reached, || client.open(&path))?;
    if answer.headers().get(PARTIAL_HEADER).is_some_and(|value| value.as_bytes() == b"true") {
        let share = answer.headers().get(elastic_flow_admin::RECEIPTS_HEADER).and_then(|value| value.to_str().ok());
        output::note(&format!("partial: {} chunks so far", share.unwrap_or("some")));
    }
    let mut body = answer.body_mut().as_reader();
    let mut copy = |out: &mut dyn io::Write| io::copy(&mut body, out).map(drop);
    match destination {
        Destination::File(path, _) => output::write_file(path, |out| copy(out)),
        Destination::Report | Destination::Rows(_) => output::to_stdout(|out| copy(out)),
    }
}

/// `--json` asks for rows as JSON where no format is named.
fn with_json(args: &OutputArgs, common: &Common) -> OutputArgs {
    let mut args = args.clone();
    if common.json && args.format.is_none() && args.output.is_none() {
        args.format = Some("json".to_owned());
    }
    args
}

fn query_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_cannot_hold_is_encoded() {
        assert_eq!(query_encode("set aside&x=é"), "set%20aside%26x%3D%C3%A9");
    }
}
