//! The running of a stage over the chunks of a task.

pub(crate) mod rows;
mod timer;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use elastic_flow_receipt::{Attempt, ReceiptId, StageId, StepId};
use elastic_flow_wire::CodecError;
use elastic_flow_wire::message::{ChunkRead, FailureKind, PayloadKind, ReadFrom, Segment, TaskChunk, digest};

use crate::error::MergeError;
use crate::gather::Gathered;
use crate::run::{ChunkFailure, ChunkRun, panic_message};
use crate::seam::{Stage, TaskContext, TaskFailure, TaskOutput};
use crate::skips::Skips;
use crate::source::{self, Feed, OpenFailure};
use timer::Timer;

/// The number of the stage that reads the source, among those on workers.
pub(crate) const SOURCE_STAGE: StageId = StageId(0);

/// The receipt of what has none: items that were merged of many.
pub(crate) const NO_RECEIPT: ReceiptId =
    ReceiptId { step: StepId(0), stage: SOURCE_STAGE, round: 0, partition: 0, sequence: 0, check: 0 };

/// What a stage does with its items.
pub(crate) trait Body: Send + Sync + 'static {
    /// Output in the making.
    type Partial;

    /// The output over all items at once, on the master.
    type Whole: 'static;

    /// Whether a task gives one output for all its chunks, rather than one a chunk.
    const COMBINES: bool;

    /// Whether what a task gives holds items of the end, which only have to be joined.
    const FINAL: bool = false;

    /// Whether each item of the output has its partition, and the output can be split.
    const BY_KEY: bool = false;

    /// For the debug form.
    const NAME: &'static str;

    /// Whether the chunks of this input go through the stage.
    fn takes(&self, input: u16) -> bool;

    /// An empty output, which is to be split into so many partitions; 0 where it is not.
    fn start(&self, partitions: u32) -> Self::Partial;

    /// Takes a chunk in. A failure is left with `run`.
    fn fold(&self, run: &ChunkRun<'_>, partial: &mut Self::Partial);

    /// Encodes the output, and counts its rows.
    fn encode(&self, partial: Self::Partial) -> Result<(u64, Bytes), CodecError>;

    /// Encodes the output by partitions: their number, rows and bytes, of those alone that get any.
    fn split(&self, partial: Self::Partial, partitions: u32) -> Result<Vec<(u32, u64, Bytes)>, CodecError> {
        let _ = partitions;
        self.encode(partial).map(|(rows, body)| vec![(0, rows, body)])
    }

    /// Takes in all the chunks that there are, and gives the output. A failure is left with its run.
    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<Self::Whole, CodecError>;
}

/// A [`Body`] as the rest of the engine sees it.
pub(crate) struct StageOf<B>(pub(crate) B);

impl<B: Body> fmt::Debug for StageOf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StageOf").field(&B::NAME).finish()
    }
}

impl<B: Body> Stage for StageOf<B> {
    fn id(&self) -> StageId {
        SOURCE_STAGE
    }

    fn run(&self, chunks: &[TaskChunk], context: &TaskContext) -> Result<TaskOutput, TaskFailure> {
        let mut reads = Vec::with_capacity(chunks.len());
        let mut segments = Vec::with_capacity(if B::COMBINES { 1 } else { chunks.len() });
        let mut combined = None;
        let skips = Skips::default();
        for chunk in chunks {
            if context.stop.load(Ordering::Relaxed) {
                return Err(TaskFailure::Stopped);
            }
            let timer = Timer::start();
            let partial = match combined.take() {
                Some(partial) => partial,
                None => Self::guarded(chunk.receipt, None, || self.0.start(context.partitions))?,
            };
            let (read, partial) = self.run_chunk(chunk, context, &skips, partial)?;
            if B::COMBINES {
                combined = Some(partial);
            } else {
                segments.extend(self.output(chunk.receipt, partial, context.partitions)?);
            }
            reads.push(ChunkRead { nanos: timer.nanos(), ..read });
        }
        if let (Some(partial), Some(first)) = (combined, chunks.first()) {
            segments.extend(self.output(first.receipt, partial, context.partitions)?);
        }
        Ok(TaskOutput { chunks: reads, segments, skips: skips.into_items() })
    }
}

impl<B: Body> StageOf<B> {
    /// Runs the stage over all the items that the one before it has given, on the master; `ends_in` is its last operator.
    ///
    /// There is no receipt that a skip could be written to, and nobody else who could try again: any error ends it.
    pub(crate) fn run_whole(&self, ends_in: &'static str, items: Gathered) -> Result<B::Whole, MergeError> {
        let nobody = Attempt { epoch: 0, number: 0 };
        let context = TaskContext {
            stop: Arc::default(),
            progress: Arc::default(),
            attempt: nobody,
            max_skips: 0,
            partitions: 0,
        };
        let skips = Skips::default();
        let runs: Vec<_> = (0..)
            .zip(items)
            .map(|(sequence, (input, items))| {
                let receipt = ReceiptId { sequence, ..NO_RECEIPT };
                ChunkRun::new(&context, &skips, (receipt, input), Feed::Gathered(items))
            })
            .collect();
        let whole = catch_unwind(AssertUnwindSafe(|| self.0.whole(&runs)));
        let failed = |item, message| MergeError::Stage { ends_in, item, message };
        let whole = whole.map_err(|payload| {
            // Of several, the last one that has begun.
            let at = runs.iter().rev().find(|run| run.has_begun()).map(ChunkRun::position);
            failed(at, panic_message(payload.as_ref()))
        })?;
        match runs.iter().find_map(ChunkRun::take_failure) {
            None => whole.map_err(|source| MergeError::Encode { source }),
            Some(ChunkFailure::Failed { item, message, .. }) => Err(failed(item, message)),
            Some(ChunkFailure::TooManySkips | ChunkFailure::Stopped) => {
                let (item, error) = skips.first().map(|first| (first.item, first.error)).unzip();
                Err(failed(item, format!("cannot be skipped here: {}", error.unwrap_or_default())))
            }
        }
    }

    fn run_chunk(
        &self,
        chunk: &TaskChunk,
        context: &TaskContext,
        skips: &Skips,
        mut partial: B::Partial,
    ) -> Result<(ChunkRead, B::Partial), TaskFailure> {
        if !self.0.takes(chunk.input) {
            let message = format!("the flow takes no input of index {}: name the inputs that it asks for", chunk.input);
            return Err(failed(chunk.receipt, FailureKind::Program, None, message));
        }
        let feed = match source::open(chunk) {
            Ok(feed) => feed,
            Err(OpenFailure::NotHere { message }) => {
                return Err(TaskFailure::NotHere { receipts: vec![chunk.receipt], message });
            }
            Err(OpenFailure::Failed { kind, message }) => return Err(failed(chunk.receipt, kind, None, message)),
        };
        let from = match (chunk.payload.kind, &feed) {
            (PayloadKind::Bytes | PayloadKind::Items, _) => ReadFrom::Task,
            (PayloadKind::Split, Feed::Range(_)) => ReadFrom::Nowhere,
            (PayloadKind::Split, _) => ReadFrom::Place,
        };
        let run = ChunkRun::new(context, skips, (chunk.receipt, chunk.input), feed);
        Self::guarded(chunk.receipt, Some(&run), || self.0.fold(&run, &mut partial))?;
        check(&run, chunk.receipt, skips)?;
        let (receipt, entries, bytes) = (chunk.receipt, run.position(), run.bytes());
        let read = ChunkRead { receipt, entries, bytes, nanos: 0, from };
        Ok((read, partial))
    }

    /// Runs the stage over what was merged of a partition, on the worker that owns it.
    pub(crate) fn run_partition(
        &self,
        items: Gathered,
        receipt: ReceiptId,
        context: &TaskContext,
    ) -> Result<TaskOutput, TaskFailure> {
        let skips = Skips::default();
        let mut partial = Self::guarded(receipt, None, || self.0.start(context.partitions))?;
        for (input, items) in items {
            let run = ChunkRun::new(context, &skips, (receipt, input), Feed::Gathered(items));
            Self::guarded(receipt, Some(&run), || self.0.fold(&run, &mut partial))?;
            check(&run, receipt, &skips)?;
        }
        let segments = self.output(receipt, partial, context.partitions)?;
        Ok(TaskOutput { chunks: Vec::new(), segments, skips: skips.into_items() })
    }

    fn segment(&self, receipt: ReceiptId, partial: B::Partial) -> Result<Segment, TaskFailure> {
        let encoded = Self::guarded(receipt, None, || self.0.encode(partial))?;
        let (rows, body) = encoded.map_err(|error| failed(receipt, FailureKind::User, None, error.to_string()))?;
        Ok(Segment { receipt, rows, digest: digest(&body), body })
    }

    /// What a task, or a chunk, gives: one segment, or one a partition that gets any.
    fn output(&self, first: ReceiptId, partial: B::Partial, partitions: u32) -> Result<Vec<Segment>, TaskFailure> {
        if partitions == 0 {
            return Ok(vec![self.segment(first, partial)?]);
        }
        let split = Self::guarded(first, None, || self.0.split(partial, partitions))?;
        let split = split.map_err(|error| failed(first, FailureKind::User, None, error.to_string()))?;
        let segment = |(partition, rows, body): (u32, u64, Bytes)| Segment {
            receipt: ReceiptId { partition, ..first },
            rows,
            digest: digest(&body),
            body,
        };
        Ok(split.into_iter().map(segment).collect())
    }

    /// Runs user code; its panic becomes a failure of the chunk, at the item that was at work.
    fn guarded<R>(receipt: ReceiptId, run: Option<&ChunkRun<'_>>, code: impl FnOnce() -> R) -> Result<R, TaskFailure> {
        // What the code has touched is dropped with the attempt, so that nobody sees it half-done.
        catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
            let item = run.map(ChunkRun::position);
            failed(receipt, FailureKind::Panic, item, panic_message(payload.as_ref()))
        })
    }
}

/// Whether a run went through.
fn check(run: &ChunkRun<'_>, receipt: ReceiptId, skips: &Skips) -> Result<(), TaskFailure> {
    match run.take_failure() {
        None => Ok(()),
        Some(ChunkFailure::Stopped) => Err(TaskFailure::Stopped),
        Some(ChunkFailure::TooManySkips) => Err(too_many_skips(receipt, skips)),
        Some(ChunkFailure::Failed { kind, item, message }) => Err(failed(receipt, kind, item, message)),
    }
}

/// Told with the first skip of the task, which may be of another chunk.
fn too_many_skips(receipt: ReceiptId, skips: &Skips) -> TaskFailure {
    let kind = FailureKind::Skips;
    match skips.first() {
        Some(first) => {
            TaskFailure::Failed { kind, receipt: Some(first.receipt), item: Some(first.item), message: first.error }
        }
        None => failed(receipt, kind, None, String::new()),
    }
}

pub(crate) fn failed(receipt: ReceiptId, kind: FailureKind, item: Option<u64>, message: String) -> TaskFailure {
    TaskFailure::Failed { kind, receipt: Some(receipt), item, message }
}
