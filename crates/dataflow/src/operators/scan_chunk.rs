//! `scan_chunk`: a state along each chunk.

use super::{chain_link, link_type};
use crate::chain::{Chain, Shareable};
use crate::flow::Flow;
use crate::run::ChunkRun;

link_type! {
    /// The link that [`Flow::scan_chunk`] adds.
    ScanChunk, "ScanChunk"
}

/// A state's beginning and its function.
#[derive(Debug, Clone, Copy)]
pub struct Scan<I, F> {
    init: I,
    f: F,
}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Makes an item of each, with a state that goes along with the items of a chunk in their order, after [`Iterator::scan`].
    /// Once `f` gives none, nothing more comes of the chunk, though all of it is read.
    ///
    /// The state begins anew in each chunk, and how a source is cut is not the program's to say, unless by a window
    /// (`distribute.window`): use it for what belongs together within one.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sums", |numbers: Flow<u64>| {
    ///     numbers.scan_chunk(|| 0, |sum, n| {
    ///         *sum += n;
    ///         (*sum < 9).then_some(*sum)
    ///     })
    /// })?;
    /// assert_eq!(program.on(1..6_u64)?, [1, 3, 6]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn scan_chunk<S, U, I, F>(self, init: I, f: F) -> Flow<U, ScanChunk<C, Scan<I, F>>>
    where
        U: 'static,
        I: Fn() -> S + Shareable,
        F: Fn(&mut S, T) -> Option<U> + Shareable,
    {
        Flow::of(ScanChunk { inner: self.chain, f: Scan { init, f } })
    }
}

impl<C, S, U, I, F> Chain for ScanChunk<C, Scan<I, F>>
where
    C: Chain,
    U: 'static,
    I: Fn() -> S + Shareable,
    F: Fn(&mut S, C::Item) -> Option<U> + Shareable,
{
    type Item = U;
    chain_link!("scan_chunk");

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        let mut state = Some((self.f.init)());
        self.inner.fold(run, acc, |acc, item| match state.as_mut().map(|state| (self.f.f)(state, item)) {
            Some(Some(item)) => g(acc, item),
            Some(None) => {
                state = None;
                acc
            }
            None => acc,
        })
    }
}
