//! [`Inputs`]: the named inputs of a flow function.

use std::cell::RefCell;
use std::rc::Rc;

use crate::built::Built;
use crate::chain::Data;
use crate::error::ProgramError;
use crate::flow::Flow;
use crate::text::Text;

/// The named inputs of a program; `--input NAME=PATH` gives each its source.
///
/// ```
/// use elastic_flow_dataflow::params::Params;
/// use elastic_flow_dataflow::seam::Program as _;
/// use elastic_flow_dataflow::{Flow, Inputs, Text, TypedProgram};
///
/// fn words_of_both(inputs: Inputs, (): ()) -> Flow<(Text, u64)> {
///     let old = inputs.lines("old").words();
///     let new = inputs.lines("new").words().to_ascii_lowercase();
///     old.merge(new).counts()
/// }
///
/// # fn main() -> Result<(), elastic_flow_dataflow::error::ProgramError> {
/// let program = TypedProgram::new("both", words_of_both)?;
/// assert_eq!(program.prepare(&Params::default())?.plan.inputs, ["old", "new"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Inputs {
    names: Names,
}

/// The names that were asked for, in the order of their indices.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Rc<RefCell<Vec<String>>>);

impl Inputs {
    /// The lines of the files of the input `name`.
    pub fn lines(&self, name: &str) -> Flow<Text> {
        self.items(name)
    }

    /// The items of the input `name`: of an iterator, or `u64` for a range.
    pub fn items<T: Data>(&self, name: &str) -> Flow<T> {
        Flow::source(Some(self.names.index_of(name)))
    }

    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }
}

impl Names {
    /// The index of a name, which it gets when it is first asked for.
    fn index_of(&self, name: &str) -> u16 {
        let mut names = self.0.borrow_mut();
        let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// The names, if the flow uses each of them.
    pub(super) fn used_by<U, O>(&self, built: &Built<U, O>) -> Result<Vec<String>, ProgramError> {
        let names = self.0.borrow().clone();
        if names.len() > usize::from(u16::MAX) {
            return Err(ProgramError::TooManyInputs { limit: u16::MAX });
        }
        match names.iter().zip(0..).find(|&(_, index)| !built.layout.on_workers.takes(index)) {
            Some((name, _)) => Err(ProgramError::InputUnused { name: name.clone() }),
            None => Ok(names),
        }
    }
}
