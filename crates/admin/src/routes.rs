//! Every operation of the master's HTTP face; its router and its OpenAPI document are made of this one list.

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use elastic_flow_queue::Caller;
use schemars::json_schema;
use serde_json::{Map, Value, json};

use crate::endpoint::Endpoint;
use crate::error::Refusal;
use crate::face::Face;
use crate::metrics::Metrics;
use crate::said::{Answer, Input, JSON, Said, Schemas};
use crate::token::Role;
use crate::{api, events, rows, server};

/// What the master's handlers answer from.
#[derive(Clone)]
pub(crate) struct Served<F> {
    pub(crate) face: F,
    pub(crate) metrics: Metrics,
    /// The OpenAPI document, as it is sent.
    document: Bytes,
}

/// The master, as an argument of a handler.
#[derive(Debug)]
pub(crate) struct Master<F>(pub(crate) F);

impl<F: Face> FromRequestParts<Served<F>> for Master<F> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_parts: &mut Parts, served: &Served<F>) -> Result<Self, Self::Rejection> {
        Ok(Self(served.face.clone()))
    }
}

/// The master, as an argument of a handler that tells it to do something: it knows who does.
#[derive(Debug)]
pub(crate) struct Told<F>(pub(crate) F);

impl<F: Face> FromRequestParts<Served<F>> for Told<F> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, served: &Served<F>) -> Result<Self, Refusal> {
        // The guard has let in whoever asks, with a token, or there is no caller.
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(|caller| Self(served.face.by(caller))).ok_or_else(Refusal::unauthorized)
    }
}

impl<F> Input for Told<F> {
    fn describe(said: &mut Said<'_>) {
        Master::<F>::describe(said);
    }
}

impl<F> Input for Master<F> {
    fn describe(said: &mut Said<'_>) {
        said.refused(StatusCode::INTERNAL_SERVER_ERROR, "the master's store failed");
        said.refused(StatusCode::SERVICE_UNAVAILABLE, "the master is stopping");
    }
}

/// All of it, for what answers without asking the master.
impl<F> Input for State<Served<F>> {
    fn describe(_said: &mut Said<'_>) {}
}

/// The router of a master.
pub(crate) fn master<F: Face>(face: F, metrics: Metrics) -> Router {
    let (router, document) = router_and_document();
    router.with_state(Served { face, metrics, document: document.to_string().into() })
}

/// Both from the one list.
pub(crate) fn router_and_document<F: Face>() -> (Router<Served<F>>, Value) {
    let (mut paths, mut schemas) = (Map::new(), Schemas::new());
    let enter = |router, endpoint: Endpoint<_>| endpoint.enter(router, &mut paths, &mut schemas);
    let router = endpoints::<F>().into_iter().fold(Router::new(), enter);
    let tokens: Map<String, Value> = Role::ALL.map(|role| (role.name().to_owned(), bearer(role))).into_iter().collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Elastic Flow",
            "description": "A master of a cluster: its steps, their receipts and results, its workers.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": schemas.into_components(), "securitySchemes": tokens },
    });
    (router, document)
}

fn bearer(role: Role) -> Value {
    let allows = match role {
        Role::Read => "Looks: every GET.",
        Role::Submit => "Submits, cancels and replays steps as well.",
        Role::Admin => "Everything: drains workers as well.",
    };
    let description = format!("{allows} `PROG token {role}` prints it.");
    json!({ "type": "http", "scheme": "bearer", "description": description })
}

fn endpoints<F: Face>() -> Vec<Endpoint<Served<F>>> {
    [probes(), cluster(), steps()].into_iter().flatten().collect()
}

fn probes<F: Face>() -> Vec<Endpoint<Served<F>>> {
    vec![
        Endpoint::get("/livez", "livez", "Whether the process lives", server::alive),
        Endpoint::get("/readyz", "readyz", "Whether the master takes steps", server::master_ready::<F>)
            .refuses(StatusCode::SERVICE_UNAVAILABLE, "it is not ready"),
        Endpoint::get(
            "/metrics",
            "metrics",
            "The series of the master and its workers, for Prometheus",
            server::master_metrics::<F>,
        )
        .refuses(StatusCode::NOT_FOUND, "the program installed a metrics recorder of its own"),
    ]
}

fn cluster<F: Face>() -> Vec<Endpoint<Served<F>>> {
    vec![
        Endpoint::get("/api/v1/openapi.json", "openapi", "This document", document::<F>),
        Endpoint::get("/api/v1/cluster", "cluster", "The cluster in short", api::cluster::<F>),
        Endpoint::get("/api/v1/workers", "workers", "The workers that are connected", api::workers::<F>),
        Endpoint::post(
            "/api/v1/workers/{name}/drain",
            "drain",
            "Gives a worker no more work; it finishes what it has, and stays connected",
            api::drain::<F>,
        ),
        Endpoint::get("/api/v1/events", "events", "What happens, as it happens", events::events::<F>),
        Endpoint::get("/api/v1/receipts/{receipt}", "receipt", "What is known of one receipt", api::receipt::<F>)
            .refuses(StatusCode::CONFLICT, "its step has not started"),
    ]
}

fn steps<F: Face>() -> Vec<Endpoint<Served<F>>> {
    const CONFLICT: StatusCode = StatusCode::CONFLICT;
    const NOT_STARTED: &str = "the step has not started";
    vec![
        Endpoint::get("/api/v1/steps", "steps", "All steps, oldest first", api::steps::<F>),
        Endpoint::post("/api/v1/steps", "submit", "Queues a step", api::submit::<F>)
            .refuses(CONFLICT, "its key belongs to a step of other content, or too many steps wait"),
        Endpoint::get("/api/v1/steps/{id}", "step", "A step", api::step::<F>),
        Endpoint::post(
            "/api/v1/steps/{id}/cancel",
            "cancel",
            "Takes a step out of the queue, or stops it after the chunks in hand",
            api::cancel::<F>,
        )
        .refuses(CONFLICT, "the step has ended otherwise"),
        Endpoint::post(
            "/api/v1/steps/{id}/replay",
            "replay",
            "Queues a step of what this one set aside or did not finish",
            api::replay::<F>,
        )
        .refuses(CONFLICT, "the step has not ended, or nothing of it is missing"),
        Endpoint::get(
            "/api/v1/steps/{id}/result",
            "result",
            "The rows of a step's result; of a running step, what is there so far",
            rows::result::<F>,
        )
        .refuses(StatusCode::NOT_FOUND, "the step has no result, yet or any more")
        .refuses(CONFLICT, NOT_STARTED),
        Endpoint::get(
            "/api/v1/steps/{id}/audit",
            "audit",
            "Whether every receipt of a step is accounted for",
            api::audit::<F>,
        )
        .refuses(CONFLICT, NOT_STARTED),
        Endpoint::get("/api/v1/steps/{id}/receipts", "receipts", "The receipts of a step", api::receipts::<F>)
            .refuses(CONFLICT, NOT_STARTED),
        Endpoint::get(
            "/api/v1/steps/{id}/dead-letters",
            "dead_letters",
            "The items and chunks that a step set aside, with their errors",
            api::dead_letters::<F>,
        )
        .refuses(CONFLICT, NOT_STARTED),
        Endpoint::get("/api/v1/steps/{id}/failures", "failures", "What failed in a step", api::failures::<F>)
            .refuses(CONFLICT, NOT_STARTED),
    ]
}

async fn document<F: Face>(State(served): State<Served<F>>) -> Document {
    Document(Bytes::clone(&served.document))
}

/// The OpenAPI document.
#[derive(Debug)]
struct Document(Bytes);

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, JSON)], self.0).into_response()
    }
}

impl Answer for Document {
    fn describe(said: &mut Said<'_>) {
        said.succeeds(StatusCode::OK, "An OpenAPI 3.1 document.", JSON, json_schema!({ "type": "object" }));
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
