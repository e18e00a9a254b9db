//! Errors of the JSON API as RFC 9457 problem documents, whose detail tells the user how to go on.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use spandrel_quota::Exceeded;
use spandrel_storage::ReadError;

use crate::answers::ProblemDocument;

/// Why a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    parameter: Option<String>,
    allowed: Option<String>,
    retry_after: Option<Duration>,
}

/// Classes of errors that a client can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    BadParameter,
    NotFound,
    MethodNotAllowed,
    Forbidden,
    Changed,
    Conflict,
    Busy,
    Quota,
    Unreadable,
}

// === impl Problem ===

impl Problem {
    fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), parameter: None, allowed: None, retry_after: None }
    }

    /// A parameter whose value is not allowed.
    pub(crate) fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        let detail = format!("{name}: {detail}");
        Self { parameter: Some(name.to_owned()), ..Self::new(Kind::BadParameter, detail) }
    }

    /// Adds the allowed values.
    pub(crate) fn allowing(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    pub(crate) fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(Kind::MethodNotAllowed, detail)
    }

    /// The trace has changed since the cursor was made.
    pub(crate) fn changed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Changed, detail)
    }

    /// The role of the caller may not.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, detail)
    }

    /// A thing of this name exists already.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..Self::new(Kind::Busy, detail) }
    }

    pub(crate) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unreadable, detail)
    }

    /// When the same request may be answered, if waiting is all that it needs.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        let retry_after = Some(exceeded.retry_after);
        Self { retry_after, ..Self::new(Kind::Quota, exceeded.to_string()) }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        if let ReadError::Restricted(detail) = error {
            return Self::forbidden(detail);
        }
        tracing::error!(%error, "a query failed");
        Self::unreadable(format!("{error}; look at the log of the server, then ask again"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let document = ProblemDocument {
            r#type: self.kind.urn().into(),
            title: self.kind.title().into(),
            status: status.as_u16(),
            detail: self.detail.into(),
            parameter: self.parameter.map(Into::into),
            allowed: self.allowed.map(Into::into),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(wait) = self.retry_after {
            // The header has whole seconds.
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

// === impl Kind ===

impl Kind {
    fn status(self) -> StatusCode {
        match self {
            Self::BadParameter => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Changed | Self::Conflict => StatusCode::CONFLICT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Quota => StatusCode::TOO_MANY_REQUESTS,
            Self::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn urn(self) -> &'static str {
        match self {
            Self::BadParameter => "urn:spandrel:problem:bad-parameter",
            Self::Forbidden => "urn:spandrel:problem:permission",
            Self::NotFound => "urn:spandrel:problem:not-found",
            Self::MethodNotAllowed => "urn:spandrel:problem:method-not-allowed",
            Self::Changed => "urn:spandrel:problem:changed",
            Self::Conflict => "urn:spandrel:problem:conflict",
            Self::Busy => "urn:spandrel:problem:busy",
            Self::Quota => "urn:spandrel:problem:quota",
            Self::Unreadable => "urn:spandrel:problem:unreadable",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadParameter => "A parameter is not valid",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Changed => "The trace has changed",
            Self::Conflict => "It is there already",
            Self::Busy => "Busy",
            Self::Quota => "More than the quota",
            Self::Unreadable => "The store could not be read",
        }
    }
}
