//! `store`: looks at the store of a stopped master, and tidies it.

use std::io::{self, Write};

use elastic_flow_clock::{Clock, SystemClock};
use elastic_flow_orchestrator::offline::{
    Bad, Compaction, Findings, Garbage, Journal, OfflineError, Usage, check, garbage, usage,
};
use elastic_flow_store::{Store, StoreError};
use elastic_flow_wire::with_causes;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::{Common, StoreArgs, StoreCommand};
use crate::context::{Context, Flags};
use crate::exit_code::{COMPLETED, FAILED, Failure};
use crate::output;
use crate::progress::size;
use crate::stores::{Purpose, Stopped, StoppedError, open_stopped};

pub(crate) fn store(app: &App, common: &Common, command: &StoreCommand) -> Result<u8, Failure> {
    match command {
        StoreCommand::Du(args) => du(app, common, args),
        StoreCommand::Check(args) => check_store(app, common, args),
        StoreCommand::Gc { store, dry_run } => gc(app, common, store, *dry_run),
    }
}

/// The configuration, and the URL that it, a flag, or the default gives.
fn settle<'a>(app: &'a App, common: &'a Common, args: &StoreArgs) -> Result<(Context<'a>, String), Failure> {
    let flags = Flags::default().with("--store", "store.url", args.store.as_ref());
    let context = Context::new(app, common, flags)?;
    let url = match &context.config.store.url {
        Some(url) => url.clone(),
        None => context.default_store()?,
    };
    Ok((context, url))
}

fn du(app: &App, common: &Common, args: &StoreArgs) -> Result<u8, Failure> {
    let (_, url) = settle(app, common, args)?;
    let Stopped { store, .. } = open_stopped(app, &url, Purpose::Look).map_err(refused)?;
    let journal = Journal::read(store.as_ref()).map_err(unread)?;
    let usage = usage(store.as_ref(), &journal).map_err(failed)?;
    if common.json {
        output::json_line(&json!({
            "store": url,
            "steps": usage.steps,
            "shared_journal_bytes": usage.shared_journal_bytes,
            "total_bytes": usage.total_bytes(),
        }))?;
    } else {
        output::to_stdout(|out| write_usage(out, &usage))?;
    }
    Ok(COMPLETED)
}

fn write_usage(out: &mut dyn Write, usage: &Usage) -> io::Result<()> {
    let dash = || "-".to_owned();
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(usage.steps.len() + 2);
    let (mut journal, mut payloads, mut results) = (usage.shared_journal_bytes, 0_u64, 0_u64);
    for step in &usage.steps {
        journal = journal.saturating_add(step.journal_bytes);
        payloads = payloads.saturating_add(step.payload_bytes);
        results = results.saturating_add(step.result_bytes);
        rows.push(vec![
            step.step.to_string(),
            step.state.map_or_else(|| "unknown".to_owned(), |state| state.to_string()),
            size(step.journal_bytes),
            size(step.payload_bytes),
            size(step.result_bytes),
            size(step.total_bytes()),
        ]);
    }
    let shared = size(usage.shared_journal_bytes);
    rows.push(vec!["no step".to_owned(), dash(), shared.clone(), dash(), dash(), shared]);
    rows.push(vec!["all".to_owned(), dash(), size(journal), size(payloads), size(results), size(usage.total_bytes())]);
    output::table(out, &["STEP", "STATE", "JOURNAL", "PAYLOADS", "RESULTS", "TOTAL"], &rows)
}

fn check_store(app: &App, common: &Common, args: &StoreArgs) -> Result<u8, Failure> {
    let (_, url) = settle(app, common, args)?;
    let (findings, unfinished) = match open_stopped(app, &url, Purpose::Look) {
        Ok(Stopped { store, unfinished }) => (check(store.as_ref()).map_err(failed)?, unfinished),
        // What makes a master refuse to start is a finding, the first and the last: nothing behind it can be trusted.
        Err(StoppedError::Corrupt(error)) => (only(Bad::found(&error, "the store")), Vec::new()),
        Err(StoppedError::Refused(failure)) => return Err(failure),
    };
    let is_whole = findings.bad.is_empty();
    if common.json {
        output::json_line(&json!({ "store": url, "whole": is_whole, "findings": findings, "unfinished": unfinished }))?;
    } else {
        output::to_stdout(|out| write_findings(out, &findings, &unfinished))?;
    }
    Ok(if is_whole { COMPLETED } else { FAILED })
}

fn only(bad: Bad) -> Findings {
    Findings { journal_records: 0, journal_bytes: 0, payloads: 0, payload_bytes: 0, bad: vec![bad] }
}

fn write_findings(out: &mut dyn Write, findings: &Findings, unfinished: &[String]) -> io::Result<()> {
    let Findings { journal_records, journal_bytes, payloads, payload_bytes, bad } = findings;
    writeln!(out, "journal   {journal_records} records read, {}", size(*journal_bytes))?;
    writeln!(out, "payloads  {payloads} read, {}", size(*payload_bytes))?;
    for note in unfinished {
        writeln!(out, "note      {note}: the next start of a master removes it")?;
    }
    for Bad { place, offset, detail } in bad {
        let at = offset.map_or_else(String::new, |offset| format!(" at byte {offset}"));
        writeln!(out, "bad       {place}{at}: {detail}")?;
    }
    match bad.len() {
        0 => writeln!(out, "everything is as it was written"),
        1 => writeln!(out, "1 thing is not as it was written"),
        count => writeln!(out, "{count} things are not as they were written"),
    }
}

fn gc(app: &App, common: &Common, args: &StoreArgs, dry_run: bool) -> Result<u8, Failure> {
    let (context, url) = settle(app, common, args)?;
    let purpose = if dry_run { Purpose::Look } else { Purpose::Own };
    let Stopped { store, unfinished } = open_stopped(app, &url, purpose).map_err(refused)?;
    let journal = Journal::read(store.as_ref()).map_err(unread)?;
    let wall = SystemClock::new().wall().unix_nanos();
    let garbage = garbage(store.as_ref(), &journal, context.config.store.keep_results, wall).map_err(failed)?;
    let compaction = Compaction::of(journal);
    let report = report(&garbage, compaction.as_ref(), &unfinished);
    if !dry_run {
        remove(store.as_ref(), &garbage, compaction).map_err(failed)?;
    }
    if common.json {
        output::json_line(&json!({ "store": url, "dry_run": dry_run, "removed": report }))?;
    } else {
        output::to_stdout(|out| write_report(out, &report, dry_run))?;
    }
    Ok(COMPLETED)
}

/// Payloads first: a step that the journal has forgotten must not leave any.
fn remove(store: &dyn Store, garbage: &[Garbage], compaction: Option<Compaction>) -> Result<(), StoreError> {
    garbage.iter().try_for_each(|it| it.remove(store))?;
    compaction.map_or(Ok(()), |it| it.write(store))
}

/// What goes, an object each.
fn report(garbage: &[Garbage], compaction: Option<&Compaction>, unfinished: &[String]) -> Vec<Value> {
    let payloads = garbage.iter().map(|it| {
        let names: Vec<&str> = it.payloads.iter().map(|it| it.name.as_str()).collect();
        let what = format!("{} of step {}", count(it.payloads.len() as u64, "payload"), it.step);
        json!({
            "what": what, "why": it.why.to_string(), "bytes": it.bytes(), "step": it.step, "reason": it.why, "payloads": names,
        })
    });
    let records = compaction.map(|it| {
        let gone = it.records_before.saturating_sub(it.records_after());
        let bytes = it.bytes_before.saturating_sub(it.bytes_after());
        json!({ "what": count(gone, "journal record"), "why": "their steps have ended", "bytes": bytes, "records": gone })
    });
    let crash = unfinished.iter().map(|it| json!({ "what": it, "why": "a crash left it" }));
    payloads.chain(records).chain(crash).collect()
}

fn write_report(out: &mut dyn Write, report: &[Value], dry_run: bool) -> io::Result<()> {
    if report.is_empty() {
        return writeln!(out, "nothing to remove");
    }
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let bytes = |entry: &Value| entry.get("bytes").and_then(Value::as_u64);
    let row = |entry: &Value| {
        vec![text(entry, "what"), bytes(entry).map_or_else(|| "-".to_owned(), size), text(entry, "why")]
    };
    let heads = [if dry_run { "WOULD BE REMOVED" } else { "REMOVED" }, "BYTES", "BECAUSE"];
    output::table(out, &heads, &report.iter().map(row).collect::<Vec<_>>())?;
    writeln!(out, "{} in all", size(report.iter().filter_map(bytes).sum()))
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn failed(error: StoreError) -> Failure {
    Failure::failed(with_causes(&error))
}

fn refused(error: StoppedError) -> Failure {
    match error {
        StoppedError::Refused(failure) => failure,
        StoppedError::Corrupt(error) => Failure::failed(with_causes(&error)),
    }
}

fn unread(error: OfflineError) -> Failure {
    Failure::failed(format!("the journal cannot be read: {}", with_causes(&error)))
}
