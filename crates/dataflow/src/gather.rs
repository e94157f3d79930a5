//! A stage behind a global reduction: run on the master, over what has been merged there.
//!
//! The items need no encoding on their way: they are handed over as the `Vec` that the merging ends in.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_receipt::StageId;
use elastic_flow_wire::message::Segment;

use crate::built::{Built, MergerFactory, Taking};
use crate::error::{MergeError, ProgramError};
use crate::merger::Merger;
use crate::plan::StagePlan;
use crate::routed::{BothSides, Routed, Side};
use crate::stage::{Body, StageOf};

/// The items that a stage behind a global reduction runs over: for each flow that is gathered an input that it takes, by which
/// operators that join flows tell them apart, and a `Vec` of its items.
pub(crate) type Gathered = Vec<(u16, Box<dyn Any + Send>)>;

/// What lies before a chain that begins behind a global reduction.
pub(crate) struct Upstream {
    pub(crate) stages: Vec<StagePlan>,
    /// Those of the stages whose items enter the chain.
    pub(crate) from: Vec<StageId>,
    pub(crate) on_workers: Side,
    merger: MergerFactory<Gathered>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("stages", &self.stages).field("from", &self.from).finish_non_exhaustive()
    }
}

impl Upstream {
    /// A flow that has been ended by a global reduction.
    pub(crate) fn of<T: Send + 'static, O>(built: &Built<T, O>) -> Self {
        let (items, takes) = (Arc::clone(&built.items), Arc::clone(&built.takes));
        let input = (0..=u16::MAX).find(|&input| takes(input)).unwrap_or_default();
        Self {
            stages: built.stages.clone(),
            from: built.stages.last().map(|stage| stage.id).into_iter().collect(),
            on_workers: Side { stage: Arc::clone(&built.stage), takes },
            merger: Arc::new(move || {
                let gathered = move |items: Vec<T>| Ok(vec![(input, Box::new(items) as Box<dyn Any + Send>)]);
                Box::new(Mapped::new(items(), gathered))
            }),
        }
    }

    /// Two flows that `operator` joins.
    pub(crate) fn both(left: &Self, right: &Self, operator: &'static str) -> Result<Self, ProgramError> {
        let (of_left, of_right) = (left.on_workers.clone(), right.on_workers.clone());
        if (0..=u16::MAX).any(|input| (of_left.takes)(input) && (of_right.takes)(input)) {
            return Err(ProgramError::InputOfBoth { operator });
        }
        let behind = |id: StageId| left.stages.len().checked_add(id.0.into()).and_then(|id| u16::try_from(id).ok());
        let behind = |id| behind(id).map(StageId).ok_or(ProgramError::TooManyStages { limit: u16::MAX });
        let mut stages = left.stages.clone();
        for stage in &right.stages {
            let from = stage.from.iter().map(|&id| behind(id)).collect::<Result<_, _>>()?;
            stages.push(StagePlan { id: behind(stage.id)?, from, ..stage.clone() });
        }
        let mut from = left.from.clone();
        for &id in &right.from {
            from.push(behind(id)?);
        }
        let takes: Taking = {
            let (left, right) = (Arc::clone(&of_left.takes), Arc::clone(&of_right.takes));
            Arc::new(move |input| left(input) || right(input))
        };
        let stage = Arc::new(Routed { left: of_left, right: of_right });
        let (left, right) = (Arc::clone(&left.merger), Arc::clone(&right.merger));
        let merger: MergerFactory<Gathered> = Arc::new(move || Box::new(BothSides { left: left(), right: right() }));
        Ok(Self { stages, from, on_workers: Side { stage, takes }, merger })
    }

    /// What merges the results of the workers, and runs `stage` over them at the end; `ends_in` is its last operator.
    pub(crate) fn then<B: Body>(&self, stage: &Arc<StageOf<B>>, ends_in: &'static str) -> MergerFactory<B::Whole> {
        let (merger, stage) = (Arc::clone(&self.merger), Arc::clone(stage));
        Arc::new(move || {
            let stage = Arc::clone(&stage);
            Box::new(Mapped::new(merger(), move |items| stage.run_whole(ends_in, items)))
        })
    }
}

/// A merger whose end goes through a function.
pub(crate) struct Mapped<A, F> {
    inner: Box<dyn Merger<A>>,
    f: F,
    merged: PhantomData<fn(A)>,
}

impl<A, F> Mapped<A, F> {
    pub(crate) fn new<O>(inner: Box<dyn Merger<A>>, f: F) -> Self
    where
        F: FnOnce(A) -> Result<O, MergeError>,
    {
        Self { inner, f, merged: PhantomData }
    }
}

impl<A, O, F> Merger<O> for Mapped<A, F>
where
    F: FnOnce(A) -> Result<O, MergeError> + Send,
{
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        self.inner.merge(segment)
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        self.inner.save()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        self.inner.restore(saved)
    }

    fn finish(self: Box<Self>) -> Result<O, MergeError> {
        let Self { inner, f, .. } = *self;
        f(inner.finish()?)
    }
}
