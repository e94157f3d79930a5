//! `map`: one item to one.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::map`] adds.
    Map, "Map"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Makes another item of each.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("double", |numbers: Flow<u64>| numbers.map(|n| n * 2))?;
    /// assert_eq!(program.on(1..4_u64)?, [2, 4, 6]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn map<U: 'static, F>(self, f: F) -> Flow<U, Map<C, F>>
    where
        F: Fn(T) -> U + Shareable,
    {
        Flow::of(Map { inner: self.chain, f })
    }
}

impl<C, F, U> Chain for Map<C, F>
where
    C: Chain,
    F: Fn(C::Item) -> U + Shareable,
    U: 'static,
{
    type Item = U;
    chain_link!("map");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| g(acc, (self.f)(item)))
    }
}
