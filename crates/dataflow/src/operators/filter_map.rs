//! `filter_map`: one item to one or none.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::filter_map`] adds.
    FilterMap, "FilterMap"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Makes an item of each, or none.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("numbers", |lines: Flow<Text>| {
    ///     lines.filter_map(|line| line.as_str().ok()?.parse::<u64>().ok())
    /// })?;
    /// assert_eq!(program.on(["7", "x", "8"])?, [7, 8]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn filter_map<U: 'static, F>(self, f: F) -> Flow<U, FilterMap<C, F>>
    where
        F: Fn(T) -> Option<U> + Shareable,
    {
        Flow::of(FilterMap { inner: self.chain, f })
    }
}

impl<C, F, U> Chain for FilterMap<C, F>
where
    C: Chain,
    F: Fn(C::Item) -> Option<U> + Shareable,
    U: 'static,
{
    type Item = U;
    chain_link!("filter_map");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| match (self.f)(item) {
            Some(item) => g(acc, item),
            None => acc,
        })
    }
}
