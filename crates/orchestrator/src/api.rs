//! What a running master can be asked, and what it answers: plain data, serialisable, shared by the command line, the HTTP face
//! and the typed handles.

use std::sync::Arc;

use elastic_flow_dataflow::seam::StepOutput;
use elastic_flow_dataflow::source::SourceSpec;
use elastic_flow_queue::{OnFailure, StepState};
use elastic_flow_receipt::{NodeId, ReceiptId, StepId};
use serde::{Deserialize, Serialize};

/// A step as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The registered name of the program.
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
    pub key: Option<String>,
    /// For people.
    #[serde(default)]
    pub label: Option<String>,
}

/// A step as `steps` and `step ID` show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What a running step waits for.
    pub waiting_for: Option<String>,
    /// How far it is; none before it starts.
    pub progress: Option<Progress>,
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Chunks conceived so far.
    pub chunks: u64,
    /// Chunks aggregated.
    pub chunks_done: u64,
    /// Chunks set aside.
    pub chunks_set_aside: u64,
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
pub struct WorkerView {
    /// Its incarnation.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its address as the master sees it.
    pub address: String,
    /// Compute threads.
    pub slots: u32,
    /// Whether its build equals the master's.
    pub same_build: bool,
    /// Whether it is leaving.
    pub draining: bool,
    /// Chunks open on it.
    pub open_chunks: u64,
    /// Compute threads at work.
    pub busy: u32,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Nanoseconds since its last heartbeat.
    pub heartbeat_age_nanos: u64,
}

/// The cluster in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Its name.
    pub cluster: String,
    /// The master's epoch.
    pub epoch: u64,
    /// The master's incarnation.
    pub master: NodeId,
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
    /// Whether the master takes submissions.
    pub ready: bool,
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
    /// How far the running step is.
    Progress {
        /// The step.
        step: StepId,
        /// How far it is.
        progress: Progress,
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
}
