//! Segments into an [`Aggregate`]: decoded item by item, held back until their turn where order matters.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use elastic_flow_wire::message::Segment;
use elastic_flow_wire::{BatchReader, decode, encode_to_vec};
use serde::{Deserialize, Serialize};

use super::Aggregate;
use crate::chain::Data;
use crate::error::MergeError;
use crate::merger::Merger;

/// The aggregate of a stage whose segments hold final items.
pub(crate) struct Aggregating<A: Aggregate> {
    aggregate: Arc<A>,
    state: A::State,
    /// The place in source order from which on nothing is merged yet.
    next: u64,
    /// Segments that came before their turn, by place in source order.
    held: BTreeMap<u64, Vec<Segment>>,
}

/// An aggregate as it is saved.
#[derive(Serialize)]
struct Saving<'a, S> {
    state: &'a S,
    next: u64,
    held: Vec<&'a Segment>,
}

/// The same, as it is restored.
#[derive(Deserialize)]
struct Saved<S> {
    state: S,
    next: u64,
    held: Vec<Segment>,
}

impl<A: Aggregate<Item: Data>> Aggregating<A> {
    pub(crate) fn new(aggregate: impl Into<Arc<A>>) -> Self {
        let aggregate = aggregate.into();
        let state = aggregate.start();
        Self { aggregate, state, next: 0, held: BTreeMap::new() }
    }

    fn take(&mut self, segment: &Segment) -> Result<(), MergeError> {
        let wrong = |source| MergeError::Segment { receipt: segment.receipt, source };
        let mut reader = BatchReader::new(&segment.body, segment.rows).map_err(wrong)?;
        while let Some(item) = reader.next_item().map_err(wrong)? {
            self.aggregate.merge(&mut self.state, item, Some(segment.receipt));
        }
        Ok(())
    }

    fn take_all(&mut self, segments: &[Segment]) -> Result<(), MergeError> {
        segments.iter().try_for_each(|segment| self.take(segment))
    }
}

impl<A: Aggregate<Item: Data>> Merger<A::Output> for Aggregating<A> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        let place = segment.receipt.sequence;
        if !A::ORDERED || place < self.next {
            return self.take(segment);
        }
        if place > self.next {
            self.held.entry(place).or_default().push(segment.clone());
            return Ok(());
        }
        self.take(segment)?;
        self.next += 1;
        while let Some(segments) = self.held.remove(&self.next) {
            self.take_all(&segments)?;
            self.next += 1;
        }
        Ok(())
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        let held = self.held.values().flatten().collect();
        let saved = encode_to_vec(&Saving { state: &self.state, next: self.next, held });
        saved.map(Bytes::from).map_err(|source| MergeError::Encode { source })
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        let Saved { state, next, held } = decode(saved).map_err(|source| MergeError::Saved { source })?;
        self.state = state;
        self.next = next;
        for segment in held {
            self.held.entry(segment.receipt.sequence).or_default().push(segment);
        }
        Ok(())
    }

    /// What is missing before held segments is not to come any more: the rest is in order.
    fn finish(mut self: Box<Self>) -> Result<A::Output, MergeError> {
        while let Some((_, segments)) = self.held.pop_first() {
            self.take_all(&segments)?;
        }
        let Self { aggregate, state, .. } = *self;
        Ok(aggregate.finish(state))
    }
}

/// The aggregate behind a global reduction, whose items are final only when all are there.
pub(crate) struct Following<A: Aggregate> {
    pub(crate) aggregate: Arc<A>,
    pub(crate) items: Box<dyn Merger<Vec<A::Item>>>,
}

impl<A: Aggregate> Merger<A::Output> for Following<A> {
    fn merge(&mut self, segment: &Segment) -> Result<(), MergeError> {
        self.items.merge(segment)
    }

    fn save(&self) -> Result<Bytes, MergeError> {
        self.items.save()
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), MergeError> {
        self.items.restore(saved)
    }

    fn finish(self: Box<Self>) -> Result<A::Output, MergeError> {
        let Self { aggregate, items } = *self;
        let mut state = aggregate.start();
        for item in items.finish()? {
            aggregate.merge(&mut state, item, None);
        }
        Ok(aggregate.finish(state))
    }
}
