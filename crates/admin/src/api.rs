//! One handler a route of `/api/v1`.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use elastic_flow_orchestrator::Submission;
use elastic_flow_orchestrator::api::ReceiptFilter;
use elastic_flow_receipt::{ReceiptId, StepId};
use serde::Deserialize;

use crate::error::Refusal;
use crate::face::Face;

/// Most receipts of one page.
const RECEIPTS_PAGE_MAX: u32 = 10_000;
/// Longest label or key, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Longest program name, in bytes.
const NAME_BYTES_MAX: usize = 128;

type Answer = Result<Response, Refusal>;

pub(crate) async fn cluster<F: Face>(State(face): State<F>) -> Answer {
    Ok(Json(face.cluster().await?).into_response())
}

pub(crate) async fn steps<F: Face>(State(face): State<F>) -> Answer {
    Ok(Json(face.steps().await?).into_response())
}

pub(crate) async fn workers<F: Face>(State(face): State<F>) -> Answer {
    Ok(Json(face.workers().await?).into_response())
}

/// Answers with the new step and its place.
pub(crate) async fn submit<F: Face>(
    State(face): State<F>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let submission = parse_submission(&headers, body)?;
    created(&face, face.submit(submission).await?).await
}

pub(crate) async fn step<F: Face>(State(face): State<F>, Path(id): Path<String>) -> Answer {
    Ok(Json(face.step(step_id(&id)?).await?).into_response())
}

pub(crate) async fn cancel<F: Face>(State(face): State<F>, Path(id): Path<String>) -> Answer {
    Ok((StatusCode::ACCEPTED, Json(face.cancel(step_id(&id)?).await?)).into_response())
}

pub(crate) async fn replay<F: Face>(State(face): State<F>, Path(id): Path<String>) -> Answer {
    created(&face, face.replay(step_id(&id)?).await?).await
}

pub(crate) async fn audit<F: Face>(State(face): State<F>, Path(id): Path<String>) -> Answer {
    Ok(Json(face.audit(step_id(&id)?).await?).into_response())
}

pub(crate) async fn failures<F: Face>(State(face): State<F>, Path(id): Path<String>) -> Answer {
    Ok(Json(face.failures(step_id(&id)?).await?).into_response())
}

/// `?node=`, `?station=`, `?from=` (a sequence number), `?limit=`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReceiptQuery {
    node: Option<String>,
    station: Option<String>,
    from: u64,
    limit: u32,
}

pub(crate) async fn receipts<F: Face>(
    State(face): State<F>,
    Path(id): Path<String>,
    query: Result<Query<ReceiptQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(query) = query.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    if query.limit > RECEIPTS_PAGE_MAX {
        let message = format!("limit is {}: at most {RECEIPTS_PAGE_MAX} receipts come on one page", query.limit);
        return Err(Refusal::invalid(message));
    }
    let filter = ReceiptFilter { node: query.node, station: query.station, from: query.from, limit: query.limit };
    Ok(Json(face.receipts(step_id(&id)?, filter).await?).into_response())
}

pub(crate) async fn receipt<F: Face>(State(face): State<F>, Path(text): Path<String>) -> Answer {
    let receipt: ReceiptId =
        text.parse().map_err(|error| Refusal::invalid(format!("this is not a receipt: {error}")))?;
    Ok(Json(face.receipt(receipt).await?).into_response())
}

pub(crate) async fn no_such_path() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

pub(crate) async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}

pub(crate) fn step_id(text: &str) -> Result<StepId, Refusal> {
    let number = text.parse().map_err(|_| Refusal::invalid("a step is named by its number"))?;
    Ok(StepId(number))
}

async fn created<F: Face>(face: &F, step: StepId) -> Answer {
    let view = face.step(step).await?;
    let location = format!("/api/v1/steps/{}", step.0);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
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
