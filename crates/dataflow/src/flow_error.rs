//! [`FlowError`]: what an error of user code means to its step.

use std::error::Error;
use std::fmt::Display;

use elastic_flow_wire::with_causes;

/// An error of a fallible operator's function, and what it means: that this attempt has failed, that the item is to be set
/// aside, or that the step is to end.
///
/// Every [`std::error::Error`] converts to one that is to be tried again, so that `?` works in a function that returns a
/// [`FlowResult`]; [`FlowResultExt`] says otherwise.
///
/// ```
/// use elastic_flow_dataflow::{Flow, FlowError, FlowResult, FlowResultExt, Text, TypedProgram};
///
/// /// `key value`, a pair a line.
/// fn parse(line: Text) -> FlowResult<(String, u64)> {
///     let line = line.as_str().or_fail()?; // Not text at all: the wrong input, the step ends.
///     let (key, value) = line.split_once(' ').ok_or_else(|| FlowError::skip("no space"))?; // Set aside.
///     Ok((key.to_owned(), value.parse::<u64>().or_skip()?)) // Set aside as well.
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = TypedProgram::new("pairs", |lines: Flow<Text>| lines.try_map(parse).sum_by_key())?;
/// let sums = program.on(["a 1", "what is this", "a", "b 2", "a 4"])?;
/// assert_eq!(sums, [("a".to_owned(), 5), ("b".to_owned(), 2)]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an error does nothing unless it is returned"]
pub struct FlowError {
    verdict: Verdict,
    message: String,
}

/// What a [`FlowError`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This attempt on the chunk has failed; it is made again, and the chunk is set aside once it has failed too often.
    Retry,
    /// The item is set aside with its error, and the rest of the chunk counts. A step that completes may have set aside
    /// `retry.max_skips` items and chunks; with one more it fails.
    Skip,
    /// The step fails now. Nothing is tried again.
    Fail,
}

/// What a function returns that may fail, skip its item, or end its step.
pub type FlowResult<T> = Result<T, FlowError>;

impl FlowError {
    /// This attempt on the chunk has failed, and is made again: the cause may pass.
    pub fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Verdict::Retry, error)
    }

    /// The item is set aside: it is listed with its error, and the rest of the chunk counts.
    pub fn skip(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Verdict::Skip, error)
    }

    /// The step ends now: no other attempt and no other item would help.
    pub fn fail(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Verdict::Fail, error)
    }

    fn of(verdict: Verdict, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        Self { verdict, message: with_causes(error.as_ref()) }
    }

    /// What it asks for.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What happened, with its causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_parts(self) -> (Verdict, String) {
        (self.verdict, self.message)
    }
}

// It is no `Error` itself, so that every `Error` can convert to it.
impl<E: Error> From<E> for FlowError {
    fn from(error: E) -> Self {
        Self { verdict: Verdict::Retry, message: with_causes(&error) }
    }
}

/// Says what the error of a [`Result`] means to the step.
pub trait FlowResultExt<T> {
    /// An error sets the item aside.
    ///
    /// # Errors
    /// As before, to be skipped.
    fn or_skip(self) -> FlowResult<T>;

    /// An error ends the step.
    ///
    /// # Errors
    /// As before, to end the step.
    fn or_fail(self) -> FlowResult<T>;

    /// An error fails the attempt: what `?` does alone, for errors such as texts, which `?` does not convert.
    ///
    /// # Errors
    /// As before, to be tried again.
    fn or_retry(self) -> FlowResult<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> FlowResultExt<T> for Result<T, E> {
    fn or_skip(self) -> FlowResult<T> {
        self.map_err(FlowError::skip)
    }

    fn or_fail(self) -> FlowResult<T> {
        self.map_err(FlowError::fail)
    }

    fn or_retry(self) -> FlowResult<T> {
        self.map_err(FlowError::retry)
    }
}

/// What a fallible operator takes for an error: a [`FlowError`], or anything that can be shown, which is to be tried again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that a flow can tell",
    label = "must implement `Display`, or be a `FlowError`"
)]
pub trait IntoFlowError {
    /// What it means.
    fn into_flow_error(self) -> FlowError;
}

impl IntoFlowError for FlowError {
    fn into_flow_error(self) -> FlowError {
        self
    }
}

impl<E: Display> IntoFlowError for E {
    fn into_flow_error(self) -> FlowError {
        FlowError { verdict: Verdict::Retry, message: self.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no such record")]
    struct Outer(#[source] io::Error);

    fn asked(question: impl FnOnce() -> FlowResult<()>) -> (Verdict, String) {
        question().unwrap_err().into_parts()
    }

    #[test]
    fn any_error_is_to_be_tried_again_unless_it_is_said_otherwise() {
        let error = || Outer(io::Error::other("disk on fire"));
        let text = "no such record: disk on fire".to_owned();
        assert_eq!(asked(|| Ok(Err(error())?)), (Verdict::Retry, text.clone()));
        assert_eq!(asked(|| Err(error()).or_retry()), (Verdict::Retry, text.clone()));
        assert_eq!(asked(|| Err(error()).or_skip()), (Verdict::Skip, text.clone()));
        assert_eq!(asked(|| Err(error()).or_fail()), (Verdict::Fail, text));
        assert_eq!(asked(|| Err("a text").or_fail()), (Verdict::Fail, "a text".to_owned()));
        assert_eq!(asked(|| Err(FlowError::skip("said before"))?), (Verdict::Skip, "said before".to_owned()));
    }

    #[test]
    fn operators_take_whatever_can_be_shown() {
        assert_eq!("text".into_flow_error(), FlowError::retry("text"));
        assert_eq!(FlowError::fail("text").into_flow_error(), FlowError::fail("text"));
    }
}
