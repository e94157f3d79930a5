//! The queue against a naive model: random commands, and a crash after every prefix of the journal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use elastic_flow_queue::{
    Caller, CallerRole, Command as Told, CommandKind, Decision, Effect, IllegalTransition, OnFailure, Queue,
    QueueError, QueueRecord, RecordError, StepErrorKind, StepEvent, StepSpec, StepState, limits,
};
use elastic_flow_receipt::{NodeId, StepId};
use proptest::prelude::*;

/// A queue as one would write it on a page: a list of steps, searched from the front for everything.
#[derive(Debug, Default)]
struct Model {
    steps: Vec<(StepSpec, StepState)>,
}

/// What a command did: the step that it answered with, if it succeeded, and whether a stop or a shutdown was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done(StepId, Vec<Effect>),
    Refused,
}

impl Model {
    fn run(&mut self, command: &Command) -> Answer {
        use StepState as S;
        if matches!(command, Command::Drain) {
            return Answer::Done(StepId(0), vec![]);
        }
        let Command::Submit { program, key, on_failure } = command else {
            let (id, event) = command.on_step();
            return self.happen(id, event);
        };
        let spec = spec(*program, *key, *on_failure);
        let same_key = |(_, (other, _)): &(usize, &(StepSpec, S))| spec.key.is_some() && other.key == spec.key;
        let found = self.steps.iter().enumerate().find(same_key).map(|(at, (other, _))| (at, *other == spec));
        match found {
            Some((at, true)) => return Answer::Done(StepId(at as u64 + 1), vec![]),
            Some((_, false)) => return Answer::Refused,
            None => self.steps.push((spec, S::Pending)),
        }
        Answer::Done(StepId(self.steps.len() as u64), vec![])
    }

    fn happen(&mut self, id: u64, event: Event) -> Answer {
        use StepState as S;
        let busy = self.steps.iter().any(|(_, state)| state.is_active());
        let first = self.steps.iter().position(|(_, state)| *state == S::Pending);
        let at = usize::try_from(id).unwrap().wrapping_sub(1);
        let Some((spec, state)) = self.steps.get_mut(at) else { return Answer::Refused };
        let my_turn = !busy && first == Some(at);
        let mut effects = vec![];
        *state = match (event, *state) {
            (Event::Started, S::Pending) if my_turn => S::Running,
            (Event::Refused, S::Pending) if my_turn => S::Failed,
            (Event::Completed, S::Running | S::CancelPending) => S::Completed,
            (Event::Skipped, S::Running | S::CancelPending) => S::CompletedWithSkips,
            (Event::Failed, S::Running | S::CancelPending) => S::Failed,
            (Event::Cancel, S::Pending | S::Cancelled) => S::Cancelled,
            (Event::Cancel, S::CancelPending) => S::CancelPending,
            (Event::Cancel, S::Running | S::Interrupted) => {
                effects.push(Effect::StopStep(StepId(id)));
                S::CancelPending
            }
            (Event::Cancelled, S::CancelPending) => S::Cancelled,
            (Event::Interrupted, S::Running) => S::Interrupted,
            (Event::Resumed, S::Interrupted) => S::Running,
            _ => return Answer::Refused,
        };
        if matches!(event, Event::Failed | Event::Refused) && spec.on_failure != OnFailure::Continue {
            if spec.on_failure == OnFailure::Terminate {
                effects.push(Effect::ShutDown);
            }
            self.steps
                .iter_mut()
                .filter(|(_, state)| *state == S::Pending)
                .for_each(|(_, state)| *state = S::Cancelled);
        }
        Answer::Done(StepId(id), effects)
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Started,
    Refused,
    Completed,
    Skipped,
    Failed,
    Cancel,
    Cancelled,
    Interrupted,
    Resumed,
}

#[derive(Debug, Clone)]
enum Command {
    Submit { program: u8, key: Option<u8>, on_failure: OnFailure },
    OnStep { id: u64, event: Event },
    Drain,
}

impl Command {
    fn on_step(&self) -> (u64, Event) {
        match self {
            Self::OnStep { id, event } => (*id, *event),
            Self::Submit { .. } | Self::Drain => unreachable!("handled by the caller"),
        }
    }
}

fn spec(program: u8, key: Option<u8>, on_failure: OnFailure) -> StepSpec {
    StepSpec { key: key.map(|key| format!("key-{key}")), on_failure, ..StepSpec::new(format!("program-{program}")) }
}

fn caller() -> Caller {
    Caller::remote(CallerRole::Submit, "10.0.0.7")
}

fn drained(name: &str, wall: u64) -> QueueRecord {
    let by = Caller::remote(CallerRole::Admin, "10.0.0.8");
    QueueRecord::Drained { node: Some(NodeId(1)), name: name.to_owned(), wall, by }
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    use Event as E;
    let event = prop::sample::select(vec![
        E::Started,
        E::Started,
        E::Started,
        E::Refused,
        E::Completed,
        E::Skipped,
        E::Failed,
        E::Failed,
        E::Cancel,
        E::Cancelled,
        E::Interrupted,
        E::Resumed,
    ]);
    let on_failure = prop::sample::select(OnFailure::ALL.to_vec());
    let submit = (0..2_u8, prop::option::of(0..3_u8), on_failure);
    let submit = submit.prop_map(|(program, key, on_failure)| Command::Submit { program, key, on_failure });
    let on_step = (0..12_u64, event).prop_map(|(id, event)| Command::OnStep { id, event });
    prop::collection::vec(prop_oneof![4 => submit, 12 => on_step, 1 => Just(Command::Drain)], 0..120)
}

fn run(queue: &Queue, command: &Command, wall: u64) -> Result<(StepId, Decision), QueueError> {
    if matches!(command, Command::Drain) {
        return Ok((StepId(0), Decision { records: vec![drained("w1", wall)], effects: vec![] }));
    }
    let Command::OnStep { id, event } = command else {
        let Command::Submit { program, key, on_failure } = command else { unreachable!("two kinds") };
        let (id, records) = queue.submit(spec(*program, *key, *on_failure), caller(), wall)?;
        return Ok((id, Decision { records, effects: vec![] }));
    };
    let id = StepId(*id);
    let decision = match event {
        Event::Started => queue.started(id, wall),
        Event::Refused => queue.refused(id, "no such program", wall),
        Event::Completed => queue.completed(id, false, wall),
        Event::Skipped => queue.completed(id, true, wall),
        Event::Failed => queue.failed(id, StepErrorKind::UserError, "it broke", wall),
        Event::Cancel => queue.cancel(id, caller(), Some("on request"), wall),
        Event::Cancelled => queue.cancelled(id, wall),
        Event::Interrupted => queue.interrupted(id, None, wall),
        Event::Resumed => queue.resumed(id, wall),
    };
    decision.map(|decision| (id, decision))
}

fn states(queue: &Queue) -> Vec<(StepSpec, StepState)> {
    queue.steps().map(|step| (step.spec.clone(), step.state)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_queue_does_what_the_model_does_and_refolds_to_itself_at_every_instant(commands in commands()) {
        let (mut queue, mut model, mut journal) = (Queue::new(), Model::default(), Vec::new());
        for (wall, command) in commands.iter().enumerate() {
            let before = queue.clone();
            let answer = match run(&queue, command, wall as u64 / 2) {
                Ok((id, decision)) => {
                    for record in &decision.records {
                        queue.apply(record).expect("a decided record applies");
                    }
                    journal.extend(decision.records);
                    Answer::Done(id, decision.effects)
                }
                Err(_) => {
                    prop_assert_eq!(&queue, &before);
                    Answer::Refused
                }
            };
            prop_assert_eq!(answer, model.run(command), "{:?}", command);
            prop_assert_eq!(states(&queue), model.steps.clone(), "{:?}", command);
            prop_assert!(queue.steps().filter(|step| step.state.is_active()).count() <= 1);
            let next = model.steps.iter().position(|(_, state)| *state == StepState::Pending);
            let busy = model.steps.iter().any(|(_, state)| state.is_active());
            prop_assert_eq!(queue.next_to_run().map(|step| step.id.0), next.filter(|_| !busy).map(|at| at as u64 + 1));

            prop_assert_eq!(&Queue::from_records(&journal).expect("the journal replays"), &queue);
            prop_assert_eq!(&Queue::from_records(queue.records()).expect("the snapshot replays"), &queue);
            prop_assert!(queue.records().count() <= journal.len() + queue.steps().len());
        }
        let mut refolded = Queue::new();
        for (at, record) in journal.iter().enumerate() {
            refolded.apply(record).expect("any prefix of a journal is one");
            let recovered = Queue::from_records(journal.iter().take(at + 1)).expect("any prefix of a journal is one");
            prop_assert_eq!(&recovered, &refolded);
        }
    }

    #[test]
    fn a_record_that_does_not_follow_is_refused_and_changes_nothing(
        commands in commands(), id in 0..14_u64, event in prop::sample::select(StepEvent::ALL.to_vec()),
    ) {
        let mut queue = Queue::new();
        for command in &commands {
            for record in run(&queue, command, 0).map(|(_, decision)| decision.records).unwrap_or_default() {
                queue.apply(&record).expect("a decided record applies");
            }
        }
        let before = queue.clone();
        let id = StepId(id);
        let legal = before.get(id).is_some_and(|step| step.state.after(event).is_ok());
        let in_turn = event != StepEvent::Start || before.next_to_run().map(|step| step.id) == Some(id);
        let applied = queue.apply(&QueueRecord::Transition { id, event, wall: 9, reason: None, by: None });
        prop_assert_eq!(applied.is_ok(), legal && in_turn);
        prop_assert_eq!(queue == before, applied.is_err());
    }
}

/// Applies what was decided, and gives what is to be done beyond the queue.
fn apply(queue: &mut Queue, decision: Decision) -> Vec<Effect> {
    for record in &decision.records {
        queue.apply(record).unwrap();
    }
    decision.effects
}

fn submit(queue: &mut Queue, spec: StepSpec) -> StepId {
    let (id, records) = queue.submit(spec, caller(), 10).unwrap();
    apply(queue, Decision { records, effects: vec![] });
    id
}

#[test]
fn times_and_reasons_are_those_of_the_events() {
    let mut queue = Queue::new();
    let id = submit(&mut queue, StepSpec::new("p"));
    let started = queue.started(id, 20).unwrap();
    apply(&mut queue, started);
    let interrupted = queue.interrupted(id, Some("stopped by SIGTERM"), 30).unwrap();
    apply(&mut queue, interrupted);
    let step = queue.active().unwrap();
    assert_eq!((step.reason.as_deref(), step.ended_at()), (Some("stopped by SIGTERM"), None));
    let resumed = queue.resumed(id, 40).unwrap();
    apply(&mut queue, resumed);
    let cancel = queue.cancel(id, caller(), Some("asked by an operator"), 50).unwrap();
    assert_eq!(apply(&mut queue, cancel), [Effect::StopStep(id)]);
    let cancelled = queue.cancelled(id, 60).unwrap();
    apply(&mut queue, cancelled);
    let step = queue.get(id).unwrap();
    assert_eq!((step.submitted_at, step.started_at, step.ended_at()), (10, Some(20), Some(60)));
    assert_eq!((step.state, step.reason.as_deref()), (StepState::Cancelled, Some("asked by an operator")));
    assert_eq!(Queue::from_records(queue.records()).unwrap(), queue);
}

#[test]
fn the_kind_of_a_failure_stays_known_and_one_that_was_not_kept_is_said_to_be_unknown() {
    let mut queue = Queue::new();
    let ended = |queue: &mut Queue, how: &dyn Fn(&Queue, StepId) -> Vec<QueueRecord>| {
        let id = submit(queue, StepSpec::new("p"));
        let started = queue.started(id, 1).unwrap();
        apply(queue, started);
        for record in how(queue, id) {
            queue.apply(&record).unwrap();
        }
        id
    };
    let failed = ended(&mut queue, &|queue, id| queue.failed(id, StepErrorKind::Store, "full", 2).unwrap().records);
    let earlier = ended(&mut queue, &|_, id| {
        vec![QueueRecord::Transition {
            id,
            event: StepEvent::Fail,
            wall: 2,
            reason: Some("it broke".to_owned()),
            by: None,
        }]
    });
    let completed = ended(&mut queue, &|queue, id| queue.completed(id, false, 2).unwrap().records);
    let cancelled = submit(&mut queue, StepSpec::new("p"));
    let cancel = queue.cancel(cancelled, caller(), None, 3).unwrap();
    apply(&mut queue, cancel);
    let recovered = Queue::from_records(queue.records()).unwrap();
    assert_eq!(recovered, queue);
    let kind = |id| recovered.get(id).unwrap().error_kind();
    assert_eq!(kind(failed), Some(StepErrorKind::Store));
    assert_eq!(recovered.get(failed).unwrap().reason.as_deref(), Some("full"));
    assert_eq!(kind(earlier), Some(StepErrorKind::Unknown));
    assert_eq!((kind(completed), kind(cancelled)), (None, Some(StepErrorKind::Cancelled)));
}

#[test]
fn a_step_shows_who_told_what_to_be_done_with_it_in_the_order_of_its_life() {
    let mut queue = Queue::new();
    let id = submit(&mut queue, StepSpec::new("p"));
    queue.apply(&drained("before its start", 15)).unwrap();
    let started = queue.started(id, 20).unwrap();
    apply(&mut queue, started);
    queue.apply(&drained("yam2", 30)).unwrap();
    let cancel = queue.cancel(id, Caller::local(), None, 40).unwrap();
    apply(&mut queue, cancel);
    let again = queue.cancel(id, caller(), None, 45).unwrap();
    apply(&mut queue, again);
    queue.apply(&drained("yam3", 50)).unwrap();
    let cancelled = queue.cancelled(id, 60).unwrap();
    apply(&mut queue, cancelled);
    queue.apply(&drained("after its end", 70)).unwrap();
    let told = |kind, node: Option<&str>, by, at| Told { kind, node: node.map(str::to_owned), by, at };
    let admin = || Caller::remote(CallerRole::Admin, "10.0.0.8");
    let commands = [
        told(CommandKind::Submit, None, caller(), 10),
        told(CommandKind::Drain, Some("yam2"), admin(), 30),
        told(CommandKind::Cancel, None, Caller::local(), 40),
        told(CommandKind::Drain, Some("yam3"), admin(), 50),
    ];
    assert_eq!(queue.get(id).unwrap().commands, commands);
    assert_eq!(Queue::from_records(queue.records()).unwrap(), queue);

    let replay = submit(&mut queue, StepSpec { replay_of: Some(id), ..StepSpec::new("p") });
    assert_eq!(queue.get(replay).unwrap().commands, [told(CommandKind::Replay, None, caller(), 10)]);
}

#[test]
fn of_many_drains_a_step_shows_the_first() {
    let mut queue = Queue::new();
    let id = submit(&mut queue, StepSpec::new("p"));
    let started = queue.started(id, 20).unwrap();
    apply(&mut queue, started);
    for number in 0..=limits::DRAINS_SHOWN_MAX {
        queue.apply(&drained(&number.to_string(), 30)).unwrap();
    }
    let commands = &queue.get(id).unwrap().commands;
    assert_eq!(commands.len(), 1 + limits::DRAINS_SHOWN_MAX);
    assert_eq!(commands.last().and_then(|it| it.node.as_deref()), Some("99"));
}

#[test]
fn a_reason_is_cut_at_a_characters_border() {
    let mut queue = Queue::new();
    let id = submit(&mut queue, StepSpec::new("p"));
    let refused = queue.refused(id, &"é".repeat(limits::REASON_BYTES_MAX), 1).unwrap();
    apply(&mut queue, refused);
    let reason = queue.get(id).unwrap().reason.clone().unwrap();
    assert_eq!(reason.len(), limits::REASON_BYTES_MAX);
    assert!(reason.chars().all(|c| c == 'é'));
}

#[test]
fn only_a_step_that_ended_short_is_replayed() {
    let mut queue = Queue::new();
    let id = submit(&mut queue, StepSpec::new("p"));
    let replay = StepSpec { replay_of: Some(id), ..StepSpec::new("p") };
    let pending = QueueError::NotReplayable { id, state: StepState::Pending };
    assert_eq!(queue.submit(replay.clone(), caller(), 1), Err(pending));
    let mut completed = queue.clone();
    for decide in [|q: &Queue, id| q.started(id, 1), |q: &Queue, id| q.completed(id, false, 2)] {
        let decision = decide(&completed, id).unwrap();
        apply(&mut completed, decision);
    }
    let nothing = QueueError::NotReplayable { id, state: StepState::Completed };
    assert_eq!(completed.submit(replay.clone(), caller(), 3), Err(nothing));
    let refused = queue.refused(id, "no", 1).unwrap();
    apply(&mut queue, refused);
    assert_eq!(queue.submit(replay, caller(), 3).unwrap().0, StepId(2));
    let unknown = StepSpec { replay_of: Some(StepId(7)), ..StepSpec::new("p") };
    assert_eq!(queue.submit(unknown, caller(), 3), Err(QueueError::NoStep { id: StepId(7) }));
}

#[test]
fn the_queue_is_full_at_its_limit_of_steps_and_takes_more_when_one_has_left() {
    let mut queue = Queue::new();
    for _ in 0..limits::PENDING_STEPS_MAX {
        submit(&mut queue, StepSpec::new("p"));
    }
    assert!(matches!(queue.submit(StepSpec::new("p"), caller(), 1), Err(QueueError::Full { steps: 10_000, .. })));
    let cancel = queue.cancel(StepId(17), caller(), None, 1).unwrap();
    apply(&mut queue, cancel);
    assert_eq!(submit(&mut queue, StepSpec::new("p")), StepId(10_001));
}

#[test]
fn waiting_steps_are_bounded_in_bytes_too() {
    let mut queue = Queue::new();
    let large = || StepSpec { inputs: vec![0; limits::INPUTS_BYTES_MAX - 1024], ..StepSpec::new("p") };
    for _ in 0..limits::PENDING_BYTES_MAX / limits::INPUTS_BYTES_MAX {
        submit(&mut queue, large());
    }
    assert!(matches!(queue.submit(large(), caller(), 1), Err(QueueError::Full { steps: 16, .. })));
}

#[test]
fn the_oldest_ended_steps_leave_but_none_that_is_replayed_and_no_id_is_given_twice() {
    let mut queue = Queue::new();
    let fail = |queue: &mut Queue, spec| {
        let id = submit(queue, spec);
        let refused = queue.refused(id, "no", 1).unwrap();
        apply(queue, refused);
    };
    fail(&mut queue, StepSpec::new("replayed"));
    fail(&mut queue, StepSpec { key: Some("k".to_owned()), ..StepSpec::new("second") });
    for _ in 2..=limits::ENDED_STEPS_MAX {
        fail(&mut queue, StepSpec::new("p"));
    }
    let (id, records) =
        queue.submit(StepSpec { replay_of: Some(StepId(1)), ..StepSpec::new("replayed") }, caller(), 1).unwrap();
    assert_eq!(records.first(), Some(&QueueRecord::Forgotten { id: StepId(2) }));
    assert_eq!((id, records.len()), (StepId(10_002), 2));
    apply(&mut queue, Decision { records, effects: vec![] });
    assert_eq!((queue.get(StepId(2)), queue.steps().len()), (None, 10_001));
    assert!(queue.submit(StepSpec { key: Some("k".to_owned()), ..StepSpec::new("other") }, caller(), 2).is_ok());
}

#[test]
fn ids_are_not_given_again_when_the_last_steps_are_forgotten() {
    let mut queue = Queue::new();
    let id = submit(&mut queue, StepSpec::new("p"));
    let refused = queue.refused(id, "no", 1).unwrap();
    apply(&mut queue, refused);
    queue.apply(&QueueRecord::Forgotten { id }).unwrap();
    let mut recovered = Queue::from_records(queue.records()).unwrap();
    assert_eq!(recovered, queue);
    assert_eq!(submit(&mut recovered, StepSpec::new("p")), StepId(2));
}

#[test]
fn records_that_no_queue_wrote_are_named() {
    let submitted = |id, key: Option<&str>| QueueRecord::Submitted {
        id: StepId(id),
        spec: StepSpec { key: key.map(str::to_owned), ..StepSpec::new("p") },
        wall: 1,
        by: caller(),
    };
    let transition = |id, event| QueueRecord::Transition { id: StepId(id), event, wall: 1, reason: None, by: None };
    let (one, two, forget) = (StepId(1), StepId(2), |id| QueueRecord::Forgotten { id: StepId(id) });
    let illegal = IllegalTransition { from: StepState::Pending, event: StepEvent::Fail };
    let cases = [
        (vec![submitted(2, None), submitted(2, None)], RecordError::IdReused { id: two, next: StepId(3) }),
        (vec![submitted(1, Some("k")), submitted(2, Some("k"))], RecordError::KeyTwice { id: two, holder: one }),
        (vec![submitted(u64::MAX, None)], RecordError::IdsExhausted),
        (vec![transition(1, StepEvent::Start)], RecordError::NoStep { id: one }),
        (vec![submitted(1, None), transition(1, StepEvent::Fail)], RecordError::Illegal { id: one, illegal }),
        (
            vec![submitted(1, None), submitted(2, None), transition(2, StepEvent::Start)],
            RecordError::NotItsTurn { id: two, first: one },
        ),
        (vec![forget(1)], RecordError::NoStep { id: one }),
        (vec![submitted(1, None), forget(1)], RecordError::ForgottenTooEarly { id: one, state: StepState::Pending }),
    ];
    for (records, error) in cases {
        assert_eq!(Queue::from_records(&records), Err(error), "{records:?}");
    }
}

#[test]
fn a_record_reads_back_from_json_and_shows_its_names() {
    let record =
        QueueRecord::Transition { id: StepId(3), event: StepEvent::RequestCancel, wall: 5, reason: None, by: None };
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(json, r#"{"transition":{"id":3,"event":"request-cancel","wall":5,"reason":null,"by":null}}"#);
    assert_eq!(serde_json::from_str::<QueueRecord>(&json).unwrap(), record);
}
