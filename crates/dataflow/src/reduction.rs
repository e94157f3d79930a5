//! Reductions: how a state is made from values, and how two states become one. The same on workers and on the master.

use std::marker::PhantomData;
use std::ops::Add;

use crate::chain::{Data, Shareable, detached};

/// Reduces values of one key, or all of them. Merging must not depend on order: it happens in that of arrival.
pub(crate) trait Reduction: Send + Sync + 'static {
    /// What is reduced.
    type Value;
    /// What it is reduced to; crosses the border.
    type State: Data;

    /// The state of a first value.
    fn start(&self, value: Self::Value) -> Self::State;
    /// Takes a further value into the state at `index`.
    fn push(&self, states: &mut Vec<Self::State>, index: usize, value: Self::Value);
    /// Takes another state into the one at `index`.
    fn merge(&self, states: &mut Vec<Self::State>, index: usize, state: Self::State);
}

/// Replaces the state at `index` by what `f` makes of it; states need be neither cloned nor defaulted.
#[inline]
pub(crate) fn replace<S>(states: &mut Vec<S>, index: usize, f: impl FnOnce(S) -> S) {
    if index < states.len() {
        let state = states.swap_remove(index);
        states.push(f(state));
        let last = states.len() - 1;
        states.swap(index, last);
    }
}

/// Counts values.
pub(crate) struct Counting<V>(pub(crate) PhantomData<fn(V)>);

impl<V: 'static> Reduction for Counting<V> {
    type Value = V;
    type State = u64;

    #[inline]
    fn start(&self, _: V) -> u64 {
        1
    }

    #[inline]
    fn push(&self, states: &mut Vec<u64>, index: usize, _: V) {
        self.merge(states, index, 1);
    }

    #[inline]
    fn merge(&self, states: &mut Vec<u64>, index: usize, state: u64) {
        if let Some(count) = states.get_mut(index) {
            *count += state;
        }
    }
}

/// Adds values.
pub(crate) struct Summing<V>(pub(crate) PhantomData<fn(V)>);

impl<V: Data + Add<Output = V>> Reduction for Summing<V> {
    type Value = V;
    type State = V;

    #[inline]
    fn start(&self, value: V) -> V {
        value
    }

    #[inline]
    fn push(&self, states: &mut Vec<V>, index: usize, value: V) {
        replace(states, index, |sum| sum + value);
    }

    #[inline]
    fn merge(&self, states: &mut Vec<V>, index: usize, state: V) {
        self.push(states, index, state);
    }
}

/// Keeps the least or the greatest value.
pub(crate) struct Extreme<V> {
    pub(crate) greatest: bool,
    pub(crate) value: PhantomData<fn(V)>,
}

impl<V: Data + Ord> Reduction for Extreme<V> {
    type Value = V;
    type State = V;

    #[inline]
    fn start(&self, value: V) -> V {
        detached(value)
    }

    #[inline]
    fn push(&self, states: &mut Vec<V>, index: usize, value: V) {
        if let Some(best) = states.get_mut(index)
            && (if self.greatest { value > *best } else { value < *best })
        {
            *best = detached(value);
        }
    }

    #[inline]
    fn merge(&self, states: &mut Vec<V>, index: usize, state: V) {
        self.push(states, index, state);
    }
}

/// The user's function of two values.
pub(crate) struct ReducingBy<V, F> {
    pub(crate) f: F,
    pub(crate) value: PhantomData<fn(V)>,
}

impl<V: Data, F: Fn(V, V) -> V + Shareable> Reduction for ReducingBy<V, F> {
    type Value = V;
    type State = V;

    #[inline]
    fn start(&self, value: V) -> V {
        value
    }

    #[inline]
    fn push(&self, states: &mut Vec<V>, index: usize, value: V) {
        replace(states, index, |state| (self.f)(state, value));
    }

    #[inline]
    fn merge(&self, states: &mut Vec<V>, index: usize, state: V) {
        self.push(states, index, state);
    }
}

/// The user's accumulator: how it begins, takes a value, and takes another accumulator.
pub(crate) struct FoldingBy<V, I, F, M> {
    pub(crate) init: I,
    pub(crate) fold: F,
    pub(crate) merge: M,
    pub(crate) value: PhantomData<fn(V)>,
}

impl<V, A, I, F, M> Reduction for FoldingBy<V, I, F, M>
where
    V: 'static,
    A: Data,
    I: Fn() -> A + Shareable,
    F: Fn(A, V) -> A + Shareable,
    M: Fn(A, A) -> A + Shareable,
{
    type Value = V;
    type State = A;

    #[inline]
    fn start(&self, value: V) -> A {
        (self.fold)((self.init)(), value)
    }

    #[inline]
    fn push(&self, states: &mut Vec<A>, index: usize, value: V) {
        replace(states, index, |state| (self.fold)(state, value));
    }

    #[inline]
    fn merge(&self, states: &mut Vec<A>, index: usize, state: A) {
        replace(states, index, |known| (self.merge)(known, state));
    }
}
