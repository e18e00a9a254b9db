//! Unary calls of gRPC that never build the request's messages.
//!
//! This module takes the one message of a call out of its frame itself instead of using a tonic codec, so that the same
//! limits and error texts hold as over HTTP. Codecs answer a frame that is too long with OUT_OF_RANGE, a broken
//! compression with INTERNAL, and have no bound over all requests.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::Status;

use super::answer;
use super::exchange::caller;
use crate::body;
use crate::encoding::{self, Encoding};
use crate::intake::{Accepted, Intake, Payload};
use crate::refusal::Refusal;
use crate::route::Route;

/// HTTP/2 settings for a server that carries this service. With the usual window of 64 KiB a large request waits for a
/// window update every few frames; measured, it costs a third more CPU.
pub mod http2 {
    /// Bytes that one request may send before a window update.
    pub const STREAM_WINDOW: u32 = 4 << 20;
    /// Bytes that one connection may send before a window update.
    pub const CONNECTION_WINDOW: u32 = 16 << 20;
    /// Bytes of one frame.
    pub const MAX_FRAME: u32 = 1 << 20;
    /// Requests of one connection that wait for their response. Waiting requests share a batch, so the usual 200 would
    /// keep batches small for a gateway that sends everything over one connection.
    pub const MAX_STREAMS: u32 = 4096;
}

/// The length of the compressed flag and of the message length before each message.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub(super) const GRPC_ENCODING: &str = "grpc-encoding";
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Serves one call; `message` is the answer to what was accepted, or a refusal of it. `hint` tells a client that does not
/// speak gRPC where to go.
pub(super) async fn call(
    intake: &Intake,
    request: Request,
    route: Route,
    hint: &'static str,
    message: impl FnOnce(Accepted) -> Result<Bytes, Refusal>,
) -> Response {
    let (parts, mut body) = request.into_parts();
    if !is_grpc(&parts.headers) {
        return refused_plainly(intake, &not_grpc(&parts.headers, hint));
    }
    let received = receive(intake, &parts, &mut body, route).await;
    match received.and_then(message) {
        Ok(message) => answered(&message),
        Err(refusal) => refused(intake, &refusal),
    }
}

/// The answer to a request that no service takes.
///
/// gRPC's response to an unknown method has HTTP status 200. An HTTP sender with the wrong port would take it for success.
pub(super) fn unknown(intake: &Intake, request: &Request, hint: &'static str) -> Response {
    match is_grpc(request.headers()) {
        true => refused(intake, &Refusal::UnknownPath { path: request.uri().path().to_owned(), hint }),
        false => refused_plainly(intake, &not_grpc(request.headers(), hint)),
    }
}

/// Whether a request has a content type of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(GRPC.as_bytes()))
}

/// A trailers-only response.
pub(super) fn refused(intake: &Intake, refusal: &Refusal) -> Response {
    intake.metrics.refused(refusal);
    let status = answer::status(refusal);
    // The details repeat the whole status; a status without details needs no such header.
    let details = if status.details.is_empty() { Vec::new() } else { status.encode_to_vec() };
    let mut response: Response =
        Status::with_details(refusal.mapping().grpc, status.message, details.into()).into_http();
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(encoding::SUPPORTED));
    response
}

/// A response for a client that does not speak gRPC.
fn refused_plainly(intake: &Intake, refusal: &Refusal) -> Response {
    intake.metrics.refused(refusal);
    (refusal.mapping().http, refusal.to_string()).into_response()
}

fn not_grpc(headers: &HeaderMap, hint: &'static str) -> Refusal {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    Refusal::NotGrpc { found: String::from_utf8_lossy(content_type).into_owned(), hint }
}

async fn receive(intake: &Intake, parts: &Parts, body: &mut Body, route: Route) -> Result<Accepted, Refusal> {
    let headers = &parts.headers;
    let encoding = Encoding::from_headers(headers, GRPC_ENCODING).map_err(Refusal::Encoding)?;
    let caller = caller(parts);
    let arrival = intake.admit(&caller)?;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut held = intake.budget.reserve(caller.tenants.first());
    let max = intake.limits.max_request_bytes.saturating_add(PREFIX);
    let frame = body::read(body, declared, max, &intake.limits, &mut held).await?;
    let (bytes, encoding) = unframe(frame, encoding)?;
    intake.export(arrival, Payload { bytes, encoding, route, caller, held }).await
}

/// Takes the one message out of its frame, with its compression.
fn unframe(mut frame: Bytes, encoding: Encoding) -> Result<(Bytes, Encoding), Refusal> {
    let malformed = |why: String| Err(Refusal::Malformed(format!("not a unary gRPC request: {why}")));
    if frame.len() < PREFIX {
        return malformed(format!("{} bytes, which is less than a message's prefix", frame.len()));
    }
    let (flag, length) = (frame.get_u8(), frame.get_u32() as usize);
    if frame.len() != length {
        return malformed(format!("a message of {length} bytes is announced and {} follow", frame.len()));
    }
    match (flag, encoding) {
        (0, _) => Ok((frame, Encoding::Identity)),
        (1, Encoding::Identity) => malformed("it is marked as compressed, but not how".to_owned()),
        (1, encoding) => Ok((frame, encoding)),
        (flag, _) => malformed(format!("its first byte is {flag}; 0 or 1 tell whether it is compressed")),
    }
}

/// The answer of a call that was served.
pub(super) fn answered(message: &[u8]) -> Response {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body =
        Full::new(framed(message)).with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    let headers =
        [(CONTENT_TYPE, GRPC), (GRPC_ACCEPT_ENCODING, HeaderValue::from_static(encoding::SUPPORTED))];
    (StatusCode::OK, headers, Body::new(body)).into_response()
}

fn framed(message: &[u8]) -> Bytes {
    if message.is_empty() {
        return Bytes::from_static(&[0; PREFIX]);
    }
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_exactly_one_message() {
        let good = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 9]);
        let (message, encoding) = unframe(good, Encoding::Gzip).unwrap();
        assert_eq!((&*message, encoding), (&[8, 9][..], Encoding::Identity));
        let bad: [&'static [u8]; 5] =
            [&[], &[0, 0, 0, 0], &[0, 0, 0, 0, 3, 1, 2], &[0, 0, 0, 0, 1, 1, 2], &[2, 0, 0, 0, 1, 1]];
        for frame in bad {
            assert!(matches!(unframe(frame.into(), Encoding::Gzip), Err(Refusal::Malformed(_))), "{frame:?}");
        }
        let unnamed = Bytes::from_static(&[1, 0, 0, 0, 1, 1]);
        assert!(unframe(unnamed.clone(), Encoding::Identity).is_err());
        assert_eq!(unframe(unnamed, Encoding::Zstd).unwrap().1, Encoding::Zstd);
    }
}
