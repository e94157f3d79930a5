//! What can be wrong with a program and with the merging of its results.

use elastic_flow_receipt::ReceiptId;
use elastic_flow_wire::CodecError;

pub use crate::source::SourceError;

/// Why a program cannot be registered or prepared. The same on every node for the same parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The name is not one that a program can have.
    #[error("{name:?} cannot be a program's name: use 1 to 128 ASCII letters, digits, `.`, `_` and `-`")]
    Name {
        /// What was given.
        name: String,
    },
    /// A parameter is not `key=value`.
    #[error("parameter {text:?} is not of the form key=value")]
    ParamSyntax {
        /// What was given.
        text: String,
    },
    /// A parameter was given twice.
    #[error("parameter `{name}` is given twice: give it once")]
    ParamTwice {
        /// Its name.
        name: String,
    },
    /// The program has no such parameter.
    #[error("the program has no parameter `{name}`: {known}")]
    ParamUnknown {
        /// Its name.
        name: String,
        /// Which ones it has, in words.
        known: String,
    },
    /// A parameter that the program needs is not given.
    #[error("parameter `{name}` is missing: give it as {name}=VALUE")]
    ParamMissing {
        /// Its name.
        name: String,
    },
    /// A parameter is not of its type.
    #[error("parameter `{name}` has the value {value:?}: {reason}")]
    ParamValue {
        /// Its name.
        name: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The parameters as a whole are not what the program takes.
    #[error("the parameters do not fit the program: {reason}")]
    Params {
        /// What is wrong.
        reason: String,
    },
    /// Two flows are to meet, one of them behind a global reduction.
    #[error(
        "`{operator}` joins two flows, of which one comes behind a global reduction: that takes an exchange between workers, which \
         `{operator}` does not have; join them before they are reduced"
    )]
    NeedsExchange {
        /// The operator.
        operator: &'static str,
    },
    /// Two flows are to meet that read the same input.
    #[error(
        "`{operator}` joins two flows over the same input: give each a named input of its own, which may read the same files"
    )]
    InputOfBoth {
        /// The operator.
        operator: &'static str,
    },
    /// A flow is partitioned where that does nothing.
    #[error(
        "`partition` says that workers do what is reduced by key next, and `{operator}` is no such reduction: leave `partition` out"
    )]
    NotByKey {
        /// What comes instead.
        operator: &'static str,
    },
    /// Items are to move between workers where they have been gathered on the master.
    #[error(
        "`{operator}` moves items between workers, and here they come behind a global reduction that the master merges: put \
         `partition` before that reduction as well, or leave `{operator}` out"
    )]
    NotAtSource {
        /// The operator.
        operator: &'static str,
    },
    /// Two flows are to meet of which one has been exchanged.
    #[error(
        "`{operator}` joins two flows on the master, and one of them is exchanged between the workers before: leave `partition` out \
         there, or, before a join, put it behind the last reduction as well, so that both meet on the workers"
    )]
    ExchangedSide {
        /// The operator.
        operator: &'static str,
    },
    /// More global reductions follow each other than stages can be numbered.
    #[error("the flow has more than {limit} stages")]
    TooManyStages {
        /// The limit.
        limit: u16,
    },
    /// A flow function takes an input and leaves it out of its result.
    #[error("the flow takes the input `{name}` and does not use it: merge it in, or do not ask for it")]
    InputUnused {
        /// The input's name.
        name: String,
    },
    /// A flow function takes more inputs than can be numbered.
    #[error("the flow takes more than {limit} inputs")]
    TooManyInputs {
        /// The limit.
        limit: u16,
    },
    /// The flow function panicked.
    #[error("the flow function panicked while it built the flow: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
}

/// Why results cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A segment's bytes are not this program's output.
    #[error("the result of chunk {} of step {} does not decode: do all nodes run the same build?", receipt.sequence, receipt.step.0)]
    Segment {
        /// The segment's receipt.
        receipt: ReceiptId,
        /// What the codec says.
        source: CodecError,
    },
    /// A saved aggregate is not this program's.
    #[error("the saved aggregate does not decode: was it written by another build or program?")]
    Saved {
        /// What the codec says.
        source: CodecError,
    },
    /// The aggregate cannot be encoded.
    #[error("the aggregate cannot be encoded")]
    Encode {
        /// What the codec says.
        source: CodecError,
    },
    /// A segment failed half-way before: what is merged is not to be trusted.
    #[error("an earlier result failed to merge half-way, so the aggregate is void: start it anew")]
    Void,
    /// The user's aggregator panicked.
    #[error("the aggregator panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// A stage behind a global reduction failed, which runs on the master over all items at once.
    #[error(
        "the stage behind a global reduction that ends in `{ends_in}`{}: {message}",
        item.map(|item| format!(" failed at item {item}")).unwrap_or_default()
    )]
    Stage {
        /// Its last operator.
        ends_in: &'static str,
        /// The position of the item among those that the reduction gave, from 0, where it is known.
        item: Option<u64>,
        /// What happened.
        message: String,
    },
    /// There are more keys, or longer ones, than a table can hold.
    #[error("a table is full: it holds up to {} keys of up to {} bytes each", u32::MAX, u32::MAX)]
    TableFull,
    /// A saved aggregate was handed to one that has merged already.
    #[error("a saved aggregate can only be restored before the first merge")]
    RestoreTooLate,
}
