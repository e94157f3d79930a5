//! The step queue of Elastic Flow: which steps there are, in which state each is, and which one runs next.
//!
//! A step is one queued run of a program over a source. Steps run one at a time, in the order of their submission. The queue
//! decides and does nothing else: it reads no clock, draws no random number, knows no file, no network and no runtime.
//!
//! In reading order:
//! - [`StepSpec`], [`OnFailure`]: what is submitted, and its limits ([`limits`]);
//! - [`Caller`], [`Command`]: who told the master to do what;
//! - [`StepState`], [`StepEvent`] and [`StepState::after`]: the states, and the one table of legal transitions between them;
//! - [`StepErrorKind`]: why a step ended otherwise than completed;
//! - [`QueueRecord`]: what is journalled;
//! - [`Queue`]: the state, which is nothing but a fold over its records, and the commands that make records.
//!
//! # How a master uses it
//! A command borrows the queue and returns [`Decision::records`]. The caller hands each record to [`Queue::apply`] before it asks
//! for the next decision, appends all records of a decision to its journal as one atomic batch, and acknowledges nothing to
//! anybody before that batch is durable. If the append fails, what the batch did is unknown: the master stops and folds the journal
//! anew at its next start. Recovery is [`Queue::from_records`], which goes through the same [`Queue::apply`]; so a journal that cannot be
//! replayed cannot be written.
//!
//! ```
//! use elastic_flow_queue::{Caller, Queue, StepSpec, StepState};
//!
//! let mut queue = Queue::new();
//! let (id, records) = queue.submit(StepSpec::new("word_count"), Caller::local(), 1_000)?;
//! for record in &records {
//!     queue.apply(record)?;
//! }
//! assert_eq!(queue.next_to_run().map(|step| step.id), Some(id));
//!
//! let started = queue.started(id, 2_000)?;
//! for record in &started.records {
//!     queue.apply(record)?;
//! }
//! let recovered = Queue::from_records(records.iter().chain(&started.records))?;
//! assert_eq!(recovered.active().map(|step| step.state), Some(StepState::Running));
//! assert_eq!(recovered, queue);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod command;
mod error;
mod error_kind;
mod fold;
pub mod limits;
mod queue;
mod record;
mod step;
mod transition;

pub use command::{Caller, CallerRole, Command, CommandKind};
pub use error::{QueueError, RecordError, SpecError};
pub use error_kind::StepErrorKind;
pub use queue::{Decision, Effect, Queue};
pub use record::{QueueRecord, StepChange};
pub use step::{OnFailure, Step, StepSpec};
pub use transition::{IllegalTransition, StepEvent, StepState};
