//! `min_by_key` and `max_by_key`: the least and greatest value of each key.

use std::marker::PhantomData;

use crate::chain::{Chain, Data};
use crate::flow::Flow;
use crate::keyed::{self, Key};
use crate::reduction::Extreme;

impl<K: 'static, V: 'static, C: Chain<Item = (K, V)>> Flow<(K, V), C> {
    /// The least value of each key: a global reduction.
    ///
    /// Unlike [`Iterator::min_by_key`] it takes no function: items are pairs of key and value, and each key has a result.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("least", |pairs: Flow<(char, u64)>| pairs.min_by_key())?;
    /// assert_eq!(program.on([('a', 5_u64), ('b', 2), ('a', 3)])?, [('a', 3), ('b', 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn min_by_key(self) -> Flow<(K, V)>
    where
        K: Key,
        V: Data + Ord,
    {
        self.extreme("min_by_key", false)
    }

    /// The greatest value of each key: a global reduction.
    ///
    /// Unlike [`Iterator::max_by_key`] it takes no function: items are pairs of key and value, and each key has a result.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("greatest", |pairs: Flow<(char, u64)>| pairs.max_by_key())?;
    /// assert_eq!(program.on([('a', 5_u64), ('b', 2), ('a', 7)])?, [('a', 7), ('b', 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_by_key(self) -> Flow<(K, V)>
    where
        K: Key,
        V: Data + Ord,
    {
        self.extreme("max_by_key", true)
    }

    fn extreme(self, name: &'static str, greatest: bool) -> Flow<(K, V)>
    where
        K: Key,
        V: Data + Ord,
    {
        Flow::behind(keyed::reduced(self.chain, name, Extreme { greatest, value: PhantomData }))
    }
}
