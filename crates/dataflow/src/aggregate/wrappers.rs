//! Aggregates of results of any kind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::marker::PhantomData;

use elastic_flow_receipt::ReceiptId;

use super::Aggregate;
use crate::chain::Data;
use crate::chain::Shareable;

/// A type without values of its own, for any parameters.
macro_rules! marker {
    ($type:ident<$($param:ident),*>) => {
        impl<$($param),*> Clone for $type<$($param),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($param),*> Copy for $type<$($param),*> {}

        impl<$($param),*> Default for $type<$($param),*> {
            fn default() -> Self {
                Self(PhantomData)
            }
        }

        impl<$($param),*> fmt::Debug for $type<$($param),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($type))
            }
        }
    };
}

/// Keeps the last result in source order.
pub struct Last<T>(PhantomData<fn() -> T>);
marker!(Last<T>);

impl<T: Data> Aggregate for Last<T> {
    type Item = T;
    type State = Option<T>;
    type Output = Option<T>;
    const ORDERED: bool = true;

    fn start(&self) -> Option<T> {
        None
    }

    fn merge(&self, state: &mut Option<T>, item: T, _: Option<ReceiptId>) {
        *state = Some(item);
    }

    fn finish(&self, state: Option<T>) -> Option<T> {
        state
    }
}

/// Counts results.
pub struct Count<T>(PhantomData<fn() -> T>);
marker!(Count<T>);

impl<T: 'static> Aggregate for Count<T> {
    type Item = T;
    type State = u64;
    type Output = u64;

    fn start(&self) -> u64 {
        0
    }

    fn merge(&self, state: &mut u64, _: T, _: Option<ReceiptId>) {
        *state += 1;
    }

    fn finish(&self, state: u64) -> u64 {
        state
    }
}

/// Keeps the greatest results, greatest first.
#[derive(Debug, Clone, Copy)]
pub struct TopN<T> {
    n: usize,
    item: PhantomData<fn() -> T>,
}

impl<T> TopN<T> {
    /// Keeps the greatest `n`.
    #[must_use]
    pub const fn new(n: usize) -> Self {
        Self { n, item: PhantomData }
    }
}

impl<T: Data + Ord> Aggregate for TopN<T> {
    type Item = T;
    type State = BinaryHeap<Reverse<T>>;
    type Output = Vec<T>;

    fn start(&self) -> Self::State {
        BinaryHeap::new()
    }

    fn merge(&self, state: &mut Self::State, item: T, _: Option<ReceiptId>) {
        if state.len() < self.n {
            state.push(Reverse(item));
        } else if let Some(mut least) = state.peek_mut()
            && item > least.0
        {
            least.0 = item;
        }
    }

    fn finish(&self, state: Self::State) -> Vec<T> {
        state.into_sorted_vec().into_iter().map(|Reverse(item)| item).collect()
    }
}

/// Collects results into a collection `B`, in source order.
pub struct Collect<T, B = Vec<T>>(PhantomData<fn() -> (T, B)>);
marker!(Collect<T, B>);

impl<T> Collect<T> {
    /// Collects into a `Vec`; for another collection see [`Collect::default`].
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: 'static, B: Data + Default + Extend<T>> Aggregate for Collect<T, B> {
    type Item = T;
    type State = B;
    type Output = B;
    const ORDERED: bool = true;

    fn start(&self) -> B {
        B::default()
    }

    fn merge(&self, state: &mut B, item: T, _: Option<ReceiptId>) {
        state.extend([item]);
    }

    fn finish(&self, state: B) -> B {
        state
    }
}

/// Hands every result to a function as it comes, with its receipt, and gives their number.
///
/// A result is handed over once in the life of a master. One that crashes after it has handed a result over, and before the
/// journal has it, hands it over again: make the function idempotent by the receipt.
pub struct ForEach<T, F> {
    f: F,
    item: PhantomData<fn(T)>,
}

impl<T, F: Fn(Option<ReceiptId>, T)> ForEach<T, F> {
    /// Hands results to `f`.
    pub const fn new(f: F) -> Self {
        Self { f, item: PhantomData }
    }
}

impl<T, F> fmt::Debug for ForEach<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForEach")
    }
}

impl<T: 'static, F: Fn(Option<ReceiptId>, T) + Shareable> Aggregate for ForEach<T, F> {
    type Item = T;
    type State = u64;
    type Output = u64;

    fn start(&self) -> u64 {
        0
    }

    fn merge(&self, state: &mut u64, item: T, receipt: Option<ReceiptId>) {
        (self.f)(receipt, item);
        *state += 1;
    }

    fn finish(&self, state: u64) -> u64 {
        state
    }
}

/// Keeps nothing: what was done is in the audit.
pub struct Track<T>(PhantomData<fn() -> T>);
marker!(Track<T>);

impl<T: 'static> Aggregate for Track<T> {
    type Item = T;
    type State = ();
    type Output = ();

    fn start(&self) {}

    fn merge(&self, (): &mut (), _: T, _: Option<ReceiptId>) {}

    fn finish(&self, (): ()) {}
}

/// What [`Aggregate::unordered`] gives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unordered<A>(pub(super) A);

impl<A: Aggregate> Aggregate for Unordered<A> {
    type Item = A::Item;
    type State = A::State;
    type Output = A::Output;
    const ORDERED: bool = false;

    fn start(&self) -> A::State {
        self.0.start()
    }

    fn merge(&self, state: &mut A::State, item: A::Item, receipt: Option<ReceiptId>) {
        self.0.merge(state, item, receipt);
    }

    fn finish(&self, state: A::State) -> A::Output {
        self.0.finish(state)
    }
}
