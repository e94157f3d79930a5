//! What a typed handle asks of a master, wherever that is.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use elastic_flow_dataflow::source::ItemBatches;
use elastic_flow_receipt::{Audit, StepId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::api::{
    ApiError, ClusterEvent, ClusterEventKind, DeadLetterFilter, DeadLetterView, FailureView, StepView, Submission,
};
use crate::master::MasterHandle;

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// A result with the type of its output still to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedResult {
    /// The output, for [`read_encoded`](elastic_flow_dataflow::read_encoded).
    pub bytes: Bytes,
    /// Whether the step completed.
    pub complete: bool,
    /// Receipts aggregated in it.
    pub receipts: u64,
    /// Receipts conceived so far.
    pub receipts_conceived: u64,
}

/// A master that can be asked. [`MasterHandle`] is one in this process.
///
/// # Errors
/// Every method gives the master's own refusal, or [`ApiError::Unreached`] where there is no answer.
///
/// # Cancel safety
/// Questions are safe to drop; whether a command that is dropped took effect is unknown.
#[expect(missing_docs, reason = "each is the method of MasterHandle of the same name")]
pub trait Connection: Send + Sync + Debug {
    fn submit(&self, submission: Submission) -> Answer<'_, StepId>;
    fn submit_items(&self, submission: Submission, items: Box<dyn ItemBatches>) -> Answer<'_, StepId>;
    fn step(&self, step: StepId) -> Answer<'_, StepView>;
    fn cancel(&self, step: StepId) -> Answer<'_, StepView>;
    fn audit(&self, step: StepId) -> Answer<'_, Audit>;
    fn failures(&self, step: StepId) -> Answer<'_, Vec<FailureView>>;
    fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Answer<'_, Vec<DeadLetterView>>;
    fn result(&self, step: StepId) -> Answer<'_, EncodedResult>;
    /// Events from the moment of the answer on.
    fn events(&self) -> Answer<'_, Box<dyn EventSource>>;
}

/// Events as they happen.
pub trait EventSource: Send + Debug {
    /// The next one: `Ok(None)` where some were missed, so that whoever waits looks for itself.
    ///
    /// # Errors
    /// [`ApiError::Unreached`] or [`ApiError::Stopping`] when the master is gone.
    ///
    /// # Cancel safety
    /// Safe to drop.
    fn next(&mut self) -> Answer<'_, Option<ClusterEventKind>>;
}

impl Connection for MasterHandle {
    fn submit(&self, submission: Submission) -> Answer<'_, StepId> {
        Box::pin(Self::submit(self, submission))
    }

    fn submit_items(&self, submission: Submission, items: Box<dyn ItemBatches>) -> Answer<'_, StepId> {
        Box::pin(Self::submit_items(self, submission, items))
    }

    fn step(&self, step: StepId) -> Answer<'_, StepView> {
        Box::pin(Self::step(self, step))
    }

    fn cancel(&self, step: StepId) -> Answer<'_, StepView> {
        Box::pin(Self::cancel(self, step))
    }

    fn audit(&self, step: StepId) -> Answer<'_, Audit> {
        Box::pin(Self::audit(self, step))
    }

    fn failures(&self, step: StepId) -> Answer<'_, Vec<FailureView>> {
        Box::pin(Self::failures(self, step))
    }

    fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Answer<'_, Vec<DeadLetterView>> {
        Box::pin(Self::dead_letters(self, step, filter))
    }

    fn result(&self, step: StepId) -> Answer<'_, EncodedResult> {
        Box::pin(async move {
            let view = Self::result(self, step).await?;
            let output = view.output;
            let encoded = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                output.encode(&mut bytes).map(|()| Bytes::from(bytes))
            });
            let bytes = encoded.await.map_err(|_| ApiError::Stopping)?;
            let bytes = bytes.map_err(|it| ApiError::NoResult(step, format!("its output cannot be encoded: {it}")))?;
            let (complete, receipts, receipts_conceived) = (view.complete, view.receipts, view.receipts_conceived);
            Ok(EncodedResult { bytes, complete, receipts, receipts_conceived })
        })
    }

    fn events(&self) -> Answer<'_, Box<dyn EventSource>> {
        let events: Box<dyn EventSource> = Box::new(InProcess { events: Self::events(self), master: self.clone() });
        Box::pin(std::future::ready(Ok(events)))
    }
}

/// Events of a master in this process.
#[derive(Debug)]
struct InProcess {
    events: broadcast::Receiver<ClusterEvent>,
    /// Says when it is gone: whoever waits holds the sending end of its events, which so never closes.
    master: MasterHandle,
}

impl EventSource for InProcess {
    fn next(&mut self) -> Answer<'_, Option<ClusterEventKind>> {
        Box::pin(async {
            // Both arms may be dropped; what has happened is told before the end.
            let got = tokio::select! {
                biased;
                got = self.events.recv() => got,
                () = self.master.gone() => return Err(ApiError::Stopping),
            };
            match got {
                Ok(event) => Ok(Some(event.kind)),
                Err(RecvError::Lagged(_)) => Ok(None),
                Err(RecvError::Closed) => Err(ApiError::Stopping),
            }
        })
    }
}
