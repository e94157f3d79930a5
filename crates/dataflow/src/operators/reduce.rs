//! `reduce`: all items to one of their kind.

use crate::chain::{Chain, Data, Shareable};
use crate::flow::{Flow, Single};
use crate::total::{Totalling, total};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// Reduces all items to one, after [`Iterator::reduce`]: a global reduction. None where there is no item.
    ///
    /// Items meet in any order and grouping, so that `f` has to be associative and commutative.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("largest", |numbers: Flow<u64>| numbers.reduce(u64::max))?;
    /// assert_eq!(program.on([3, 7, 5_u64])?, Some(7));
    /// # Ok(())
    /// # }
    /// ```
    pub fn reduce<F>(self, f: F) -> Single<Option<T>>
    where
        T: Data,
        F: Fn(T, T) -> T + Shareable,
    {
        Flow::of(total(self.chain, "reduce", Reduce(f)))
    }
}

struct Reduce<F>(F);

impl<T: Data, F: Fn(T, T) -> T + Shareable> Totalling<T> for Reduce<F> {
    type State = Option<T>;

    fn start(&self) -> Option<T> {
        None
    }

    #[inline]
    fn push(&self, known: Option<T>, item: T) -> Option<T> {
        Some(match known {
            Some(known) => (self.0)(known, item),
            None => item,
        })
    }

    fn merge(&self, a: Option<T>, b: Option<T>) -> Option<T> {
        match b {
            Some(b) => self.push(a, b),
            None => a,
        }
    }
}
