//! `to_ascii_lowercase`: texts with their ASCII letters lowered.

use super::chain_link;
use crate::chain::{Chain, sealed};
use crate::flow::Flow;
use crate::run::ChunkRun;
use crate::text::{Lowering, Span, Text};

/// The link that [`Flow::to_ascii_lowercase`] adds.
#[derive(Debug, Clone)]
pub struct ToAsciiLowercase<C> {
    inner: C,
}

impl<C> sealed::Sealed for ToAsciiLowercase<C> {}

impl<C: Chain<Item = Text>> Flow<Text, C> {
    /// Lowers the ASCII letters of each text; other bytes stay as they are.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("lower", |lines: Flow<Text>| lines.to_ascii_lowercase())?;
    /// assert_eq!(program.on(["To BE", "ÄÖ"])?, ["to be", "ÄÖ"]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn to_ascii_lowercase(self) -> Flow<Text, ToAsciiLowercase<C>> {
        Flow::of(ToAsciiLowercase { inner: self.chain })
    }
}

impl<C: Chain<Item = Text>> Chain for ToAsciiLowercase<C> {
    type Item = Text;
    chain_link!("to_ascii_lowercase");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Text) -> A,
    {
        self.inner.fold(run, acc, |acc, text| g(acc, text.to_ascii_lowercase()))
    }

    #[inline]
    fn fold_bytes<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Span<'_>) -> A,
    {
        let mut lowering = Lowering::default();
        self.inner.fold_bytes(run, acc, |acc, span| lowering.with(span, |lowered| g(acc, lowered)))
    }

    /// Lowering moves no border of a word.
    #[inline]
    fn fold_words<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Span<'_>) -> A,
    {
        let mut lowering = Lowering::default();
        self.inner.fold_words(run, acc, |acc, word| lowering.with(word, |lowered| g(acc, lowered)))
    }
}
