//! What writes that fail, and crashes, leave.

use std::error::Error as _;
use std::path::Path;

use super::Backend;
use super::history::{Call, check};
use crate::error::StoreError;
use crate::plan::{Fault, FaultPlan};
use crate::store::Durability::{self, Os, Synced};

/// Histories with random faults that are run.
const HISTORIES: u64 = 48;
/// Calls in each of them.
const CALLS: u64 = 30;
/// Openings that die before one succeeds: more than the write points of an opening that has something to mend.
const TORN_OPENINGS: u64 = 8;
/// More write points than any backend has in the histories here: a stop for a backend whose points never end.
const POINTS_MAX: u64 = 10_000;

fn record(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn batch(name: &str, durability: Durability) -> Call {
    Call::Append((0..3).map(|index| record(&format!("{name}-{index}")).repeat(index + 1)).collect(), durability)
}

fn put(step: u64, name: &'static str, payload: &str, durability: Durability) -> Call {
    Call::Put(step, name, record(payload), durability)
}

/// Every kind of call, replacing and removing what earlier ones left.
fn all_kinds(durability: Durability) -> Vec<Call> {
    vec![
        batch("first", durability),
        put(1, "a", "payload a", durability),
        put(1, "b", "payload b", durability),
        put(2, "a", "payload a of 2", durability),
        batch("second", durability),
        put(1, "a", "another payload a", durability),
        Call::Delete(1, "b"),
        Call::Rewrite(vec![record("snapshot"), record("and more")]),
        batch("third", durability),
        put(1, "c", "payload c", durability),
        Call::DeleteStep(1),
        put(1, "a", "payload a, again", durability),
    ]
}

/// Calls of which none is undone by a power cut once it is acknowledged.
fn synced_kinds() -> Vec<Call> {
    all_kinds(Synced).into_iter().filter(|call| !matches!(call, Call::Delete(..) | Call::DeleteStep(_))).collect()
}

/// Runs `calls` once for each write point, with `fault` there, until a run meets no fault any more.
fn check_each_point(backend: &dyn Backend, path: &Path, fault: Fault, calls: &[Call]) -> Vec<StoreError> {
    check_each_point_and_openings(backend, path, fault, calls, 0)
}

/// The same with openings that die as well.
fn check_each_point_and_openings(
    backend: &dyn Backend,
    path: &Path,
    fault: Fault,
    calls: &[Call],
    torn_openings: u64,
) -> Vec<StoreError> {
    let mut errors = Vec::new();
    for point in 0..POINTS_MAX {
        let outcome =
            check(backend, &path.join(point.to_string()), FaultPlan::once(point, fault), calls, torn_openings);
        errors.extend(outcome.errors);
        if outcome.injected == 0 {
            assert!(point >= calls.len() as u64, "only {} write points for {} calls", outcome.points, calls.len());
            return errors;
        }
    }
    assert_eq!(POINTS_MAX, 0, "the write points do not end");
    errors
}

/// A full disk is [`StoreError::Full`], what was acknowledged stays, and the next call may succeed.
pub fn a_full_disk_is_said_and_loses_nothing(backend: &dyn Backend, path: &Path) {
    let errors = check_each_point(backend, path, Fault::Full, &all_kinds(Os));
    assert!(errors.iter().any(StoreError::is_full));
    assert!(errors.iter().all(|error| error.is_full() || error.is_poisoned()), "{errors:?}");
}

/// A refused access says what was being done, what was acknowledged stays, and the next call may succeed.
pub fn a_refused_access_is_said_and_loses_nothing(backend: &dyn Backend, path: &Path) {
    let errors = check_each_point(backend, path, Fault::Permission, &all_kinds(Os));
    assert!(errors.iter().any(StoreError::is_permission_denied));
    assert!(errors.iter().all(|error| error.is_permission_denied() || error.is_poisoned()), "{errors:?}");
}

/// A device that fails once loses nothing that was acknowledged, synced or not.
pub fn a_failing_device_is_said_and_loses_nothing(backend: &dyn Backend, path: &Path) {
    for (name, durability) in [("synced", Synced), ("os", Os)] {
        let errors = check_each_point(backend, &path.join(name), Fault::Fail, &all_kinds(durability));
        let says_why = |error: &StoreError| error.source().is_some_and(|it| it.to_string().contains("(injected)"));
        assert!(errors.iter().any(says_why), "{errors:?}");
    }
}

/// A process that dies before any of its writes finds the acknowledged calls, and the last one whole or undone.
pub fn a_crash_at_each_write_leaves_each_call_whole_or_undone(backend: &dyn Backend, path: &Path) {
    check_each_point(backend, &path.join("os"), Fault::Crash, &all_kinds(Os));
    check_each_point(backend, &path.join("synced"), Fault::Crash, &all_kinds(Synced));
}

/// The same where it dies in the middle of a write.
pub fn a_write_torn_at_each_point_leaves_each_call_whole_or_undone(backend: &dyn Backend, path: &Path) {
    check_each_point(backend, &path.join("os"), Fault::Tear, &all_kinds(Os));
    check_each_point(backend, &path.join("synced"), Fault::Tear, &all_kinds(Synced));
}

/// The same where the next openings die too, each a little later.
pub fn a_crash_at_each_write_of_the_next_opening_loses_nothing(backend: &dyn Backend, path: &Path) {
    check_each_point_and_openings(backend, path, Fault::Tear, &all_kinds(Synced), TORN_OPENINGS);
}

/// A machine that dies finds what was acknowledged as synced.
pub fn a_power_cut_at_each_write_keeps_what_was_synced(backend: &dyn Backend, path: &Path) {
    check_each_point(backend, path, Fault::PowerCut, &synced_kinds());
}

/// A batch is all there or not at all, wherever its writing ends.
pub fn a_crash_at_each_write_of_a_batch_leaves_all_or_nothing(backend: &dyn Backend, path: &Path) {
    for (name, fault) in [("crash", Fault::Crash), ("tear", Fault::Tear), ("power", Fault::PowerCut)] {
        let large = Call::Append((0..20_u8).map(|index| vec![index; 3_000]).collect(), Synced);
        check_each_point(backend, &path.join(name), fault, &[batch("before", Synced), large, batch("after", Synced)]);
    }
}

/// A rewrite leaves the old journal or the new one, wherever it ends.
pub fn a_crash_at_each_write_of_a_rewrite_leaves_the_old_or_the_new(backend: &dyn Backend, path: &Path) {
    for (name, fault) in [("crash", Fault::Crash), ("tear", Fault::Tear), ("power", Fault::PowerCut)] {
        let snapshot = (0..20_u8).map(|index| vec![index; 3_000]).collect();
        let calls = [batch("before", Synced), Call::Rewrite(snapshot), batch("after", Synced), Call::Rewrite(vec![])];
        check_each_point(backend, &path.join(name), fault, &calls);
    }
}

/// Calls and faults at random, the same for the same seed, against the model.
pub fn random_histories_with_random_faults_match_a_model(backend: &dyn Backend, path: &Path) {
    let kinds = [Fault::Fail, Fault::Full, Fault::Permission, Fault::Crash, Fault::Tear];
    let mut injected = 0;
    for seed in 0..HISTORIES {
        let calls = random_calls(seed);
        let plan = FaultPlan::random(seed, 12, kinds);
        injected += check(backend, &path.join(seed.to_string()), plan, &calls, 0).injected;
    }
    assert!(injected >= HISTORIES / 2, "only {injected} faults in {HISTORIES} histories");
}

fn random_calls(seed: u64) -> Vec<Call> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % below
    };
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let name = ["a", "b", "c", "result"].get(usize::try_from(draw(4)).unwrap_or_default()).copied().unwrap_or("a");
        let (step, durability) = (draw(3), if draw(2) == 0 { Os } else { Synced });
        let content = format!("{number} ").repeat(usize::try_from(draw(200)).unwrap_or_default());
        let records = (0..draw(4)).map(|index| record(&format!("{index}:{content}"))).collect();
        calls.push(match draw(10) {
            0..=3 => Call::Append(records, durability),
            4 => Call::Rewrite(records),
            5..=7 => Call::Put(step, name, record(&content), durability),
            8 => Call::Delete(step, name),
            _ => Call::DeleteStep(step),
        });
    }
    calls
}
