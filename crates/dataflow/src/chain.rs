//! [`Chain`]: the operators of a stage, as one type.
//!
//! A chain *folds*: an accumulator goes in by value and comes out by value, so that the whole chain compiles to one loop. There
//! is no boxing, no dynamic call and no allocation an item; one dynamic call a chunk, and one a block of it.

use std::any::{Any, TypeId, type_name};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::built::Built;
use crate::error::ProgramError;
use crate::gather::Upstream;
use crate::plan::OperatorPlan;
use crate::run::ChunkRun;
use crate::text::{Span, Text, fold_spans};

/// A type that can cross a border: it is encoded, and decoded elsewhere.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross a border of a flow",
    label = "must implement `Serialize`, `DeserializeOwned` and `Send`, and borrow nothing",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it"
)]
pub trait Data: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Data for T {}

/// What a closure of a flow has to be: all compute threads share it, for as long as the program is there.
///
/// Every type that is `Send + Sync + 'static` is one.
#[diagnostic::on_unimplemented(
    message = "a closure of a flow captures what the compute threads cannot share",
    label = "captures something that is not `Send` and `Sync`, as an `Rc`, a `Cell`, a `RefCell` or a raw pointer",
    note = "capture an `Arc`, an atomic or a `Mutex` in its place; what is to be counted or gathered over all workers is the \
            work of a reduction or an aggregator, since each process has its own copy of what a closure captures"
)]
pub trait Shareable: Send + Sync + 'static {}

// The error is to speak of the closure and the way out, and not of a bound that this implementation happens to have.
#[diagnostic::do_not_recommend]
impl<F: Send + Sync + 'static> Shareable for F {}

pub(crate) mod sealed {
    /// Keeps [`Chain`](super::Chain) ours.
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
}

/// The operators of a stage, fused.
///
/// It is written out only in the type of a flow function's result, as `Flow<U, impl Chain<Item = U, Output = Vec<U>>>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a chain of operators",
    label = "expected what a `Flow` method gives",
    note = "a flow function that ends in `map`, `filter` and the like returns \
            `Flow<U, impl Chain<Item = U, Output = Vec<U>>>`"
)]
pub trait Chain: sealed::Sealed + Sized + Send + Sync + 'static {
    /// What comes out of the last operator.
    type Item: 'static;
    /// What a program gives whose flow ends here, where no aggregator is named.
    type Output: 'static;

    /// Folds the items of the chunk.
    #[doc(hidden)]
    fn fold<A, F>(&self, run: &ChunkRun<'_>, acc: A, f: F) -> A
    where
        F: FnMut(A, Self::Item) -> A;

    /// Folds the items of the chunk as borrowed bytes. Of use only where `Item` is [`Text`].
    #[doc(hidden)]
    #[inline]
    fn fold_bytes<A, F>(&self, run: &ChunkRun<'_>, acc: A, mut f: F) -> A
    where
        F: FnMut(A, Span<'_>) -> A,
    {
        self.fold(run, acc, |acc, item| match as_text(&item) {
            Some(text) => f(acc, Span::whole(text)),
            None => acc,
        })
    }

    /// Folds the words of the items of the chunk. Of use only where `Item` is [`Text`].
    #[doc(hidden)]
    #[inline]
    fn fold_words<A, F>(&self, run: &ChunkRun<'_>, acc: A, mut f: F) -> A
    where
        F: FnMut(A, Span<'_>) -> A,
    {
        self.fold_bytes(run, acc, |acc, span| fold_spans(span.bytes(), acc, &mut f))
    }

    /// Whether the chunks of this input go through this chain.
    #[doc(hidden)]
    fn takes(&self, input: u16) -> bool;

    /// What the plan says of this chain.
    #[doc(hidden)]
    fn outline(&self) -> Outline;

    /// Ends the flow here.
    #[doc(hidden)]
    fn build(self) -> Result<Built<Self::Item, Self::Output>, ProgramError>
    where
        Self::Item: Data;
}

/// What a plan says of a chain.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The type of the items that enter.
    pub(crate) item: &'static str,
    /// The operators, in order.
    pub(crate) operators: Vec<(&'static str, &'static str)>,
    /// The operator that has what follows done by partitions, on the workers.
    pub(crate) partitioned_by: Option<&'static str>,
    /// What lies before the chain, where it starts behind a global reduction.
    pub(crate) upstream: Option<Result<Arc<Upstream>, ProgramError>>,
}

impl Outline {
    pub(crate) fn then<T>(mut self, operator: &'static str) -> Self {
        self.operators.push((operator, type_name::<T>()));
        self
    }

    /// That of two chains which `operator` joins. Items of both have to meet: those that a global reduction has gathered on the
    /// master and those that are still read on workers do not.
    pub(crate) fn with(mut self, other: Self, operator: &'static str) -> Self {
        self.operators.push(("with", other.item));
        self.operators.extend(other.operators);
        self.partitioned_by = self.partitioned_by.or(other.partitioned_by);
        self.upstream = match (self.upstream, other.upstream) {
            (None, None) => None,
            (Some(Err(error)), _) | (_, Some(Err(error))) => Some(Err(error)),
            (Some(Ok(left)), Some(Ok(right))) => Some(Upstream::both(&left, &right, operator).map(Arc::new)),
            (Some(_), None) | (None, Some(_)) => Some(Err(ProgramError::NeedsExchange { operator })),
        };
        self
    }

    pub(crate) fn operator_plans(&self) -> Vec<OperatorPlan> {
        let plan = |&(name, output): &(&str, &str)| OperatorPlan { name: name.to_owned(), output: output.to_owned() };
        self.operators.iter().map(plan).collect()
    }
}

/// The function, borrowed: as `&mut f`, but seen through by the optimiser where that is a call.
#[inline]
pub(crate) fn by_ref<A, T>(f: &mut impl FnMut(A, T) -> A) -> impl FnMut(A, T) -> A {
    move |acc, item| f(acc, item)
}

/// Whether `T` is [`Text`]; known when it compiles.
#[inline]
pub(crate) fn is_text<T: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<Text>()
}

/// The item as a text, if it is one; known when it compiles.
#[inline]
pub(crate) fn as_text<T: 'static>(item: &T) -> Option<&Text> {
    (item as &dyn Any).downcast_ref()
}

/// The value as another type, if it is of that type; known when it compiles.
#[inline]
pub(crate) fn cast<A: 'static, B: 'static>(value: A) -> Option<B> {
    let mut slot = Some(value);
    (&mut slot as &mut dyn Any).downcast_mut::<Option<B>>().and_then(Option::take)
}

/// The value, keeping no chunk alive if it is a text.
#[inline]
pub(crate) fn detached<T: 'static>(value: T) -> T {
    let mut value = value;
    if let Some(text) = (&mut value as &mut dyn Any).downcast_mut::<Text>() {
        *text = std::mem::take(text).detached();
    }
    value
}
