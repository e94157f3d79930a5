//! Opening a chunk on the node that runs its task, and shipping it from the master where that node cannot.

use std::path::Path;

use elastic_flow_wire::message::{Payload, PayloadKind, TaskChunk};
use elastic_flow_wire::with_causes;

use super::blocks::{FileBlocks, ShippedBlocks};
use super::payload::{FileSlice, Split, begin_lines, finish_lines, split_lines};
use super::{Blocks, DataRoots, Feed, OpenFailure, SourceError};

/// Room for the end of a last line, behind its stretch.
const LAST_LINE_BYTES: usize = 16 * 1024;

/// Opens a chunk for its stage.
///
/// Every file of a split is checked before a line is given out: it must be a regular file, at least as long as at
/// submission, with the same ends (see [`FileAtSubmission`](super::FileAtSubmission)). Where it may lie is not checked
/// here: a payload that came from the network goes through [`DataRoots::confine`] first.
///
/// # Errors
/// [`OpenFailure::NotHere`] if a file is not there, or another one is; [`OpenFailure::Failed`] if the payload does not decode.
pub fn open(chunk: &TaskChunk) -> Result<Feed, OpenFailure> {
    match chunk.payload.kind {
        PayloadKind::Items => Ok(Feed::Items { body: chunk.payload.body.clone() }),
        PayloadKind::Bytes => {
            let (source_bytes, lines) = split_lines(&chunk.payload.body).map_err(failed)?;
            Ok(Feed::Lines(Box::new(ShippedBlocks::new(source_bytes, lines))))
        }
        PayloadKind::Split => match Split::decode(&chunk.payload.body).map_err(failed)? {
            Split::Range { start, end } => Ok(Feed::Range(start..end)),
            Split::Files(slices) => {
                let blocks = FileBlocks::open(slices).map_err(not_here)?;
                Ok(Feed::Lines(Box::new(blocks)))
            }
        },
    }
}

/// Turns a split of files into its lines, decompressed, so that a worker without the files can run it.
///
/// The payload gives the same [`Feed::Lines`] as the split, with the same [`Blocks::bytes_read`]. At most `max_bytes` of
/// lines are read. A payload that carries its data already, or is a range, is given back as it is.
///
/// # Errors
/// The master's own file is gone, shorter or changed (by name and both sizes), or cannot be read or decoded;
/// [`SourceError::TooLargeToShip`] if the lines have more than `max_bytes`.
pub fn ship(payload: &Payload, max_bytes: u64) -> Result<Payload, SourceError> {
    let mut slices = match payload.kind {
        PayloadKind::Bytes | PayloadKind::Items => return Ok(payload.clone()),
        PayloadKind::Split => match Split::decode(&payload.body)? {
            Split::Range { .. } => return Ok(payload.clone()),
            Split::Files(slices) => slices,
        },
    };
    // A file that was away when it was cut may be back.
    for slice in slices.iter_mut().filter(|slice| slice.ends.is_none()) {
        slice.ends = slice.vouch();
    }
    let name = names(&slices);
    let expected = slices.iter().fold(0_u64, |sum, slice| sum.saturating_add(slice.length)).min(max_bytes);
    let mut body = begin_lines(usize::try_from(expected).unwrap_or(0).saturating_add(LAST_LINE_BYTES));
    let mut lines_bytes = 0_u64;
    let mut blocks = FileBlocks::open(slices)?;
    while let Some(block) = blocks.next_block()? {
        lines_bytes = lines_bytes.saturating_add(block.len() as u64);
        if lines_bytes > max_bytes {
            return Err(SourceError::TooLargeToShip { name, limit_bytes: max_bytes });
        }
        // Doubling would hold twice the bytes until the chunk's result is there.
        body.reserve_exact(block.len());
        body.extend_from_slice(&block);
    }
    Ok(finish_lines(body, blocks.bytes_read()))
}

impl DataRoots {
    /// Makes sure that a payload from the network reads no file outside of the roots, and replaces each path by what it
    /// resolves to, so that no symbolic link on the way can be exchanged later.
    ///
    /// # Errors
    /// [`OpenFailure::NotHere`] if a path lies outside or does not exist, so that the master ships the bytes;
    /// [`OpenFailure::Failed`] if the payload does not decode.
    pub fn confine(&self, payload: &Payload) -> Result<Payload, OpenFailure> {
        if payload.kind != PayloadKind::Split || !self.is_restricted() {
            return Ok(payload.clone());
        }
        let mut split = Split::decode(&payload.body).map_err(failed)?;
        if let Split::Files(slices) = &mut split {
            for slice in slices {
                let resolved = self.check(Path::new(&slice.file.path)).map_err(not_here)?.into_os_string();
                slice.file.path =
                    resolved.into_string().map_err(|path| not_here(SourceError::PathNotUtf8 { path: path.into() }))?;
            }
        }
        split.encode().map_err(failed)
    }
}

fn not_here(error: SourceError) -> OpenFailure {
    OpenFailure::NotHere { message: with_causes(&error) }
}

fn failed(error: SourceError) -> OpenFailure {
    OpenFailure::Failed { kind: error.failure_kind(), message: with_causes(&error) }
}

/// The first file, and how many more.
fn names(slices: &[FileSlice]) -> String {
    let first = slices.first().map(|slice| slice.file.path.clone()).unwrap_or_default();
    match slices.len() {
        0 | 1 => first,
        count => format!("{first} and {} more files", count - 1),
    }
}
