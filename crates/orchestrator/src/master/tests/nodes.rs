//! Which workers count, and which of them is picked.

use std::time::Duration;

use elastic_flow_receipt::NodeId;

use super::super::effects::Event;
use super::super::nodes::{Candidate, ChunkFacts, Distribute};
use super::{BUILD, Bench, STEP, config, file, one_each, splits};
use crate::config::Settings;

#[test]
fn a_worker_that_leaves_gets_nothing_more_and_is_not_waited_for() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..4));
    bench.on(Event::NodeDraining(NodeId(2)));
    assert_eq!(bench.done(2), ["merge", "ack w2 #2"]);
    bench.failed(1, Some(0));
    assert_eq!(bench.tasks[&3].0, NodeId(1));
    bench.after(100);
    assert_eq!(bench.done(3), ["assign w1 #4 [0]", "merge", "ack w1 #3"], "worker 2 will not have room for it");
    assert!(bench.core.node_views()[1].draining);
}

#[test]
fn a_worker_of_another_build_is_shown_and_gets_nothing_unless_builds_may_be_mixed() {
    let mut bench = Bench::open(one_each(), Some(9));
    assert!(bench.join_as(1, 8, BUILD + 1).is_empty());
    assert!(!bench.core.node_views()[0].same_build);
    assert_eq!(bench.join(2, 1), ["cut 1"], "for its own slot alone");
    assert_eq!(bench.cut(splits(0..1), true), ["notice w2", "assign w2 #1 [0]"]);

    let mut mixed = Bench::open(Settings { allow_mixed_builds: true, ..one_each() }, Some(9));
    assert_eq!(mixed.join_as(1, 1, BUILD + 1), ["cut 1"]);
    assert!(!mixed.core.node_views()[0].same_build, "it may work and is another one all the same");
}

#[test]
fn a_step_without_a_worker_waits_for_its_grace_says_so_and_fails() {
    let mut bench = Bench::open(one_each(), Some(9));
    let waits_for = |bench: &Bench| bench.core.step_view(STEP, bench.now).unwrap().waiting_for.unwrap();
    assert_eq!(waits_for(&bench), "a worker, for 30 s more");
    bench.join_as(1, 1, BUILD + 1);
    assert_eq!(bench.core.next_deadline(), Some(bench.now + Duration::from_secs(30)));
    bench.after(10_000);
    assert_eq!(waits_for(&bench), "a worker of the master's build (1 of another build connected), for 20 s more");
    assert!(bench.after(19_999).is_empty());
    assert_eq!(bench.after(1), ["finish"]);
    assert_eq!(bench.finish(), ["ended FAILED"]);
    let reason = bench.core.step_view(STEP, bench.now).unwrap().reason.unwrap();
    assert!(reason.starts_with("no worker of the master's build (1 of another build connected) for 30 s"), "{reason}");
}

#[test]
fn a_worker_that_comes_within_the_grace_ends_the_wait() {
    let mut bench = Bench::open(one_each(), Some(9));
    bench.after(29_999);
    assert_eq!(bench.join(1, 1), ["cut 1"]);
    bench.lose(1);
    assert!(bench.after(29_999).is_empty(), "it begins anew");
    assert_eq!(bench.after(1), ["finish"]);
}

/// Picks an index that there is not.
#[derive(Debug)]
struct Beyond;

impl Distribute for Beyond {
    fn pick(&mut self, _chunk: ChunkFacts<'_>, candidates: &[Candidate<'_>]) -> usize {
        candidates.len()
    }
}

#[test]
fn an_index_that_is_out_of_bounds_takes_the_last() {
    let mut bench = Bench::new(super::CoreConfig { method: Box::new(Beyond), ..config(one_each()) });
    bench.submit(elastic_flow_queue::StepSpec::new("p"));
    bench.on(Event::Opened(STEP, Ok(file(Some(2)))));
    bench.join(1, 1);
    bench.join(2, 1);
    assert_eq!(bench.cut(splits(0..2), true), ["notice w2", "assign w2 #1 [0]", "notice w1", "assign w1 #2 [1]"]);
}
