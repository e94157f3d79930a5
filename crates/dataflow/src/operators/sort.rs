//! `sort`, `sort_by` and `sort_by_key`: all items in an order.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::codec::MESSAGE_BYTES_MAX;
use elastic_flow_wire::{CodecError, SeqEncoder};

use crate::aggregate::{Aggregating, Collect};
use crate::built::{MergerFactory, View, assemble};
use crate::chain::{Chain, Data, Shareable};
use crate::flow::Flow;
use crate::gather::Mapped;
use crate::run::ChunkRun;
use crate::stage::{Body, rows::pushed};

impl<T: Data, C: Chain<Item = T>> Flow<T, C> {
    /// All items in ascending order: a global reduction. Equal ones stay in source order.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sort", |numbers: Flow<u64>| numbers.sort())?;
    /// assert_eq!(program.on([3, 1, 2_u64])?, [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sort(self) -> Flow<T>
    where
        T: Ord,
    {
        sorted(self.chain, "sort", T::cmp)
    }

    /// All items in the order of `compare`, as [`slice::sort_by`] does it: a global reduction. Equal ones stay in source order.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sort", |numbers: Flow<f64>| numbers.sort_by(|a, b| b.total_cmp(a)))?;
    /// assert_eq!(program.on([0.5, 2.5, 1.5])?, [2.5, 1.5, 0.5]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sort_by<F>(self, compare: F) -> Flow<T>
    where
        F: Fn(&T, &T) -> Ordering + Shareable,
    {
        sorted(self.chain, "sort_by", compare)
    }

    /// All items in the order of what `key` gives: a global reduction. Equal ones stay in source order.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sort", |words: Flow<String>| words.sort_by_key(|word| word.len()))?;
    /// assert_eq!(program.on(["not", "to", "be"])?, ["to", "be", "not"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sort_by_key<K, F>(self, key: F) -> Flow<T>
    where
        K: Ord,
        F: Fn(&T) -> K + Shareable,
    {
        sorted(self.chain, "sort_by_key", move |a, b| key(a).cmp(&key(b)))
    }
}

fn sorted<T, C, F>(chain: C, name: &'static str, compare: F) -> Flow<T>
where
    T: Data,
    C: Chain<Item = T>,
    F: Fn(&T, &T) -> Ordering + Shareable,
{
    let outline = chain.outline().then::<T>(name);
    let compare = Arc::new(compare);
    let at_end = Arc::clone(&compare);
    let merger: MergerFactory<Vec<T>> = Arc::new(move || {
        let compare = Arc::clone(&at_end);
        let chunks = Box::new(Aggregating::new(Collect::<T>::new()));
        Box::new(Mapped::new(chunks, move |mut items: Vec<T>| {
            // Sorted runs in source order: the standard sort finds and merges them.
            items.sort_by(compare.as_ref());
            Ok(items)
        }))
    });
    Flow::behind(assemble(outline, Sorted { chain, compare }, merger, |items| items, View::plain()))
}

/// The items of a chunk, sorted.
struct Sorted<C, F> {
    chain: C,
    compare: Arc<F>,
}

impl<C, F> Body for Sorted<C, F>
where
    C: Chain<Item: Data>,
    F: Fn(&C::Item, &C::Item) -> Ordering + Shareable,
{
    type Partial = Vec<C::Item>;
    type Whole = Vec<C::Item>;
    const COMBINES: bool = false;
    const NAME: &'static str = "sorted";

    fn takes(&self, input: u16) -> bool {
        self.chain.takes(input)
    }

    fn start(&self, _: u32) -> Self::Partial {
        Vec::new()
    }

    fn fold(&self, run: &ChunkRun<'_>, partial: &mut Self::Partial) {
        *partial = self.chain.fold(run, std::mem::take(partial), pushed);
    }

    fn encode(&self, mut items: Self::Partial) -> Result<(u64, Bytes), CodecError> {
        items.sort_by(self.compare.as_ref());
        let mut encoder = SeqEncoder::new();
        for item in &items {
            encoder.push(item)?;
            if encoder.len_bytes() > MESSAGE_BYTES_MAX {
                return Err(CodecError::TooLarge { bytes: encoder.len_bytes(), bytes_max: MESSAGE_BYTES_MAX });
            }
        }
        Ok(encoder.finish())
    }

    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<Self::Whole, CodecError> {
        let mut items = runs.iter().fold(Vec::new(), |items, run| self.chain.fold(run, items, pushed));
        items.sort_by(self.compare.as_ref());
        Ok(items)
    }
}
