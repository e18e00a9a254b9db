//! The responses to a sender, in protobuf and in JSON.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;
use spandrel_proto::otlp::Rejections;

use crate::refusal::{Refusal, StatusMapping};
use crate::route::Route;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryDelay {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `ExportTraceServiceResponse`: empty unless spans were left out. No spans and a reason are OTLP's warning.
/// `ExportLogsServiceResponse` has the same fields.
pub(super) fn success(rejected: &Rejections) -> Bytes {
    if rejected.is_empty() {
        return Bytes::new();
    }
    let partial_success = Some(ExportTracePartialSuccess {
        rejected_spans: rejected.count.cast_signed(),
        error_message: rejected.message(),
    });
    ExportTraceServiceResponse { partial_success }.encode_to_vec().into()
}

/// The same in OTLP's JSON mapping.
pub(super) fn success_json(route: Route, rejected: &Rejections) -> Bytes {
    if rejected.is_empty() {
        return Bytes::from_static(b"{}");
    }
    let count = if route.is_of_logs() { "rejectedLogRecords" } else { "rejectedSpans" };
    let partial = json!({ count: rejected.count.to_string(), "errorMessage": rejected.message() });
    json!({ "partialSuccess": partial }).to_string().into()
}

/// `google.rpc.Status`, with `RetryInfo` if the sender should send again.
pub(super) fn status(refusal: &Refusal) -> RpcStatus {
    let StatusMapping { grpc, retry_after, .. } = refusal.mapping();
    let retry = retry_after.map(|after| {
        let delay =
            RetryDelay { seconds: after.as_secs().cast_signed(), nanos: after.subsec_nanos().cast_signed() };
        let info = RetryInfo { retry_delay: Some(delay) };
        Any { type_url: RETRY_INFO.to_owned(), value: info.encode_to_vec() }
    });
    RpcStatus { code: grpc as i32, message: refusal.to_string(), details: retry.into_iter().collect() }
}

/// The same in protobuf's JSON mapping.
pub(super) fn status_json(refusal: &Refusal) -> Bytes {
    let StatusMapping { grpc, retry_after, .. } = refusal.mapping();
    let mut status = json!({ "code": grpc as i32, "message": refusal.to_string() });
    if let Some(after) = retry_after {
        let delay = format!("{}s", after.as_secs_f64());
        status["details"] = json!([{ "@type": RETRY_INFO, "retryDelay": delay }]);
    }
    status.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_many_spans_were_left_out_and_why() {
        let rejected = Rejections { count: 3, reasons: vec!["one".to_owned(), "two".to_owned()] };
        let response = ExportTraceServiceResponse::decode(success(&rejected)).unwrap();
        let partial = response.partial_success.unwrap();
        assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, "one; two"));
        assert_eq!(
            success_json(Route::OtlpJson, &rejected),
            r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"one; two"}}"#
        );
        assert_eq!(
            (success(&Rejections::default()).len(), &*success_json(Route::OtlpJson, &Rejections::default())),
            (0, &b"{}"[..])
        );
    }

    #[test]
    fn a_temporary_refusal_carries_retry_info() {
        let status = status(&Refusal::Draining);
        assert_eq!((status.code, status.details[0].type_url.as_str()), (14, RETRY_INFO));
        let info = RetryInfo::decode(&*status.details[0].value).unwrap();
        assert_eq!(info.retry_delay, Some(RetryDelay { seconds: 1, nanos: 0 }));
        let text = String::from_utf8(status_json(&Refusal::Draining).to_vec()).unwrap();
        assert!(text.contains(r#""retryDelay":"1s""#), "{text}");
    }
}
