//! Global reductions to one value: folded in the worker over a whole task, merged on the master.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::message::Segment;
use elastic_flow_wire::{BatchReader, CodecError, SeqEncoder, decode, encode_to_vec};

use crate::built::{Built, MergerFactory, View, assemble};
use crate::chain::{Chain, Data, Outline, sealed};
use crate::error::{MergeError, ProgramError};
use crate::gather::Upstream;
use crate::input::each_gathered;
use crate::merger::Merger;
use crate::run::ChunkRun;
use crate::source::Feed;
use crate::stage::Body;

/// The end of a flow in one value: what `count`, `sum`, `reduce` and `fold` give.
///
/// A program whose flow ends so has that value as its result. Written out as [`Single<T>`](crate::Single).
pub struct One<T> {
    reduction: &'static str,
    built: Result<Built<T, T>, ProgramError>,
}

impl<T> fmt::Debug for One<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("One").field("reduction", &self.reduction).finish_non_exhaustive()
    }
}

impl<T> One<T> {
    /// The end of a flow that has been ended in some other way.
    pub(crate) const fn ending(reduction: &'static str, built: Result<Built<T, T>, ProgramError>) -> Self {
        Self { reduction, built }
    }

    pub(crate) fn into_built(self) -> Result<Built<T, T>, ProgramError> {
        self.built
    }
}

impl<T> sealed::Sealed for One<T> {}

impl<T: Data> Chain for One<T> {
    type Item = T;
    type Output = T;

    #[inline]
    fn fold<A, F>(&self, run: &ChunkRun<'_>, acc: A, f: F) -> A
    where
        F: FnMut(A, T) -> A,
    {
        match run.take_feed() {
            Some(Feed::Gathered(items)) => each_gathered(run, items, acc, f),
            // It is behind a reduction by its type: no other feed comes here.
            Some(_) | None => acc,
        }
    }

    fn takes(&self, input: u16) -> bool {
        self.built.as_ref().is_ok_and(|built| built.layout.on_workers.takes(input))
    }

    fn outline(&self) -> Outline {
        let upstream = match &self.built {
            Ok(built) => Ok(Arc::new(Upstream::of(built))),
            Err(error) => Err(error.clone()),
        };
        Outline { item: type_name::<T>(), operators: Vec::new(), partitioned_by: None, upstream: Some(upstream) }
    }

    fn build(self) -> Result<Built<T, T>, ProgramError> {
        self.built
    }
}

/// How a single value comes about. Merging must not depend on order.
pub(crate) trait Totalling<T>: Send + Sync + 'static {
    type State: Data;
    fn start(&self) -> Self::State;
    fn push(&self, state: Self::State, item: T) -> Self::State;
    fn merge(&self, a: Self::State, b: Self::State) -> Self::State;
}

/// Ends a flow in one value.
pub(crate) fn total<T, C, R>(chain: C, name: &'static str, totalling: R) -> One<R::State>
where
    T: 'static,
    C: Chain<Item = T>,
    R: Totalling<T>,
{
    let outline = chain.outline().then::<R::State>(name);
    let totalling = Arc::new(totalling);
    let for_master = Arc::clone(&totalling);
    let merger: MergerFactory<R::State> = Arc::new(move || {
        let totalling = Arc::clone(&for_master);
        Box::new(TotalMerger { state: None, totalling, item: PhantomData })
    });
    let body = Total { chain, totalling };
    One { reduction: name, built: assemble(outline, body, merger, |value| vec![value], View::one()) }
}

struct Total<C, R> {
    chain: C,
    totalling: Arc<R>,
}

impl<C: Chain, R: Totalling<C::Item>> Body for Total<C, R> {
    type Partial = Option<R::State>;
    type Whole = R::State;
    const COMBINES: bool = true;
    const NAME: &'static str = "total";

    fn takes(&self, input: u16) -> bool {
        self.chain.takes(input)
    }

    fn start(&self, _: u32) -> Self::Partial {
        Some(self.totalling.start())
    }

    fn fold(&self, run: &ChunkRun<'_>, partial: &mut Self::Partial) {
        let state = partial.take().unwrap_or_else(|| self.totalling.start());
        *partial = Some(self.chain.fold(run, state, |state, item| self.totalling.push(state, item)));
    }

    fn encode(&self, partial: Self::Partial) -> Result<(u64, Bytes), CodecError> {
        let mut encoder = SeqEncoder::new();
        if let Some(state) = partial {
            encoder.push(&state)?;
        }
        Ok(encoder.finish())
    }

    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<R::State, CodecError> {
        let push = |state, item| self.totalling.push(state, item);
        Ok(runs.iter().fold(self.totalling.start(), |state, run| self.chain.fold(run, state, push)))
    }
}

struct TotalMerger<T, R: Totalling<T>> {
    state: Option<R::State>,
    totalling: Arc<R>,
    item: PhantomData<fn(T)>,
}

impl<T, R: Totalling<T>> TotalMerger<T, R> {
    fn add(&mut self, state: R::State) {
        self.state = Some(match self.state.take() {
            Some(known) => self.totalling.merge(known, state),
            None => state,
        });
    }
}

impl<T, R: Totalling<T>> Merger<R::State> for TotalMerger<T, R> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        let wrong = |source| MergeError::Segment { receipt: segment.receipt, source };
        let mut reader = BatchReader::new(&segment.body, segment.rows).map_err(wrong)?;
        while let Some(state) = reader.next_item().map_err(wrong)? {
            self.add(state);
        }
        Ok(())
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        encode_to_vec(&self.state).map(Bytes::from).map_err(|source| MergeError::Encode { source })
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        self.state = decode(saved).map_err(|source| MergeError::Saved { source })?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<R::State, MergeError> {
        Ok(self.state.unwrap_or_else(|| self.totalling.start()))
    }
}
