//! `merge`: two flows into one.

use crate::built::{self, Built};
use crate::chain::{Chain, Data, Outline, sealed};
use crate::error::ProgramError;
use crate::flow::Flow;
use crate::run::ChunkRun;
use crate::text::Span;

/// The link that [`Flow::merge`] adds.
#[derive(Debug, Clone)]
pub struct Merge<A, B> {
    left: A,
    right: B,
}

impl<A, B> sealed::Sealed for Merge<A, B> {}

impl<T: 'static, A: Chain<Item = T>> Flow<T, A> {
    /// The items of two flows over different inputs, which see [`Inputs`](crate::Inputs).
    ///
    /// Each chunk runs through the flow of its own input; one that both take runs through the first.
    #[inline]
    pub fn merge<B: Chain<Item = T>>(self, other: Flow<T, B>) -> Flow<T, Merge<A, B>> {
        Flow::of(Merge { left: self.chain, right: other.chain })
    }
}

impl<T: 'static, A: Chain<Item = T>, B: Chain<Item = T>> Chain for Merge<A, B> {
    type Item = T;
    type Output = Vec<T>;

    #[inline]
    fn fold<X, G>(&self, run: &ChunkRun<'_>, acc: X, g: G) -> X
    where
        G: FnMut(X, T) -> X,
    {
        if self.left.takes(run.input()) { self.left.fold(run, acc, g) } else { self.right.fold(run, acc, g) }
    }

    #[inline]
    fn fold_bytes<X, G>(&self, run: &ChunkRun<'_>, acc: X, g: G) -> X
    where
        G: FnMut(X, Span<'_>) -> X,
    {
        if self.left.takes(run.input()) {
            self.left.fold_bytes(run, acc, g)
        } else {
            self.right.fold_bytes(run, acc, g)
        }
    }

    #[inline]
    fn fold_words<X, G>(&self, run: &ChunkRun<'_>, acc: X, g: G) -> X
    where
        G: FnMut(X, Span<'_>) -> X,
    {
        if self.left.takes(run.input()) {
            self.left.fold_words(run, acc, g)
        } else {
            self.right.fold_words(run, acc, g)
        }
    }

    fn takes(&self, input: u16) -> bool {
        self.left.takes(input) || self.right.takes(input)
    }

    fn outline(&self) -> Outline {
        self.left.outline().with(self.right.outline(), "merge").then::<T>("merge")
    }

    fn build(self) -> Result<Built<T, Vec<T>>, ProgramError>
    where
        T: Data,
    {
        built::rows(self)
    }
}
