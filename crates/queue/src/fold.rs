//! The fold: the one place that changes a queue, for the live path and for recovery; and its inverse, the snapshot.

use std::borrow::Borrow;
use std::collections::btree_map::Entry;

use elastic_flow_receipt::StepId;

use crate::command::{Caller, Command, CommandKind};
use crate::error::RecordError;
use crate::error_kind::StepErrorKind;
use crate::limits;
use crate::queue::Queue;
use crate::record::{QueueRecord, StepChange};
use crate::step::{Step, StepSpec};
use crate::transition::{StepEvent, StepState};

impl Queue {
    /// The queue that `records` add up to, oldest first.
    ///
    /// # Errors
    /// A record does not follow from those before it.
    pub fn from_records<R: Borrow<QueueRecord>>(records: impl IntoIterator<Item = R>) -> Result<Self, RecordError> {
        let mut queue = Self::new();
        for record in records {
            queue.apply(record.borrow())?;
        }
        Ok(queue)
    }

    /// Takes a record in, and says which step changed its state, if one did.
    ///
    /// # Errors
    /// The record does not follow from those before it; nothing has changed then.
    pub fn apply(&mut self, record: &QueueRecord) -> Result<Option<StepChange>, RecordError> {
        match record {
            QueueRecord::Submitted { id, spec, wall, by } => self.apply_submitted(*id, spec, *wall, by).map(Some),
            QueueRecord::Transition { id, event, wall, reason, by } => {
                self.apply_transition(*id, *event, *wall, reason.as_deref(), by.as_ref()).map(Some)
            }
            QueueRecord::Failed { id, kind, wall, reason } => self.apply_failed(*id, *kind, *wall, reason).map(Some),
            QueueRecord::Forgotten { id } => self.apply_forgotten(*id).map(|()| None),
            QueueRecord::IdsUsed { next } => {
                self.next_id = self.next_id.max(*next);
                Ok(None)
            }
            QueueRecord::Drained { node: _, name, wall, by } => {
                self.apply_drained(name, *wall, by);
                Ok(None)
            }
        }
    }

    /// A short list of records that adds up to this very queue, to replace a journal with.
    pub fn records(&self) -> impl Iterator<Item = QueueRecord> {
        let seen_next = self.steps.last_key_value().map_or(1, |(id, _)| id.0.saturating_add(1));
        let ids_used = (seen_next < self.next_id.0).then_some(QueueRecord::IdsUsed { next: self.next_id });
        self.steps.values().flat_map(step_records).chain(ids_used)
    }

    fn apply_submitted(
        &mut self,
        id: StepId,
        spec: &StepSpec,
        wall: u64,
        by: &Caller,
    ) -> Result<StepChange, RecordError> {
        if id < self.next_id {
            return Err(RecordError::IdReused { id, next: self.next_id });
        }
        let next_id = id.0.checked_add(1).map(StepId).ok_or(RecordError::IdsExhausted)?;
        if let Some(key) = &spec.key {
            match self.keys.entry(key.clone()) {
                Entry::Occupied(holder) => return Err(RecordError::KeyTwice { id, holder: *holder.get() }),
                Entry::Vacant(free) => free.insert(id),
            };
        }
        self.next_id = next_id;
        self.pending.insert(id);
        self.pending_bytes += spec.bytes();
        let state = StepState::Pending;
        let kind = if spec.replay_of.is_some() { CommandKind::Replay } else { CommandKind::Submit };
        let step = Step {
            id,
            spec: spec.clone(),
            state,
            submitted_at: wall,
            started_at: None,
            changed_at: wall,
            reason: None,
            failed_as: None,
            commands: vec![Command { kind, node: None, by: by.clone(), at: wall }],
        };
        self.steps.insert(id, step);
        Ok(StepChange { id, from: None, to: state })
    }

    fn apply_transition(
        &mut self,
        id: StepId,
        event: StepEvent,
        wall: u64,
        reason: Option<&str>,
        by: Option<&Caller>,
    ) -> Result<StepChange, RecordError> {
        let before = self.comes_before(id);
        let step = self.steps.get_mut(&id).ok_or(RecordError::NoStep { id })?;
        let from = step.state;
        let to = from.after(event).map_err(|illegal| RecordError::Illegal { id, illegal })?;
        if let (StepEvent::Start, Some(first)) = (event, before) {
            return Err(RecordError::NotItsTurn { id, first });
        }
        step.state = to;
        step.changed_at = wall;
        if event == StepEvent::Start {
            step.started_at = Some(wall);
        }
        // Who asked for a cancel stays known when it is done; any other move has a reason of its own or none.
        if reason.is_some() || event != StepEvent::Cancel {
            step.reason = reason.map(str::to_owned);
        }
        if let Some(by) = by {
            step.commands.push(Command { kind: CommandKind::Cancel, node: None, by: by.clone(), at: wall });
        }
        let bytes = step.spec.bytes();
        if from == StepState::Pending {
            self.pending.remove(&id);
            self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        }
        if to.is_final() {
            self.ended.insert(id);
            self.ended_bytes += bytes;
        }
        if to.is_active() {
            self.active = Some(id);
        } else if self.active == Some(id) {
            self.active = None;
        }
        Ok(StepChange { id, from: Some(from), to })
    }

    fn apply_failed(
        &mut self,
        id: StepId,
        kind: StepErrorKind,
        wall: u64,
        reason: &str,
    ) -> Result<StepChange, RecordError> {
        let change = self.apply_transition(id, StepEvent::Fail, wall, Some(reason), None)?;
        if let Some(step) = self.steps.get_mut(&id) {
            step.failed_as = Some(kind);
        }
        Ok(change)
    }

    fn apply_drained(&mut self, name: &str, wall: u64, by: &Caller) {
        let Some(step) = self.active.and_then(|id| self.steps.get_mut(&id)) else { return };
        let drains = step.commands.iter().filter(|it| it.kind == CommandKind::Drain).count();
        if drains < limits::DRAINS_SHOWN_MAX {
            let node = Some(name.to_owned());
            step.commands.push(Command { kind: CommandKind::Drain, node, by: by.clone(), at: wall });
        }
    }

    fn apply_forgotten(&mut self, id: StepId) -> Result<(), RecordError> {
        match self.steps.entry(id) {
            Entry::Vacant(_) => Err(RecordError::NoStep { id }),
            Entry::Occupied(step) if !step.get().state.is_final() => {
                Err(RecordError::ForgottenTooEarly { id, state: step.get().state })
            }
            Entry::Occupied(step) => {
                let step = step.remove();
                self.ended.remove(&id);
                self.ended_bytes = self.ended_bytes.saturating_sub(step.spec.bytes());
                if let Some(key) = &step.spec.key {
                    self.keys.remove(key);
                }
                Ok(())
            }
        }
    }
}

/// The shortest way for a step from nothing to where it is, with the times, the reason and the commands that it shows.
fn step_records(step: &Step) -> Vec<QueueRecord> {
    let id = step.id;
    let move_to = |event, wall, reason, by| QueueRecord::Transition { id, event, wall, reason, by };
    let mut records = step.commands.first().map_or_else(Vec::new, |submit| {
        vec![QueueRecord::Submitted { id, spec: step.spec.clone(), wall: step.submitted_at, by: submit.by.clone() }]
    });
    let cancel = step.commands.iter().find(|it| it.kind == CommandKind::Cancel).map(|it| it.by.clone());
    let Some(started_at) = step.started_at else {
        if step.state == StepState::Cancelled {
            records.push(move_to(StepEvent::Cancel, step.changed_at, step.reason.clone(), cancel));
        }
        return records;
    };
    records.push(move_to(StepEvent::Start, started_at, step.reason.clone(), None));
    records.extend(step.commands.iter().skip(1).map(|it| match &it.node {
        Some(name) => QueueRecord::Drained { node: None, name: name.clone(), wall: it.at, by: it.by.clone() },
        None => move_to(StepEvent::RequestCancel, it.at, step.reason.clone(), Some(it.by.clone())),
    }));
    let request = move_to(StepEvent::RequestCancel, step.changed_at, None, None);
    let last = match step.state {
        StepState::Pending => None,
        StepState::Running if started_at == step.changed_at => None,
        StepState::Running => {
            // It runs on since a resume, later than its start.
            records.push(move_to(StepEvent::Interrupt, step.changed_at, None, None));
            Some(StepEvent::Resume)
        }
        StepState::CancelPending if cancel.is_some() => None,
        StepState::CancelPending => Some(StepEvent::RequestCancel),
        StepState::Interrupted => Some(StepEvent::Interrupt),
        StepState::Completed => Some(StepEvent::Complete),
        StepState::CompletedWithSkips => Some(StepEvent::CompleteWithSkips),
        StepState::Failed => Some(StepEvent::Fail),
        StepState::Cancelled => {
            records.extend(cancel.is_none().then_some(request));
            Some(StepEvent::Cancel)
        }
    };
    match (last, step.failed_as) {
        (Some(_), Some(kind)) => {
            let reason = step.reason.clone().unwrap_or_default();
            records.push(QueueRecord::Failed { id, kind, wall: step.changed_at, reason });
        }
        (Some(event), None) => records.push(move_to(event, step.changed_at, step.reason.clone(), None)),
        (None, _) => {}
    }
    records
}
