//! `top`, `take_sort`, `take` and `first`: a few of all items.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::built::View;
use crate::chain::{Chain, Data, Shareable};
use crate::flow::{Flow, Single};
use crate::sequence::Sequenced;
use crate::total::{One, Totalling, total};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// The `n` greatest items, greatest first, after Spark: a global reduction. Of equal ones the first in source order.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("top", |numbers: Flow<u64>| numbers.top(2))?;
    /// assert_eq!(program.on([3, 9, 1, 7_u64])?, [9, 7]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn top(self, n: usize) -> Flow<T>
    where
        T: Data + Ord,
    {
        few(self.chain, "top", n, |a: &T, b: &T| b.cmp(a))
    }

    /// The first `n` items in the order of `compare`, after Flow: a global reduction. Of equal ones the first in source order.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("most_frequent", |lines: Flow<Text>| {
    ///     lines.words().counts().take_sort(2, |(_, a), (_, b)| b.cmp(a))
    /// })?;
    /// assert_eq!(program.on(["a b a c b a"])?, [("a".into(), 3), ("b".into(), 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_sort<F>(self, n: usize, compare: F) -> Flow<T>
    where
        T: Data,
        F: Fn(&T, &T) -> Ordering + Shareable,
    {
        few(self.chain, "take_sort", n, compare)
    }

    /// The first `n` items in source order, after [`Iterator::take`]: a global reduction. The whole source is read.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("take", |numbers: Flow<u64>| numbers.filter(|n| n % 2 == 1).take(2))?;
    /// assert_eq!(program.on(0..9_u64)?, [1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn take(self, n: usize) -> Flow<T>
    where
        T: Data,
    {
        few(self.chain, "take", n, |_: &T, _: &T| Ordering::Equal)
    }

    /// The first item in source order, after Spark: a global reduction. None where there is no item. The whole source is read.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("first", |numbers: Flow<u64>| numbers.filter(|n| *n > 3).first())?;
    /// assert_eq!(program.on(0..9_u64)?, Some(4));
    /// # Ok(())
    /// # }
    /// ```
    pub fn first(self) -> Single<Option<T>>
    where
        T: Data,
    {
        let few = Few { n: 1, compare: Arc::new(|_: &T, _: &T| Ordering::Equal) };
        let kept = total(sequenced(self.chain), "first", few).into_built();
        Flow::of(One::ending(
            "first",
            kept.map(|kept| {
                let first = |mut kept: Vec<(u64, T)>| kept.drain(..).next().map(|(_, item)| item);
                kept.shown_as::<Option<T>>().ending_in(first, |first| vec![first], View::one())
            }),
        ))
    }
}

fn few<T, C, F>(chain: C, name: &'static str, n: usize, compare: F) -> Flow<T>
where
    T: Data,
    C: Chain<Item = T>,
    F: Fn(&T, &T) -> Ordering + Shareable,
{
    let few = Few { n, compare: Arc::new(compare) };
    let at_end = Few { n, compare: Arc::clone(&few.compare) };
    let kept = total(sequenced(chain), name, few).into_built();
    Flow::behind(kept.map(|kept| {
        let items = move |kept: Vec<(u64, T)>| at_end.best(kept).into_iter().map(|(_, item)| item).collect();
        kept.shown_as::<T>().ending_in(items, |items| items, View::plain())
    }))
}

fn sequenced<C: Chain>(inner: C) -> impl Chain<Item = (u64, C::Item)> {
    Sequenced { inner, f: |sequence, item| (sequence, item) }
}

/// Keeps the first `n` items in an order, and where that says nothing in source order.
///
/// Up to `2 n` of them are kept between two looks; once there are `n`, the first `n` are sorted, and whatever would come behind
/// them is dropped at once.
struct Few<F> {
    n: usize,
    compare: Arc<F>,
}

impl<F> Few<F> {
    fn order<T>(&self, a: &(u64, T), b: &(u64, T)) -> Ordering
    where
        F: Fn(&T, &T) -> Ordering,
    {
        (self.compare)(&a.1, &b.1).then(a.0.cmp(&b.0))
    }

    /// Sorted, with no more than `n`. The sort is stable: items of one chunk come in their order.
    fn best<T>(&self, mut kept: Vec<(u64, T)>) -> Vec<(u64, T)>
    where
        F: Fn(&T, &T) -> Ordering,
    {
        kept.sort_by(|a, b| self.order(a, b));
        kept.truncate(self.n);
        kept
    }
}

impl<T: Data, F: Fn(&T, &T) -> Ordering + Shareable> Totalling<(u64, T)> for Few<F> {
    type State = Vec<(u64, T)>;

    fn start(&self) -> Self::State {
        Vec::new()
    }

    #[inline]
    fn push(&self, mut kept: Self::State, item: (u64, T)) -> Self::State {
        let worst = self.n.checked_sub(1).map(|last| kept.get(last));
        if worst.is_none_or(|worst| worst.is_some_and(|worst| self.order(&item, worst).is_ge())) {
            return kept;
        }
        kept.push(item);
        if kept.len() == self.n || kept.len() >= self.n.saturating_mul(2) { self.best(kept) } else { kept }
    }

    fn merge(&self, mut a: Self::State, b: Self::State) -> Self::State {
        a.extend(b);
        self.best(a)
    }
}
