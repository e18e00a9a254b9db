//! Why a block cannot be written. Why one cannot be read is in `format.rs`.

use spandrel_proto::otlp::wire::WireError;

use crate::record::RecordError;

/// Why a block cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// A span or resource that was not checked before.
    #[error("a span does not decode: {0}")]
    Wire(#[from] WireError),
    /// A record does not encode.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The compressor failed.
    #[error("compression failed: {0}")]
    Compress(String),
}
