//! The forms of a flow function.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Build;
use super::inputs::Inputs;
use crate::chain::{Chain, Data, Shareable};
use crate::flow::Flow;

/// A function that builds a flow.
///
/// `Fn(Flow<T>) -> Flow<U, C>`, `Fn(Flow<T>, P) -> Flow<U, C>` or `Fn(Inputs, P) -> Flow<U, C>`, where `P` is read from the
/// step's parameters. A closure says the types of its arguments. `M` tells the forms apart and is always inferred.
///
/// The function runs again on each node: for a submission, on the master, and on every worker. So it has to give the same flow
/// each time: by its parameters alone, without a clock, a random number, the environment or a file of one machine. What closures
/// need they capture: parameters, or a small table made of them or built in ([`include_str!`]). A worker whose flow has other
/// operators, types or parameters is refused by the digest of its plan; values within a closure are in no digest.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a flow function",
    label = "expected `fn(Flow<T>) -> Flow<U, ..>`, `fn(Flow<T>, P) -> Flow<U, ..>` or `fn(Inputs, P) -> Flow<U, ..>`",
    note = "items that enter must be `Serialize + DeserializeOwned + Send`, parameters `DeserializeOwned`, and what the function \
            captures `Send + Sync + 'static`; a closure needs the types of its arguments written out",
    note = "a function whose flow ends in `map` and the like returns `Flow<U, impl Chain<Item = U, Output = Vec<U>>>`: with its output"
)]
pub trait IntoProgram<M> {
    /// The items that it takes.
    type Item: 'static;
    /// The items that its flow ends in: [`Data`], which is asked for where a program is made of it, so that an item that is none
    /// is named.
    type Element: 'static;
    /// The result of the program.
    type Output: Send + 'static;

    /// What builds the flow from parameters.
    #[doc(hidden)]
    fn into_build(self) -> Build<Self::Element, Self::Output>
    where
        Self::Element: Data;
}

/// Tells the form without parameters.
#[derive(Debug)]
#[expect(unnameable_types, reason = "always inferred")]
pub struct OfFlow<T, U, C>(Infallible, PhantomData<fn(T, U, C)>);

/// Tells the form with parameters.
#[derive(Debug)]
#[expect(unnameable_types, reason = "always inferred")]
pub struct OfFlowAndParams<T, P, U, C>(Infallible, PhantomData<fn(T, P, U, C)>);

/// Tells the form with named inputs and parameters.
#[derive(Debug)]
#[expect(unnameable_types, reason = "always inferred")]
pub struct OfInputs<P, U, C>(Infallible, PhantomData<fn(P, U, C)>);

impl<F, T, U, C> IntoProgram<OfFlow<T, U, C>> for F
where
    F: Fn(Flow<T>) -> Flow<U, C> + Shareable,
    T: Data,
    U: 'static,
    C: Chain<Item = U, Output: Send>,
{
    type Item = T;
    type Element = U;
    type Output = C::Output;

    fn into_build(self) -> Build<U, C::Output>
    where
        U: Data,
    {
        Arc::new(move |params| {
            params.typed::<()>()?;
            Ok((Vec::new(), self(Flow::source(None)).chain.build()?))
        })
    }
}

impl<F, T, P, U, C> IntoProgram<OfFlowAndParams<T, P, U, C>> for F
where
    F: Fn(Flow<T>, P) -> Flow<U, C> + Shareable,
    T: Data,
    P: DeserializeOwned,
    U: 'static,
    C: Chain<Item = U, Output: Send>,
{
    type Item = T;
    type Element = U;
    type Output = C::Output;

    fn into_build(self) -> Build<U, C::Output>
    where
        U: Data,
    {
        Arc::new(move |params| Ok((Vec::new(), self(Flow::source(None), params.typed()?).chain.build()?)))
    }
}

impl<F, P, U, C> IntoProgram<OfInputs<P, U, C>> for F
where
    F: Fn(Inputs, P) -> Flow<U, C> + Shareable,
    P: DeserializeOwned,
    U: 'static,
    C: Chain<Item = U, Output: Send>,
{
    type Item = Inputs;
    type Element = U;
    type Output = C::Output;

    fn into_build(self) -> Build<U, C::Output>
    where
        U: Data,
    {
        Arc::new(move |params| {
            let inputs = Inputs::default();
            let names = inputs.names();
            let built = self(inputs, params.typed()?).chain.build()?;
            Ok((names.used_by(&built)?, built))
        })
    }
}
