//! The messages of the cluster protocol, as data. Enums only ever append variants; a struct is never changed in place.

use std::fmt;

use bytes::Bytes;
use elastic_flow_receipt::{Attempt, NodeId, ReceiptId, StageId, StepId};
use serde::{Deserialize, Serialize};

/// The digest of a segment's or payload's body: xxh3, 64 bits. Finds damage and differences, not forgery.
#[must_use]
pub fn digest(body: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(body)
}

/// What a payload's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayloadKind {
    /// A descriptor of a split, which the worker reads by itself.
    Split,
    /// The raw bytes of a split, shipped by the master because the worker does not have the file.
    Bytes,
    /// Items of an enumerable source, encoded with the wire codec.
    Items,
}

/// What a chunk carries: opaque here, given meaning by the dataflow layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// What `body` is.
    pub kind: PayloadKind,
    /// The descriptor, bytes or encoded items.
    #[serde(with = "crate::body")]
    pub body: Bytes,
}

/// One chunk of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskChunk {
    /// The chunk's receipt.
    pub receipt: ReceiptId,
    /// The index of the named input it belongs to.
    pub input: u16,
    /// What it carries.
    pub payload: Payload,
}

/// A step as a worker needs to know it before its first task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepNotice {
    /// The step.
    pub step: StepId,
    /// The registered name of its program.
    pub program: String,
    /// Its parameters as `key=value`, in key order.
    pub params: Vec<(String, String)>,
    /// Digest of the plan that the master built from them; a worker whose plan differs refuses.
    pub plan: u64,
    /// Items that may be skipped in the whole step; a task that skips more alone has failed.
    pub max_skips: u64,
}

/// A task handed to a worker: one stage over chunks in source order; accepted, superseded and retried whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// This execution's number.
    pub attempt: Attempt,
    /// The step.
    pub step: StepId,
    /// The stage to run.
    pub stage: StageId,
    /// The generation of its inputs; 0 where nothing was ever recomputed.
    pub generation: u32,
    /// The chunks, in source order, at least one.
    pub chunks: Vec<TaskChunk>,
}

/// Where what a task read of a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadFrom {
    /// Nowhere: the numbers of a range.
    Nowhere,
    /// Files on the disk of the worker.
    Place,
    /// The task itself, which brought the bytes along.
    Task,
}

/// What a task read of one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRead {
    /// The chunk's receipt.
    pub receipt: ReceiptId,
    /// Items that entered the stage.
    pub entries: u64,
    /// Source bytes that were read (a split), or payload bytes (shipped).
    pub bytes: u64,
    /// Nanoseconds spent on it.
    pub nanos: u64,
    /// Where it came from.
    pub from: ReadFrom,
}

/// A part of a task's output: for one chunk where order matters, for the whole task where it was combined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The first receipt that it covers.
    pub receipt: ReceiptId,
    /// Number of items in `body`.
    pub rows: u64,
    /// [`digest`] of `body`.
    pub digest: u64,
    /// The encoded items.
    #[serde(with = "crate::body")]
    pub body: Bytes,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// User code panicked.
    Panic,
    /// User code returned an error.
    User,
    /// A split's file is gone, shorter or changed since submission.
    Source,
    /// The bytes could not be decoded.
    Decode,
    /// The worker does not know the program, or its plan differs.
    Program,
    /// The worker ran out of a resource (disk, memory budget).
    Resource,
    /// A split's file was written to while it was read. Only that attempt could see it: another one may find the ends of the
    /// file as they were, and other content between them.
    SourceChanged,
    /// User code returned an error that ends its step.
    Fail,
    /// Of one task alone more items were skipped than may be of the whole step.
    Skips,
    /// The server that alone could read it is missing, and the step goes on without.
    Missing,
}

/// What the bytes of a skipped item are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemKind {
    /// The text that the item is: a line without its end, say.
    Text,
    /// The item, encoded with the wire codec.
    Encoded,
}

/// What is kept of an item itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptItem {
    /// What `body` is.
    pub kind: ItemKind,
    /// Bytes that there were; of a long text, `body` is the beginning.
    pub length: u64,
    /// The bytes.
    #[serde(with = "crate::body")]
    pub body: Bytes,
}

/// An item that user code has skipped: it is not in the output, and the rest of its chunk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedItem {
    /// The chunk that it is of.
    pub receipt: ReceiptId,
    /// Its position in the chunk, from 0.
    pub item: u64,
    /// Why, for people.
    pub error: String,
    /// The item, where it could be had.
    pub kept: Option<KeptItem>,
}

/// A partition of a stage behind an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionId {
    /// The stage.
    pub stage: StageId,
    /// Which of its partitions, from 0.
    pub number: u32,
}

impl PartitionId {
    /// That which a segment is for, or which is worked on, by its receipt.
    #[must_use]
    pub const fn of(receipt: &ReceiptId) -> Self {
        Self { stage: receipt.stage, number: receipt.partition }
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of stage {}", self.number, self.stage.0)
    }
}

/// What tasks have given for one partition, or a partition has taken in: equal on both sides once everything is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSum {
    /// Parcels.
    pub parcels: u64,
    /// Their rows.
    pub rows: u64,
    /// The sum of the digests of their bodies, which does not depend on their order; wraps.
    pub digest: u64,
}

impl PartitionSum {
    /// One parcel.
    #[must_use]
    pub const fn of(segment: &Segment) -> Self {
        Self { parcels: 1, rows: segment.rows, digest: segment.digest }
    }

    /// Adds what another one has.
    pub const fn add(&mut self, other: &Self) {
        self.parcels = self.parcels.wrapping_add(other.parcels);
        self.rows = self.rows.wrapping_add(other.rows);
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// The owner of some partitions of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOwner {
    /// The worker.
    pub node: NodeId,
    /// Its name, for people.
    pub name: String,
    /// Where others reach it.
    pub address: String,
    /// The partitions that it owns.
    pub partitions: Vec<u32>,
}

/// The exchanges of a step as a worker needs to know them before its first task of it: they begin, and begin anew, together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeNotice {
    /// The step.
    pub step: StepId,
    /// The life of the master that began it.
    pub epoch: u64,
    /// Its number within the step and that life, from 1: raised whenever the exchange is begun anew.
    pub generation: u32,
    /// The number of stages behind exchanges: they are numbered from 1.
    pub stages: u16,
    /// The number of partitions that each of them has.
    pub partitions: u32,
    /// Who owns them: the partitions of one number, of all stages, have one owner.
    pub owners: Vec<PartitionOwner>,
}

/// What one task, or the work on one partition, gave for the partitions of one owner: whole, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcels {
    /// The step.
    pub step: StepId,
    /// The execution that gave them.
    pub attempt: Attempt,
    /// The generation of the exchange.
    pub generation: u32,
    /// One segment a partition; the partition, and its stage, are those of its receipt.
    pub segments: Vec<Segment>,
}

/// That an owner has parcels: their producer may let them go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelsTaken {
    /// The step.
    pub step: StepId,
    /// The execution that gave them.
    pub attempt: Attempt,
    /// The generation of the exchange.
    pub generation: u32,
}

/// A partition whose parcels have all been given: to be worked on as soon as they are merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionAssignment {
    /// This execution's number.
    pub attempt: Attempt,
    /// Of the partition.
    pub receipt: ReceiptId,
    /// The generation of the exchange.
    pub generation: u32,
    /// What there is to merge.
    pub sum: PartitionSum,
}

/// A worker cannot reach another one to which it has parcels to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerUnreached {
    /// The step.
    pub step: StepId,
    /// The generation of the exchange.
    pub generation: u32,
    /// The owner that cannot be reached.
    pub node: NodeId,
    /// What was tried, for people.
    pub message: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It finished.
    Done {
        /// What was read, one entry a chunk of the assignment, in its order.
        chunks: Vec<ChunkRead>,
        /// The output.
        segments: Vec<Segment>,
        /// Nanoseconds from first byte to last.
        nanos: u64,
        /// The items that were skipped, in the order of the chunks.
        skips: Vec<SkippedItem>,
    },
    /// It failed.
    Failed {
        /// Why.
        kind: FailureKind,
        /// The chunk that failed, where it is known.
        receipt: Option<ReceiptId>,
        /// The position of the offending item within that chunk, from 0, where it is known.
        item: Option<u64>,
        /// What happened, for people.
        message: String,
        /// The last log lines of the node.
        log_tail: Vec<String>,
    },
    /// The worker does not have these files, or has others under their names: nobody's fault.
    NotHere {
        /// The chunks concerned.
        receipts: Vec<ReceiptId>,
        /// What was found instead.
        message: String,
    },
    /// The worker gave it back unstarted (it is leaving, or the attempt was revoked).
    HandedBack,
    /// It finished, and its output is on its way to the owners of the partitions.
    Exchanged {
        /// What was read, one entry a chunk of the assignment, in its order.
        chunks: Vec<ChunkRead>,
        /// What it gave, by partition; those that got nothing are left out.
        sums: Vec<(PartitionId, PartitionSum)>,
        /// Nanoseconds from first byte to last.
        nanos: u64,
        /// The items that were skipped, in the order of the chunks.
        skips: Vec<SkippedItem>,
    },
}

/// A task's result on its way to the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Which execution.
    pub attempt: Attempt,
    /// The step.
    pub step: StepId,
    /// The stage.
    pub stage: StageId,
    /// The generation of the inputs it ran on.
    pub generation: u32,
    /// The receipts of the assignment, in its order: kept even if the master has forgotten the attempt.
    pub receipts: Vec<ReceiptId>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A task that a worker has at work, or has finished and not been acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTask {
    /// Which execution.
    pub attempt: Attempt,
    /// The step.
    pub step: StepId,
    /// The receipts of its assignment.
    pub receipts: Vec<ReceiptId>,
}

/// What a worker says of itself with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Compute threads at work.
    pub busy: u32,
    /// Tasks received and not begun.
    pub queued: u32,
    /// For each attempt at work: its number and nanoseconds since its last progress.
    pub working: Vec<(Attempt, u64)>,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// The node's metrics in Prometheus text, in the heartbeats that carry them; else empty.
    pub metrics: String,
}

/// What a worker is asked about files before it is given a task that reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The step.
    pub step: StepId,
    /// Files of its source, or globs: opaque here, given meaning by the dataflow layer.
    #[serde(with = "crate::body")]
    pub question: Bytes,
}

/// What a worker found when it looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The step.
    pub step: StepId,
    /// [`digest`] of the question that this answers: a step may have several.
    pub question: u64,
    /// How many of the files that it was asked about are here, as they were at submission.
    pub here: u32,
    /// The parts of the source whose files are not.
    pub absent: Vec<u32>,
    /// What is wrong with the first of them, or why it could not look. For people; empty where nothing is.
    pub message: String,
    /// What the globs match on its disk: opaque here; empty if it was asked about none, or could not look.
    #[serde(with = "crate::body")]
    pub listed: Bytes,
}

/// Everything that peers say to each other after the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Master to worker, before the first task of a step.
    Notice(StepNotice),
    /// Master to worker: run this.
    Assign(Assignment),
    /// Master to worker: the result of this attempt is in the journal; forget it.
    Ack(Attempt),
    /// Master to worker: this attempt is not wanted any more.
    Revoke(Attempt),
    /// Master to worker: the step has ended; forget everything of it.
    Release(StepId),
    /// Worker to master.
    Result(TaskResult),
    /// Either way, every heartbeat interval, on the control connection.
    Heartbeat(Pulse),
    /// Receiver to sender: this many more bytes may be sent on the data connection.
    Credit(u64),
    /// Worker to master: I am leaving; give me nothing more.
    Draining,
    /// Either way: an orderly end, with the reason.
    Goodbye(String),
    /// Worker to master, first of all on a new link: what it has of earlier ones, so that none of it is given out again.
    Holding(Vec<HeldTask>),
    /// Master to worker: look for these files.
    Look(Look),
    /// Worker to master: the answer.
    Found(Found),
    /// Master to worker, before the first task of a step with an exchange, and whenever that begins anew.
    Exchange(ExchangeNotice),
    /// Worker to worker: what a task gave for the other's partitions.
    Parcels(Parcels),
    /// Worker to worker, back: they are here.
    Taken(ParcelsTaken),
    /// Master to the owner of a partition: everything for it has been given.
    Partition(PartitionAssignment),
    /// Worker to master: another worker cannot be reached.
    Unreached(PeerUnreached),
}
