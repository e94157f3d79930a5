//! `map_batch`: many items at a time.

use std::mem;

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable, by_ref};
use crate::flow::Flow;
use crate::run::ChunkRun;

/// Room that is made for a batch beforehand, in items; larger batches grow.
const ITEMS_AHEAD_MAX: usize = 1024;

link_type! {
    /// The link that [`Flow::map_batch`] adds.
    MapBatch, "MapBatch"
}

/// A function with the size of the batches that it takes.
#[derive(Debug, Clone, Copy)]
pub struct Batched<F> {
    items: usize,
    f: F,
}

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// Makes any number of items of each batch of `items` consecutive ones (at least 1).
    ///
    /// A batch does not reach beyond its chunk, whose last one may be smaller: nothing should depend on where batches end.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sums", |numbers: Flow<u64>| {
    ///     numbers.map_batch(2, |batch| [batch.iter().sum::<u64>()])
    /// })?;
    /// assert_eq!(program.on(1..6_u64)?, [3, 7, 5]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn map_batch<I, F>(self, items: usize, f: F) -> Flow<I::Item, MapBatch<C, Batched<F>>>
    where
        I: IntoIterator<Item: 'static>,
        F: Fn(Vec<T>) -> I + Shareable,
    {
        Flow::of(MapBatch { inner: self.chain, f: Batched { items: items.max(1), f } })
    }
}

impl<C, F, I> Chain for MapBatch<C, Batched<F>>
where
    C: Chain,
    F: Fn(Vec<C::Item>) -> I + Shareable,
    I: IntoIterator<Item: 'static>,
{
    type Item = I::Item;
    chain_link!("map_batch");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        let Batched { items, f } = &self.f;
        let room = (*items).min(ITEMS_AHEAD_MAX);
        let (acc, rest) = self.inner.fold(run, (acc, Vec::with_capacity(room)), |(acc, mut batch), item| {
            batch.push(item);
            if batch.len() < *items {
                return (acc, batch);
            }
            let full = mem::replace(&mut batch, Vec::with_capacity(room));
            (f(full).into_iter().fold(acc, by_ref(&mut g)), batch)
        });
        if rest.is_empty() || run.is_halted() { acc } else { f(rest).into_iter().fold(acc, g) }
    }
}
