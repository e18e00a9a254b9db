//! Traces in the formats of other tools: OTLP JSON lines, Jaeger's JSON, Parquet.
//!
//! Every format is written as the traces come, in bounded memory. OTLP loses nothing; the module of each other format
//! lists what it loses. The caller decides which traces are exported.

mod jaeger;
mod parquet;

use spandrel_storage::TraceScan;

use crate::executor::{Output, StreamError};
use crate::otlp::write_lines;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// One OTLP JSON document a line, as the file exporter of OpenTelemetry's collector writes it.
    Otlp,
    /// The JSON that Jaeger's UI reads from files.
    Jaeger,
    /// A table of spans.
    Parquet,
}

// === impl ExportFormat ===

impl ExportFormat {
    /// The `Content-Type` of the response.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Otlp => "application/x-ndjson",
            Self::Jaeger => "application/json",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The file name that a browser suggests.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Otlp => "traces.otlp.jsonl",
            Self::Jaeger => "traces.jaeger.json",
            Self::Parquet => "spans.parquet",
        }
    }

    /// Writes all traces of a scan.
    pub(crate) fn write(self, out: &mut Output, scan: &mut TraceScan<'_>) -> Result<(), StreamError> {
        match self {
            Self::Otlp => scan.try_for_each(|trace| write_lines(out, trace?.1)),
            Self::Jaeger => jaeger::write(out, scan),
            Self::Parquet => parquet::write(out, scan),
        }
    }
}
