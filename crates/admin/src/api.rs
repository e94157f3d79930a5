//! One handler a route of `/api/v1`.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use elastic_flow_orchestrator::api::{
    ClusterView, DeadLetterFilter, DeadLetterView, FailureView, ReceiptFilter, ReceiptView, StepView, WorkerView,
};
use elastic_flow_orchestrator::{ApiError, Submission};
use elastic_flow_receipt::{Audit, ReceiptId, Station, StepId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::error::Refusal;
use crate::face::Face;
use crate::routes::{Master, Told};
use crate::said::{Accepted, Asked, Created, Found, Input, JSON, Said, StepNumber, Text, string};

/// Most receipts, or dead letters, of one page.
const RECEIPTS_PAGE_MAX: u32 = 10_000;
/// Largest number that every reader of JSON takes as it is.
const SEQUENCE_MAX: u64 = (1 << 53) - 1;
/// Longest label or key, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Longest program name, in bytes.
const NAME_BYTES_MAX: usize = 128;

pub(crate) async fn cluster<F: Face>(Master(face): Master<F>) -> Result<Found<ClusterView>, Refusal> {
    Ok(Found(face.cluster().await?))
}

pub(crate) async fn steps<F: Face>(Master(face): Master<F>) -> Result<Found<Vec<StepView>>, Refusal> {
    Ok(Found(face.steps().await?))
}

pub(crate) async fn workers<F: Face>(Master(face): Master<F>) -> Result<Found<Vec<WorkerView>>, Refusal> {
    Ok(Found(face.workers().await?))
}

/// The name of a worker in the path.
#[derive(Debug)]
pub(crate) struct WorkerName(String);

impl<S: Send + Sync> FromRequestParts<S> for WorkerName {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Text(text) = Text::from_request_parts(parts, state).await?;
        Ok(Self(text))
    }
}

impl Input for WorkerName {
    fn describe(said: &mut Said<'_>) {
        said.in_path("name", "The name of the worker.", string());
        said.refused(StatusCode::BAD_REQUEST, "the path cannot be read");
        said.refused(StatusCode::NOT_FOUND, "no worker of this name is connected");
    }
}

pub(crate) async fn drain<F: Face>(
    Told(face): Told<F>,
    WorkerName(name): WorkerName,
) -> Result<Accepted<Vec<WorkerView>>, Refusal> {
    Ok(Accepted(face.drain(&name).await?))
}

/// Answers with the new step and its place.
pub(crate) async fn submit<F: Face>(
    Told(face): Told<F>,
    Submitted(submission): Submitted,
) -> Result<Created<StepView>, Refusal> {
    let step = face.submit(submission).await.map_err(|error| {
        // What a schema can say of a submission has been checked.
        if let ApiError::Invalid(message) = error { Refusal::unprocessable(message) } else { error.into() }
    })?;
    created(&face, step).await
}

pub(crate) async fn step<F: Face>(
    Master(face): Master<F>,
    StepNumber(step): StepNumber,
) -> Result<Found<StepView>, Refusal> {
    Ok(Found(face.step(step).await?))
}

pub(crate) async fn cancel<F: Face>(
    Told(face): Told<F>,
    StepNumber(step): StepNumber,
) -> Result<Accepted<StepView>, Refusal> {
    Ok(Accepted(face.cancel(step).await?))
}

pub(crate) async fn replay<F: Face>(
    Told(face): Told<F>,
    StepNumber(step): StepNumber,
) -> Result<Created<StepView>, Refusal> {
    let new = face.replay(step).await?;
    created(&face, new).await
}

pub(crate) async fn audit<F: Face>(
    Master(face): Master<F>,
    StepNumber(step): StepNumber,
) -> Result<Found<Audit>, Refusal> {
    Ok(Found(face.audit(step).await?))
}

pub(crate) async fn failures<F: Face>(
    Master(face): Master<F>,
    StepNumber(step): StepNumber,
) -> Result<Found<Vec<FailureView>>, Refusal> {
    Ok(Found(face.failures(step).await?))
}

/// Which receipts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReceiptQuery {
    /// Only those last seen on this node.
    #[schemars(with = "String")]
    node: Option<String>,
    /// Only those whose last station this is.
    #[schemars(with = "Station")]
    station: Option<Station>,
    /// From this sequence number.
    #[schemars(range(max = SEQUENCE_MAX))]
    from: u64,
    /// At most so many; 0 stands for a thousand.
    #[schemars(range(max = RECEIPTS_PAGE_MAX))]
    limit: u32,
}

pub(crate) async fn receipts<F: Face>(
    Master(face): Master<F>,
    StepNumber(step): StepNumber,
    Asked(query): Asked<ReceiptQuery>,
) -> Result<Found<Vec<ReceiptView>>, Refusal> {
    let ReceiptQuery { node, station, from, limit } = query;
    if limit > RECEIPTS_PAGE_MAX {
        let message = format!("limit is {limit}: at most {RECEIPTS_PAGE_MAX} receipts come on one page");
        return Err(Refusal::invalid(message));
    }
    if from > SEQUENCE_MAX {
        return Err(Refusal::invalid(format!("from is {from}: sequence numbers end at {SEQUENCE_MAX}")));
    }
    let station = station.map(|station| station.name().to_owned());
    Ok(Found(face.receipts(step, ReceiptFilter { node, station, from, limit }).await?))
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeadLetterQuery {
    /// From this number, where the first is 0.
    #[schemars(range(max = SEQUENCE_MAX))]
    from: u64,
    /// At most so many; 0 stands for a thousand.
    #[schemars(range(max = RECEIPTS_PAGE_MAX))]
    limit: u32,
}

pub(crate) async fn dead_letters<F: Face>(
    Master(face): Master<F>,
    StepNumber(step): StepNumber,
    Asked(query): Asked<DeadLetterQuery>,
) -> Result<Found<Vec<DeadLetterView>>, Refusal> {
    let DeadLetterQuery { from, limit } = query;
    if limit > RECEIPTS_PAGE_MAX {
        let message = format!("limit is {limit}: at most {RECEIPTS_PAGE_MAX} dead letters come on one page");
        return Err(Refusal::invalid(message));
    }
    if from > SEQUENCE_MAX {
        return Err(Refusal::invalid(format!("from is {from}: numbers end at {SEQUENCE_MAX}")));
    }
    Ok(Found(face.dead_letters(step, DeadLetterFilter { from, limit }).await?))
}

/// A receipt in the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiptText(ReceiptId);

impl<S: Send + Sync> FromRequestParts<S> for ReceiptText {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Text(text) = Text::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|error| no_receipt(format!("this is not a receipt: {error}")))
    }
}

impl Input for ReceiptText {
    fn describe(said: &mut Said<'_>) {
        let schema = said.schemas.taken::<ReceiptId>();
        said.in_path("receipt", "The receipt.", schema);
        said.refused(StatusCode::BAD_REQUEST, "the path cannot be read");
        said.refused(StatusCode::NOT_FOUND, "it is mistyped, or there is no such receipt or step");
    }
}

pub(crate) async fn receipt<F: Face>(
    Master(face): Master<F>,
    ReceiptText(receipt): ReceiptText,
) -> Result<Found<ReceiptView>, Refusal> {
    let found = face.receipt(receipt).await;
    let found = found
        .map_err(|error| if let ApiError::Invalid(message) = error { no_receipt(message) } else { error.into() })?;
    Ok(Found(found))
}

fn no_receipt(message: String) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}

pub(crate) async fn no_such_path() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub(crate) async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}

async fn created<F: Face>(face: &F, step: StepId) -> Result<Created<StepView>, Refusal> {
    Ok(Created { step, view: face.step(step).await? })
}

/// A step in the body of a request.
#[derive(Debug)]
pub(crate) struct Submitted(Submission);

impl<S: Send + Sync> FromRequest<S> for Submitted {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let body = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        parse_submission(&parts.headers, body).map(Self)
    }
}

impl Input for Submitted {
    fn describe(said: &mut Said<'_>) {
        let schema = said.schemas.taken::<Submission>();
        said.body = Some(json!({ "required": true, "content": { JSON: { "schema": schema } } }));
        said.refused(StatusCode::BAD_REQUEST, "the body is not a submission");
        said.refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        said.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not application/json");
        said.refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this master cannot run it: no such program, parameter or file, say",
        );
    }
}

fn parse_submission(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Submission, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "a step is submitted as application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let body = body.map_err(|rejection| {
        let kind = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "invalid" };
        Refusal::new(rejection.status(), kind, rejection.body_text())
    })?;
    let submission: Submission = serde_json::from_slice(&body)
        .map_err(|error| Refusal::invalid(format!("this is not a submission: {error}")))?;
    check_submission(&submission)?;
    Ok(submission)
}

/// Texts that people see later, in terminals and logs, hold no control characters.
fn check_submission(submission: &Submission) -> Result<(), Refusal> {
    if !is_name(&submission.program) {
        return Err(Refusal::invalid(format!(
            "the name of a program consists of 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes and underscores"
        )));
    }
    for (what, text) in [("label", &submission.label), ("key", &submission.key)] {
        if let Some(text) = text
            && (text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control))
        {
            let message = format!("a {what} has 1 to {TEXT_BYTES_MAX} bytes and no control characters");
            return Err(Refusal::invalid(message));
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
