//! What of a flow runs on workers: the stage that reads the source, and those behind exchanges.
//!
//! ```text
//! source ──> stage 1 ──> stage 3 ──> master         each stage's output goes to one stage behind it, split by partition, or to
//! source ──> stage 2 ────┘                          the master; a stage may take in what several give
//! ```
//!
//! The stages are numbered from 1, each behind those that it takes from; the source has number 0. A stage that is found before
//! the one that follows it leaves its end open, and whatever comes next closes all open ends.

use std::fmt;
use std::sync::Arc;

use elastic_flow_receipt::StageId;
use elastic_flow_wire::message::TaskChunk;

use crate::built::Taking;
use crate::partitioned::{MakeMerging, Partitioned, addressed};
use crate::seam::{PartitionedStage, Stage, TaskContext, TaskFailure, TaskOutput};
use crate::stage::SOURCE_STAGE;

/// A stage that reads the source, and the inputs that it takes.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) stage: Arc<dyn Stage>,
    pub(crate) takes: Taking,
}

impl Side {
    /// The one of two that takes each chunk's input; what each gives goes through a function of its own.
    pub(crate) fn either(
        left: (Self, impl Fn(TaskOutput) -> TaskOutput + Send + Sync + 'static),
        right: (Self, impl Fn(TaskOutput) -> TaskOutput + Send + Sync + 'static),
    ) -> Self {
        let takes: Taking = {
            let (left, right) = (Arc::clone(&left.0.takes), Arc::clone(&right.0.takes));
            Arc::new(move |input| left(input) || right(input))
        };
        let stage = Arc::new(Routed { left: (left.0, Box::new(left.1)), right: (right.0, Box::new(right.1)) });
        Self { stage, takes }
    }

    /// Whether there are inputs that both take.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        (0..=u16::MAX).any(|input| (self.takes)(input) && (other.takes)(input))
    }
}

/// What is done with the output of a side.
type Then = Box<dyn Fn(TaskOutput) -> TaskOutput + Send + Sync>;

/// Each chunk goes through the stage that takes its input.
struct Routed {
    left: (Side, Then),
    right: (Side, Then),
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed").field("left", &self.left.0.stage).field("right", &self.right.0.stage).finish()
    }
}

impl Stage for Routed {
    fn id(&self) -> StageId {
        SOURCE_STAGE
    }

    fn run(&self, chunks: &[TaskChunk], context: &TaskContext) -> Result<TaskOutput, TaskFailure> {
        let is_left = |chunk: &TaskChunk| (self.left.0.takes)(chunk.input);
        let (left, right): (Vec<_>, Vec<_>) = chunks.iter().cloned().partition(is_left);
        let mut all = TaskOutput { chunks: Vec::new(), segments: Vec::new(), skips: Vec::new() };
        for ((side, then), chunks) in [(&self.left, left), (&self.right, right)] {
            if !chunks.is_empty() {
                let output = then(side.stage.run(&chunks, context)?);
                all.chunks.extend(output.chunks);
                all.segments.extend(output.segments);
                all.skips.extend(output.skips);
            }
        }
        // In the order of the task.
        all.chunks.sort_by_key(|read| chunks.iter().position(|chunk| chunk.receipt == read.receipt));
        Ok(all)
    }
}

/// A stage behind an exchange, and where its output goes: nowhere yet, or in the end to the master.
#[derive(Clone)]
struct Behind {
    make: MakeMerging,
    to: Option<StageId>,
}

/// What runs on workers.
#[derive(Clone)]
pub(crate) struct OnWorkers {
    source: Side,
    /// Where what the source gives goes that is not addressed yet.
    to: Option<StageId>,
    behind: Vec<Behind>,
    /// Whether what the open ends give is split by partition: another stage is to follow on the workers.
    pub(crate) is_split: bool,
}

impl OnWorkers {
    /// The stage that reads the source.
    pub(crate) const fn reading(source: Side, is_split: bool) -> Self {
        Self { source, to: None, behind: Vec::new(), is_split }
    }

    /// Whether the chunks of this input are read.
    pub(crate) fn takes(&self, input: u16) -> bool {
        (self.source.takes)(input)
    }

    pub(crate) const fn source(&self) -> &Side {
        &self.source
    }

    /// Whether anything is exchanged between workers.
    pub(crate) const fn has_exchange(&self) -> bool {
        self.is_split || !self.behind.is_empty()
    }

    /// The first input that is read.
    pub(crate) fn first_input(&self) -> u16 {
        (0..=u16::MAX).find(|&input| self.takes(input)).unwrap_or_default()
    }

    /// The same, and behind all its open ends the stage that `make` makes.
    pub(crate) fn then(mut self, make: MakeMerging, is_split: bool) -> Self {
        let next = Some(stage_number(self.behind.len() + 1));
        self.to = self.to.or(next);
        for stage in &mut self.behind {
            stage.to = stage.to.or(next);
        }
        self.behind.push(Behind { make, to: None });
        self.is_split = is_split;
        self
    }

    /// Both side by side, with all their open ends.
    pub(crate) fn beside(self, right: Self) -> Self {
        let shift = self.behind.len();
        let shifted = move |id: StageId| stage_number(usize::from(id.0) + shift);
        let (to_left, to_right) = (self.to, right.to.map(shifted));
        let source = Side::either(
            (self.source, move |output| addressed(output, |id| if id == SOURCE_STAGE { to_left } else { Some(id) })),
            (right.source, move |output| {
                addressed(output, |id| if id == SOURCE_STAGE { to_right } else { Some(shifted(id)) })
            }),
        );
        let mut behind = self.behind;
        behind.extend(right.behind.into_iter().map(|it| Behind { make: it.make, to: it.to.map(shifted) }));
        Self { source, to: None, behind, is_split: self.is_split || right.is_split }
    }

    /// The stages: those that read the source as one, and those behind exchanges.
    pub(crate) fn into_stages(self) -> (Arc<dyn Stage>, Vec<Arc<dyn PartitionedStage>>) {
        let Some(to) = self.to else { return (self.source.stage, Vec::new()) };
        let source = Arc::new(Addressing { stage: self.source.stage, to });
        let stage = |(number, it): (usize, Behind)| -> Arc<dyn PartitionedStage> {
            Arc::new(Partitioned { id: stage_number(number), to: it.to, make: it.make })
        };
        (source, (1..).zip(self.behind).map(stage).collect())
    }
}

/// A flow has fewer stages than this can count: a plan with more is refused before.
fn stage_number(number: usize) -> StageId {
    StageId(u16::try_from(number).unwrap_or(u16::MAX))
}

/// The stage that reads the source, where what it gives goes to a stage.
struct Addressing {
    stage: Arc<dyn Stage>,
    to: StageId,
}

impl fmt::Debug for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addressing").field("stage", &self.stage).field("to", &self.to).finish()
    }
}

impl Stage for Addressing {
    fn id(&self) -> StageId {
        SOURCE_STAGE
    }

    fn run(&self, chunks: &[TaskChunk], context: &TaskContext) -> Result<TaskOutput, TaskFailure> {
        let output = self.stage.run(chunks, context)?;
        Ok(addressed(output, |id| if id == SOURCE_STAGE { Some(self.to) } else { Some(id) }))
    }
}
