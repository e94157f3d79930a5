//! A stage behind a global reduction: run on the master, over what has been merged there.
//!
//! The items need no encoding on their way: they are handed over as the `Vec` that the merging ends in.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::message::Segment;

use crate::built::{Built, Layout, MergerFactory};
use crate::error::{MergeError, ProgramError};
use crate::merger::Merger;
use crate::partitioned::items_merging;
use crate::routed::{BothSides, tagged_sides};
use crate::stage::{Body, StageOf};
use crate::workers::OnWorkers;

/// The items that a stage behind a global reduction runs over: for each flow that is gathered an input that it takes, by which
/// operators that join flows tell them apart, and a `Vec` of its items.
pub(crate) type Gathered = Vec<(u16, Box<dyn Any + Send>)>;

/// What lies before a chain that begins behind a global reduction.
pub(crate) struct Upstream {
    pub(crate) layout: Layout,
    merger: MergerFactory<Gathered>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("stages", &self.layout.stages).finish_non_exhaustive()
    }
}

impl Upstream {
    /// A flow that has been ended by a global reduction.
    pub(crate) fn of<T: Send + 'static, O>(built: &Built<T, O>) -> Self {
        let items = Arc::clone(&built.items);
        let input = built.layout.on_workers.first_input();
        Self {
            layout: built.layout.clone(),
            merger: Arc::new(move || {
                let gathered = move |items: Vec<T>| Ok(vec![(input, Box::new(items) as Box<dyn Any + Send>)]);
                Box::new(Mapped::new(items(), gathered))
            }),
        }
    }

    /// Two flows that `operator` joins on the master.
    pub(crate) fn both(left: &Self, right: &Self, operator: &'static str) -> Result<Self, ProgramError> {
        let is_exchanged = |it: &Self| it.layout.on_workers.has_exchange();
        if is_exchanged(left) || is_exchanged(right) {
            return Err(ProgramError::ExchangedSide { operator });
        }
        let sides = [left, right].map(|it| it.layout.on_workers.source().clone());
        let [of_left, of_right] = sides;
        if of_left.overlaps(&of_right) {
            return Err(ProgramError::InputOfBoth { operator });
        }
        let on_workers = OnWorkers::reading(tagged_sides(of_left, of_right), false);
        let layout = left.layout.beside(&right.layout, on_workers)?;
        let (left, right) = (Arc::clone(&left.merger), Arc::clone(&right.merger));
        let merger: MergerFactory<Gathered> = Arc::new(move || Box::new(BothSides { left: left(), right: right() }));
        Ok(Self { layout, merger })
    }

    /// What there is once `stage` follows, which ends in `ends_in`, and the merger of it: on the owners of partitions, whose results
    /// `merger` puts together, where what lies before is split by partition, else on the master.
    pub(crate) fn then<B: Body>(
        &self,
        stage: Arc<StageOf<B>>,
        ends_in: &'static str,
        is_split: bool,
        merger: MergerFactory<B::Whole>,
    ) -> (Layout, MergerFactory<B::Whole>) {
        let mut layout = Layout { closing: None, ..self.layout.clone() };
        let gathered = Arc::clone(&self.merger);
        if layout.on_workers.is_split {
            layout.on_workers = layout.on_workers.then(items_merging(gathered, stage), is_split);
            return (layout, merger);
        }
        let merger: MergerFactory<B::Whole> = Arc::new(move || {
            let stage = Arc::clone(&stage);
            Box::new(Mapped::new(gathered(), move |items| stage.run_whole(ends_in, items)))
        });
        (layout, merger)
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
