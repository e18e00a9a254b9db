//! One request over HTTP: who sends, when its body is read and when it is not, and what pages of other sites may send.
//! Every receiver over HTTP answers in its own words.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Version};
use axum::response::Response;
use spandrel_proto::Caller;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::body;
use crate::encoding::Encoding;
use crate::intake::{Accepted, Intake, Payload};
use crate::refusal::Refusal;
use crate::route::Route;

/// How long browsers may reuse the response to a preflight request.
const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

/// Takes a request in by the route that its head names, and returns when it is durable. After a refusal, the rest of the
/// body is read for senders that need it.
pub(super) async fn exchange(
    intake: &Intake,
    request: Request,
    route: Result<Route, Refusal>,
) -> Result<Accepted, Refusal> {
    let (parts, mut body) = request.into_parts();
    let result = match route {
        Ok(route) => receive(intake, &parts, &mut body, route).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &result {
        // Over HTTP/1 many senders take a response in the middle of the body for a broken connection, so the rest of
        // the body is read first. A sender that expects a 100 has not begun to send; one that hit the timeout had its
        // time already.
        let may_send = parts.version <= Version::HTTP_11 && !parts.headers.contains_key(EXPECT);
        if may_send && !matches!(refusal, Refusal::BodyTimeout(_)) {
            body::discard(body, intake.limits.body_timeout).await;
        }
    }
    result
}

async fn receive(intake: &Intake, parts: &Parts, body: &mut Body, route: Route) -> Result<Accepted, Refusal> {
    let headers = &parts.headers;
    let encoding = Encoding::from_headers(headers, "content-encoding").map_err(Refusal::Encoding)?;
    let caller = caller(parts);
    let arrival = intake.admit(&caller)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut held = intake.budget.reserve(caller.tenants.first());
    let max = intake.limits.max_request_bytes;
    let bytes = body::read(body, declared, max, &intake.limits, &mut held).await?;
    intake.export(arrival, Payload { bytes, encoding, route, caller, held }).await
}

/// Who sends, as the gate has found out; without a gate, it is the tenant `default`.
pub(super) fn caller(parts: &Parts) -> Caller {
    parts.extensions.get::<Caller>().cloned().unwrap_or_default()
}

/// The media type in lower case, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let value = value.as_deref().unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Tells a sender when to try again, where that helps.
pub(super) fn add_retry_after(response: &mut Response, refusal: &Refusal) {
    if let Some(after) = refusal.mapping().retry_after {
        response.headers_mut().insert(RETRY_AFTER, after.as_secs().max(1).into());
    }
}

/// The CORS policy by which pages of these origins may send traces. The error is the origin that is not valid.
pub(crate) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, String> {
    if origins.is_empty() {
        return Ok(None);
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(Any)
    } else {
        let origins = origins.iter().map(|origin| origin_header(origin).ok_or_else(|| origin.clone()));
        AllowOrigin::list(origins.collect::<Result<Vec<_>, _>>()?)
    };
    Ok(Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([RETRY_AFTER])
            .max_age(CORS_MAX_AGE),
    ))
}

/// A header for scheme, host and optional port, which is all that a browser sends; a path would never match.
fn origin_header(origin: &str) -> Option<HeaderValue> {
    let (scheme, host) = origin.split_once("://")?;
    let is_origin = !scheme.is_empty() && !host.is_empty() && !host.contains(['/', '?', '#', ' ']);
    if is_origin { HeaderValue::from_str(origin).ok() } else { None }
}
