//! [`TypedProgram`]: a flow function with its name, aggregator, default input and report.

mod forms;
mod inputs;
mod on;
#[cfg(test)]
mod tests;

use std::any::type_name;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::aggregate::{Aggregate, Aggregating, Following};
use crate::built::{Built, Layout, MergerFactory, View};
use crate::chain::{Data, Shareable};
use crate::error::ProgramError;
use crate::merger::{Faces, Untyped, WriteOutput};
use crate::params::Params;
use crate::plan::Plan;
use crate::run::panic_message;
use crate::seam::{Prepared, Program};
use crate::source::SourceSpec;

pub use forms::IntoProgram;
pub use inputs::Inputs;
pub use on::EvaluationError;

/// The longest name of a program, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The name under which a default input stands where the flow function names none.
const ONLY_INPUT: &str = "input";

/// Builds a flow from parameters, with the names of the inputs that it asks for.
pub(crate) type Build<U, O> = Arc<dyn Fn(&Params) -> Result<(Vec<String>, Built<U, O>), ProgramError> + Send + Sync>;

/// A program: takes items of `T`, its flow ends in items of `U`, its result is an `O`.
///
/// ```
/// use elastic_flow_dataflow::aggregate::TopN;
/// use elastic_flow_dataflow::{Flow, Text, TypedProgram};
///
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     shortest: usize,
/// }
///
/// fn long_words(lines: Flow<Text>, settings: Settings) -> Flow<(Text, u64)> {
///     lines.words().filter(move |word| word.len() >= settings.shortest).counts()
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = TypedProgram::new("long_words", long_words)?;
/// let counts = program.on_with([("shortest", "3")], ["to be or", "not not to be"])?;
/// assert_eq!(counts, [("not".into(), 2)]);
/// # Ok(())
/// # }
/// ```
pub struct TypedProgram<T, U, O> {
    name: String,
    build: Build<U, O>,
    default_inputs: Vec<(String, SourceSpec)>,
    report: Option<WriteOutput<O>>,
    output: Option<WriteOutput<O>>,
    item: std::marker::PhantomData<fn(T)>,
}

impl<T, U, O> Clone for TypedProgram<T, U, O> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            build: Arc::clone(&self.build),
            default_inputs: self.default_inputs.clone(),
            report: self.report.clone(),
            output: self.output.clone(),
            item: self.item,
        }
    }
}

impl<T, U, O> fmt::Debug for TypedProgram<T, U, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProgram")
            .field("name", &self.name)
            .field("input", &type_name::<T>())
            .field("output", &type_name::<O>())
            .finish_non_exhaustive()
    }
}

impl<T: 'static, U: Data, O: Send + 'static> TypedProgram<T, U, O> {
    /// A program of a flow function: of a [`Flow`](crate::Flow), of a flow and parameters, or of [`Inputs`] and parameters.
    ///
    /// # Errors
    /// [`ProgramError::Name`] if `name` is not 1 to 128 ASCII letters, digits, `.`, `_` and `-`.
    pub fn new<M, F>(name: &str, flow: F) -> Result<Self, ProgramError>
    where
        F: IntoProgram<M, Item = T, Element = U, Output = O>,
    {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(ProgramError::Name { name: name.to_owned() });
        }
        Ok(Self {
            name: name.to_owned(),
            build: flow.into_build(),
            default_inputs: Vec::new(),
            report: None,
            output: None,
            item: std::marker::PhantomData,
        })
    }

    /// Merges the results by `aggregate` in place of what was there, whose output becomes the program's. A report and an output
    /// function are set after it.
    ///
    /// Behind a keyed reduction or a single value it gets the final items, once the last result is there.
    #[must_use]
    pub fn aggregate<A>(self, aggregate: A) -> TypedProgram<T, U, A::Output>
    where
        A: Aggregate<Item = U>,
    {
        let build = self.build;
        let aggregate = Arc::new(aggregate);
        TypedProgram {
            name: self.name,
            build: Arc::new(move |params| {
                let (inputs, built) = build(params)?;
                Ok((inputs, with_aggregate(built, Arc::clone(&aggregate))))
            }),
            default_inputs: self.default_inputs,
            report: None,
            output: None,
            item: self.item,
        }
    }

    /// What the program reads where a step names no input. Again for the same input: the last one counts.
    #[must_use]
    pub fn default_input(self, source: SourceSpec) -> Self {
        self.default_named_input(ONLY_INPUT, source)
    }

    /// As [`TypedProgram::default_input`], for one of the [`Inputs`].
    #[must_use]
    pub fn default_named_input(mut self, name: &str, source: SourceSpec) -> Self {
        match self.default_inputs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = source,
            None => self.default_inputs.push((name.to_owned(), source)),
        }
        self
    }

    /// What `run` prints of the result. Without, its rows are shown.
    #[must_use]
    pub fn report<R>(mut self, report: R) -> Self
    where
        R: Fn(&O, &mut dyn io::Write) -> io::Result<()> + Shareable,
    {
        self.report = Some(Arc::new(report));
        self
    }

    /// What is written of the result to a file, where no format is asked for. Without, its rows as JSON lines.
    #[must_use]
    pub fn output<W>(mut self, output: W) -> Self
    where
        W: Fn(&O, &mut dyn io::Write) -> io::Result<()> + Shareable,
    {
        self.output = Some(Arc::new(output));
        self
    }

    fn built(&self, params: &Params) -> Result<(Vec<String>, Built<U, O>), ProgramError> {
        catch_unwind(AssertUnwindSafe(|| (self.build)(params)))
            .unwrap_or_else(|payload| Err(ProgramError::Panicked { message: panic_message(payload.as_ref()) }))
    }
}

/// The same flow with another aggregate.
fn with_aggregate<U, O, A>(built: Built<U, O>, aggregate: Arc<A>) -> Built<U, A::Output>
where
    U: Data,
    A: Aggregate<Item = U>,
{
    let Built { layout, items, is_final, .. } = built;
    let of_items = Arc::clone(&items);
    let merger: MergerFactory<A::Output> = if is_final {
        Arc::new(move || Box::new(Aggregating::<A>::new(Arc::clone(&aggregate))))
    } else {
        Arc::new(move || Box::new(Following { aggregate: Arc::clone(&aggregate), items: of_items() }))
    };
    Built { layout, merger, items, is_final, view: View::plain() }
}

impl<T: 'static, U: Data, O: Send + 'static> Program for TypedProgram<T, U, O> {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_inputs(&self) -> Vec<(String, SourceSpec)> {
        self.default_inputs.clone()
    }

    fn prepare(&self, params: &Params) -> Result<Prepared, ProgramError> {
        let (inputs, built) = self.built(params)?;
        let Built { layout, merger, view, .. } = built;
        let Layout { stages, exchanges, on_workers, .. } = layout.closed()?;
        let (stage, partitioned) = on_workers.into_stages();
        let plan = Plan { program: self.name.clone(), params: params.to_pairs(), inputs, stages, exchanges };
        let faces = Faces { view, report: self.report.clone(), output: self.output.clone() };
        let aggregator =
            Box::new(move || -> Box<dyn crate::seam::Aggregator> { Box::new(Untyped::new(merger(), faces.clone())) });
        Ok(Prepared { plan, stages: vec![stage], partitioned, aggregator })
    }
}
