//! OTLP/gRPC over a real channel, with raw bytes, which need not be a valid message.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use bytes::{Buf, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::runtime::{Builder, Runtime};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::server::PATIENCE;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A connection that sends one request after another.
pub struct Grpc {
    runtime: Runtime,
    channel: Channel,
    compression: Option<CompressionEncoding>,
    key: Option<String>,
}

/// A codec that passes bytes through.
#[derive(Default)]
struct Raw;

// === impl Grpc ===

impl Grpc {
    pub fn connect(address: SocketAddr) -> Result<Self, Status> {
        Self::connect_to(Endpoint::from_shared(format!("http://{address}")))
    }

    /// Connects with TLS, verifying by this authority and presenting this certificate and key, all in PEM.
    pub fn connect_encrypted(
        address: SocketAddr,
        authority: &str,
        identity: Option<(&str, &str)>,
    ) -> Result<Self, Status> {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost");
        let tls = match identity {
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{address}"));
        Self::connect_to(endpoint.and_then(|endpoint| endpoint.tls_config(tls)))
    }

    /// Connects to a socket in the file system.
    pub fn connect_unix(path: &Path) -> Result<Self, Status> {
        Self::connect_to(Endpoint::from_shared(format!("unix://{}", path.display())))
    }

    fn connect_to(endpoint: Result<Endpoint, tonic::transport::Error>) -> Result<Self, Status> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Status::internal(error.to_string()))?;
        let endpoint = endpoint
            .map_err(|error| Status::internal(error.to_string()))?
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE);
        let channel = runtime
            .block_on(endpoint.connect())
            .map_err(|error| Status::unavailable(format!("cannot connect: {}", causes(&error))))?;
        Ok(Self { runtime, channel, compression: None, key: None })
    }

    /// The same connection, compressing its requests.
    #[must_use]
    pub fn compressed(mut self, encoding: CompressionEncoding) -> Self {
        self.compression = Some(encoding);
        self
    }

    /// The same connection, sending a key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Sends a body to `Export`.
    pub fn export(&mut self, body: &[u8]) -> Result<ExportTraceServiceResponse, Status> {
        let answer = self.call(EXPORT, body)?;
        ExportTraceServiceResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))
    }

    /// Sends a body to any method.
    pub fn call(&mut self, path: &'static str, body: &[u8]) -> Result<Bytes, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        if let Some(encoding) = self.compression {
            client = client.send_compressed(encoding);
        }
        let mut request = Request::new(Bytes::copy_from_slice(body));
        if let Some(key) = &self.key {
            let value = key.parse().map_err(|_| Status::internal("a key of visible characters"))?;
            request.metadata_mut().insert("x-api-key", value);
        }
        self.runtime.block_on(async {
            client.ready().await.map_err(|error| Status::unavailable(causes(&error)))?;
            match client.unary(request, PathAndQuery::from_static(path), Raw).await {
                Ok(answer) => Ok(answer.into_inner()),
                // A connection that broke has its reason among the causes.
                Err(status) if status.source().is_some() => Err(Status::new(status.code(), causes(&status))),
                Err(status) => Err(status),
            }
        })
    }
}

/// An error and what led to it.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text += &format!(": {deeper}");
        cause = deeper.source();
    }
    text
}

// === impl Raw ===

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
