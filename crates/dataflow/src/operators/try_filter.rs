//! `try_filter`: keeps some items, or errs.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::flow_error::IntoFlowError;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::try_filter`] adds.
    TryFilter, "TryFilter"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Keeps the items for which the function says so, or errs as the function of [`Flow::try_map`] does.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("even", |numbers: Flow<u64>| {
    ///     numbers.try_filter(|&n| if n < 9 { Ok(n % 2 == 0) } else { Err("too large") })
    /// })?;
    /// assert_eq!(program.on([2, 1, 4_u64])?, [2, 4]);
    /// assert_eq!(program.on([2, 9_u64]).unwrap_err().to_string(), "item 1: too large");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn try_filter<E: IntoFlowError, F>(self, f: F) -> Flow<T, TryFilter<C, F>>
    where
        F: Fn(&T) -> Result<bool, E> + Shareable,
    {
        Flow::of(TryFilter { inner: self.chain, f })
    }
}

impl<C, F, E> Chain for TryFilter<C, F>
where
    C: Chain,
    F: Fn(&C::Item) -> Result<bool, E> + Shareable,
    E: IntoFlowError,
{
    type Item = C::Item;
    chain_link!("try_filter");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, |acc, item| {
            if run.is_halted() {
                return acc;
            }
            match (self.f)(&item) {
                Ok(true) => g(acc, item),
                Ok(false) => acc,
                Err(error) => {
                    run.take_error(error);
                    acc
                }
            }
        })
    }
}
