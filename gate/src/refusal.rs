//! Why a request does not pass, and the answer in the language of its sender: a problem document, OTLP's `Status`, or
//! gRPC's trailers.

use std::time::Duration;

use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

use crate::keys::MAX_KEYS;
use crate::roles::{Permission, RoleName};
use crate::tenants::ChoiceError;

/// Why a request is refused. The text tells what to do, and never repeats a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "this server asks who you are: send a key as `Authorization: Bearer KEY`, as password of Basic, or as \
         `X-API-Key` (`spandrel keys create` makes one), or what else is configured (auth-methods)"
    )]
    NoCredential,
    #[error("the credential is not valid: {0}")]
    BadCredential(String),
    /// Known, and with nothing to do here.
    #[error("{0}")]
    NoAccess(String),
    /// A login at an identity provider.
    #[error("{0}")]
    LoginFailed(String),
    #[error("{0}; try again in a moment")]
    ProviderUnavailable(String),
    #[error("too many failed attempts from this address; try again in {} s", .0.as_secs().max(1))]
    TooManyAttempts(Duration),
    #[error(
        "the role {role} lacks the permission {lacks} that this needs; roles that have it: {}", lacks.roles().join(", ")
    )]
    Lacks { role: RoleName, lacks: Permission },
    #[error(transparent)]
    Tenants(#[from] ChoiceError),
    #[error("there is no role {0}; this server has {1}")]
    UnknownRole(String, String),
    #[error("a key reaches no more tenants than the credential that makes it, which reaches {0}")]
    Beyond(String),
    #[error(
        "a page of another site sent this with the credential of your browser; changes need the same origin"
    )]
    CrossSite,
    #[error("there is nothing at this address; /api/v1/openapi.json describes what there is")]
    NotFound,
    #[error("this address takes {0}")]
    Method(String),
    #[error("the name or the password is wrong")]
    WrongPassword,
    #[error("too many logins at once; try again in a moment")]
    Busy,
    #[error(
        "this server does not ask who you are, so nobody can log in, change keys or read the audit log over HTTP; start it with \
         --require-auth, or change keys on the data directory with --data-dir"
    )]
    WhileAnonymous,
    #[error("this server keeps no audit log in files (--audit file)")]
    NoAudit,
    #[error("no key has this ID; `spandrel keys list` shows those there are")]
    UnknownKey,
    #[error("there are {MAX_KEYS} keys, which is the most (maxKeys); revoke some first")]
    TooManyKeys,
    #[error("{0}")]
    BadRequest(String),
    #[error("the body has to be application/json")]
    ContentType,
    #[error("{0}")]
    Internal(String),
    #[error(
        "the audit log cannot be written, and this server does nothing that it cannot write down (audit-required)"
    )]
    Unrecorded,
    #[error("the body is longer than {MAX_RECORDED_BODY} bytes, or broke off")]
    Body,
}

/// Bytes of a body that the audit log keeps: a deletion's query, or what a key is for.
pub(crate) const MAX_RECORDED_BODY: usize = 1 << 20;

/// How a refusal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Problem,
    OtlpProtobuf,
    OtlpJson,
    Grpc,
}

/// Status codes, and the name in metrics and in the `type` of problem documents.
pub(crate) struct Mapping {
    pub(crate) reason: &'static str,
    pub(crate) http: StatusCode,
    pub(crate) grpc: Code,
    title: &'static str,
}

/// `google.rpc.Status` without details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The routes of OTLP/HTTP, whose errors have a form of their own.
const OTLP: [&str; 4] = ["/v1/traces", "/v1/metrics", "/v1/logs", "/v1development/profiles"];
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

// === impl Refusal ===

impl Refusal {
    #[rustfmt::skip]
    pub(crate) fn mapping(&self) -> Mapping {
        use StatusCode as S;
        let (reason, http, grpc, title) = match self {
            Self::NoCredential       => ("unauthenticated",   S::UNAUTHORIZED,       Code::Unauthenticated,   "Not authenticated"),
            Self::BadCredential(_)   => ("bad-credential",    S::UNAUTHORIZED,       Code::Unauthenticated,   "Not authenticated"),
            Self::NoAccess(_)        => ("no-access",         S::FORBIDDEN,          Code::PermissionDenied,  "Not allowed"),
            Self::LoginFailed(_)     => ("login-failed",      S::UNAUTHORIZED,       Code::Unauthenticated,   "Not authenticated"),
            Self::ProviderUnavailable(_) => ("provider-unavailable", S::SERVICE_UNAVAILABLE, Code::Unavailable, "Identity provider unavailable"),
            Self::TooManyAttempts(_) => ("too-many-attempts", S::TOO_MANY_REQUESTS,  Code::ResourceExhausted, "Too many failed attempts"),
            Self::Lacks { .. }       => ("permission",        S::FORBIDDEN,          Code::PermissionDenied,  "Not allowed"),
            Self::Tenants(ChoiceError::Header(_))  => ("bad-parameter",   S::BAD_REQUEST, Code::InvalidArgument, "A parameter is not valid"),
            Self::Tenants(ChoiceError::Several(_)) => ("several-tenants", S::BAD_REQUEST, Code::InvalidArgument, "More than one tenant"),
            Self::Tenants(_)         => ("tenant",            S::FORBIDDEN,          Code::PermissionDenied,  "Not allowed"),
            Self::UnknownRole(..)    => ("bad-parameter",     S::BAD_REQUEST,        Code::InvalidArgument,   "A parameter is not valid"),
            Self::Beyond(_)          => ("tenant",            S::FORBIDDEN,          Code::PermissionDenied,  "Not allowed"),
            Self::CrossSite          => ("cross-site",        S::FORBIDDEN,          Code::PermissionDenied,  "Not allowed"),
            Self::NotFound           => ("not-found",         S::NOT_FOUND,          Code::Unimplemented,     "Not found"),
            Self::Method(_)          => ("method-not-allowed", S::METHOD_NOT_ALLOWED, Code::Unimplemented,    "Method not allowed"),
            Self::WrongPassword      => ("wrong-password",    S::UNAUTHORIZED,       Code::Unauthenticated,   "Not authenticated"),
            Self::Busy               => ("busy",              S::SERVICE_UNAVAILABLE, Code::Unavailable,      "Busy"),
            Self::WhileAnonymous     => ("permission",        S::FORBIDDEN,          Code::PermissionDenied,  "Not allowed"),
            Self::NoAudit            => ("not-found",         S::NOT_FOUND,          Code::NotFound,          "Not found"),
            Self::UnknownKey         => ("not-found",         S::NOT_FOUND,          Code::NotFound,          "Not found"),
            Self::TooManyKeys        => ("too-many-keys",     S::CONFLICT,           Code::ResourceExhausted, "Too many keys"),
            Self::BadRequest(_)      => ("bad-parameter",     S::BAD_REQUEST,        Code::InvalidArgument,   "A parameter is not valid"),
            Self::ContentType        => ("content-type",      S::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "Unsupported media type"),
            Self::Unrecorded         => ("unrecorded",        S::SERVICE_UNAVAILABLE, Code::Unavailable,      "Not written down"),
            Self::Body               => ("too-large",         S::PAYLOAD_TOO_LARGE,  Code::ResourceExhausted, "Body too large"),
            Self::Internal(_)        => ("internal",          S::INTERNAL_SERVER_ERROR, Code::Internal,       "Internal error"),
        };
        Mapping { reason, http, grpc, title }
    }

    pub(crate) fn response(&self, shape: Shape, request: &HeaderMap) -> Response {
        let mapping = self.mapping();
        let text = self.to_string();
        let mut response = match shape {
            Shape::Grpc => Status::new(mapping.grpc, text).into_http(),
            Shape::OtlpProtobuf => {
                let status = RpcStatus { code: mapping.grpc as i32, message: text };
                (mapping.http, [(CONTENT_TYPE, "application/x-protobuf")], status.encode_to_vec())
                    .into_response()
            }
            Shape::OtlpJson => {
                let status = json!({ "code": mapping.grpc as i32, "message": text }).to_string();
                (mapping.http, [(CONTENT_TYPE, "application/json")], status).into_response()
            }
            Shape::Problem => problem(&mapping, &text),
        };
        let headers = response.headers_mut();
        match self {
            Self::NoCredential | Self::BadCredential(_) if shape != Shape::Grpc => {
                challenge(request, headers)
            }
            Self::TooManyAttempts(wait) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            }
            Self::Method(allowed) => {
                if let Ok(allowed) = HeaderValue::from_str(allowed) {
                    headers.insert(ALLOW, allowed);
                }
            }
            _ => {}
        }
        response
    }
}

/// For handlers, which are asked by clients of the JSON API only.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.response(Shape::Problem, &HeaderMap::new())
    }
}

/// A problem document (RFC 9457).
fn problem(mapping: &Mapping, detail: &str) -> Response {
    let document = json!({
        "type": format!("urn:spandrel:problem:{}", mapping.reason),
        "title": mapping.title,
        "status": mapping.http.as_u16(),
        "detail": detail,
    });
    (mapping.http, [(CONTENT_TYPE, "application/problem+json")], document.to_string()).into_response()
}

/// Says how to authenticate. Browsers are not offered Basic: they would ask for a password in a window of their own, and
/// repeat it by themselves.
pub(crate) fn challenge(request: &HeaderMap, answer: &mut HeaderMap) {
    answer.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"spandrel\""));
    if !is_browser(request) {
        answer.append(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"spandrel\", charset=\"UTF-8\""),
        );
    }
}

fn is_browser(request: &HeaderMap) -> bool {
    request.contains_key(FETCH_MODE) || contains(request, &ACCEPT, "text/html")
}

fn contains(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains(word))
}

// === impl Shape ===

impl Shape {
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if content_type.starts_with(b"application/grpc") {
            return Self::Grpc;
        }
        let is_protobuf = [&b"application/x-protobuf"[..], b"application/protobuf"];
        match OTLP.contains(&path) {
            true if is_protobuf.iter().any(|kind| content_type.starts_with(kind)) => Self::OtlpProtobuf,
            true => Self::OtlpJson,
            false => Self::Problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::roles::Role;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    async fn body(response: Response) -> Vec<u8> {
        to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn speaks_the_language_of_the_sender() {
        let grpc = headers(&[("content-type", "application/grpc+proto")]);
        let shape = Shape::of("/opentelemetry.proto.collector.trace.v1.TraceService/Export", &grpc);
        let answer = Refusal::NoCredential.response(shape, &grpc);
        assert_eq!(
            (answer.status(), &answer.headers()["grpc-status"]),
            (StatusCode::OK, &HeaderValue::from_static("16"))
        );

        let protobuf = headers(&[("content-type", "application/x-protobuf")]);
        let refusal = Refusal::Lacks { role: Role::Read.into(), lacks: Permission::Ingest };
        let answer = refusal.response(Shape::of(OTLP[0], &protobuf), &protobuf);
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let status = RpcStatus::decode(&*body(answer).await).unwrap();
        assert_eq!(status.code, 7);
        assert!(status.message.contains("ingest, admin"), "{}", status.message);

        let json = headers(&[("content-type", "application/json")]);
        let answer = Refusal::NoCredential.response(Shape::of(OTLP[0], &json), &json);
        let status: serde_json::Value = serde_json::from_slice(&body(answer).await).unwrap();
        assert_eq!(status["code"], 16);

        let answer = Refusal::NotFound.response(Shape::of("/api/v1/x", &json), &json);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&body(answer).await).unwrap();
        assert_eq!(
            (&problem["status"], &problem["type"]),
            (&json!(404), &json!("urn:spandrel:problem:not-found"))
        );
    }

    #[test]
    fn only_clients_that_are_no_browsers_are_offered_basic() {
        let offered = |request: &HeaderMap| {
            let answer = Refusal::NoCredential.response(Shape::Problem, request);
            let offered = answer.headers().get_all(WWW_AUTHENTICATE).iter();
            offered
                .map(|value| value.to_str().unwrap().split(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(offered(&headers(&[])), ["Bearer", "Basic"]);
        assert_eq!(offered(&headers(&[("sec-fetch-mode", "cors")])), ["Bearer"]);
        assert_eq!(offered(&headers(&[("accept", "text/html,*/*")])), ["Bearer"]);
    }

    #[test]
    fn says_when_to_try_again() {
        let refusal = Refusal::TooManyAttempts(Duration::from_secs(7));
        let answer = refusal.response(Shape::Problem, &HeaderMap::new());
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &HeaderValue::from(7))
        );
    }
}
