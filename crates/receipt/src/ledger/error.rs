//! Why a ledger refuses.

use crate::id::{ReceiptId, StepId};
use crate::station::Station;

/// Why a ledger did not take something in. Nothing of it has changed then, but for what the variants say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The receipt belongs to another step.
    #[error("receipt {receipt} is not of step {step}: look it up in the ledger of step {}", receipt.step)]
    OtherStep {
        /// The receipt.
        receipt: ReceiptId,
        /// The ledger's step.
        step: StepId,
    },
    /// No such chunk was conceived.
    #[error("receipt {receipt} is unknown: no chunk of that place was conceived in step {}", receipt.step)]
    Unknown {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// There is a chunk of that place, but it is another one.
    #[error("receipt {receipt} is foreign: the chunk of that place is {known}, so it comes from another store or life")]
    CheckMismatch {
        /// The receipt.
        receipt: ReceiptId,
        /// The receipt of that place.
        known: ReceiptId,
    },
    /// The receipt had its final station already. The refused one is kept for the audit, which does not balance any more.
    #[error("receipt {receipt} is {station} already and cannot be {refused} too: see whether it is open first")]
    AlreadyFinal {
        /// The receipt.
        receipt: ReceiptId,
        /// The final station that it has.
        station: Station,
        /// The one that was refused.
        refused: Station,
    },
    /// There is a chunk of that place.
    #[error("receipt {receipt} was conceived already: give the next sequence number")]
    AlreadyConceived {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// What was read of it is known, and it is final.
    #[error("receipt {receipt} was read and is final already: count only the accepted result")]
    AlreadyRead {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// A cover ends beyond what 64 bits can count.
    #[error("receipt {receipt} covers part {part} beyond the largest offset: cut it from the length at submission")]
    CoverOverflow {
        /// The receipt.
        receipt: ReceiptId,
        /// The part's index.
        part: u32,
    },
}
