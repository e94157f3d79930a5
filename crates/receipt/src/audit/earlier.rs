//! What a replay goes on from: the steps before it, and what of the source is in the result that they left.

use serde::{Deserialize, Serialize};

use super::Books;
use crate::id::{ReceiptId, StepId};
use crate::ledger::Ledger;
use crate::record::{Cover, Tally};
use crate::station::Station;

/// The steps that a replay goes on from, and what of its result is theirs, as its audit shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replayed {
    /// The steps: the one that it replays, then the one that this one replays, and so on to the one that was submitted.
    pub steps: Vec<StepId>,
    /// The one of them whose account is not there. What it aggregated is not known then, and coverage not proven.
    pub without_account: Option<StepId>,
    /// What they aggregated, as it was read.
    pub aggregated: Tally,
    /// The bytes of that at conception.
    pub bytes: u64,
    /// Receipts of them in the aggregate that were not read as they were conceived.
    pub mismatches: u64,
    /// Items that they skipped: read, and not in the result.
    #[serde(default)]
    pub skipped: u64,
    /// How often they refused a second final station.
    pub conflicts: u64,
}

/// What of a source is in the result that a replay starts from, chunk by chunk: what its own chunks cover the source with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    replayed: Replayed,
    /// Bytes that were read of the chunks that cover something.
    bytes_read: u64,
    /// What they cover, by part and offset.
    pub(super) covers: Vec<(Cover, ReceiptId)>,
}

impl Earlier {
    /// What a replay of the step of `ledger` goes on from: what that step aggregated, and what it went on from itself, where it
    /// was a replay.
    #[must_use]
    pub fn after(ledger: &Ledger, before: Option<&Self>) -> Self {
        let mut earlier = before.cloned().unwrap_or_else(Self::nothing);
        let Self { replayed, bytes_read, covers } = &mut earlier;
        let mut books = Books::default();
        for receipt in ledger.iter().filter(|receipt| receipt.station() == Some(Station::Aggregated)) {
            books.enter(&receipt);
            replayed.bytes = replayed.bytes.saturating_add(receipt.bytes());
            let known = covers.len();
            covers.extend(receipt.covers().map(|cover| (cover, receipt.id())));
            if covers.len() > known {
                *bytes_read = bytes_read.saturating_add(receipt.read().map_or(0, |read| read.bytes));
            }
        }
        covers.sort_unstable();
        replayed.steps.insert(0, ledger.step());
        replayed.aggregated += books.rows.aggregated;
        replayed.mismatches = replayed.mismatches.saturating_add(books.mismatches_total);
        replayed.conflicts = replayed.conflicts.saturating_add(ledger.conflicts().0);
        earlier
    }

    /// With so many items more that were skipped.
    #[must_use]
    pub fn with_skipped(mut self, items: u64) -> Self {
        self.replayed.skipped = self.replayed.skipped.saturating_add(items);
        self
    }

    /// What a replay of `step` goes on from where the account of that step is not there.
    #[must_use]
    pub fn unknown(step: StepId) -> Self {
        let mut earlier = Self::nothing();
        earlier.replayed.steps.push(step);
        earlier.replayed.without_account = Some(step);
        earlier
    }

    fn nothing() -> Self {
        let replayed = Replayed {
            steps: Vec::new(),
            without_account: None,
            aggregated: Tally::default(),
            bytes: 0,
            mismatches: 0,
            skipped: 0,
            conflicts: 0,
        };
        Self { replayed, bytes_read: 0, covers: Vec::new() }
    }

    /// The steps, and how much of the result is theirs.
    #[must_use]
    pub const fn replayed(&self) -> &Replayed {
        &self.replayed
    }

    /// Whether it is known what they cover.
    pub(super) const fn is_known(&self) -> bool {
        self.replayed.without_account.is_none()
    }

    pub(super) const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}
