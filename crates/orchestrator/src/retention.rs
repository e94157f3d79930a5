//! How long a step's result is kept: decided from the times in the journal, for a running master as for the store of a stopped one.

use std::collections::BTreeSet;
use std::time::Duration;

use elastic_flow_queue::{Queue, Step, StepState};
use elastic_flow_receipt::StepId;

/// Whether a step is done, and was so for longer than its result is kept. What failed or was cancelled is kept for its replay until
/// somebody removes it.
pub(crate) fn is_over(step: &Step, keep_results: Duration, wall: u64) -> bool {
    let kept_nanos = keep_results.as_nanos().try_into().unwrap_or(u64::MAX);
    matches!(step.state, StepState::Completed | StepState::CompletedWithSkips)
        && step.ended_at().is_some_and(|at| at.saturating_add(kept_nanos) < wall)
}

/// The steps that a replay which has not ended starts from, and starts from again after a restart: what is left of them stays.
pub(crate) fn replayed(queue: &Queue) -> BTreeSet<StepId> {
    queue.steps().filter(|it| !it.state.is_final()).filter_map(|it| it.spec.replay_of).collect()
}

#[cfg(test)]
mod tests {
    use elastic_flow_queue::{Caller, Decision, QueueRecord, StepErrorKind, StepSpec};

    use super::*;

    const KEPT: Duration = Duration::from_nanos(10);

    fn apply(queue: &mut Queue, records: &[QueueRecord]) {
        for record in records {
            queue.apply(record).unwrap();
        }
    }

    fn ended(end: impl Fn(&Queue, StepId) -> Decision) -> (Queue, StepId) {
        let mut queue = Queue::new();
        let (id, records) = queue.submit(StepSpec::new("p"), Caller::local(), 1).unwrap();
        apply(&mut queue, &records);
        for decide in [&|queue: &Queue, id| queue.started(id, 2).unwrap(), &end as &dyn Fn(&Queue, StepId) -> Decision]
        {
            let decision = decide(&queue, id);
            apply(&mut queue, &decision.records);
        }
        (queue, id)
    }

    #[test]
    fn a_result_is_kept_so_long_after_the_end_and_no_longer() {
        for skips in [false, true] {
            let (queue, id) = ended(|queue, id| queue.completed(id, skips, 100).unwrap());
            let over = |wall| is_over(queue.get(id).unwrap(), KEPT, wall);
            assert_eq!((over(100), over(110), over(111)), (false, false, true));
            assert!(!is_over(queue.get(id).unwrap(), Duration::MAX, u64::MAX), "for ever");
        }
    }

    #[test]
    fn what_a_replay_may_need_is_never_over() {
        let (mut queue, id) = ended(|queue, id| queue.failed(id, StepErrorKind::Store, "r", 100).unwrap());
        assert!(!is_over(queue.get(id).unwrap(), KEPT, u64::MAX));
        assert!(replayed(&queue).is_empty());
        let (_, records) =
            queue.submit(StepSpec { replay_of: Some(id), ..StepSpec::new("p") }, Caller::local(), 200).unwrap();
        apply(&mut queue, &records);
        assert!(replayed(&queue).contains(&id));
    }
}
