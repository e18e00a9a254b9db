//! The messages that were read and are being stored.

use std::collections::HashMap;
use std::sync::Arc;

use krafka::consumer::ConsumerRecord;
use metrics::{Counter, counter};
use parking_lot::Mutex;
use spandrel_collector::{MessageSink, Taken};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::progress::Progress;
use crate::status::Board;

/// Hands messages to the collector, many at once: those that arrive together share a batch and a sync there.
pub(crate) struct Batch {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    sink: MessageSink,
    board: Arc<Board>,
    progress: Arc<Mutex<Progress>>,
    room: Arc<Semaphore>,
    counters: HashMap<String, Counters>,
}

struct Counters {
    stored: Counter,
    passed_over: Counter,
    empty: Counter,
    bytes: Counter,
}

/// KiB of messages that are decoded and stored at once; a longer one goes alone.
const ROOM_KIB: usize = 32 << 10;

// === impl Batch ===

impl Batch {
    pub(crate) fn new(
        sink: MessageSink,
        board: Arc<Board>,
        progress: Arc<Mutex<Progress>>,
        group: &str,
        topics: &[String],
    ) -> Self {
        let counters = topics.iter().map(|topic| (topic.clone(), Counters::new(group, topic))).collect();
        let room = Arc::new(Semaphore::new(ROOM_KIB));
        Self { shared: Arc::new(Shared { sink, board, progress, room, counters }), tasks: JoinSet::new() }
    }

    /// Begins to store a message.
    pub(crate) fn add(&mut self, record: ConsumerRecord) {
        let shared = self.shared.clone();
        shared.progress.lock().begin(&record.topic, record.partition, record.offset);
        self.tasks.spawn(async move { shared.store(record).await });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns when all of them are done with. May be dropped and called again.
    pub(crate) async fn all_done(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                tracing::error!("storing a message of Kafka has panicked; it is read again after a restart");
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn store(&self, record: ConsumerRecord) {
        let ConsumerRecord { topic, partition, offset, value, .. } = record;
        let counters = self.counters.get(&*topic);
        let count = |counter: fn(&Counters) -> &Counter| {
            if let Some(counters) = counters {
                counter(counters).increment(1);
            }
        };
        match value.filter(|value| !value.is_empty()) {
            None => count(|counters| &counters.empty),
            Some(value) => {
                if let Some(counters) = counters {
                    counters.bytes.increment(value.len() as u64);
                }
                let wanted = (value.len() >> 10).clamp(1, ROOM_KIB) as u32;
                let _room = self.room.acquire_many(wanted).await;
                match self.sink.take(value, |reason| self.board.waits(reason)).await {
                    Taken::Stored => count(|counters| &counters.stored),
                    Taken::Refused(reason) => {
                        count(|counters| &counters.passed_over);
                        self.board.passed_over(&topic, partition, offset, &reason);
                    }
                }
            }
        }
        self.progress.lock().end(&topic, partition, offset);
    }
}

// === impl Counters ===

impl Counters {
    fn new(group: &str, topic: &str) -> Self {
        let messages = |outcome: &'static str| counter!("spandrel_kafka_messages_total", "group" => group.to_owned(), "topic" => topic.to_owned(), "outcome" => outcome);
        Self {
            stored: messages("stored"),
            passed_over: messages("passed_over"),
            empty: messages("empty"),
            bytes: counter!("spandrel_kafka_bytes_total", "group" => group.to_owned(), "topic" => topic.to_owned()),
        }
    }
}
