//! `sum`: all items added.

use std::ops::Add;

use crate::chain::{Chain, Data};
use crate::flow::{Flow, Single};
use crate::total::{Totalling, total};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// The sum of the items, from `T::default()`: a global reduction.
    ///
    /// Numbers overflow as `+` does. Floating-point sums depend on grouping within their rounding.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sum", |numbers: Flow<u64>| numbers.sum())?;
    /// assert_eq!(program.on(1..5_u64)?, 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sum(self) -> Single<T>
    where
        T: Data + Default + Add<Output = T>,
    {
        Flow::of(total(self.chain, "sum", Sum))
    }
}

struct Sum;

impl<T: Data + Default + Add<Output = T>> Totalling<T> for Sum {
    type State = T;

    fn start(&self) -> T {
        T::default()
    }

    #[inline]
    fn push(&self, sum: T, item: T) -> T {
        sum + item
    }

    fn merge(&self, a: T, b: T) -> T {
        a + b
    }
}
