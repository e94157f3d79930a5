//! What a step reads, fixed at its submission.

use std::collections::BTreeSet;
use std::fs;
use std::path::{self, Path};

use glob::{MatchOptions, Pattern, PatternError, glob_with};
use serde::{Deserialize, Serialize};

use super::identity::{FileAtSubmission, modified_nanos};
use super::{RANGE_ITEM_BYTES, STANDARD_INPUT, SourceError, SourceSpec};
use crate::seam::SourcePart;

/// As shells do it: `*` stops at `/`, and hidden files are named by their dot.
const GLOB_OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A step's inputs as they were at submission; journalled with the step, so that what is read is what was there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedSource {
    /// Files, ranges and iterators, by input, files in the order of their paths.
    pub parts: Vec<ResolvedPart>,
}

/// A part of a resolved source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedPart {
    /// The index of the named input.
    pub input: u16,
    /// What it is.
    pub data: PartData,
}

/// What a part consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartData {
    /// The lines of a file.
    File(FileAtSubmission),
    /// The lines of the master's standard input.
    StandardInput,
    /// Numbers.
    Range {
        /// The first.
        start: u64,
        /// The one after the last.
        end: u64,
    },
    /// The items of a registered iterator.
    Registered {
        /// The name of the function that makes it.
        name: String,
    },
    /// The items of an iterator that the caller handed over.
    OneShot,
    /// The lines of what these match on the disk of each server: not known yet.
    EachWorker {
        /// Absolute paths and globs.
        globs: Vec<String>,
    },
    /// The lines of a file on the disk of one server, which alone reads it.
    FileOn {
        /// The server's name.
        server: String,
        /// The file, as the server found it when the step started.
        file: FileAtSubmission,
    },
    /// What a server would have had that was missing.
    Missing {
        /// The server's name.
        server: String,
        /// What was to be expanded there.
        globs: Vec<String>,
    },
}

/// A file that has more bytes now than at submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// The file.
    pub path: String,
    /// Its size at submission: what was read.
    pub submitted_bytes: u64,
    /// Its size now.
    pub found_bytes: u64,
}

impl ResolvedSource {
    /// Looks at what `inputs` name: expands globs and notes every file's size, time and ends.
    ///
    /// The index of an input is its place in `inputs`. A file that an input names twice is read once.
    ///
    /// # Errors
    /// Names the path: a file that is not there or cannot be read, a folder, a pipe, a glob without a match.
    pub fn resolve<'a>(inputs: impl IntoIterator<Item = &'a SourceSpec>) -> Result<Self, SourceError> {
        let mut parts = Vec::new();
        for (index, spec) in inputs.into_iter().enumerate() {
            let input = u16::try_from(index)
                .map_err(|_| SourceError::TooMany { what: "inputs", limit: u64::from(u16::MAX) + 1 })?;
            let mut push = |data| parts.push(ResolvedPart { input, data });
            match spec {
                SourceSpec::Lines { paths } => resolve_lines(paths, &mut push)?,
                SourceSpec::Range { start, end } => push(PartData::Range { start: *start, end: *end.max(start) }),
                SourceSpec::Registered { name } => push(PartData::Registered { name: name.clone() }),
                SourceSpec::OneShot => push(PartData::OneShot),
                SourceSpec::EachWorker { globs } => {
                    globs.iter().try_for_each(|glob| check_glob(glob))?;
                    push(PartData::EachWorker { globs: globs.clone() });
                }
            }
        }
        if u32::try_from(parts.len()).is_err() {
            return Err(SourceError::TooMany { what: "files", limit: u64::from(u32::MAX) });
        }
        Ok(Self { parts })
    }

    /// The parts as coverage is proven against them.
    #[must_use]
    pub fn source_parts(&self) -> Vec<SourcePart> {
        self.parts.iter().map(ResolvedPart::source_part).collect()
    }

    /// Whether a master that restarts can read the source again: not so for standard input and iterators handed over.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part.data, PartData::StandardInput | PartData::OneShot))
    }

    /// Files that have grown since submission, for the audit to say so: what was appended is not read.
    ///
    /// Files that are gone by now are left out.
    #[must_use]
    pub fn grown(&self) -> Vec<Grown> {
        let grown = self.files().filter_map(|file| {
            let found_bytes = fs::metadata(&file.path).ok()?.len();
            let (path, submitted_bytes) = (file.path.clone(), file.length);
            (found_bytes > submitted_bytes).then_some(Grown { path, submitted_bytes, found_bytes })
        });
        grown.collect()
    }

    /// The paths of files that were written to since submission and have the size that they had, for the audit to say so:
    /// readers compare the ends of a file, and what lies between them may be other.
    ///
    /// Only the node that resolved the source can tell: a copy has a time of its own. Files so small that all of them is
    /// compared are left out.
    #[must_use]
    pub fn rewritten(&self) -> Vec<String> {
        let rewritten = self.files().filter(|file| {
            let now = fs::metadata(&file.path);
            let same_size = now.is_ok_and(|it| it.len() == file.length && modified_nanos(&it) != file.modified_nanos);
            same_size && !file.is_all_ends()
        });
        rewritten.map(|file| file.path.clone()).collect()
    }

    fn files(&self) -> impl Iterator<Item = &FileAtSubmission> {
        self.parts.iter().filter_map(|part| if let PartData::File(file) = &part.data { Some(file) } else { None })
    }
}

impl ResolvedPart {
    /// Whether one chunk may hold lines of both: files of one input in one place.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let place = |part: &Self| match &part.data {
            PartData::File(_) => Some(None),
            PartData::FileOn { server, .. } => Some(Some(server.clone())),
            PartData::StandardInput
            | PartData::Range { .. }
            | PartData::Registered { .. }
            | PartData::OneShot
            | PartData::EachWorker { .. }
            | PartData::Missing { .. } => None,
        };
        self.input == other.input && place(self) == place(other)
    }

    pub(super) fn source_part(&self) -> SourcePart {
        let server = if let PartData::FileOn { server, .. } | PartData::Missing { server, .. } = &self.data {
            Some(server.clone())
        } else {
            None
        };
        let (name, length) = match &self.data {
            PartData::File(file) => (file.path.clone(), Some(file.length)),
            PartData::StandardInput => ("standard input".to_owned(), None),
            PartData::Range { start, end } => (format!("range {start}..{end}"), Some(end.saturating_sub(*start))),
            PartData::Registered { name } => (format!("registered source {name}"), None),
            PartData::OneShot => ("iterator of the caller".to_owned(), None),
            PartData::EachWorker { globs } => (format!("each_worker:{}", globs.join(" ")), None),
            PartData::FileOn { server, file } => (format!("{server}:{}", file.path), Some(file.length)),
            PartData::Missing { server, globs } => (format!("{server}:{}", globs.join(" ")), None),
        };
        let missing = matches!(self.data, PartData::Missing { .. });
        let unit_bytes = if matches!(self.data, PartData::Range { .. }) { RANGE_ITEM_BYTES } else { 1 };
        SourcePart { input: self.input, name, length, unit_bytes, server, missing }
    }
}

/// Files in the order of their paths, standard input behind them.
fn resolve_lines(paths: &[String], push: &mut impl FnMut(PartData)) -> Result<(), SourceError> {
    let mut files = BTreeSet::new();
    for text in paths.iter().filter(|text| *text != STANDARD_INPUT) {
        if !name_files(text, &mut files)? {
            return Err(SourceError::NothingMatches { pattern: text.clone() });
        }
    }
    for path in files {
        push(PartData::File(FileAtSubmission::look(path)?));
    }
    if paths.iter().any(|text| text == STANDARD_INPUT) {
        push(PartData::StandardInput);
    }
    Ok(())
}

/// Makes sure that a glob can be expanded on another server: there is no current folder there that the submitter knows.
fn check_glob(glob: &str) -> Result<(), SourceError> {
    if !Path::new(glob).is_absolute() {
        return Err(SourceError::NotAbsolute { path: glob.to_owned() });
    }
    Pattern::new(glob).map(|_| ()).map_err(|error| not_a_glob(glob, &error))
}

fn not_a_glob(pattern: &str, error: &PatternError) -> SourceError {
    SourceError::Pattern { pattern: pattern.to_owned(), position: error.pos, reason: error.msg }
}

/// Adds the file that a text names, or what it matches as a glob; whether that is anything.
pub(super) fn name_files(text: &str, files: &mut BTreeSet<String>) -> Result<bool, SourceError> {
    // A path that exists is no glob, whatever its characters.
    if text.contains(['*', '?', '[']) && fs::symlink_metadata(text).is_err() {
        return expand(text, files);
    }
    files.insert(absolute(Path::new(text))?);
    Ok(true)
}

/// Adds what a glob matches, folders left out; whether it matches anything.
fn expand(pattern: &str, files: &mut BTreeSet<String>) -> Result<bool, SourceError> {
    let matches = glob_with(pattern, GLOB_OPTIONS).map_err(|error| not_a_glob(pattern, &error))?;
    let mut matched = false;
    for found in matches {
        let found = found.map_err(|error| {
            let path = error.path().display().to_string();
            SourceError::Open { path, source: error.into() }
        })?;
        if !found.is_dir() {
            matched = true;
            files.insert(absolute(&found)?);
        }
    }
    Ok(matched)
}

/// The path as other processes and servers must name it.
fn absolute(path: &Path) -> Result<String, SourceError> {
    let failed = |source| SourceError::Open { path: path.display().to_string(), source };
    let absolute = path::absolute(path).map_err(failed)?;
    absolute.into_os_string().into_string().map_err(|path| SourceError::PathNotUtf8 { path: path.into() })
}
