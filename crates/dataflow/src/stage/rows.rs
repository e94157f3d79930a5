//! A stage whose items are its result: encoded as they come.

use bytes::Bytes;
use elastic_flow_wire::codec::MESSAGE_BYTES_MAX;
use elastic_flow_wire::message::FailureKind;
use elastic_flow_wire::{CodecError, SeqEncoder};

use super::Body;
use crate::chain::{Chain, Data};
use crate::run::ChunkRun;

/// The items of a chain.
pub(crate) struct Rows<C>(pub(crate) C);

impl<C: Chain<Item: Data>> Body for Rows<C> {
    type Partial = SeqEncoder<C::Item>;
    type Whole = Vec<C::Item>;
    const COMBINES: bool = false;
    const FINAL: bool = true;
    const NAME: &'static str = "rows";

    fn takes(&self, input: u16) -> bool {
        self.0.takes(input)
    }

    fn start(&self, _: u32) -> Self::Partial {
        SeqEncoder::new()
    }

    fn fold(&self, run: &ChunkRun<'_>, partial: &mut Self::Partial) {
        self.0.fold(run, partial, |encoder, item| {
            if run.is_halted() {
                return encoder;
            }
            if let Err(error) = encoder.push(&item) {
                run.fail_item(FailureKind::User, error.to_string());
            } else if encoder.len_bytes() > MESSAGE_BYTES_MAX {
                let message = format!("the chunk gives more than {MESSAGE_BYTES_MAX} bytes: make chunks smaller");
                run.fail_item(FailureKind::Resource, message);
            }
            encoder
        });
    }

    fn encode(&self, partial: Self::Partial) -> Result<(u64, Bytes), CodecError> {
        Ok(partial.finish())
    }

    fn whole(&self, runs: &[ChunkRun<'_>]) -> Result<Self::Whole, CodecError> {
        Ok(runs.iter().fold(Vec::new(), |items, run| self.0.fold(run, items, pushed)))
    }
}

/// The items with one more.
#[inline]
pub(crate) fn pushed<T>(mut items: Vec<T>, item: T) -> Vec<T> {
    items.push(item);
    items
}
