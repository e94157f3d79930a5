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

use crate::built::{Built, MergerFactory, Parts, Taking};
use crate::error::{MergeError, ProgramError};
use crate::merger::Merger;
use crate::partitioned::{MakeMerging, items_merging};
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
    /// Whether what the workers give is split by key, and exchanged between them.
    is_partitioned: bool,
    /// What has been found for the owners of the partitions to do; nothing before a stage follows that does it.
    partitioned: Option<MakeMerging>,
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
            is_partitioned: built.is_partitioned,
            // Before a second stage, the partitions are merged by the first, and the items are for the stage that follows.
            partitioned: built.partitioned.clone().filter(|_| built.stages.len() > 1),
            merger: Arc::new(move || {
                let gathered = move |items: Vec<T>| Ok(vec![(input, Box::new(items) as Box<dyn Any + Send>)]);
                Box::new(Mapped::new(items(), gathered))
            }),
        }
    }

    /// Two flows that `operator` joins.
    pub(crate) fn both(left: &Self, right: &Self, operator: &'static str) -> Result<Self, ProgramError> {
        if left.is_partitioned || right.is_partitioned {
            return Err(ProgramError::ExchangedSide { operator });
        }
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
        let (is_partitioned, partitioned) = (false, None);
        Ok(Self { stages, from, on_workers: Side { stage, takes }, is_partitioned, partitioned, merger })
    }

    /// What runs where once `stage` follows, which ends in `ends_in`: on the owners of partitions, whose results `merger` puts
    /// together, if it is the first behind an exchange, else on the master.
    pub(crate) fn then<B: Body>(
        &self,
        stage: Arc<StageOf<B>>,
        ends_in: &'static str,
        merger: MergerFactory<B::Whole>,
    ) -> Parts<B::Whole> {
        let Side { stage: on_workers, takes } = self.on_workers.clone();
        let gathered = Arc::clone(&self.merger);
        let is_partitioned = self.is_partitioned;
        let on_master = !is_partitioned || self.partitioned.is_some();
        let (partitioned, merger) = if on_master {
            let merger: MergerFactory<B::Whole> = Arc::new(move || {
                let stage = Arc::clone(&stage);
                Box::new(Mapped::new(gathered(), move |items| stage.run_whole(ends_in, items)))
            });
            (self.partitioned.clone(), merger)
        } else {
            (Some(items_merging(gathered, stage)), merger)
        };
        Parts { stage: on_workers, takes, is_partitioned, partitioned, merger, on_master }
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
