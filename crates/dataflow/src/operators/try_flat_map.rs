//! `try_flat_map`: one item to many, or an error.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable, by_ref};
use crate::flow::Flow;
use crate::flow_error::IntoFlowError;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::try_flat_map`] adds.
    TryFlatMap, "TryFlatMap"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Makes any number of items of each, or errs as the function of [`Flow::try_map`] does.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("below", |numbers: Flow<u64>| {
    ///     numbers.try_flat_map(|n| if n < 9 { Ok(0..n) } else { Err("too many") })
    /// })?;
    /// assert_eq!(program.on([2, 1_u64])?, [0, 1, 0]);
    /// assert_eq!(program.on([2, 1, 9_u64]).unwrap_err().to_string(), "item 2: too many");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn try_flat_map<I, E: IntoFlowError, F>(self, f: F) -> Flow<I::Item, TryFlatMap<C, F>>
    where
        I: IntoIterator<Item: 'static>,
        F: Fn(T) -> Result<I, E> + Shareable,
    {
        Flow::of(TryFlatMap { inner: self.chain, f })
    }
}

impl<C, F, I, E> Chain for TryFlatMap<C, F>
where
    C: Chain,
    F: Fn(C::Item) -> Result<I, E> + Shareable,
    I: IntoIterator<Item: 'static>,
    E: IntoFlowError,
{
    type Item = I::Item;
    chain_link!("try_flat_map");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| {
            if run.is_halted() {
                return acc;
            }
            match (self.f)(item) {
                Ok(items) => items.into_iter().fold(acc, by_ref(&mut g)),
                Err(error) => {
                    run.take_error(error);
                    acc
                }
            }
        })
    }
}
