//! The operators, one a file: each a method of [`Flow`](crate::Flow) and the link of a chain that it adds.

mod cogroup;
mod count;
mod counts;
mod filter;
mod filter_map;
mod flat_map;
mod fold;
mod fold_by_key;
mod fold_chunk;
#[cfg(test)]
mod global_tests;
mod group_by;
mod inspect;
mod join;
mod map;
mod map_batch;
mod map_values;
mod merge;
mod min_max_by_key;
mod named;
mod partition_by;
mod reduce;
mod reduce_by_key;
mod reduce_chunk;
mod scan_chunk;
mod sort;
mod sum;
mod sum_by_key;
#[cfg(test)]
mod tests;
mod to_ascii_lowercase;
mod top;
mod try_filter;
mod try_flat_map;
mod try_map;
mod uniq;
mod words;

pub use filter::{Filter, Reject};
pub use filter_map::FilterMap;
pub use flat_map::FlatMap;
pub use fold_chunk::{FoldChunk, Folding};
pub use inspect::Inspect;
pub use map::Map;
pub use map_batch::{Batched, MapBatch};
pub use map_values::MapValues;
pub use merge::Merge;
pub use named::Named;
pub use reduce_chunk::ReduceChunk;
pub use scan_chunk::{Scan, ScanChunk};
pub use to_ascii_lowercase::ToAsciiLowercase;
pub use try_filter::TryFilter;
pub use try_flat_map::TryFlatMap;
pub use try_map::TryMap;
pub use words::Words;

/// The parts of a [`Chain`](crate::chain::Chain) that are the same for every operator within a stage: it takes what its `inner`
/// takes, adds itself to the outline, and ends in its items.
macro_rules! chain_link {
    ($name:literal) => {
        type Output = Vec<Self::Item>;

        fn takes(&self, input: u16) -> bool {
            self.inner.takes(input)
        }

        fn outline(&self) -> $crate::chain::Outline {
            self.inner.outline().then::<Self::Item>($name)
        }

        fn build(self) -> Result<$crate::built::Built<Self::Item, Vec<Self::Item>>, $crate::error::ProgramError>
        where
            Self::Item: $crate::chain::Data,
        {
            $crate::built::rows(self)
        }
    };
}
use chain_link;

/// The type of a link with an `inner` chain and a function, and its debug form.
macro_rules! link_type {
    ($(#[$doc:meta])* $type:ident, $name:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $type<C, F> {
            inner: C,
            f: F,
        }

        impl<C, F> $crate::chain::sealed::Sealed for $type<C, F> {}

        impl<C: std::fmt::Debug, F> std::fmt::Debug for $type<C, F> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($name).field("inner", &self.inner).finish_non_exhaustive()
            }
        }
    };
}
use link_type;
