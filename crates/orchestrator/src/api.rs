//! What a running master can be asked, and what it answers: plain data, serialisable, shared by the command line, the HTTP face
//! and the typed handles.

use std::sync::Arc;

use elastic_flow_dataflow::seam::StepOutput;
use elastic_flow_dataflow::source::SourceSpec;
use elastic_flow_queue::{CallerRole, Command, CommandKind, OnFailure, StepErrorKind, StepState};
use elastic_flow_receipt::{NodeId, ReceiptId, StepId};
use serde::{Deserialize, Serialize};

/// What keys and labels consist of, as a regular expression.
#[cfg(feature = "schema")]
const WITHOUT_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// A step as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Submission {
    /// The registered name of the program.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[A-Za-z0-9._-]{1,128}$")))]
    pub program: String,
    /// Named inputs; empty takes the program's defaults.
    #[serde(default)]
    pub inputs: Vec<(String, SourceSpec)>,
    /// The program's parameters.
    #[serde(default)]
    pub params: Vec<(String, String)>,
    /// What happens to the queue when the step fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The idempotency key.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256), regex(pattern = WITHOUT_CONTROLS)))]
    pub key: Option<String>,
    /// For people.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256), regex(pattern = WITHOUT_CONTROLS)))]
    pub label: Option<String>,
    /// Whether it goes on without what a missing server would have read (`EachWorker` inputs), and then completes with skips.
    #[serde(default)]
    pub allow_missing_servers: bool,
}

/// A step as `steps` and `step ID` show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepView {
    /// Its id.
    pub id: StepId,
    /// Its program.
    pub program: String,
    /// Its label.
    pub label: Option<String>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// Its parameters.
    pub params: Vec<(String, String)>,
    /// Its inputs, for people.
    pub inputs: Vec<String>,
    /// Its state.
    pub state: StepState,
    /// What happens to the queue when it fails.
    pub on_failure: OnFailure,
    /// The step that it replays.
    pub replay_of: Option<StepId>,
    /// Wall time of its submission, unix nanoseconds.
    pub submitted_at: u64,
    /// Wall time of its start.
    pub started_at: Option<u64>,
    /// Wall time of its end.
    pub ended_at: Option<u64>,
    /// Why it failed or was cancelled.
    pub reason: Option<String>,
    /// Why it failed or was cancelled, for programs: `docs/errors.md` has a heading for each.
    #[serde(default)]
    pub error_kind: Option<StepErrorKind>,
    /// What the master was told to do with it, and by whom, oldest first; drains of nodes while it ran are among it.
    pub commands: Vec<CommandView>,
    /// What a running step waits for.
    pub waiting_for: Option<String>,
    /// How far it is; none before it starts.
    pub progress: Option<Progress>,
    /// Which of its files the workers have, as each said before its first task.
    #[serde(default)]
    pub files: Vec<FilesView>,
}

/// Which of a step's files a worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FilesView {
    /// The worker's name.
    pub worker: String,
    /// Files that are there as they were at submission.
    pub here: u32,
    /// Files that are not, of those looked at: the master ships them, unless `source.read` says otherwise.
    pub absent: u32,
    /// What is wrong with the first of those; empty where there are none.
    pub message: String,
}

/// A command that took effect, and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandView {
    /// What was to be done.
    pub what: CommandKind,
    /// The node that was to be drained; none for other commands.
    pub node: Option<String>,
    /// The role that the caller had: that of its token, or `local` for the master's own process, or `worker` for a worker that leaves.
    pub role: CallerRole,
    /// The address that the request came from; none within the master's process.
    pub address: Option<String>,
    /// Wall time at which the master took it, unix nanoseconds.
    pub at: u64,
}

impl CommandView {
    /// A command as it is shown.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        let Command { kind, node, by, at } = command.clone();
        Self { what: kind, node, role: by.role, address: by.address, at }
    }
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Progress {
    /// Chunks conceived so far.
    pub chunks: u64,
    /// Chunks aggregated.
    pub chunks_done: u64,
    /// Chunks set aside.
    pub chunks_set_aside: u64,
    /// Items that were skipped.
    #[serde(default)]
    pub items_skipped: u64,
    /// Chunks open on workers.
    pub chunks_open: u64,
    /// Whether the source has been cut to its end.
    pub source_exhausted: bool,
    /// Bytes of the whole source, where known.
    pub bytes_total: Option<u64>,
    /// Source bytes of aggregated chunks.
    pub bytes_done: u64,
    /// Items of aggregated chunks.
    pub entries_done: u64,
    /// Nanoseconds that the step has run.
    pub elapsed_nanos: u64,
    /// Chunks sent again, for whatever reason.
    pub retried: u64,
}

/// A failure as a step keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FailureView {
    /// The chunk, where known.
    pub receipt: Option<ReceiptId>,
    /// The item's position within it.
    pub item: Option<u64>,
    /// The node's name.
    pub node: String,
    /// What happened.
    pub message: String,
    /// How often the chunk had failed then.
    pub attempts: u32,
    /// The last log lines of the node.
    pub log_tail: Vec<String>,
    /// Whether the chunk was set aside with this.
    pub set_aside: bool,
}

/// A worker as `workers` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerView {
    /// Its incarnation; none if it has not joined.
    pub node: Option<NodeId>,
    /// Whether it is connected. One that is not stands in `[servers]` of the master's configuration, and what else is said of it is
    /// from there, or nothing.
    pub joined: bool,
    /// Its name.
    pub name: String,
    /// Its address, `host:port`: where others reach it, as it advertises or as it listens.
    pub address: String,
    /// Compute threads; 0 if it has not joined and `[servers]` does not say.
    pub slots: u32,
    /// Whether its build equals the master's.
    pub same_build: bool,
    /// Whether it gets no more work: it was drained, or it leaves.
    pub draining: bool,
    /// Whether it counts as living: always, unless `heartbeat.monitor` names one that says otherwise, or has not spoken yet.
    pub living: bool,
    /// Who wanted that; the worker itself where it leaves.
    pub drained: Option<CommandView>,
    /// Chunks open on it.
    pub open_chunks: u64,
    /// Compute threads at work.
    pub busy: u32,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Nanoseconds since its last heartbeat.
    pub heartbeat_age_nanos: u64,
    /// Bytes of accepted results that it read from files on its own disk, since it joined.
    #[serde(default)]
    pub read_in_place_bytes: u64,
    /// Bytes of accepted results that the master had shipped to it, since it joined.
    #[serde(default)]
    pub read_shipped_bytes: u64,
}

/// The cluster in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterView {
    /// Its name.
    pub cluster: String,
    /// The master's epoch.
    pub epoch: u64,
    /// The master's incarnation.
    pub master: NodeId,
    /// Where workers reach the master: the address that it advertises, else the one that it listens on.
    pub address: String,
    /// The master's build, as hexadecimal.
    pub build: String,
    /// The store.
    pub store: String,
    /// Workers connected.
    pub workers: u32,
    /// Registered programs.
    pub programs: Vec<String>,
    /// Nanoseconds since the start.
    pub uptime_nanos: u64,
    /// Workers that must be there for the cluster to count as ready: `admin.min_workers`.
    pub min_workers: u32,
    /// Whether the master takes submissions, and at least `min_workers` workers are there that take its work.
    pub ready: bool,
}

/// What was set aside: an item that user code skipped, or a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeadLetterView {
    /// Its number among those of its step, from 0: the next page begins behind that of the last one seen.
    pub number: u64,
    /// What it is.
    pub kind: DeadLetterKind,
    /// The chunk, or the item's.
    pub receipt: ReceiptId,
    /// The position of the item in the chunk, from 0; of a chunk that was set aside, that of the item it failed at, where known.
    pub item: Option<u64>,
    /// The name of the node that it was on; the master's own where no worker is concerned.
    pub node: String,
    /// Why.
    pub error: String,
    /// The item, where it was a text and is kept: its first 4,096 bytes, those that are no UTF-8 replaced.
    pub text: Option<String>,
    /// Bytes of the whole item, or of its encoding where it is no text; none where it is not kept.
    pub item_bytes: Option<u64>,
}

/// What a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DeadLetterKind {
    /// An item that user code skipped; the rest of its chunk is in the result.
    Skipped,
    /// A whole chunk; a replay runs it again.
    SetAside,
    /// A whole chunk that only a missing server has; a replay runs it when that server is back.
    Missing,
}

impl DeadLetterKind {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::SetAside => "set aside",
            Self::Missing => "missing",
        }
    }
}

/// Which dead letters to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// From this number.
    pub from: u64,
    /// At most so many; 0 takes the default of 1,000.
    pub limit: u32,
}

/// Which receipts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFilter {
    /// Only those last seen on this node (name).
    pub node: Option<String>,
    /// Only those whose last station this is (its name).
    pub station: Option<String>,
    /// From this sequence number.
    pub from: u64,
    /// At most so many; 0 takes the default of 1,000.
    pub limit: u32,
}

/// A receipt as `receipts ID` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReceiptView {
    /// Its id.
    pub id: ReceiptId,
    /// Items read, where known.
    pub entries: Option<u64>,
    /// Bytes at conception.
    pub bytes: u64,
    /// Unix nanoseconds of its conception.
    pub conceived_at: u64,
    /// Where it stands.
    pub station: String,
    /// The node that was last concerned with it.
    pub node: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// Failures so far.
    pub failures: u32,
    /// Times it was open on a worker that was lost.
    pub losses: u32,
    /// What it covers: (part name, offset, length).
    pub covers: Vec<(String, u64, u64)>,
    /// Its last error.
    pub error: Option<String>,
}

/// A step's result.
#[derive(Clone)]
pub struct ResultView {
    /// The output.
    pub output: Arc<Box<dyn StepOutput>>,
    /// False if the step has not completed: the aggregate so far, or as far as it came.
    pub complete: bool,
    /// Receipts aggregated in it.
    pub receipts: u64,
    /// Receipts conceived so far.
    pub receipts_conceived: u64,
}

impl std::fmt::Debug for ResultView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultView")
            .field("rows", &self.output.rows())
            .field("complete", &self.complete)
            .field("receipts", &self.receipts)
            .field("receipts_conceived", &self.receipts_conceived)
            .finish()
    }
}

/// Something that happened, numbered without gaps from 1 within a master's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterEvent {
    /// Its number.
    pub number: u64,
    /// Wall time in unix nanoseconds.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: ClusterEventKind,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ClusterEventKind {
    /// A step changed its state.
    Step {
        /// The step.
        step: StepId,
        /// Its new state.
        state: StepState,
        /// Why.
        reason: Option<String>,
    },
    /// A worker came or went.
    Worker {
        /// Its name.
        name: String,
        /// Whether it is connected now.
        connected: bool,
        /// Why it went.
        reason: Option<String>,
    },
    /// The heartbeat monitor has changed its mind about a worker.
    Verdict {
        /// The worker's name.
        name: String,
        /// Whether it counts as living now.
        living: bool,
    },
    /// How far the running step is.
    Progress {
        /// The step.
        step: StepId,
        /// How far it is.
        progress: Progress,
    },
    /// A worker has looked which of the step's files it has, before its first task that reads any.
    Files {
        /// The step.
        step: StepId,
        /// What it found.
        files: FilesView,
    },
    /// An attempt failed.
    Failure {
        /// The step.
        step: StepId,
        /// How.
        failure: FailureView,
    },
}

/// Why the master did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// There is no such step.
    #[error("there is no step {0}")]
    NoStep(StepId),
    /// No worker of this name is connected.
    #[error("there is no worker {0:?} connected: `workers` lists those that are")]
    NoWorker(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The step is in a state that does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The step has no result (yet, or any more).
    #[error("step {0} has no result: {1}")]
    NoResult(StepId, String),
    /// The store failed; whether the request took effect is unknown.
    #[error("the master's store failed: {0}")]
    Store(String),
    /// The master is stopping or has stopped.
    #[error("the master is stopping")]
    Stopping,
    /// The master, which is in another process, gave no answer; whether the request took effect is unknown.
    #[error("the master is not reached: {0}")]
    Unreached(String),
}
