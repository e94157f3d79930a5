//! What a chunk gives to the stage that runs over it.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use elastic_flow_wire::message::FailureKind;

use super::{SourceError, Window};

/// Source bytes that an item of a range counts for.
pub const RANGE_ITEM_BYTES: u64 = 8;

/// An opened chunk.
pub enum Feed {
    /// Lines of files or of standard input, in blocks.
    Lines(Box<dyn Blocks>),
    /// Encoded items of an iterator.
    Items {
        /// The items, encoded one after the other with the wire codec.
        body: Bytes,
    },
    /// Consecutive numbers.
    Range(std::ops::Range<u64>),
    /// What a global reduction has given: a `Vec` of the items.
    Gathered(Box<dyn Any + Send>),
}

impl Feed {
    /// Source bytes accounted for so far: for lines see [`Blocks::bytes_read`]; else all of them, at once.
    ///
    /// After the end this equals [`Cut::bytes`](crate::seam::Cut::bytes) of the chunk, shipped or not.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        match self {
            Self::Lines(blocks) => blocks.bytes_read(),
            Self::Items { body } => body.len() as u64,
            Self::Gathered(_) => 0,
            Self::Range(range) => range.end.saturating_sub(range.start).saturating_mul(RANGE_ITEM_BYTES),
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(blocks) => f.debug_struct("Lines").field("bytes_read", &blocks.bytes_read()).finish(),
            Self::Items { body } => f.debug_struct("Items").field("bytes", &body.len()).finish(),
            Self::Gathered(_) => f.write_str("Gathered"),
            Self::Range(range) => f.debug_tuple("Range").field(range).finish(),
        }
    }
}

/// The lines of a chunk, in blocks.
pub trait Blocks: Send {
    /// The next block, of about 1 MiB or of one longer line; none at the end.
    ///
    /// A block is never empty and holds whole lines. Lines end at byte 0x0A, which is not part of them and may be missing
    /// after the last line of a block. All other bytes, 0x0D included, are as they are in the file. The memory of a block
    /// is used again where its last handle was dropped before the next call.
    ///
    /// # Errors
    /// The file is gone, shorter or changed, cannot be read, or does not decode. Nothing more comes after an error.
    fn next_block(&mut self) -> Result<Option<Bytes>, SourceError>;

    /// Bytes of the chunk's own stretch that are accounted for so far.
    ///
    /// The last line may reach beyond the stretch, and the first may begin behind its border; these bytes count for the
    /// chunk in whose stretch they lie. So after the end this is exactly the length of the stretch, and the chunks of a
    /// file add up to its size. For compressed files these are compressed bytes.
    fn bytes_read(&self) -> u64;
}

/// Why a chunk could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenFailure {
    /// This node has no such file, or another one under its name: nobody's fault, the master ships the bytes.
    NotHere {
        /// What was found.
        message: String,
    },
    /// The attempt has failed.
    Failed {
        /// Why.
        kind: FailureKind,
        /// For people.
        message: String,
    },
}

/// An iterator on the master, untyped: gives its items encoded.
pub trait ItemBatches: Send {
    /// The next items, encoded with the wire codec, and their number; none at the end.
    ///
    /// A batch ends after `max_items` items, or with the item with which it reaches `max_bytes`; it has one item at least.
    /// With the same limits and window an iterator that is made anew gives the same batches.
    fn next_batch(&mut self, max_items: u64, max_bytes: u64) -> Option<(Bytes, u64)>;

    /// From now on a batch that has reached its limit goes on to the next place where `window` ends, or fails with
    /// [`SourceError::WindowTooLong`].
    ///
    /// False if the window is over another type than the items have, or is not followed at all: the step then fails by name.
    fn set_window(&mut self, _window: &Window) -> bool {
        false
    }

    /// The type of its items, for messages.
    fn item_type(&self) -> &'static str {
        "items that take no window"
    }

    /// Why [`ItemBatches::next_batch`] gave none, where it was not the end.
    fn take_error(&mut self) -> Option<SourceError> {
        None
    }
}
