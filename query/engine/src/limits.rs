//! What one question may take, and how it ends when it takes more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use spandrel_storage::plan::{Effort, Stop};

/// What one question may take. An answer that met a limit is partial and says which.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Threads that read blocks for one question.
    pub threads: usize,
    /// Time after which a question ends with what it has found so far.
    pub time: Duration,
    /// Bytes of series, groups and distinct values.
    pub memory: usize,
    /// Series of an answer before `topk` and its like.
    pub series: usize,
    /// Points of one series.
    pub points: usize,
}

/// Why an answer is partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// Blocks are damaged, or more traces matched than a search may compare.
    Store,
    /// [`Limits::time`]
    Time,
    /// [`Limits::memory`]
    Memory,
    /// [`Limits::series`]
    Series,
    /// The client has left.
    Cancelled,
}

/// What a running question has taken. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    limits: Limits,
    deadline: Instant,
    bytes: AtomicUsize,
    cancelled: Arc<AtomicBool>,
    /// The first limit that was met.
    met: OnceLock<Partial>,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, |threads| threads.get().min(8)),
            time: Duration::from_secs(30),
            memory: 64 << 20,
            series: 1_000,
            points: 11_000,
        }
    }
}

// === impl Budget ===

impl Budget {
    /// Starts the clock.
    pub fn new(limits: Limits, cancelled: Arc<AtomicBool>) -> Self {
        let deadline = Instant::now() + limits.time;
        let (bytes, met) = (AtomicUsize::new(0), OnceLock::new());
        Self(Arc::new(Taken { limits, deadline, bytes, cancelled, met }))
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Whether the question may go on.
    pub fn allows(&self) -> bool {
        if self.0.cancelled.load(Ordering::Relaxed) {
            return self.stop(Partial::Cancelled);
        }
        if Instant::now() > self.0.deadline {
            return self.stop(Partial::Time);
        }
        // An answer with too few series still counts the spans of those that it has.
        matches!(self.0.met.get(), None | Some(Partial::Series))
    }

    /// Takes bytes. `false` if there are not so many left.
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        before + bytes <= self.0.limits.memory || self.stop(Partial::Memory)
    }

    /// Whether so many bytes, of something that was not taken bit by bit, are within the limit.
    pub fn has(&self, bytes: usize) -> bool {
        bytes <= self.0.limits.memory || self.stop(Partial::Memory)
    }

    /// Records that a limit was met; returns `false`.
    pub(crate) fn stop(&self, why: Partial) -> bool {
        let _ = self.0.met.set(why);
        false
    }

    /// The limit that was met, if one was.
    pub fn met(&self) -> Option<Partial> {
        self.0.met.get().copied()
    }

    /// Why an answer of the store is partial, if it is.
    pub fn why_partial(&self, is_partial: bool) -> Option<Partial> {
        self.met().or(is_partial.then_some(Partial::Store))
    }

    /// What the store may take for the question.
    pub(crate) fn effort(&self) -> Effort {
        Effort { threads: self.0.limits.threads.max(1), stop: self.stop_signal() }
    }

    /// Asks whether the question may go on, for the store.
    pub fn stop_signal(&self) -> Stop {
        let budget = self.clone();
        Stop::new(move || !budget.allows())
    }
}
