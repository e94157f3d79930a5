//! What calls give when nothing fails.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use elastic_flow_receipt::StepId;

use super::Backend;
use crate::error::StoreError;
use crate::name::PAYLOAD_NAME_BYTES_MAX;
use crate::store::{Durability, Store};

const STEP: StepId = StepId(7);
const SYNCED: Durability = Durability::Synced;
/// Of a payload or record that no single write or read takes whole.
const LARGE_BYTES: usize = 5 * 1024 * 1024 + 13;

fn open(backend: &dyn Backend, path: &Path) -> Box<dyn Store> {
    backend.open(path).expect("the store opens")
}

fn put(store: &dyn Store, step: StepId, name: &str, payload: &[u8]) {
    store.put(step, name, payload, Durability::Os).expect("put");
}

fn get(store: &dyn Store, step: StepId, name: &str) -> Option<Vec<u8>> {
    store.get(step, name).expect("get").map(|payload| payload.to_vec())
}

fn names(store: &dyn Store, step: StepId) -> Vec<String> {
    store.list(step).expect("list").into_iter().map(|payload| payload.name).collect()
}

fn journal(store: &dyn Store) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut visit = |record: &[u8]| {
        records.push(record.to_vec());
        Ok(())
    };
    store.replay(&mut visit).expect("replay");
    records
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

/// [`Store::is_durable`] is as the backend's capabilities say, and [`Store::url`] has the form of a [`crate::StoreUrl`].
pub fn url_and_durability_are_what_the_backend_says(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    assert_eq!(store.is_durable(), backend.capabilities().is_durable);
    let url = store.url().parse::<crate::StoreUrl>().expect("the url of a store is a store url");
    assert_eq!(url.to_string(), store.url());
}

/// Putting the same payload twice keeps one.
pub fn put_twice_is_one(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    store.put(STEP, "a", b"payload", SYNCED).expect("put");
    store.put(STEP, "a", b"payload", SYNCED).expect("put");
    assert_eq!(names(&store, STEP), ["a"]);
    assert_eq!(get(&store, STEP, "a"), Some(b"payload".to_vec()));
    assert_eq!(store.steps().expect("steps"), [STEP]);
}

/// A payload put under a name in use takes the place of the old one, be it longer or shorter.
pub fn put_replaces_the_whole_payload(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    for payload in [&b"a long first payload"[..], b"short", b"longer than that again"] {
        put(&store, STEP, "a", payload);
        assert_eq!(get(&store, STEP, "a").as_deref(), Some(payload));
    }
    assert_eq!(names(&store, STEP), ["a"]);
}

/// What is not there is none, in every call, and removing it is no error.
pub fn what_is_absent_is_none_and_its_removal_is_fine(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let absent = |store: &dyn Store| {
        assert_eq!(get(store, STEP, "absent"), None);
        store.delete(STEP, "absent").expect("removing what is absent");
    };
    absent(&store);
    store.delete_step(STEP).expect("removing an absent step");
    assert_eq!((store.list(STEP).expect("list"), store.steps().expect("steps")), (vec![], vec![]));
    assert_eq!(journal(&store), Vec::<Vec<u8>>::new());
    put(&store, STEP, "present", b"x");
    absent(&store);
    assert_eq!(get(&store, StepId(8), "present"), None);
    store.delete(StepId(8), "present").expect("removing what is absent");
    assert_eq!(get(&store, STEP, "present"), Some(b"x".to_vec()));
}

/// [`Store::list`] is in byte order, whatever the order of putting, with sizes above zero.
pub fn payloads_are_listed_in_byte_order_of_their_names(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let sorted = ["-", ".b", "10", "9", "A", "B", "_", "a", "a.", "a.zst", "aa", "b"];
    for name in sorted.iter().rev() {
        put(&store, STEP, name, name.as_bytes());
    }
    put(&store, StepId(STEP.0 + 1), "of-another-step", b"x");
    assert_eq!(names(&store, STEP), sorted);
    assert!(store.list(STEP).expect("list").iter().all(|payload| payload.stored_bytes > 0));
}

/// [`Store::steps`] is in order of numbers, and a step without payloads is not in it.
pub fn steps_are_listed_in_order_while_they_have_payloads(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let sorted = [0, 1, 2, 9, 10, 255, 256, 1 << 40, u64::MAX].map(StepId);
    for step in sorted.iter().rev() {
        put(&store, *step, "a", b"x");
    }
    assert_eq!(store.steps().expect("steps"), sorted);
    store.delete(StepId(9), "a").expect("delete");
    store.delete_step(StepId(u64::MAX)).expect("delete step");
    let left = [0, 1, 2, 10, 255, 256, 1 << 40].map(StepId);
    assert_eq!(store.steps().expect("steps"), left);
    drop(store);
    assert_eq!(open(backend, path).steps().expect("steps"), left);
}

/// [`Store::delete_step`] removes the payloads of that step, and of no other.
pub fn deleting_a_step_leaves_the_others(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    for step in [1, 10, 11, 256] {
        put(&store, StepId(step), "a", b"x");
        put(&store, StepId(step), "b", b"y");
    }
    store.delete_step(StepId(1)).expect("delete step");
    assert_eq!(names(&store, StepId(1)), Vec::<String>::new());
    assert_eq!(store.steps().expect("steps"), [10, 11, 256].map(StepId));
    put(&store, StepId(1), "c", b"z");
    assert_eq!(names(&store, StepId(1)), ["c"]);
    assert_eq!(get(&store, StepId(256), "b"), Some(b"y".to_vec()));
}

/// A name that [`crate::is_valid_name`] does not take is [`StoreError::Invalid`] in every call, and leaves no trace.
pub fn names_outside_the_rule_are_refused_everywhere(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let long = "x".repeat(PAYLOAD_NAME_BYTES_MAX + 1);
    for name in ["", ".", "..", "/", "a/b", "../lock", "a b", "a\0b", "a\nb", "ä", "a~", &long] {
        let results = [store.put(STEP, name, b"x", SYNCED), store.get(STEP, name).map(drop), store.delete(STEP, name)];
        for result in results {
            assert!(matches!(result, Err(StoreError::Invalid { .. })), "{name:?}: {result:?}");
        }
    }
    assert_eq!(store.steps().expect("steps"), []);
}

/// Names at the edges of the rule, and such as a backend might use itself, are names like any other.
pub fn odd_names_are_kept_apart(backend: &dyn Backend, path: &Path) {
    let longest = "x".repeat(PAYLOAD_NAME_BYTES_MAX);
    let odd =
        ["...", ".hidden", "-rf", "lock", "journal", "a.tmp", "a.zst", "a.zst.tmp", "a", "A", "CON", "0", &longest];
    let store = open(backend, path);
    for name in odd {
        put(&store, STEP, name, name.as_bytes());
    }
    drop(store);
    let store = open(backend, path);
    for name in odd {
        assert_eq!(get(&store, STEP, name), Some(name.as_bytes().to_vec()), "{name}");
    }
    assert_eq!(names(&store, STEP).len(), odd.len());
    store.delete(STEP, "a").expect("delete");
    assert_eq!(get(&store, STEP, "a.zst"), Some(b"a.zst".to_vec()));
}

/// Nothing is something: an empty payload and an empty record are there, and an empty batch adds none.
pub fn empty_payloads_records_and_batches_are_kept_as_such(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    put(&store, STEP, "empty", b"");
    store.append(&[], SYNCED).expect("append nothing");
    store.append(&[b"", b"x", b""], SYNCED).expect("append");
    store.append(&[b""], SYNCED).expect("append");
    drop(store);
    let store = open(backend, path);
    assert_eq!(get(&store, STEP, "empty"), Some(vec![]));
    assert_eq!(names(&store, STEP), ["empty"]);
    assert_eq!(journal(&store), [&b""[..], b"x", b"", b""]);
    store.rewrite(&mut std::iter::empty()).expect("rewrite to nothing");
    assert_eq!(journal(&store), Vec::<Vec<u8>>::new());
}

/// Megabytes come back as they were, be they noise or zeros, as payload and as record.
pub fn large_payloads_and_records_come_back_whole(backend: &dyn Backend, path: &Path) {
    let contents = [noise(1, LARGE_BYTES), vec![0; LARGE_BYTES]];
    let store = open(backend, path);
    for (name, content) in ["noise", "zeros"].iter().zip(&contents) {
        put(&store, STEP, name, content);
        store.append(&[content, b"between"], Durability::Os).expect("append");
    }
    drop(store);
    let store = open(backend, path);
    for (name, content) in ["noise", "zeros"].iter().zip(&contents) {
        assert!(get(&store, STEP, name).as_ref() == Some(content), "{name} came back otherwise");
    }
    let [noise, zeros] = contents;
    assert!(journal(&store) == [noise, b"between".to_vec(), zeros, b"between".to_vec()]);
}

/// Who has read a payload keeps it when it is deleted; who reads it meanwhile gets it whole or not at all.
pub fn a_payload_is_deleted_while_it_is_read(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let payload = noise(2, 300_000);
    put(&store, STEP, "a", &payload);
    let held = store.get(STEP, "a").expect("get").expect("it is there");
    let start = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..50 {
                    let read = get(&store, STEP, "a");
                    assert!(read.is_none() || read.as_ref() == Some(&payload), "a payload in part");
                    store.list(STEP).expect("list");
                    store.steps().expect("steps");
                }
            });
        }
        start.wait();
        for _ in 0..20 {
            store.delete(STEP, "a").expect("delete");
            put(&store, STEP, "a", &payload);
            store.delete_step(STEP).expect("delete step");
            put(&store, STEP, "a", &payload);
        }
    });
    store.delete(STEP, "a").expect("delete");
    assert_eq!(get(&store, STEP, "a"), None);
    assert_eq!(held, payload);
}

/// Records come back in the order of appending, over batches and durabilities, each time they are asked for.
pub fn replay_is_in_the_order_of_append(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let records: Vec<Vec<u8>> = (0..60_u8).map(|index| noise(u64::from(index), usize::from(index))).collect();
    for (index, batch) in records.chunks(7).enumerate() {
        let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        let durability = if index % 2 == 0 { SYNCED } else { Durability::Os };
        store.append(&batch, durability).expect("append");
    }
    assert_eq!(journal(&store), records);
    assert_eq!(journal(&store), records);
}

/// A visitor may call the store: it sees the journal as it was when the replay began.
pub fn replay_gives_what_a_visitor_may_append_to(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    store.append(&[b"1", b"2"], SYNCED).expect("append");
    let mut seen = Vec::new();
    let mut visit = |record: &[u8]| {
        seen.push(record.to_vec());
        store.append(&[record], Durability::Os)
    };
    store.replay(&mut visit).expect("replay");
    assert_eq!(seen, [b"1", b"2"]);
    assert_eq!(journal(&store), [b"1", b"2", b"1", b"2"]);
}

/// The visitor's error is the replay's, and no further record is visited.
pub fn an_error_of_the_visitor_ends_the_replay(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    store.append(&[b"1", b"2", b"3"], SYNCED).expect("append");
    let mut visited = 0;
    let mut visit = |record: &[u8]| {
        visited += 1;
        if record == b"2" { Err(StoreError::Invalid { url: "mine".into(), detail: "enough".into() }) } else { Ok(()) }
    };
    let error = store.replay(&mut visit).expect_err("the visitor has failed");
    assert_eq!((error.to_string().as_str(), visited), ("store mine: enough", 2));
    assert_eq!(journal(&store).len(), 3);
}

/// After a rewrite the journal is what was given, and what is appended comes after that.
pub fn rewrite_replaces_the_journal_and_appending_goes_on(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    for round in 0..3_u8 {
        store.append(&[b"old", &[round]], SYNCED).expect("append");
        let mut snapshot = [vec![b's', round], vec![]].into_iter();
        store.rewrite(&mut snapshot).expect("rewrite");
        store.append(&[b"new"], SYNCED).expect("append");
        assert_eq!(journal(&store), [vec![b's', round], vec![], b"new".to_vec()]);
    }
    drop(store);
    assert_eq!(journal(&open(backend, path)), [vec![b's', 2], vec![], b"new".to_vec()]);
}

/// A rewrite whose records end in a panic has not happened, however many were taken, and the store goes on.
pub fn a_rewrite_that_panics_leaves_the_old_journal(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    store.append(&[b"old"], SYNCED).expect("append");
    let records = (0..9_u8).map(|index| {
        // Not a panic of its own, so that none is reported.
        if index == 8 { panic::resume_unwind(Box::new(())) } else { vec![index; 1 << 20] }
    });
    let rewritten = panic::catch_unwind(AssertUnwindSafe(|| store.rewrite(&mut records.into_iter())));
    assert!(rewritten.is_err());
    assert_eq!(journal(&store), [b"old"]);
    store.append(&[b"more"], SYNCED).expect("append");
    assert_eq!(journal(&store), [b"old".to_vec(), b"more".to_vec()]);
    store.rewrite(&mut std::iter::once(b"new".to_vec())).expect("rewrite");
    assert_eq!(journal(&store), [b"new"]);
    drop(store);
    assert_eq!(journal(&open(backend, path)), [b"new"]);
}

/// [`Store::journal_bytes`] rises with appends, by their bytes at least, falls with a rewrite, and survives a reopen.
pub fn the_journal_grows_by_appends_and_shrinks_by_a_rewrite(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    let bytes = |store: &dyn Store| store.journal_bytes().expect("journal bytes");
    let empty = bytes(&store);
    store.append(&[&noise(3, 10_000), b"x"], SYNCED).expect("append");
    let full = bytes(&store);
    assert!(full >= empty + 10_001, "{empty} to {full}");
    drop(store);
    let store = open(backend, path);
    assert_eq!(bytes(&store), full);
    store.rewrite(&mut std::iter::once(vec![1])).expect("rewrite");
    assert!((empty + 1..full).contains(&bytes(&store)), "{}", bytes(&store));
}

/// What was put, appended, rewritten and deleted is so in the next opening, and the one after that.
pub fn a_reopened_store_has_everything(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    store.append(&[b"gone"], SYNCED).expect("append");
    store.rewrite(&mut std::iter::once(b"first".to_vec())).expect("rewrite");
    store.append(&[b"second", b"third"], Durability::Os).expect("append");
    put(&store, STEP, "a", b"kept");
    put(&store, STEP, "b", b"deleted");
    store.delete(STEP, "b").expect("delete");
    drop(store);
    let mut records = vec![b"first".to_vec(), b"second".to_vec(), b"third".to_vec()];
    for round in 0..3_u8 {
        let store = open(backend, path);
        assert_eq!(journal(&store), records);
        assert_eq!((get(&store, STEP, "a"), get(&store, STEP, "b")), (Some(b"kept".to_vec()), None));
        store.append(&[&[round]], SYNCED).expect("append");
        records.push(vec![round]);
    }
}

/// A store has one owner: the second opener is told the first one's process id, and can have it when that is done.
pub fn a_second_opener_is_refused_with_the_holders_pid(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    put(&store, STEP, "a", b"x");
    if backend.capabilities().has_one_owner {
        for _ in 0..2 {
            let error = backend.open(path).expect_err("a second opener is refused");
            assert!(matches!(error, StoreError::Held { pid, .. } if pid == std::process::id()), "{error}");
            assert!(error.to_string().contains(&store.url()), "{error}");
        }
        put(&store, STEP, "b", b"the first owner goes on");
    }
    drop(store);
    assert_eq!(get(&open(backend, path), STEP, "a"), Some(b"x".to_vec()));
}

/// Puts of many threads are all there, each whole, also where they are for the same name.
pub fn puts_from_many_threads_are_all_kept(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let store = &store;
            scope.spawn(move || {
                for index in 0..25 {
                    put(store, STEP, &format!("{thread}-{index}"), &[thread; 100]);
                    put(store, STEP, "shared", &[thread; 10_000]);
                }
            });
        }
    });
    assert_eq!(names(&store, STEP).len(), 101);
    let shared = get(&store, STEP, "shared").expect("it is there");
    assert_eq!(shared, vec![shared.first().copied().unwrap_or_default(); 10_000]);
}

/// Batches of many threads stay together, and each thread's are in its order.
pub fn appends_from_many_threads_stay_whole_batches(backend: &dyn Backend, path: &Path) {
    let store = open(backend, path);
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let store = &store;
            scope.spawn(move || {
                for index in 0..25_u8 {
                    store.append(&[&[thread, index], &[thread, index]], Durability::Os).expect("append");
                }
            });
        }
    });
    let records = journal(&store);
    assert!(records.chunks(2).all(|batch| batch.first() == batch.last()), "batches were mixed");
    for thread in 0..4_u8 {
        let of_thread: Vec<u8> =
            records.iter().filter(|r| r.first() == Some(&thread)).filter_map(|r| r.last().copied()).collect();
        let expected: Vec<u8> = (0..25_u8).flat_map(|index| [index, index]).collect();
        assert_eq!(of_thread, expected);
    }
}
