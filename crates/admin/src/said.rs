//! What handlers take and answer with, read off their types, as the OpenAPI document tells it.

use std::collections::BTreeMap;
use std::future::Future;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use elastic_flow_receipt::StepId;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::Refusal;

/// The media type of everything that is not rows, events or plain text.
pub(crate) const JSON: &str = "application/json";

/// Operations on a step, which a new one links to.
const ON_A_STEP: [&str; 8] = ["step", "cancel", "replay", "result", "audit", "receipts", "dead_letters", "failures"];

/// The schemas of a document: what is read and what is written may differ, so each has its generator.
pub(crate) struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let settings = || {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            });
            settings.with_transform(RecursiveTransform(bound))
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            given: settings().for_serialize().into_generator(),
        }
    }

    /// Of a type that requests bring.
    pub(crate) fn taken<T: JsonSchema>(&mut self) -> Schema {
        self.taken.subschema_for::<T>()
    }

    /// Of a type that answers carry.
    pub(crate) fn given<T: JsonSchema>(&mut self) -> Schema {
        self.given.subschema_for::<T>()
    }

    /// All that the others refer to, by name.
    pub(crate) fn into_components(self) -> Map<String, Value> {
        let (mut components, given) = self.by_direction();
        components.extend(given);
        components
    }

    /// What was taken, and what was given.
    pub(crate) fn by_direction(mut self) -> (Map<String, Value>, Map<String, Value>) {
        (self.taken.take_definitions(true), self.given.take_definitions(true))
    }
}

/// Numbers of so many bits end somewhere, which not every reader knows of their format.
fn bound(schema: &mut Schema) {
    let max = match schema.get("format").and_then(Value::as_str) {
        Some("uint64") => u64::MAX,
        Some("uint32") => u32::MAX.into(),
        Some("uint16") => u16::MAX.into(),
        _ => return,
    };
    if schema.get("maximum").is_none() {
        schema.insert("maximum".to_owned(), max.into());
    }
}

/// What has been said of an operation so far.
pub(crate) struct Said<'a> {
    pub(crate) schemas: &'a mut Schemas,
    pub(crate) parameters: Vec<Value>,
    pub(crate) body: Option<Value>,
    /// The status of a success, and what it looks like.
    pub(crate) success: (StatusCode, Value),
    /// Why it is refused, by status.
    pub(crate) refusals: BTreeMap<StatusCode, Vec<&'static str>>,
}

impl<'a> Said<'a> {
    pub(crate) fn nothing(schemas: &'a mut Schemas) -> Self {
        let success = (StatusCode::OK, Value::Null);
        Self { schemas, parameters: Vec::new(), body: None, success, refusals: BTreeMap::new() }
    }

    /// Adds a reason for a refusal.
    pub(crate) fn refused(&mut self, status: StatusCode, why: &'static str) {
        let reasons = self.refusals.entry(status).or_default();
        if !reasons.contains(&why) {
            reasons.push(why);
        }
    }

    /// A success of one media type.
    pub(crate) fn succeeds(&mut self, status: StatusCode, description: &str, media_type: &str, schema: Schema) {
        self.success = (status, json!({ "description": description, "content": { media_type: { "schema": schema } } }));
    }

    /// A parameter that stands in the path.
    pub(crate) fn in_path(&mut self, name: &str, description: &str, schema: Schema) {
        self.parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": description, "schema": schema,
        }));
    }
}

/// An argument of a handler.
pub(crate) trait Input {
    /// Tells what it takes, and when it is refused.
    fn describe(said: &mut Said<'_>);
}

/// What a handler answers with.
pub(crate) trait Answer {
    /// Tells what a success looks like.
    fn describe(said: &mut Said<'_>);
}

impl<T: Answer> Answer for Result<T, Refusal> {
    fn describe(said: &mut Said<'_>) {
        T::describe(said);
    }
}

/// A handler with arguments `A`, all of which, and whose answer, say what they are.
pub(crate) trait Described<A> {
    /// Tells all of it.
    fn describe(said: &mut Said<'_>);
}

macro_rules! described {
    ($($input:ident),*) => {
        impl<H, R, $($input),*> Described<($($input,)*)> for H
        where
            H: FnOnce($($input),*) -> R,
            R: Future<Output: Answer>,
            $($input: Input),*
        {
            fn describe(said: &mut Said<'_>) {
                $($input::describe(said);)*
                <R::Output as Answer>::describe(said);
            }
        }
    };
}

described!();
described!(A);
described!(A, B);
described!(A, B, C);

/// The number of a step, in the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepNumber(pub(crate) StepId);

impl<S: Send + Sync> FromRequestParts<S> for StepNumber {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Text(text) = Text::from_request_parts(parts, state).await?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::invalid("a step is named by its number"));
        }
        // No queue has a step whose number is too large to be one.
        let number = text
            .parse()
            .map_err(|_| Refusal::new(StatusCode::NOT_FOUND, "not_found", format!("there is no step {text}")))?;
        Ok(Self(StepId(number)))
    }
}

impl Input for StepNumber {
    fn describe(said: &mut Said<'_>) {
        said.in_path(
            "id",
            "The number of the step.",
            json_schema!({ "type": "integer", "minimum": 0, "examples": [1] }),
        );
        said.refused(StatusCode::BAD_REQUEST, "the step is not a number");
        said.refused(StatusCode::NOT_FOUND, "there is no such step");
    }
}

/// The one parameter of a path, as text.
#[derive(Debug)]
pub(crate) struct Text(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Text {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(text)| Self(text)).map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

/// What stands behind the `?`: a struct all of whose fields have defaults.
#[derive(Debug)]
pub(crate) struct Asked<Q>(pub(crate) Q);

impl<Q: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<Q> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

impl<Q: JsonSchema> Input for Asked<Q> {
    fn describe(said: &mut Said<'_>) {
        let schema = Q::json_schema(&mut said.schemas.taken);
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|schema| {
                // Of what may be left out, nothing is the default, and that is not a value.
                if schema.get("default").is_some_and(Value::is_null) {
                    schema.remove("default");
                }
                schema.remove("description")
            });
            let parameter = json!({
                "name": name, "in": "query", "required": false, "description": description, "schema": schema,
            });
            said.parameters.push(parameter);
        }
        said.refused(StatusCode::BAD_REQUEST, "the query cannot be read");
    }
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Found<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Found<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: JsonSchema> Answer for Found<T> {
    fn describe(said: &mut Said<'_>) {
        let schema = said.schemas.given::<T>();
        said.succeeds(StatusCode::OK, "What was asked for.", JSON, schema);
    }
}

/// What will be done.
#[derive(Debug)]
pub(crate) struct Accepted<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> Answer for Accepted<T> {
    fn describe(said: &mut Said<'_>) {
        let schema = said.schemas.given::<T>();
        said.succeeds(StatusCode::ACCEPTED, "It will be done, if it is not already.", JSON, schema);
    }
}

/// A step that was made.
#[derive(Debug)]
pub(crate) struct Created<T> {
    pub(crate) step: StepId,
    pub(crate) view: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, Json(self.view)).into_response();
        if let Ok(place) = HeaderValue::try_from(format!("/api/v1/steps/{}", self.step)) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }
}

impl<T: JsonSchema> Answer for Created<T> {
    fn describe(said: &mut Said<'_>) {
        let link = |id| json!({ "operationId": id, "parameters": { "id": "$response.body#/id" } });
        let links: Map<String, Value> = ON_A_STEP.into_iter().map(|id| (id.to_owned(), link(id))).collect();
        let response = json!({
            "description": "The new step.",
            "content": { JSON: { "schema": said.schemas.given::<T>() } },
            "headers": { "Location": { "description": "Where the step is.", "schema": string() } },
            "links": links,
        });
        said.success = (StatusCode::CREATED, response);
    }
}

/// A text that people and probes read.
#[derive(Debug)]
pub(crate) struct Plain(pub(crate) &'static str);

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl Answer for Plain {
    fn describe(said: &mut Said<'_>) {
        said.succeeds(StatusCode::OK, "It is.", "text/plain", string());
    }
}

/// The schema of any text.
pub(crate) fn string() -> Schema {
    json_schema!({ "type": "string" })
}
