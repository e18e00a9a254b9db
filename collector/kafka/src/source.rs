//! One member of a consumer group: connects, reads, waits until what it has read is stored, commits, and reads on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use krafka::consumer::{Consumer, OffsetAndMetadata};
use krafka::{CloseOptions, KrafkaError};
use metrics::gauge;
use parking_lot::Mutex;
use spandrel_collector::MessageSink;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::batch::Batch;
use crate::config::{ConnectError, SourceConfig};
use crate::progress::{Listener, Progress};
use crate::status::{Board, SourceStatus};

/// Topics that are read into the collector.
pub struct Source {
    config: SourceConfig,
    sink: MessageSink,
    board: Arc<Board>,
}

/// A connection to the cluster.
struct Session {
    consumer: Consumer,
    group: String,
    board: Arc<Board>,
    progress: Arc<Mutex<Progress>>,
    batch: Batch,
    measured: Option<Instant>,
    /// Partitions of each topic when the group was joined; 0 of one that did not exist.
    topics: Vec<(String, usize)>,
    looked: Instant,
    /// The brokers did not answer when they were asked last. The client does not say so when it reads: it waits for them.
    is_cut_off: bool,
}

/// Why a session has ended.
enum End {
    Stopped,
    /// Another connection may do better, or knows of more partitions.
    Again,
}

/// The longest wait for messages.
const POLL: Duration = Duration::from_millis(500);
/// While what was read is not stored, Kafka is told this often that this member of the group is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect grow up to the second one.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Reads that may fail in a row before a connection is given up.
const FAILURES: usize = 20;
/// How often the lag is looked at.
const MEASURE: Duration = Duration::from_secs(1);
/// How often it is asked whether there are more topics and partitions.
const LOOK: Duration = Duration::from_secs(2);
/// What is being stored when the server stops may take so long; what is not stored then is read again.
const LAST_BATCH: Duration = Duration::from_secs(3);
const CLOSE: Duration = Duration::from_secs(2);

// === impl Source ===

impl Source {
    /// A source whose messages go to `sink`.
    pub fn new(config: SourceConfig, sink: MessageSink) -> Self {
        let board = Arc::new(Board::new(config.clone()));
        Self { config, sink, board }
    }

    /// What tells how it is doing, while and after it runs.
    pub fn status(&self) -> impl Fn() -> SourceStatus + Send + Sync + use<> {
        let board = self.board.clone();
        move || board.status()
    }

    /// Reads until `stop` turns true, commits what is stored by then, and leaves the group.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let (mut pause, longest) = RETRY;
        loop {
            let connected = tokio::select! {
                connected = self.connect() => connected,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match connected {
                Ok(session) => {
                    pause = RETRY.0;
                    if matches!(session.run(&mut stop).await, End::Stopped) {
                        break;
                    }
                }
                Err(error) => self.board.failed("connecting to Kafka", &error),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.board.stopped();
    }

    async fn connect(&self) -> Result<Session, ConnectError> {
        let kafka = self.config.connect().await?;
        let progress = Arc::new(Mutex::new(Progress::default()));
        let consumer = self.config.join(&kafka, Listener(progress.clone())).await?;
        let (sink, board) = (self.sink.clone(), self.board.clone());
        let SourceConfig { group, topics, .. } = &self.config;
        let counted = topics.iter().map(|topic| (topic.clone(), 0)).collect();
        let mut session = Session {
            consumer,
            group: group.clone(),
            board: board.clone(),
            progress: progress.clone(),
            batch: Batch::new(sink, board, progress, group, topics),
            measured: None,
            topics: counted,
            looked: Instant::now(),
            is_cut_off: false,
        };
        session.topics = session.count_partitions().await?;
        for (topic, _) in session.topics.iter().filter(|(_, partitions)| *partitions == 0) {
            tracing::info!(%topic, "a topic of Kafka does not exist yet; it is read once it does");
        }
        Ok(session)
    }
}

// === impl Session ===

impl Session {
    async fn run(mut self, stop: &mut watch::Receiver<bool>) -> End {
        let mut failures = 0;
        let end = loop {
            let read = tokio::select! {
                read = self.consumer.poll(POLL) => read,
                _ = stop.wait_for(|stop| *stop) => break End::Stopped,
            };
            match read {
                Ok(records) => {
                    failures = 0;
                    self.is_cut_off &= records.is_empty();
                    if !self.is_cut_off {
                        self.board.reading();
                    }
                    records.into_iter().for_each(|record| self.batch.add(record));
                }
                Err(error) => {
                    self.board.failed("reading from Kafka", &error);
                    failures += 1;
                    // A batch that cannot be read keeps its partition, and not the others.
                    if error.is_fatal() || failures == FAILURES {
                        break End::Again;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(RETRY.0) => {}
                        _ = stop.wait_for(|stop| *stop) => break End::Stopped,
                    }
                }
            }
            if let Some(end) = self.store(stop).await {
                break end;
            }
            self.commit().await;
            self.measure().await;
            if self.has_more_partitions().await {
                break End::Again;
            }
        };
        self.close().await;
        end
    }

    /// Waits until everything is stored that was read. Nothing more is read meanwhile, but this member stays in its group,
    /// and what is stored of it is committed now and then.
    async fn store(&mut self, stop: &mut watch::Receiver<bool>) -> Option<End> {
        let mut paused = false;
        while !self.batch.is_empty() {
            tokio::select! {
                () = self.batch.all_done() => break,
                () = tokio::time::sleep(SIGN_OF_LIFE) => {}
                _ = stop.wait_for(|stop| *stop) => return Some(End::Stopped),
            }
            paused = true;
            self.pause().await;
            match self.consumer.poll(Duration::from_millis(1)).await {
                // Of partitions that came just now.
                Ok(records) => records.into_iter().for_each(|record| self.batch.add(record)),
                Err(error) => tracing::debug!(%error, "a sign of life to Kafka has failed"),
            }
            self.commit().await;
            self.measure().await;
        }
        if paused {
            for (topic, partitions) in self.consumer.assignment().await {
                self.consumer.resume(&topic, &partitions).await;
            }
        }
        None
    }

    /// Whether topics have partitions that they did not have when the group was joined, which divided those among its
    /// members.
    async fn has_more_partitions(&mut self) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        let counted = self.count_partitions().await;
        self.looked = Instant::now();
        self.is_cut_off = counted.is_err();
        match counted {
            Ok(now) => now.iter().zip(&self.topics).any(|((_, now), (_, then))| now > then),
            Err(error) => {
                self.board.failed("asking Kafka for its topics", &error);
                false
            }
        }
    }

    async fn count_partitions(&self) -> Result<Vec<(String, usize)>, KrafkaError> {
        let mut counted = Vec::with_capacity(self.topics.len());
        for (topic, _) in &self.topics {
            let known = self.consumer.fetch_metadata(Some(topic)).await?.topics;
            counted.push((topic.clone(), known.first().map_or(0, |topic| topic.partitions.len())));
        }
        Ok(counted)
    }

    async fn pause(&self) {
        for (topic, partitions) in self.consumer.assignment().await {
            self.consumer.pause(&topic, &partitions).await;
        }
    }

    /// Commits what is stored. What fails is committed later, together with more.
    async fn commit(&self) {
        let offsets = self.progress.lock().to_commit();
        if offsets.is_empty() {
            return;
        }
        let positions = offsets.iter().map(|(at, offset)| (at.clone(), OffsetAndMetadata::new(*offset)));
        match self.consumer.commit_offsets(positions).await {
            Ok(()) => {
                self.progress.lock().committed(&offsets);
                for (at, offset) in &offsets {
                    self.gauge("spandrel_kafka_committed_offset", at.topic(), at.partition(), *offset as f64);
                }
            }
            Err(error) => {
                // A member that was taken for dead learns it here; the next poll joins the group again.
                tracing::debug!(group = %self.group, %error, "committing to Kafka has failed; it is tried again");
                metrics::counter!("spandrel_kafka_errors_total", "group" => self.group.clone()).increment(1);
            }
        }
    }

    /// Looks how much there is left to read.
    async fn measure(&mut self) {
        if self.measured.is_some_and(|at| at.elapsed() < MEASURE) {
            return;
        }
        self.measured = Some(Instant::now());
        let partitions = self.consumer.lag().await;
        let mut sum = 0;
        for (at, partition) in &partitions {
            let under_way = self.progress.lock().under_way(at.topic(), at.partition());
            let lag = partition.lag.unwrap_or(0) + under_way as u64;
            sum += lag;
            self.gauge("spandrel_kafka_lag", at.topic(), at.partition(), lag as f64);
        }
        self.board.measured(partitions.len(), sum);
    }

    fn gauge(&self, name: &'static str, topic: &str, partition: i32, value: f64) {
        let labels = (self.group.clone(), topic.to_owned(), partition.to_string());
        gauge!(name, "group" => labels.0, "topic" => labels.1, "partition" => labels.2).set(value);
    }

    async fn close(mut self) {
        // What waits for room waits for ever, perhaps; what is on its way to the disk does not.
        let _ = timeout(LAST_BATCH, self.batch.all_done()).await;
        let _ = timeout(CLOSE, self.commit()).await;
        if let Err(error) = self.consumer.close_with(CloseOptions::new().timeout(CLOSE)).await {
            tracing::debug!(%error, "leaving the group of Kafka has failed; it notices by itself");
        }
    }
}
