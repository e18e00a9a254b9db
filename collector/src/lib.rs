//! The collector: receives OTLP, checks it span by span, combines small requests into batches, and responds to each
//! request when its batch is durable.
//!
//! ```text
//! OTLP/gRPC, OTLP/HTTP -> receive -> decompress -> decode -> dedup resends -> queue -> batcher -> TraceStore
//! ```
//!
//! Everything is bounded. A request that does not fit is refused with a hint when to send again, never dropped
//! silently. The binary owns the sockets and serves the routers of this crate; the store decides what a span means and
//! where it lies.
//!
//! # Metrics
//!
//! | name | kind | |
//! | --- | --- | --- |
//! | `spandrel_ingest_spans_total{transport,format}` | counter | durable spans; `grpc` or `http`, `protobuf` or `json` |
//! | `spandrel_ingest_refused_total{reason}` | counter | requests refused as a whole |
//! | `spandrel_ingest_refused_spans_total` | counter | spans refused one by one, by `partial_success` |
//! | `spandrel_ingest_resends_total` | counter | requests acknowledged without storing them again |
//! | `spandrel_ingest_request_bytes` | histogram | bodies after decompression |
//! | `spandrel_ingest_queue_requests`, `spandrel_ingest_queue_bytes` | gauge | what waits for a batch |
//! | `spandrel_ingest_batch_spans` | histogram | spans of one append |
//! | `spandrel_ingest_append_seconds` | histogram | time of one append, sync included |

mod answer;
mod batch;
mod body;
mod budget;
mod collector;
mod config;
mod decompress;
mod dedup;
mod encoding;
mod grpc;
mod http;
mod intake;
mod json_body;
mod metrics;
mod queue;
mod refusal;

pub use collector::{Collector, DrainError, Load, StartError};
pub use config::{CollectorConfig, IngestLimits};
pub use dedup::Clock;
pub use grpc::http2;
