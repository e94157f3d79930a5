//! Global reductions to one value: folded in the worker over a whole task, merged on the master.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::message::{FailureKind, Segment};
use elastic_flow_wire::{BatchReader, CodecError, SeqEncoder, decode, encode_to_vec};

use crate::built::{Built, MergerFactory, View, assemble};
use crate::chain::{Chain, Data, Outline, sealed};
use crate::encoded_output::write_encoded;
use crate::error::{MergeError, ProgramError};
use crate::format::write_row;
use crate::merger::Merger;
use crate::run::ChunkRun;
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

impl<T> sealed::Sealed for One<T> {}

impl<T: Data> Chain for One<T> {
    type Item = T;
    type Output = T;

    /// Nothing runs behind a global reduction: the plan refuses it.
    fn fold<A, F>(&self, run: &ChunkRun<'_>, acc: A, _: F) -> A
    where
        F: FnMut(A, T) -> A,
    {
        run.fail(FailureKind::Program, format!("nothing can follow `{}` within its stage", self.reduction));
        acc
    }

    fn takes(&self, _: u16) -> bool {
        false
    }

    fn outline(&self) -> Outline {
        Outline { item: std::any::type_name::<T>(), operators: Vec::new(), behind: Some(self.reduction) }
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
    let built = chain.outline().end_in::<R::State>(name).map(|outline| {
        let totalling = Arc::new(totalling);
        let for_master = Arc::clone(&totalling);
        let merger: MergerFactory<R::State> = Arc::new(move || {
            let totalling = Arc::clone(&for_master);
            Box::new(TotalMerger { state: None, totalling, item: PhantomData })
        });
        let single = Arc::clone(&merger);
        let items: MergerFactory<Vec<R::State>> = Arc::new(move || Box::new(AsItems(single())));
        let body = Total { chain, totalling };
        let view = View { rows: |_| 1, write: write_row::<R::State>, encode: write_encoded::<R::State> };
        assemble(outline, body, merger, Some(items), view)
    });
    One { reduction: name, built }
}

struct Total<C, R> {
    chain: C,
    totalling: Arc<R>,
}

impl<C: Chain, R: Totalling<C::Item>> Body for Total<C, R> {
    type Partial = Option<R::State>;
    const COMBINES: bool = true;
    const NAME: &'static str = "total";

    fn takes(&self, input: u16) -> bool {
        self.chain.takes(input)
    }

    fn start(&self) -> Self::Partial {
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

/// A single value as the only item.
struct AsItems<O>(Box<dyn Merger<O>>);

impl<O> Merger<Vec<O>> for AsItems<O> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        self.0.merge(segment)
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        self.0.save()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        self.0.restore(saved)
    }

    fn finish(self: Box<Self>) -> Result<Vec<O>, MergeError> {
        Ok(vec![self.0.finish()?])
    }
}
