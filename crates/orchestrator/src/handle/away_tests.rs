//! A master that goes away between two questions, and is back at the next.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use elastic_flow_dataflow::source::{ItemBatches, SourceSpec};
use elastic_flow_dataflow::{Flow, Single, TypedProgram};
use elastic_flow_receipt::{Audit, StepId};

use super::ClusterHandle;
use super::connection::{Answer, Connection, EncodedResult, EventSource};
use crate::Cluster;
use crate::api::{ApiError, DeadLetterFilter, DeadLetterView, FailureView, StepView, Submission};

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
