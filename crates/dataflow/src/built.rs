//! A finished flow: its stage, and how the master merges what the stage gives.

use std::any::type_name;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::Serialize;

use elastic_flow_receipt::StageId;

use crate::aggregate::{Aggregating, Collect};
use crate::chain::{Chain, Data, Outline, Shareable};
use crate::encoded_output::write_encoded;
use crate::error::{MergeError, ProgramError};
use crate::format::{Format, count_rows, write_row, write_rows};
use crate::gather::Mapped;
use crate::merger::Merger;
use crate::partitioned::MakeMerging;
use crate::plan::StagePlan;
use crate::seam::Stage;
use crate::stage::{Body, StageOf, rows::Rows};

/// Makes a merger.
pub(crate) type MergerFactory<O> = Arc<dyn Fn() -> Box<dyn Merger<O>> + Send + Sync>;

/// Whether the chunks of an input go through a stage.
pub(crate) type Taking = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// A flow that has been ended: items of `U`, and `O` as the result of the program.
#[expect(unnameable_types, reason = "the engine's own: users see it in hidden methods only")]
pub struct Built<U, O> {
    /// The stages, each behind those whose items enter it. Those that read the source run on workers, the others on the master.
    pub(crate) stages: Vec<StagePlan>,
    /// What runs on workers.
    pub(crate) stage: Arc<dyn Stage>,
    pub(crate) takes: Taking,
    pub(crate) merger: MergerFactory<O>,
    /// Whether the first stage's output is split by key and exchanged between the workers.
    pub(crate) is_partitioned: bool,
    /// What the owner of a partition does, behind the exchange.
    pub(crate) partitioned: Option<MakeMerging>,
    /// Merges to the items that the flow ends in.
    pub(crate) items: MergerFactory<Vec<U>>,
    /// Whether segments hold final items themselves, which only have to be joined.
    pub(crate) is_final: bool,
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

    /// As one value, whatever it is.
    pub(crate) fn one() -> Self {
        Self { rows: |_| 1, write: write_row::<O>, encode: write_encoded::<O> }
    }
}

impl<U, O> fmt::Debug for Built<U, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built").field("stages", &self.stages).finish_non_exhaustive()
    }
}

impl<U: 'static, O: 'static> Built<U, O> {
    /// The same flow, where its partitions, if it has any, are what `make` makes.
    pub(crate) fn exchanged(mut self, make: impl FnOnce() -> MakeMerging) -> Self {
        if self.is_partitioned && self.partitioned.is_none() {
            self.partitioned = Some(make());
        }
        self
    }

    /// The same flow, where the plan shows items of `Shown` behind the last operator.
    pub(crate) fn shown_as<Shown>(mut self) -> Self {
        if let Some(last) = self.stages.last_mut().and_then(|stage| stage.operators.last_mut()) {
            type_name::<Shown>().clone_into(&mut last.output);
        }
        self
    }

    /// The same flow, with another end: `f` makes the result of what has been merged, `into_items` its items.
    pub(crate) fn ending_in<V: 'static, P: 'static, F>(
        self,
        f: F,
        into_items: fn(P) -> Vec<V>,
        view: View<P>,
    ) -> Built<V, P>
    where
        F: Fn(O) -> P + Shareable,
    {
        let (merger, f) = (self.merger, Arc::new(f));
        let merger: MergerFactory<P> = Arc::new(move || {
            let f = Arc::clone(&f);
            Box::new(Mapped::new(merger(), move |merged| Ok(f(merged))))
        });
        let items = items_merger(&merger, into_items);
        Built {
            stages: self.stages,
            stage: self.stage,
            takes: self.takes,
            is_partitioned: self.is_partitioned,
            partitioned: self.partitioned,
            merger,
            items,
            is_final: false,
            view,
        }
    }

    /// The same flow, with its items as the result.
    pub(crate) fn into_items(self) -> Built<U, Vec<U>>
    where
        U: Serialize,
    {
        let Self { stages, stage, takes, is_partitioned, partitioned, items, is_final, .. } = self;
        let (merger, view) = (Arc::clone(&items), View::plain());
        Built { stages, stage, takes, is_partitioned, partitioned, merger, items, is_final, view }
    }
}

/// A merger of a result as one of its items.
fn items_merger<U: 'static, O: 'static>(
    merger: &MergerFactory<O>,
    into_items: fn(O) -> Vec<U>,
) -> MergerFactory<Vec<U>> {
    let merger = Arc::clone(merger);
    Arc::new(move || Box::new(Mapped::new(merger(), move |merged| Ok::<_, MergeError>(into_items(merged)))))
}

/// Ends a flow in its items: one result a chunk, joined in source order.
pub(crate) fn rows<C>(chain: C) -> Result<Built<C::Item, Vec<C::Item>>, ProgramError>
where
    C: Chain<Item: Data>,
{
    let outline = chain.outline();
    let merger: MergerFactory<Vec<C::Item>> = Arc::new(|| Box::new(Aggregating::new(Collect::<C::Item>::new())));
    assemble(outline, Rows(chain), merger, |items| items, View::plain())
}

/// Puts the parts together. `merger` merges what the stage gives on workers; behind a global reduction it is not needed.
///
/// # Errors
/// What lies before the chain cannot be built.
pub(crate) fn assemble<U: 'static, B: Body>(
    outline: Outline,
    body: B,
    merger: MergerFactory<B::Whole>,
    into_items: fn(B::Whole) -> Vec<U>,
    view: View<B::Whole>,
) -> Result<Built<U, B::Whole>, ProgramError> {
    let operators = outline.operator_plans();
    let ends_in = outline.operators.last().map_or("gathered", |&(name, _)| name);
    let upstream = outline.upstream.transpose()?;
    if let Some(operator) = outline.partitioned_by {
        if !B::BY_KEY {
            return Err(ProgramError::NotByKey { operator: ends_in });
        }
        if upstream.is_some() {
            return Err(ProgramError::NotAtSource { operator });
        }
    }
    let (mut stages, from) = match &upstream {
        Some(upstream) => (upstream.stages.clone(), upstream.from.clone()),
        None => (Vec::new(), Vec::new()),
    };
    let id = StageId(u16::try_from(stages.len()).map_err(|_| ProgramError::TooManyStages { limit: u16::MAX })?);
    stages.push(StagePlan { id, from, item: outline.item.to_owned(), operators, combines: B::COMBINES });
    let body = Arc::new(StageOf(body));
    let parts = match &upstream {
        None => {
            let taking = Arc::clone(&body);
            let takes: Taking = Arc::new(move |input| taking.0.takes(input));
            Parts {
                stage: body,
                takes,
                is_partitioned: outline.partitioned_by.is_some(),
                partitioned: None,
                merger,
                on_master: false,
            }
        }
        Some(upstream) => upstream.then(body, ends_in, merger),
    };
    let Parts { stage, takes, is_partitioned, partitioned, merger, on_master } = parts;
    let items = items_merger(&merger, into_items);
    let is_final = B::FINAL && !on_master;
    Ok(Built { stages, stage, takes, is_partitioned, partitioned, merger, items, is_final, view })
}

/// What runs where, of a flow that ends in an `O`.
pub(crate) struct Parts<O> {
    pub(crate) stage: Arc<dyn Stage>,
    pub(crate) takes: Taking,
    pub(crate) is_partitioned: bool,
    pub(crate) partitioned: Option<MakeMerging>,
    pub(crate) merger: MergerFactory<O>,
    /// Whether the last stage runs on the master.
    pub(crate) on_master: bool,
}
