//! Parameters and named inputs: what is wrong with them is named, at the submitter and at the master, before anything starts; they
//! belong to the content of a step, and to its audit.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use elastic_flow::orchestrator::api::StepView;
use elastic_flow::prelude::StepState;
use elastic_flow_integration_tests::cluster::{Cluster, LONG, Options};
use elastic_flow_integration_tests::http::Answer;
use elastic_flow_integration_tests::oracle_words::sorted;
use elastic_flow_integration_tests::place::Place;
use elastic_flow_integration_tests::process::{Ended, Process};
use serde_json::{Value, json};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");
/// Another build, whose `limited` takes other parameters.
const OTHER: &str = env!("CARGO_BIN_EXE_testbed_other");

fn cluster() -> Cluster {
    Cluster::start(Options { program: TESTBED, workers: 1, slots: 1, durable: true, sets: Vec::new() })
}

fn run(place: &Place, program: &str, arguments: &[&str]) -> Ended {
    Process::start(place, "command", place.command(program).args(arguments)).wait(LONG)
}

fn submitted_by_other(cluster: &Cluster, input: &str, params: &[&str]) -> Ended {
    let admin = format!("http://{}", cluster.admin_addr());
    let mut line = vec!["submit", "--admin", &admin, "--program", "limited", "--input", input];
    line.extend(params.iter().flat_map(|param| ["--param", param]));
    run(cluster.place(), OTHER, &line)
}

/// Submits `limited` over HTTP, as any client may.
fn post(cluster: &Cluster, input: &str, params: &[&str], key: Value) -> Answer {
    let params: Vec<_> = params.iter().filter_map(|param| param.split_once('=')).collect();
    let inputs = json!([["input", { "Lines": { "paths": [input] } }]]);
    let body = json!({ "program": "limited", "inputs": inputs, "params": params, "key": key });
    cluster.ask("POST", "/api/v1/steps", &body.to_string()).expect("the master answers")
}

/// What the first build says to each kind of wrong parameter.
const WRONG: [(&[&str], &str); 4] = [
    (&["limit=3", "floor=1"], "no parameter `floor`: it has limit"),
    (&[], "parameter `limit` is missing"),
    (&["limit=300"], "parameter `limit` has the value \"300\""),
    (&["limit=3", "limit=3"], "parameter `limit` is given twice"),
];

#[test]
fn the_submitter_names_a_wrong_parameter_before_it_looks_for_a_master() {
    let place = Place::new();
    run(&place, TESTBED, &["key", "new", &place.text("config/elastic-flow/key")]).expect_code(0);
    let input = place.write("input.txt", "a\n");
    for (params, named) in WRONG {
        for command in [&["run"][..], &["submit", "--admin", "http://127.0.0.1:1"]] {
            let mut line = command.to_vec();
            line.extend(["--program", "limited", "--input", &input]);
            line.extend(params.iter().flat_map(|param| ["--param", param]));
            let ended = run(&place, TESTBED, &line).expect_code(2);
            assert!(ended.stderr.contains(named), "{command:?} {params:?} should say {named}: {}", ended.stderr);
        }
    }
}

#[test]
fn the_master_names_a_parameter_that_it_does_not_take_and_queues_nothing() {
    let cluster = cluster();
    let input = cluster.place().write("input.txt", "a\nbb\nfour\n");
    // The other build takes the first three; the last one no build would.
    for (params, named) in &WRONG[..3] {
        let refused = submitted_by_other(&cluster, &input, params).expect_code(2);
        assert!(refused.stderr.contains("the master refused: "), "{}", refused.stderr);
        assert!(refused.stderr.contains(named), "{params:?} should say {named}: {}", refused.stderr);
    }
    for (params, named) in WRONG {
        let answer = post(&cluster, &input, params, Value::Null);
        assert_eq!(answer.status, 422, "{}", answer.body);
        let message: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert!(message["message"].as_str().is_some_and(|it| it.contains(named)), "{named}: {}", answer.body);
    }
    assert!(cluster.get::<Vec<StepView>>("/steps").is_empty(), "nothing is queued");

    let taken = submitted_by_other(&cluster, &input, &["limit=3"]).expect_code(0);
    assert_eq!(taken.text(), "step 1\n");
    cluster.wait_end(1, StepState::Completed);
    assert_eq!(cluster.cli(&["result", "1"]).expect_code(0).text(), "2\n");
}

#[test]
fn parameters_belong_to_what_a_key_stands_for_and_to_the_audit() {
    let mut cluster = cluster();
    let input = cluster.place().write("input.txt", "a\nbb\nfour\n");
    let line = |limit| ["--input", &input, "--param", limit, "--key", "monday"];
    let id = cluster.submit("limited", &line("limit=3"));
    assert_eq!(cluster.submit("limited", &line("limit=3")), id);
    let refused = cluster.cli(&[&["submit", "--program", "limited"][..], &line("limit=4")].concat()).expect_code(3);
    let answer = post(&cluster, &input, &["limit=4"], json!("monday"));
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(refused.stderr.contains("`monday` belongs to step 1, whose content differs"), "{}", refused.stderr);
    cluster.wait_end(id, StepState::Completed);

    let shown = |cluster: &Cluster| {
        let text = cluster.cli(&["audit", "1"]).expect_code(0).text();
        assert!(text.starts_with("audit of step 1: balanced\nprogram limited\nparam limit=3\n"), "{text}");
        let audit: Value =
            serde_json::from_str(&cluster.cli(&["audit", "1", "--json"]).expect_code(0).text()).expect("JSON");
        assert_eq!((&audit["program"], &audit["params"]), (&json!("limited"), &json!([["limit", "3"]])));
    };
    shown(&cluster);
    cluster.kill_master();
    cluster.start_master();
    shown(&cluster);
}

#[test]
fn named_inputs_are_told_apart_and_a_missing_or_unknown_one_is_named() {
    let place = Place::new();
    place.write("logs/one.log", "a b\n");
    place.write("logs/two.log", "b c\n");
    let (logs, users) =
        (format!("logs={}", place.text("logs/*.log")), format!("users={}", place.write("users", "a\n")));
    let output = place.text("counts");
    let line = |inputs: &[&str]| {
        let mut line = vec!["run", "--program", "words_by_input", "--output", &output];
        line.extend(inputs.iter().flat_map(|input| ["--input", input]));
        run(&place, TESTBED, &line)
    };
    line(&[&logs, &users]).expect_code(0);
    assert_eq!(String::from_utf8_lossy(&sorted(&place, &place.path("counts"))), "@a\t1\na\t1\nb\t2\nc\t1\n");
    let elsewhere = format!("elsewhere={}", place.text("users"));
    for (inputs, named) in [
        (&[logs.as_str()][..], "needs an input `users`"),
        (&[&logs, &elsewhere], "no input \"elsewhere\": it has users, logs"),
        (&["/nowhere"], "write NAME=PATH with one of users, logs"),
    ] {
        let ended = line(inputs).expect_code(2);
        assert!(ended.stderr.contains(named), "{inputs:?} should say {named}: {}", ended.stderr);
    }
}
