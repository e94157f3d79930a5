//! Which workers count, and which of them is picked.

use std::time::Duration;

use elastic_flow_queue::{Caller, CallerRole, StepState};
use elastic_flow_receipt::NodeId;

use super::super::effects::Event;
use super::super::nodes::{Candidate, ChunkFacts, Distribute};
use super::{BUILD, Bench, STEP, WALL, config, file, one_each, splits};
use crate::api::CommandView;
use crate::config::Settings;
use crate::journal::ClusterRecord;

#[test]
fn a_worker_that_leaves_gets_nothing_more_and_is_not_waited_for() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..4));
    bench.on(Event::NodeDraining(NodeId(2)));
    assert_eq!(bench.done(2), ["merge", "ack w2 #2"]);
    bench.failed(1, Some(0));
    assert_eq!(bench.tasks[&3].0, NodeId(1));
    bench.after(100);
    assert_eq!(bench.done(3), ["assign w1 #4 [0]", "merge", "ack w1 #3"], "worker 2 will not have room for it");
    let drained = bench.core.node_views()[1].drained.clone().unwrap();
    assert_eq!((drained.by.role, drained.at), (CallerRole::Worker, WALL));
}

fn drain(bench: &mut Bench, name: &str) -> Vec<String> {
    bench.on(Event::DrainWorker(7, Caller::remote(CallerRole::Admin, "10.0.0.8"), name.to_owned()))
}

/// What the running step shows of commands: what, of which node, by whom and from where.
fn commands(bench: &Bench) -> Vec<String> {
    let commands = bench.core.step_view(STEP, bench.now).unwrap().commands;
    let text = |it: CommandView| format!("{} {:?} {} {:?} {}", it.what, it.node, it.role, it.address, it.at);
    commands.into_iter().map(text).collect()
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_the_step_shows_who_drained_it() {
    let mut bench = Bench::running(one_each(), &[1, 1], splits(0..4));
    assert_eq!(
        drain(&mut bench, "w3"),
        ["refuse: there is no worker \"w3\" connected: `workers` lists those that are"]
    );
    bench.syncs = false;
    assert_eq!(drain(&mut bench, "w2"), ["journal"], "acknowledged when it is durable");
    assert_eq!(bench.sync(), ["reply"]);
    bench.syncs = true;
    assert_eq!(drain(&mut bench, "w2"), ["reply"], "and it changes nothing");
    assert_eq!(bench.done(2), ["merge", "ack w2 #2"]);
    assert_eq!(bench.done(1), ["assign w1 #3 [2]", "merge", "ack w1 #1"]);
    let told = [r#"submit None submit Some("10.0.0.7") 1000"#, r#"drain Some("w2") admin Some("10.0.0.8") 1000"#];
    assert_eq!(commands(&bench), told);

    let (mut bench, _) = bench.again(one_each());
    assert_eq!(commands(&bench), told, "the next life knows as much");
    bench.join(2, 1);
    assert!(bench.core.node_views()[0].drained.is_some(), "a worker that comes back in the same life stays drained");
    bench.join(3, 1);
    assert!(bench.core.node_views()[1].drained.is_none(), "another life takes work again");
}

#[test]
fn the_last_worker_is_drained_and_what_is_left_is_in_its_hands() {
    let settings = one_each();
    let grace = settings.grace;
    let mut bench = Bench::running(settings, &[1], splits(0..1));
    drain(&mut bench, "w1");
    bench.after(u64::try_from(grace.as_millis()).unwrap());
    assert_eq!(bench.core.queue().get(STEP).unwrap().state, StepState::Running);
    bench.done(1);
    bench.finish();
    assert_eq!(bench.core.queue().get(STEP).unwrap().state, StepState::Completed);
}

#[test]
fn a_journal_that_is_written_anew_keeps_drained_workers_drained() {
    let mut bench = Bench::new(config(one_each()));
    bench.join(1, 1);
    drain(&mut bench, "w1");
    bench.records = bench.core.snapshot(ClusterRecord { incarnation: 1, epoch: 1 });
    let (mut bench, _) = bench.again(one_each());
    bench.join(1, 1);
    assert_eq!(bench.core.node_views()[0].drained.as_ref().map(|it| it.by.role), Some(CallerRole::Admin));
}

#[test]
fn a_step_shows_that_its_master_was_stopped_and_by_whom() {
    let mut bench = Bench::running(one_each(), &[1], splits(0..4));
    bench.on(Event::Drain(Some(Caller::local())));
    bench.on(Event::Drain(Some(Caller::local())));
    bench.on(Event::Interrupt);
    let (bench, _) = bench.again(one_each());
    let told = [r#"submit None submit Some("10.0.0.7") 1000"#, r#"drain Some("master") local None 1000"#];
    assert_eq!(commands(&bench), told);
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
