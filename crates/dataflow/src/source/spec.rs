//! What a step reads, as its submitter names it.

use std::fmt;

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::SourceError;

/// The text that stands for standard input.
pub const STANDARD_INPUT: &str = "-";

/// What a named input of a step reads; travels in the step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SourceSpec {
    /// The lines of files: each a path, a glob, or `-` for standard input of the master.
    Lines {
        /// Paths, globs, `-`; in any order, since files are read in the order of their paths.
        paths: Vec<String>,
    },
    /// The numbers from `start` up to, but without, `end`.
    Range {
        /// The first number.
        #[serde(deserialize_with = "whole")]
        start: u64,
        /// The number after the last.
        #[serde(deserialize_with = "whole")]
        end: u64,
    },
    /// An iterator that a registered function makes anew each time: survives a crash of the master.
    Registered {
        /// The name of the function.
        name: String,
    },
    /// An iterator that the caller handed over: does not survive a crash of the master.
    OneShot,
    /// The lines of the files that each server of the cluster has on its own disk, read there and nowhere else. A server that is
    /// missing is a missing part of the input.
    EachWorker {
        /// Absolute paths and globs, expanded on each server when the step starts.
        globs: Vec<String>,
    },
}

impl SourceSpec {
    /// Reads a command-line text: `-`, `range:START..END`, `registered:NAME`, `each_worker:GLOB`, else a path or glob.
    ///
    /// A file whose name looks like one of the other forms is given as `./NAME`.
    ///
    /// # Errors
    /// [`SourceError::Spec`] if the text is empty, or a form is begun and not completed.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        Self::read(text).map_err(|reason| SourceError::Spec { text: text.to_owned(), reason })
    }

    /// The source as a cluster on one server has it: its disk is the only one, so that what each worker is to read is there once.
    #[must_use]
    pub fn on_one_server(self) -> Self {
        if let Self::EachWorker { globs } = self { Self::Lines { paths: globs } } else { self }
    }

    /// The source, or what is wrong with the text.
    fn read(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if let Some(range) = text.strip_prefix("range:") {
            let borders = range.split_once("..").and_then(|(start, end)| Some((number(start)?, number(end)?)));
            return match borders {
                Some((start, end)) if start <= end => Ok(Self::Range { start, end }),
                Some(_) => Err("its start lies behind its end"),
                None => Err("a range is two whole numbers with `..` between them"),
            };
        }
        match text.strip_prefix("each_worker:") {
            Some("") => return Err("the glob is missing"),
            Some(glob) => return Ok(Self::EachWorker { globs: vec![glob.to_owned()] }),
            None => {}
        }
        match text.strip_prefix("registered:") {
            Some("") => Err("the name is missing"),
            Some(name) => Ok(Self::Registered { name: name.to_owned() }),
            None => Ok(Self::Lines { paths: vec![text.to_owned()] }),
        }
    }
}

/// A number as people write it, `1_000_000` included.
fn number(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    digits.parse().ok()
}

/// A number that may be written as `3.0` where the format is for people: to JSON that is a whole number too.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Whole;

    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number of 64 bits")
        }

        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }

        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in its range")]
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
            // 2^64, the first that is too large.
            if number.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&number) {
                return Ok(number as u64);
            }
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }

    if deserializer.is_human_readable() { deserializer.deserialize_u64(Whole) } else { u64::deserialize(deserializer) }
}

/// Inputs as a command line names them: `[NAME=]PATH`, several for one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputNames {
    inputs: Vec<(Option<String>, SourceSpec)>,
}

impl InputNames {
    /// Reads all the texts that a command line gives.
    ///
    /// A text is `NAME=SOURCE` where what stands before the first `=` is a name (a letter or `_`, then letters, digits, `_`
    /// and `-`), else a source for the program's only input. Paths of one name are joined, and so are its globs for each worker.
    ///
    /// # Errors
    /// [`SourceError::Spec`] if a text is no source, or a name is given twice with something else than paths.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, SourceError> {
        let mut names = Self::default();
        for text in texts {
            names.add(text.as_ref())?;
        }
        Ok(names)
    }

    /// The inputs by name, in the order in which they were first named; none stands for the program's only input.
    #[must_use]
    pub fn into_inputs(self) -> Vec<(Option<String>, SourceSpec)> {
        self.inputs
    }

    fn add(&mut self, text: &str) -> Result<(), SourceError> {
        let (name, source) = match text.split_once('=') {
            Some((name, source)) if is_name(name) => (Some(name), source),
            _ => (None, text),
        };
        let spec = SourceSpec::read(source).map_err(|reason| SourceError::Spec { text: text.to_owned(), reason })?;
        let Some((_, known)) = self.inputs.iter_mut().find(|(known, _)| known.as_deref() == name) else {
            self.inputs.push((name.map(str::to_owned), spec));
            return Ok(());
        };
        match (known, spec) {
            (SourceSpec::Lines { paths }, SourceSpec::Lines { paths: more })
            | (SourceSpec::EachWorker { globs: paths }, SourceSpec::EachWorker { globs: more }) => paths.extend(more),
            _ => {
                let reason = "its name is taken, and only paths can be joined";
                return Err(SourceError::Spec { text: text.to_owned(), reason });
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(paths: &[&str]) -> SourceSpec {
        SourceSpec::Lines { paths: paths.iter().map(|&path| path.to_owned()).collect() }
    }

    #[test]
    fn a_text_names_a_source() {
        assert_eq!(SourceSpec::parse("-").unwrap(), lines(&["-"]));
        assert_eq!(SourceSpec::parse("a/*.log").unwrap(), lines(&["a/*.log"]));
        assert_eq!(SourceSpec::parse("./range:1..2").unwrap(), lines(&["./range:1..2"]));
        assert_eq!(SourceSpec::parse("range:3..1_000").unwrap(), SourceSpec::Range { start: 3, end: 1000 });
        assert_eq!(SourceSpec::parse("range:7..7").unwrap(), SourceSpec::Range { start: 7, end: 7 });
        let globs = vec!["/d/*.log".to_owned()];
        assert_eq!(SourceSpec::parse("each_worker:/d/*.log").unwrap(), SourceSpec::EachWorker { globs });
        assert_eq!(SourceSpec::parse("registered:days").unwrap(), SourceSpec::Registered { name: "days".into() });
    }

    #[test]
    fn json_may_write_whole_numbers_with_a_point_and_no_others() {
        let read = |end: &str| {
            let text = format!(r#"{{"Range":{{"start":0,"end":{end}}}}}"#);
            serde_json::from_str(&text).ok().map(|spec| {
                let SourceSpec::Range { end, .. } = spec else { panic!("{spec:?}") };
                end
            })
        };
        for (text, number) in
            [("7", 7), ("7.0", 7), ("1e3", 1_000), ("18446744073709551615", u64::MAX), ("1e19", 10_u64.pow(19))]
        {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in ["7.5", "-1", "-1.0", "18446744073709551616", "2e19", "\"7\"", "null"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn half_a_form_is_refused_with_its_text() {
        for text in ["", "range:", "range:4", "range:4..x", "range:5..4", "range:-1..4", "registered:", "each_worker:"]
        {
            let error = SourceSpec::parse(text).unwrap_err();
            assert!(matches!(&error, SourceError::Spec { text: named, .. } if named == text), "{text}: {error}");
        }
    }

    #[test]
    fn paths_of_one_name_are_joined_in_their_order() {
        let names = InputNames::parse(["left=a", "b", "left=c*", "right=range:0..5", "./x=y"]).unwrap();
        assert_eq!(
            names.into_inputs(),
            [
                (Some("left".to_owned()), lines(&["a", "c*"])),
                (None, lines(&["b", "./x=y"])),
                (Some("right".to_owned()), SourceSpec::Range { start: 0, end: 5 }),
            ]
        );
    }

    #[test]
    fn a_name_with_two_ranges_is_refused() {
        assert!(InputNames::parse(["n=range:0..5", "n=range:5..9"]).is_err());
        assert!(InputNames::parse(["n=a", "n=range:5..9"]).is_err());
        assert!(InputNames::parse(["n="]).is_err());
    }
}
