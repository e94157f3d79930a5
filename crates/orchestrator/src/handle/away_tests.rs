//! A master that goes away between two questions, and is back at the next.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use elastic_flow_dataflow::source::{ItemBatches, SourceSpec};
use elastic_flow_dataflow::{Flow, FlowError, Single, TypedProgram};
use elastic_flow_receipt::{Audit, StepId};

use super::ClusterHandle;
use super::connection::{Answer, Connection, EncodedResult, EventSource};
use crate::api::{ApiError, DeadLetterFilter, DeadLetterView, FailureView, StepView, Submission};
use crate::config::Settings;
use crate::{Cluster, RunError};

/// Not reached by the first question of each kind after the submission.
#[derive(Debug)]
struct Away {
    inner: Arc<dyn Connection>,
    asked: Mutex<BTreeSet<&'static str>>,
}

impl Away {
    fn answer<'a, T: Send + 'a>(&self, question: &'static str, answer: Answer<'a, T>) -> Answer<'a, T> {
        if self.asked.lock().unwrap().insert(question) {
            return Box::pin(std::future::ready(Err(ApiError::Unreached(format!("away at {question}")))));
        }
        answer
    }
}

impl Connection for Away {
    fn submit(&self, submission: Submission) -> Answer<'_, StepId> {
        self.inner.submit(submission)
    }

    fn submit_items(&self, submission: Submission, items: Box<dyn ItemBatches>) -> Answer<'_, StepId> {
        self.inner.submit_items(submission, items)
    }

    fn step(&self, step: StepId) -> Answer<'_, StepView> {
        self.answer("step", self.inner.step(step))
    }

    fn cancel(&self, step: StepId) -> Answer<'_, StepView> {
        self.inner.cancel(step)
    }

    fn audit(&self, step: StepId) -> Answer<'_, Audit> {
        self.answer("audit", self.inner.audit(step))
    }

    fn failures(&self, step: StepId) -> Answer<'_, Vec<FailureView>> {
        self.answer("failures", self.inner.failures(step))
    }

    fn dead_letters(&self, step: StepId, filter: DeadLetterFilter) -> Answer<'_, Vec<DeadLetterView>> {
        self.answer("dead_letters", self.inner.dead_letters(step, filter))
    }

    fn result(&self, step: StepId) -> Answer<'_, EncodedResult> {
        self.answer("result", self.inner.result(step))
    }

    fn events(&self) -> Answer<'_, Box<dyn EventSource>> {
        self.answer("events", self.inner.events())
    }
}

#[tokio::test]
async fn the_result_of_a_completed_step_outlasts_a_master_that_is_away_at_any_question() {
    let sum = TypedProgram::new("sum", |it: Flow<u64>| -> Single<u64> { it.sum() }).unwrap();
    let cluster = Cluster::local(1).program(sum.clone()).start().await.unwrap();
    let away = Arc::new(Away { inner: Arc::clone(&cluster.connection), asked: Mutex::default() });
    let handle = ClusterHandle::new(Arc::<Away>::clone(&away));
    let step = handle.submit(&sum, SourceSpec::Range { start: 0, end: 100 }).await.unwrap();
    let finished = step.result().await.unwrap();
    assert_eq!((finished.output, finished.audit.balanced()), (4_950, true));
    let asked: Vec<_> = away.asked.lock().unwrap().iter().copied().collect();
    assert_eq!(asked, ["audit", "dead_letters", "events", "result", "step"]);
    cluster.stop().await;
}

#[tokio::test]
async fn the_error_of_a_failed_step_is_whole_though_its_master_was_away() {
    let failing = |it: Flow<u64>| it.try_map(|n| if n == 77 { Err(FlowError::retry("no 77")) } else { Ok(n) }).sum();
    let sum = TypedProgram::new("sum", failing).unwrap();
    let settings = Settings { max_attempts: 1, chunk_bytes: 80, ..Settings::default() };
    let cluster = Cluster::local(1).settings(settings).program(sum.clone()).start().await.unwrap();
    let away = Away { inner: Arc::clone(&cluster.connection), asked: Mutex::default() };
    let handle = ClusterHandle::new(Arc::new(away));
    let step = handle.submit(&sum, SourceSpec::Range { start: 0, end: 100 }).await.unwrap();
    let RunError::Step(error) = step.result().await.unwrap_err() else { panic!("a step's error") };
    assert_eq!(error.audit.as_ref().map(|it| it.rows.set_aside.receipts), Some(1));
    assert!(error.failures.iter().any(|it| it.message.contains("no 77")), "{:?}", error.failures);
    assert!(error.partial.is_some(), "what it had summed up so far");
    cluster.stop().await;
}
