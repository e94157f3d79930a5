//! What goes to standard output, to standard error, and into files.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use elastic_flow_dataflow::format::Format;

use crate::args::OutputArgs;
use crate::exit_code::Failure;

/// Bytes that are written at once.
const BLOCK_BYTES: usize = 64 << 10;

/// Where a result goes, checked before anything starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The program's report, on standard output.
    Report,
    /// Rows, on standard output.
    Rows(Format),
    /// In a file: rows, or without a format what the program writes into files.
    File(PathBuf, Option<Format>),
}

impl Destination {
    /// Checks `--output` and `--format`.
    pub(crate) fn parse(args: &OutputArgs) -> Result<Self, Failure> {
        let named = match &args.format {
            Some(text) => Some(text.parse::<Format>().map_err(|error| Failure::usage(format!("--format: {error}")))?),
            None => None,
        };
        let Some(path) = &args.output else { return Ok(named.map_or(Self::Report, Self::Rows)) };
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(Failure::usage(format!(
                "--output {}: there is no folder {}",
                path.display(),
                folder.display()
            )));
        }
        if path.is_dir() {
            return Err(Failure::usage(format!("--output {}: it is a folder", path.display())));
        }
        let by_ending = || path.extension()?.to_str()?.parse().ok();
        Ok(Self::File(path.clone(), named.or_else(by_ending)))
    }
}

/// Writes a file whole or not at all: beside it first, then in its place.
///
/// # Errors
/// Names the file.
pub(crate) fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    // A device or a pipe cannot be replaced, and a link is followed.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return fill_file(file, fill).map(drop).map_err(failed);
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut draft = tempfile::Builder::new();
    draft.prefix(".elastic-flow-").permissions(Permissions::from_mode(0o666));
    let draft = draft.tempfile_in(folder_of(&target)).map_err(failed)?;
    let handle = draft.as_file().try_clone().map_err(failed)?;
    fill_file(handle, fill).map_err(failed)?;
    draft.persist(&target).map(drop).map_err(|error| failed(error.error))
}

fn fill_file(file: File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(BLOCK_BYTES, file);
    fill(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Writes to standard output. A reader that has gone away, as `head` does, ends it in peace.
///
/// # Errors
/// Standard output cannot be written, a full disk say.
pub(crate) fn to_stdout(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(BLOCK_BYTES, io::stdout().lock());
    match fill(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a value as a line of JSON.
pub(crate) fn json_line<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    to_stdout(|out| {
        serde_json::to_writer(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Writes rows in columns, the last one as long as it is. Cells of one row share a line: control characters are shown, not sent.
pub(crate) fn table(out: &mut dyn Write, heads: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| tame(cell)).collect()).collect();
    let width = |column: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head.len())
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(|(column, head)| width(column, head)).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Without what could upset a terminal.
pub(crate) fn tame(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Says what is wrong on standard error.
pub(crate) fn complain(message: &str) {
    writeln!(io::stderr(), "error: {message}").ok();
}

/// Says something on standard error.
pub(crate) fn note(message: &str) {
    writeln!(io::stderr(), "{message}").ok();
}

/// A moment for people, in UTC.
pub(crate) fn time(unix_nanos: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).to_string()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(output: Option<&Path>, format: Option<&str>) -> Result<Destination, Failure> {
        Destination::parse(&OutputArgs { output: output.map(Path::to_owned), format: format.map(str::to_owned) })
    }

    #[test]
    fn the_format_is_the_one_named_then_that_of_the_ending() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(parse(None, None), Ok(Destination::Report));
        assert_eq!(parse(None, Some("csv")), Ok(Destination::Rows(Format::Csv)));
        assert_eq!(parse(Some(&at("x")), None), Ok(Destination::File(at("x"), None)));
        assert_eq!(parse(Some(&at("x.json")), None), Ok(Destination::File(at("x.json"), Some(Format::Json))));
        assert_eq!(parse(Some(&at("x.json")), Some("jsonl")), Ok(Destination::File(at("x.json"), Some(Format::Jsonl))));
        assert_eq!(parse(None, Some("xml")).unwrap_err().code(), 2);
        assert!(parse(Some(&at("no/x")), None).unwrap_err().to_string().contains("there is no folder"));
        assert!(parse(Some(folder.path()), None).unwrap_err().to_string().contains("it is a folder"));
    }

    #[test]
    fn a_file_is_replaced_whole_or_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        write_file(&path, |out| out.write_all(b"first")).expect("it is written");
        let failed = write_file(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.unwrap_err().to_string().contains("out: no more"));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        write_file(&path, |out| out.write_all(b"second")).expect("it is written");
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_file(&link, |out| out.write_all(b"new")).expect("it is written");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn columns_line_up_and_control_characters_are_not_sent() {
        let rows = [vec!["1".to_owned(), "\u{1b}[2Jx".to_owned()], vec!["100".to_owned(), "é".to_owned()]];
        let mut out = Vec::new();
        table(&mut out, &["N", "TEXT"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "N    TEXT\n1    \u{fffd}[2Jx\n100  é\n");
    }
}
