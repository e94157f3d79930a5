//! `counts`: how often each item is there.

use crate::chain::Chain;
use crate::flow::Flow;
use crate::keyed::{self, Key};

impl<T: Key, C: Chain<Item = T>> Flow<T, C> {
    /// The number of each item, after itertools: a global reduction.
    ///
    /// Counted in the worker over the whole task, added on the master. The result is in the order of its keys' bytes. For the
    /// number of all items see [`Flow::count`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("counts", |letters: Flow<char>| letters.counts())?;
    /// assert_eq!(program.on("abca".chars())?, [('a', 2), ('b', 1), ('c', 1)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn counts(self) -> Flow<(T, u64)> {
        Flow::behind("counts", keyed::counts(self.chain))
    }
}
