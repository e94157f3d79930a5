//! `reduce_by_key`: the values of each key to one.

use std::marker::PhantomData;

use crate::chain::{Chain, Data, Shareable};
use crate::flow::Flow;
use crate::keyed::{self, Key};
use crate::reduction::ReducingBy;

impl<K: 'static, V: 'static, C: Chain<Item = (K, V)>> Flow<(K, V), C> {
    /// Reduces the values of each key to one: a global reduction.
    ///
    /// Values meet in any order and grouping, so that `f` has to be associative and commutative.
    /// A long [`Text`](crate::Text) that stays in a result keeps its chunk in memory: see [`Text::detached`](crate::Text::detached).
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("any", |pairs: Flow<(char, bool)>| pairs.reduce_by_key(|a, b| a | b))?;
    /// assert_eq!(program.on([('a', false), ('b', false), ('a', true)])?, [('a', true), ('b', false)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reduce_by_key<F>(self, f: F) -> Flow<(K, V)>
    where
        K: Key,
        V: Data,
        F: Fn(V, V) -> V + Shareable,
    {
        let reduction = ReducingBy { f, value: PhantomData };
        Flow::behind(keyed::reduced(self.chain, "reduce_by_key", reduction))
    }
}
