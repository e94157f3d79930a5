//! What a worker is asked about files before it reads any, and what it answers.
//!
//! Two questions: which of the step's files are on your disk as they were at submission, and what do these globs match there? The
//! first spares attempts that would end as "not here", and lets it be said beforehand; the second makes the source of
//! [`SourceSpec::EachWorker`](super::SourceSpec::EachWorker), which nobody but its servers can see.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use elastic_flow_wire::with_causes;
use serde::{Deserialize, Serialize};

use super::resolve::{PartData, ResolvedPart, ResolvedSource, name_files};
use super::{DataRoots, FileAtSubmission, SourceError};

/// Files that a worker is asked about, at most: of more, every so-manieth. A file that was not asked about is found missing when a
/// chunk of it is opened.
const ASKED_MAX: usize = 1_000;
/// Files that one server may bring into a step: more than fit a folder that people look after, few enough for one message.
const LISTED_MAX: usize = 100_000;

/// A question, as it travels.
#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// Files, by the index of their part.
    Files(Vec<(u32, FileAtSubmission)>),
    /// Globs, by the index of their input.
    Globs(Vec<(u16, Vec<String>)>),
}

/// The files that globs match on a server, by the index of their input.
type Listed = Vec<(u16, Vec<FileAtSubmission>)>;

/// What a worker saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Files that are there as they were at submission.
    pub here: u32,
    /// The parts of the others.
    pub absent: Vec<u32>,
    /// What is wrong with the first of those, or why it could not look; empty where nothing is.
    pub message: String,
    /// What globs match, for [`ResolvedSource::with_answers`]; empty if none were asked about, or it could not look.
    pub listed: Bytes,
}

impl ResolvedSource {
    /// The question which of its files a worker has; none if it has no file that the master can read, too.
    ///
    /// # Errors
    /// It does not encode: a bug.
    pub fn question_of_files(&self) -> Result<Option<Bytes>, SourceError> {
        let files = self.parts.iter().zip(0_u32..).filter_map(|(part, index)| {
            if let PartData::File(file) = &part.data { Some((index, file.clone())) } else { None }
        });
        let files: Vec<_> = files.collect();
        let step = files.len().div_ceil(ASKED_MAX).max(1);
        let files: Vec<_> = files.into_iter().step_by(step).collect();
        if files.is_empty() { Ok(None) } else { encode(&Question::Files(files)).map(Some) }
    }

    /// The question what its globs match on a server; none if it has none that are to be expanded there, or no more.
    ///
    /// # Errors
    /// It does not encode: a bug.
    pub fn question_of_globs(&self) -> Result<Option<Bytes>, SourceError> {
        let globs = self.parts.iter().filter_map(|part| {
            if let PartData::EachWorker { globs } = &part.data { Some((part.input, globs.clone())) } else { None }
        });
        let globs: Vec<_> = globs.collect();
        if globs.is_empty() { Ok(None) } else { encode(&Question::Globs(globs)).map(Some) }
    }

    /// The source with what each server has, in the order of `answers`, in place of the globs; a server without an answer is a
    /// missing part.
    ///
    /// # Errors
    /// An answer does not decode, [`SourceError::NothingMatches`] if no server has a file, or there are too many.
    pub fn with_answers(self, answers: &[(String, Option<Bytes>)]) -> Result<Self, SourceError> {
        let mut servers = Vec::with_capacity(answers.len());
        for (server, answer) in answers {
            servers.push((server, answer.as_deref().map(decode::<Listed>).transpose()?));
        }
        let mut parts = Vec::new();
        for part in self.parts {
            let PartData::EachWorker { globs } = &part.data else {
                parts.push(part);
                continue;
            };
            let (input, before) = (part.input, parts.len());
            for (server, listed) in &servers {
                let mut push = |data| parts.push(ResolvedPart { input, data });
                let server = (*server).clone();
                match listed {
                    None => push(PartData::Missing { server, globs: globs.clone() }),
                    Some(listed) => {
                        let own = listed.iter().filter(|(of, _)| *of == input).flat_map(|(_, files)| files);
                        own.for_each(|file| push(PartData::FileOn { server: server.clone(), file: file.clone() }));
                    }
                }
            }
            if parts.len() == before {
                return Err(SourceError::NothingMatches { pattern: format!("each_worker:{}", globs.join(" ")) });
            }
        }
        if u32::try_from(parts.len()).is_err() {
            return Err(SourceError::TooMany { what: "files", limit: u64::from(u32::MAX) });
        }
        Ok(Self { parts })
    }
}

/// Looks, on a worker, at what its master asks about. Only what lies under `roots` is looked at. Blocks.
#[must_use]
pub fn look(question: &[u8], roots: &DataRoots) -> Seen {
    match decode(question) {
        Ok(Question::Files(files)) => look_at_files(files, roots),
        Ok(Question::Globs(globs)) => match list(&globs, roots).and_then(|listed| encode(&listed)) {
            Ok(listed) => Seen { listed, ..Seen::default() },
            Err(error) => Seen { message: with_causes(&error), ..Seen::default() },
        },
        Err(error) => Seen { message: with_causes(&error), ..Seen::default() },
    }
}

fn look_at_files(files: Vec<(u32, FileAtSubmission)>, roots: &DataRoots) -> Seen {
    let mut seen = Seen::default();
    for (part, file) in files {
        let found = roots.check(Path::new(&file.path)).and_then(|_| file.open());
        match found {
            Ok(_) => seen.here = seen.here.saturating_add(1),
            Err(error) => {
                if seen.absent.is_empty() {
                    seen.message = with_causes(&error);
                }
                seen.absent.push(part);
            }
        }
    }
    seen
}

fn list(globs: &[(u16, Vec<String>)], roots: &DataRoots) -> Result<Listed, SourceError> {
    let mut all = Vec::with_capacity(globs.len());
    let mut count = 0;
    for (input, patterns) in globs {
        let mut paths = BTreeSet::new();
        for pattern in patterns {
            name_files(pattern, &mut paths)?;
        }
        count += paths.len();
        if count > LISTED_MAX {
            return Err(SourceError::TooMany { what: "files of one server", limit: LISTED_MAX as u64 });
        }
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let looked = roots.check(Path::new(&path)).and_then(|_| FileAtSubmission::look(path));
            match looked {
                // Rotated away since the glob was expanded: it was not there when the server was asked.
                Err(SourceError::Open { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                looked => files.push(looked?),
            }
        }
        all.push((*input, files));
    }
    Ok(all)
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, SourceError> {
    let encoded = elastic_flow_wire::encode_to_vec(value);
    encoded.map(Bytes::from).map_err(|error| SourceError::Payload { reason: error.to_string() })
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, SourceError> {
    elastic_flow_wire::decode(bytes).map_err(|error| SourceError::Payload { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::SourceSpec;
    use super::*;

    fn each_worker(glob: String) -> ResolvedSource {
        ResolvedSource::resolve(&[SourceSpec::EachWorker { globs: vec![glob] }]).unwrap()
    }

    fn nowhere() -> DataRoots {
        DataRoots::under::<&str>([]).unwrap()
    }

    fn names(source: &ResolvedSource) -> Vec<(String, Option<String>, bool)> {
        source.source_parts().into_iter().map(|it| (it.name, it.server, it.missing)).collect()
    }

    #[test]
    fn a_worker_says_which_files_are_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["a", "b", "c"] {
            fs::write(path(name), format!("{name}\n")).unwrap();
        }
        let all = SourceSpec::Lines { paths: vec![path("*")] };
        let question = ResolvedSource::resolve(&[all]).unwrap().question_of_files().unwrap().unwrap();
        fs::write(path("b"), "another b\n").unwrap();
        fs::remove_file(path("c")).unwrap();
        let seen = look(&question, &DataRoots::unrestricted());
        assert_eq!((seen.here, seen.absent.as_slice()), (1, &[1, 2][..]));
        assert!(seen.message.contains(&path("b")) && seen.message.contains("other content"), "{}", seen.message);
        let seen = look(&question, &nowhere());
        assert_eq!((seen.here, seen.absent.len()), (0, 3));
        assert!(seen.message.contains("data_roots"), "{}", seen.message);
    }

    #[test]
    fn of_very_many_files_some_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..2 * ASKED_MAX + 1 {
            fs::write(folder.path().join(format!("{number:05}")), "x\n").unwrap();
        }
        let all = SourceSpec::Lines { paths: vec![folder.path().join("*").to_str().unwrap().to_owned()] };
        let question = ResolvedSource::resolve(&[all]).unwrap().question_of_files().unwrap().unwrap();
        fs::remove_file(folder.path().join("02000")).unwrap();
        let seen = look(&question, &DataRoots::unrestricted());
        assert_eq!(
            (seen.here, seen.absent.as_slice()),
            (667 - 1 + 1, &[][..]),
            "every third, and 2000 is none of them"
        );
    }

    #[test]
    fn each_server_brings_its_own_files_and_one_without_an_answer_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("x.log"), "x\n").unwrap();
        let source = each_worker(path("*.log"));
        let question = source.question_of_globs().unwrap().unwrap();
        let of_one = look(&question, &DataRoots::under([folder.path()]).unwrap()).listed;
        fs::write(path("y.log"), "y y\n").unwrap();
        let of_two = look(&question, &DataRoots::unrestricted()).listed;
        let answers = [("yam2".to_owned(), Some(of_one)), ("yam3".to_owned(), Some(of_two)), ("yam4".to_owned(), None)];
        let source = source.with_answers(&answers).unwrap();
        let on = |server: &str, name: &str| (format!("{server}:{}", path(name)), Some(server.to_owned()), false);
        assert_eq!(
            names(&source),
            [
                on("yam2", "x.log"),
                on("yam3", "x.log"),
                on("yam3", "y.log"),
                (format!("yam4:{}", path("*.log")), Some("yam4".to_owned()), true)
            ]
        );
        assert_eq!(source.question_of_globs().unwrap(), None, "there is nothing left to ask");
        assert_eq!(source.question_of_files().unwrap(), None, "nobody else is asked for them");
    }

    #[test]
    fn a_server_may_have_none_but_not_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let source = each_worker(folder.path().join("*.log").to_str().unwrap().to_owned());
        let seen = look(&source.question_of_globs().unwrap().unwrap(), &DataRoots::unrestricted());
        assert!(!seen.listed.is_empty() && seen.message.is_empty(), "{seen:?}");
        let error = source.with_answers(&[("yam2".to_owned(), Some(seen.listed))]).unwrap_err();
        assert!(
            matches!(&error, SourceError::NothingMatches { pattern } if pattern.starts_with("each_worker:")),
            "{error}"
        );
    }

    #[test]
    fn what_lies_outside_of_the_roots_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.log"), "x\n").unwrap();
        let source = each_worker(folder.path().join("*.log").to_str().unwrap().to_owned());
        let seen = look(&source.question_of_globs().unwrap().unwrap(), &nowhere());
        assert!(seen.listed.is_empty());
        assert!(seen.message.contains("x.log") && seen.message.contains("data_roots"), "{}", seen.message);
    }
}
