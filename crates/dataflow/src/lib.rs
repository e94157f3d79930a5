//! Typed flows, operators, plans, sources and the execution of a task, for Elastic Flow.
//!
//! It knows no network, no queue and no clock. A user writes a function from a [`Flow`] to a [`Flow`]; the rest of the engine
//! sees a [`seam::Program`], whose stages take encoded chunks and give encoded segments, and whose aggregator merges those.
//!
//! Modules in reading order:
//! - [`flow`], [`operators`]: what a user writes; [`flow_error`]: what its errors mean; [`text`]: byte strings that flow
//!   without being copied;
//! - [`chain`], [`input`]: operators fused into one fold over a chunk; [`keyed`], [`total`]: reductions, the borders of a stage;
//! - [`program`], [`params`], [`plan`]: a flow function with its name, parameters and plan;
//! - [`skips`]: what is kept of items that are set aside;
//! - [`aggregate`]: how results become one value; [`mod@format`]: how it is written;
//! - [`source`]: what a step reads, and how it is cut;
//! - [`seam`]: the object-safe border between all this and the rest; [`error`]: what can be wrong.

pub mod aggregate;
mod built;
pub mod chain;
mod encoded_output;
pub mod error;
pub mod flow;
pub mod flow_error;
pub mod format;
mod gather;
pub mod input;
pub mod keyed;
mod merger;
pub mod operators;
pub mod params;
mod partitioned;
pub mod plan;
pub mod program;
mod reduction;
mod routed;
mod run;
pub mod seam;
mod sequence;
pub mod skips;
pub mod source;
mod stage;
mod table;
pub mod text;
pub mod total;
mod workers;

pub use chain::{Chain, Data, Shareable};
pub use encoded_output::{OutputError, read_encoded};
pub use flow::{Flow, Single};
pub use flow_error::{FlowError, FlowResult, FlowResultExt};
pub use format::Format;
pub use keyed::Key;
pub use params::Params;
pub use program::{Inputs, IntoProgram, TypedProgram};
pub use text::Text;
