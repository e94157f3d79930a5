//! `words`: a text to its words.

use super::chain_link;
use crate::chain::{Chain, by_ref, sealed};
use crate::flow::Flow;
use crate::run::ChunkRun;
use crate::text::{Span, Text};

/// The link that [`Flow::words`] adds.
#[derive(Debug, Clone)]
pub struct Words<C> {
    inner: C,
}

impl<C> sealed::Sealed for Words<C> {}

impl<C: Chain<Item = Text>> Flow<Text, C> {
    /// The words of each text: maximal runs of bytes that are not ASCII white space (space, `\t`, `\n`, `\v`, `\f`, `\r`).
    ///
    /// Where counts of words are wanted, no [`Text`] is made.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("words", |lines: Flow<Text>| lines.words())?;
    /// assert_eq!(program.on(["to be", " or\tnot "])?, ["to", "be", "or", "not"]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn words(self) -> Flow<Text, Words<C>> {
        Flow::of(Words { inner: self.chain })
    }
}

impl<C: Chain<Item = Text>> Chain for Words<C> {
    type Item = Text;
    chain_link!("words");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Text) -> A,
    {
        self.inner.fold(run, acc, |acc, text| text.into_words().fold(acc, by_ref(&mut g)))
    }

    #[inline]
    fn fold_bytes<A, G>(&self, run: &ChunkRun<'_>, acc: A, g: G) -> A
    where
        G: FnMut(A, Span<'_>) -> A,
    {
        self.inner.fold_words(run, acc, g)
    }

    /// A word is its own only word.
    #[inline]
    fn fold_words<A, G>(&self, run: &ChunkRun<'_>, acc: A, g: G) -> A
    where
        G: FnMut(A, Span<'_>) -> A,
    {
        self.inner.fold_words(run, acc, g)
    }
}
