//! Windows over real shells: results stay what they are, no window is torn, and a step keeps its window over a restart.
#![allow(clippy::type_complexity, clippy::panic, reason = "a test fails by panicking, and names its types in full")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use elastic_flow_clock::SystemClock;
use elastic_flow_dataflow::source::{SourceSpec, Window};
use elastic_flow_dataflow::{Flow, Text, TypedProgram};
use elastic_flow_orchestrator::api::ReceiptFilter;
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::{
    ChunkEvent, Cluster, Interceptor, KeepPayloads, Master, MasterConfig, MasterHandle, MethodKind, NodeConfig,
    Programs, RunError, StartError, StepError, StopMode, Submission, Worker, WorkerConfig,
};
use elastic_flow_queue::{OnFailure, StepState};
use elastic_flow_store::{Durability, MemoryStore, Store};
use elastic_flow_transport::Memory;
use elastic_flow_wire::{Compression, Keys, Secret};

/// The first and the last item of every chunk, and how many there are.
fn ends<T: elastic_flow_dataflow::Data + Clone>(
    items: Flow<T>,
) -> Flow<(T, T, u64), impl elastic_flow_dataflow::Chain<Item = (T, T, u64), Output = Vec<(T, T, u64)>>> {
    items.map_batch(usize::MAX, |chunk: Vec<T>| {
        let both = chunk.first().cloned().zip(chunk.last().cloned());
        both.map(|(first, last)| (first, last, chunk.len() as u64)).into_iter().collect::<Vec<_>>()
    })
}

fn small() -> Settings {
    Settings { chunk_bytes: 512, chunk_adapts: false, chunk_items: 64, ..Settings::default() }
}

fn by_tens(before: &u64, after: &u64) -> bool {
    before / 10 != after / 10
}

fn by_hundreds(before: &u64, after: &u64) -> bool {
    before / 100 != after / 100
}

#[test]
fn no_window_of_an_iterator_is_in_two_chunks() {
    let program = TypedProgram::new("ends", ends::<u64>).unwrap();
    let numbers: Vec<u64> = (0..5_000).flat_map(|number| vec![number; usize::try_from(number % 7).unwrap()]).collect();
    let run = Cluster::local(2).settings(small()).window("by_tens", by_tens).run(&program, numbers.clone()).unwrap();
    assert!(run.audit.balanced(), "{}", run.audit);
    assert_eq!(run.output.iter().map(|(_, _, count)| count).sum::<u64>(), numbers.len() as u64);
    assert!(run.output.len() > 100 && run.output.iter().all(|(_, _, count)| (60..130).contains(count)));
    for pair in run.output.windows(2) {
        assert!(by_tens(&pair[0].1, &pair[1].0), "{pair:?}");
    }
    let sum = TypedProgram::new("sum", |numbers: Flow<u64>| numbers.sum()).unwrap();
    let windowed = Cluster::local(2).settings(small()).window("by_tens", by_tens).run(&sum, numbers.clone()).unwrap();
    let plain = Cluster::local(2).settings(small()).run(&sum, numbers).unwrap();
    assert_eq!(windowed.output, plain.output);
}

#[test]
fn no_window_of_a_range_is_in_two_chunks() {
    let program = TypedProgram::new("ends", ends::<u64>).unwrap();
    let source = SourceSpec::Range { start: 5, end: 1_000 };
    let run = Cluster::local(2).settings(small()).window("by_tens", by_tens).run_source(&program, source).unwrap();
    assert!(run.audit.balanced(), "{}", run.audit);
    assert_eq!(run.output.first().map(|(first, last, _)| (*first, *last)), Some((5, 69)));
    assert!(run.output.iter().all(|(_, last, _)| last % 10 == 9), "{:?}", run.output);
}

#[test]
fn no_window_of_a_file_is_in_two_chunks() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for hour in 0..200 {
        (0..hour % 40).for_each(|line| writeln!(file, "{hour:03} line {line}").unwrap());
    }
    let by_hour = |before: &[u8], after: &[u8]| before.get(..3) != after.get(..3);
    let program = TypedProgram::new("ends", ends::<Text>).unwrap();
    let source = SourceSpec::Lines { paths: vec![file.path().to_str().unwrap().to_owned()] };
    let run = Cluster::local(2).settings(small()).window("by_hour", by_hour).run_source(&program, source).unwrap();
    assert!(run.audit.balanced(), "{}", run.audit);
    let lines: u64 = (0..200).map(|hour| hour % 40).sum();
    assert_eq!(run.output.iter().map(|(_, _, count)| count).sum::<u64>(), lines);
    assert!(run.output.len() > 50);
    for pair in run.output.windows(2) {
        assert!(by_hour(&pair[0].1, &pair[1].0), "{pair:?}");
    }
}

/// Why the step of a cluster failed.
fn reason<O>(error: RunError<O>) -> String {
    let RunError::Step(error) = error else { panic!("{error}") };
    let StepError { step, audit, .. } = *error;
    let audit = audit.unwrap();
    assert_eq!(step.state, StepState::Failed);
    assert!(audit.balanced(), "{audit}");
    step.reason.unwrap()
}

#[test]
fn a_window_over_another_type_fails_the_step_by_name() {
    let program = TypedProgram::new("ends", ends::<u32>).unwrap();
    let failed = Cluster::local(1).window("by_tens", by_tens).run(&program, 0..10_u32).unwrap_err();
    let reason = reason(failed);
    for named in ["\"by_tens\"", "u64", "iterator of the caller", "u32", "distribute.window"] {
        assert!(reason.contains(named), "{reason}");
    }
}

#[test]
fn a_window_without_end_fails_the_step_with_its_name_and_the_size() {
    let program = TypedProgram::new("count", |items: Flow<String>| items.count()).unwrap();
    let long = std::iter::repeat_n("x".repeat(1 << 20), 100);
    let never = |_: &String, _: &String| false;
    let reason = reason(Cluster::local(1).window("never", never).run(&program, long).unwrap_err());
    assert!(reason.contains("\"never\"") && reason.contains("67108864 bytes"), "{reason}");
}

#[test]
fn a_window_that_panics_fails_the_step() {
    let program = TypedProgram::new("ends", ends::<u64>).unwrap();
    let bad = |before: &u64, _: &u64| *before < 200 || panic!("not this one");
    let failed = Cluster::local(1).settings(small()).window("bad", bad).run(&program, 0..1_000_u64).unwrap_err();
    let reason = reason(failed);
    assert!(reason.contains("panicked"), "{reason}");
}

/// Holds back whoever asks until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

/// Says when a chunk is in the aggregate.
#[derive(Debug)]
struct Aggregated(SyncSender<()>);

impl Interceptor for Aggregated {
    fn aggregated(&self, _event: &ChunkEvent) {
        self.0.try_send(()).ok();
    }
}

/// A cluster of which parts can be stopped.
struct Parts {
    programs: Arc<Programs>,
    store: Arc<dyn Store>,
    net: Memory,
    aggregated: Arc<dyn Interceptor>,
}

impl Parts {
    fn node(name: &str) -> NodeConfig {
        NodeConfig {
            cluster: "windows".to_owned(),
            name: name.to_owned(),
            keys: Keys::derive(&Secret::from_bytes([7; 32]), "windows").into(),
            key_given: false,
            compress: Compression::Auto,
            heartbeat_every: Duration::from_secs(1),
            dead_after: Duration::from_secs(30),
            insecure_plaintext: false,
            build: 0,
            shutdown_grace: Duration::from_secs(5),
        }
    }

    async fn master(&self, window: Option<&str>) -> Result<Master, StartError> {
        let config = MasterConfig {
            node: Self::node("master"),
            listen: "master".to_owned(),
            advertise: None,
            method: MethodKind::default(),
            monitor: None,
            window: window.map(str::to_owned),
            settings: Settings { task_chunks_max: 1, ..small() },
            durability: Durability::Os,
            keep_payloads: KeepPayloads::default(),
            keep_results: Duration::from_secs(3_600),
            min_workers: 0,
            expected: Vec::new(),
        };
        let (programs, store) = (Arc::clone(&self.programs), Arc::clone(&self.store));
        let interceptors = vec![Arc::clone(&self.aggregated)];
        Master::start(config, programs, interceptors, store, self.net.clone(), Arc::new(SystemClock::new())).await
    }

    async fn worker(&self, master: &Master) -> Worker {
        let config = WorkerConfig {
            node: Self::node("worker"),
            master: master.local_addr().to_owned(),
            listen: None,
            advertise: None,
            slots: 1,
            roots: elastic_flow_dataflow::source::DataRoots::default(),
            log_tail: None,
            metrics: None,
        };
        let clock = Arc::new(SystemClock::new());
        Worker::start(config, Arc::clone(&self.programs), Vec::new(), self.net.clone(), clock).await.unwrap()
    }
}

fn submission(program: &str) -> Submission {
    Submission {
        program: program.to_owned(),
        inputs: vec![("input".to_owned(), SourceSpec::Range { start: 0, end: 5_005 })],
        params: Vec::new(),
        on_failure: OnFailure::Continue,
        key: None,
        label: None,
        allow_missing_servers: false,
    }
}

#[test]
fn a_step_keeps_its_window_over_a_restart_with_another_configuration() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let flow = move |numbers: Flow<u64>| {
        let held = Arc::clone(&held);
        numbers
            .inspect(move |number| {
                if *number >= 300 {
                    held.pass()
                }
            })
            .count()
    };
    let mut programs = Programs::new();
    programs.register(Arc::new(TypedProgram::new("held", flow).unwrap())).unwrap();
    programs.register_window(Window::new("by_tens", by_tens)).unwrap();
    programs.register_window(Window::new("by_hundreds", by_hundreds)).unwrap();
    let (said, aggregated) = sync_channel(1_000);
    let parts = Parts {
        programs: Arc::new(programs),
        store: Arc::new(MemoryStore::new()),
        net: Memory::new(),
        aggregated: Arc::new(Aggregated(said)),
    };
    runtime.block_on(async {
        let master = parts.master(Some("by_tens")).await.unwrap();
        let worker = parts.worker(&master).await;
        let step = master.handle().submit(submission("held")).await.unwrap();
        let later = master.handle().submit(submission("held")).await.unwrap();
        aggregated.recv_timeout(Duration::from_secs(60)).unwrap();
        master.stop(StopMode::Now).await;
        gate.open();
        worker.stop(Duration::from_secs(5)).await;

        let master = parts.master(Some("by_hundreds")).await.unwrap();
        let worker = parts.worker(&master).await;
        let handle = master.handle();
        let fresh = handle.submit(submission("held")).await.unwrap();
        for (step, window) in [(step, 10), (later, 10), (fresh, 100)] {
            let view = handle.wait(step).await.unwrap();
            assert!(MasterHandle::completed(&view), "{view:?}");
            let audit = handle.audit(step).await.unwrap();
            assert!(audit.balanced(), "{audit}");
            let filter = ReceiptFilter { limit: 1_000, ..ReceiptFilter::default() };
            let receipts = handle.receipts(step, filter).await.unwrap();
            let ends: Vec<u64> = receipts.iter().map(|it| it.covers[0].1 + it.covers[0].2).collect();
            // The first end of a window that is 64 numbers away.
            let mut expected = vec![64_u64.next_multiple_of(window)];
            while expected[expected.len() - 1] < 5_005 {
                let nominal = expected[expected.len() - 1] + 64;
                expected.push(nominal.next_multiple_of(window).min(5_005));
            }
            assert_eq!(ends, expected, "step {step}");
        }
        worker.stop(Duration::ZERO).await;
        master.stop(StopMode::Now).await;
    });
}

#[test]
fn a_master_with_an_unknown_window_does_not_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut programs = Programs::new();
    programs.register_window(Window::new("by_tens", by_tens)).unwrap();
    assert!(programs.register_window(Window::new("by_tens", by_tens)).is_err(), "a name is taken once");
    let store = Arc::new(MemoryStore::new());
    let (said, _) = sync_channel(1);
    let (programs, aggregated) = (Arc::new(programs), Arc::new(Aggregated(said)));
    let parts = Parts { programs, store, net: Memory::new(), aggregated };
    let refused = runtime.block_on(parts.master(Some("by_ten"))).unwrap_err();
    assert!(matches!(refused, StartError::UnknownWindow(_)), "{refused}");
    assert!(refused.to_string().contains("`by_ten`; this binary has by_tens"), "{refused}");
}
