//! `flat_map`: one item to many.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable, by_ref};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::flat_map`] adds.
    FlatMap, "FlatMap"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Makes any number of items of each.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("below", |numbers: Flow<u64>| numbers.flat_map(|n| 0..n))?;
    /// assert_eq!(program.on([2, 0, 3_u64])?, [0, 1, 0, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn flat_map<I, F>(self, f: F) -> Flow<I::Item, FlatMap<C, F>>
    where
        I: IntoIterator<Item: 'static>,
        F: Fn(T) -> I + Shareable,
    {
        Flow::of(FlatMap { inner: self.chain, f })
    }
}

impl<C, F, I> Chain for FlatMap<C, F>
where
    C: Chain,
    F: Fn(C::Item) -> I + Shareable,
    I: IntoIterator<Item: 'static>,
{
    type Item = I::Item;
    chain_link!("flat_map");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| (self.f)(item).into_iter().fold(acc, by_ref(&mut g)))
    }
}
