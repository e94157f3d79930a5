//! What stands behind an exchange: the partition that a key falls to, and the stage that a partition's owner runs.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use elastic_flow_receipt::{ReceiptId, StageId};
use elastic_flow_wire::message::{FailureKind, Segment};
use xxhash_rust::xxh3::xxh3_64;

use crate::built::MergerFactory;
use crate::error::MergeError;
use crate::gather::Gathered;
use crate::merger::Merger;
use crate::run::panic_message;
use crate::seam::{Partition, PartitionedStage, TaskContext, TaskFailure, TaskOutput};
use crate::stage::{Body, StageOf, failed};

/// The partition, of so many, that a key of these encoded bytes falls to: version 1 of the partition hash. It is the same on
/// every machine; what depends on it does not outlive a step.
///
/// The middle bits of xxh3: tables take the upper and lower ones of their own hash, and a key that is placed by the same bits
/// twice clumps.
#[inline]
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let middle = (xxh3_64(key) >> 16) & u64::from(u32::MAX);
    // Below `partitions`, since `middle` is below 2^32.
    u32::try_from((middle * u64::from(partitions)) >> 32).unwrap_or(0)
}

/// A partition as typed code has it: merged, then worked on.
pub(crate) trait Merging: Send {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError>;
    fn finish(self: Box<Self>, receipt: ReceiptId, context: &TaskContext) -> Result<TaskOutput, TaskFailure>;
}

/// Makes partitions.
pub(crate) type MakeMerging = Arc<dyn Fn() -> Box<dyn Merging> + Send + Sync>;

/// The same output, for the stages that `to` gives for those which it is for so far.
pub(crate) fn addressed(mut output: TaskOutput, to: impl Fn(StageId) -> Option<StageId>) -> TaskOutput {
    for segment in &mut output.segments {
        if let Some(stage) = to(segment.receipt.stage) {
            segment.receipt.stage = stage;
        }
    }
    output
}

/// A stage behind an exchange, as the rest of the engine sees it.
pub(crate) struct Partitioned {
    pub(crate) id: StageId,
    /// The stage that its output goes to; the master where there is none.
    pub(crate) to: Option<StageId>,
    pub(crate) make: MakeMerging,
}

impl fmt::Debug for Partitioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partitioned").field("id", &self.id).field("to", &self.to).finish_non_exhaustive()
    }
}

impl PartitionedStage for Partitioned {
    fn id(&self) -> StageId {
        self.id
    }

    fn to(&self) -> Option<StageId> {
        self.to
    }

    fn begin(&self) -> Box<dyn Partition> {
        Box::new(Guarded { merging: (self.make)(), to: self.to })
    }
}

/// Catches what user code does.
struct Guarded {
    merging: Box<dyn Merging>,
    to: Option<StageId>,
}

impl Partition for Guarded {
    fn merge(&mut self, segment: &Segment) -> Result<(), TaskFailure> {
        let receipt = segment.receipt;
        let merging = &mut self.merging;
        match catch_unwind(AssertUnwindSafe(|| merging.merge(segment))) {
            Ok(merged) => merged.map_err(|error| merge_failed(receipt, error)),
            Err(payload) => Err(failed(receipt, FailureKind::Panic, None, panic_message(payload.as_ref()))),
        }
    }

    fn finish(self: Box<Self>, receipt: ReceiptId, context: &TaskContext) -> Result<TaskOutput, TaskFailure> {
        let Self { merging, to } = *self;
        let finished = catch_unwind(AssertUnwindSafe(|| merging.finish(receipt, context)));
        let output = finished.unwrap_or_else(|payload| {
            Err(failed(receipt, FailureKind::Panic, None, panic_message(payload.as_ref())))
        })?;
        Ok(addressed(output, |_| to))
    }
}

pub(crate) fn merge_failed(receipt: ReceiptId, error: MergeError) -> TaskFailure {
    let kind = match error {
        MergeError::Segment { .. } => FailureKind::Decode,
        MergeError::TableFull => FailureKind::Resource,
        MergeError::Saved { .. }
        | MergeError::Encode { .. }
        | MergeError::Void
        | MergeError::Panicked { .. }
        | MergeError::Stage { .. }
        | MergeError::RestoreTooLate => FailureKind::User,
    };
    failed(receipt, kind, None, error.to_string())
}

/// A stage over the items that a keyed reduction has given in this partition.
pub(crate) struct ItemsMerging<B> {
    pub(crate) merger: Box<dyn Merger<Gathered>>,
    pub(crate) stage: Arc<StageOf<B>>,
}

/// The stage `stage` behind what `merger` merges.
pub(crate) fn items_merging<B: Body>(merger: MergerFactory<Gathered>, stage: Arc<StageOf<B>>) -> MakeMerging {
    Arc::new(move || Box::new(ItemsMerging { merger: merger(), stage: Arc::clone(&stage) }))
}

impl<B: Body> Merging for ItemsMerging<B> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        self.merger.merge(segment)
    }

    fn finish(self: Box<Self>, receipt: ReceiptId, context: &TaskContext) -> Result<TaskOutput, TaskFailure> {
        let items = self.merger.finish().map_err(|error| merge_failed(receipt, error))?;
        self.stage.run_partition(items, receipt, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_falls_to_the_same_partition_on_every_machine() {
        let of = |key: &str, partitions| partition_of(key.as_bytes(), partitions);
        let found: Vec<u32> = ["", "a", "b", "the", "and", "elastic"].iter().map(|key| of(key, 16)).collect();
        assert_eq!(found, [8, 3, 0, 8, 4, 6]);
        assert_eq!(of("the", 1), 0);
    }

    #[test]
    fn keys_spread_evenly() {
        let mut rows = [0_u32; 12];
        for key in 0..120_000_u64 {
            rows[partition_of(&key.to_le_bytes(), 12) as usize] += 1;
        }
        assert!(rows.iter().all(|rows| (9_500..10_500).contains(rows)), "{rows:?}");
    }
}
