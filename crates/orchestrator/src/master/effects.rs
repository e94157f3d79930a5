//! What goes into the master's deciding code, and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_dataflow::seam::{Cover, Cut, SourcePart};
use elastic_flow_queue::{Caller, StepErrorKind, StepSpec, StepState};
use elastic_flow_receipt::{Attempt, Earlier, NodeId, ReceiptId, StepId};
use elastic_flow_wire::message::{Found, HeldTask, Message, Payload, PeerUnreached, Segment, TaskResult};

use super::account::Account;
use crate::api::{ApiError, FailureView, FilesView};
use crate::interceptor::{ChunkEvent, Counts};
use crate::journal::Record;

/// Names a request, so that its answer finds the way back.
pub type RequestId = u64;

/// A worker, as the handshake showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its incarnation.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its address, as the master sees it.
    pub address: String,
    /// Compute threads.
    pub slots: u32,
    /// Its build.
    pub build: u128,
}

/// What the shell found when it opened a step's program and source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Digest of the plan.
    pub plan: u64,
    /// Its stages behind exchanges, which run on workers.
    pub exchanged_stages: u16,
    /// The parts of the source.
    pub parts: Vec<SourcePart>,
    /// Chunks of the step that it replays and that did not get into its result, with their old receipts.
    pub replays: Vec<(ReceiptId, Cut)>,
    /// Whether there is a source to cut beside those.
    pub cuts: bool,
    /// Payloads that were asked for with [`Before::wanted`].
    pub refilled: Vec<(ReceiptId, Payload)>,
    /// The source that is cut: the submitted one, or what a replayed step left of its own.
    pub source: Bytes,
    /// What a replayed step had cut of it.
    pub cut_earlier: Vec<Vec<Cover>>,
    /// What a replay goes on from: what is in the result of the step that it replays.
    pub earlier: Option<Box<Earlier>>,
    /// Whether `source` has what the servers answered, so that it is another one than before.
    pub expanded: bool,
    /// What a worker is asked before it reads files; none if there are none that the master can read, too.
    pub question: Option<Bytes>,
}

/// A step that is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The step.
    pub step: StepId,
    /// What was submitted.
    pub spec: StepSpec,
    /// What its source was found to be at submission.
    pub source: Bytes,
    /// What was cut of its source before (a master that goes on).
    pub cut_before: Vec<Before>,
    /// Whether it was cut to its end then.
    pub exhausted: bool,
    /// What the servers have of it, where they had to be asked: none for one that is missing.
    pub answers: Vec<(String, Option<Bytes>)>,
}

/// A chunk that was cut before the master went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its receipt.
    pub receipt: ReceiptId,
    /// Its cut; without the payload's body where it was shipped.
    pub cut: Cut,
    /// Digest of the payload's body.
    pub digest: u64,
    /// Whether it is from the source that is cut, and not taken over from a step that is replayed.
    pub from_source: bool,
    /// Whether its payload is gone and needed again.
    pub wanted: bool,
}

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A client wants a step queued, whose source was found to be this.
    Submit(RequestId, Caller, Box<StepSpec>, Bytes),
    /// A client wants a step cancelled.
    Cancel(RequestId, Caller, StepId),
    /// A client wants the workers of this name to get no more work, and to finish what they have.
    DrainWorker(RequestId, Caller, String),
    /// A worker is there.
    NodeUp(Joined),
    /// A worker is gone.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// A worker leaves and wants no more.
    NodeDraining(NodeId),
    /// What a worker that has just joined has of earlier links.
    Holding(NodeId, Vec<HeldTask>),
    /// A worker's heartbeat, with the attempts that it holds.
    Pulse {
        /// Which.
        node: NodeId,
        /// Attempts that it has queued, at work, or finished and not acknowledged.
        holding: Vec<Attempt>,
    },
    /// The answer to [`Effect::Open`], where what the source is has to be asked of the servers first.
    AskServers(StepId, Bytes),
    /// What a worker found when it looked.
    Found(NodeId, Found),
    /// A heartbeat monitor's verdict on workers that it was asked about: whether they count as living.
    Verdict(BTreeMap<NodeId, bool>),
    /// The answer to [`Effect::Open`].
    Opened(StepId, Result<Opened, Cause>),
    /// The answer to [`Effect::Cut`].
    Cut {
        /// The step.
        step: StepId,
        /// The chunks, in source order; fewer than asked for only at the end.
        cuts: Vec<Cut>,
        /// Whether that was the end.
        exhausted: bool,
    },
    /// The source cannot be read on.
    CutFailed(StepId, Cause),
    /// The answer to [`Effect::Ship`].
    Shipped(ReceiptId, Result<Payload, String>),
    /// A task's result.
    Result(NodeId, TaskResult),
    /// A worker cannot reach another one.
    Unreached(NodeId, PeerUnreached),
    /// All records up to and with this one are in the journal, durably as configured.
    Journaled(u64),
    /// Some segment was not this program's output.
    MergeFailed(StepId, Cause),
    /// The answer to [`Effect::Finish`]: the aggregate was made and kept, with what is to be said of its source; or why not.
    Finished(StepId, Result<Vec<String>, Cause>),
    /// Time has passed.
    Tick,
    /// The master is to stop: running tasks may end, nothing new starts. None asks if a step's action on failure does.
    Drain(Option<Caller>),
    /// The master stops now; what runs is interrupted.
    Interrupt,
}

/// How a step comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All its chunks have their final station.
    Done,
    /// It was cancelled.
    Cancelled,
    /// It failed.
    Failed(Cause),
}

/// Why a step fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// For programs.
    pub kind: StepErrorKind,
    /// For people.
    pub message: String,
}

impl Cause {
    pub(crate) fn new(kind: StepErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// Something is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Append this record; records are numbered from 1 in the order of these effects.
    Journal(u64, Record),
    /// Answer a client: with the step that it is about; of a drain, the one that runs, if one does.
    Reply(RequestId, Result<Option<StepId>, ApiError>),
    /// Send a message to a worker.
    Send(NodeId, Message),
    /// Open program, source and aggregate of a step; cut nothing of what is there already.
    Open(Box<Open>),
    /// Cut more of the source.
    Cut {
        /// The step.
        step: StepId,
        /// Chunks, at most.
        chunks: u32,
        /// Bytes of a chunk, about.
        target_bytes: u64,
        /// Items of a chunk.
        target_items: u64,
    },
    /// Turn a split into the bytes it covers.
    Ship(ReceiptId, Payload),
    /// Merge a task's result.
    Merge(StepId, Vec<Segment>),
    /// Make the step's output, keep it together with the payloads of the chunks that are not in it.
    Finish {
        /// The step.
        step: StepId,
        /// How it ends.
        ending: Ending,
        /// Chunks that are not in the result.
        left: Vec<(ReceiptId, Cut)>,
        /// Its source.
        source: Bytes,
        /// What was cut of the source, where that was not all.
        rest: Option<Vec<Vec<Cover>>>,
        /// What is known of its chunks, for questions after its end.
        account: Arc<Account>,
    },
    /// Keep a payload in the store: an attempt on it has failed or its worker is lost.
    Keep(ReceiptId, Cut),
    /// The step has ended and its end is in the journal.
    Ended(StepId, StepState),
    /// Tell interceptors, events and metrics.
    Observe(Observation),
    /// The step left the queue for good: what the store has of it may go.
    Forget(StepId),
    /// The queue asks for the cluster's end (`on_failure = "terminate"`).
    Terminate(StepId),
    /// Nothing runs any more; the master may stop.
    Drained,
}

/// What is told to interceptors, the event stream and the metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// A chunk was at a station.
    Chunk(Hook, ChunkEvent),
    /// A chunk has its final station.
    ChunkComplete(ChunkEvent, Counts),
    /// A step changed its state.
    Step {
        /// The step.
        step: StepId,
        /// From; none when it was submitted.
        from: Option<StepState>,
        /// To.
        to: StepState,
        /// Why.
        reason: Option<String>,
    },
    /// A worker came or went.
    Worker {
        /// Its name.
        name: String,
        /// Whether it is there now.
        connected: bool,
        /// Why it went.
        reason: Option<String>,
    },
    /// A worker has looked for the step's files.
    Files(StepId, FilesView),
    /// A heartbeat monitor has changed its mind about a worker.
    Verdict {
        /// The worker's name.
        name: String,
        /// Whether it counts as living now.
        living: bool,
    },
    /// An attempt failed.
    Failure(StepId, FailureView),
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `Interceptor::distributed`.
    Distributed,
    /// `Interceptor::sent`.
    Sent,
    /// `Interceptor::received`.
    Received,
    /// `Interceptor::processed`.
    Processed,
    /// `Interceptor::aggregated`.
    Aggregated,
    /// `Interceptor::retried`.
    Retried,
    /// `Interceptor::failed`.
    Failed,
}
