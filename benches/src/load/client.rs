//! A persistent connection: one request at a time, with its whole response, without retries or redirects.
//!
//! HTTP/1.1 for OTLP/HTTP and queries, HTTP/2 without TLS for gRPC. The client must cost little compared with the
//! server, with which it shares the machine.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::Failure;

/// A connection to one port.
pub(crate) struct Connection {
    authority: String,
    sender: Sender,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The trailers after the body, with the gRPC status.
    pub(crate) trailers: HeaderMap,
}

enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
}

type Payload = BoxBody<Bytes, Infallible>;

/// A server that has not responded in this time has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A body with a declared length.
pub(crate) fn whole(bytes: Bytes) -> Payload {
    Full::new(bytes).boxed()
}

/// A body of unknown length: sent in chunks, as proxies do.
pub(crate) fn chunked(bytes: Bytes) -> Payload {
    BodyExt::boxed(StreamBody::new(tokio_stream::once(Ok(Frame::data(bytes)))))
}

// === impl Connection ===

impl Connection {
    /// A connection that speaks HTTP/1.1.
    pub(crate) async fn http1(authority: &str) -> Result<Self, Failure> {
        let (sender, connection) = http1::handshake(TokioIo::new(connect(authority).await?)).await?;
        // The task ends when the sender is dropped; errors reach the request that waits for a response.
        tokio::spawn(connection);
        Ok(Self { authority: authority.to_owned(), sender: Sender::Http1(sender) })
    }

    /// A connection that speaks HTTP/2, for gRPC.
    pub(crate) async fn http2(authority: &str) -> Result<Self, Failure> {
        let io = TokioIo::new(connect(authority).await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        Ok(Self { authority: authority.to_owned(), sender: Sender::Http2(sender) })
    }

    /// Sends a GET request.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        let request = Request::get(path).header("host", &self.authority).body(Empty::new().boxed())?;
        self.send(request).await
    }

    /// Sends a POST request.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Payload,
    ) -> Result<Answer, Failure> {
        let mut request = match &self.sender {
            Sender::Http1(_) => Request::post(path).header("host", &self.authority),
            Sender::Http2(_) => Request::post(format!("http://{}{path}", self.authority)),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body)?).await
    }

    async fn send(&mut self, request: Request<Payload>) -> Result<Answer, Failure> {
        let exchange = async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            read(response).await
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer.map_err(|_| format!("{} did not answer within {PATIENCE:?}", self.authority))?
    }
}

async fn connect(authority: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|error| format!("cannot connect to {authority}: {error}; is the server running?"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
}
