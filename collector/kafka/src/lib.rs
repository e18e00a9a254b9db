//! Reads spans from Kafka's topics: the one crate that knows Kafka's client. What a message is made of is the
//! collector's affair ([`spandrel_collector::MessageSink`]).
//!
//! A [`Source`] is a member of a consumer group. It reads a batch, hands every message to the collector, and commits
//! the offsets behind what is durable, and nothing else: a process that ends in between reads the rest again, which the
//! store recognises. While the collector cannot take what was read, nothing more is read.
//!
//! # Metrics
//!
//! | name | kind | |
//! | --- | --- | --- |
//! | `spandrel_kafka_messages_total{group,topic,outcome}` | counter | messages that are done with: `stored`, `passed_over` because they will never be taken, or `empty` |
//! | `spandrel_kafka_bytes_total{group,topic}` | counter | bytes of messages that were read |
//! | `spandrel_kafka_lag{group,topic,partition}` | gauge | messages that this server has not stored yet, of the partitions that it reads |
//! | `spandrel_kafka_committed_offset{group,topic,partition}` | gauge | the offset of the next message behind what is committed |
//! | `spandrel_kafka_waiting{group}` | gauge | 1 while what was read cannot be stored, and reading waits |
//! | `spandrel_kafka_errors_total{group}` | counter | failed connections, reads and commits; they are tried again |

mod batch;
mod config;
mod progress;
mod source;
mod status;

pub use config::{Password, Sasl, SaslMechanism, SourceConfig, Start, Tls};
pub use source::Source;
pub use status::{Condition, SourceStatus};
