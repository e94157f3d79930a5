//! Answers of a master as tables for people.

use std::io::{self, Write};
use std::time::Duration;

use elastic_flow_orchestrator::api::{CommandView, DeadLetterView, FilesView, ReceiptView, StepView, WorkerView};

use crate::output::{tame, time};
use crate::progress::size;

pub(crate) use crate::output::table as write;

pub(crate) fn steps(out: &mut dyn Write, steps: &[StepView]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            let chunks = step
                .progress
                .as_ref()
                .map_or_else(|| "-".to_owned(), |progress| format!("{}/{}", progress.chunks_done, progress.chunks));
            let note = step.reason.as_deref().or(step.waiting_for.as_deref()).unwrap_or_default();
            vec![
                step.id.to_string(),
                step.state.to_string(),
                step.program.clone(),
                chunks,
                time(step.submitted_at),
                commands(&step.commands, step.submitted_at),
                step.label.clone().unwrap_or_else(|| "-".to_owned()),
                note.to_owned(),
            ]
        })
        .collect();
    write(out, &["STEP", "STATE", "PROGRAM", "CHUNKS", "SUBMITTED", "COMMANDS", "LABEL", "NOTE"], &rows)
}

pub(crate) fn step(out: &mut dyn Write, step: &StepView) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<11} {}", tame(value));
    line("step", &step.id.to_string())?;
    line("state", &step.state.to_string())?;
    line("program", &step.program)?;
    for (key, value) in &step.params {
        line("param", &format!("{key}={value}"))?;
    }
    for input in &step.inputs {
        line("input", input)?;
    }
    line("on failure", &step.on_failure.to_string())?;
    for command in &step.commands {
        line("command", &format!("{} at {}", command_text(command), time(command.at)))?;
    }
    let optional = [
        ("label", step.label.clone()),
        ("key", step.key.clone()),
        ("replay of", step.replay_of.map(|id| id.to_string())),
        ("submitted", Some(time(step.submitted_at))),
        ("started", step.started_at.map(time)),
        ("ended", step.ended_at.map(time)),
        ("error kind", step.error_kind.map(|kind| kind.to_string())),
        ("reason", step.reason.clone()),
        ("waits for", step.waiting_for.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            line(name, &value)?;
        }
    }
    for files in &step.files {
        line("files", &files_line(files))?;
    }
    if let Some(progress) = &step.progress {
        let all = if progress.source_exhausted { "" } else { " so far" };
        line("chunks", &format!("{} of {}{all}", progress.chunks_done, progress.chunks))?;
        line("open", &progress.chunks_open.to_string())?;
        line("set aside", &progress.chunks_set_aside.to_string())?;
        line("skipped", &progress.items_skipped.to_string())?;
        line("sent again", &progress.retried.to_string())?;
        line("bytes", &size(progress.bytes_done))?;
        line("items", &progress.entries_done.to_string())?;
        line("ran for", &duration(progress.elapsed_nanos))?;
    }
    Ok(())
}

/// `submit by admin from 127.0.0.1, drain of yam2 by worker from 10.0.0.2 at 2026-11-24T18:20:00Z`: drains come last.
/// Whatever began the step was told when it was submitted, which stands beside it.
fn commands(commands: &[CommandView], submitted_at: u64) -> String {
    let command_text = |command: &CommandView| match command.at == submitted_at {
        true => command_text(command),
        false => format!("{} at {}", command_text(command), time(command.at)),
    };
    let (drains, others): (Vec<_>, Vec<_>) = commands.iter().partition(|it| it.node.is_some());
    let texts: Vec<String> = others.into_iter().chain(drains).map(command_text).collect();
    texts.join(", ")
}

fn command_text(command: &CommandView) -> String {
    let CommandView { what, node, role, address, at: _ } = command;
    let of = node.as_ref().map(|node| format!(" of {node}")).unwrap_or_default();
    let from = address.as_ref().map(|address| format!(" from {address}")).unwrap_or_default();
    format!("{what}{of} by {role}{from}")
}

/// Which of a step's files a worker has.
pub(crate) fn files_line(files: &FilesView) -> String {
    let FilesView { worker, here, absent, message } = files;
    match (here, absent) {
        (here, 0) => format!("{worker} has all {here}"),
        (0, absent) => format!("{worker} has none of {absent}: {message}"),
        (here, absent) => format!("{worker} has {here}, and not {absent} more: {message}"),
    }
}

const WORKER_HEADS: [&str; 9] =
    ["NAME", "STATE", "ADDRESS", "BUSY", "OPEN CHUNKS", "MEMORY", "HEARD", "READ IN PLACE", "SHIPPED"];

pub(crate) fn workers(out: &mut dyn Write, workers: &[WorkerView]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = workers
        .iter()
        .map(|worker| {
            let dash = || "-".to_owned();
            if !worker.joined {
                let address = if worker.address.is_empty() { dash() } else { worker.address.clone() };
                let name = worker.name.clone();
                let mut row = vec![name, "not joined".to_owned(), address];
                row.resize_with(WORKER_HEADS.len(), dash);
                return row;
            }
            let state = match (worker.draining, worker.same_build, worker.living) {
                // Who drained it, and when; nobody did where it leaves of its own accord.
                (true, ..) => worker.drained.as_ref().map_or_else(
                    || "draining".to_owned(),
                    |drain| {
                        let from = drain.address.as_ref().map(|it| format!(" from {it}")).unwrap_or_default();
                        format!("draining by {}{from} at {}", drain.role, time(drain.at))
                    },
                ),
                (false, false, _) => "other build".to_owned(),
                (false, true, false) => "not living".to_owned(),
                (false, true, true) => "ready".to_owned(),
            };
            vec![
                worker.name.clone(),
                state,
                worker.address.clone(),
                format!("{}/{}", worker.busy, worker.slots),
                worker.open_chunks.to_string(),
                size(worker.resident_bytes),
                duration(worker.heartbeat_age_nanos),
                size(worker.read_in_place_bytes),
                size(worker.read_shipped_bytes),
            ]
        })
        .collect();
    write(out, &WORKER_HEADS, &rows)
}

pub(crate) const RECEIPT_HEADS: [&str; 8] =
    ["RECEIPT", "STATION", "NODE", "BYTES", "ENTRIES", "ATTEMPTS", "COVERS", "ERROR"];

pub(crate) fn receipt_row(receipt: &ReceiptView) -> Vec<String> {
    let dash = || "-".to_owned();
    let covers = match receipt.covers.as_slice() {
        [] => dash(),
        [(name, offset, length)] => format!("{name}@{offset}+{length}"),
        [(name, ..), rest @ ..] => format!("{name} and {} more", rest.len()),
    };
    vec![
        receipt.id.to_string(),
        receipt.station.clone(),
        receipt.node.clone().unwrap_or_else(dash),
        receipt.bytes.to_string(),
        receipt.entries.map_or_else(dash, |entries| entries.to_string()),
        receipt.attempts.to_string(),
        covers,
        receipt.error.clone().unwrap_or_default(),
    ]
}

pub(crate) const DEAD_LETTER_HEADS: [&str; 6] = ["RECEIPT", "ITEM", "KIND", "NODE", "ERROR", "TEXT"];

pub(crate) fn dead_letter_row(letter: &DeadLetterView) -> Vec<String> {
    vec![
        letter.receipt.to_string(),
        letter.item.map_or_else(|| "-".to_owned(), |item| item.to_string()),
        letter.kind.name().to_owned(),
        letter.node.clone(),
        letter.error.clone(),
        letter.text.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// A span for people, to the millisecond.
fn duration(nanos: u64) -> String {
    humantime::format_duration(Duration::from_millis(nanos / 1_000_000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use elastic_flow_queue::{CallerRole, CommandKind};

    #[test]
    fn commands_name_who_gave_them_and_from_where() {
        let command = |what, node: Option<&str>, role, address: Option<&str>| {
            let (node, address) = (node.map(str::to_owned), address.map(str::to_owned));
            CommandView {
                what,
                node,
                role,
                address,
                at: if what == CommandKind::Submit { 7 } else { 1_000_000_000_000_000_000 },
            }
        };
        let at = "at 2001-09-09T01:46:40Z";
        let submit = command(CommandKind::Submit, None, CallerRole::Submit, Some("10.0.0.7"));
        let cancel = command(CommandKind::Cancel, None, CallerRole::Local, None);
        let drain = command(CommandKind::Drain, Some("yam2"), CallerRole::Admin, Some("::1"));
        let one = commands(&[submit.clone(), drain.clone(), cancel], 7);
        assert_eq!(
            one,
            format!("submit by submit from 10.0.0.7, cancel by local {at}, drain of yam2 by admin from ::1 {at}")
        );
        let drained = format!("drain of yam2 by admin from ::1 {at}");
        let two = commands(&[submit, drain.clone(), drain], 7);
        assert_eq!(two, format!("submit by submit from 10.0.0.7, {drained}, {drained}"));
    }

    #[test]
    fn times_are_utc_and_spans_are_short() {
        assert_eq!(time(1_000_000_000_000_000_000), "2001-09-09T01:46:40Z");
        assert_eq!(duration(1_500_400_000), "1s 500ms");
    }
}
