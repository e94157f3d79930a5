//! What travels in the payload of a chunk: a descriptor of a split, or its lines.
//!
//! A descriptor is JSON: it stands in the journal for as long as the step is kept, where it can be read by eye. Shipped lines
//! are preceded by the number of source bytes that they stand for (8 bytes, little-endian), since only so the byte column
//! of the audit balances, whoever read the file.

use bytes::{BufMut, Bytes};
use elastic_flow_wire::message::{Payload, PayloadKind};
use serde::{Deserialize, Serialize};

use super::SourceError;
use super::compression::Compression;
use super::identity::{FileAtSubmission, ends_digest};

/// Bytes before shipped lines.
pub(super) const LINES_HEADER_BYTES: usize = 8;

/// What a split is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Split {
    /// Stretches of files, one after the other.
    Files(Vec<FileSlice>),
    /// Numbers.
    Range {
        /// The first.
        start: u64,
        /// The one after the last.
        end: u64,
    },
}

/// A stretch of a file: the lines that start in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSlice {
    pub(super) file: FileAtSubmission,
    /// The first byte.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Digest of the stretch's ends when it was cut; none if the file was not the one of the submission then, or lies on a server.
    pub(super) ends: Option<u64>,
    /// The server that the file is on, where only that one reads it: the master could not look at the stretch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
}

impl FileSlice {
    pub(super) const fn is_whole(&self) -> bool {
        self.offset == 0 && self.length == self.file.length
    }

    /// The byte behind the stretch. Checked when the slice was decoded.
    pub(super) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// The digest of the stretch's ends, if its file still is the one of the submission.
    ///
    /// None is no error here: readers then answer that they do not have the file, and shipping it fails with what became
    /// of it.
    pub(super) fn vouch(&self) -> Option<u64> {
        if self.server.is_some() {
            return None;
        }
        if self.is_whole() {
            return Some(self.file.ends);
        }
        let mut opened = self.file.open().ok()?;
        ends_digest(&mut opened.file, self.offset, self.length).ok()
    }

    fn check(&self) -> Result<(), &'static str> {
        match self.offset.checked_add(self.length) {
            Some(end) if end <= self.file.length => {}
            _ => return Err("a stretch reaches beyond its file"),
        }
        if self.file.compression != Compression::None && !self.is_whole() {
            return Err("a compressed file is split");
        }
        Ok(())
    }
}

impl Split {
    pub(super) fn encode(&self) -> Result<Payload, SourceError> {
        let body = serde_json::to_vec(self).map_err(|error| SourceError::Payload { reason: error.to_string() })?;
        Ok(Payload { kind: PayloadKind::Split, body: Bytes::from(body) })
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, SourceError> {
        let split: Self =
            serde_json::from_slice(body).map_err(|error| SourceError::Payload { reason: error.to_string() })?;
        let checked = match &split {
            Self::Files(slices) => slices.iter().try_for_each(FileSlice::check),
            Self::Range { start, end } if start > end => Err("a range ends before it starts"),
            Self::Range { .. } => Ok(()),
        };
        checked.map_err(|reason| SourceError::Payload { reason: reason.to_owned() })?;
        Ok(split)
    }
}

/// Begins the body of shipped lines. The number of source bytes is set at the end, by [`finish_lines`].
pub(super) fn begin_lines(capacity: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(capacity.saturating_add(LINES_HEADER_BYTES));
    body.put_u64_le(0);
    body
}

/// Completes a body begun with [`begin_lines`].
pub(super) fn finish_lines(mut body: Vec<u8>, source_bytes: u64) -> Payload {
    if let Some(header) = body.first_chunk_mut::<LINES_HEADER_BYTES>() {
        *header = source_bytes.to_le_bytes();
    }
    Payload { kind: PayloadKind::Bytes, body: Bytes::from(body) }
}

/// Takes shipped lines apart: the source bytes that they stand for, and the lines.
pub(super) fn split_lines(body: &Bytes) -> Result<(u64, Bytes), SourceError> {
    let Some(header) = body.first_chunk::<LINES_HEADER_BYTES>() else {
        return Err(SourceError::Payload { reason: "shipped lines are shorter than their header".to_owned() });
    };
    Ok((u64::from_le_bytes(*header), body.slice(LINES_HEADER_BYTES..)))
}
