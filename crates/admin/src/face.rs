//! What the HTTP face asks of a master.

use std::future::Future;

use elastic_flow_orchestrator::api::{
    ClusterEvent, ClusterView, DeadLetterFilter, DeadLetterView, FailureView, ReceiptFilter, ReceiptView, ResultView,
    StepView, WorkerView,
};
use elastic_flow_orchestrator::{ApiError, MasterHandle, Submission};
use elastic_flow_queue::Caller;
use elastic_flow_receipt::{Audit, ReceiptId, StepId};
use tokio::sync::broadcast;

/// A master as the HTTP face sees it; [`MasterHandle`] is one.
///
/// # Errors
/// Every method that asks gives the master's own refusal.
#[expect(missing_docs, reason = "each is the method of MasterHandle of the same name")]
pub trait Face: Clone + Send + Sync + 'static {
    fn by(&self, caller: Caller) -> Self;
    fn submit(&self, submission: Submission) -> impl Future<Output = Result<StepId, ApiError>> + Send;
    fn steps(&self) -> impl Future<Output = Result<Vec<StepView>, ApiError>> + Send;
    fn step(&self, step: StepId) -> impl Future<Output = Result<StepView, ApiError>> + Send;
    fn cancel(&self, step: StepId) -> impl Future<Output = Result<StepView, ApiError>> + Send;
    fn replay(&self, step: StepId) -> impl Future<Output = Result<StepId, ApiError>> + Send;
    fn audit(&self, step: StepId) -> impl Future<Output = Result<Audit, ApiError>> + Send;
    fn receipts(
        &self,
        step: StepId,
        filter: ReceiptFilter,
    ) -> impl Future<Output = Result<Vec<ReceiptView>, ApiError>> + Send;
    fn receipt(&self, receipt: ReceiptId) -> impl Future<Output = Result<ReceiptView, ApiError>> + Send;
    fn failures(&self, step: StepId) -> impl Future<Output = Result<Vec<FailureView>, ApiError>> + Send;
    fn dead_letters(
        &self,
        step: StepId,
        filter: DeadLetterFilter,
    ) -> impl Future<Output = Result<Vec<DeadLetterView>, ApiError>> + Send;
    fn result(&self, step: StepId) -> impl Future<Output = Result<ResultView, ApiError>> + Send;
    fn drain(&self, name: &str) -> impl Future<Output = Result<Vec<WorkerView>, ApiError>> + Send;
    fn workers(&self) -> impl Future<Output = Result<Vec<WorkerView>, ApiError>> + Send;
    fn cluster(&self) -> impl Future<Output = Result<ClusterView, ApiError>> + Send;
    fn events(&self) -> broadcast::Receiver<ClusterEvent>;
    fn events_since(&self, number: u64) -> impl Future<Output = Result<Vec<ClusterEvent>, ApiError>> + Send;
    fn worker_metrics(&self) -> impl Future<Output = Result<Vec<(String, String)>, ApiError>> + Send;
}

impl Face for MasterHandle {
    fn by(&self, caller: Caller) -> Self {
        Self::by(self, caller)
    }
    async fn submit(&self, submission: Submission) -> Result<StepId, ApiError> {
        Self::submit(self, submission).await
    }
    async fn steps(&self) -> Result<Vec<StepView>, ApiError> {
        Self::steps(self).await
    }
    async fn step(&self, step: StepId) -> Result<StepView, ApiError> {
        Self::step(self, step).await
    }
    async fn cancel(&self, step: StepId) -> Result<StepView, ApiError> {
        Self::cancel(self, step).await
    }
    async fn replay(&self, step: StepId) -> Result<StepId, ApiError> {
        Self::replay(self, step).await
    }
    async fn audit(&self, step: StepId) -> Result<Audit, ApiError> {
        Self::audit(self, step).await
    }
    async fn receipts(&self, step: StepId, filter: ReceiptFilter) -> Result<Vec<ReceiptView>, ApiError> {
        Self::receipts(self, step, filter).await
    }
    async fn receipt(&self, receipt: ReceiptId) -> Result<ReceiptView, ApiError> {
        Self::receipt(self, receipt).await
    }
    async fn failures(&self, step: StepId) -> Result<Vec<FailureView>, ApiError> {
        Self::failures(self, step).await
    }
    async fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Result<Vec<DeadLetterView>, ApiError> {
        Self::dead_letters(self, step, filter).await
    }
    async fn result(&self, step: StepId) -> Result<ResultView, ApiError> {
        Self::result(self, step).await
    }
    async fn drain(&self, name: &str) -> Result<Vec<WorkerView>, ApiError> {
        Self::drain(self, name).await
    }
    async fn workers(&self) -> Result<Vec<WorkerView>, ApiError> {
        Self::workers(self).await
    }
    async fn cluster(&self) -> Result<ClusterView, ApiError> {
        Self::cluster(self).await
    }
    fn events(&self) -> broadcast::Receiver<ClusterEvent> {
        Self::events(self)
    }
    async fn events_since(&self, number: u64) -> Result<Vec<ClusterEvent>, ApiError> {
        Self::events_since(self, number).await
    }
    async fn worker_metrics(&self) -> Result<Vec<(String, String)>, ApiError> {
        Self::worker_metrics(self).await
    }
}
