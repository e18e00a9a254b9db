//! The collector: receives spans, checks it span by span, combines small requests into batches, and responds to each
//! request when its batch is durable.
//!
//! ```text
//! receive/* -> decompress -> decode -> clean -> dedup resends -> queue -> batcher -> TraceStore
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
//! | `spandrel_ingest_spans_total{receiver,transport,format}` | counter | durable spans by the way they came, as in `otlp`; `grpc` or `http`; `protobuf` or `json` |
//! | `spandrel_ingest_datagrams_total{receiver,format}` | counter | datagrams that were received |
//! | `spandrel_ingest_datagrams_lost_total{receiver,format,why}` | counter | datagrams that were not stored: `refused`, or dropped by the `socket` before they were read |
//! | `spandrel_ingest_discarded_total{signal}`, `spandrel_ingest_discarded_bytes_total{signal}` | counter | requests of other signals that were dropped, and their bytes |
//! | `spandrel_ingest_refused_total{reason}` | counter | requests refused as a whole |
//! | `spandrel_ingest_log_records_total{receiver,transport,format}` | counter | durable log records of spans, in the same way |
//! | `spandrel_ingest_refused_log_records_total` | counter | log records refused one by one |
//! | `spandrel_ingest_discarded_log_records_total` | counter | log records without a span that were dropped (`--other-signals discard`) |
//! | `spandrel_ingest_refused_spans_total` | counter | spans refused one by one, by `partial_success` |
//! | `spandrel_ingest_resends_total` | counter | requests acknowledged without storing them again |
//! | `spandrel_ingest_request_bytes` | histogram | bodies after decompression |
//! | `spandrel_ingest_queue_requests`, `spandrel_ingest_queue_bytes` | gauge | what waits for a batch |
//! | `spandrel_ingest_batch_spans` | histogram | spans of one append |
//! | `spandrel_ingest_append_seconds` | histogram | time of one append, sync included |
//! | `spandrel_ingest_delay_seconds{receiver}` | histogram | time from the end of a span until it can be found, of every span |

mod batch;
mod body;
mod budget;
mod clean_api;
mod collector;
mod config;
mod decompress;
mod dedup;
mod delay;
mod encoding;
mod intake;
mod metrics;
mod queue;
mod receive;
mod refusal;
mod route;
mod text_body;

pub use clean_api::{CleanApi, CleanRulesAnswer, FindHashKey, OPENAPI, RuleDone, RuleFile};
pub use collector::{Collector, DrainError, Load, StartError};
pub use config::{CollectorConfig, IngestLimits, OtherSignals};
pub use dedup::Clock;
pub use delay::RecentDelay;
pub use receive::http2;
pub use receive::jaeger::{Agent, AgentProtocol};
pub use receive::kafka::{MessageEncoding, MessageSink, Taken};
