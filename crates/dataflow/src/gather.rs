//! A stage behind a global reduction: run on the master, over what has been merged there.
//!
//! The items need no encoding on their way: they are handed over as the `Vec` that the merging ends in.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::message::Segment;

use crate::built::{Built, MergerFactory, Taking};
use crate::error::MergeError;
use crate::merger::Merger;
use crate::plan::StagePlan;
use crate::seam::Stage;
use crate::stage::{Body, StageOf};

/// The items that a stage behind a global reduction runs over: a `Vec` of them.
pub(crate) type Gathered = Box<dyn Any + Send>;

/// What lies before a chain that begins behind a global reduction.
pub(crate) struct Upstream {
    pub(crate) stages: Vec<StagePlan>,
    pub(crate) stage: Arc<dyn Stage>,
    pub(crate) takes: Taking,
    merger: MergerFactory<Gathered>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("stages", &self.stages).finish_non_exhaustive()
    }
}

impl Upstream {
    /// What a flow gives that has been ended by a global reduction.
    pub(crate) fn of<T: Send + 'static, O: 'static>(built: &Built<T, O>, items: MergerFactory<Vec<T>>) -> Self {
        let merger: MergerFactory<Gathered> =
            Arc::new(move || Box::new(Mapped::new(items(), |items| Ok(Box::new(items) as Gathered))));
        Self { stages: built.stages.clone(), stage: Arc::clone(&built.stage), takes: Arc::clone(&built.takes), merger }
    }

    /// What merges the results of the workers, and runs `stage` over them at the end; `ends_in` is its last operator.
    pub(crate) fn then<B: Body>(
        self: &Arc<Self>,
        stage: &Arc<StageOf<B>>,
        ends_in: &'static str,
    ) -> MergerFactory<B::Whole> {
        let (upstream, stage) = (Arc::clone(self), Arc::clone(stage));
        Arc::new(move || {
            let stage = Arc::clone(&stage);
            Box::new(Mapped::new((upstream.merger)(), move |items| stage.run_whole(ends_in, items)))
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
