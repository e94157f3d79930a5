//! The items that a task skips: each with its position and error, and with the item where that is at hand.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use elastic_flow_receipt::ReceiptId;
use elastic_flow_wire::message::{ItemKind, KeptItem, SkippedItem};

/// Bytes that are kept of a skipped item; of a longer text its beginning, of a longer encoding nothing.
pub const SKIPPED_ITEM_BYTES_MAX: usize = 4 << 10;
/// Bytes that are kept of a skipped item's error.
pub const SKIPPED_ERROR_BYTES_MAX: usize = 1 << 10;
/// Bytes of items and errors that are kept for one task; those of its further skips are left out or cut short, so that a
/// result stays small whatever a program skips.
pub const SKIPPED_TASK_BYTES_MAX: usize = 8 << 20;
/// Bytes that are kept of an error beyond that.
const SHORT_ERROR_BYTES_MAX: usize = 64;

/// What a task has skipped so far.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    items: RefCell<Vec<SkippedItem>>,
    bytes: Cell<usize>,
    /// The first whose item is not known yet.
    open: Cell<usize>,
}

impl Skips {
    /// A chunk begins: what was skipped before it gets no item from it.
    pub(crate) fn begin(&self) {
        self.open.set(self.items.borrow().len());
    }

    /// Takes a skip in, and gives how many there are now.
    pub(crate) fn add(&self, receipt: ReceiptId, item: u64, error: String) -> u64 {
        let full = self.bytes.get() >= SKIPPED_TASK_BYTES_MAX;
        let error = shortened(error, if full { SHORT_ERROR_BYTES_MAX } else { SKIPPED_ERROR_BYTES_MAX });
        self.bytes.set(self.bytes.get().saturating_add(error.len()));
        let mut items = self.items.borrow_mut();
        items.push(SkippedItem { receipt, item, error, kept: None });
        items.len() as u64
    }

    /// The item of whatever was skipped since the last call.
    pub(crate) fn give(&self, kind: ItemKind, body: &[u8]) {
        let mut items = self.items.borrow_mut();
        for skip in items.iter_mut().skip(self.open.get()) {
            if self.bytes.get() >= SKIPPED_TASK_BYTES_MAX {
                break;
            }
            skip.kept = kept(kind, body);
            let more = skip.kept.as_ref().map_or(0, |it| it.body.len());
            self.bytes.set(self.bytes.get().saturating_add(more));
        }
        self.open.set(items.len());
    }

    /// The first skip, if there is one.
    pub(crate) fn first(&self) -> Option<SkippedItem> {
        self.items.borrow().first().cloned()
    }

    pub(crate) fn into_items(self) -> Vec<SkippedItem> {
        self.items.into_inner()
    }
}

/// What is kept of an item: copied, so that no block stays in memory for it.
fn kept(kind: ItemKind, body: &[u8]) -> Option<KeptItem> {
    let most = match kind {
        ItemKind::Text => body.get(..SKIPPED_ITEM_BYTES_MAX).unwrap_or(body),
        ItemKind::Encoded if body.len() <= SKIPPED_ITEM_BYTES_MAX => body,
        ItemKind::Encoded => return None,
    };
    Some(KeptItem { kind, length: body.len() as u64, body: Bytes::copy_from_slice(most) })
}

fn shortened(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use elastic_flow_receipt::{StageId, StepId};

    use super::*;

    fn receipt() -> ReceiptId {
        ReceiptId { step: StepId(1), stage: StageId(0), round: 0, partition: 0, sequence: 0, check: 0 }
    }

    #[test]
    fn a_long_item_or_error_is_kept_in_part() {
        let skips = Skips::default();
        for kind in [ItemKind::Text, ItemKind::Encoded] {
            skips.add(receipt(), 7, "ä".repeat(SKIPPED_ERROR_BYTES_MAX));
            skips.give(kind, &vec![b'x'; SKIPPED_ITEM_BYTES_MAX + 1]);
        }
        let items = skips.into_items();
        assert_eq!(items[0].error, "ä".repeat(SKIPPED_ERROR_BYTES_MAX / 2));
        let kept = items[0].kept.as_ref().unwrap();
        assert_eq!((kept.length, kept.body.len()), (SKIPPED_ITEM_BYTES_MAX as u64 + 1, SKIPPED_ITEM_BYTES_MAX));
        assert_eq!(items[1].kept, None, "a part of an encoding is of no use");
    }

    #[test]
    fn a_task_keeps_few_bytes_whatever_it_skips_and_counts_all() {
        let skips = Skips::default();
        let count = 4 * SKIPPED_TASK_BYTES_MAX / SKIPPED_ITEM_BYTES_MAX;
        for item in 0..count as u64 {
            assert_eq!(skips.add(receipt(), item, "e".repeat(SKIPPED_ERROR_BYTES_MAX)), item + 1);
            skips.give(ItemKind::Text, &[b'x'; SKIPPED_ITEM_BYTES_MAX]);
        }
        let items = skips.into_items();
        let bytes = |it: &SkippedItem| it.error.len() + it.kept.as_ref().map_or(0, |it| it.body.len());
        let total: usize = items.iter().map(bytes).sum();
        assert_eq!(items.len(), count);
        assert!(total <= SKIPPED_TASK_BYTES_MAX + SKIPPED_ITEM_BYTES_MAX + count * SHORT_ERROR_BYTES_MAX, "{total}");
    }

    #[test]
    fn an_item_belongs_to_the_skips_that_it_caused() {
        let skips = Skips::default();
        skips.add(receipt(), 0, "late".to_owned());
        skips.begin();
        skips.add(receipt(), 1, "one".to_owned());
        skips.add(receipt(), 1, "two".to_owned());
        skips.give(ItemKind::Text, b"line");
        skips.give(ItemKind::Text, b"another");
        let bodies = skips.into_items().into_iter().map(|it| it.kept.map(|it| it.body));
        assert_eq!(bodies.collect::<Vec<_>>(), [None, Some(Bytes::from("line")), Some(Bytes::from("line"))]);
    }
}
