//! Sends requests as an OTLP exporter does: over HTTP or gRPC, with retries when the server asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::StatusCode;

use crate::Failure;
use crate::client::{self, Answer, Connection};
use crate::flags::Protocol;

/// One connection to an OTLP port.
pub(crate) struct Exporter {
    connection: Connection,
    protocol: Protocol,
    chunked: bool,
    tenants: TenantNames,
}

/// The tenants that requests name: none, or some in turn, which all exporters share.
#[derive(Debug, Clone, Default)]
pub(crate) struct TenantNames {
    count: u32,
    next: Arc<AtomicU64>,
}

/// The server's response to a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All of it is stored.
    Accepted,
    /// The server asks for a retry after this time.
    Later(Duration),
    /// The request is refused, or some of its spans.
    Refused(String),
}

/// The time of retries after which the measurement fails.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The pause before a retry if the server names none.
const PAUSE: Duration = Duration::from_millis(100);

const GRPC_RESOURCE_EXHAUSTED: &str = "8";
const GRPC_UNAVAILABLE: &str = "14";

// === impl Exporter ===

impl Exporter {
    /// Connects. If `chunked`, HTTP bodies have no declared length.
    pub(crate) async fn connect(authority: &str, protocol: Protocol, chunked: bool) -> Result<Self, Failure> {
        let connection = match protocol {
            Protocol::Http => Connection::http1(authority).await?,
            Protocol::Grpc => Connection::http2(authority).await?,
        };
        Ok(Self { connection, protocol, chunked, tenants: TenantNames::default() })
    }

    /// The same, with requests that name these tenants.
    pub(crate) fn with_tenants(self, tenants: TenantNames) -> Self {
        Self { tenants, ..self }
    }

    /// Returns once the request is acknowledged, with the number of retries.
    pub(crate) async fn export(&mut self, body: &Bytes) -> Result<u64, Failure> {
        let began = Instant::now();
        let tenant = self.tenants.next();
        let mut retries = 0;
        loop {
            match self.send(body.clone(), tenant.as_deref()).await? {
                Verdict::Accepted => return Ok(retries),
                Verdict::Refused(why) => return Err(format!("a request was refused: {why}").into()),
                Verdict::Later(_) if began.elapsed() > GIVE_UP => {
                    return Err(format!("the server was overloaded for {GIVE_UP:?}").into());
                }
                Verdict::Later(pause) => tokio::time::sleep(pause).await,
            }
            retries += 1;
        }
    }

    async fn send(&mut self, body: Bytes, tenant: Option<&str>) -> Result<Verdict, Failure> {
        let tenant = tenant.map(|name| ("x-scope-orgid", name));
        match self.protocol {
            Protocol::Http => {
                let body = if self.chunked { client::chunked(body) } else { client::whole(body) };
                let headers =
                    Vec::from_iter([("content-type", "application/x-protobuf")].into_iter().chain(tenant));
                Ok(http_verdict(&self.connection.post("/v1/traces", &headers, body).await?))
            }
            Protocol::Grpc => {
                const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
                let always = [("content-type", "application/grpc"), ("te", "trailers")];
                let headers = Vec::from_iter(always.into_iter().chain(tenant));
                let body = client::whole(grpc_message(&body));
                Ok(grpc_verdict(&self.connection.post(EXPORT, &headers, body).await?))
            }
        }
    }
}

// === impl TenantNames ===

impl TenantNames {
    /// So many tenants, each with the next request.
    pub(crate) fn in_turn(count: u32) -> Self {
        Self { count, next: Arc::default() }
    }

    /// Whether requests name no tenant.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn next(&self) -> Option<String> {
        (self.count > 0)
            .then(|| format!("tenant-{}", self.next.fetch_add(1, Ordering::Relaxed) % u64::from(self.count)))
    }
}

/// A message in gRPC's frame: the flag "not compressed", then its length.
fn grpc_message(body: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(GRPC_PREFIX + body.len());
    framed.put_u8(0);
    framed.put_u32(body.len() as u32);
    framed.put_slice(body);
    framed.freeze()
}

const GRPC_PREFIX: usize = 5;

fn http_verdict(answer: &Answer) -> Verdict {
    match answer.status {
        StatusCode::OK => accepted(&answer.body),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds =
                answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            Verdict::Later(seconds.map_or(PAUSE, Duration::from_secs))
        }
        status => Verdict::Refused(format!("{status}: {}", String::from_utf8_lossy(&answer.body))),
    }
}

fn grpc_verdict(answer: &Answer) -> Verdict {
    // A refusal has no body, and its status is in the headers.
    let field = |name| {
        let value = answer.trailers.get(name).or_else(|| answer.headers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    match field("grpc-status") {
        "0" => accepted(answer.body.get(GRPC_PREFIX..).unwrap_or_default()),
        GRPC_RESOURCE_EXHAUSTED | GRPC_UNAVAILABLE => Verdict::Later(PAUSE),
        status => Verdict::Refused(format!("gRPC status {status}: {}", field("grpc-message"))),
    }
}

/// The response is empty unless some spans were refused.
fn accepted(message: &[u8]) -> Verdict {
    if message.is_empty() {
        return Verdict::Accepted;
    }
    Verdict::Refused(format!("some spans were left out: {}", String::from_utf8_lossy(message)))
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Answer {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let trailers = headers.clone();
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from_static(body),
            trailers,
        }
    }

    #[test]
    fn nothing_counts_as_accepted_that_was_not() {
        assert_eq!(http_verdict(&answer(200, &[], b"")), Verdict::Accepted);
        assert!(matches!(http_verdict(&answer(200, &[], b"partial")), Verdict::Refused(_)));
        assert!(matches!(http_verdict(&answer(400, &[], b"")), Verdict::Refused(_)));
        let busy = answer(503, &[("retry-after", "2")], b"");
        assert_eq!(http_verdict(&busy), Verdict::Later(Duration::from_secs(2)));

        assert_eq!(grpc_verdict(&answer(200, &[("grpc-status", "0")], b"\0\0\0\0\0")), Verdict::Accepted);
        let partial = answer(200, &[("grpc-status", "0")], b"\0\0\0\0\x01x");
        assert!(matches!(grpc_verdict(&partial), Verdict::Refused(_)));
        assert_eq!(grpc_verdict(&answer(200, &[("grpc-status", "14")], b"")), Verdict::Later(PAUSE));
        assert!(matches!(grpc_verdict(&answer(200, &[("grpc-status", "3")], b"")), Verdict::Refused(_)));
        assert!(matches!(grpc_verdict(&answer(200, &[], b"")), Verdict::Refused(_)));
    }
}
