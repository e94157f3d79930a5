//! Word counts by the system's own tools: an oracle that shares nothing with the engine.
#![allow(clippy::expect_used, reason = "a test tool: without the oracle there is no test")]

use std::path::Path;

use crate::place::Place;

/// From bytes on standard input to sorted lines `word<TAB>count`.
const COUNT: &str = r"LC_ALL=C tr -s ' \t\n\v\f\r' '\n' | LC_ALL=C tr 'A-Z' 'a-z' | LC_ALL=C grep -av '^$' | LC_ALL=C sort | LC_ALL=C uniq -c | sed 's/^ *\([0-9]*\) \(.*\)$/\2\t\1/' | LC_ALL=C sort";

/// Counts what the shell command `bytes` prints; `$1` in it is `path`.
///
/// # Panics
/// There is no shell.
#[must_use]
pub fn counts_of(place: &Place, bytes: &str, path: &str) -> Vec<u8> {
    shell(place, &format!("{bytes} | {COUNT}"), path)
}

/// Counts the words of one file.
///
/// # Panics
/// There is no shell.
#[must_use]
pub fn counts_of_file(place: &Place, path: &str) -> Vec<u8> {
    counts_of(place, "cat -- \"$1\"", path)
}

/// The lines of a file in the order of their bytes.
///
/// # Panics
/// There is no shell.
#[must_use]
pub fn sorted(place: &Place, path: &Path) -> Vec<u8> {
    shell(place, "LC_ALL=C sort -- \"$1\"", path.to_str().expect("a plain path"))
}

fn shell(place: &Place, script: &str, path: &str) -> Vec<u8> {
    let output = place.command("/bin/sh").args(["-c", script, "sh", path]).output().expect("a shell");
    assert!(output.stderr.is_empty(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Fails with the first difference rather than with two long texts.
///
/// # Panics
/// They differ.
#[track_caller]
pub fn assert_equal(found: &[u8], wanted: &[u8]) {
    if found == wanted {
        return;
    }
    let lines = |bytes: &[u8]| -> Vec<String> {
        bytes.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    };
    let (found, wanted) = (lines(found), lines(wanted));
    let at = found.iter().zip(&wanted).position(|(one, other)| one != other).unwrap_or(found.len().min(wanted.len()));
    let shown = |lines: &[String]| lines.get(at).map(|line| line.chars().take(200).collect::<String>());
    assert_eq!(
        (found.len(), shown(&found)),
        (wanted.len(), shown(&wanted)),
        "the counts differ from line {at} on (number of lines, that line)"
    );
    // Lines that differ only in bytes that are not UTF-8.
    assert_eq!(found, wanted);
}
