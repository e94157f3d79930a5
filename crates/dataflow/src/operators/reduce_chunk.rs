//! `reduce_chunk`: one item a chunk, of their own kind.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::reduce_chunk`] adds.
    ReduceChunk, "ReduceChunk"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Reduces the items of each chunk, in their order, to one; a chunk without items gives none.
    ///
    /// How a source is cut is not the program's to say, so that the result should not depend on it once it is aggregated. For
    /// one value of all items see [`Flow::reduce`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("largest", |numbers: Flow<u64>| numbers.reduce_chunk(u64::max))?;
    /// assert_eq!(program.on([3, 7, 5_u64])?, [7]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn reduce_chunk<F>(self, f: F) -> Flow<T, ReduceChunk<C, F>>
    where
        F: Fn(T, T) -> T + Shareable,
    {
        Flow::of(ReduceChunk { inner: self.chain, f })
    }
}

impl<C, F> Chain for ReduceChunk<C, F>
where
    C: Chain,
    F: Fn(C::Item, C::Item) -> C::Item + Shareable,
{
    type Item = C::Item;
    chain_link!("reduce_chunk");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        let reduced = self.inner.fold(run, None, |known, item| match known {
            Some(known) => Some((self.f)(known, item)),
            None => Some(item),
        });
        match reduced {
            Some(item) if !run.is_halted() => g(acc, item),
            _ => acc,
        }
    }
}
