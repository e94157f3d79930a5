//! `try_map`: one item to one, or an error.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::flow_error::IntoFlowError;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::try_map`] adds.
    TryMap, "TryMap"
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Makes another item of each, or errs: a [`FlowError`](crate::FlowError) says whether the attempt has failed, the item is
    /// to be set aside or the step is to end, and any other error fails the attempt. All of them are told with their text and
    /// the position of the item in its chunk.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("numbers", |lines: Flow<Text>| {
    ///     lines.try_map(|line| line.to_str_lossy().parse::<u64>())
    /// })?;
    /// assert_eq!(program.on(["7", "8"])?, [7, 8]);
    /// let error = program.on(["7", "x"]).unwrap_err();
    /// assert_eq!(error.to_string(), "item 1: invalid digit found in string");
    ///
    /// use elastic_flow_dataflow::FlowResultExt;
    /// let program = TypedProgram::new("good_numbers", |lines: Flow<Text>| {
    ///     lines.try_map(|line| line.to_str_lossy().parse::<u64>().or_skip())
    /// })?;
    /// assert_eq!(program.on(["7", "x", "8"])?, [7, 8]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn try_map<U: 'static, E: IntoFlowError, F>(self, f: F) -> Flow<U, TryMap<C, F>>
    where
        F: Fn(T) -> Result<U, E> + Shareable,
    {
        Flow::of(TryMap { inner: self.chain, f })
    }
}

impl<C, F, U, E> Chain for TryMap<C, F>
where
    C: Chain,
    F: Fn(C::Item) -> Result<U, E> + Shareable,
    U: 'static,
    E: IntoFlowError,
{
    type Item = U;
    chain_link!("try_map");

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
                Ok(item) => g(acc, item),
                Err(error) => {
                    run.take_error(error);
                    acc
                }
            }
        })
    }
}
