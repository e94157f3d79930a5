//! What a refusal looks like: a status, and `{"kind", "message"}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use elastic_flow_orchestrator::ApiError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// One word for programs: `not_found`, `invalid`, `unprocessable`, `conflict`, `no_result`, `store_failed`, `stopping`,
    /// `unauthorized`, `forbidden`, `misdirected`, `method_not_allowed`, `unsupported_media_type`, `too_large`, `unavailable`,
    /// `failed`.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// There is no token, or none of this cluster.
    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "this takes a bearer token derived from the cluster's key; the program's own command line sends it by itself",
        )
    }

    /// The request has the right form, and this master cannot do what it asks for.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", message)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::NoStep(_) | ApiError::NoWorker(_) => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            ApiError::Invalid(_) => Self::invalid(message),
            ApiError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", message),
            ApiError::NoResult(..) => Self::new(StatusCode::NOT_FOUND, "no_result", message),
            ApiError::Store(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", message),
            ApiError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message),
            ApiError::Unreached(_) | _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorBody { kind: self.kind.to_owned(), message: self.message };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
