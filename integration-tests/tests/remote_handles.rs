//! Typed handles on a master in another process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::path::Path;

use elastic_flow::orchestrator::ApiError;
use elastic_flow::orchestrator::api::ClusterEventKind;
use elastic_flow::prelude::{
    ClusterHandle, Connect, Flow, RunError, Single, SourceSpec, StepErrorKind, StepHandle, StepId, StepRequest,
    StepState, Text, TypedProgram,
};
use elastic_flow_integration_tests::cluster::{Cluster, Options};
use elastic_flow_integration_tests::oracle_words::{assert_equal, counts_of_file};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// A chunk each.
const HELD: [&str; 3] = ["one two three fours\n", "five six seven  two\n", "hold here for a bit\n"];

type Counts = Vec<(Text, u64)>;

/// What the test program has under that name, as far as its types go.
fn counting(name: &str) -> TypedProgram<Text, (Text, u64), Counts> {
    TypedProgram::new(name, |lines: Flow<Text>| lines.words().counts()).unwrap()
}

fn start(durable: bool) -> Cluster {
    let sets = ["distribute.chunk_bytes=20", "retry.max_attempts=1"].map(str::to_owned).to_vec();
    Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable, sets })
}

fn connect(cluster: &Cluster) -> ClusterHandle {
    let url = format!("http://{}", cluster.admin_addr());
    elastic_flow::prelude::Cluster::connect_with_key(&url, &cluster.key_file()).unwrap()
}

fn lines(path: &str) -> SourceSpec {
    SourceSpec::Lines { paths: vec![path.to_owned()] }
}

/// As the oracle writes them.
fn sorted(mut counts: Counts) -> Vec<u8> {
    counts.sort();
    counts.iter().flat_map(|(word, times)| [&word[..], format!("\t{times}\n").as_bytes()].concat()).collect()
}

/// Waits until some chunk of a step is done; a step that runs has an event a second.
async fn wait_some_done<O>(step: &StepHandle<O>) {
    let mut events = step.events().await.unwrap();
    for _ in 0..60 {
        if step.view().await.unwrap().progress.is_some_and(|it| it.chunks_done > 0) {
            return;
        }
        events.next().await.unwrap().unwrap();
    }
    panic!("{:?}", step.view().await);
}

/// A step that stands at its third line.
async fn submit_held(cluster: &Cluster, handle: &ClusterHandle) -> (StepHandle<Counts>, String) {
    let input = cluster.place().write("held.txt", HELD.concat());
    let marker = cluster.place().text("marker");
    let request = StepRequest::from(lines(&input)).param("hold", "hold here for a bit").param("marker", &marker);
    (handle.submit(&counting("holds_at_a_line"), request).await.unwrap(), marker)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_a_step_on_another_process_is_what_its_type_says() {
    let cluster = start(false);
    let handle = connect(&cluster);
    let input = cluster.place().write("input.txt", "to be or\nnot to be\nthat is the question\n");
    let step = handle.submit(&counting("word_count"), lines(&input)).await.unwrap();
    let finished = step.result().await.unwrap();
    assert_eq!((finished.step.id, finished.step.state), (step.id(), StepState::Completed));
    assert!(finished.audit.balanced() && finished.dead_letters.is_empty(), "{}", finished.audit);
    assert_equal(&sorted(finished.output), &counts_of_file(cluster.place(), &input));
    // Somebody else's step, by its number; and one of another type, which is refused by name.
    assert_eq!(handle.step(&counting("word_count"), StepId(1)).audit().await.unwrap(), finished.audit);
    let number = |lines: Flow<Text>| -> Single<u64> { lines.count() };
    let other = handle.step(&TypedProgram::new("word_count", number).unwrap(), step.id());
    let error = other.result().await.unwrap_err();
    let RunError::Output(error) = error else { panic!("{error}") };
    assert!(error.to_string().contains("Text, u64)>, and a u64 is asked for"), "{error}");

    let nowhere = handle.step(&counting("word_count"), StepId(9)).partial().await.unwrap_err();
    assert!(matches!(nowhere, RunError::Api(ApiError::NoStep(StepId(9)))), "{nowhere}");
    let unknown = handle.submit(&counting("unknown"), lines(&input)).await.unwrap_err();
    assert!(matches!(&unknown, ApiError::Invalid(it) if it.contains("this binary has")), "{unknown}");
    let items = handle.submit_items(&counting("word_count"), ["a b"], StepRequest::new()).await.unwrap_err();
    assert!(matches!(&items, ApiError::Invalid(it) if it.contains("register it there")), "{items}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_step_shows_its_partial_result_over_http_as_the_command_line_does() {
    let cluster = start(false);
    let handle = connect(&cluster);
    let (step, marker) = submit_held(&cluster, &handle).await;
    wait_some_done(&step).await;
    let partial = step.partial().await.unwrap();
    assert_eq!((partial.complete, partial.receipts_conceived), (false, 3));
    let done = usize::try_from(partial.receipts).unwrap();
    assert!((1..=2).contains(&done), "{done}");
    let first = cluster.place().write("first.txt", HELD[..done].concat());
    assert_equal(&sorted(partial.output), &counts_of_file(cluster.place(), &first));
    let printed = cluster.cli(&["result", &step.id().to_string(), "--format", "tsv"]).expect_code(0);
    assert!(printed.stderr.contains(&format!("partial: {done}/3 chunks so far")), "{}", printed.stderr);
    assert!(printed.text().contains("two\t"), "{}", printed.text());

    // Its events, to the end.
    let mut events = step.events().await.unwrap();
    std::fs::write(marker, "").unwrap();
    let mut last = None;
    while let Some(event) = events.next().await.unwrap() {
        assert_eq!(event.step(), Some(step.id()));
        last = Some(event);
    }
    assert!(matches!(last, Some(ClusterEventKind::Step { state: StepState::Completed, .. })), "{last:?}");
    assert!(step.partial().await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_comes_over_http_with_all_that_it_holds() {
    let cluster = start(false);
    let handle = connect(&cluster);
    let input = cluster.place().write("input.txt", [HELD[0], "the bad line of it!\n", HELD[1]].concat());
    let request = StepRequest::from(lines(&input)).param("bad", "the bad line of it!");
    let step = handle.submit(&counting("panics_on_a_line"), request).await.unwrap();
    let error = step.result().await.unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    assert_eq!((error.kind(), error.step.state), (StepErrorKind::UserPanic, StepState::Failed));
    let failure = error.failures.last().unwrap();
    assert_eq!((failure.node.as_str(), failure.item, failure.attempts), ("w1", Some(0), 1));
    assert!(failure.message.contains("the line that it panics on"), "{failure:?}");
    assert!(failure.log_tail.iter().any(|line| line.contains("connected master=master")), "{:?}", failure.log_tail);
    assert_eq!(error.audit.as_ref().unwrap().rows.set_aside.receipts, 1);
    let partial = error.partial.as_ref().unwrap();
    assert_eq!((partial.receipts, partial.receipts_conceived, partial.output.len()), (2, 3, 7));
    assert!(error.to_string().contains("docs/errors.md#user-panic"), "{error}");
    // The command line says the same.
    let shown = cluster.cli(&["step", &step.id().to_string(), "--json"]).expect_code(0);
    assert!(shown.text().contains("\"error_kind\":\"user-panic\""), "{}", shown.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_outlasts_a_master_that_is_killed_and_a_cancel_ends_its_step() {
    let mut cluster = start(true);
    let handle = connect(&cluster);
    let (step, marker) = submit_held(&cluster, &handle).await;
    let next = handle.submit(&counting("word_count"), lines(&cluster.place().text("held.txt"))).await.unwrap();
    assert_eq!(next.cancel().await.unwrap().state, StepState::Cancelled);
    wait_some_done(&step).await;
    let mut waiting = tokio::task::JoinSet::new();
    let waits = step.clone();
    waiting.spawn(async move { waits.result().await });
    wait_some_done(&step).await;
    cluster.kill_master();
    let away = step.view().await.unwrap_err();
    assert!(matches!(away, ApiError::Unreached(_)), "{away}");
    cluster.start_master();
    std::fs::write(marker, "").unwrap();
    let finished = waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_equal(&sorted(finished.output), &counts_of_file(cluster.place(), &cluster.place().text("held.txt")));
    let error = next.result().await.unwrap_err();
    assert!(
        matches!(&error, RunError::Step(it) if it.kind() == StepErrorKind::Cancelled && it.audit.is_none()),
        "{error}"
    );
}

#[test]
fn a_blocking_handle_asks_another_process_without_a_runtime() {
    let cluster = start(false);
    let url = format!("http://{}", cluster.admin_addr());
    let handle = elastic_flow::prelude::Cluster::connect_blocking_with_key(&url, &cluster.key_file()).unwrap();
    let input = cluster.place().write("input.txt", "to be or\nnot to be\n");
    let step = handle.submit(&counting("word_count"), lines(&input)).unwrap();
    let finished = step.result().unwrap();
    assert!(finished.audit.balanced(), "{}", finished.audit);
    assert_equal(&sorted(finished.output), &counts_of_file(cluster.place(), &input));
}

#[test]
fn a_key_file_that_is_not_there_is_named() {
    let cluster = start(false);
    let url = format!("http://{}", cluster.admin_addr());
    let missing = elastic_flow::prelude::Cluster::connect_with_key(&url, Path::new("/nowhere/key")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/key"), "{missing}");
}
