//! `inspect`: a look at each item.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::inspect`] adds.
    Inspect, "Inspect"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Shows each item to a function, which may be called again for the same item when a chunk is tried again.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    ///
    /// let seen = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&seen);
    /// let program = TypedProgram::new("see", move |numbers: Flow<u64>| {
    ///     let counter = Arc::clone(&counter);
    ///     numbers.inspect(move |_| { counter.fetch_add(1, Ordering::Relaxed); })
    /// })?;
    /// assert_eq!((program.on(4..7_u64)?, seen.load(Ordering::Relaxed)), (vec![4, 5, 6], 3));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn inspect<F>(self, f: F) -> Flow<T, Inspect<C, F>>
    where
        F: Fn(&T) + Shareable,
    {
        Flow::of(Inspect { inner: self.chain, f })
    }
}

impl<C, F> Chain for Inspect<C, F>
where
    C: Chain,
    F: Fn(&C::Item) + Shareable,
{
    type Item = C::Item;
    chain_link!("inspect");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| {
            (self.f)(&item);
            g(acc, item)
        })
    }
}
