//! The handles for programs without a runtime: each call blocks its thread until the answer is there.
//!
//! They must not be used within async code: each has a runtime of its own, and tokio refuses (panics) to block a thread that drives
//! another one.

use std::fmt;
use std::io;
use std::sync::Arc;

use elastic_flow_dataflow::{Data, TypedProgram};
use elastic_flow_receipt::{Audit, StepId};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::connection::Connection;
use super::{Finished, Partial, RunError, StepRequest};
use crate::api::{ApiError, ClusterEventKind, FailureView, StepView};
pub use crate::local::BlockingLocalCluster as LocalCluster;

/// Threads for I/O.
const IO_THREADS: usize = 1;

/// A runtime for blocking calls.
///
/// # Errors
/// The system has no thread left.
pub fn runtime() -> io::Result<Arc<Runtime>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(IO_THREADS).enable_all().build().map(Arc::new)
}

/// As [`ClusterHandle`](super::ClusterHandle).
#[derive(Debug, Clone)]
pub struct ClusterHandle {
    handle: super::ClusterHandle,
    runtime: Arc<Runtime>,
}

impl ClusterHandle {
    /// A handle that asks `connection`.
    ///
    /// # Errors
    /// As [`runtime`].
    pub fn new(connection: Arc<dyn Connection>) -> io::Result<Self> {
        Ok(Self { handle: super::ClusterHandle::new(connection), runtime: runtime()? })
    }

    /// A handle that asks as `handle` does, on a runtime that drives it.
    #[must_use]
    pub const fn on(handle: super::ClusterHandle, runtime: Arc<Runtime>) -> Self {
        Self { handle, runtime }
    }

    /// As [`ClusterHandle::submit`](super::ClusterHandle::submit).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn submit<T: 'static, U: Data, O: Send + 'static>(
        &self,
        program: &TypedProgram<T, U, O>,
        request: impl Into<StepRequest>,
    ) -> Result<StepHandle<O>, ApiError> {
        self.runtime.block_on(self.handle.submit(program, request)).map(|it| self.typed(it))
    }

    /// As [`ClusterHandle::submit_items`](super::ClusterHandle::submit_items).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn submit_items<T, U, O, I>(
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
        self.runtime.block_on(self.handle.submit_items(program, items, request)).map(|it| self.typed(it))
    }

    /// As [`ClusterHandle::step`](super::ClusterHandle::step).
    #[must_use]
    pub fn step<T, U, O>(&self, program: &TypedProgram<T, U, O>, step: StepId) -> StepHandle<O> {
        self.typed(self.handle.step(program, step))
    }

    fn typed<O>(&self, handle: super::StepHandle<O>) -> StepHandle<O> {
        StepHandle { handle, runtime: Arc::clone(&self.runtime) }
    }
}

/// As [`StepHandle`](super::StepHandle).
pub struct StepHandle<O> {
    handle: super::StepHandle<O>,
    runtime: Arc<Runtime>,
}

impl<O> Clone for StepHandle<O> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), runtime: Arc::clone(&self.runtime) }
    }
}

impl<O> fmt::Debug for StepHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl<O> StepHandle<O> {
    /// As [`StepHandle::id`](super::StepHandle::id).
    #[must_use]
    pub const fn id(&self) -> StepId {
        self.handle.id()
    }

    /// As [`StepHandle::view`](super::StepHandle::view).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn view(&self) -> Result<StepView, ApiError> {
        self.runtime.block_on(self.handle.view())
    }

    /// As [`StepHandle::audit`](super::StepHandle::audit).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn audit(&self) -> Result<Audit, ApiError> {
        self.runtime.block_on(self.handle.audit())
    }

    /// As [`StepHandle::failures`](super::StepHandle::failures).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn failures(&self) -> Result<Vec<FailureView>, ApiError> {
        self.runtime.block_on(self.handle.failures())
    }

    /// As [`StepHandle::cancel`](super::StepHandle::cancel).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn cancel(&self) -> Result<StepView, ApiError> {
        self.runtime.block_on(self.handle.cancel())
    }

    /// As [`StepHandle::ended`](super::StepHandle::ended).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn ended(&self) -> Result<StepView, ApiError> {
        self.runtime.block_on(self.handle.ended())
    }

    /// As [`StepHandle::events`](super::StepHandle::events): an iterator that ends with the step.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code, the iterator as well.
    pub fn events(&self) -> Result<StepEvents, ApiError> {
        let events = self.runtime.block_on(self.handle.events())?;
        Ok(StepEvents { events, runtime: Arc::clone(&self.runtime) })
    }
}

impl<O: DeserializeOwned + Send + 'static> StepHandle<O> {
    /// As [`StepHandle::result`](super::StepHandle::result).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn result(&self) -> Result<Finished<O>, RunError<O>> {
        self.runtime.block_on(self.handle.result())
    }

    /// As [`StepHandle::partial`](super::StepHandle::partial).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Within async code.
    pub fn partial(&self) -> Result<Partial<O>, RunError<O>> {
        self.runtime.block_on(self.handle.partial())
    }
}

/// As [`StepEvents`](super::StepEvents).
#[derive(Debug)]
pub struct StepEvents {
    events: super::StepEvents,
    runtime: Arc<Runtime>,
}

impl Iterator for StepEvents {
    type Item = Result<ClusterEventKind, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.events.next()).transpose()
    }
}
