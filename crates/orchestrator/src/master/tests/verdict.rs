//! What a heartbeat monitor's verdict does to a worker's chunks, and what it does not.

use std::collections::BTreeMap;

use elastic_flow_receipt::NodeId;
use elastic_flow_wire::message::HeldTask;

use super::super::effects::{Effect, Event, Joined, Observation};
use super::{BUILD, Bench, CoreConfig, STEP, config, file, one_each, splits};
use crate::config::Settings;

fn verdict(living: &[(u128, bool)]) -> Event {
    Event::Verdict(living.iter().map(|(node, living)| (NodeId(*node), *living)).collect())
}

/// A monitored master with a step of one file and two workers of one slot; `w1` and `w2` are living.
fn running(chunks: u64) -> Bench {
    let monitored = CoreConfig { monitored: true, ..config(Settings { max_losses: 1, ..one_each() }) };
    let mut bench = Bench::new(monitored);
    bench.submit(elastic_flow_queue::StepSpec::new("p"));
    bench.on(Event::Opened(STEP, Ok(file(Some(chunks)))));
    assert!(bench.join(1, 1).is_empty() && bench.join(2, 1).is_empty(), "nothing before the first verdict");
    assert_eq!(bench.on(verdict(&[(1, true), (2, true)])), ["cut 2"]);
    assert_eq!(
        bench.cut(splits(0..chunks), true)[..4],
        ["notice w1", "assign w1 #1 [0]", "notice w2", "assign w2 #2 [1]"]
    );
    bench
}

fn told(bench: &Bench) -> Vec<(&str, bool)> {
    let mut told = Vec::new();
    for effect in &bench.last {
        if let Effect::Observe(Observation::Verdict { name, living }) = effect {
            told.push((name.as_str(), *living));
        }
    }
    told
}

#[test]
fn a_worker_that_is_not_living_loses_its_chunks_at_once_and_gets_none_until_it_is_living_again() {
    let mut bench = running(4);
    assert_eq!(bench.on(verdict(&[(1, false), (2, true)])), ["revoke w1 #1"]);
    assert_eq!(told(&bench), [("w1", false)]);
    let view = &bench.core.node_views()[0];
    assert!(!view.living && view.open_chunks == 0);
    assert!(bench.on(verdict(&[(1, false), (2, true)])).is_empty() && told(&bench).is_empty(), "no news");
    assert_eq!(bench.done(2), ["assign w2 #3 [0]", "merge", "ack w2 #2"], "the chunk that was taken comes first");

    assert_eq!(bench.on(verdict(&[(1, true), (2, true)])), ["assign w1 #4 [2]"], "on the link that it has");
    assert_eq!(told(&bench), [("w1", true)]);
    assert!(bench.core.node_views()[0].living);
}

#[test]
fn a_result_of_a_worker_that_is_not_living_counts_if_it_is_the_first() {
    let mut bench = running(2);
    bench.done(2);
    bench.on(verdict(&[(1, false)]));
    assert_eq!(bench.tasks[&3].0, NodeId(2), "the other one has it now");
    assert_eq!(bench.done(1), ["revoke w2 #3", "merge", "ack w1 #1", "finish"]);
    assert_eq!(bench.core.totals().duplicates, 0);
}

#[test]
fn a_worker_that_was_not_judged_keeps_what_it_holds_and_one_that_is_not_living_does_not() {
    let join = |bench: &mut Bench, node| {
        let joined =
            Joined { node: NodeId(node), name: format!("w{node}"), address: String::new(), slots: 1, build: BUILD };
        bench.on(Event::NodeUp(joined))
    };
    let holding = |bench: &Bench, number: u64| {
        let receipts = vec![bench.receipt(number - 1)];
        Event::Holding(NodeId(1), vec![HeldTask { attempt: bench.attempt(number), step: STEP, receipts }])
    };
    let mut bench = running(2);
    bench.on(verdict(&[(2, false)]));
    bench.lose(1);
    join(&mut bench, 1);
    assert!(bench.on(holding(&bench, 1)).is_empty());
    assert_eq!(bench.core.open_chunks(), 1, "it is at work on it");
    assert_eq!(bench.on(verdict(&[(1, false)])), ["revoke w1 #1"]);
    assert!(bench.on(holding(&bench, 1)).is_empty());
    assert_eq!(bench.core.open_chunks(), 0);
}

#[test]
fn a_verdict_alone_is_no_loss_of_a_chunk() {
    let mut bench = running(2);
    bench.done(2);
    for _ in 0..5 {
        bench.on(verdict(&[(1, false), (2, false)]));
        for node in [1, 2] {
            bench.on(Event::Pulse { node: NodeId(node), holding: Vec::new() });
        }
        bench.on(verdict(&[(1, true), (2, true)]));
    }
    let run = bench.core.run.as_ref().unwrap();
    assert_eq!((run.chunk(0).unwrap().losses, run.set_aside), (0, 0));
    // Its link ends long after: with nothing of this step.
    bench.on(verdict(&[(1, false), (2, false)]));
    for node in [1, 2] {
        bench.on(Event::Pulse { node: NodeId(node), holding: Vec::new() });
        bench.lose(node);
    }
    assert_eq!(bench.core.run.as_ref().unwrap().chunk(0).unwrap().losses, 0);
}

#[test]
fn a_chunk_that_kills_workers_is_found_where_the_monitor_is_faster_than_the_transport() {
    let mut bench = running(2);
    bench.done(2);
    // It runs on worker 1, which is dead; the monitor knows it first. Then it kills worker 2.
    assert_eq!(bench.on(verdict(&[(1, false)])), ["revoke w1 #1", "assign w2 #3 [0]"]);
    bench.lose(1);
    assert_eq!(bench.core.run.as_ref().unwrap().chunk(0).unwrap().losses, 1);
    assert_eq!(bench.on(verdict(&[(2, false)])), ["revoke w2 #3"]);
    assert_eq!(bench.lose(2), ["finish"], "set aside after one loss more than max_losses");
    let letters = bench.core.dead_letters(STEP, crate::api::DeadLetterFilter::default()).unwrap();
    assert!(letters[0].error.starts_with("open on 2 workers that were lost"), "{}", letters[0].error);
}

#[test]
fn a_payload_that_is_in_memory_only_is_kept_when_its_worker_is_not_living() {
    let monitored = CoreConfig { monitored: true, ..config(one_each()) };
    let mut bench = Bench::new(monitored);
    bench.submit(elastic_flow_queue::StepSpec::new("p"));
    bench.on(Event::Opened(STEP, Ok(file(None))));
    bench.join(1, 1);
    bench.on(verdict(&[(1, true)]));
    bench.cut(vec![super::items(0, 10)], true);
    assert_eq!(bench.on(verdict(&[(1, false)])), ["revoke w1 #1", "keep 0"]);
    assert_eq!(bench.core.totals().retried, 1);
}

#[test]
fn a_step_with_none_but_workers_that_are_not_living_waits_and_says_so() {
    let mut bench = running(2);
    bench.on(verdict(&[(1, false), (2, false)]));
    let waits_for = |bench: &Bench| bench.core.step_view(STEP, bench.now).unwrap().waiting_for.unwrap();
    let living = "a worker that heartbeat.monitor counts as living (2 not living connected), for 30 s more";
    assert_eq!(waits_for(&bench), living);
    assert_eq!(bench.core.workers_that_take_work(), 0);
    bench.join_as(3, 1, BUILD + 1);
    let both = "a worker of the master's build that heartbeat.monitor counts as living (1 of another build and 2 not living \
                connected), for 30 s more";
    assert_eq!(waits_for(&bench), both);
    bench.after(29_999);
    assert_eq!(bench.on(verdict(&[(2, true)])), ["assign w2 #3 [0]"]);
    assert!(bench.after(30_000).is_empty(), "the wait is over");
}

#[test]
fn a_verdict_about_nobody_and_one_after_the_end_do_nothing() {
    let mut bench = running(2);
    assert!(bench.on(Event::Verdict(BTreeMap::new())).is_empty());
    assert!(bench.on(verdict(&[(9, false)])).is_empty() && told(&bench).is_empty(), "it is gone");
    bench.done(1);
    bench.done(2);
    bench.finish();
    assert!(bench.on(verdict(&[(1, false)])).is_empty());
    assert_eq!(told(&bench), [("w1", false)]);
}
