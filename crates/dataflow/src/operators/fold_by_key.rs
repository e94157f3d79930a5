//! `fold_by_key`: the values of each key into an accumulator.

use std::marker::PhantomData;

use crate::chain::{Chain, Data, Shareable};
use crate::flow::Flow;
use crate::keyed::{self, Key};
use crate::reduction::FoldingBy;

impl<K: 'static, V: 'static, C: Chain<Item = (K, V)>> Flow<(K, V), C> {
    /// Folds the values of each key into an accumulator: a global reduction.
    ///
    /// An accumulator begins with `init`, takes values by `fold`, and takes others by `merge`. Values meet in any order and
    /// grouping: the result must not depend on it.
    /// A long [`Text`](crate::Text) that stays in a result keeps its chunk in memory: see [`Text::detached`](crate::Text::detached).
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("bits", |pairs: Flow<(char, u32)>| {
    ///     pairs.fold_by_key(|| 0_u64, |bits, n| bits | 1 << n, |a, b| a | b)
    /// })?;
    /// assert_eq!(program.on([('a', 0_u32), ('b', 1), ('a', 2)])?, [('a', 5), ('b', 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fold_by_key<A, I, F, M>(self, init: I, fold: F, merge: M) -> Flow<(K, A)>
    where
        K: Key,
        A: Data,
        I: Fn() -> A + Shareable,
        F: Fn(A, V) -> A + Shareable,
        M: Fn(A, A) -> A + Shareable,
    {
        let reduction = FoldingBy { init, fold, merge, value: PhantomData };
        Flow::behind(keyed::reduced(self.chain, "fold_by_key", reduction))
    }
}
