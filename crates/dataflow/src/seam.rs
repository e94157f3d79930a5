//! The object-safe seam between generic user code and everything else (DESIGN S6).
//!
//! A [`Program`] is prepared with a step's parameters and gives a plan, the stages that run on workers, a cutter for its
//! source and an aggregator for its results. Nodes run stages on compute threads, the simulator runs them inline.

use std::any::Any;
use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::Bytes;
use elastic_flow_receipt::{ReceiptId, StageId};
use elastic_flow_wire::message::{ChunkRead, FailureKind, Payload, Segment, SkippedItem, TaskChunk};

use crate::error::{MergeError, ProgramError, SourceError};
use crate::format::Format;
use crate::params::Params;
use crate::plan::Plan;
use crate::source::SourceSpec;

/// A registered program: user code behind one name.
pub trait Program: Send + Sync + Debug + 'static {
    /// The name it was registered under.
    fn name(&self) -> &str;

    /// The named inputs that it takes where a step names none.
    fn default_inputs(&self) -> Vec<(String, SourceSpec)>;

    /// Checks the parameters and builds the flow.
    ///
    /// # Errors
    /// Names the parameter or operator that is wrong. Same answer on every node.
    fn prepare(&self, params: &Params) -> Result<Prepared, ProgramError>;
}

/// A program with its parameters bound.
pub struct Prepared {
    /// Stages joined by exchanges.
    pub plan: Plan,
    /// What runs on workers, by [`Stage::id`]. Stages of the plan that run side by side over different inputs are one of them.
    pub stages: Vec<Arc<dyn Stage>>,
    /// What runs on workers behind exchanges, from stage 1 on, each behind those that it takes from; none where the plan has no
    /// exchange, and the first stages' output goes to the master.
    pub partitioned: Vec<Arc<dyn PartitionedStage>>,
    /// Starts the aggregate of a step on the master.
    pub aggregator: AggregatorFactory,
}

impl Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("plan", &self.plan).field("stages", &self.stages).finish_non_exhaustive()
    }
}

/// Makes a fresh aggregator.
pub type AggregatorFactory = Box<dyn Fn() -> Box<dyn Aggregator> + Send + Sync>;

/// What a running task can see of its surroundings.
#[derive(Debug, Clone)]
pub struct TaskContext {
    /// Set when the attempt is not wanted any more: looked at between blocks.
    pub stop: Arc<AtomicBool>,
    /// Items done so far, raised at least once a block, so that stalls can be seen.
    pub progress: Arc<AtomicU64>,
    /// The attempt that runs.
    pub attempt: elastic_flow_receipt::Attempt,
    /// Items that may be skipped in the whole step; a task that skips more alone has failed.
    pub max_skips: u64,
    /// Partitions that the output is split into, for the exchange behind the stage; 0 where it goes to the master.
    pub partitions: u32,
}

/// A stage of a plan, as a worker runs it.
pub trait Stage: Send + Sync + Debug {
    /// Which stage this is.
    fn id(&self) -> StageId;

    /// Runs the stage over the chunks of one task, in their order, and gives its whole output.
    ///
    /// Never panics: a panic of user code is caught and becomes a [`TaskFailure`].
    ///
    /// # Errors
    /// The first failure; the attempt has no output then.
    fn run(&self, chunks: &[TaskChunk], context: &TaskContext) -> Result<TaskOutput, TaskFailure>;
}

/// A stage behind an exchange, as the worker runs it that owns a partition.
pub trait PartitionedStage: Send + Sync + Debug {
    /// Which stage this is.
    fn id(&self) -> StageId;

    /// The stage that its output goes to, split by partition, through another exchange; none where it goes to the master.
    fn to(&self) -> Option<StageId>;

    /// Begins a partition, into which nothing has been merged.
    fn begin(&self) -> Box<dyn Partition>;
}

/// A partition in the making. User code in it may panic: it is caught, and becomes a [`TaskFailure`].
pub trait Partition: Send {
    /// Takes a segment in that a task, or a partition of a stage before, gave for this partition. Each is handed in once, in any order.
    ///
    /// # Errors
    /// The bytes do not decode, or user code that merges fails; the partition is of no use then.
    fn merge(&mut self, segment: &Segment) -> Result<(), TaskFailure>;

    /// Runs the stage over all that was merged, and gives its output under `receipt`, that of the partition.
    ///
    /// # Errors
    /// The failure of the user's code, or of the encoding.
    fn finish(self: Box<Self>, receipt: ReceiptId, context: &TaskContext) -> Result<TaskOutput, TaskFailure>;
}

/// A finished task's output.
#[derive(Debug)]
pub struct TaskOutput {
    /// What was read, one entry a chunk, in order.
    pub chunks: Vec<ChunkRead>,
    /// One for the task where the stage combines, else one a chunk. Of an output that is split, one a partition that gets
    /// any, whose receipt names the partition and the stage that it is for.
    pub segments: Vec<Segment>,
    /// The items that were skipped: not in the output, and counted in what was read.
    pub skips: Vec<SkippedItem>,
}

/// Why a task failed.
#[derive(Debug)]
pub enum TaskFailure {
    /// It failed, and counts as a failure.
    Failed {
        /// Why.
        kind: FailureKind,
        /// The chunk, where it is known.
        receipt: Option<ReceiptId>,
        /// The position of the offending item in that chunk, from 0.
        item: Option<u64>,
        /// For people.
        message: String,
    },
    /// This node has no such file, or another one under that name.
    NotHere {
        /// The chunks concerned.
        receipts: Vec<ReceiptId>,
        /// What was found.
        message: String,
    },
    /// `TaskContext::stop` was set.
    Stopped,
}

/// Cuts a source into chunks, lazily, on the master. Blocking; runs on a thread of its own.
pub trait Cutter: Send {
    /// The next chunk of about `target_bytes` (splits) or `target_items` (enumerables), or none at the end.
    ///
    /// # Errors
    /// The source cannot be read; names the file and what to do.
    fn cut(&mut self, target_bytes: u64, target_items: u64) -> Result<Option<Cut>, SourceError>;

    /// The parts that the source consists of, as they were at submission: what coverage is proven against.
    fn parts(&self) -> &[SourcePart];
}

/// A part of a source: a file, a range, an iterator.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourcePart {
    /// The index of the named input it belongs to.
    pub input: u16,
    /// The path, or what it is.
    pub name: String,
    /// Bytes (files) or items (ranges) at submission; none where it is not known before the end.
    pub length: Option<u64>,
    /// Source bytes that a unit of `length` counts for: 1 where it counts bytes.
    pub unit_bytes: u64,
    /// The server on whose disk it lies, and which alone reads it; none for what the master can read.
    pub server: Option<String>,
    /// Whether that server was missing, so that nobody knows what it has.
    pub missing: bool,
}

/// One chunk, freshly cut.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// The index of the named input.
    pub input: u16,
    /// What it covers: (index into `parts`, offset, length), in bytes or items; several for packed small files.
    pub covers: Vec<Cover>,
    /// Items, where known before reading (enumerables, ranges).
    pub entries: Option<u64>,
    /// Source bytes (splits) or payload bytes (enumerables).
    pub bytes: u64,
    /// What travels.
    pub payload: Payload,
    /// False for a one-shot iterator: the payload cannot be cut again.
    pub repeatable: bool,
}

/// A stretch of a source part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cover {
    /// Index into [`Cutter::parts`].
    pub part: u32,
    /// First byte or item.
    pub offset: u64,
    /// Bytes or items.
    pub length: u64,
}

/// Merges results on the master as they arrive. Each segment is handed in once.
pub trait Aggregator: Send {
    /// Takes a segment in. Any grouping and any order of the chunks gives the same output (order-sensitive ones keep segments
    /// by receipt until their turn).
    ///
    /// # Errors
    /// The bytes do not decode as this program's output.
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError>;

    /// The aggregate so far, encoded, so that [`Aggregator::restore`] of a fresh one gives an equal aggregate.
    ///
    /// # Errors
    /// The output does not encode.
    fn save(&self) -> Result<Bytes, MergeError>;

    /// Starts from a saved aggregate; only before the first merge.
    ///
    /// # Errors
    /// The bytes do not decode.
    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError>;

    /// Ends the aggregation.
    ///
    /// # Errors
    /// The output cannot be made.
    fn finish(self: Box<Self>) -> Result<Box<dyn StepOutput>, MergeError>;
}

/// A step's output, untyped.
pub trait StepOutput: Send + Sync {
    /// The typed value, for `downcast`.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
    /// Rows that `write` gives, where it is a collection; 1 for a single value.
    fn rows(&self) -> u64;
    /// Writes every row in `format`, streamed.
    ///
    /// # Errors
    /// `out` fails.
    fn write(&self, format: Format, out: &mut dyn io::Write) -> io::Result<()>;
    /// Writes all of it, for [`read_encoded`](crate::read_encoded) in a process that has the same type, streamed.
    ///
    /// # Errors
    /// `out` fails, or the type has no encoding.
    fn encode(&self, out: &mut dyn io::Write) -> io::Result<()>;
    /// The program's report: what `run` prints.
    ///
    /// # Errors
    /// `out` fails.
    fn report(&self, out: &mut dyn io::Write) -> io::Result<()>;
    /// What `--output` writes where no format is asked for: the program's own output function, else every row as JSON lines.
    ///
    /// # Errors
    /// `out` fails.
    fn output(&self, out: &mut dyn io::Write) -> io::Result<()> {
        self.write(Format::default(), out)
    }
}
