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
use crate::plan::{ExchangeKind, ExchangePlan, OperatorPlan, StagePlan};
use crate::stage::{Body, StageOf, rows::Rows};
use crate::workers::{OnWorkers, Side};

/// Makes a merger.
pub(crate) type MergerFactory<O> = Arc<dyn Fn() -> Box<dyn Merger<O>> + Send + Sync>;

/// Whether the chunks of an input go through a stage.
pub(crate) type Taking = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// A flow that has been ended: items of `U`, and `O` as the result of the program.
#[expect(unnameable_types, reason = "the engine's own: users see it in hidden methods only")]
pub struct Built<U, O> {
    pub(crate) layout: Layout,
    /// Merges on the master what the last stage gives that runs on workers.
    pub(crate) merger: MergerFactory<O>,
    /// Merges to the items that the flow ends in.
    pub(crate) items: MergerFactory<Vec<U>>,
    /// Whether segments hold final items themselves, which only have to be joined.
    pub(crate) is_final: bool,
    pub(crate) view: View<O>,
}

/// What stages a flow has, and what of them runs on workers; the others run on the master.
#[derive(Clone)]
pub(crate) struct Layout {
    /// The stages, each behind those whose items enter it.
    pub(crate) stages: Vec<StagePlan>,
    /// The exchanges behind them.
    pub(crate) exchanges: Vec<ExchangePlan>,
    /// Those of the stages whose items the flow ends in.
    pub(crate) ends: Vec<StageId>,
    pub(crate) on_workers: OnWorkers,
    /// What the owners of partitions do where the flow ends in one and nothing follows.
    pub(crate) closing: Option<MakeMerging>,
}

impl Layout {
    /// Adds a stage to the plan, behind the ends; it becomes the end.
    fn push(&mut self, item: &str, operators: Vec<OperatorPlan>, combines: bool) -> Result<StageId, ProgramError> {
        let id = u16::try_from(self.stages.len()).map_err(|_| ProgramError::TooManyStages { limit: u16::MAX })?;
        let from = std::mem::replace(&mut self.ends, vec![StageId(id)]);
        self.stages.push(StagePlan { id: StageId(id), from, item: item.to_owned(), operators, combines });
        Ok(StageId(id))
    }

    /// Notes how the output of a stage on workers moves.
    fn moves(&mut self, from: StageId) {
        let kind = if self.on_workers.is_split { ExchangeKind::Hash } else { ExchangeKind::Gather };
        self.exchanges.push(ExchangePlan { from, kind });
    }

    /// Two of them side by side, with what they give on workers.
    pub(crate) fn beside(&self, right: &Self, on_workers: OnWorkers) -> Result<Self, ProgramError> {
        let shift = self.stages.len();
        let shifted = |id: StageId| {
            let id = u16::try_from(shift.saturating_add(id.0.into()));
            id.map(StageId).map_err(|_| ProgramError::TooManyStages { limit: u16::MAX })
        };
        let all_shifted = |ids: &[StageId]| ids.iter().map(|&id| shifted(id)).collect::<Result<Vec<_>, _>>();
        let mut both = Self { on_workers, closing: None, ..self.clone() };
        for stage in &right.stages {
            both.stages.push(StagePlan { id: shifted(stage.id)?, from: all_shifted(&stage.from)?, ..stage.clone() });
        }
        for exchange in &right.exchanges {
            both.exchanges.push(ExchangePlan { from: shifted(exchange.from)?, ..*exchange });
        }
        both.ends.extend(all_shifted(&right.ends)?);
        Ok(both)
    }

    /// The same, to be run as it is: where it ends in partitions, their owners put them together; where there is nothing to put
    /// together, what would be split goes to the master as it is.
    pub(crate) fn closed(mut self) -> Result<Self, ProgramError> {
        if !self.on_workers.is_split {
            return Ok(self);
        }
        self.on_workers.is_split = false;
        let Some(make) = self.closing.take() else {
            let ends = &self.ends;
            self.exchanges
                .iter_mut()
                .filter(|it| ends.contains(&it.from))
                .for_each(|it| it.kind = ExchangeKind::Gather);
            return Ok(self);
        };
        let end = self.stages.last().and_then(|stage| stage.operators.last());
        let item = end.map_or_else(String::new, |it| it.output.clone());
        let id = self.push(&item, Vec::new(), true)?;
        self.on_workers = self.on_workers.then(make, false);
        self.moves(id);
        Ok(self)
    }
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
        f.debug_struct("Built").field("stages", &self.layout.stages).finish_non_exhaustive()
    }
}

impl<U: 'static, O: 'static> Built<U, O> {
    /// The same flow, which ends in partitions that `make` makes, if it ends in any and nothing follows.
    pub(crate) fn closing_in(mut self, make: MakeMerging) -> Self {
        self.layout.closing = Some(make);
        self
    }

    /// What this flow and another one give for the same partitions.
    pub(crate) fn beside(self, right: &Self, operator: &'static str) -> Result<Self, ProgramError> {
        let (left_workers, right_workers) = (self.layout.on_workers.clone(), right.layout.on_workers.clone());
        if left_workers.source().overlaps(right_workers.source()) {
            return Err(ProgramError::InputOfBoth { operator });
        }
        let layout = self.layout.beside(&right.layout, left_workers.beside(right_workers))?;
        Ok(Self { layout, ..self })
    }

    /// The same flow, where the plan shows items of `Shown` behind the last operator.
    pub(crate) fn shown_as<Shown>(mut self) -> Self {
        if let Some(last) = self.layout.stages.last_mut().and_then(|stage| stage.operators.last_mut()) {
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
        Built { layout: self.layout, merger, items, is_final: false, view }
    }

    /// The same flow, with its items as the result.
    pub(crate) fn into_items(self) -> Built<U, Vec<U>>
    where
        U: Serialize,
    {
        let Self { layout, items, is_final, .. } = self;
        let (merger, view) = (Arc::clone(&items), View::plain());
        Built { layout, merger, items, is_final, view }
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
/// What lies before the chain cannot be built; or it is to be partitioned where that does nothing.
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
    let is_split = outline.partitioned_by.is_some();
    if is_split && !B::BY_KEY {
        return Err(ProgramError::NotByKey { operator: ends_in });
    }
    let on_master = upstream.as_ref().is_some_and(|it| !it.layout.on_workers.is_split);
    if let Some(operator) = outline.partitioned_by.filter(|_| on_master) {
        return Err(ProgramError::NotAtSource { operator });
    }
    let body = Arc::new(StageOf(body));
    let (mut layout, merger) = match upstream {
        None => {
            let taking = Arc::clone(&body);
            let takes: Taking = Arc::new(move |input| taking.0.takes(input));
            let on_workers = OnWorkers::reading(Side { stage: body, takes }, is_split);
            let (stages, exchanges, ends) = (Vec::new(), Vec::new(), Vec::new());
            (Layout { stages, exchanges, ends, on_workers, closing: None }, merger)
        }
        Some(upstream) => upstream.then(body, ends_in, is_split, merger),
    };
    let id = layout.push(outline.item, operators, B::COMBINES)?;
    if !on_master {
        layout.moves(id);
    }
    let items = items_merger(&merger, into_items);
    Ok(Built { layout, merger, items, is_final: B::FINAL && !on_master, view })
}
