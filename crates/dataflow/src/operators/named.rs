//! `named`: a name for what a flow has come to.

use crate::built::{self, Built};
use crate::chain::{Chain, Data, Outline, sealed};
use crate::error::ProgramError;
use crate::flow::Flow;
use crate::run::ChunkRun;
use crate::text::Span;

/// The link that [`Flow::named`] adds.
#[derive(Debug, Clone)]
pub struct Named<C> {
    inner: C,
    name: &'static str,
}

impl<C> sealed::Sealed for Named<C> {}

impl<T, C: Chain<Item = T>> Flow<T, C> {
    /// Gives what has come about so far a name, which `explain` shows. It costs nothing when the flow runs, and is part of the plan.
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram, params::Params, seam::Program as _};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = TypedProgram::new("p", |lines: Flow<Text>| lines.map(|line| line.len()).named("lengths").counts())?;
    /// assert!(program.prepare(&Params::default())?.plan.explain().contains("  lengths              usize\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn named(self, name: &'static str) -> Flow<T, Named<C>> {
        Flow::of(Named { inner: self.chain, name })
    }
}

impl<C: Chain> Chain for Named<C> {
    type Item = C::Item;
    type Output = Vec<C::Item>;

    #[inline]
    fn fold<A, G>(&self, run: &ChunkRun<'_>, acc: A, g: G) -> A
    where
        G: FnMut(A, Self::Item) -> A,
    {
        self.inner.fold(run, acc, g)
    }

    #[inline]
    fn fold_bytes<A, G>(&self, run: &ChunkRun<'_>, acc: A, g: G) -> A
    where
        G: FnMut(A, Span<'_>) -> A,
    {
        self.inner.fold_bytes(run, acc, g)
    }

    #[inline]
    fn fold_words<A, G>(&self, run: &ChunkRun<'_>, acc: A, g: G) -> A
    where
        G: FnMut(A, Span<'_>) -> A,
    {
        self.inner.fold_words(run, acc, g)
    }

    fn takes(&self, input: u16) -> bool {
        self.inner.takes(input)
    }

    fn outline(&self) -> Outline {
        self.inner.outline().then::<C::Item>(self.name)
    }

    fn build(self) -> Result<Built<C::Item, Vec<C::Item>>, ProgramError>
    where
        C::Item: Data,
    {
        built::rows(self)
    }
}
