//! An audit for people: a table, and a line.

use std::fmt;

use super::{Audit, Column, Coverage, CoverageFault, CoverageFaultKind, Listing, Mismatch, NamedReceipt};
use crate::id::NodeId;
use crate::record::{Conflict, Tally};

/// Lines that each list prints; the rest is counted. JSON has more.
const LINES_MAX: usize = 20;

impl Audit {
    /// The audit in one line.
    ///
    /// `audit: 64 chunks conceived = 64 aggregated + 0 set aside + 0 abandoned; 67,108,864 of 67,108,864 bytes read;
    /// 3 retried, 1 duplicate dropped: balanced`
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
        let events = events.iter().filter(|(row, _)| row.receipts > 0);
        let events: Vec<String> = events.map(|(row, name)| format!("{} {name}", Grouped(row.receipts))).collect();
        if !events.is_empty() {
            line += &format!("; {}", events.join(", "));
        }
        if let Some(note) = self.notes.first() {
            line += &format!("; {note}");
            if let Some(more) = self.notes.len().checked_sub(1).filter(|more| *more > 0) {
                line += &format!(", and {} more", counted(more as u64, "note"));
            }
        }
        line + ": " + &self.verdict()
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
        for (count, one) in [
            (self.missing.total.receipts, "receipt without an end"),
            (self.mismatches_total, "read other than conceived"),
            (self.conflicts_total, "second end refused"),
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
        writeln!(f, "audit of step {}: {}", self.step, self.verdict())?;
        self.fmt_rows(f)?;
        fmt_coverage(&self.coverage, f)?;
        list(f, "read other than conceived", &self.mismatches, self.mismatches_total, fmt_mismatch)?;
        list(f, "second final stations refused", &self.conflicts, self.conflicts_total, fmt_conflict)?;
        fmt_listing("without a final station", &self.missing, f)?;
        fmt_listing("set aside or abandoned", &self.stopped, f)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl Audit {
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
}

fn fmt_coverage(coverage: &Coverage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Coverage { parts, parts_open_ended, at_submission, covered, bytes_read, faults_total, faults } = coverage;
    write!(f, "coverage: {}, {} at submission", counted(*parts, "part"), Grouped(*at_submission))?;
    if *parts_open_ended > 0 {
        write!(f, " and {} of unknown length", counted(*parts_open_ended, "part"))?;
    }
    writeln!(f, ", {} covered, {} bytes read", Grouped(*covered), Grouped(*bytes_read))?;
    list(f, "not covered once", faults, *faults_total, fmt_fault)
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

fn fmt_mismatch(mismatch: &Mismatch, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Mismatch { receipt, entries, bytes, read, node } = mismatch;
    write!(f, "{receipt}: {} bytes", Grouped(*bytes))?;
    if let Some(entries) = entries {
        write!(f, " and {} entries", Grouped(*entries))?;
    }
    match read {
        Some(read) => write!(f, ", read {} bytes and {} entries", Grouped(read.bytes), Grouped(read.entries))?,
        None => f.write_str(", nothing read")?,
    }
    fmt_node(*node, f)
}

fn fmt_conflict(conflict: &Conflict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Conflict { receipt, station, refused } = conflict;
    write!(f, "{receipt}: {station}, and {} again", refused.station)?;
    fmt_node(refused.node, f)
}

fn fmt_listing(title: &str, listing: &Listing, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    list(f, title, &listing.receipts, listing.total.receipts, fmt_named)?;
    list(f, &format!("{title}, by node"), &listing.by_node, listing.total.receipts, |sum, f| {
        let Tally { receipts, entries, bytes } = sum.sum;
        write!(f, "{}, {} entries, {} bytes", counted(receipts, "receipt"), Grouped(entries), Grouped(bytes))?;
        match sum.node {
            Some(_) => fmt_node(sum.node, f),
            None => f.write_str(" on no node yet"),
        }
    })
}

fn fmt_named(named: &NamedReceipt, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}: ", named.receipt)?;
    match named.last {
        Some(last) => {
            write!(f, "{}", last.station)?;
            fmt_node(last.node, f)?;
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

fn fmt_node(node: Option<NodeId>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    node.map_or(Ok(()), |node| write!(f, " on {node}"))
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
