//! What operators see of a source: how it is doing now, in the status and in the log. The log tells what goes wrong when
//! it begins, and then now and then.

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;

use crate::config::SourceConfig;

/// How a source is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// The consumer group.
    pub group: String,
    /// Its topics.
    pub topics: Vec<String>,
    /// What the messages are.
    pub encoding: &'static str,
    /// What it does now.
    pub condition: Condition,
    /// Partitions that are read here.
    pub partitions: usize,
    /// Messages of these partitions that are not stored yet, as far as brokers have told.
    pub lag: u64,
}

/// What a source does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is no connection; why, once an attempt has failed.
    Connecting(Option<String>),
    /// It reads.
    Reading,
    /// It waits, because what was read cannot be stored.
    Waiting(String),
    /// The server stops.
    Stopped,
}

/// The same while it changes.
pub(crate) struct Board {
    config: SourceConfig,
    now: Mutex<Now>,
    errors: Counter,
    waiting: Gauge,
}

struct Now {
    condition: Condition,
    since: Instant,
    /// When the log told last of a failure, and of waiting.
    told: [Option<Instant>; 2],
    /// Whether the log has told of what is wrong now.
    is_told: bool,
    partitions: usize,
    lag: u64,
    passed_over: PassedOver,
}

/// Lines about messages that are passed over.
struct PassedOver {
    window: Instant,
    lines: usize,
    silent: u64,
}

const FAILED: usize = 0;
const WAITING: usize = 1;
/// How often the log repeats what is still wrong, or is wrong again.
const REPEAT: Duration = Duration::from_secs(60);
/// Within this time, the log names so many messages that are passed over, and counts the others.
const WINDOW: (Duration, usize) = (Duration::from_secs(10), 20);

// === impl Condition ===

impl Condition {
    /// A word, and what keeps the source from reading.
    pub fn told(self) -> (&'static str, Option<String>) {
        match self {
            Self::Connecting(reason) => ("connecting", reason),
            Self::Reading => ("reading", None),
            Self::Waiting(reason) => ("waiting", Some(reason)),
            Self::Stopped => ("stopped", None),
        }
    }
}

// === impl Board ===

impl Board {
    pub(crate) fn new(config: SourceConfig) -> Self {
        let group = config.group.clone();
        let passed_over = PassedOver { window: Instant::now(), lines: 0, silent: 0 };
        let now = Now {
            condition: Condition::Connecting(None),
            since: Instant::now(),
            told: [None; 2],
            is_told: false,
            partitions: 0,
            lag: 0,
            passed_over,
        };
        Self {
            config,
            now: Mutex::new(now),
            errors: counter!("spandrel_kafka_errors_total", "group" => group.clone()),
            waiting: gauge!("spandrel_kafka_waiting", "group" => group),
        }
    }

    pub(crate) fn status(&self) -> SourceStatus {
        let now = self.now.lock();
        SourceStatus {
            group: self.config.group.clone(),
            topics: self.config.topics.clone(),
            encoding: self.config.encoding.name(),
            condition: now.condition.clone(),
            partitions: now.partitions,
            lag: now.lag,
        }
    }

    pub(crate) fn measured(&self, partitions: usize, lag: u64) {
        let mut now = self.now.lock();
        (now.partitions, now.lag) = (partitions, lag);
    }

    /// All is well.
    pub(crate) fn reading(&self) {
        let mut now = self.now.lock();
        if now.condition != Condition::Reading {
            let group = &self.config.group;
            if now.is_told {
                tracing::info!(%group, after = ?now.since.elapsed(), "reading from Kafka again");
            }
            now.become_(Condition::Reading);
            self.waiting.set(0.0);
        }
    }

    /// What was read cannot be stored now.
    pub(crate) fn waits(&self, reason: &str) {
        let mut now = self.now.lock();
        if !matches!(now.condition, Condition::Waiting(_)) {
            now.become_(Condition::Waiting(String::new()));
            self.waiting.set(1.0);
        }
        now.condition = Condition::Waiting(reason.to_owned());
        if now.is_due(WAITING) {
            let group = &self.config.group;
            tracing::warn!(%group, reason, "reading from Kafka waits, because what was read cannot be stored");
        }
    }

    /// A connection, read or commit has failed, and is tried again.
    pub(crate) fn failed(&self, what: &'static str, error: &dyn std::error::Error) {
        self.errors.increment(1);
        let text = format!("{what}: {error}");
        let mut now = self.now.lock();
        if !matches!(now.condition, Condition::Connecting(_)) {
            now.become_(Condition::Connecting(None));
            self.waiting.set(0.0);
        }
        now.condition = Condition::Connecting(Some(text));
        if now.is_due(FAILED) {
            let (group, brokers) = (&self.config.group, self.config.brokers.join(","));
            tracing::warn!(%group, %brokers, %error, "{what} failed; it is tried again");
        }
    }

    pub(crate) fn stopped(&self) {
        self.now.lock().become_(Condition::Stopped);
        self.waiting.set(0.0);
    }

    /// A message will never be taken.
    pub(crate) fn passed_over(&self, topic: &str, partition: i32, offset: i64, reason: &str) {
        let mut now = self.now.lock();
        let lines = &mut now.passed_over;
        let (window, most) = WINDOW;
        if lines.window.elapsed() >= window {
            (lines.window, lines.lines) = (Instant::now(), 0);
        }
        if lines.lines == most {
            lines.silent += 1;
            return;
        }
        lines.lines += 1;
        let others = std::mem::take(&mut lines.silent);
        let group = &self.config.group;
        tracing::warn!(%group, topic, partition, offset, reason, others, "a message of Kafka is passed over");
    }
}

// === impl Now ===

impl Now {
    fn become_(&mut self, condition: Condition) {
        self.condition = condition;
        self.since = Instant::now();
        self.is_told = false;
    }

    /// Whether the log tells of it again.
    fn is_due(&mut self, what: usize) -> bool {
        let due = self.told[what].is_none_or(|at| at.elapsed() >= REPEAT);
        if due {
            self.told[what] = Some(Instant::now());
            self.is_told = true;
        }
        due
    }
}
