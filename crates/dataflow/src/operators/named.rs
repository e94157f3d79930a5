//! `named` and `partition`: what a flow says of itself, and changes no item by.

use crate::built::{self, Built};
use crate::chain::{Chain, Data, Outline, sealed};
use crate::error::ProgramError;
use crate::flow::Flow;
use crate::run::ChunkRun;
use crate::text::Span;

/// The link that [`Flow::named`] and [`Flow::partition`] add.
#[derive(Debug, Clone)]
pub struct Named<C> {
    inner: C,
    name: &'static str,
    is_partition: bool,
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
        Flow::of(Named { inner: self.chain, name, is_partition: false })
    }

    /// Lets workers do what is reduced by key next, each for the keys that fall to it: they exchange what their tasks have
    /// combined, directly and while they still compute. Without, the master merges it alone, which is right for results of some
    /// hundred thousand keys.
    ///
    /// What follows the reduction runs on the workers, too, up to the next global reduction, which may be partitioned itself: a flow
    /// has as many exchanges as it likes. Its items come by partition, within it in the order of [`Flow::counts`]; which partition a
    /// key falls to depends on the key and the number of partitions alone. A join is partitioned where one of its sides is. Items that
    /// cannot be combined are moved by [`Flow::partition_by`].
    ///
    /// ```
    /// # use elastic_flow_dataflow::{Flow, Text, TypedProgram};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let often = |lines: Flow<Text>| lines.words().partition().counts().filter(|(_, count)| *count > 1).sort();
    /// let counts = TypedProgram::new("often", often)?.on(["to be or", "not to be"])?;
    /// assert_eq!(counts, [("be".into(), 2), ("to".into(), 2)]);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn partition(self) -> Flow<T, Named<C>> {
        Flow::of(Named { inner: self.chain, name: "partition", is_partition: true })
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
        let outline = self.inner.outline().then::<C::Item>(self.name);
        let partitions = self.is_partition.then_some(self.name);
        Outline { partitioned_by: partitions.or(outline.partitioned_by), ..outline }
    }

    fn build(self) -> Result<Built<C::Item, Vec<C::Item>>, ProgramError>
    where
        C::Item: Data,
    {
        built::rows(self)
    }
}
