//! Senders: HTTP/1.1 byte by byte, so that a test can send invalid requests, and gRPC on a real channel.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt as _, Full};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt as _;

use super::PATIENCE;

/// An HTTP/1.1 response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// `google.rpc.Status`, declared independently of the collector's own.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<RpcDetail>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RpcDetail {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Posts a body to `/v1/traces` on a connection of its own.
pub async fn post(address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &*length)]].concat();
    send(address, "POST", "/v1/traces", &headers, body).await
}

/// Like [`post`], in chunks and without a content length.
pub async fn post_chunked(address: SocketAddr, headers: &[(&str, &str)], body: &[u8], chunk: usize) -> Reply {
    let mut chunked = Vec::new();
    for piece in body.chunks(chunk) {
        chunked.extend(format!("{:x}\r\n", piece.len()).bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let headers = [headers, &[("transfer-encoding", "chunked")]].concat();
    send(address, "POST", "/v1/traces", &headers, &chunked).await
}

/// Sends any request; the headers are sent unchanged.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    send_raw(address, &bytes).await
}

/// Writes bytes, then reads to the end. Like many senders, it does not read while it writes.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> Reply {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Reply::parse(&answer)
    };
    timeout(PATIENCE, exchange).await.expect("no answer")
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The error of a protobuf request.
    pub fn rpc_status(&self) -> RpcStatus {
        RpcStatus::decode(&*self.body).unwrap()
    }
}

/// A gRPC connection.
#[derive(Clone)]
pub struct Grpc {
    channel: Channel,
}

impl Grpc {
    pub async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap().timeout(PATIENCE);
        Self { channel: endpoint.connect().await.unwrap() }
    }

    pub fn client(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.channel.clone())
    }

    /// Sends the bytes of a body unchanged, with these headers.
    pub async fn send(&self, headers: &[(&str, &str)], body: Vec<u8>) -> tonic::Status {
        const EXPORT: &str = "http://collector/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        self.send_to(EXPORT, headers, body).await
    }

    pub async fn send_to(&self, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> tonic::Status {
        let mut request = axum::http::Request::post(url).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(tonic::body::Body::new(Full::new(body.into()))).unwrap();
        self.answer_to(request).await
    }

    /// Opens a call whose frames come by a channel.
    pub async fn stream(&self, url: &str, frames: mpsc::Receiver<Vec<u8>>) -> tonic::Status {
        let request = axum::http::Request::post(url).header("content-type", "application/grpc");
        self.answer_to(
            request.body(tonic::body::Body::new(axum::body::Body::from_stream(Frames(frames)))).unwrap(),
        )
        .await
    }

    async fn answer_to(&self, request: axum::http::Request<tonic::body::Body>) -> tonic::Status {
        let response = self.channel.clone().oneshot(request).await.unwrap();
        if let Some(status) = tonic::Status::from_header_map(response.headers()) {
            return status;
        }
        let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        tonic::Status::from_header_map(&trailers).unwrap()
    }
}

/// A body that ends when its channel is closed.
struct Frames(mpsc::Receiver<Vec<u8>>);

impl Stream for Frames {
    type Item = Result<Vec<u8>, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// A message in its gRPC frame.
pub fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(compressed)];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}
