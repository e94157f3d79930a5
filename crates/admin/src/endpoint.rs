//! An operation of the HTTP face: its handler, and what the OpenAPI document says of it, one made of the other.

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Map, Value, json};

use crate::error::ErrorBody;
use crate::guard::{Access, access};
use crate::said::{Described, JSON, Said, Schemas};
use crate::token::Role;

/// An operation of a router with state `S`.
pub(crate) struct Endpoint<S> {
    path: &'static str,
    method: Method,
    id: &'static str,
    summary: &'static str,
    handler: MethodRouter<S>,
    describe: fn(&mut Said<'_>),
    refusals: Vec<(StatusCode, &'static str)>,
}

impl<S: Clone + Send + Sync + 'static> Endpoint<S> {
    /// `GET path`, called `id` in generated clients.
    pub(crate) fn get<H, M, A>(path: &'static str, id: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<M, S> + Described<A>,
        M: 'static,
    {
        let handler = on(MethodFilter::GET, handler);
        Self { path, method: Method::GET, id, summary, handler, describe: H::describe, refusals: Vec::new() }
    }

    /// `POST path`.
    pub(crate) fn post<H, M, A>(path: &'static str, id: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<M, S> + Described<A>,
        M: 'static,
    {
        let handler = on(MethodFilter::POST, handler);
        Self { path, method: Method::POST, id, summary, handler, describe: H::describe, refusals: Vec::new() }
    }

    /// Says that what the handler asks may be refused.
    #[must_use]
    pub(crate) fn refuses(mut self, status: StatusCode, why: &'static str) -> Self {
        self.refusals.push((status, why));
        self
    }

    /// Puts it into a router and into the paths of a document.
    pub(crate) fn enter(self, router: Router<S>, paths: &mut Map<String, Value>, schemas: &mut Schemas) -> Router<S> {
        let operation = self.operation(schemas);
        let item = paths.entry(self.path).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(item) = item {
            item.insert(self.method.as_str().to_ascii_lowercase(), operation);
        }
        router.route(self.path, self.handler)
    }

    fn operation(&self, schemas: &mut Schemas) -> Value {
        let access = access(&self.method, self.path);
        let refusal = schemas.given::<ErrorBody>();
        let mut said = Said::nothing(schemas);
        (self.describe)(&mut said);
        for (status, why) in self.refusals.iter().chain(refusals_of(access)) {
            said.refused(*status, why);
        }
        let refusals = said.refusals.into_iter().map(|(status, reasons)| {
            let content = json!({ JSON: { "schema": refusal } });
            (status, json!({ "description": sentence(&reasons), "content": content }))
        });
        let responses = std::iter::once(said.success).chain(refusals);
        let responses: Map<_, _> = responses.map(|(status, response)| (status.as_str().to_owned(), response)).collect();
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": said.parameters,
            "responses": responses,
            "security": securities(access),
        });
        if let (Some(body), Value::Object(operation)) = (said.body, &mut operation) {
            operation.insert("requestBody".to_owned(), body);
        }
        operation
    }
}

/// Any of these will do; the empty one is no token.
fn securities(access: Access) -> Vec<Value> {
    let tokens = |needed: Role| {
        let enough = Role::ALL.into_iter().filter(move |role| *role >= needed);
        enough.map(|role| json!({ role.name(): [] }))
    };
    match access {
        Access::Open => Vec::new(),
        Access::OpenOnLoopback(needed) => std::iter::once(json!({})).chain(tokens(needed)).collect(),
        Access::Token(needed) => tokens(needed).collect(),
    }
}

/// What the guard refuses before any handler is asked.
const fn refusals_of(access: Access) -> &'static [(StatusCode, &'static str)] {
    const HOST: (StatusCode, &str) = (StatusCode::MISDIRECTED_REQUEST, "the Host is not this server's");
    const ORIGIN: (StatusCode, &str) = (StatusCode::FORBIDDEN, "the request is from a page of another origin");
    const TOKEN: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "there is no token, or it is not of this cluster");
    const ROLE: (StatusCode, &str) = (StatusCode::FORBIDDEN, "the token's role does not allow this");
    match access {
        Access::Open => &[HOST, ORIGIN],
        Access::OpenOnLoopback(_) | Access::Token(_) => &[HOST, ORIGIN, TOKEN, ROLE],
    }
}

/// `The first; or the second.`
fn sentence(reasons: &[&str]) -> String {
    let mut text = reasons.join("; or ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}
