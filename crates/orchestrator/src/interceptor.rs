//! User hooks at every station and at step changes.

use std::fmt::Debug;
use std::sync::Arc;

use elastic_flow_queue::StepState;
use elastic_flow_receipt::{ReceiptId, StepId};

/// What a hook is told of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkEvent {
    /// The chunk.
    pub receipt: ReceiptId,
    /// The node at which the hook runs, by name.
    pub node: String,
    /// The other node concerned, by name, where there is one.
    pub peer: Option<String>,
    /// Items, where known by then.
    pub entries: Option<u64>,
    /// Bytes.
    pub bytes: u64,
    /// Why, for `retried` and `failed`.
    pub error: Option<String>,
}

/// What `chunk_complete` is told beside the chunk: the step's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Chunks conceived so far.
    pub conceived: u64,
    /// Chunks aggregated.
    pub aggregated: u64,
    /// Chunks set aside.
    pub set_aside: u64,
    /// Items skipped in results that were accepted.
    pub items_skipped: u64,
    /// Whether the source has been cut to its end, so that `conceived` is final.
    pub source_exhausted: bool,
}

/// User hooks. All have an empty default; a panic in one is logged and changes nothing. Hooks run outside the deciding code, in
/// order, on a thread of their own: a slow one delays later hooks, never a chunk, until its bounded queue is full.
pub trait Interceptor: Send + Sync + Debug + 'static {
    /// Master: the chunk was given to a worker.
    fn distributed(&self, _event: &ChunkEvent) {}
    /// Either: a parcel with the chunk left this node.
    fn sent(&self, _event: &ChunkEvent) {}
    /// Either: a parcel with the chunk arrived at this node.
    fn received(&self, _event: &ChunkEvent) {}
    /// Worker: the stage has run over the chunk.
    fn processed(&self, _event: &ChunkEvent) {}
    /// Master: the chunk's result is journalled and in the aggregate.
    fn aggregated(&self, _event: &ChunkEvent) {}
    /// Master: the chunk will be sent again.
    fn retried(&self, _event: &ChunkEvent) {}
    /// Either: an attempt failed on the chunk.
    fn failed(&self, _event: &ChunkEvent) {}
    /// Master: the chunk has its final station.
    fn chunk_complete(&self, _event: &ChunkEvent, _counts: Counts) {}
    /// Master: a step changed its state.
    fn step_changed(&self, _step: StepId, _from: Option<StepState>, _to: StepState) {}
}

/// The hooks of a node, in order.
pub type Interceptors = Vec<Arc<dyn Interceptor>>;
