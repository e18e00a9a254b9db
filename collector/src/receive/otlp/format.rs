//! The two formats of OTLP/HTTP, its answers in each, and where else OTLP goes.

use axum::http::StatusCode;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use prost::Message as _;
use spandrel_proto::otlp::Rejections;

use crate::encoding;
use crate::intake::Intake;
use crate::receive::answer;
use crate::receive::exchange::add_retry_after;
use crate::refusal::Refusal;
use crate::route::Route;

/// What a client is told that speaks something else at the port of OTLP/gRPC.
pub(super) const GRPC_HINT: &str = "this port takes OTLP/gRPC (TraceService/Export, LogsService/Export), and OTLP/HTTP has a port of its own (usually 4318)";

/// The media type of a request and of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    media: &'static str,
    pub route: Route,
}

const PROTOBUF: Format = Format { media: "application/x-protobuf", route: Route::OtlpProtobuf };
const PROTOBUF_REGISTERED: Format = Format { media: "application/protobuf", route: Route::OtlpProtobuf };
pub(super) const JSON: Format = Format { media: "application/json", route: Route::OtlpJson };

/// The answer to a request whose spans are durable.
pub(super) fn accepted(format: Format, rejected: &Rejections) -> Response {
    let body = match format.is_json() {
        true => answer::success_json(format.route, rejected),
        false => answer::success(rejected),
    };
    ([(CONTENT_TYPE, HeaderValue::from_static(format.media))], body).into_response()
}

pub(super) fn refused(intake: &Intake, format: Format, refusal: &Refusal) -> Response {
    intake.metrics.refused(refusal);
    let mapping = refusal.mapping();
    let body = if format.is_json() {
        answer::status_json(refusal)
    } else {
        answer::status(refusal).encode_to_vec().into()
    };
    let mut response =
        (mapping.http, [(CONTENT_TYPE, HeaderValue::from_static(format.media))], body).into_response();
    add_retry_after(&mut response, refusal);
    if mapping.http == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding::SUPPORTED));
    }
    response
}

/// The format of an answer to a request of another signal: that of the request, else JSON, which people can read.
pub(super) fn format_of(headers: &HeaderMap) -> Format {
    Format::of(headers).unwrap_or(JSON)
}

/// An empty message of any kind.
pub(super) fn empty(format: Format) -> Response {
    accepted(format, &Rejections::default())
}

fn unsupported(found: String) -> Refusal {
    Refusal::ContentType { found, supported: "application/x-protobuf or application/json" }
}

// === impl Format ===

impl Format {
    fn is_json(self) -> bool {
        self.media == JSON.media
    }

    /// The same for log records.
    pub(super) fn of_logs(self) -> Self {
        Self { route: if self.is_json() { Route::OtlpLogsJson } else { Route::OtlpLogsProtobuf }, ..self }
    }

    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(CONTENT_TYPE) else { return Err(unsupported(String::new())) };
        let text = String::from_utf8_lossy(value.as_bytes());
        let media = text.split(';').next().unwrap_or_default().trim();
        [PROTOBUF, JSON, PROTOBUF_REGISTERED]
            .into_iter()
            .find(|format| format.media.eq_ignore_ascii_case(media))
            .ok_or_else(|| unsupported(text.into_owned()))
    }
}
