//! Typed handles over a cluster in this process, and what a step's error holds.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Condvar, Mutex};

use elastic_flow_dataflow::source::SourceSpec;
use elastic_flow_dataflow::{Flow, Single, TypedProgram};
use elastic_flow_orchestrator::api::{ApiError, ClusterEventKind};
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::handle::blocking;
use elastic_flow_orchestrator::{Cluster, RunError, StartError, StepError, StepRequest};
use elastic_flow_queue::{StepErrorKind, StepState};

const ITEMS: u64 = 1_000;

fn numbers() -> SourceSpec {
    SourceSpec::Range { start: 0, end: ITEMS }
}

fn cluster(workers: usize) -> Cluster {
    // A number of a range counts for 8 bytes.
    let settings = Settings { chunk_items: 100, chunk_bytes: 800, chunk_adapts: false, ..Settings::default() };
    Cluster::local(workers).settings(Settings { max_attempts: 1, task_chunks_max: 1, ..settings })
}

fn squares(numbers: Flow<u64>) -> Single<u64> {
    numbers.map(|n| n * n).sum()
}

/// A door that user code waits at.
#[derive(Debug, Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

/// Counts numbers, and waits at the door before the one given.
fn waits_at(door: &Arc<Door>, at: u64) -> TypedProgram<u64, u64, u64> {
    let door = Arc::clone(door);
    let flow = move |numbers: Flow<u64>| {
        let door = Arc::clone(&door);
        numbers
            .inspect(move |n| {
                if *n == at {
                    door.pass()
                }
            })
            .count()
    };
    TypedProgram::new("waits", flow).unwrap()
}

/// Waits until so many chunks of a step are done. Each event, at least one a second, is an occasion to look.
fn wait_done<O>(step: &blocking::StepHandle<O>, chunks: u64) {
    let mut events = step.events().unwrap().take(60);
    while step.view().unwrap().progress.is_none_or(|it| it.chunks_done != chunks) {
        events.next().unwrap().unwrap();
    }
}

#[test]
fn many_steps_are_submitted_to_one_cluster_and_each_gives_its_own_output_as_often_as_it_is_asked() {
    let squares = TypedProgram::new("squares", squares).unwrap();
    let pairs = TypedProgram::new("pairs", |it: Flow<u64>| it.map(|n| (n % 3, 1_u64)).counts()).unwrap();
    let cluster = cluster(2).program(squares.clone()).program(pairs.clone()).start_blocking().unwrap();
    let steps: Vec<_> =
        (1..=10).map(|end| cluster.submit(&squares, SourceSpec::Range { start: 0, end }).unwrap()).collect();
    let keyed = cluster.submit(&pairs, numbers()).unwrap();
    // The last one first: the others have ended then.
    let mut counts = keyed.result().unwrap().output;
    counts.sort_unstable();
    assert_eq!(counts, [((0, 1), 334), ((1, 1), 333), ((2, 1), 333)]);
    for (end, step) in (1..=10_u64).zip(&steps) {
        for _ in 0..2 {
            let finished = step.result().unwrap();
            assert_eq!(finished.output, (0..end).map(|n| n * n).sum::<u64>());
            assert!(finished.audit.balanced(), "{}", finished.audit);
        }
    }
    let items = cluster.submit_items(&squares, (0..50_u64).rev(), StepRequest::new()).unwrap();
    assert_eq!(items.result().unwrap().output, (0..50_u64).map(|n| n * n).sum::<u64>());
    cluster.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_step_and_a_step_is_found_again_by_its_number() {
    let squares = TypedProgram::new("squares", squares).unwrap();
    let cluster = cluster(1).program(squares.clone()).start().await.unwrap();
    let request = StepRequest::from(numbers()).key("monday").label("of monday");
    let first = cluster.submit(&squares, request.clone()).await.unwrap();
    let second = cluster.submit(&squares, request).await.unwrap();
    assert_eq!(first.id(), second.id());
    assert_eq!(first.view().await.unwrap().label.as_deref(), Some("of monday"));
    let again = cluster.step(&squares, first.id());
    assert_eq!(again.result().await.unwrap().output, (0..ITEMS).map(|n| n * n).sum::<u64>());

    // The output of that step is no list of texts.
    let other = TypedProgram::new("squares", |it: Flow<u64>| it.map(|n| n.to_string())).unwrap();
    let error = cluster.step(&other, first.id()).result().await.unwrap_err();
    let RunError::Output(error) = error else { panic!("{error}") };
    let message = error.to_string();
    assert!(message.contains("is a u64") && message.contains("Vec<alloc::string::String>"), "{message}");

    let nowhere = cluster.step(&squares, elastic_flow_receipt::StepId(77)).result().await.unwrap_err();
    assert!(matches!(nowhere, RunError::Api(ApiError::NoStep(_))), "{nowhere}");
    cluster.stop().await;
}

#[test]
fn a_step_that_runs_shows_the_result_so_far_with_its_share_of_the_receipts() {
    let door = Arc::new(Door::default());
    let program = waits_at(&door, 950);
    let cluster = cluster(1).program(program.clone()).start_blocking().unwrap();
    let step = cluster.submit(&program, numbers()).unwrap();
    wait_done(&step, 9);
    let partial = step.partial().unwrap();
    assert_eq!((partial.output, partial.complete), (900, false));
    assert_eq!((partial.receipts, partial.receipts_conceived), (9, 10));
    assert_eq!(step.audit().unwrap().rows.aggregated.receipts, 9);
    door.open();
    let finished = step.result().unwrap();
    assert_eq!((finished.output, finished.step.state), (ITEMS, StepState::Completed));
    let whole = step.partial().unwrap();
    assert_eq!((whole.output, whole.complete, whole.receipts, whole.receipts_conceived), (ITEMS, true, 10, 10));
    cluster.stop();
}

#[test]
fn the_events_of_a_step_end_with_its_last_change_of_state_and_are_of_no_other() {
    let door = Arc::new(Door::default());
    let (program, other) = (waits_at(&door, 0), TypedProgram::new("squares", squares).unwrap());
    let cluster = cluster(1).program(program.clone()).program(other.clone()).start_blocking().unwrap();
    let (step, next) = (cluster.submit(&program, numbers()).unwrap(), cluster.submit(&other, numbers()).unwrap());
    let events = next.events().unwrap();
    door.open();
    let events: Vec<ClusterEventKind> = events.map(Result::unwrap).collect();
    assert!(events.iter().all(|it| it.step() == Some(next.id())), "{events:?}");
    let states =
        events.iter().filter_map(|it| if let ClusterEventKind::Step { state, .. } = it { Some(*state) } else { None });
    assert_eq!(states.collect::<Vec<_>>(), [StepState::Running, StepState::Completed]);
    assert_eq!(step.events().unwrap().count(), 0, "it is over");
    cluster.stop();
}

#[test]
fn a_step_that_is_cancelled_says_so_and_keeps_what_it_has() {
    let door = Arc::new(Door::default());
    let program = waits_at(&door, 950);
    let cluster = cluster(1).program(program.clone()).start_blocking().unwrap();
    let step = cluster.submit(&program, numbers()).unwrap();
    let pending = cluster.submit(&program, numbers()).unwrap();
    wait_done(&step, 9);
    assert_eq!(pending.cancel().unwrap().state, StepState::Cancelled);
    assert_eq!(step.cancel().unwrap().state, StepState::CancelPending);
    door.open();
    let RunError::Step(error) = step.result().unwrap_err() else { panic!("it was cancelled") };
    assert_eq!((error.kind(), error.step.state), (StepErrorKind::Cancelled, StepState::Cancelled));
    let partial = error.partial.as_ref().unwrap();
    // The chunk in hand was taken in.
    assert_eq!((partial.output, partial.receipts, partial.complete), (ITEMS, 10, false));
    let RunError::Step(never) = pending.result().unwrap_err() else { panic!("it was cancelled") };
    assert_eq!(never.kind(), StepErrorKind::Cancelled);
    assert!(never.audit.is_none() && never.partial.is_none(), "it never started: {never:?}");
    assert!(never.to_string().contains("docs/errors.md#cancelled"), "{never}");
    cluster.stop();
}

fn breaks(numbers: Flow<u64>) -> Single<u64> {
    let check = |n: u64| if n == 555 { Err(format!("{n} is bad")) } else { Ok(n) };
    numbers.try_map(check).inspect(|n| assert_ne!(*n, 2_555, "it panicked")).count()
}

/// Of a step over ten chunks, one of which fails at its item number 55.
fn check_error(error: &StepError<u64>, kind: StepErrorKind, message: &str) {
    assert_eq!((error.kind(), error.step.state), (kind, StepState::Failed));
    let audit = error.audit.as_ref().unwrap();
    assert!(audit.balance.balanced() && audit.rows.set_aside.receipts == 1, "{audit}");
    let [failure] = error.failures.as_slice() else { panic!("{:?}", error.failures) };
    assert_eq!((failure.item, failure.attempts, failure.set_aside), (Some(55), 1, true));
    assert!(failure.message.contains(message) && failure.node.starts_with("worker-"), "{failure:?}");
    let partial = error.partial.as_ref().unwrap();
    assert_eq!((partial.output, partial.complete), (900, false));
    assert_eq!((partial.receipts, partial.receipts_conceived), (9, 10));

    // Printed, it says what happened, where, what there is, and what to do: in one paragraph.
    let (shown, receipt) = (error.to_string(), failure.receipt.unwrap());
    for part in [
        format!("step {} of breaks is FAILED: 1 chunk was set aside", error.step.id),
        format!("attempt 1 on {}, at item 55 of chunk {receipt}", failure.node),
        message.to_owned(),
        "9 of 10 chunks are in its partial result".to_owned(),
        format!("What to do: {} (docs/errors.md#{kind})", kind.remedy()),
    ] {
        assert!(shown.contains(&part), "{part} is not in: {shown}");
    }
    assert!(!shown.contains('\n'), "{shown}");
}

#[test]
fn an_error_has_its_kind_the_audit_the_failures_and_the_result_as_far_as_it_came() {
    let program = TypedProgram::new("breaks", breaks).unwrap();
    let (user, panic) = (StepErrorKind::UserError, StepErrorKind::UserPanic);
    for (first, kind, message) in [(0, user, "555 is bad"), (2_000, panic, "it panicked")] {
        let source = SourceSpec::Range { start: first, end: first + ITEMS };
        // What runs alone, and what a handle is of.
        let RunError::Step(alone) = cluster(1).run_source(&program, source.clone()).unwrap_err() else { panic!() };
        check_error(&alone, kind, message);
        let cluster = cluster(1).program(program.clone()).start_blocking().unwrap();
        let step = cluster.submit(&program, source).unwrap();
        let RunError::Step(error) = step.result().unwrap_err() else { panic!() };
        check_error(&error, kind, message);
        cluster.stop();
    }
}

#[test]
fn what_is_registered_twice_is_said_at_the_start() {
    let program = TypedProgram::new("squares", squares).unwrap();
    let error = cluster(1).program(program.clone()).program(program).start_blocking().unwrap_err();
    let RunError::Start(StartError::Duplicate(duplicate)) = error else { panic!("{error}") };
    assert!(duplicate.to_string().contains("program `squares` is registered twice"), "{duplicate}");
}

#[test]
fn a_wait_for_a_step_whose_cluster_stops_ends_with_that() {
    let door = Arc::new(Door::default());
    let program = waits_at(&door, 550);
    let cluster = cluster(1).program(program.clone()).start_blocking().unwrap();
    let (step, pending) = (cluster.submit(&program, numbers()).unwrap(), cluster.submit(&program, numbers()).unwrap());
    wait_done(&step, 5);
    let mut events = pending.events().unwrap();
    let waits = std::thread::spawn(move || step.result());
    door.open();
    cluster.stop();
    // It may have been so quick that it ended first.
    if let Err(error) = waits.join().unwrap() {
        assert!(matches!(error, RunError::Api(ApiError::Stopping)), "{error}");
    }
    let last = events.by_ref().last();
    assert!(matches!(last, Some(Err(ApiError::Stopping))), "{last:?}");
}
