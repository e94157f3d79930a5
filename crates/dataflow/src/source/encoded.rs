//! Typed iterators as batches of encoded items.

use std::any::type_name;
use std::fmt;
use std::iter::Fuse;

use bytes::Bytes;
use elastic_flow_wire::SeqEncoder;
use serde::Serialize;

use super::window::is_too_large;
use super::{ItemBatches, SourceError, TypedWindow, Window};

/// An iterator whose items are encoded with the wire codec as they are taken.
pub struct EncodedItems<I: Iterator> {
    items: Fuse<I>,
    window: Option<TypedWindow<I::Item>>,
    /// What was taken to see whether the batch before it may end.
    held: Option<I::Item>,
    /// Items that were encoded.
    done: u64,
    /// The size of the batch before: the next one's room.
    batch_bytes: usize,
    error: Option<SourceError>,
}

impl<I: Iterator> EncodedItems<I> {
    /// Takes the iterator in; nothing is asked of it before the first batch.
    pub fn new(items: impl IntoIterator<IntoIter = I>) -> Self {
        Self { items: items.into_iter().fuse(), window: None, held: None, done: 0, batch_bytes: 0, error: None }
    }
}

impl<I> EncodedItems<I>
where
    I: Iterator,
    I::Item: Serialize,
{
    fn push(&mut self, item: &I::Item, batch: &mut SeqEncoder<I::Item>) -> Option<()> {
        let pushed = batch.push(item);
        if let Err(error) = pushed {
            let item = self.done + batch.rows();
            self.error = Some(SourceError::Item { item, reason: error.to_string() });
            return None;
        }
        Some(())
    }

    /// Goes on behind the item `last` of a batch that has reached its limit, until the window ends.
    fn fill_window(&mut self, mut last: I::Item, batch: &mut SeqEncoder<I::Item>) -> Option<()> {
        let Some(window) = self.window.clone() else { return Some(()) };
        while let Some(item) = self.items.next() {
            if window.ends_between(&last, &item) {
                self.held = Some(item);
                break;
            }
            self.push(&item, batch)?;
            if is_too_large(batch.len_bytes() as u64, batch.rows()) {
                self.error = Some(window.too_long("the iterator".to_owned(), "item", self.done));
                return None;
            }
            last = item;
        }
        Some(())
    }
}

impl<I> ItemBatches for EncodedItems<I>
where
    I: Iterator + Send,
    I::Item: Serialize + Send + 'static,
{
    fn next_batch(&mut self, max_items: u64, max_bytes: u64) -> Option<(Bytes, u64)> {
        let mut batch = SeqEncoder::with_capacity(self.batch_bytes);
        let mut last = None;
        while batch.rows() < max_items.max(1) && (batch.is_empty() || (batch.len_bytes() as u64) < max_bytes) {
            let Some(item) = self.held.take().or_else(|| self.items.next()) else { break };
            self.push(&item, &mut batch)?;
            last = Some(item);
        }
        if let Some(last) = last {
            self.fill_window(last, &mut batch)?;
        }
        let (rows, body) = batch.finish();
        self.done += rows;
        self.batch_bytes = body.len();
        (rows > 0).then_some((body, rows))
    }

    fn take_error(&mut self) -> Option<SourceError> {
        self.error.take()
    }

    fn set_window(&mut self, window: &Window) -> bool {
        self.window = window.over_items();
        self.window.is_some()
    }

    fn item_type(&self) -> &'static str {
        type_name::<I::Item>()
    }
}

impl<I: Iterator> fmt::Debug for EncodedItems<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedItems").field("done", &self.done).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use elastic_flow_wire::decode;

    use super::*;
    use crate::seam::Cutter;
    use crate::source::ItemsCutter;

    /// Encodes unless it is asked not to.
    struct Item(u8, bool);

    impl Serialize for Item {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.1 { serializer.serialize_u8(self.0) } else { Err(serde::ser::Error::custom("odd one")) }
        }
    }

    #[test]
    fn batches_end_at_either_limit_and_hold_what_a_vec_would() {
        let words = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"].map(str::to_owned);
        let batches = |items, bytes| {
            let mut source = EncodedItems::new(words.clone());
            let mut batches: Vec<Vec<String>> = Vec::new();
            while let Some((body, rows)) = source.next_batch(items, bytes) {
                let batch: Vec<String> = decode(&body).unwrap();
                assert_eq!(batch.len() as u64, rows);
                batches.push(batch);
            }
            assert_eq!(batches.concat(), words);
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(batches(4, u64::MAX), [4, 2]);
        assert_eq!(batches(u64::MAX, 1), [1; 6]);
        assert_eq!(batches(0, 0), [1; 6]);
        assert_eq!(batches(u64::MAX, 30), [3, 2, 1]);
    }

    #[test]
    fn an_item_that_does_not_encode_fails_the_cut_by_its_position() {
        let items = EncodedItems::new((0..10).map(|n| Item(n, n != 7)));
        let mut cutter = ItemsCutter::one_shot(0, Box::new(items));
        assert_eq!(cutter.cut(1000, 5).unwrap().unwrap().entries, Some(5));
        let error = cutter.cut(1000, 5).unwrap_err();
        assert!(matches!(error, SourceError::Item { item: 7, .. }), "{error}");
    }
}
