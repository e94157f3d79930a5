//! Sources: what a step reads, how it is cut into chunks on the master, and how a worker reads a chunk.
//!
//! The way of a source, in reading order:
//!
//! - [`SourceSpec`] is what a submitter names. [`ResolvedSource`] is what was there then: every file with size and a digest
//!   of its ends. It is journalled with the step.
//! - What lies on the disks of the servers alone is filled in when the step starts, by what they answer to [`look()`].
//! - [`SourceCutter`] cuts it lazily into chunks, at byte offsets, without reading the files. It resumes behind the chunks
//!   of an earlier life. With a [`Window`] it reads on from each offset to where the window lets a chunk end.
//! - [`DataRoots`] keep a worker to the folders that it may read; [`open()`] then reads a chunk where its task runs: the lines that *start* in its stretch, in blocks. A file that is not the
//!   one of the submission is "not here"; the master then sends what [`ship`] makes of the payload.
//!
//! Nothing here knows receipts, attempts or the network, or decides what a failure means for the step.
//!
//! Bytes are accounted by stretch, not by line: a chunk `[a, b)` counts `b - a` bytes, although its lines may begin behind
//! `a` and end behind `b`. So the chunks of a file add up to its size at submission, without gap or overlap.

mod blocks;
mod compression;
mod cut;
mod encoded;
mod error;
mod feed;
mod identity;
mod look;
mod open;
mod payload;
mod resolve;
mod roots;
mod spec;
mod stretch;
#[cfg(test)]
mod tests;
mod window;

pub use compression::Compression;
pub use cut::{
    Border, ItemsCutter, LinesCutter, RangeCutter, ResumableCutter, SourceCutter, StandardInputCutter, Suppliers,
};
pub use encoded::EncodedItems;
pub use error::SourceError;
pub use feed::{Blocks, Feed, ItemBatches, OpenFailure, RANGE_ITEM_BYTES};
pub use identity::FileAtSubmission;
pub use look::{Seen, look};
pub use open::{open, ship};
pub use resolve::{Grown, PartData, ResolvedPart, ResolvedSource};
pub use roots::DataRoots;
pub use spec::{InputNames, STANDARD_INPUT, SourceSpec};
pub use window::{TypedWindow, WINDOW_BYTES_MAX, Window};
