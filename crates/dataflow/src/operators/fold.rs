//! `fold`: all items into one accumulator.

use crate::chain::{Chain, Data, Shareable};
use crate::flow::{Flow, Single};
use crate::total::{Totalling, total};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// Folds all items into one accumulator: a global reduction.
    ///
    /// Each task begins with `init`, takes items by `fold`, and its result is taken into the others' by `merge`; merging with
    /// what `init` gives must change nothing. Items meet in any order and grouping: the result must not depend on it.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("bits", |numbers: Flow<u32>| {
    ///     numbers.fold(|| 0_u64, |bits, n| bits | 1 << n, |a, b| a | b)
    /// })?;
    /// assert_eq!(program.on([0, 2, 3_u32])?, 13);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fold<B, I, F, M>(self, init: I, fold: F, merge: M) -> Single<B>
    where
        B: Data,
        I: Fn() -> B + Shareable,
        F: Fn(B, T) -> B + Shareable,
        M: Fn(B, B) -> B + Shareable,
    {
        Flow::of(total(self.chain, "fold", Fold { init, fold, merge }))
    }
}

struct Fold<I, F, M> {
    init: I,
    fold: F,
    merge: M,
}

impl<T, B, I, F, M> Totalling<T> for Fold<I, F, M>
where
    B: Data,
    I: Fn() -> B + Shareable,
    F: Fn(B, T) -> B + Shareable,
    M: Fn(B, B) -> B + Shareable,
{
    type State = B;

    fn start(&self) -> B {
        (self.init)()
    }

    #[inline]
    fn push(&self, state: B, item: T) -> B {
        (self.fold)(state, item)
    }

    fn merge(&self, a: B, b: B) -> B {
        (self.merge)(a, b)
    }
}
