//! `filter` and `reject`: keep some items.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::filter`] adds.
    Filter, "Filter"
}

link_type! {
    /// The link that [`Flow::reject`] adds.
    Reject, "Reject"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Keeps the items for which the function says so.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("even", |numbers: Flow<u64>| numbers.filter(|n| n % 2 == 0))?;
    /// assert_eq!(program.on(0..5_u64)?, [0, 2, 4]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn filter<F>(self, f: F) -> Flow<T, Filter<C, F>>
    where
        F: Fn(&T) -> bool + Shareable,
    {
        Flow::of(Filter { inner: self.chain, f })
    }

    /// Drops the items for which the function says so.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("odd", |numbers: Flow<u64>| numbers.reject(|n| n % 2 == 0))?;
    /// assert_eq!(program.on(0..5_u64)?, [1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn reject<F>(self, f: F) -> Flow<T, Reject<C, F>>
    where
        F: Fn(&T) -> bool + Shareable,
    {
        Flow::of(Reject { inner: self.chain, f })
    }
}

impl<C, F> Chain for Filter<C, F>
where
    C: Chain,
    F: Fn(&C::Item) -> bool + Shareable,
{
    type Item = C::Item;
    chain_link!("filter");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| if (self.f)(&item) { g(acc, item) } else { acc })
    }
}

impl<C, F> Chain for Reject<C, F>
where
    C: Chain,
    F: Fn(&C::Item) -> bool + Shareable,
{
    type Item = C::Item;
    chain_link!("reject");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| if (self.f)(&item) { acc } else { g(acc, item) })
    }
}
