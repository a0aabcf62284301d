//! Errors of the API: problem details, RFC 9457.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, as `application/problem+json`.
///
/// `type` is always `about:blank`, so `title` is the phrase of the status code (RFC 9457 section 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`
    #[serde(rename = "type")]
    pub kind: String,
    /// Phrase of the status code.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// What is wrong and how to mend it.
    pub detail: String,
    /// The field of the request that is to blame, if it is one.
    pub field: Option<String>,
    /// Seconds to wait before the next try; also the `Retry-After` header.
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of the given status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            retry_after_s: None,
        }
    }
    /// 400: the request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }
    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }
    /// 409: it is in the way of what is already there.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }
    /// 422: understood, but a field's value cannot be.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Problem {
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.field = Some(field.to_owned());
        problem
    }
    /// 429 with the time to wait.
    pub fn too_many(detail: impl Into<String>, retry_after_s: u64) -> Problem {
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        problem.retry_after_s = Some(retry_after_s);
        problem
    }
    /// 503: not now.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
    /// 500: our fault. What failed goes to the log; the client only learns that it did.
    pub fn internal(what: &str, error: impl std::fmt::Display) -> Problem {
        log::error!("web: {what}: {error}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{what} failed; the daemon's log says why"),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}
impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}
impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}

/// JSON body whose errors are problems.
#[derive(axum::extract::FromRequest)]
#[from_request(via(Json), rejection(Problem))]
pub(super) struct Body<T>(pub T);

/// Query string whose errors are problems.
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(super) struct Params<T>(pub T);

/// Parts of the path whose errors are problems.
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub T);

/// Headers of a value that no cache may keep.
pub(super) const NO_STORE: [(HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
