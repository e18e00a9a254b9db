//! OTLP over gRPC and over HTTP.

mod format;
mod grpc;
mod http;
mod signals;

pub(crate) use self::grpc::router as grpc_router;
pub(crate) use self::http::router as http_router;
