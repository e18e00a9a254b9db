//! Errors of writing a block. Errors of reading one are in `format.rs`.

use spandrel_proto::otlp::wire::WireError;

use crate::record::RecordError;

/// Why a block cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// A span or resource is not valid OTLP; ingest checks them before.
    #[error("a span does not decode: {0}")]
    Wire(#[from] WireError),
    /// A record, such as the zone map, does not encode.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The compressor failed.
    #[error("compression failed: {0}")]
    Compress(String),
}
