//! Errors in words, as they travel in messages and are shown to people.

use std::error::Error;

/// The text of an error and of its causes, on one line: `cannot open a: permission denied`.
///
/// Errors here leave their causes to [`Error::source`]. Others print them as well: a cause that the text before it ends with is not
/// said again.
///
/// ```
/// use elastic_flow_wire::{CompressError, FrameError, with_causes};
/// let error = FrameError::Compress(CompressError::Decompress(std::io::Error::other("bad block")));
/// let text = with_causes(&error);
/// assert!(text.starts_with("frame body failed in compression: ") && text.ends_with(": bad block"), "{text}");
/// ```
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Told {
        #[error("the outer")]
        Plain(#[source] std::io::Error),
        #[error("the outer: {0}")]
        Twice(#[source] std::io::Error),
        #[error(transparent)]
        Through(Box<Self>),
        #[error("the outermost")]
        Around(#[source] Box<Self>),
    }

    #[test]
    fn every_cause_is_told_once() {
        let inner = || std::io::Error::other("the inner");
        for error in [
            Told::Plain(inner()),
            Told::Twice(inner()),
            Told::Through(Box::new(Told::Plain(inner()))),
            Told::Through(Box::new(Told::Twice(inner()))),
        ] {
            assert_eq!(with_causes(&error), "the outer: the inner", "{error:?}");
        }
        let around = Told::Around(Box::new(Told::Plain(inner())));
        assert_eq!(with_causes(&around), "the outermost: the outer: the inner");
        assert_eq!(with_causes(&inner()), "the inner");
    }
}
