//! Source order where items of many chunks meet: each carries the sequence number of its chunk.
//!
//! Within a chunk items come in their order, and a chunk is in one task whole, so that its number is all that is needed.

use crate::built::{self, Built};
use crate::chain::{Chain, Data, Outline, Shareable, sealed};
use crate::error::ProgramError;
use crate::run::ChunkRun;

/// What a function makes of each item of a chain and of the sequence number of its chunk.
pub(crate) struct Sequenced<C, F> {
    pub(crate) inner: C,
    pub(crate) f: F,
}

impl<C, F> sealed::Sealed for Sequenced<C, F> {}

impl<C, F, U> Chain for Sequenced<C, F>
where
    C: Chain,
    F: Fn(u64, C::Item) -> U + Shareable,
    U: 'static,
{
    type Item = U;
    type Output = Vec<U>;

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, mut g: G) -> A
    where
        G: FnMut(A, U) -> A,
    {
        let sequence = run.sequence();
        self.inner.fold(run, acc, |acc, item| g(acc, (self.f)(sequence, item)))
    }

    fn takes(&self, input: u16) -> bool {
        self.inner.takes(input)
    }

    /// No operator of the user's: the plan does not show it.
    fn outline(&self) -> Outline {
        self.inner.outline()
    }

    fn build(self) -> Result<Built<U, Vec<U>>, ProgramError>
    where
        U: Data,
    {
        built::rows(self)
    }
}

/// Values by the sequence number of their chunk: a run for each chunk that they came from.
pub(crate) type Runs<V> = Vec<(u64, Vec<V>)>;

/// Adds a value to the run of its chunk.
#[inline]
pub(crate) fn push_run<V>(runs: &mut Runs<V>, (sequence, value): (u64, V)) {
    match runs.last_mut() {
        Some((last, values)) if *last == sequence => values.push(value),
        _ => runs.push((sequence, vec![value])),
    }
}

/// The values in source order.
pub(crate) fn in_sequence<V>(mut runs: Runs<V>) -> Vec<V> {
    if runs.len() == 1 {
        return runs.pop().map_or_else(Vec::new, |(_, values)| values);
    }
    runs.sort_by_key(|(sequence, _)| *sequence);
    runs.into_iter().flat_map(|(_, values)| values).collect()
}
