//! Jaeger, as its older clients and agents send it: gRPC, thrift over HTTP, and thrift in datagrams.

mod agent;
mod grpc;
mod http;

pub use self::agent::{Agent, AgentProtocol};
pub(crate) use self::grpc::router as grpc_router;
pub(crate) use self::http::router as http_router;
