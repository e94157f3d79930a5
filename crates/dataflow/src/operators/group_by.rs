//! `group_by` and `group_by_key`: all values of each key.

use std::marker::PhantomData;

use crate::chain::{Chain, Data, Shareable};
use crate::flow::Flow;
use crate::keyed::{self, Key};
use crate::reduction::Reduction;
use crate::sequence::{Runs, Sequenced, in_sequence, push_run};

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// The items for which `key` gives the same, in source order: a global reduction.
    ///
    /// All items are kept: where a sum, a number or the greatest is wanted, [`Flow::fold_by_key`] and its kind hold one
    /// value a key. The keys come in the order of [`Flow::counts`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("by_length", |words: Flow<String>| words.group_by(|word| word.len()))?;
    /// let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    /// assert_eq!(program.on(["to", "be", "not"])?, [(2, words(&["to", "be"])), (3, words(&["not"]))]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn group_by<K, F>(self, key: F) -> Flow<(K, Vec<T>)>
    where
        T: Data,
        K: Key,
        F: Fn(&T) -> K + Shareable,
    {
        let chain = Sequenced { inner: self.chain, f: move |sequence, item| (key(&item), (sequence, item)) };
        grouped(chain, "group_by")
    }
}

impl<K: 'static, V: 'static, C: Chain<Item = (K, V)>> Flow<(K, V), C> {
    /// The values of each key, in source order: a global reduction. What [`Flow::group_by`] says of it holds here, too.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("values", |pairs: Flow<(char, u64)>| pairs.group_by_key())?;
    /// assert_eq!(program.on([('b', 5_u64), ('a', 2), ('b', 3)])?, [('a', vec![2]), ('b', vec![5, 3])]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn group_by_key(self) -> Flow<(K, Vec<V>)>
    where
        K: Key,
        V: Data,
    {
        let chain = Sequenced { inner: self.chain, f: |sequence, (key, value)| (key, (sequence, value)) };
        grouped(chain, "group_by_key")
    }
}

fn grouped<K: Key, V: Data, C: Chain<Item = (K, (u64, V))>>(chain: C, name: &'static str) -> Flow<(K, Vec<V>)> {
    let entries = keyed::reduced_to::<(K, Vec<V>), _, _, _>(chain, name, Grouping(PhantomData));
    Flow::behind(entries.map(|entries| {
        let groups =
            |entries: Vec<(K, Runs<V>)>| entries.into_iter().map(|(key, runs)| (key, in_sequence(runs))).collect();
        entries.ending_in(groups, |groups| groups, keyed::view())
    }))
}

/// Keeps all values.
struct Grouping<V>(PhantomData<fn(V)>);

impl<V: Data> Reduction for Grouping<V> {
    type Value = (u64, V);
    type State = Runs<V>;

    #[inline]
    fn start(&self, (sequence, value): (u64, V)) -> Runs<V> {
        vec![(sequence, vec![value])]
    }

    #[inline]
    fn push(&self, states: &mut Vec<Runs<V>>, index: usize, value: (u64, V)) {
        if let Some(runs) = states.get_mut(index) {
            push_run(runs, value);
        }
    }

    #[inline]
    fn merge(&self, states: &mut Vec<Runs<V>>, index: usize, state: Runs<V>) {
        if let Some(runs) = states.get_mut(index) {
            runs.extend(state);
        }
    }
}
