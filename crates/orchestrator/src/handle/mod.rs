//! Typed handles: what a program of one's own submits, and what comes of it. The same over a cluster in this process and over a master
//! somewhere else, which is behind a [`Connection`].
//!
//! - [`ClusterHandle`]: a running cluster; [`StepRequest`]: what is asked of it beside the program;
//! - [`StepHandle`]: a step with the type of its output; [`StepEvents`]: what happens to it;
//! - [`Finished`], [`Partial`], [`StepError`], [`RunError`]: what comes of it;
//! - [`blocking`]: the same for programs without a runtime;
//! - [`connection`]: what a master is asked.

#[cfg(test)]
mod away_tests;
pub mod blocking;
pub mod connection;
mod error;
mod events;
mod request;
mod step;

use std::sync::Arc;

use elastic_flow_dataflow::seam::Program as _;
use elastic_flow_dataflow::source::{EncodedItems, ItemBatches, SourceSpec};
use elastic_flow_dataflow::{Data, TypedProgram};
use elastic_flow_receipt::StepId;

pub use connection::Connection;
pub use error::{RunError, StepError};
pub use events::StepEvents;
pub use request::StepRequest;
pub(crate) use step::all_dead_letters;
pub use step::{Finished, Partial, StepHandle};

use crate::api::ApiError;

/// Speaks to a running cluster. Clones speak to the same one.
#[derive(Debug, Clone)]
pub struct ClusterHandle {
    connection: Arc<dyn Connection>,
}

impl ClusterHandle {
    /// A handle that asks `connection`.
    #[must_use]
    pub fn new(connection: Arc<dyn Connection>) -> Self {
        Self { connection }
    }

    /// Queues a step and waits until it is durable. The master has to have the program under the same name; it reads the inputs.
    ///
    /// # Errors
    /// The master does not have the program, its parameters are wrong, an input is not there, or the store failed.
    ///
    /// # Cancel safety
    /// Not safe: the step may have been queued. Submit with a [`StepRequest::key`], and again.
    pub async fn submit<T: 'static, U: Data, O: Send + 'static>(
        &self,
        program: &TypedProgram<T, U, O>,
        request: impl Into<StepRequest>,
    ) -> Result<StepHandle<O>, ApiError> {
        let submission = request.into().of(program.name());
        let step = self.connection.submit(submission).await?;
        Ok(StepHandle::new(Arc::clone(&self.connection), step, true))
    }

    /// Queues a step over an iterator of the caller's, of which a master in this process takes the items as it needs them. The step does
    /// not survive that master.
    ///
    /// # Errors
    /// As [`ClusterHandle::submit`]; [`ApiError::Invalid`] where the master is in another process.
    ///
    /// # Cancel safety
    /// As [`ClusterHandle::submit`].
    pub async fn submit_items<T, U, O, I>(
        &self,
        program: &TypedProgram<T, U, O>,
        items: I,
        request: StepRequest,
    ) -> Result<StepHandle<O>, ApiError>
    where
        T: Data,
        U: Data,
        O: Send + 'static,
        I: IntoIterator<Item: Into<T> + 'static, IntoIter: Send + 'static>,
    {
        let items: Box<dyn ItemBatches> = Box::new(EncodedItems::new(items.into_iter().map(Into::<T>::into)));
        let mut submission = request.of(program.name());
        submission.inputs = vec![("input".to_owned(), SourceSpec::OneShot)];
        let step = self.connection.submit_items(submission, items).await?;
        Ok(StepHandle::new(Arc::clone(&self.connection), step, true))
    }

    /// A step that was submitted before, by whomever; whether there is such a step, and whether it is one of `program`, is found when
    /// it is asked.
    #[must_use]
    pub fn step<T, U, O>(&self, _program: &TypedProgram<T, U, O>, step: StepId) -> StepHandle<O> {
        StepHandle::new(Arc::clone(&self.connection), step, false)
    }
}
