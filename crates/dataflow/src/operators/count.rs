//! `count`: how many items there are.

use crate::chain::Chain;
use crate::flow::{Flow, Single};
use crate::total::{Totalling, total};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// The number of items, after [`Iterator::count`]: a global reduction. For the number of each see [`Flow::counts`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("count", |letters: Flow<char>| letters.count())?;
    /// assert_eq!(program.on("abca".chars())?, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn count(self) -> Single<u64> {
        Flow::of(total(self.chain, "count", Count))
    }
}

struct Count;

impl<T> Totalling<T> for Count {
    type State = u64;

    fn start(&self) -> u64 {
        0
    }

    #[inline]
    fn push(&self, count: u64, _: T) -> u64 {
        count + 1
    }

    fn merge(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}
