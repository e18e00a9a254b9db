//! The reasons for refusing a request, and one table of the status codes that each transport answers with.
//!
//! Other code names causes only; status codes appear in [`Refusal::mapping`] alone.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use spandrel_quota::Exceeded;
use spandrel_storage::AppendError;
use tonic::Code;

/// Why a request as a whole is refused. The text tells the sender the reason and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not the wire format; the text says where and why.
    #[error("{0}")]
    Malformed(String),
    /// Over a named limit. Sending the same again would not help: the sender has to split it.
    #[error("the request is over {limit} = {max} bytes; send fewer spans in one request")]
    TooLarge { limit: &'static str, max: usize },
    #[error("content type {found:?} is not supported; send {supported}")]
    ContentType { found: String, supported: &'static str },
    #[error("content type {found:?} is not gRPC: {hint}")]
    NotGrpc { found: String, hint: &'static str },
    #[error("encoding {0:?} is not supported; use one of {supported}", supported = crate::encoding::SUPPORTED)]
    Encoding(String),
    #[error("the body did not arrive within bodyTimeout = {0:?}; send smaller requests")]
    BodyTimeout(Duration),
    /// The connection broke, so the sender rarely sees this.
    #[error("the body broke off: {0}")]
    BrokenOff(String),
    #[error("too much at once: {limit} = {max} is reached; send again later")]
    Busy { limit: &'static str, max: usize },
    /// A tenant or a credential has taken what it may.
    #[error("{0}")]
    Quota(#[from] Exceeded),
    #[error("the collector is shutting down; send again, to another instance or later")]
    Draining,
    #[error("{0}")]
    Store(#[from] AppendError),
    /// A defect of this program.
    #[error("the server failed unexpectedly; send again, and see its log")]
    Broken,
    /// What agents send beside traces.
    #[error(
        "this server takes traces, not {0}: set {variable}=none where they are sent, or start the server with \
         --other-signals discard",
        variable = .0.variable()
    )]
    OtherSignal(Signal),
    /// A request of nothing but log records that belong to no span.
    #[error(
        "{0}, so nothing of this request is: send other logs to a log store, set OTEL_LOGS_EXPORTER=none where they are \
         sent, or start the server with --other-signals discard"
    )]
    LogsWithoutSpan(String),
    #[error("nothing is served at {path}; {hint}")]
    UnknownPath { path: String, hint: &'static str },
    #[error("{0} is not allowed here; send traces by POST")]
    Method(String),
}

/// What OTLP has beside traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Metrics,
    Logs,
    Profiles,
}

/// The status codes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusMapping {
    /// The label in metrics.
    pub reason: &'static str,
    pub http: StatusCode,
    pub grpc: Code,
    /// Set if the sender should send the same again.
    pub retry_after: Option<Duration>,
}

/// A batch or two later there is room again.
const SOON: Option<Duration> = Some(Duration::from_secs(1));
/// An operator has to act first, so an earlier attempt would fail as well.
const LATER: Option<Duration> = Some(Duration::from_secs(30));

// === impl Refusal ===

impl Refusal {
    /// All reasons, for metrics that show zero before the first refusal.
    pub(crate) const REASONS: [&'static str; 15] = [
        "malformed",
        "too_large",
        "content_type",
        "encoding",
        "body_timeout",
        "broken_off",
        "busy",
        "quota",
        "draining",
        "disk_full",
        "store_unavailable",
        "internal",
        "unknown_path",
        "other_signal",
        "method",
    ];

    #[rustfmt::skip]
    pub(crate) fn mapping(&self) -> StatusMapping {
        use StatusCode as S;
        let (reason, http, grpc, retry_after) = match self {
            Self::Malformed(_)        => ("malformed",    S::BAD_REQUEST,            Code::InvalidArgument,   None),
            Self::TooLarge { .. }     => ("too_large",    S::PAYLOAD_TOO_LARGE,      Code::ResourceExhausted, None),
            Self::ContentType { .. }  => ("content_type", S::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument,   None),
            Self::NotGrpc { .. }      => ("content_type", S::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument,   None),
            Self::Encoding(_)         => ("encoding",     S::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented,     None),
            Self::BodyTimeout(_)      => ("body_timeout", S::REQUEST_TIMEOUT,        Code::DeadlineExceeded,  None),
            Self::BrokenOff(_)        => ("broken_off",   S::BAD_REQUEST,            Code::Cancelled,         None),
            Self::Busy { .. }         => ("busy",         S::TOO_MANY_REQUESTS,      Code::ResourceExhausted, SOON),
            Self::Quota(exceeded)     => ("quota",        S::TOO_MANY_REQUESTS,      Code::ResourceExhausted, Some(exceeded.retry_after)),
            Self::Draining            => ("draining",     S::SERVICE_UNAVAILABLE,    Code::Unavailable,       SOON),
            Self::Broken              => ("internal",     S::SERVICE_UNAVAILABLE,    Code::Unavailable,       SOON),
            Self::UnknownPath { .. }  => ("unknown_path", S::NOT_FOUND,              Code::Unimplemented,     None),
            Self::OtherSignal(_)      => ("other_signal", S::NOT_FOUND,              Code::Unimplemented,     None),
            Self::LogsWithoutSpan(_)  => ("other_signal", S::BAD_REQUEST,            Code::InvalidArgument,   None),
            Self::Method(_)           => ("method",       S::METHOD_NOT_ALLOWED,     Code::Unimplemented,     None),
            Self::Store(error) => match error {
                AppendError::Overloaded { .. } => ("busy", S::TOO_MANY_REQUESTS, Code::ResourceExhausted, SOON),
                AppendError::DiskFull { .. } => ("disk_full", S::INSUFFICIENT_STORAGE, Code::Unavailable, LATER),
                AppendError::Poisoned(_) | AppendError::Encode(_) | AppendError::NoKey(_) => {
                    ("store_unavailable", S::SERVICE_UNAVAILABLE, Code::Unavailable, LATER)
                }
                AppendError::Closed => ("draining", S::SERVICE_UNAVAILABLE, Code::Unavailable, SOON),
            },
        };
        StatusMapping { reason, http, grpc, retry_after }
    }
}

// === impl Signal ===

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Profiles];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Profiles => "profiles",
        }
    }

    /// The variable by which an SDK or agent is told to send none.
    fn variable(self) -> &'static str {
        match self {
            Self::Metrics => "OTEL_METRICS_EXPORTER",
            Self::Logs => "OTEL_LOGS_EXPORTER",
            Self::Profiles => "OTEL_PROFILES_EXPORTER",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_succeed_later_says_when() {
        let too_large = Refusal::TooLarge { limit: "maxRequestBytes", max: 7 };
        assert_eq!(too_large.mapping().retry_after, None);
        assert!(too_large.to_string().contains("maxRequestBytes = 7"));
        let full = Refusal::from(AppendError::DiskFull { free: 1, needed: 2 });
        assert_eq!((full.mapping().http.as_u16(), full.mapping().grpc), (507, Code::Unavailable));
        for temporary in [full, Refusal::Draining, Refusal::Busy { limit: "maxQueueBytes", max: 1 }] {
            assert!(temporary.mapping().retry_after.is_some(), "{temporary}");
        }
    }

    #[test]
    fn every_reason_is_announced() {
        let refusals = [
            Refusal::Malformed(String::new()),
            Refusal::TooLarge { limit: "", max: 0 },
            Refusal::ContentType { found: String::new(), supported: "" },
            Refusal::NotGrpc { found: String::new(), hint: "" },
            Refusal::Encoding(String::new()),
            Refusal::BodyTimeout(Duration::ZERO),
            Refusal::BrokenOff(String::new()),
            Refusal::Busy { limit: "", max: 0 },
            Refusal::Draining,
            Refusal::Broken,
            Refusal::UnknownPath { path: String::new(), hint: "" },
            Refusal::OtherSignal(Signal::Logs),
            Refusal::LogsWithoutSpan(String::new()),
            Refusal::Method(String::new()),
            AppendError::Overloaded { unsealed_spans: 0 }.into(),
            AppendError::DiskFull { free: 0, needed: 0 }.into(),
            AppendError::Poisoned(String::new()).into(),
            AppendError::Encode(String::new()).into(),
            AppendError::NoKey(String::new()).into(),
            AppendError::Closed.into(),
        ];
        for refusal in refusals {
            assert!(Refusal::REASONS.contains(&refusal.mapping().reason), "{refusal:?}");
        }
    }
}
