//! Answers of receivers whose protocol has none of its own: a status, and a text for people.

use axum::http::StatusCode;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use super::exchange::add_retry_after;
use crate::encoding;
use crate::intake::{Accepted, Intake};
use crate::refusal::Refusal;

/// 202, with a text if some spans were refused.
pub(super) fn answer(intake: &Intake, outcome: Result<Accepted, Refusal>) -> Response {
    match outcome.and_then(some_accepted) {
        Ok(accepted) if accepted.rejected.is_empty() => StatusCode::ACCEPTED.into_response(),
        Ok(Accepted { rejected, .. }) => {
            let text = format!("{} spans were refused: {}\n", rejected.count, rejected.message());
            (StatusCode::ACCEPTED, text).into_response()
        }
        Err(refusal) => refused(intake, &refusal),
    }
}

/// These protocols cannot say in a success that spans were refused. A request without any good span is no success.
pub(super) fn some_accepted(accepted: Accepted) -> Result<Accepted, Refusal> {
    match accepted.spans == 0 && accepted.rejected.count > 0 {
        true => Err(Refusal::Malformed(format!("no span was accepted: {}", accepted.rejected.message()))),
        false => Ok(accepted),
    }
}

/// The refusal as text.
pub(super) fn refused(intake: &Intake, refusal: &Refusal) -> Response {
    intake.metrics.refused(refusal);
    let mut response = (refusal.mapping().http, format!("{refusal}\n")).into_response();
    add_retry_after(&mut response, refusal);
    match refusal.mapping().http {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding::SUPPORTED));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        _ => {}
    }
    response
}
