//! Compression of bodies, from their headers.

use axum::http::HeaderMap;

/// The value of `Accept-Encoding` and `grpc-accept-encoding`.
pub(crate) const SUPPORTED: &str = "gzip, zstd, deflate, identity";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// The zlib format: HTTP and gRPC call it deflate.
    Deflate,
}

// === impl Encoding ===

impl Encoding {
    /// Reads a header such as `Content-Encoding`. The error is the header's value.
    pub(crate) fn from_headers(headers: &HeaderMap, name: &'static str) -> Result<Self, String> {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        let text = String::from_utf8_lossy(value.as_bytes());
        if values.next().is_some() {
            return Err(format!("{text}, and another"));
        }
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "deflate" => Ok(Self::Deflate),
            _ => Err(text.into_owned()),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}
