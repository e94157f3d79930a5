//! Replays over the real shells: what a step and its replays did comes to the whole source, once, and their audits prove it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use elastic_flow_clock::{Clock, Mono, SystemClock, Wall};
use elastic_flow_dataflow::source::{DataRoots, EncodedItems, SourceSpec};
use elastic_flow_dataflow::{Flow, Single, TypedProgram};
use elastic_flow_orchestrator::api::ReceiptFilter;
use elastic_flow_orchestrator::config::Settings;
use elastic_flow_orchestrator::{
    Interceptors, KeepPayloads, Master, MasterConfig, MasterHandle, MethodKind, NodeConfig, Programs, StopMode,
    Submission, Worker, WorkerConfig,
};
use elastic_flow_queue::StepState;
use elastic_flow_receipt::{Audit, ReceiptId, Station, StepId};
use elastic_flow_store::{Durability, MemoryStore, Store};
use elastic_flow_transport::Memory;
use elastic_flow_wire::{Compression, Keys, Secret};
use tokio::sync::Mutex;

const NAME: &str = "replays";
const ITEMS: u64 = 10_000;
const CHUNK_ITEMS: u64 = 1_000;

/// Stands among the bad items for the merging of results.
const MERGING: u64 = u64::MAX;
/// Stands among them for the merging that makes the result whole.
const LAST: u64 = u64::MAX - 1;

/// The items that fail, as the tests like it.
type Bad = Arc<Mutex<BTreeSet<u64>>>;

/// How long results are kept.
const KEPT: Duration = Duration::from_secs(3_600);

/// A clock whose wall time can be set ahead.
#[derive(Debug, Default)]
struct Ahead {
    clock: SystemClock,
    nanos: AtomicU64,
}

impl Clock for Ahead {
    fn now(&self) -> Mono {
        self.clock.now()
    }

    fn wall(&self) -> Wall {
        Wall::from_unix_nanos(self.clock.wall().unix_nanos() + self.nanos.load(Ordering::SeqCst))
    }
}

/// A master and a worker in this process, and a program that sums numbers, except the bad ones, on which it fails.
struct Bench {
    master: Master,
    worker: Worker,
    store: Arc<MemoryStore>,
    bad: Bad,
    clock: Arc<Ahead>,
}

fn node(name: &str) -> NodeConfig {
    NodeConfig {
        cluster: NAME.to_owned(),
        name: name.to_owned(),
        keys: Keys::derive(&Secret::from_bytes([7; 32]), NAME).into(),
        key_given: false,
        compress: Compression::Off,
        heartbeat_every: Duration::from_secs(1),
        dead_after: Duration::from_secs(30),
        insecure_plaintext: false,
        build: 0,
        shutdown_grace: Duration::from_secs(5),
    }
}

impl Bench {
    async fn start(keep_payloads: KeepPayloads, max_skips: u64) -> Self {
        let bad = Bad::default();
        let failing = Arc::clone(&bad);
        let sum = move |numbers: Flow<u64>| -> Single<u64> {
            let (bad, merging) = (Arc::clone(&failing), Arc::clone(&failing));
            let good = move |it| if bad.blocking_lock().contains(&it) { Err(format!("{it} is bad")) } else { Ok(it) };
            let merge = move |a, b| {
                let bad = merging.blocking_lock();
                assert!(!bad.contains(&MERGING), "no merging today");
                assert!(!bad.contains(&LAST) || a + b != (0..ITEMS).sum::<u64>(), "no last merging today");
                a + b
            };
            numbers.try_map(good).fold(|| 0, |sum, it| sum + it, merge)
        };
        let mut programs = Programs::new();
        programs.register(Arc::new(TypedProgram::new("sum", sum).unwrap())).unwrap();
        let programs = Arc::new(programs);
        let settings = Settings {
            max_attempts: 1,
            max_skips,
            chunk_adapts: false,
            chunk_bytes: 8 * CHUNK_ITEMS,
            chunk_items: CHUNK_ITEMS,
            task_chunks_max: 1,
            open_per_slot: 1,
            retry_backoff: Duration::from_millis(1),
            ..Settings::default()
        };
        let config = MasterConfig {
            node: node("master"),
            listen: "master".to_owned(),
            advertise: None,
            method: MethodKind::default(),
            monitor: None,
            window: None,
            settings,
            durability: Durability::Os,
            keep_payloads,
            keep_results: KEPT,
            min_workers: 0,
            expected: Vec::new(),
        };
        let (store, net) = (Arc::new(MemoryStore::new()), Memory::new());
        let ahead = Arc::new(Ahead::default());
        let clock: Arc<dyn Clock> = Arc::<Ahead>::clone(&ahead);
        let kept: Arc<dyn Store> = Arc::<MemoryStore>::clone(&store);
        let (hooks, clock_of_master) = (Interceptors::default(), Arc::clone(&clock));
        let master = Master::start(config, Arc::clone(&programs), hooks, kept, net.clone(), clock_of_master).await;
        let master = master.unwrap();
        let config = WorkerConfig {
            node: node("w1"),
            master: master.local_addr().to_owned(),
            listen: None,
            advertise: None,
            slots: 2,
            roots: DataRoots::default(),
            log_tail: None,
            metrics: None,
        };
        let worker = Worker::start(config, programs, Interceptors::default(), net, clock).await.unwrap();
        Self { master, worker, store, bad, clock: ahead }
    }

    fn handle(&self) -> MasterHandle {
        self.master.handle()
    }

    fn submission() -> Submission {
        Submission {
            program: "sum".to_owned(),
            inputs: vec![("input".to_owned(), SourceSpec::Range { start: 0, end: ITEMS })],
            params: Vec::new(),
            on_failure: elastic_flow_queue::OnFailure::default(),
            key: None,
            label: None,
            allow_missing_servers: false,
        }
    }

    /// From here on these items, and no others, fail.
    async fn fail_on(&self, items: &[u64]) {
        *self.bad.lock().await = items.iter().copied().collect();
    }

    /// Runs the range with some bad items.
    async fn run(&self, bad: &[u64]) -> StepId {
        self.fail_on(bad).await;
        let step = self.handle().submit(Self::submission()).await.unwrap();
        self.end(step, StepState::Failed).await;
        step
    }

    /// Replays a step; some items are bad still.
    async fn replay(&self, step: StepId, bad: &[u64], end: StepState) -> (StepId, Audit) {
        self.fail_on(bad).await;
        let replay = self.handle().replay(step).await.unwrap();
        self.end(replay, end).await;
        (replay, self.handle().audit(replay).await.unwrap())
    }

    async fn end(&self, step: StepId, state: StepState) {
        let view = self.handle().wait(step).await.unwrap();
        assert_eq!(view.state, state, "{view:?}");
    }

    /// Whether the result of a step is that of the whole range.
    async fn assert_whole(&self, step: StepId) {
        let mut rows = Vec::new();
        let result = self.handle().result(step).await.unwrap();
        MasterHandle::write(&result, elastic_flow_dataflow::format::Format::Tsv, &mut rows).unwrap();
        let sum: u64 = (0..ITEMS).sum();
        assert_eq!(String::from_utf8(rows).unwrap().lines().last(), Some(sum.to_string().as_str()));
    }

    async fn stop(self) {
        self.worker.stop(Duration::ZERO).await;
        self.master.stop(StopMode::Now).await;
    }
}

fn bench(keep_payloads: KeepPayloads, test: impl AsyncFnOnce(&Bench)) {
    bench_with_skips(0, keep_payloads, test);
}

fn bench_with_skips(max_skips: u64, keep_payloads: KeepPayloads, test: impl AsyncFnOnce(&Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::start(keep_payloads, max_skips).await;
        test(&bench).await;
        bench.stop().await;
    });
}

#[test]
fn the_audit_of_a_replay_proves_that_the_source_is_covered_with_the_step_that_it_replays() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[4_321]).await;
        let (replay, audit) = bench.replay(first, &[], StepState::Completed).await;
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        assert_eq!(audit.replay_of, Some(first));
        assert_eq!(
            audit.line(),
            "audit: 1 chunk conceived = 1 aggregated + 0 set aside + 0 abandoned; 8,000 of 8,000 bytes read; \
             together with step 1: 80,000 of 80,000 bytes read: balanced"
        );
        let part = &audit.coverage.by_part[0];
        assert_eq!((part.length, part.covered, part.covered_before), (Some(ITEMS), ITEMS, ITEMS - CHUNK_ITEMS));
        assert_eq!(audit.missing.total.receipts, 0);
        bench.assert_whole(replay).await;
    });
}

#[test]
fn a_replay_of_a_replay_is_audited_with_both() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[1, 4_321]).await;
        let (second, audit) = bench.replay(first, &[4_321], StepState::Failed).await;
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        assert!(audit.line().ends_with("together with step 1: 72,000 of 80,000 bytes read: balanced"), "{audit}");
        let (third, audit) = bench.replay(second, &[], StepState::Completed).await;
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        let end = "together with steps 2 and 1: 80,000 of 80,000 bytes read: balanced";
        assert!(audit.line().ends_with(end), "{}", audit.line());
        assert_eq!(audit.rows.conceived.receipts, 1);
        bench.assert_whole(third).await;
    });
}

#[test]
fn what_a_cancelled_step_did_not_cut_is_covered_by_its_replay() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        // While the lock is held no item is worked on, so the step cannot end before it is cancelled.
        let held = bench.bad.lock().await;
        let step = bench.handle().submit(Bench::submission()).await.unwrap();
        bench.handle().cancel(step).await.unwrap();
        drop(held);
        bench.end(step, StepState::Cancelled).await;
        let audit = bench.handle().audit(step).await.unwrap();
        assert!(audit.rows.conceived.receipts < ITEMS / CHUNK_ITEMS, "it was not cut to its end: {audit}");
        let (replay, audit) = bench.replay(step, &[], StepState::Completed).await;
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        assert!(audit.line().ends_with("together with step 1: 80,000 of 80,000 bytes read: balanced"), "{audit}");
        bench.assert_whole(replay).await;
    });
}

#[test]
fn without_the_account_of_the_step_coverage_is_not_proven_and_the_audit_says_so() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[4_321]).await;
        bench.store.delete(first, "account").unwrap();
        let (replay, audit) = bench.replay(first, &[], StepState::Completed).await;
        assert!(audit.balanced() && !audit.coverage.proven, "{audit}");
        let end = "8,000 of 8,000 bytes read; coverage not proven without the account of step 1: balanced";
        assert!(audit.line().ends_with(end), "{}", audit.line());
        bench.assert_whole(replay).await;
    });
}

#[test]
fn a_replay_that_lacks_a_chunk_fails_its_audit_by_the_stretch_that_is_not_covered() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[1, 4_321]).await;
        let left = bench.store.list(first).unwrap();
        let receipt = left.iter().find(|it| it.name.starts_with("11-")).unwrap();
        bench.store.delete(first, &receipt.name).unwrap();
        let (replay, audit) = bench.replay(first, &[], StepState::Failed).await;
        assert!(!audit.balanced(), "{audit}");
        let fault = &audit.coverage.faults[0];
        assert_eq!((fault.offset, fault.length), (0, CHUNK_ITEMS));
        let reason = bench.handle().step(replay).await.unwrap().reason.unwrap();
        assert!(reason.contains("1 fault in the coverage"), "{reason}");
    });
}

#[test]
fn a_replay_without_the_kept_result_is_refused_by_name() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[4_321]).await;
        bench.store.delete(first, "result").unwrap();
        let replay = bench.handle().replay(first).await.unwrap();
        bench.end(replay, StepState::Failed).await;
        let reason = bench.handle().step(replay).await.unwrap().reason.unwrap();
        assert!(reason.contains("step 1 has no kept result, and 9 of its chunks were in it alone"), "{reason}");
    });
}

#[test]
fn what_a_replay_waits_to_go_on_from_is_kept_for_as_long() {
    bench_with_skips(1, KeepPayloads::Unfinished, async |bench: &Bench| {
        bench.fail_on(&[4_321]).await;
        let first = bench.handle().submit(Bench::submission()).await.unwrap();
        bench.end(first, StepState::CompletedWithSkips).await;
        let mut held = bench.bad.lock().await;
        // What was kept long enough goes when a step ends: the first of these two, with the other before the replay.
        let second = bench.handle().submit(Bench::submission()).await.unwrap();
        let third = bench.handle().submit(Bench::submission()).await.unwrap();
        let replay = bench.handle().replay(first).await.unwrap();
        bench.clock.nanos.store(2 * u64::try_from(KEPT.as_nanos()).unwrap(), Ordering::SeqCst);
        held.clear();
        drop(held);
        bench.end(second, StepState::Completed).await;
        bench.end(third, StepState::Completed).await;
        bench.end(replay, StepState::Completed).await;
        let audit = bench.handle().audit(replay).await.unwrap();
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        bench.assert_whole(replay).await;
    });
}

#[test]
fn a_step_whose_last_result_cannot_be_merged_fails() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let step = bench.run(&[LAST]).await;
        let reason = bench.handle().step(step).await.unwrap().reason.unwrap();
        assert!(reason.contains("the aggregator panicked"), "{reason}");
    });
}

#[test]
fn a_result_into_which_merging_failed_is_not_replayed_from() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[4_321, MERGING]).await;
        let reason = bench.handle().step(first).await.unwrap().reason.unwrap();
        assert!(reason.contains("the aggregator panicked"), "{reason}");
        bench.fail_on(&[]).await;
        let replay = bench.handle().replay(first).await.unwrap();
        bench.end(replay, StepState::Failed).await;
        let reason = bench.handle().step(replay).await.unwrap().reason.unwrap();
        assert!(reason.contains("step 1 has no kept result"), "{reason}");
    });
}

#[test]
fn what_was_kept_before_it_was_done_is_not_done_again_by_a_replay() {
    bench(KeepPayloads::Always, async |bench: &Bench| {
        bench.fail_on(&[4_321]).await;
        let items = Box::new(EncodedItems::new(0..ITEMS));
        let first = bench.handle().submit_items(Bench::submission(), items).await.unwrap();
        bench.end(first, StepState::Failed).await;
        let (replay, audit) = bench.replay(first, &[], StepState::Completed).await;
        assert_eq!(audit.rows.conceived.receipts, 1, "{audit}");
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        bench.assert_whole(replay).await;
    });
}

#[test]
fn a_payload_that_a_power_cut_brought_back_is_not_done_again() {
    bench(KeepPayloads::Unfinished, async |bench: &Bench| {
        let first = bench.run(&[4_321]).await;
        let filter = ReceiptFilter { station: Some(Station::Aggregated.to_string()), ..ReceiptFilter::default() };
        let done = bench.handle().receipts(first, filter).await.unwrap().swap_remove(0);
        // Deletions are not synced: what was kept of a chunk before it was done can be there again.
        let left =
            bench.store.list(first).unwrap().into_iter().find(|it| it.name.parse::<ReceiptId>().is_ok()).unwrap();
        let payload = bench.store.get(first, &left.name).unwrap().unwrap();
        bench.store.put(first, &done.id.to_string(), &payload, Durability::Os).unwrap();
        let (replay, audit) = bench.replay(first, &[], StepState::Completed).await;
        assert_eq!(audit.rows.conceived.receipts, 1, "{audit}");
        assert!(audit.balanced() && audit.coverage.is_whole(), "{audit}");
        bench.assert_whole(replay).await;
    });
}
