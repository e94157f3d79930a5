//! A program in the calling thread, for a plain unit test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use elastic_flow_receipt::{Attempt, ReceiptId};
use elastic_flow_wire::SeqEncoder;
use elastic_flow_wire::message::{Payload, PayloadKind, TaskChunk};

use super::TypedProgram;
use crate::chain::Data;
use crate::error::{MergeError, ProgramError};
use crate::merger::{Faces, Untyped};
use crate::params::Params;
use crate::seam::{Aggregator as _, TaskContext, TaskFailure};
use crate::stage::NO_RECEIPT;

/// Why a program gives no result in the calling thread.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// The program or its parameters are wrong.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// An item cannot be encoded, as it would have to be to travel.
    #[error("item {item} cannot be encoded")]
    Encode {
        /// Its position.
        item: u64,
        /// What the codec says.
        source: elastic_flow_wire::CodecError,
    },
    /// The flow failed.
    #[error("{}{message}", item.map(|item| format!("item {item}: ")).unwrap_or_default())]
    Failed {
        /// The position of the item, where it is known.
        item: Option<u64>,
        /// What happened.
        message: String,
    },
    /// The result cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl<T: Data, U: Data, O: Send + 'static> TypedProgram<T, U, O> {
    /// Evaluates the program over `items` in the calling thread: one chunk, one task. Items that it skips are left out, however
    /// many there are.
    ///
    /// # Errors
    /// The program takes parameters that it needs, or fails.
    pub fn on<I>(&self, items: I) -> Result<O, EvaluationError>
    where
        I: IntoIterator<Item: Into<T>>,
    {
        self.on_params(&Params::default(), items)
    }

    /// As [`TypedProgram::on`], with parameters.
    ///
    /// # Errors
    /// The parameters are wrong, or the program fails.
    pub fn on_with<K, V, I>(&self, params: impl IntoIterator<Item = (K, V)>, items: I) -> Result<O, EvaluationError>
    where
        K: Into<String>,
        V: Into<String>,
        I: IntoIterator<Item: Into<T>>,
    {
        self.on_params(&Params::from_pairs(params)?, items)
    }

    fn on_params<I>(&self, params: &Params, items: I) -> Result<O, EvaluationError>
    where
        I: IntoIterator<Item: Into<T>>,
    {
        let (_, built) = self.built(params)?;
        let (stage, partitioned) = built.layout.closed()?.on_workers.into_stages();
        let chunk = chunk(items.into_iter().map(Into::into))?;
        let context = TaskContext {
            stop: Arc::new(AtomicBool::new(false)),
            progress: Arc::new(AtomicU64::new(0)),
            attempt: Attempt { epoch: 0, number: 1 },
            max_skips: u64::MAX,
            partitions: u32::from(!partitioned.is_empty()),
        };
        let mut output = stage.run(&[chunk], &context).map_err(failure)?.segments;
        // One partition of each: what is given for several stages waits until their turn.
        for stage in partitioned {
            let (here, others): (Vec<_>, Vec<_>) = output.into_iter().partition(|it| it.receipt.stage == stage.id());
            output = others;
            if here.is_empty() {
                continue;
            }
            let mut partition = stage.begin();
            for segment in &here {
                partition.merge(segment).map_err(failure)?;
            }
            let receipt = ReceiptId { stage: stage.id(), ..NO_RECEIPT };
            let context = TaskContext { partitions: u32::from(stage.to().is_some()), ..context.clone() };
            output.extend(partition.finish(receipt, &context).map_err(failure)?.segments);
        }
        let faces = Faces { view: built.view, report: None, output: None };
        let mut aggregator = Untyped::new((built.merger)(), faces);
        for segment in &output {
            aggregator.merge(segment)?;
        }
        Ok(aggregator.into_value()?)
    }
}

/// All items as one chunk.
fn chunk<T: Data>(items: impl Iterator<Item = T>) -> Result<TaskChunk, EvaluationError> {
    let mut encoder = SeqEncoder::new();
    for item in items {
        encoder.push(&item).map_err(|source| EvaluationError::Encode { item: encoder.rows(), source })?;
    }
    let (_, body) = encoder.finish();
    Ok(TaskChunk { receipt: NO_RECEIPT, input: 0, payload: Payload { kind: PayloadKind::Items, body } })
}

fn failure(failure: TaskFailure) -> EvaluationError {
    match failure {
        TaskFailure::Failed { item, message, .. } => EvaluationError::Failed { item, message },
        TaskFailure::NotHere { message, .. } => EvaluationError::Failed { item: None, message },
        TaskFailure::Stopped => EvaluationError::Failed { item: None, message: "stopped".to_owned() },
    }
}
