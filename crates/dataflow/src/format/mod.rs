//! [`Format`]: rows of a result as text, streamed, for any type that serde knows.

mod cells;
mod shape;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use cells::{Dialect, write_cells};
use shape::{Shape, shape_of, visit_rows};

/// How rows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// A JSON value a line; entries of maps as `{"key":..,"value":..}`, so that any type can be a key.
    #[default]
    Jsonl,
    /// One JSON array of what the lines of `Jsonl` are.
    Json,
    /// A line a row, cells parted by tabs; in them `\`, tab, line feed and carriage return as `\\`, `\t`, `\n`, `\r`.
    Tsv,
    /// A line a row, cells parted by commas and quoted where needed (RFC 4180, with line feeds).
    Csv,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jsonl, Self::Json, Self::Tsv, Self::Csv];

    /// Its name, as it is given on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Json => "json",
            Self::Tsv => "tsv",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a format: give jsonl, json, tsv or csv")]
pub struct UnknownFormat {
    /// What was given.
    pub name: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

/// An entry of a map as a row.
#[derive(Serialize)]
struct Entry<'a, K: ?Sized, V: ?Sized> {
    key: &'a K,
    value: &'a V,
}

/// Writes rows one at a time.
pub(crate) struct RowWriter<'a> {
    out: &'a mut dyn Write,
    format: Format,
    rows: u64,
    line: Vec<u8>,
}

impl<'a> RowWriter<'a> {
    pub(crate) fn new(format: Format, out: &'a mut dyn Write) -> Self {
        Self { out, format, rows: 0, line: Vec::new() }
    }

    /// Writes a row.
    pub(crate) fn row<T: Serialize + ?Sized>(&mut self, row: &T) -> io::Result<()> {
        self.line.clear();
        match self.format {
            Format::Jsonl => serde_json::to_writer(&mut self.line, row)?,
            Format::Json => {
                self.line.extend_from_slice(if self.rows == 0 { b"[" } else { b",\n" });
                serde_json::to_writer(&mut self.line, row)?;
            }
            Format::Tsv => write_cells(row, Dialect::Tabs, &mut self.line).map_err(io::Error::other)?,
            Format::Csv => write_cells(row, Dialect::Commas, &mut self.line).map_err(io::Error::other)?,
        }
        if self.format != Format::Json {
            self.line.push(b'\n');
        }
        self.rows += 1;
        self.out.write_all(&self.line)
    }

    /// Writes an entry of a map as a row.
    pub(crate) fn entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(&mut self, key: &K, value: &V) -> io::Result<()> {
        self.row(&Entry { key, value })
    }

    /// Writes what stands behind the last row.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.format {
            Format::Json if self.rows == 0 => self.out.write_all(b"[]\n"),
            Format::Json => self.out.write_all(b"]\n"),
            Format::Jsonl | Format::Tsv | Format::Csv => Ok(()),
        }
    }
}

/// Writes the rows of a value: the elements of a sequence, the entries of a map, else the value itself.
///
/// # Errors
/// `out` fails, or the value has no form in `format`.
pub fn write_rows<O: Serialize + ?Sized>(value: &O, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = RowWriter::new(format, out);
    match shape_of(value) {
        Shape::One => writer.row(value)?,
        Shape::Sequence(_) | Shape::Map(_) => visit_rows(value, &mut writer)?,
    }
    writer.finish()
}

/// Writes a value as one row, a collection too.
pub(crate) fn write_row<T: Serialize>(value: &T, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = RowWriter::new(format, out);
    writer.row(value)?;
    writer.finish()
}

/// Writes pairs as the entries of a map.
pub(crate) fn write_entries<K: Serialize, V: Serialize>(
    entries: &[(K, V)],
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut writer = RowWriter::new(format, out);
    for (key, value) in entries {
        writer.entry(key, value)?;
    }
    writer.finish()
}

/// The number of rows that [`write_rows`] writes.
pub(crate) fn count_rows<O: Serialize>(value: &O) -> u64 {
    match shape_of(value) {
        Shape::One => 1,
        Shape::Sequence(Some(rows)) | Shape::Map(Some(rows)) => rows as u64,
        Shape::Sequence(None) | Shape::Map(None) => {
            let mut sink = io::sink();
            let mut counter = RowWriter::new(Format::Jsonl, &mut sink);
            // A value that cannot be written has the rows up to there.
            let _ended = visit_rows(value, &mut counter);
            counter.rows
        }
    }
}
