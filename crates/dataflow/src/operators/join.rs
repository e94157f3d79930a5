//! `join`, `left_join`, `right_join`, `full_join`, `semi_join` and `anti_join`: two flows by key.

use std::iter;

use super::cogroup::{Group, cogrouped};
use crate::built::View;
use crate::chain::{Chain, Data};
use crate::flow::Flow;
use crate::keyed::Key;

impl<K: Key + Clone, V: Data, A: Chain<Item = (K, V)>> Flow<(K, V), A> {
    /// Each pair of a value of this flow and one of the other flow that have the same key: an inner join of two flows over different
    /// inputs, which see [`Inputs`](crate::Inputs). A global reduction: in the order of the keys, which is that of [`Flow::counts`],
    /// and for each key in source order, that of this flow first.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn joined(inputs: Inputs, (): ()) -> Flow<(u64, (String, u32))> {
    ///     inputs.items::<(u64, String)>("users").join(inputs.items::<(u64, u32)>("orders"))
    /// }
    /// # assert!(TypedProgram::new("joined", joined).is_ok());
    /// ```
    pub fn join<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, (V, W))>
    where
        V: Clone,
        W: Data + Clone,
        B: Chain<Item = (K, W)>,
    {
        self.joined(other, "join", |(key, (left, right))| pairs(key, left, right))
    }

    /// As [`Flow::join`], with the values of this flow whose key the other one lacks.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn joined(inputs: Inputs, (): ()) -> Flow<(u64, (String, Option<u32>))> {
    ///     inputs.items::<(u64, String)>("users").left_join(inputs.items::<(u64, u32)>("orders"))
    /// }
    /// # assert!(TypedProgram::new("joined", joined).is_ok());
    /// ```
    pub fn left_join<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, (V, Option<W>))>
    where
        V: Clone,
        W: Data + Clone,
        B: Chain<Item = (K, W)>,
    {
        self.joined(other, "left_join", |(key, (left, right))| pairs(key, left, or_none(right)))
    }

    /// As [`Flow::join`], with the values of the other flow whose key this one lacks.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn joined(inputs: Inputs, (): ()) -> Flow<(u64, (Option<String>, u32))> {
    ///     inputs.items::<(u64, String)>("users").right_join(inputs.items::<(u64, u32)>("orders"))
    /// }
    /// # assert!(TypedProgram::new("joined", joined).is_ok());
    /// ```
    pub fn right_join<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, (Option<V>, W))>
    where
        V: Clone,
        W: Data + Clone,
        B: Chain<Item = (K, W)>,
    {
        self.joined(other, "right_join", |(key, (left, right))| pairs(key, or_none(left), right))
    }

    /// As [`Flow::join`], with the values of either flow whose key the other one lacks.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn joined(inputs: Inputs, (): ()) -> Flow<(u64, (Option<String>, Option<u32>))> {
    ///     inputs.items::<(u64, String)>("users").full_join(inputs.items::<(u64, u32)>("orders"))
    /// }
    /// # assert!(TypedProgram::new("joined", joined).is_ok());
    /// ```
    #[expect(clippy::type_complexity, reason = "an alias would hide what it gives")]
    pub fn full_join<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, (Option<V>, Option<W>))>
    where
        V: Clone,
        W: Data + Clone,
        B: Chain<Item = (K, W)>,
    {
        self.joined(other, "full_join", |(key, (left, right))| pairs(key, or_none(left), or_none(right)))
    }

    /// The items of this flow whose key the other one has, each once. Order and inputs are as [`Flow::join`] says.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn joined(inputs: Inputs, (): ()) -> Flow<(u64, String)> {
    ///     inputs.items::<(u64, String)>("users").semi_join(inputs.items::<(u64, u32)>("orders"))
    /// }
    /// # assert!(TypedProgram::new("joined", joined).is_ok());
    /// ```
    pub fn semi_join<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, V)>
    where
        W: Data,
        B: Chain<Item = (K, W)>,
    {
        self.joined(other, "semi_join", |(key, (left, right))| {
            keyed(key, if right.is_empty() { Vec::new() } else { left })
        })
    }

    /// The items of this flow whose key the other one lacks. Order and inputs are as [`Flow::join`] says.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Inputs, TypedProgram};
    /// fn joined(inputs: Inputs, (): ()) -> Flow<(u64, String)> {
    ///     inputs.items::<(u64, String)>("users").anti_join(inputs.items::<(u64, u32)>("orders"))
    /// }
    /// # assert!(TypedProgram::new("joined", joined).is_ok());
    /// ```
    pub fn anti_join<W, B>(self, other: Flow<(K, W), B>) -> Flow<(K, V)>
    where
        W: Data,
        B: Chain<Item = (K, W)>,
    {
        self.joined(other, "anti_join", |(key, (left, right))| {
            keyed(key, if right.is_empty() { left } else { Vec::new() })
        })
    }

    fn joined<W, B, U>(
        self,
        other: Flow<(K, W), B>,
        name: &'static str,
        expand: fn(Group<K, V, W>) -> Vec<U>,
    ) -> Flow<U>
    where
        W: Data,
        B: Chain<Item = (K, W)>,
        U: Data,
    {
        let groups = cogrouped::<U, _, _, _, _, _>(self, other, name);
        Flow::behind(groups.map(|groups| {
            let items = move |groups: Vec<Group<K, V, W>>| groups.into_iter().flat_map(expand).collect();
            groups.ending_in(items, |items| items, View::plain())
        }))
    }
}

/// The values, or one that stands for none.
fn or_none<V>(values: Vec<V>) -> Vec<Option<V>> {
    if values.is_empty() { vec![None] } else { values.into_iter().map(Some).collect() }
}

fn keyed<K: Clone, V>(key: K, values: Vec<V>) -> Vec<(K, V)> {
    iter::repeat_n(key, values.len()).zip(values).collect()
}

/// All pairs of the values, each with the key.
fn pairs<K: Clone, V: Clone, W: Clone>(key: K, left: Vec<V>, right: Vec<W>) -> Vec<(K, (V, W))> {
    let mut items = Vec::with_capacity(left.len().saturating_mul(right.len()));
    for value in left {
        items.extend(right.iter().map(|other| (key.clone(), (value.clone(), other.clone()))));
    }
    items
}
