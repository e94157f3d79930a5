//! The newtype ids that every other crate speaks in.

use serde::{Deserialize, Serialize};

/// A step's number in its queue: assigned at submission, rising, never reused within a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u64);

/// A stage's index in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(pub u16);

/// A node's incarnation: 128 random bits, drawn anew at each start of its process. Never an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u128);

/// One execution of a task. `epoch` is the master's life in which it was assigned; `number` rises within that life. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// The master's epoch, durably raised at each of its starts.
    pub epoch: u64,
    /// The attempt's number within that epoch, from 1.
    pub number: u64,
}

/// The identity of a chunk or parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReceiptId {
    /// The step it belongs to.
    pub step: StepId,
    /// The stage that it is the input of.
    pub stage: StageId,
    /// The round of an iteration; 0 outside of one.
    pub round: u32,
    /// The target partition of an exchange; 0 for a chunk of the source.
    pub partition: u32,
    /// The place in source order within (step, stage, round, partition), from 0.
    pub sequence: u64,
    /// A short hash over time of conception, size and stage.
    pub check: u32,
}
