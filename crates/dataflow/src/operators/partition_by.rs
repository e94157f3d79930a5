//! `partition_by` and `shuffle`: items to the workers that own their partitions.

use bytes::Bytes;
use elastic_flow_wire::codec::MESSAGE_BYTES_MAX;
use elastic_flow_wire::message::FailureKind;
use elastic_flow_wire::{CodecError, SeqEncoder, encode};

use crate::aggregate::{Aggregating, Collect};
use crate::built::{MergerFactory, View, assemble};
use crate::chain::{Chain, Data, Outline, Shareable};
use crate::flow::Flow;
use crate::keyed::Key;
use crate::partitioned::partition_of;
use crate::run::ChunkRun;
use crate::stage::Body;
use crate::stage::rows::pushed;

impl<T: 'static, C: Chain<Item = T>> Flow<T, C> {
    /// Moves the items to the workers that own the partition of their key: those with equal keys come together, in source order.
    ///
    /// What follows sees a partition as it sees a chunk of the source: [`Flow::fold_chunk`], [`Flow::reduce_chunk`],
    /// [`Flow::scan_chunk`] and [`Flow::map_batch`] over its items. For what can be combined before it moves, [`Flow::partition`] and
    /// a reduction by key move less.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The longest run of readings of each sensor that rise.
    /// let program = TypedProgram::new("runs", |readings: Flow<(u8, u32)>| {
    ///     readings.partition_by(|it| it.0).map_batch(usize::MAX, |mut readings| {
    ///         readings.sort_by_key(|it| it.0);
    ///         let of_sensor = readings.chunk_by(|a, b| a.0 == b.0);
    ///         let runs = |it: &[(u8, u32)]| it.chunk_by(|a, b| a.1 < b.1).map(<[_]>::len).max();
    ///         of_sensor.filter_map(|it| Some((it.first()?.0, runs(it)?))).collect::<Vec<_>>()
    ///     })
    /// })?;
    /// assert_eq!(program.on([(1, 5), (2, 1), (1, 7), (2, 0), (1, 8)])?, [(1, 3), (2, 1)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn partition_by<K, F>(self, key: F) -> Flow<T>
    where
        T: Data,
        K: Key,
        F: Fn(&T) -> K + Shareable,
    {
        placed(self.chain, "partition_by", move |_, item, bytes| encode(&key(item), bytes))
    }

    /// Spreads the items evenly over all workers: where a few chunks make most of the work that follows. Decided by each item's place
    /// in the source, never by when it comes, so that it is the same whenever it is done again.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("sum", |n: Flow<u64>| n.flat_map(|n| 0..n).shuffle().map(|n| n * n).sum())?;
    /// assert_eq!(program.on([3_u64, 2])?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shuffle(self) -> Flow<T>
    where
        T: Data,
    {
        placed(self.chain, "shuffle", |place, _, bytes| encode(&place, bytes))
    }
}

/// Moves items by what `key` writes for them, of their place (the chunk's number and the item's in it) and themselves.
fn placed<T, C, F>(chain: C, name: &'static str, key: F) -> Flow<T>
where
    T: Data,
    C: Chain<Item = T>,
    F: Fn((u64, u64), &T, &mut Vec<u8>) -> Result<(), CodecError> + Shareable,
{
    let outline = Outline { partitioned_by: Some(name), ..chain.outline().then::<T>(name) };
    let merger: MergerFactory<Vec<T>> = std::sync::Arc::new(|| Box::new(Aggregating::new(Collect::<T>::new())));
    Flow::behind(assemble(outline, Placed { chain, key }, merger, |items| items, View::plain()))
}

/// The items of a chain, by partition.
struct Placed<C, F> {
    chain: C,
    key: F,
}

/// Items on their way into partitions.
struct Parts<T> {
    encoders: Vec<SeqEncoder<T>>,
    /// Where keys are encoded.
    key: Vec<u8>,
}

impl<C, F> Body for Placed<C, F>
where
    C: Chain<Item: Data>,
    F: Fn((u64, u64), &C::Item, &mut Vec<u8>) -> Result<(), CodecError> + Shareable,
{
    type Partial = Parts<C::Item>;
    type Whole = Vec<C::Item>;
    const COMBINES: bool = false;
    const FINAL: bool = true;
    const BY_KEY: bool = true;
    const NAME: &'static str = "placed";

    fn takes(&self, input: u16) -> bool {
        self.chain.takes(input)
    }

    fn start(&self, partitions: u32) -> Self::Partial {
        Parts { encoders: (0..partitions.max(1)).map(|_| SeqEncoder::new()).collect(), key: Vec::new() }
    }

    fn fold(&self, run: &ChunkRun<'_>, parts: &mut Self::Partial) {
        let Parts { encoders, key } = parts;
        let partitions = u32::try_from(encoders.len()).unwrap_or(u32::MAX);
        let sequence = run.sequence();
        self.chain.fold(run, 0_u64, |place, item| {
            if run.is_halted() {
                return place;
            }
            key.clear();
            let written = (self.key)((sequence, place), &item, key);
            let encoder = encoders.get_mut(partition_of(key, partitions) as usize);
            let pushed = written.and_then(|()| encoder.map_or(Ok(0), |it| it.push(&item).map(|()| it.len_bytes())));
            match pushed {
                Err(error) => run.fail_item(FailureKind::User, error.to_string()),
                Ok(bytes) if bytes > MESSAGE_BYTES_MAX => {
                    let message = format!("the chunk gives more than {MESSAGE_BYTES_MAX} bytes: make chunks smaller");
                    run.fail_item(FailureKind::Resource, message);
                }
                Ok(_) => {}
            }
            place + 1
        });
    }

    fn encode(&self, mut parts: Self::Partial) -> Result<(u64, Bytes), CodecError> {
        Ok(parts.encoders.pop().map_or_else(|| (0, Bytes::new()), SeqEncoder::finish))
    }

    fn split(&self, parts: Self::Partial, _: u32) -> Result<Vec<(u32, u64, Bytes)>, CodecError> {
        let part = |(part, encoder): (u32, SeqEncoder<C::Item>)| {
            let (rows, body) = encoder.finish();
            (rows > 0).then_some((part, rows, body))
        };
        Ok((0..).zip(parts.encoders).filter_map(part).collect())
    }

    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<Self::Whole, CodecError> {
        Ok(runs.iter().fold(Vec::new(), |items, run| self.chain.fold(run, items, pushed)))
    }
}
