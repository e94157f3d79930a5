//! [`Aggregate`]: how a program's results become one value on the master.
//!
//! Where none is named, a flow that ends in a keyed reduction gives its entries, one that ends in a single value gives that,
//! and any other gives its items as a `Vec` in source order.

mod ordered;
#[cfg(test)]
mod tests;
mod values;
mod wrappers;

use elastic_flow_receipt::ReceiptId;
use serde::Serialize;

use crate::chain::Data;

pub(crate) use ordered::{Aggregating, Following};
pub use wrappers::{Collect, Count, ForEach, Last, TopN, Track, Unordered};

/// Merges results as they come: starts, takes them in, finishes.
///
/// Maps, vectors, strings, numbers, options and tuples of these are aggregates of results of their own kind; only their type
/// matters, not their content: `.aggregate(HashMap::<Text, u64>::new())` merges maps and adds the values of each key. The
/// wrappers [`Last`], [`Count`], [`TopN`], [`Collect`] take results of any kind.
///
/// Results are merged once each. Those of different chunks come in any order, unless [`Aggregate::ORDERED`]; then they are held
/// back until their turn.
///
/// ```
/// use elastic_flow_dataflow::aggregate::Aggregate;
/// use elastic_flow_dataflow::{Flow, TypedProgram};
/// use elastic_flow_receipt::ReceiptId;
///
/// struct Mean;
///
/// impl Aggregate for Mean {
///     type Item = u32;
///     type State = (u64, u64);
///     type Output = Option<f64>;
///
///     fn start(&self) -> (u64, u64) {
///         (0, 0)
///     }
///     fn merge(&self, (sum, count): &mut (u64, u64), item: u32, _: Option<ReceiptId>) {
///         *sum += u64::from(item);
///         *count += 1;
///     }
///     fn finish(&self, (sum, count): (u64, u64)) -> Option<f64> {
///         (count > 0).then(|| sum as f64 / count as f64)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = TypedProgram::new("mean", |numbers: Flow<u32>| numbers.map(|n| n + 1))?.aggregate(Mean);
/// assert_eq!(program.on([1, 2, 6_u32])?, Some(4.0));
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    note = "implement `Aggregate` for it, or wrap the type of the results: `Collect`, `Count`, `Last`, `TopN`"
)]
pub trait Aggregate: Send + Sync + 'static {
    /// A result.
    type Item;
    /// What is kept; it is saved, so that a master that restarts goes on from it.
    type State: Data;
    /// What the program gives in the end.
    type Output: Serialize + Send + 'static;

    /// Whether results have to come in source order.
    const ORDERED: bool = false;

    /// The state before the first result.
    fn start(&self) -> Self::State;

    /// Takes a result in. `receipt` is the first one that it covers; a keyed or single result covers many, and has none.
    fn merge(&self, state: &mut Self::State, item: Self::Item, receipt: Option<ReceiptId>);

    /// Makes the output.
    fn finish(&self, state: Self::State) -> Self::Output;

    /// The same without source order: results are merged as they come, and none is held back.
    fn unordered(self) -> Unordered<Self>
    where
        Self: Sized,
    {
        Unordered(self)
    }
}
