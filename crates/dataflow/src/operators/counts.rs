//! `counts`: how often each item is there.

use crate::chain::Chain;
use crate::flow::Flow;
use crate::keyed::{self, Key};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// The number of each item, after itertools: a global reduction.
    ///
    /// Counted in the worker over the whole task, added on the master. For the number of all items see
    /// [`Flow::count`].
    ///
    /// The entries come in an order that depends on nothing but the keys: texts, numbers, characters and strings in their own, other
    /// keys in that of their encoded bytes. So it is for all that is reduced by key.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("counts", |letters: Flow<char>| letters.counts())?;
    /// assert_eq!(program.on("abca".chars())?, [('a', 2), ('b', 1), ('c', 1)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn counts(self) -> Flow<(T, u64)>
    where
        T: Key,
    {
        Flow::behind(keyed::counts(self.chain))
    }
}
