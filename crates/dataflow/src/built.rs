//! A finished flow: its stage, and how the master merges what the stage gives.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::Serialize;

use crate::aggregate::{Aggregating, Collect};
use crate::chain::{Chain, Data, Outline};
use crate::encoded_output::write_encoded;
use crate::error::ProgramError;
use crate::format::{Format, count_rows, write_rows};
use crate::merger::Merger;
use crate::seam::Stage;
use crate::stage::{Body, StageOf, rows::Rows};

/// Makes a merger.
pub(crate) type MergerFactory<O> = Arc<dyn Fn() -> Box<dyn Merger<O>> + Send + Sync>;

/// A flow that has been ended: items of `U`, and `O` as the result of the program.
#[expect(unnameable_types, reason = "the engine's own: users see it in hidden methods only")]
pub struct Built<U, O> {
    pub(crate) outline: Outline,
    pub(crate) stage: Arc<dyn Stage>,
    /// Whether the chunks of an input go through the stage.
    pub(crate) takes: Arc<dyn Fn(u16) -> bool + Send + Sync>,
    pub(crate) combines: bool,
    pub(crate) merger: MergerFactory<O>,
    /// Merges to the items that the flow ends in; none where segments hold final items themselves.
    pub(crate) items: Option<MergerFactory<Vec<U>>>,
    pub(crate) view: View<O>,
}

/// How the rows of a result are shown.
pub(crate) struct View<O> {
    pub(crate) rows: fn(&O) -> u64,
    pub(crate) write: fn(&O, Format, &mut dyn io::Write) -> io::Result<()>,
    /// All of it, for a process that has the same type.
    pub(crate) encode: fn(&O, &mut dyn io::Write) -> io::Result<()>,
}

impl<O> Clone for View<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for View<O> {}

impl<O: Serialize> View<O> {
    /// As serde sees it: the elements of a sequence, the entries of a map, or the one value.
    pub(crate) fn plain() -> Self {
        Self { rows: count_rows::<O>, write: write_rows::<O>, encode: write_encoded::<O> }
    }
}

impl<U, O> fmt::Debug for Built<U, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("outline", &self.outline)
            .field("combines", &self.combines)
            .finish_non_exhaustive()
    }
}

/// Ends a flow in its items: one result a chunk, joined in source order.
pub(crate) fn rows<C>(chain: C) -> Result<Built<C::Item, Vec<C::Item>>, ProgramError>
where
    C: Chain<Item: Data>,
{
    let outline = chain.outline().check()?;
    let merger: MergerFactory<Vec<C::Item>> = Arc::new(|| Box::new(Aggregating::new(Collect::<C::Item>::new())));
    Ok(assemble(outline, Rows(chain), merger, None, View::plain()))
}

/// Puts the parts together.
pub(crate) fn assemble<U, O, B: Body>(
    outline: Outline,
    body: B,
    merger: MergerFactory<O>,
    items: Option<MergerFactory<Vec<U>>>,
    view: View<O>,
) -> Built<U, O> {
    let stage = Arc::new(StageOf(body));
    let taking = Arc::clone(&stage);
    let takes = Arc::new(move |input| taking.0.takes(input));
    Built { outline, stage, takes, combines: B::COMBINES, merger, items, view }
}
