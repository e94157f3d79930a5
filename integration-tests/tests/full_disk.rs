//! A master whose disk is full says so, and what it acknowledged before is there when there is room again.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use elastic_flow::orchestrator::api::StepView;
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, Options, SOON};
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::wait::{skipped, wait_until};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// A small file system in memory, taken away at the end.
struct SmallDisk(PathBuf);

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir(&folder).expect("a folder");
        let path = folder.to_str().expect("a plain path").to_owned();
        runs("mount", &["-t", "tmpfs", "-o", "size=1m", "elastic-flow-test", &path]).then_some(Self(folder))
    }

    fn grow(&self) {
        let path = self.0.to_str().expect("a plain path");
        assert!(runs("mount", &["-o", "remount,size=32m", path]), "the small disk grows");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold a file.
        runs("umount", &["-l", self.0.to_str().unwrap_or_default()]);
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_acknowledged_is_lost() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.path("disk")) else {
        skipped("this user may not mount a small file system");
        return;
    };
    let input = place.write("input.txt", "a b a\n");
    let store = format!("fs:{}", place.text("disk/store"));
    let options =
        Options { program: TESTBED, workers: 0, slots: 1, durable: true, sets: vec!["retry.grace=1h".to_owned()] };
    let mut cluster = Cluster::start_in(place, options, store);

    // Nobody works, so all of them stay.
    let note = "x".repeat(60_000);
    let body = |number: usize| {
        serde_json::json!({
            "program": "word_count",
            "inputs": [["input", { "Lines": { "paths": [input] } }]],
            "params": [["note", note]],
            "label": format!("number {number}"),
        })
        .to_string()
    };
    let mut acknowledged = BTreeSet::new();
    let mut refusal = None;
    for number in 0..100 {
        match cluster.ask("POST", "/api/v1/steps", &body(number)) {
            Ok(answer) if answer.status == 201 => {
                let view: StepView = serde_json::from_str(&answer.body).expect("a step");
                acknowledged.insert(view.id.0);
            }
            Ok(answer) => {
                refusal = Some(answer);
                break;
            }
            Err(error) => panic!("after {} steps there is no answer: {error}", acknowledged.len()),
        }
    }
    let refusal = refusal.expect("the disk gets full");
    assert!(acknowledged.len() > 3, "{} steps fit", acknowledged.len());
    assert!((500..600).contains(&refusal.status), "{refusal:?}");
    let said = refusal.body.to_ascii_lowercase();
    assert!(said.contains("full") || said.contains("no space"), "{refusal:?}");

    cluster.kill_master();
    disk.grow();
    cluster.start_master();
    let steps: BTreeSet<u64> = cluster.get::<Vec<StepView>>("/steps").iter().map(|view| view.id.0).collect();
    assert!(acknowledged.is_subset(&steps), "acknowledged {acknowledged:?}, there {steps:?}");
    cluster.start_worker("w1");
    for id in &acknowledged {
        cluster.wait_end(*id, StepState::Completed);
    }
    wait_until(SOON, "new steps are taken", || {
        cluster.ask("POST", "/api/v1/steps", &body(1_000)).is_ok_and(|answer| answer.status == 201)
    });
    drop(cluster);
    drop(disk);
}
