use std::collections::BTreeSet;

use axum::http::Method;
use elastic_flow_orchestrator::api::{ClusterEvent, ClusterEventKind, FailureView, Progress};
use elastic_flow_queue::StepState;
use elastic_flow_receipt::{ReceiptId, StageId, StepId};

use super::*;
use crate::events::GapEvent;
use crate::server::tests::{Fake, ask, fake, view};

/// Every operation, and what it takes; in the order of the document.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/cluster", "read submit admin"),
    ("GET", "/api/v1/events", "read submit admin"),
    ("GET", "/api/v1/openapi.json", "read submit admin"),
    ("GET", "/api/v1/receipts/{receipt}", "read submit admin"),
    ("GET", "/api/v1/steps", "read submit admin"),
    ("POST", "/api/v1/steps", "submit admin"),
    ("GET", "/api/v1/steps/{id}", "read submit admin"),
    ("GET", "/api/v1/steps/{id}/audit", "read submit admin"),
    ("POST", "/api/v1/steps/{id}/cancel", "submit admin"),
    ("GET", "/api/v1/steps/{id}/dead-letters", "read submit admin"),
    ("GET", "/api/v1/steps/{id}/failures", "read submit admin"),
    ("GET", "/api/v1/steps/{id}/receipts", "read submit admin"),
    ("POST", "/api/v1/steps/{id}/replay", "submit admin"),
    ("GET", "/api/v1/steps/{id}/result", "read submit admin"),
    ("GET", "/api/v1/workers", "read submit admin"),
    ("POST", "/api/v1/workers/{name}/drain", "admin"),
    ("GET", "/livez", ""),
    ("GET", "/metrics", "none read submit admin"),
    ("GET", "/readyz", ""),
];

fn document() -> Value {
    router_and_document::<Fake>().1
}

/// Method, path and operation.
fn operations(document: &Value) -> impl Iterator<Item = (String, &String, &Value)> {
    let items = document["paths"].as_object().unwrap().iter();
    items.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method.to_ascii_uppercase(), path, operation))
    })
}

#[test]
fn the_document_has_every_operation_and_the_roles_that_it_takes() {
    let document = document();
    let role =
        |requirement: &Value| requirement.as_object().unwrap().keys().next().map_or("none", String::as_str).to_owned();
    let found: Vec<(String, String, String)> = operations(&document)
        .map(|(method, path, operation)| {
            let roles: Vec<String> = operation["security"].as_array().unwrap().iter().map(role).collect();
            (method, path.clone(), roles.join(" "))
        })
        .collect();
    let known =
        OPERATIONS.iter().map(|(method, path, roles)| ((*method).to_owned(), (*path).to_owned(), (*roles).to_owned()));
    assert_eq!(found, known.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_router_answers_what_the_document_has_and_no_other_method() {
    let document = document();
    let documented: BTreeSet<_> = operations(&document).map(|(method, path, _)| (method, path.clone())).collect();
    for path in document["paths"].as_object().unwrap().keys() {
        let place = path.replace("{id}", "1").replace("{receipt}", "17-000-21a-3zevw0d9j");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if (&method, path.as_str()) == (&Method::GET, "/api/v1/events") {
                // It has no end; there are tests of its own.
                continue;
            }
            let answer = ask(fake(), method.clone(), &place, None).await;
            let has = documented.contains(&(method.as_str().to_owned(), path.clone()));
            assert_eq!(answer.status == 405, !has, "{method} {path}: {}", answer.status);
            assert!(!answer.body.contains("there is nothing at this path"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let answer = ask(fake(), Method::GET, "/api/v1/openapi.json", None).await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    assert_eq!(answer.json(), document());
}

#[test]
fn operations_have_names_of_their_own_and_links_lead_to_them() {
    let document = document();
    let ids: Vec<&str> = operations(&document).map(|(_, _, it)| it["operationId"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len());
    let links = &document["paths"]["/api/v1/steps"]["post"]["responses"]["201"]["links"];
    for link in links.as_object().unwrap().values() {
        assert!(distinct.contains(link["operationId"].as_str().unwrap()), "{link}");
    }
}

/// Hands every reference in a value to `visit`.
fn references(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                visit(reference);
            }
            map.values().for_each(|value| references(value, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
    let document = document();
    let mut used = BTreeSet::new();
    references(&document, &mut |reference| {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        used.insert(reference.rsplit('/').next().unwrap().to_owned());
    });
    // What events carry stands in no schema of an answer: their content is text.
    used.extend(["ClusterEvent".to_owned(), "GapEvent".to_owned()]);
    let all: BTreeSet<String> = document["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(all, used);
}

#[test]
fn what_is_read_and_what_is_written_agree_where_they_share_a_name() {
    let (mut paths, mut schemas) = (Map::new(), Schemas::new());
    let enter = |router, endpoint: Endpoint<Served<Fake>>| endpoint.enter(router, &mut paths, &mut schemas);
    drop(endpoints::<Fake>().into_iter().fold(Router::new(), enter));
    let (taken, given) = schemas.by_direction();
    let shared: Vec<&String> = taken.keys().filter(|name| given.contains_key(*name)).collect();
    assert!(!shared.is_empty());
    for name in shared {
        assert_eq!(taken[name], given[name], "{name}");
    }
}

/// What is wrong with a value, by the parts of JSON Schema that our schemas are made of.
fn wrong(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return wrong(document, document.pointer(reference.trim_start_matches('#')).unwrap(), value);
    }
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let types = match &schema["type"] {
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        Value::String(name) => is(name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    };
    if !types || schema.get("const").is_some_and(|constant| constant != value) {
        return Some(format!("{value} is not {schema}"));
    }
    for choice in ["oneOf", "anyOf"] {
        let Some(choices) = schema[choice].as_array() else { continue };
        let fits = choices.iter().filter(|schema| wrong(document, schema, value).is_none()).count();
        if fits == 0 || (choice == "oneOf" && fits > 1) {
            return Some(format!("{value} is {fits} of {schema}"));
        }
    }
    let missing = schema["required"].as_array().into_iter().flatten();
    let missing = missing.map(|name| name.as_str().unwrap()).find(|name| value.get(name).is_none());
    if let Some(missing) = missing {
        return Some(format!("{value} has no {missing}"));
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut parts = properties.filter_map(|(name, schema)| Some((schema, value.get(name)?)));
    let items = value.as_array().into_iter().flatten().map(|item| (&schema["items"], item));
    parts.find_map(|(schema, part)| wrong(document, schema, part)).or_else(|| {
        let mut items = items.filter(|(schema, _)| schema.is_object());
        items.find_map(|(schema, item)| wrong(document, schema, item))
    })
}

#[track_caller]
fn assert_fits(name: &str, value: impl serde::Serialize) {
    let document = document();
    let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
    assert_eq!(wrong(&document, &schema, &serde_json::to_value(value).unwrap()), None, "{name}");
}

#[test]
fn what_the_face_answers_fits_its_schema() {
    let failure = FailureView {
        receipt: Some(ReceiptId::conceive(StepId(1), StageId(0), 0, 0, 0, 1, 1)),
        item: None,
        node: "w".to_owned(),
        message: "m".to_owned(),
        attempts: 1,
        log_tail: vec!["l".to_owned()],
        set_aside: true,
    };
    let step = StepId(1);
    for kind in [
        ClusterEventKind::Step { step, state: StepState::Running, reason: None },
        ClusterEventKind::Worker { name: "w".to_owned(), connected: false, reason: Some("r".to_owned()) },
        ClusterEventKind::Verdict { name: "w".to_owned(), living: false },
        ClusterEventKind::Progress { step, progress: Progress::default() },
        ClusterEventKind::Failure { step, failure: failure.clone() },
    ] {
        assert_fits("ClusterEvent", ClusterEvent { number: 1, at: 2, kind });
    }
    assert_fits("FailureView", failure);
    assert_fits("GapEvent", GapEvent { from: 1, to: 2 });
    assert_fits("StepView", view(1, Some("l".to_owned())));
    let wrong =
        wrong(&document(), &json!({ "$ref": "#/components/schemas/GapEvent" }), &json!({ "from": 1, "to": "2" }));
    assert!(wrong.is_some_and(|wrong| wrong.contains("\"2\"")));
}
