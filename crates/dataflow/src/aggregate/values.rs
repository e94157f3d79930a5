//! Types that are aggregates of results of their own kind.

use std::collections::{BTreeMap, HashMap};

use elastic_flow_receipt::ReceiptId;

use super::Aggregate;
use crate::chain::Data;
use crate::keyed::Key;

macro_rules! numbers {
    ($ordered:literal: $($number:ty)*) => {$(
        /// Numbers are added, and overflow as `+` does.
        impl Aggregate for $number {
            type Item = $number;
            type State = $number;
            type Output = $number;
            const ORDERED: bool = $ordered;

            fn start(&self) -> $number {
                <$number>::default()
            }

            fn merge(&self, state: &mut $number, item: $number, _: Option<ReceiptId>) {
                *state += item;
            }

            fn finish(&self, state: $number) -> $number {
                state
            }
        }
    )*};
}

numbers!(false: u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
// The order of additions shows in their rounding.
numbers!(true: f32 f64);

/// Vectors are appended, in source order.
impl<T: Data + Sync> Aggregate for Vec<T> {
    type Item = Self;
    type State = Self;
    type Output = Self;
    const ORDERED: bool = true;

    fn start(&self) -> Self {
        Self::new()
    }

    fn merge(&self, state: &mut Self, item: Self, _: Option<ReceiptId>) {
        state.extend(item);
    }

    fn finish(&self, state: Self) -> Self {
        state
    }
}

/// Strings are appended, in source order.
impl Aggregate for String {
    type Item = Self;
    type State = Self;
    type Output = Self;
    const ORDERED: bool = true;

    fn start(&self) -> Self {
        Self::new()
    }

    fn merge(&self, state: &mut Self, item: Self, _: Option<ReceiptId>) {
        state.push_str(&item);
    }

    fn finish(&self, state: Self) -> Self {
        state
    }
}

/// Absent results change nothing; present ones are merged. None where all are absent.
impl<A: Aggregate + Default> Aggregate for Option<A> {
    type Item = Option<A::Item>;
    type State = Option<A::State>;
    type Output = Option<A::Output>;
    const ORDERED: bool = A::ORDERED;

    fn start(&self) -> Self::State {
        None
    }

    fn merge(&self, state: &mut Self::State, item: Self::Item, receipt: Option<ReceiptId>) {
        if let Some(item) = item {
            let inner = A::default();
            inner.merge(state.get_or_insert_with(|| inner.start()), item, receipt);
        }
    }

    fn finish(&self, state: Self::State) -> Self::Output {
        state.map(|state| A::default().finish(state))
    }
}

macro_rules! maps {
    ($map:ident, $($bound:tt)*) => {
        /// The values of each key are merged as their own type is.
        impl<K: Key + Sync + $($bound)*, A: Aggregate + Default> Aggregate for $map<K, A> {
            type Item = $map<K, A::Item>;
            type State = $map<K, A::State>;
            type Output = $map<K, A::Output>;
            const ORDERED: bool = A::ORDERED;

            fn start(&self) -> Self::State {
                $map::new()
            }

            fn merge(&self, state: &mut Self::State, item: Self::Item, receipt: Option<ReceiptId>) {
                let inner = A::default();
                item.into_iter().for_each(|(key, value)| {
                    inner.merge(state.entry(key).or_insert_with(|| inner.start()), value, receipt);
                });
            }

            fn finish(&self, state: Self::State) -> Self::Output {
                let inner = A::default();
                state.into_iter().map(|(key, value)| (key, inner.finish(value))).collect()
            }
        }
    };
}

maps!(HashMap, 'static);
maps!(BTreeMap, Ord);

macro_rules! tuples {
    ($($part:ident $index:tt),*) => {
        /// Each part is merged as its own type is.
        impl<$($part: Aggregate),*> Aggregate for ($($part,)*) {
            type Item = ($($part::Item,)*);
            type State = ($($part::State,)*);
            type Output = ($($part::Output,)*);
            const ORDERED: bool = $($part::ORDERED)||*;

            fn start(&self) -> Self::State {
                ($(self.$index.start(),)*)
            }

            fn merge(&self, state: &mut Self::State, item: Self::Item, receipt: Option<ReceiptId>) {
                $(self.$index.merge(&mut state.$index, item.$index, receipt);)*
            }

            fn finish(&self, state: Self::State) -> Self::Output {
                ($(self.$index.finish(state.$index),)*)
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
