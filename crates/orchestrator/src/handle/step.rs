//! A step, with the type of its output.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use elastic_flow_dataflow::{OutputError, read_encoded};
use elastic_flow_queue::OnFailure;
use elastic_flow_receipt::{Audit, StepId};
use serde::de::DeserializeOwned;

use super::connection::{Connection, EncodedResult};
use super::error::{RunError, StepError};
use super::events::StepEvents;
use crate::api::{ApiError, ClusterEventKind, DeadLetterFilter, DeadLetterView, FailureView, StepView};
use crate::master::MasterHandle;

/// How often a master is looked for that is away.
const RETURN_PAUSE: Duration = Duration::from_millis(500);

/// A step that completed.
#[derive(Debug)]
pub struct Finished<O> {
    /// Its typed output.
    pub output: O,
    /// Its audit.
    pub audit: Audit,
    /// The step.
    pub step: StepView,
    /// What it set aside: at most [`Settings::max_skips`](crate::Settings::max_skips) items and chunks.
    pub dead_letters: Vec<DeadLetterView>,
}

/// A result, perhaps not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial<O> {
    /// The typed output of the chunks that are aggregated.
    pub output: O,
    /// Whether the step has completed, and this is its result.
    pub complete: bool,
    /// Receipts aggregated in it.
    pub receipts: u64,
    /// Receipts conceived so far: of a source that is not cut to its end there will be more.
    pub receipts_conceived: u64,
}

/// A step of a cluster whose output is an `O`. Clones are of the same step; dropping them does nothing to it.
pub struct StepHandle<O> {
    connection: Arc<dyn Connection>,
    step: StepId,
    /// Whether the master was reached already, since it took the step through this.
    submitted: bool,
    output: PhantomData<fn() -> O>,
}

impl<O> Clone for StepHandle<O> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.connection), self.step, self.submitted)
    }
}

impl<O> fmt::Debug for StepHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepHandle").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<O> StepHandle<O> {
    pub(super) fn new(connection: Arc<dyn Connection>, step: StepId, submitted: bool) -> Self {
        Self { connection, step, submitted, output: PhantomData }
    }

    /// Its number, which stays its own over restarts of the master.
    #[must_use]
    pub const fn id(&self) -> StepId {
        self.step
    }

    /// The step as it is now.
    ///
    /// # Errors
    /// There is no such step (any more), or the master is not reached.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn view(&self) -> Result<StepView, ApiError> {
        self.connection.step(self.step).await
    }

    /// What became of its chunks so far.
    ///
    /// # Errors
    /// There is no such step, it has not started, or its account is not kept any more.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn audit(&self) -> Result<Audit, ApiError> {
        self.connection.audit(self.step).await
    }

    /// Its failures so far, oldest first, the first thousand of them.
    ///
    /// # Errors
    /// As [`StepHandle::audit`].
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn failures(&self) -> Result<Vec<FailureView>, ApiError> {
        self.connection.failures(self.step).await
    }

    /// What happens to it from now on.
    ///
    /// # Errors
    /// There is no such step, or the master is not reached.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn events(&self) -> Result<StepEvents, ApiError> {
        StepEvents::of(&self.connection, self.step).await
    }

    /// Cancels it: a pending step leaves the queue, a running one stops after the chunks in hand.
    ///
    /// # Errors
    /// There is no such step, or it has ended otherwise.
    ///
    /// # Cancel safety
    /// Not safe: the step may have been cancelled. Cancelling again changes nothing.
    pub async fn cancel(&self) -> Result<StepView, ApiError> {
        self.connection.cancel(self.step).await
    }

    /// Waits until it has ended. A master that goes away meanwhile is waited for: on a store that outlives it the step does, too.
    ///
    /// # Errors
    /// The master was never reached, has no such step (any more), or is in this process and stops.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn ended(&self) -> Result<StepView, ApiError> {
        let mut reached = self.submitted;
        loop {
            match self.ended_once(&mut reached).await {
                Err(ApiError::Unreached(_)) if reached => tokio::time::sleep(RETURN_PAUSE).await,
                ended => return ended,
            }
        }
    }

    /// Asks a master that has been reached until it answers.
    async fn patiently<T, A>(&self, ask: impl Fn() -> A) -> Result<T, ApiError>
    where
        A: Future<Output = Result<T, ApiError>>,
    {
        loop {
            match ask().await {
                Err(ApiError::Unreached(_)) => tokio::time::sleep(RETURN_PAUSE).await,
                answer => return answer,
            }
        }
    }

    async fn ended_once(&self, reached: &mut bool) -> Result<StepView, ApiError> {
        let mut events = self.events().await?;
        let mut seen = self.view().await?;
        *reached = true;
        while let Some(kind) = events.next().await? {
            let ClusterEventKind::Step { state, reason, .. } = kind else { continue };
            if state.is_final() {
                // Its failure may end its master as well, which then cannot be asked any more.
                (seen.state, seen.reason) = (state, reason);
                return Ok(self.view().await.ok().filter(|it| it.state.is_final()).unwrap_or(seen));
            }
            // A master that is going away may have said its last word already.
            seen = self.view().await.unwrap_or(seen);
        }
        self.view().await
    }
}

impl<O: DeserializeOwned + Send + 'static> StepHandle<O> {
    /// Waits until it has ended, as [`StepHandle::ended`], and gives what came of it. A master that goes away before it
    /// has told that is waited for, too, unless the step's failure ends it.
    ///
    /// # Errors
    /// [`RunError::Step`] if it did not complete, with the result as far as it came; [`RunError::Output`] if the step's output is of
    /// another type; else as [`StepHandle::ended`].
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn result(&self) -> Result<Finished<O>, RunError<O>> {
        let step = self.ended().await?;
        if !MasterHandle::completed(&step) {
            return Err(RunError::Step(Box::new(self.error_of(step).await)));
        }
        // The master may go away between any two of these, and be started again.
        let output = self.patiently(|| self.connection.result(self.step)).await?;
        let output = read_encoded(&output.bytes)?;
        let audit = self.patiently(|| self.connection.audit(self.step)).await?;
        let dead_letters = self.patiently(|| all_dead_letters(self.connection.as_ref(), self.step)).await?;
        Ok(Finished { output, audit, step, dead_letters })
    }

    /// What is known of a step that did not complete. What is missing beside it must not hide why it failed.
    async fn error_of(&self, step: StepView) -> StepError<O> {
        // A step that ends its master on failure leaves nobody to wait for.
        let (audit, failures, partial) = if step.on_failure == OnFailure::Terminate {
            let (audit, failures) = (self.audit().await, self.failures().await);
            (audit, failures, self.connection.result(self.step).await)
        } else {
            let audit = self.patiently(|| self.connection.audit(self.step)).await;
            let failures = self.patiently(|| self.connection.failures(self.step)).await;
            (audit, failures, self.patiently(|| self.connection.result(self.step)).await)
        };
        let partial = partial.ok().and_then(|it| Partial::of(it).ok());
        StepError { step, audit: audit.ok(), failures: failures.unwrap_or_default(), partial }
    }

    /// The result so far, of a step that runs or has ended, with its share of the receipts.
    ///
    /// # Errors
    /// There is no such step, or it has no result (yet, or any more); [`RunError::Output`] if its output is of another type.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn partial(&self) -> Result<Partial<O>, RunError<O>> {
        Ok(Partial::of(self.connection.result(self.step).await?)?)
    }
}

impl<O: DeserializeOwned> Partial<O> {
    fn of(encoded: EncodedResult) -> Result<Self, OutputError> {
        let EncodedResult { bytes, complete, receipts, receipts_conceived } = encoded;
        Ok(Self { output: read_encoded(&bytes)?, complete, receipts, receipts_conceived })
    }
}

/// Every page of them.
pub(crate) async fn all_dead_letters(
    connection: &dyn Connection,
    step: StepId,
) -> Result<Vec<DeadLetterView>, ApiError> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64;
        let page = connection.dead_letters(step, DeadLetterFilter { from, limit: 0 }).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
