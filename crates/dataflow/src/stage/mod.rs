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
use elastic_flow_wire::message::{ChunkRead, FailureKind, PayloadKind, ReadFrom, Segment, TaskChunk};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::MergeError;
use crate::gather::Gathered;
use crate::run::{ChunkFailure, ChunkRun, panic_message};
use crate::seam::{Stage, TaskContext, TaskFailure, TaskOutput};
use crate::skips::Skips;
use crate::source::{self, Feed, OpenFailure};
use timer::Timer;

/// The receipt of what has none: items that were merged of many.
const NO_RECEIPT: ReceiptId =
    ReceiptId { step: StepId(0), stage: StageId(0), round: 0, partition: 0, sequence: 0, check: 0 };

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

    /// For the debug form.
    const NAME: &'static str;

    /// Whether the chunks of this input go through the stage.
    fn takes(&self, input: u16) -> bool;

    /// An empty output.
    fn start(&self) -> Self::Partial;

    /// Takes a chunk in. A failure is left with `run`.
    fn fold(&self, run: &ChunkRun<'_>, partial: &mut Self::Partial);

    /// Encodes the output, and counts its rows.
    fn encode(&self, partial: Self::Partial) -> Result<(u64, Bytes), CodecError>;

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
        StageId(0)
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
                None => self.guarded(chunk, None, || self.0.start())?,
            };
            let (read, partial) = self.run_chunk(chunk, context, &skips, partial)?;
            if B::COMBINES {
                combined = Some(partial);
            } else {
                segments.push(self.segment(chunk, partial)?);
            }
            reads.push(ChunkRead { nanos: timer.nanos(), ..read });
        }
        if let (Some(partial), Some(first)) = (combined, chunks.first()) {
            segments.push(self.segment(first, partial)?);
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
        let context = TaskContext { stop: Arc::default(), progress: Arc::default(), attempt: nobody, max_skips: 0 };
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
            return Err(failed(chunk, FailureKind::Program, None, message));
        }
        let feed = match source::open(chunk) {
            Ok(feed) => feed,
            Err(OpenFailure::NotHere { message }) => {
                return Err(TaskFailure::NotHere { receipts: vec![chunk.receipt], message });
            }
            Err(OpenFailure::Failed { kind, message }) => return Err(failed(chunk, kind, None, message)),
        };
        let from = match (chunk.payload.kind, &feed) {
            (PayloadKind::Bytes | PayloadKind::Items, _) => ReadFrom::Task,
            (PayloadKind::Split, Feed::Range(_)) => ReadFrom::Nowhere,
            (PayloadKind::Split, _) => ReadFrom::Place,
        };
        let run = ChunkRun::new(context, skips, (chunk.receipt, chunk.input), feed);
        self.guarded(chunk, Some(&run), || self.0.fold(&run, &mut partial))?;
        match run.take_failure() {
            None => {}
            Some(ChunkFailure::Stopped) => return Err(TaskFailure::Stopped),
            Some(ChunkFailure::TooManySkips) => return Err(too_many_skips(chunk, skips)),
            Some(ChunkFailure::Failed { kind, item, message }) => return Err(failed(chunk, kind, item, message)),
        }
        let (receipt, entries, bytes) = (chunk.receipt, run.position(), run.bytes());
        let read = ChunkRead { receipt, entries, bytes, nanos: 0, from };
        Ok((read, partial))
    }

    fn segment(&self, first: &TaskChunk, partial: B::Partial) -> Result<Segment, TaskFailure> {
        let encoded = self.guarded(first, None, || self.0.encode(partial))?;
        let (rows, body) = encoded.map_err(|error| failed(first, FailureKind::User, None, error.to_string()))?;
        Ok(Segment { receipt: first.receipt, rows, digest: xxh3_64(&body), body })
    }

    /// Runs user code; its panic becomes a failure of the chunk, at the item that was at work.
    fn guarded<R>(
        &self,
        chunk: &TaskChunk,
        run: Option<&ChunkRun<'_>>,
        code: impl FnOnce() -> R,
    ) -> Result<R, TaskFailure> {
        // What the code has touched is dropped with the attempt, so that nobody sees it half-done.
        catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
            let item = run.map(ChunkRun::position);
            failed(chunk, FailureKind::Panic, item, panic_message(payload.as_ref()))
        })
    }
}

/// Told with the first skip of the task, which may be of another chunk.
fn too_many_skips(chunk: &TaskChunk, skips: &Skips) -> TaskFailure {
    let kind = FailureKind::Skips;
    match skips.first() {
        Some(first) => {
            TaskFailure::Failed { kind, receipt: Some(first.receipt), item: Some(first.item), message: first.error }
        }
        None => failed(chunk, kind, None, String::new()),
    }
}

fn failed(chunk: &TaskChunk, kind: FailureKind, item: Option<u64>, message: String) -> TaskFailure {
    TaskFailure::Failed { kind, receipt: Some(chunk.receipt), item, message }
}
