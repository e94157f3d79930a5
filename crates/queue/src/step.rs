//! What is submitted, and a step as the queue keeps it.

use std::fmt;
use std::str::FromStr;

use elastic_flow_receipt::StepId;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::error::SpecError;
use crate::error_kind::StepErrorKind;
use crate::limits;
use crate::transition::StepState;

/// What a step's failure does to the rest of the queue. A cancelled step does nothing to it.
///
/// Serialised as its name where the format is for people (`"cancel-and-wait"`), else as its index: variants are only ever appended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OnFailure {
    /// The next step runs.
    #[default]
    Continue,
    /// Every waiting step is cancelled; the cluster waits for new ones.
    CancelAndWait,
    /// Every waiting step is cancelled, and the cluster is shut down.
    Terminate,
}

impl OnFailure {
    /// Every value, in the order of its index.
    pub const ALL: [Self; 3] = [Self::Continue, Self::CancelAndWait, Self::Terminate];

    /// The name that people, the command line and JSON use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::CancelAndWait => "cancel-and-wait",
            Self::Terminate => "terminate",
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for OnFailure {
    type Err = UnknownOnFailure;

    fn from_str(text: &str) -> Result<Self, UnknownOnFailure> {
        Self::ALL.into_iter().find(|value| value.name() == text).ok_or(UnknownOnFailure)
    }
}

/// A text is not the name of an [`OnFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an action on failure; it is one of continue, cancel-and-wait and terminate")]
#[expect(unnameable_types, reason = "callers only print it; it is reached through FromStr::Err")]
pub struct UnknownOnFailure;

/// What a step is to do. Sizes are bounded by [`limits`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The registered name of the program: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    pub program: String,
    /// The program's parameters: names like a program's, each once; values are any text up to 64 KiB.
    pub params: Vec<(String, String)>,
    /// The source, serialised by whoever reads it again; the queue does not look inside.
    pub inputs: Vec<u8>,
    /// The source in words, a line an input; not part of the content that an idempotency key stands for.
    pub inputs_text: Vec<String>,
    /// What its failure does to the rest of the queue.
    pub on_failure: OnFailure,
    /// The submitter's idempotency key: the same content under the same key is the same step.
    pub key: Option<String>,
    /// A label for people.
    pub label: Option<String>,
    /// The ended step whose missing or set-aside receipts this one runs.
    pub replay_of: Option<StepId>,
    /// Whether it goes on without what a missing server would have read.
    pub allow_missing_servers: bool,
}

impl StepSpec {
    /// A step of `program` with no parameter, no input of its own, and `continue` on failure.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            params: Vec::new(),
            inputs: Vec::new(),
            inputs_text: Vec::new(),
            on_failure: OnFailure::default(),
            key: None,
            label: None,
            replay_of: None,
            allow_missing_servers: false,
        }
    }

    /// Checks names and sizes. [`crate::Queue::submit`] does so too; a client can use it to fail early.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        name("program", &self.program)?;
        self.validate_params()?;
        let bytes = self.inputs_bytes();
        if bytes > limits::INPUTS_BYTES_MAX {
            return Err(SpecError::InputsTooLong { bytes });
        }
        text("idempotency key", self.key.as_deref(), limits::KEY_BYTES_MAX)?;
        text("label", self.label.as_deref(), limits::LABEL_BYTES_MAX)
    }

    fn validate_params(&self) -> Result<(), SpecError> {
        if self.params.len() > limits::PARAMS_MAX {
            return Err(SpecError::TooManyParams { count: self.params.len() });
        }
        for (param, value) in &self.params {
            name("parameter", param)?;
            if value.len() > limits::PARAM_BYTES_MAX {
                return Err(SpecError::ParamTooLong { name: param.clone(), bytes: value.len() });
            }
        }
        let sorted = self.sorted_params();
        match sorted.windows(2).find_map(|pair| match pair {
            [first, second] if first.0 == second.0 => Some(first.0),
            _ => None,
        }) {
            Some(twice) => Err(SpecError::ParamTwice { name: twice.to_owned() }),
            None => Ok(()),
        }
    }

    /// Whether `other` asks for the same: everything but the words for the inputs, parameters in any order.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.program == other.program
            && self.sorted_params() == other.sorted_params()
            && self.inputs == other.inputs
            && self.on_failure == other.on_failure
            && self.key == other.key
            && self.label == other.label
            && self.replay_of == other.replay_of
            && self.allow_missing_servers == other.allow_missing_servers
    }

    /// The bytes that this spec takes, near enough for a budget.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [self.key.as_deref(), self.label.as_deref(), Some(&self.program)];
        let params: usize = self.params.iter().map(|(name, value)| name.len() + value.len()).sum();
        size_of::<Self>() + self.inputs_bytes() + params + texts.into_iter().flatten().map(str::len).sum::<usize>()
    }

    fn inputs_bytes(&self) -> usize {
        self.inputs.len() + self.inputs_text.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>()
    }

    fn sorted_params(&self) -> Vec<(&str, &str)> {
        let mut sorted: Vec<_> = self.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        sorted.sort_unstable();
        sorted
    }
}

fn name(what: &'static str, name: &str) -> Result<(), SpecError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=limits::NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(());
    }
    Err(SpecError::Name { what, name: name.chars().take(limits::NAME_BYTES_MAX).collect() })
}

fn text(what: &'static str, text: Option<&str>, bytes_max: usize) -> Result<(), SpecError> {
    match text {
        Some(text) if !(1..=bytes_max).contains(&text.len()) || text.chars().any(char::is_control) => {
            Err(SpecError::Text { what, bytes: text.len(), bytes_max })
        }
        Some(_) | None => Ok(()),
    }
}

/// A step as the queue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// What it is to do.
    pub spec: StepSpec,
    /// Where it is in its life.
    pub state: StepState,
    /// Wall time of its acceptance, unix nanoseconds.
    pub submitted_at: u64,
    /// Wall time of its first start, unix nanoseconds; none if it never started.
    pub started_at: Option<u64>,
    /// Wall time of its last change of state, unix nanoseconds.
    pub changed_at: u64,
    /// Why it is in its state, where there is something to say.
    pub reason: Option<String>,
    /// Why it failed; none if it did not, or if the build under which it did kept none.
    pub(crate) failed_as: Option<StepErrorKind>,
    /// What the master was told to do with it, oldest first; of drains the first [`limits::DRAINS_SHOWN_MAX`].
    pub commands: Vec<Command>,
}

impl Step {
    /// Wall time of its end, unix nanoseconds; none before it.
    #[must_use]
    pub fn ended_at(&self) -> Option<u64> {
        self.state.is_final().then_some(self.changed_at)
    }

    /// Why it ended otherwise than completed; none before its end, and if it completed.
    #[must_use]
    pub fn error_kind(&self) -> Option<StepErrorKind> {
        match self.state {
            StepState::Failed => Some(self.failed_as.unwrap_or(StepErrorKind::Unknown)),
            StepState::Cancelled => Some(StepErrorKind::Cancelled),
            StepState::Pending
            | StepState::Running
            | StepState::CancelPending
            | StepState::Interrupted
            | StepState::Completed
            | StepState::CompletedWithSkips => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_params(params: &[(&str, &str)]) -> StepSpec {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        StepSpec { params, ..StepSpec::new("p") }
    }

    #[test]
    fn a_name_is_1_to_128_plain_characters() {
        for good in ["a", "word_count", "v1.2-beta", &"x".repeat(128)] {
            assert_eq!(StepSpec::new(good).validate(), Ok(()), "{good}");
        }
        for bad in ["", "a b", "../x", "naïve", "a\n", &"x".repeat(129)] {
            assert!(matches!(StepSpec::new(bad).validate(), Err(SpecError::Name { what: "program", .. })), "{bad:?}");
            assert!(matches!(with_params(&[(bad, "")]).validate(), Err(SpecError::Name { what: "parameter", .. })));
        }
    }

    #[test]
    fn a_refused_name_is_shown_short_and_escaped() {
        let shown = StepSpec::new("\u{1b}[2J".repeat(100_000)).validate().unwrap_err().to_string();
        assert!(shown.len() < 2_000, "{}", shown.len());
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn each_size_is_accepted_at_its_limit_and_refused_beyond() {
        let text = |bytes| Some("x".repeat(bytes));
        let sized = |key, label, value: usize, params: usize, inputs: usize| StepSpec {
            key: text(key),
            label: text(label),
            params: (0..params).map(|i| (format!("p{i}"), "v".repeat(value))).collect(),
            inputs: vec![0; inputs],
            ..StepSpec::new("p")
        };
        assert_eq!(sized(256, 256, 65_536, 256, 16 << 20).validate(), Ok(()));
        assert!(matches!(sized(257, 1, 0, 0, 0).validate(), Err(SpecError::Text { what: "idempotency key", .. })));
        assert!(matches!(sized(0, 1, 0, 0, 0).validate(), Err(SpecError::Text { .. })));
        assert!(matches!(sized(1, 257, 0, 0, 0).validate(), Err(SpecError::Text { what: "label", .. })));
        assert!(matches!(sized(1, 1, 65_537, 1, 0).validate(), Err(SpecError::ParamTooLong { bytes: 65_537, .. })));
        assert!(matches!(sized(1, 1, 0, 257, 0).validate(), Err(SpecError::TooManyParams { count: 257 })));
        assert!(matches!(sized(1, 1, 0, 0, (16 << 20) + 1).validate(), Err(SpecError::InputsTooLong { .. })));
    }

    #[test]
    fn a_parameter_given_twice_is_named() {
        let twice = with_params(&[("b", "1"), ("a", "1"), ("b", "2")]).validate();
        assert_eq!(twice, Err(SpecError::ParamTwice { name: "b".to_owned() }));
    }

    #[test]
    fn content_ignores_the_order_of_parameters_and_the_words_for_inputs_and_nothing_else() {
        let spec = with_params(&[("a", "1"), ("b", "2")]);
        assert!(spec.same_content(&with_params(&[("b", "2"), ("a", "1")])));
        assert!(spec.same_content(&StepSpec { inputs_text: vec!["files".to_owned()], ..spec.clone() }));
        for other in [
            StepSpec { program: "q".to_owned(), ..spec.clone() },
            with_params(&[("a", "1"), ("b", "3")]),
            StepSpec { inputs: vec![1], ..spec.clone() },
            StepSpec { on_failure: OnFailure::Terminate, ..spec.clone() },
            StepSpec { key: Some("k".to_owned()), ..spec.clone() },
            StepSpec { label: Some("l".to_owned()), ..spec.clone() },
            StepSpec { replay_of: Some(StepId(1)), ..spec.clone() },
            StepSpec { allow_missing_servers: true, ..spec.clone() },
        ] {
            assert!(!spec.same_content(&other), "{other:?}");
        }
    }

    #[test]
    fn on_failure_reads_back_from_its_name_and_from_json() {
        for value in OnFailure::ALL {
            assert_eq!(value.name().parse(), Ok(value));
            assert_eq!(serde_json::to_string(&value).unwrap(), format!("\"{value}\""));
        }
        assert_eq!(OnFailure::default(), OnFailure::Continue);
        assert!("stop".parse::<OnFailure>().is_err());
    }
}
