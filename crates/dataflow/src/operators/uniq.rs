//! `uniq`, `uniq_by` and `count_distinct`: each item once.

use std::marker::PhantomData;

use crate::built::View;
use crate::chain::{Chain, Data, Shareable};
use crate::flow::{Flow, Single};
use crate::keyed::{self, Key};
use crate::reduction::Reduction;
use crate::sequence::Sequenced;
use crate::total::One;

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// Each item once, over the whole source: a global reduction. In the order of [`Flow::counts`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("letters", |letters: Flow<char>| letters.uniq())?;
    /// assert_eq!(program.on("banana".chars())?, ['a', 'b', 'n']);
    /// # Ok(())
    /// # }
    /// ```
    pub fn uniq(self) -> Flow<T>
    where
        T: Key,
    {
        let entries = keyed::counts_as::<T, _>(self.chain, "uniq");
        Flow::behind(entries.map(|entries| {
            let keys = |entries: Vec<(T, u64)>| entries.into_iter().map(|(item, _)| item).collect();
            entries.ending_in(keys, |items| items, View::plain())
        }))
    }

    /// The first item in source order of those for which `key` gives the same, over the whole source: a global reduction, in
    /// the order of the keys, which is that of [`Flow::counts`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("by_length", |words: Flow<String>| words.uniq_by(|word| word.len()))?;
    /// assert_eq!(program.on(["to", "be", "or", "not", "a"])?, ["a", "to", "not"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn uniq_by<K, F>(self, key: F) -> Flow<T>
    where
        T: Data,
        K: Key,
        F: Fn(&T) -> K + Shareable,
    {
        let chain = Sequenced { inner: self.chain, f: move |sequence, item| (key(&item), (sequence, item)) };
        let entries = keyed::reduced_to::<T, _, _, _>(chain, "uniq_by", Earliest(PhantomData));
        Flow::behind(entries.map(|entries| {
            let items = |entries: Vec<(K, (u64, T))>| entries.into_iter().map(|(_, (_, item))| item).collect();
            entries.ending_in(items, |items| items, View::plain())
        }))
    }

    /// How many different items there are: a global reduction.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("letters", |letters: Flow<char>| letters.count_distinct())?;
    /// assert_eq!(program.on("banana".chars())?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn count_distinct(self) -> Single<u64>
    where
        T: Key,
    {
        let entries = keyed::counts_as::<u64, _>(self.chain, "count_distinct");
        Flow::of(One::ending(
            "count_distinct",
            entries.map(|entries| entries.ending_in(|entries| entries.len() as u64, |count| vec![count], View::one())),
        ))
    }
}

/// Keeps the value of the lowest sequence number, and of one chunk the first.
struct Earliest<V>(PhantomData<fn(V)>);

impl<V: Data> Reduction for Earliest<V> {
    type Value = (u64, V);
    type State = (u64, V);

    #[inline]
    fn start(&self, value: (u64, V)) -> (u64, V) {
        value
    }

    #[inline]
    fn push(&self, states: &mut Vec<(u64, V)>, index: usize, value: (u64, V)) {
        if let Some(known) = states.get_mut(index)
            && value.0 < known.0
        {
            *known = value;
        }
    }

    #[inline]
    fn merge(&self, states: &mut Vec<(u64, V)>, index: usize, state: (u64, V)) {
        self.push(states, index, state);
    }
}
