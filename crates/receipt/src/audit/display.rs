//! An audit for people: a table, and a line.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::{
    Audit, Column, Coverage, CoverageFault, CoverageFaultKind, Gap, Listing, Mismatch, NamedReceipt, Replayed,
};
use crate::id::{NodeId, StepId};
use crate::record::{Conflict, Tally};

/// Lines that each list prints; the rest is counted. JSON has more.
const LINES_MAX: usize = 20;

impl Audit {
    /// The audit in one line.
    ///
    /// `audit: 64 chunks conceived = 64 aggregated + 0 set aside + 0 abandoned; 67,108,864 of 67,108,864 bytes read;
    /// 3 retried, 1 duplicate dropped: balanced`
    ///
    /// Of a replay it says as well how much was read `together with step 3`, or that coverage is not proven.
    #[must_use]
    pub fn line(&self) -> String {
        let rows = &self.rows;
        let mut line = format!(
            "audit: {} conceived = {} aggregated + {} set aside + {} abandoned",
            counted(rows.conceived.receipts, "chunk"),
            Grouped(rows.aggregated.receipts),
            Grouped(rows.set_aside.receipts),
            Grouped(rows.abandoned.receipts)
        );
        for (row, name) in [(rows.consumed, "consumed"), (rows.superseded, "superseded"), (rows.open, "open")] {
            if row.receipts > 0 {
                line += &format!(" + {} {name}", Grouped(row.receipts));
            }
        }
        line += &format!("; {} of {} bytes read", Grouped(rows.aggregated.bytes), Grouped(rows.conceived.bytes));
        let events = [
            (rows.retried, "retried"),
            (rows.failed, "failed"),
            (rows.duplicate_dropped, "duplicate dropped"),
            (rows.stale_dropped, "stale dropped"),
        ];
        if rows.skipped.entries > 0 {
            line += &format!("; {} skipped", counted(rows.skipped.entries, "item"));
        }
        let events = events.iter().filter(|(row, _)| row.receipts > 0);
        let events: Vec<String> = events.map(|(row, name)| format!("{} {name}", Grouped(row.receipts))).collect();
        if !events.is_empty() {
            line += &format!("; {}", events.join(", "));
        }
        if let Some(replayed) = &self.replayed {
            line += &format!("; {}", self.together(replayed));
        }
        if !self.gaps.is_empty() {
            let gaps: Vec<String> = self.gaps.iter().map(Gap::to_string).collect();
            line += &format!("; missing: {}", gaps.join(", "));
        }
        if let Some(note) = self.notes.first() {
            line += &format!("; {note}");
            if let Some(more) = self.notes.len().checked_sub(1).filter(|more| *more > 0) {
                line += &format!(", and {} more", counted(more as u64, "note"));
            }
        }
        line + ": " + &self.verdict()
    }

    /// What a replay and the steps before it come to.
    fn together(&self, replayed: &Replayed) -> String {
        if let Some(step) = replayed.without_account {
            return format!("coverage not proven without the account of step {step}");
        }
        let read = replayed.aggregated.bytes.saturating_add(self.rows.aggregated.bytes);
        let bytes = replayed.bytes.saturating_add(self.rows.conceived.bytes);
        let mut text =
            format!("together with {}: {} of {} bytes read", named(&replayed.steps), Grouped(read), Grouped(bytes));
        let skipped = replayed.skipped.saturating_add(self.rows.skipped.entries);
        if skipped > 0 {
            text += &format!(", {} skipped", counted(skipped, "item"));
        }
        text
    }

    /// `balanced`, or what keeps it from that.
    fn verdict(&self) -> String {
        if self.balanced() {
            return "balanced".to_owned();
        }
        let columns = [self.balance.receipts, self.balance.entries, self.balance.bytes];
        let columns = columns.iter().zip(["receipts", "entries", "bytes"]);
        let mut why: Vec<String> = columns
            .filter(|(column, _)| !column.balanced())
            .map(|(column, name)| format!("{name} {}", difference(*column)))
            .collect();
        let (mismatches, conflicts) = self.replayed.as_ref().map_or((0, 0), |it| (it.mismatches, it.conflicts));
        for (count, one) in [
            (self.missing.total.receipts, "receipt without an end"),
            (self.mismatches_total, "read other than conceived"),
            (self.conflicts_total, "second end refused"),
            (mismatches, "read other than conceived in what is replayed"),
            (conflicts, "second end refused in what is replayed"),
            (self.coverage.faults_total, "fault in the coverage"),
        ] {
            if count > 0 {
                why.push(format!("{} {one}", Grouped(count)));
            }
        }
        format!("NOT BALANCED ({})", why.join(", "))
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Names(&self.nodes);
        write!(f, "audit of step {}", self.step)?;
        if let Some(replayed) = self.replay_of {
            write!(f, ", which replays step {replayed}")?;
        }
        writeln!(f, ": {}", self.verdict())?;
        self.fmt_program(f)?;
        self.fmt_rows(f)?;
        self.fmt_coverage(f)?;
        list(f, "read other than conceived", &self.mismatches, self.mismatches_total, |it, f| {
            fmt_mismatch(it, names, f)
        })?;
        list(f, "second final stations refused", &self.conflicts, self.conflicts_total, |it, f| {
            fmt_conflict(it, names, f)
        })?;
        fmt_listing("without a final station", &self.missing, names, f)?;
        fmt_listing("set aside or abandoned", &self.stopped, names, f)?;
        self.gaps.iter().try_for_each(|gap| writeln!(f, "missing: {gap}"))?;
        self.reads.iter().try_for_each(|it| {
            let (place, shipped) = (Grouped(it.in_place_bytes), Grouped(it.shipped_bytes));
            writeln!(f, "{} read {place} bytes in place, and {shipped} that were shipped to it", it.worker)
        })?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known {
            None => write!(f, "{}, all of it", self.what),
            Some(known) => {
                let chunks = counted(known.receipts, "chunk");
                write!(f, "{chunks} of {}, {} bytes", self.server, Grouped(known.bytes))
            }
        }
    }
}

impl Audit {
    /// What ran, a line each; nothing where it is not known.
    fn fmt_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.program.is_empty() {
            return Ok(());
        }
        writeln!(f, "program {}", self.program)?;
        // A value may be any text: what could upset a terminal or break the line is escaped.
        self.params.iter().try_for_each(|(name, value)| {
            write!(f, "param {name}=")?;
            value.chars().try_for_each(|it| {
                if it.is_control() { write!(f, "{}", it.escape_default()) } else { f.write_char(it) }
            })?;
            writeln!(f)
        })
    }

    fn fmt_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.rows;
        writeln!(f, "{:<22}{:>16}{:>22}{:>24}", "", "receipts", "entries", "bytes")?;
        // Rows that only some steps have are left out where there is nothing in them.
        for (name, row, always) in [
            ("conceived", rows.conceived, true),
            ("distributed", rows.distributed, true),
            ("sent", rows.sent, true),
            ("received", rows.received, true),
            ("processed", rows.processed, true),
            ("returned", rows.returned, true),
            ("aggregated", rows.aggregated, true),
            ("with skipped items", rows.skipped, false),
            ("consumed", rows.consumed, false),
            ("superseded", rows.superseded, false),
            ("set aside", rows.set_aside, true),
            ("abandoned", rows.abandoned, true),
            ("open", rows.open, true),
            ("retried", rows.retried, true),
            ("dropped as duplicate", rows.duplicate_dropped, true),
            ("dropped as stale", rows.stale_dropped, true),
            ("failed", rows.failed, true),
        ] {
            if always || row != Tally::default() {
                let Tally { receipts, entries, bytes } = row;
                writeln!(f, "{name:<22}{:>16}{:>22}{:>24}", Grouped(receipts), Grouped(entries), Grouped(bytes))?;
            }
        }
        let [receipts, entries, bytes] =
            [self.balance.receipts, self.balance.entries, self.balance.bytes].map(difference);
        writeln!(f, "{:<22}{receipts:>16}{entries:>22}{bytes:>24}", "balance")?;
        if self.entries_unknown > 0 {
            writeln!(f, "entries of {} are not known yet", counted(self.entries_unknown, "receipt"))?;
        }
        Ok(())
    }

    fn fmt_coverage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Coverage { parts, parts_open_ended, at_submission, covered, covered_before, bytes_read, .. } =
            self.coverage;
        if let Some(replayed) = &self.replayed {
            let Tally { receipts, entries, bytes } = replayed.aggregated;
            let (steps, receipts) = (named(&replayed.steps), counted(receipts, "receipt"));
            writeln!(f, "aggregated by {steps}: {receipts}, {} entries, {} bytes", Grouped(entries), Grouped(bytes))?;
            writeln!(f, "{}", self.together(replayed))?;
        }
        if !self.coverage.proven {
            return Ok(());
        }
        write!(f, "coverage: {}, {} at submission", counted(parts, "part"), Grouped(at_submission))?;
        if parts_open_ended > 0 {
            write!(f, " and {} of unknown length", counted(parts_open_ended, "part"))?;
        }
        write!(f, ", {} covered", Grouped(covered))?;
        if let Some(replayed) = &self.replayed {
            write!(f, " ({} of it by {})", Grouped(covered_before), named(&replayed.steps))?;
        }
        writeln!(f, ", {} bytes read", Grouped(bytes_read))?;
        list(f, "not covered once", &self.coverage.faults, self.coverage.faults_total, fmt_fault)
    }
}

fn fmt_fault(fault: &CoverageFault, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let CoverageFault { kind, input, part, name, offset, length, receipts } = fault;
    let kind = match kind {
        CoverageFaultKind::Gap => "gap",
        CoverageFaultKind::Overlap => "overlap",
        CoverageFaultKind::BeyondEnd => "beyond the end at submission",
        CoverageFaultKind::UnknownPart => "unknown part",
    };
    write!(f, "{kind}: ")?;
    match input {
        Some(input) => write!(f, "{name:?} (input {input}, part {part})")?,
        None => write!(f, "part {part}")?,
    }
    write!(f, " from {} to {}", Grouped(*offset), Grouped(offset.saturating_add(*length)))?;
    receipts.iter().enumerate().try_for_each(|(index, receipt)| {
        let before = if index == 0 { ", at" } else { " and" };
        write!(f, "{before} {receipt}")
    })
}

fn fmt_mismatch(mismatch: &Mismatch, names: Names<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Mismatch { receipt, entries, bytes, read, node } = mismatch;
    write!(f, "{receipt}: {} bytes", Grouped(*bytes))?;
    if let Some(entries) = entries {
        write!(f, " and {} entries", Grouped(*entries))?;
    }
    match read {
        Some(read) => write!(f, ", read {} bytes and {} entries", Grouped(read.bytes), Grouped(read.entries))?,
        None => f.write_str(", nothing read")?,
    }
    names.fmt_on(*node, f)
}

fn fmt_conflict(conflict: &Conflict, names: Names<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Conflict { receipt, station, refused } = conflict;
    write!(f, "{receipt}: {station}, and {} again", refused.station)?;
    names.fmt_on(refused.node, f)
}

fn fmt_listing(title: &str, listing: &Listing, names: Names<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    list(f, title, &listing.receipts, listing.total.receipts, |it, f| fmt_named(it, names, f))?;
    list(f, &format!("{title}, by node"), &listing.by_node, listing.total.receipts, |sum, f| {
        let Tally { receipts, entries, bytes } = sum.sum;
        write!(f, "{}, {} entries, {} bytes", counted(receipts, "receipt"), Grouped(entries), Grouped(bytes))?;
        match sum.node {
            Some(_) => names.fmt_on(sum.node, f),
            None => f.write_str(" on no node yet"),
        }
    })
}

fn fmt_named(named: &NamedReceipt, names: Names<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}: ", named.receipt)?;
    match named.last {
        Some(last) => {
            write!(f, "{}", last.station)?;
            names.fmt_on(last.node, f)?;
            let millis = last.at.saturating_sub(named.conceived_at) / 1_000_000;
            write!(f, " {}.{:03} s after it was conceived", Grouped(millis / 1_000), millis % 1_000)?;
        }
        None => f.write_str("not distributed")?,
    }
    write!(f, ", {} bytes, {}", Grouped(named.bytes), counted(u64::from(named.attempts), "attempt"))?;
    for (count, name) in [(named.failures, "failed"), (named.losses, "lost with their node")] {
        if count > 0 {
            write!(f, ", {count} {name}")?;
        }
    }
    // A message of several lines would break the list.
    named.error.as_ref().map_or(Ok(()), |error| write!(f, ": {}", error.replace(['\n', '\r'], " ")))
}

/// The names of nodes, as far as they are known.
#[derive(Clone, Copy)]
struct Names<'a>(&'a BTreeMap<NodeId, String>);

impl Names<'_> {
    /// `on` a node, by its name where that is known; by its incarnation as well where several bore that name.
    fn fmt_on(self, node: Option<NodeId>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(node) = node else { return Ok(()) };
        match self.0.get(&node) {
            None => write!(f, " on {node}"),
            Some(name) if self.0.values().filter(|it| *it == name).count() > 1 => write!(f, " on {name} ({node})"),
            Some(name) => write!(f, " on {name}"),
        }
    }
}

/// `step 3`, or `steps 5, 4 and 3`.
fn named(steps: &[StepId]) -> String {
    match steps {
        [] => String::new(),
        [one] => format!("step {one}"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(StepId::to_string).collect();
            format!("steps {} and {last}", rest.join(", "))
        }
    }
}

/// The first few items under a title; nothing where there are none.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
    total: u64,
    item: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}: {}", Grouped(total))?;
    for shown in items.iter().take(LINES_MAX) {
        f.write_str("  ")?;
        item(shown, f)?;
        writeln!(f)?;
    }
    if items.len() > LINES_MAX { writeln!(f, "  ... and more, in the JSON form") } else { Ok(()) }
}

fn difference(column: Column) -> String {
    let Column { conceived, accounted } = column;
    match accounted.cmp(&conceived) {
        std::cmp::Ordering::Equal => "balanced".to_owned(),
        std::cmp::Ordering::Less => format!("-{}", Grouped(conceived - accounted)),
        std::cmp::Ordering::Greater => format!("+{}", Grouped(accounted - conceived)),
    }
}

fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", Grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with a comma between thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}
