//! `fold_chunk`: one value a chunk.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::fold_chunk`] adds.
    FoldChunk, "FoldChunk"
}

/// An accumulator's beginning and its function.
#[derive(Debug, Clone, Copy)]
pub struct Folding<I, F> {
    init: I,
    f: F,
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Folds the items of each chunk, in their order, to one item.
    ///
    /// How a source is cut is not the program's to say, so that the result should not depend on it once it is aggregated. For
    /// one value of all items see [`Flow::fold`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sums", |numbers: Flow<u64>| numbers.fold_chunk(|| 0, |sum, n| sum + n))?;
    /// assert_eq!(program.on(1..5_u64)?, [10]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn fold_chunk<B, I, F>(self, init: I, f: F) -> Flow<B, FoldChunk<C, Folding<I, F>>>
    where
        B: 'static,
        I: Fn() -> B + Shareable,
        F: Fn(B, T) -> B + Shareable,
    {
        Flow::of(FoldChunk { inner: self.chain, f: Folding { init, f } })
    }
}

impl<C, B, I, F> Chain for FoldChunk<C, Folding<I, F>>
where
    C: Chain,
    B: 'static,
    I: Fn() -> B + Shareable,
    F: Fn(B, C::Item) -> B + Shareable,
{
    type Item = B;
    chain_link!("fold_chunk");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        let folded = self.inner.fold(run, (self.f.init)(), &self.f.f);
        if run.is_halted() { acc } else { g(acc, folded) }
    }
}
