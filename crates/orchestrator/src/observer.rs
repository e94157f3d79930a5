//! Runs interceptors on a thread of their own: in order, never in the way of the deciding code.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::interceptor::{Interceptor, Interceptors};
use crate::master::{Hook, Observation};

/// Observations between the node's loop and the thread.
const QUEUE: usize = 4_096;
/// Observations that wait in the loop, too, before it takes no more work in.
const BACKLOG_MAX: usize = 65_536;

/// Hands observations to the interceptors of a node.
#[derive(Debug)]
pub(crate) struct Observer {
    thread: Option<(SyncSender<Observation>, JoinHandle<()>)>,
    backlog: VecDeque<Observation>,
}

impl Observer {
    /// Starts the thread, if there is anything to run on it.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start(interceptors: Interceptors, node: &str) -> std::io::Result<Self> {
        if interceptors.is_empty() {
            return Ok(Self { thread: None, backlog: VecDeque::new() });
        }
        let (sender, receiver) = sync_channel::<Observation>(QUEUE);
        let node = node.to_owned();
        let thread = std::thread::Builder::new().name("interceptors".to_owned()).spawn(move || {
            while let Ok(observation) = receiver.recv() {
                for interceptor in &interceptors {
                    tell(interceptor.as_ref(), &observation, &node);
                }
            }
        })?;
        Ok(Self { thread: Some((sender, thread)), backlog: VecDeque::new() })
    }

    /// Whether chunk observations are wanted at all.
    pub(crate) const fn wanted(&self) -> bool {
        self.thread.is_some()
    }

    /// Whether the interceptors are so far behind that no more work is to be taken in.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog.len() >= BACKLOG_MAX
    }

    pub(crate) fn push(&mut self, observation: Observation) {
        if self.thread.is_some() {
            self.backlog.push_back(observation);
            self.flush();
        }
    }

    /// Hands over what there is room for.
    pub(crate) fn flush(&mut self) {
        let Some((sender, _)) = &self.thread else { return };
        while let Some(observation) = self.backlog.pop_front() {
            match sender.try_send(observation) {
                Ok(()) => {}
                Err(TrySendError::Full(observation)) => {
                    self.backlog.push_front(observation);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    /// Hands over the rest and waits for the thread. Blocks; a hook that never returns blocks for ever.
    pub(crate) fn join(mut self) {
        let Some((sender, thread)) = self.thread.take() else { return };
        for observation in self.backlog.drain(..) {
            if sender.send(observation).is_err() {
                break;
            }
        }
        drop(sender);
        if thread.join().is_err() {
            tracing::error!("the interceptors' thread panicked");
        }
    }
}

fn tell(interceptor: &dyn Interceptor, observation: &Observation, node: &str) {
    let told = catch_unwind(AssertUnwindSafe(|| match observation {
        Observation::Chunk(hook, event) => match hook {
            Hook::Distributed => interceptor.distributed(event),
            Hook::Sent => interceptor.sent(event),
            Hook::Received => interceptor.received(event),
            Hook::Processed => interceptor.processed(event),
            Hook::Aggregated => interceptor.aggregated(event),
            Hook::Retried => interceptor.retried(event),
            Hook::Failed => interceptor.failed(event),
        },
        Observation::ChunkComplete(event, counts) => interceptor.chunk_complete(event, *counts),
        Observation::Step { step, from, to, .. } => interceptor.step_changed(*step, *from, *to),
        Observation::Worker { .. }
        | Observation::Files(..)
        | Observation::Verdict { .. }
        | Observation::Failure(..) => {}
    }));
    if told.is_err() {
        tracing::warn!(node, ?interceptor, ?observation, "an interceptor panicked; it changes nothing");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use elastic_flow_queue::StepState;
    use elastic_flow_receipt::StepId;

    use super::*;

    #[derive(Debug, Default)]
    struct Names(Mutex<Vec<u64>>);

    impl Interceptor for Names {
        fn step_changed(&self, step: StepId, _from: Option<StepState>, _to: StepState) {
            self.0.lock().unwrap().push(step.0);
            assert!(step.0 != 2, "a hook that panics");
        }
    }

    fn change(step: u64) -> Observation {
        Observation::Step { step: StepId(step), from: None, to: StepState::Pending, reason: None }
    }

    #[test]
    fn hooks_run_in_order_and_a_panic_in_one_changes_nothing() {
        let (first, second) = (Arc::new(Names::default()), Arc::new(Names::default()));
        let interceptors: Interceptors = vec![Arc::<Names>::clone(&first), Arc::<Names>::clone(&second)];
        let mut observer = Observer::start(interceptors, "master").unwrap();
        for step in 1..=10_000 {
            observer.push(change(step));
        }
        observer.join();
        let all: Vec<u64> = (1..=10_000).collect();
        assert_eq!(*first.0.lock().unwrap(), all);
        assert_eq!(*second.0.lock().unwrap(), all);
    }

    #[test]
    fn nothing_runs_where_there_is_no_interceptor() {
        let mut observer = Observer::start(Vec::new(), "master").unwrap();
        assert!(!observer.wanted());
        observer.push(change(1));
        assert!(!observer.is_behind());
        observer.join();
    }
}
