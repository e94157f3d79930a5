//! A cluster in this process: typed results, audits, failures and hooks, over the real shells and the in-memory transport.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use elastic_flow_dataflow::source::SourceSpec;
use elastic_flow_dataflow::{Flow, Single, Text, TypedProgram};
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::master::{Candidate, ChunkFacts, Distribute};
use elastic_flow_orchestrator::{
    ChunkEvent, Cluster, Counts, Interceptor, MakeMethod, MethodKind, RunError, StepError,
};
use elastic_flow_queue::StepState;
use elastic_flow_store::MemoryStore;
use serde::Deserialize;

fn count_words(lines: Flow<Text>) -> Flow<(Text, u64)> {
    lines.words().to_ascii_lowercase().counts()
}

fn sum(numbers: Flow<u64>) -> Single<u64> {
    numbers.filter(|it| it % 3 == 0).map(|it| it * 2).sum()
}

#[test]
fn words_of_an_iterator_are_counted_over_two_workers() {
    let program = TypedProgram::new("words", count_words).unwrap();
    let lines: Vec<String> = (0..20_000).map(|it| format!("The {} quick {}", it % 7, it % 100)).collect();
    let mut expected = BTreeMap::<String, u64>::new();
    for word in lines.iter().flat_map(|it| it.split(' ')) {
        *expected.entry(word.to_lowercase()).or_default() += 1;
    }
    let run = Cluster::local(2).run(&program, lines).unwrap();
    let found: BTreeMap<String, u64> =
        run.output.iter().map(|(word, count)| (word.to_str_lossy().into_owned(), *count)).collect();
    assert_eq!(found, expected);
    assert!(run.audit.balanced(), "{}", run.audit);
    assert_eq!(run.audit.rows.aggregated.entries, 20_000);
    assert_eq!(run.step.state, StepState::Completed);
}

#[test]
fn a_range_is_cut_on_the_master_and_summed_by_the_workers() {
    let program = TypedProgram::new("sum", sum).unwrap();
    let run = Cluster::local(3).slots(2).run_source(&program, SourceSpec::Range { start: 0, end: 5_000_000 }).unwrap();
    assert_eq!(run.output, (0..5_000_000_u64).filter(|it| it % 3 == 0).map(|it| it * 2).sum::<u64>());
    assert!(run.audit.rows.aggregated.receipts > 1);
    assert!(run.audit.balanced(), "{}", run.audit);
}

#[test]
fn plain_items_come_back_in_source_order() {
    let program = TypedProgram::new("squares", |it: Flow<u64>| it.map(|it| it * it)).unwrap();
    let run = Cluster::local(4).run(&program, 0..50_000_u64).unwrap();
    assert_eq!(run.output, (0..50_000_u64).map(|it| it * it).collect::<Vec<_>>());
}

#[test]
fn an_empty_source_completes_with_an_empty_result() {
    let program = TypedProgram::new("words", count_words).unwrap();
    let run = Cluster::local(2).run(&program, Vec::<String>::new()).unwrap();
    assert!(run.output.is_empty());
    assert!(run.audit.balanced(), "{}", run.audit);
}

#[test]
fn a_chunk_that_always_fails_is_set_aside_by_name_and_all_others_count() {
    let program = TypedProgram::new("fails", |it: Flow<u64>| {
        it.inspect(|it| assert!(*it != 4_321, "four three two one")).count()
    })
    .unwrap();
    let settings = Settings { retry_backoff: Duration::from_millis(1), ..Settings::default() };
    let error = Cluster::local(2).settings(settings).run(&program, 0..30_000_u64).unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    let StepError { step, audit, failures, .. } = *error;
    let audit = audit.unwrap();
    assert_eq!(step.state, StepState::Failed);
    assert!(step.reason.unwrap().contains("four three two one"));
    assert_eq!(audit.rows.aggregated.receipts, 9);
    assert_eq!(audit.rows.set_aside.receipts, 1);
    assert_eq!(audit.rows.aggregated.entries, 27_000);
    assert!(audit.balanced(), "{audit}");
    let last = failures.last().unwrap();
    assert!(last.set_aside && last.attempts == 4, "{last:?}");
    assert_eq!(last.item, Some(1_321), "the position within its chunk");
}

#[test]
fn an_attempt_that_fails_once_is_tried_again() {
    static FAILED: AtomicU32 = AtomicU32::new(0);
    let flow = |it: Flow<u64>| {
        it.try_map(|it| if it == 7_000 && FAILED.fetch_add(1, Ordering::SeqCst) == 0 { Err("not yet") } else { Ok(it) })
            .sum()
    };
    let program = TypedProgram::new("flaky", flow).unwrap();
    let run = Cluster::local(2).run(&program, 0..30_000_u64).unwrap();
    assert_eq!(run.output, (0..30_000_u64).sum::<u64>());
    assert_eq!(run.audit.rows.retried.receipts, 1);
    assert_eq!(run.audit.rows.failed.receipts, 1);
}

#[test]
fn a_chunk_whose_file_was_written_to_while_it_was_read_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    // More than is read at a time, and with a time of modification that any later write changes.
    std::fs::write(&path, "first\n".to_owned() + &"a line\n".repeat(400_000)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let patched = path.clone();
    let flow = move |lines: Flow<Text>| {
        let patched = patched.clone();
        // The ends of the file stay, so that a second reader would find it as it should be.
        let patch = move |line: &Text| {
            if **line == *b"first" {
                use std::io::{Seek, SeekFrom, Write};
                let mut file = std::fs::OpenOptions::new().write(true).open(&patched).unwrap();
                file.seek(SeekFrom::Start(2_000_000)).unwrap();
                file.write_all(b"\n\n\n").unwrap();
            }
        };
        lines.inspect(patch).count()
    };
    let program = TypedProgram::new("patches", flow).unwrap();
    let source = SourceSpec::Lines { paths: vec![path.to_str().unwrap().to_owned()] };
    let settings = Settings { chunk_bytes: 4 << 20, chunk_adapts: false, ..Settings::default() };
    let error = Cluster::local(2).settings(settings).run_source(&program, source).unwrap_err();
    let RunError::Step(error) = error else { panic!("{error}") };
    let StepError { audit, failures, .. } = *error;
    let audit = audit.unwrap();
    let [failure] = &failures[..] else { panic!("{failures:?}") };
    assert!(failure.set_aside && failure.attempts == 1, "{failure:?}");
    assert!(
        failure.message.contains("changed while it was read (2800006 bytes at submission, 2800006 now)"),
        "{failure:?}"
    );
    assert_eq!((audit.rows.aggregated.receipts, audit.rows.set_aside.receipts), (0, 1), "{audit}");
    assert!(audit.balanced() && audit.notes.len() == 1 && audit.notes[0].contains("was written to"), "{audit}");
}

#[derive(Debug, Default)]
struct Seen {
    complete: Mutex<Vec<Counts>>,
    aggregated: AtomicU32,
    processed: AtomicU32,
    states: Mutex<Vec<StepState>>,
}

impl Interceptor for Seen {
    fn processed(&self, event: &ChunkEvent) {
        assert!(event.node.starts_with("worker-"), "{event:?}");
        self.processed.fetch_add(1, Ordering::SeqCst);
    }

    fn aggregated(&self, event: &ChunkEvent) {
        assert_eq!(event.node, "master");
        self.aggregated.fetch_add(1, Ordering::SeqCst);
    }

    fn chunk_complete(&self, _event: &ChunkEvent, counts: Counts) {
        self.complete.lock().unwrap().push(counts);
    }

    fn step_changed(&self, _step: elastic_flow_receipt::StepId, _from: Option<StepState>, to: StepState) {
        self.states.lock().unwrap().push(to);
    }
}

#[test]
fn interceptors_see_every_chunk_on_both_sides() {
    let seen = Arc::new(Seen::default());
    let program = TypedProgram::new("count", |it: Flow<u64>| it.count()).unwrap();
    let run = Cluster::local(2).interceptor(Arc::<Seen>::clone(&seen)).run(&program, 0..30_000_u64).unwrap();
    assert_eq!(run.output, 30_000);
    assert_eq!(seen.aggregated.load(Ordering::SeqCst), 10);
    assert_eq!(seen.processed.load(Ordering::SeqCst), 10);
    let complete = seen.complete.lock().unwrap();
    assert_eq!(complete.len(), 10);
    assert_eq!(complete.last().unwrap().aggregated, 10);
    assert_eq!(*seen.states.lock().unwrap(), [StepState::Pending, StepState::Running, StepState::Completed]);
}

/// Chunks of one item each, given out one at a time.
fn item_by_item() -> Settings {
    Settings { chunk_items: 1, open_per_slot: 1, task_chunks_max: 1, ..Settings::default() }
}

#[test]
fn as_many_chunks_are_worked_on_at_once_as_there_are_workers_times_slots() {
    for (cluster, threads) in [(Cluster::local(3), 3_u64), (Cluster::local(1).slots(2), 2), (Cluster::local(0), 1)] {
        let gate = Arc::new((Mutex::new(0), Condvar::new()));
        let flow = move |it: Flow<u64>| {
            let gate = Arc::clone(&gate);
            let meet = move |_: &u64| {
                let (inside, came) = &*gate;
                let mut inside = inside.lock().unwrap();
                *inside += 1;
                came.notify_all();
                let waited = came.wait_timeout_while(inside, Duration::from_secs(20), |it| *it < threads).unwrap().1;
                assert!(!waited.timed_out(), "{threads} chunks are to be here at once");
            };
            it.inspect(meet).count()
        };
        let settings = Settings { max_attempts: 1, ..item_by_item() };
        let program = TypedProgram::new("meets", flow).unwrap();
        let run = cluster.settings(settings).run(&program, 0..threads).unwrap();
        assert_eq!(run.output, threads);
    }
}

#[derive(Deserialize)]
struct Factor {
    factor: u64,
}

#[test]
fn the_program_gets_the_parameters_of_the_cluster() {
    let flow = |it: Flow<u64>, Factor { factor }: Factor| it.map(move |it| it * factor).sum();
    let program = TypedProgram::new("scaled", flow).unwrap();
    assert_eq!(Cluster::local(1).param("factor", "7").run(&program, 1..=3_u64).unwrap().output, 42);
}

#[test]
fn settings_say_how_the_source_is_cut() {
    let program = TypedProgram::new("count", |it: Flow<u64>| it.count()).unwrap();
    let settings = Settings { chunk_items: 100, ..Settings::default() };
    let run = Cluster::local(2).settings(settings).run(&program, 0..1_000_u64).unwrap();
    assert_eq!((run.output, run.audit.rows.aggregated.receipts), (1_000, 10));
}

/// Counts how often it is asked.
#[derive(Debug)]
struct Asked;

static ASKED: AtomicU32 = AtomicU32::new(0);

impl Distribute for Asked {
    fn pick(&mut self, _chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
        assert!(!candidates.is_empty());
        ASKED.fetch_add(1, Ordering::SeqCst);
        0
    }
}

#[test]
fn a_method_of_ones_own_is_asked_for_every_task() {
    let program = TypedProgram::new("count", |it: Flow<u64>| it.count()).unwrap();
    let method = MethodKind::Custom(MakeMethod::new(|| Asked));
    let run = Cluster::local(2).method(method).settings(item_by_item()).run(&program, 0..9_u64).unwrap();
    assert_eq!((run.output, ASKED.load(Ordering::SeqCst)), (9, 9));
}

#[test]
fn a_second_run_over_the_same_store_is_the_next_step() {
    let program = TypedProgram::new("count", |it: Flow<u64>| it.count()).unwrap();
    let cluster = Cluster::local(1).store(Arc::new(MemoryStore::new()));
    let steps = [(); 2].map(|()| cluster.run(&program, 0..9_u64).unwrap().step.id.0);
    assert_eq!(steps, [1, 2]);
}

/// Takes its time with every chunk.
#[derive(Debug, Default)]
struct Slow(AtomicU32);

impl Interceptor for Slow {
    fn processed(&self, _event: &ChunkEvent) {
        std::thread::sleep(Duration::from_millis(20));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_run_returns_when_the_slowest_hook_has_seen_everything_and_no_node_is_left() {
    let slow = Arc::new(Slow::default());
    let program = TypedProgram::new("count", |it: Flow<u64>| it.count()).unwrap();
    Cluster::local(2).interceptor(Arc::<Slow>::clone(&slow)).run(&program, 0..30_000_u64).unwrap();
    assert_eq!((slow.0.load(Ordering::SeqCst), Arc::strong_count(&slow)), (10, 1));
}
