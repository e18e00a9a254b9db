//! OTLP/HTTP: `POST /v1/traces` in protobuf or JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, RETRY_AFTER,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use prost::Message as _;
use spandrel_proto::otlp::Rejections;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::encoding::{self, Encoding};
use crate::grpc::caller;
use crate::intake::{Intake, Payload};
use crate::metrics::Route;
use crate::refusal::Refusal;
use crate::{answer, body};

/// The media type of a request and of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format {
    media: &'static str,
    route: Route,
}

const PROTOBUF: Format = Format { media: "application/x-protobuf", route: Route::HttpProtobuf };
const PROTOBUF_REGISTERED: Format = Format { media: "application/protobuf", route: Route::HttpProtobuf };
const JSON: Format = Format { media: "application/json", route: Route::HttpJson };

/// How long browsers may reuse the response to a preflight request.
const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

/// The routes of an OTLP/HTTP listener.
pub(crate) fn router(intake: Arc<Intake>, cors: Option<CorsLayer>) -> Router {
    let router = Router::new()
        .route("/v1/traces", post(export).fallback(wrong_method))
        .fallback(unknown_path)
        .with_state(intake);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
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

async fn export(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let format = Format::of(&parts.headers);
    // If the format itself is refused, the response is JSON, which people can read.
    let answer_in = format.as_ref().copied().unwrap_or(JSON);
    let result = match format {
        Ok(format) => receive(&intake, &parts, &mut body, format).await,
        Err(refusal) => Err(refusal),
    };
    match result {
        Ok(rejected) => accepted(answer_in, &rejected),
        Err(refusal) => {
            // Over HTTP/1 many senders take a response in the middle of the body for a broken connection, so the rest
            // of the body is read first. A sender that expects a 100 has not begun to send; one that hit the timeout
            // had its time already.
            let may_send = parts.version <= Version::HTTP_11 && !parts.headers.contains_key(EXPECT);
            if may_send && !matches!(refusal, Refusal::BodyTimeout(_)) {
                body::discard(body, intake.limits.body_timeout).await;
            }
            refused(&intake, answer_in, &refusal)
        }
    }
}

async fn receive(
    intake: &Intake,
    parts: &Parts,
    body: &mut Body,
    format: Format,
) -> Result<Rejections, Refusal> {
    let headers = &parts.headers;
    let encoding = Encoding::from_headers(headers, "content-encoding").map_err(Refusal::Encoding)?;
    let caller = caller(parts);
    let arrival = intake.admit(&caller)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut held = intake.budget.reserve(caller.tenants.first());
    let max = intake.limits.max_request_bytes;
    let bytes = body::read(body, declared, max, &intake.limits, &mut held).await?;
    intake.export(arrival, Payload { bytes, encoding, route: format.route, caller, held }).await
}

async fn wrong_method(State(intake): State<Arc<Intake>>, method: Method) -> Response {
    let mut response = refused(&intake, JSON, &Refusal::Method(method.to_string()));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn unknown_path(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let refusal = Refusal::UnknownPath(request.uri().path().to_owned());
    if crate::grpc::is_grpc(request.headers()) {
        return crate::grpc::refused(&intake, &refusal);
    }
    refused(&intake, JSON, &refusal)
}

fn accepted(format: Format, rejected: &Rejections) -> Response {
    let body = if format == JSON { answer::success_json(rejected) } else { answer::success(rejected) };
    ([(CONTENT_TYPE, HeaderValue::from_static(format.media))], body).into_response()
}

fn refused(intake: &Intake, format: Format, refusal: &Refusal) -> Response {
    intake.metrics.refused(refusal);
    let mapping = refusal.mapping();
    let body = if format == JSON {
        answer::status_json(refusal)
    } else {
        answer::status(refusal).encode_to_vec().into()
    };
    let mut response =
        (mapping.http, [(CONTENT_TYPE, HeaderValue::from_static(format.media))], body).into_response();
    if let Some(after) = mapping.retry_after {
        response.headers_mut().insert(RETRY_AFTER, after.as_secs().max(1).into());
    }
    if mapping.http == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding::SUPPORTED));
    }
    response
}

// === impl Format ===

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(CONTENT_TYPE) else { return Err(Refusal::ContentType(String::new())) };
        let text = String::from_utf8_lossy(value.as_bytes());
        let media = text.split(';').next().unwrap_or_default().trim();
        [PROTOBUF, JSON, PROTOBUF_REGISTERED]
            .into_iter()
            .find(|format| format.media.eq_ignore_ascii_case(media))
            .ok_or_else(|| Refusal::ContentType(text.into_owned()))
    }
}
