//! [`Flow`]: what a program is written in.

use std::fmt;
use std::marker::PhantomData;

use crate::built::Built;
use crate::chain::{Chain, Data};
use crate::error::ProgramError;
use crate::input::Input;
use crate::total::One;

/// Items of `T` on their way through a program.
///
/// A flow is built from operators by value, as an iterator is; nothing runs before a step does. `C` is the chain of operators
/// since the last border, and is left out where there is none: a flow function that ends in a keyed reduction returns
/// `Flow<(K, V)>`, one that ends in `map` and the like returns `Flow<U, impl Chain<Item = U, Output = Vec<U>>>`, and one that ends
/// in a single value returns [`Single<T>`].
///
/// A flow goes one way: it is moved into the operator that takes it, and cannot be used twice. What two branches would do, one
/// closure does: `flat_map` each item into what either of them would make of it.
///
/// Its closures run in many threads, after the function that built it has ended: they own what they use (`move`), share it by
/// `Arc`, and count in atomic numbers. What leaves a closure is owned, too: no item lives longer than the call that gets it.
///
/// ```
/// use elastic_flow_dataflow::{Chain, Flow, Single, Text, TypedProgram};
///
/// fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
///     lines.words().to_ascii_lowercase().counts()
/// }
/// fn lengths(lines: Flow<Text>) -> Flow<usize, impl Chain<Item = usize, Output = Vec<usize>>> {
///     lines.map(|line| line.len())
/// }
/// fn bytes(lines: Flow<Text>) -> Single<u64> {
///     lines.map(|line| line.len() as u64).sum()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counts = TypedProgram::new("words", count_words)?.on(["To be or", "not to be"])?;
/// let found: Vec<_> = counts.iter().map(|(word, count)| (word.as_str(), *count)).collect();
/// assert_eq!(found, [(Ok("be"), 2), (Ok("not"), 1), (Ok("or"), 1), (Ok("to"), 2)]);
/// assert_eq!(TypedProgram::new("lengths", lengths)?.on(["a", "bcd"])?, [1, 3]);
/// assert_eq!(TypedProgram::new("bytes", bytes)?.on(["a", "bcd"])?, 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "a flow does nothing unless its function returns it"]
pub struct Flow<T, C = Input<T>> {
    pub(crate) chain: C,
    item: PhantomData<fn() -> T>,
}

/// A flow that has ended in one value, which is the result of its program.
pub type Single<T> = Flow<T, One<T>>;

impl<T, C: Chain<Item = T>> Flow<T, C> {
    #[inline]
    pub(crate) const fn of(chain: C) -> Self {
        Self { chain, item: PhantomData }
    }
}

impl<T: Data> Flow<T> {
    /// The items of a source: of one input, or of all.
    pub(crate) const fn source(only: Option<u16>) -> Self {
        Self::of(Input::source(only))
    }

    /// The items of a global reduction.
    pub(crate) const fn behind(built: Result<Built<T, Vec<T>>, ProgramError>) -> Self {
        Self::of(Input::behind(built))
    }
}

impl<T, C: Chain<Item = T>> fmt::Debug for Flow<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flow").field(&self.chain.outline()).finish()
    }
}
