//! What is asked of a cluster beside the program.

use elastic_flow_dataflow::source::SourceSpec;
use elastic_flow_queue::OnFailure;

use crate::api::Submission;

/// What a step is to run over and how. The default: the program's own inputs and parameters.
///
/// ```
/// use elastic_flow_dataflow::source::SourceSpec;
/// use elastic_flow_orchestrator::handle::StepRequest;
///
/// let request = StepRequest::new().input(SourceSpec::Range { start: 0, end: 1_000 }).param("top", "5").key("monday");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepRequest {
    inputs: Vec<(String, SourceSpec)>,
    params: Vec<(String, String)>,
    on_failure: OnFailure,
    key: Option<String>,
    label: Option<String>,
    allow_missing_servers: bool,
}

impl StepRequest {
    /// Nothing but what the program has by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The input of a program that has one.
    #[must_use]
    pub fn input(self, source: SourceSpec) -> Self {
        self.named_input("input", source)
    }

    /// One of the inputs that the program names.
    #[must_use]
    pub fn named_input(mut self, name: impl Into<String>, source: SourceSpec) -> Self {
        self.inputs.push((name.into(), source));
        self
    }

    /// A parameter of the program.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// What the step's failure does to the queue.
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// The idempotency key: the same request under the same key is the same step.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A label for people.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Goes on without what a missing server would have read, where each reads its own disk; the audit names the gap.
    #[must_use]
    pub const fn allow_missing_servers(mut self) -> Self {
        self.allow_missing_servers = true;
        self
    }

    /// As it is submitted.
    pub(crate) fn of(self, program: &str) -> Submission {
        let Self { inputs, params, on_failure, key, label, allow_missing_servers } = self;
        Submission { program: program.to_owned(), inputs, params, on_failure, key, label, allow_missing_servers }
    }
}

impl From<SourceSpec> for StepRequest {
    fn from(source: SourceSpec) -> Self {
        Self::new().input(source)
    }
}
