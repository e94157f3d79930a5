//! `sum_by_key` and `count_by_key`: numbers a key.

use std::marker::PhantomData;
use std::ops::Add;

use crate::chain::{Chain, Data};
use crate::flow::Flow;
use crate::keyed::{self, Key};
use crate::reduction::{Counting, Summing};

impl<K: 'static, V: 'static, C: Chain<Item = (K, V)>> Flow<(K, V), C> {
    /// The sum of the values of each key: a global reduction. Numbers overflow as `+` does.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sums", |pairs: Flow<(char, u64)>| pairs.sum_by_key())?;
    /// assert_eq!(program.on([('a', 1_u64), ('b', 2), ('a', 3)])?, [('a', 4), ('b', 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sum_by_key(self) -> Flow<(K, V)>
    where
        K: Key,
        V: Data + Add<Output = V>,
    {
        Flow::behind(keyed::reduced(self.chain, "sum_by_key", Summing(PhantomData)))
    }

    /// The number of values of each key: a global reduction.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sizes", |pairs: Flow<(char, u64)>| pairs.count_by_key())?;
    /// assert_eq!(program.on([('a', 1_u64), ('b', 2), ('a', 3)])?, [('a', 2), ('b', 1)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn count_by_key(self) -> Flow<(K, u64)>
    where
        K: Key,
    {
        Flow::behind(keyed::reduced(self.chain, "count_by_key", Counting(PhantomData)))
    }
}
