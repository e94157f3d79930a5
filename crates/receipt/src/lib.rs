//! Receipts, the stations that they pass, the ledger that keeps them, and the audit that proves that nothing was lost and
//! nothing counted twice.
//!
//! All of it is plain data and pure functions: no I/O, no clock, no randomness. Times are handed in, and are labels; nothing
//! here is decided by them.
//!
//! - `id`: the newtype ids, [`ReceiptId`] among them, and how they are shown.
//! - `text`: the text form of a receipt, which tells a mistyped one.
//! - `station`: the [`Station`]s, and which may follow which.
//! - `record`: what is known of one receipt, [`ReceiptRecord`], and how much of something there is, [`Tally`].
//! - `ledger`: the [`Ledger`] of one step.
//! - `audit`: the reconciliation of a step, [`audit`].
//! - `schema`: JSON schemas of ids (feature `schema`).

mod audit;
mod id;
mod ledger;
mod record;
#[cfg(feature = "schema")]
mod schema;
mod station;
mod text;

pub use audit::{
    Audit, Balance, Column, Coverage, CoverageFault, CoverageFaultKind, Earlier, Gap, InputPart, Listing, Mismatch,
    NamedReceipt, NodeSum, PartCoverage, Replayed, Rows, WorkerReads, audit,
};
pub use id::{Attempt, NodeId, ReceiptId, StageId, StepId};
pub use ledger::{Events, Filter, Ledger, LedgerError, Page, Receipt};
pub use record::{ConceivedChunk, Conflict, Cover, Mark, Read, ReceiptRecord, Tally};
pub use station::{Station, StationSet};
pub use text::{ParseIdError, ParseReceiptError};
