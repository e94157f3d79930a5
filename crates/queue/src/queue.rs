//! The queue's state, what can be read from it, and the commands that decide what happens next.

use std::collections::{BTreeMap, BTreeSet};

use elastic_flow_receipt::StepId;

use crate::command::Caller;
use crate::error::QueueError;
use crate::error_kind::StepErrorKind;
use crate::limits;
use crate::record::QueueRecord;
use crate::step::{OnFailure, Step, StepSpec};
use crate::transition::{IllegalTransition, StepEvent, StepState};

/// What a command decided: what to journal, and what to do once that is durable.
#[must_use = "records that are not applied and journalled did not happen"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// To apply in order, and to journal as one atomic batch. Empty if nothing changes.
    pub records: Vec<QueueRecord>,
    /// To perform when the records are durable.
    pub effects: Vec<Effect>,
}

/// What the caller is to do beyond the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Hand out no further chunk of this step, finish those in hand, then call [`Queue::cancelled`].
    StopStep(StepId),
    /// Shut the cluster down: a step whose `on_failure` is [`OnFailure::Terminate`] has failed.
    ShutDown,
}

/// All steps: those that wait, the one that runs, and those that ended and are still kept.
///
/// A fold over [`QueueRecord`]s and nothing else: two queues made of the same records are equal. Commands take `&self` and return
/// records; only [`Queue::apply`] changes anything. Records of one decision are applied before the next is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub(crate) steps: BTreeMap<StepId, Step>,
    pub(crate) next_id: StepId,
    pub(crate) pending: BTreeSet<StepId>,
    pub(crate) active: Option<StepId>,
    pub(crate) ended: BTreeSet<StepId>,
    pub(crate) keys: BTreeMap<String, StepId>,
    pub(crate) pending_bytes: usize,
    pub(crate) ended_bytes: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    /// An empty queue. Its first step will be number 1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            steps: BTreeMap::new(),
            next_id: StepId(1),
            pending: BTreeSet::new(),
            active: None,
            ended: BTreeSet::new(),
            keys: BTreeMap::new(),
            pending_bytes: 0,
            ended_bytes: 0,
        }
    }

    /// The step, if it is known.
    #[must_use]
    pub fn get(&self, id: StepId) -> Option<&Step> {
        self.steps.get(&id)
    }

    /// Every step that is kept, by id.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> + ExactSizeIterator {
        self.steps.values()
    }

    /// The step that has begun and not ended; after a recovery too, where it is to be resumed or gone on with.
    #[must_use]
    pub fn active(&self) -> Option<&Step> {
        self.active.and_then(|id| self.get(id))
    }

    /// The step to start now: the one that waits longest, unless one is active.
    #[must_use]
    pub fn next_to_run(&self) -> Option<&Step> {
        match self.active {
            Some(_) => None,
            None => self.pending.first().and_then(|id| self.get(*id)),
        }
    }

    /// How many steps wait.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Accepts a step of `by` at `wall` (unix nanoseconds). Returns its id, and no record if its idempotency key has already been used
    /// for the same content: then it is the id of that step.
    ///
    /// Where too many ended steps are kept, the records also forget the oldest of them: see [`QueueRecord::Forgotten`].
    ///
    /// # Errors
    /// The spec is not well-formed, its key belongs to other content, the step that it replays is unknown or has nothing to replay, or
    /// the queue is full.
    pub fn submit(&self, spec: StepSpec, by: Caller, wall: u64) -> Result<(StepId, Vec<QueueRecord>), QueueError> {
        spec.validate()?;
        if let Some(known) = self.known_by_key(&spec)? {
            return Ok((known, Vec::new()));
        }
        if let Some(id) = spec.replay_of {
            let state = self.step(id)?.state;
            if !matches!(state, StepState::Failed | StepState::Cancelled | StepState::CompletedWithSkips) {
                return Err(QueueError::NotReplayable { id, state });
            }
        }
        if self.pending.len() >= limits::PENDING_STEPS_MAX
            || self.pending_bytes.saturating_add(spec.bytes()) > limits::PENDING_BYTES_MAX
        {
            return Err(QueueError::Full { steps: self.pending.len(), bytes: self.pending_bytes });
        }
        let mut records = self.forget_the_oldest(spec.replay_of);
        records.push(QueueRecord::Submitted { id: self.next_id, spec, wall, by });
        Ok((self.next_id, records))
    }

    /// The step's turn has come, and it starts.
    ///
    /// # Errors
    /// There is no such step, it does not wait, or another one comes first.
    pub fn started(&self, id: StepId, wall: u64) -> Result<Decision, QueueError> {
        let record = self.transition(id, StepEvent::Start, wall, None, None)?;
        match self.comes_before(id) {
            Some(first) => Err(QueueError::NotItsTurn { id, first }),
            None => Ok(Decision { records: vec![record], effects: Vec::new() }),
        }
    }

    /// The step's turn has come, but this build cannot run it (no such program, parameters that it does not take): it starts and
    /// fails at once, with all that a failure sets off.
    ///
    /// # Errors
    /// As [`Queue::started`].
    pub fn refused(&self, id: StepId, reason: &str, wall: u64) -> Result<Decision, QueueError> {
        let mut decision = self.started(id, wall)?;
        let step = self.step(id)?;
        let kind = StepErrorKind::Program;
        decision.records.push(QueueRecord::Failed { id, kind, wall, reason: cut(reason) });
        self.set_off(step, wall, &mut decision);
        Ok(decision)
    }

    /// The step's audit has closed; `with_skips` if receipts were set aside.
    ///
    /// # Errors
    /// There is no such step, or it is not running.
    pub fn completed(&self, id: StepId, with_skips: bool, wall: u64) -> Result<Decision, QueueError> {
        let event = if with_skips { StepEvent::CompleteWithSkips } else { StepEvent::Complete };
        self.alone(id, event, wall, None)
    }

    /// The step has failed. Its `on_failure` is set off in the same batch: waiting steps are cancelled, and [`Effect::ShutDown`] is
    /// asked for.
    ///
    /// # Errors
    /// There is no such step, or it is not running.
    pub fn failed(&self, id: StepId, kind: StepErrorKind, reason: &str, wall: u64) -> Result<Decision, QueueError> {
        let step = self.step(id)?;
        step.state.after(StepEvent::Fail).map_err(|illegal| QueueError::Illegal { id, illegal })?;
        let record = QueueRecord::Failed { id, kind, wall, reason: cut(reason) };
        let mut decision = Decision { records: vec![record], effects: Vec::new() };
        self.set_off(step, wall, &mut decision);
        Ok(decision)
    }

    /// `by` asks that the step stop. A waiting one is cancelled at once; a running one finishes the chunks in hand first
    /// ([`Effect::StopStep`]). Asking again changes nothing.
    ///
    /// # Errors
    /// There is no such step, or it has ended otherwise.
    pub fn cancel(&self, id: StepId, by: Caller, reason: Option<&str>, wall: u64) -> Result<Decision, QueueError> {
        let (event, effects) = match self.step(id)?.state {
            StepState::CancelPending | StepState::Cancelled => return Ok(Decision::default()),
            StepState::Pending => (StepEvent::Cancel, Vec::new()),
            StepState::Running
            | StepState::Interrupted
            | StepState::Completed
            | StepState::CompletedWithSkips
            | StepState::Failed => (StepEvent::RequestCancel, vec![Effect::StopStep(id)]),
        };
        Ok(Decision { records: vec![self.transition(id, event, wall, reason, Some(by))?], effects })
    }

    /// The step that was to stop has stopped.
    ///
    /// # Errors
    /// There is no such step, or no cancel was asked for.
    pub fn cancelled(&self, id: StepId, wall: u64) -> Result<Decision, QueueError> {
        // A waiting step is cancelled by `cancel`, so that nobody confirms what was not asked for.
        let from = self.step(id)?.state;
        if from == StepState::Pending {
            return Err(QueueError::Illegal { id, illegal: IllegalTransition { from, event: StepEvent::Cancel } });
        }
        self.alone(id, StepEvent::Cancel, wall, None)
    }

    /// The master stops on purpose while the step runs; it will run on at the next start.
    ///
    /// # Errors
    /// There is no such step, or it is not running. A step in `CANCEL_PENDING` stays so over a restart.
    pub fn interrupted(&self, id: StepId, reason: Option<&str>, wall: u64) -> Result<Decision, QueueError> {
        self.alone(id, StepEvent::Interrupt, wall, reason)
    }

    /// The master is back, and the step runs on.
    ///
    /// # Errors
    /// There is no such step, or it was not interrupted.
    pub fn resumed(&self, id: StepId, wall: u64) -> Result<Decision, QueueError> {
        self.alone(id, StepEvent::Resume, wall, None)
    }

    /// The step that must run or end before `id` may start.
    pub(crate) fn comes_before(&self, id: StepId) -> Option<StepId> {
        self.active.or_else(|| self.pending.first().copied().filter(|first| *first != id))
    }

    fn step(&self, id: StepId) -> Result<&Step, QueueError> {
        self.get(id).ok_or(QueueError::NoStep { id })
    }

    fn known_by_key(&self, spec: &StepSpec) -> Result<Option<StepId>, QueueError> {
        let Some((key, known)) = spec.key.as_ref().and_then(|key| Some((key, *self.keys.get(key)?))) else {
            return Ok(None);
        };
        match self.step(known)?.spec.same_content(spec) {
            true => Ok(Some(known)),
            false => Err(QueueError::KeyTaken { key: key.clone(), id: known }),
        }
    }

    fn transition(
        &self,
        id: StepId,
        event: StepEvent,
        wall: u64,
        reason: Option<&str>,
        by: Option<Caller>,
    ) -> Result<QueueRecord, QueueError> {
        let step = self.step(id)?;
        step.state.after(event).map_err(|illegal| QueueError::Illegal { id, illegal })?;
        Ok(QueueRecord::Transition { id, event, wall, reason: reason.map(cut), by })
    }

    fn alone(&self, id: StepId, event: StepEvent, wall: u64, reason: Option<&str>) -> Result<Decision, QueueError> {
        Ok(Decision { records: vec![self.transition(id, event, wall, reason, None)?], effects: Vec::new() })
    }

    /// What the failure of `failed` does to the others.
    fn set_off(&self, failed: &Step, wall: u64, decision: &mut Decision) {
        match failed.spec.on_failure {
            OnFailure::Continue => return,
            OnFailure::CancelAndWait => {}
            OnFailure::Terminate => decision.effects.push(Effect::ShutDown),
        }
        let reason = format!("step {} failed, and its action on failure is {}", failed.id.0, failed.spec.on_failure);
        decision.records.extend(self.pending.iter().filter(|id| **id != failed.id).map(|id| QueueRecord::Transition {
            id: *id,
            event: StepEvent::Cancel,
            wall,
            reason: Some(reason.clone()),
            by: None,
        }));
    }

    /// Records that forget so many ended steps, oldest first, that the rest is within its limits. A step that one to come replays, or
    /// one that waits or runs, stays.
    fn forget_the_oldest(&self, replayed: Option<StepId>) -> Vec<QueueRecord> {
        let (mut count, mut bytes) = (self.ended.len(), self.ended_bytes);
        if count <= limits::ENDED_STEPS_MAX && bytes <= limits::ENDED_BYTES_MAX {
            return Vec::new();
        }
        let open = self.pending.iter().chain(&self.active).filter_map(|id| self.get(*id));
        let needed: BTreeSet<StepId> = open.filter_map(|step| step.spec.replay_of).chain(replayed).collect();
        let mut records = Vec::new();
        for step in self.ended.iter().filter(|id| !needed.contains(id)).filter_map(|id| self.get(*id)) {
            if count <= limits::ENDED_STEPS_MAX && bytes <= limits::ENDED_BYTES_MAX {
                break;
            }
            count -= 1;
            bytes = bytes.saturating_sub(step.spec.bytes());
            records.push(QueueRecord::Forgotten { id: step.id });
        }
        records
    }
}

/// A reason within its limit.
fn cut(reason: &str) -> String {
    let mut end = reason.len().min(limits::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().to_owned()
}
