//! Two stages side by side on the workers: what two flows do before they are joined on the master.
//!
//! ```text
//! segment:  side: u8 = 0 (left) or 1 (right) | what that side's stage has given
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};
use elastic_flow_wire::message::{Segment, digest};
use elastic_flow_wire::{CodecError, decode, encode_to_vec};

use crate::error::MergeError;
use crate::gather::Gathered;
use crate::merger::Merger;
use crate::seam::TaskOutput;
use crate::workers::Side;

const LEFT: u8 = 0;
const RIGHT: u8 = 1;

/// Each chunk goes through the stage that takes its input, and what that gives says which it was.
pub(crate) fn tagged_sides(left: Side, right: Side) -> Side {
    Side::either((left, |output| tagged(LEFT, output)), (right, |output| tagged(RIGHT, output)))
}

fn tagged(side: u8, mut output: TaskOutput) -> TaskOutput {
    for segment in &mut output.segments {
        let mut body = BytesMut::with_capacity(segment.body.len() + 1);
        body.put_u8(side);
        body.put_slice(&segment.body);
        segment.body = body.freeze();
        segment.digest = digest(&segment.body);
    }
    output
}

/// Merges what [`tagged_sides`] give.
pub(crate) struct BothSides {
    pub(crate) left: Box<dyn Merger<Gathered>>,
    pub(crate) right: Box<dyn Merger<Gathered>>,
}

impl Merger<Gathered> for BothSides {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        let mut inner = segment.clone();
        let side = if inner.body.is_empty() { None } else { Some(inner.body.split_to(1)) };
        match side.as_deref() {
            Some([LEFT]) => self.left.merge(&inner),
            Some([RIGHT]) => self.right.merge(&inner),
            _ => {
                let source = CodecError::Cut { missing_bytes: 1 };
                Err(MergeError::Segment { receipt: segment.receipt, source })
            }
        }
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        let sides: (Bytes, Bytes) = (self.left.save()?, self.right.save()?);
        let saved = encode_to_vec(&(sides.0.as_ref(), sides.1.as_ref()));
        saved.map(Bytes::from).map_err(|source| MergeError::Encode { source })
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        let (left, right): (Vec<u8>, Vec<u8>) = decode(saved).map_err(|source| MergeError::Saved { source })?;
        self.left.restore(&left)?;
        self.right.restore(&right)
    }

    fn finish(self: Box<Self>) -> Result<Gathered, MergeError> {
        let mut items = self.left.finish()?;
        items.extend(self.right.finish()?);
        Ok(items)
    }
}
