//! The history of a child: each operation with its invocation and its answer, one line each, as it happens.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use parking_lot::Mutex;

use crate::spans::BEGIN;

/// Writes the history. One line is one write, so a kill leaves whole lines.
pub struct HistoryWriter(Mutex<File>);

/// The history of a child.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// The operations, in order.
    pub events: Vec<Event>,
    /// The reasons why batches were refused, in order.
    pub refusals: Vec<String>,
    /// The reason why the store did not open again, if it did not.
    pub not_opened: Option<String>,
    /// Batches that were acknowledged although an earlier one had been refused, with no restart between.
    pub after_refusal: BTreeSet<u64>,
}

/// An operation and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The clock was set, or the child ended just before.
    Clock(u64),
    /// A batch was sent.
    Batch {
        /// The number of the batch in the workload.
        number: u64,
        /// Whether the store acknowledged it.
        acknowledged: bool,
    },
    /// A trace was to be pinned.
    Pin {
        /// The number of the trace.
        trace: u64,
        /// Whether the store found and pinned it; `None` without an answer.
        there: Option<bool>,
    },
    /// A trace was to be unpinned.
    Unpin {
        /// The number of the trace.
        trace: u64,
        /// Whether the store removed a pin; `None` without an answer.
        was_pinned: Option<bool>,
    },
    /// All traces with a mark were to be deleted.
    Delete {
        /// The mark.
        mark: u64,
        /// The numbers of the traces that a search found by the mark.
        traces: BTreeSet<u64>,
        /// How many traces the store promised to delete; `None` without an answer.
        accepted: Option<u64>,
    },
}

// === impl HistoryWriter ===

impl HistoryWriter {
    /// Continues the history in a file, or begins one.
    pub fn open(path: &Path) -> Self {
        Self(Mutex::new(File::options().create(true).append(true).open(path).unwrap()))
    }

    /// The store opened.
    pub fn opened(&self) {
        self.line("open 0");
    }

    /// The store did not open.
    pub fn not_opened(&self, why: &str) {
        self.line(&format!("closed 0 {why}"));
    }

    /// A batch is sent.
    pub fn begin(&self, batch: u64) {
        self.line(&format!("begin {batch}"));
    }

    /// The batch was acknowledged.
    pub fn acknowledged(&self, batch: u64) {
        self.line(&format!("done {batch}"));
    }

    /// The batch was refused.
    pub fn refused(&self, batch: u64, why: &str) {
        self.line(&format!("refused {batch} {why}"));
    }

    /// The clock is set to this time.
    pub fn clock(&self, now: u64) {
        self.line(&format!("clock {now}"));
    }

    /// A trace is pinned.
    pub fn pin(&self, trace: u64) {
        self.line(&format!("pin {trace}"));
    }

    /// The store pinned it, or did not find it.
    pub fn pinned(&self, trace: u64, there: bool) {
        self.line(&format!("pinned {trace} {there}"));
    }

    /// A trace is unpinned.
    pub fn unpin(&self, trace: u64) {
        self.line(&format!("unpin {trace}"));
    }

    /// The store removed the pin, or found none.
    pub fn unpinned(&self, trace: u64, was_pinned: bool) {
        self.line(&format!("unpinned {trace} {was_pinned}"));
    }

    /// All traces with a mark are deleted; a search found these.
    pub fn delete(&self, mark: u64, traces: &BTreeSet<u64>) {
        let traces: Vec<String> = traces.iter().map(u64::to_string).collect();
        self.line(&format!("delete {mark} {}", traces.join(",")));
    }

    /// The store promised to delete so many traces.
    pub fn deleted(&self, mark: u64, traces: u64) {
        self.line(&format!("deleted {mark} {traces}"));
    }

    fn line(&self, line: &str) {
        self.0.lock().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Reads the history of the child in a folder.
pub fn read_history(folder: &Path) -> History {
    History::parse(&std::fs::read_to_string(super::history_file(folder)).unwrap_or_default())
}

// === impl History ===

impl History {
    /// Parses the lines of a history. Until a line sets it, the clock shows `BEGIN`.
    pub fn parse(text: &str) -> Self {
        let mut history = Self { events: vec![Event::Clock(BEGIN)], ..Self::default() };
        let mut refuses = false;
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let word = words.next().unwrap();
            let number: u64 = words.next().and_then(|number| number.parse().ok()).expect("a number");
            let rest = words.next().unwrap_or_default();
            match word {
                "done" if refuses => drop(history.after_refusal.insert(number)),
                "refused" => {
                    refuses = true;
                    history.refusals.push(rest.to_owned());
                }
                "open" => refuses = false,
                "closed" => history.not_opened = Some(rest.to_owned()),
                _ => {}
            }
            history.apply(word, number, rest);
        }
        history
    }

    /// Adds the operation of a line, or the answer to an earlier one.
    fn apply(&mut self, word: &str, number: u64, rest: &str) {
        let said = || rest.parse::<bool>().unwrap();
        match word {
            "clock" => self.events.push(Event::Clock(number)),
            "begin" => self.events.push(Event::Batch { number, acknowledged: false }),
            "done" => self.acknowledge(number),
            "pin" => self.events.push(Event::Pin { trace: number, there: None }),
            "unpin" => self.events.push(Event::Unpin { trace: number, was_pinned: None }),
            "delete" => {
                let traces = rest.split(',').filter(|trace| !trace.is_empty());
                let traces = traces.map(|trace| trace.parse().unwrap()).collect();
                self.events.push(Event::Delete { mark: number, traces, accepted: None });
            }
            "refused" | "open" | "closed" => {}
            answer => match (answer, self.events.last_mut().unwrap()) {
                ("pinned", Event::Pin { there, .. }) => *there = Some(said()),
                ("unpinned", Event::Unpin { was_pinned, .. }) => *was_pinned = Some(said()),
                ("deleted", Event::Delete { accepted, .. }) => *accepted = Some(rest.parse().unwrap()),
                other => panic!("a history has no line {other:?}"),
            },
        }
    }

    fn acknowledge(&mut self, batch: u64) {
        for event in self.events.iter_mut().rev() {
            if let Event::Batch { number, acknowledged } = event
                && *number == batch
            {
                *acknowledged = true;
                return;
            }
        }
    }

    /// The time that the clock shows at the end.
    pub fn now(&self) -> u64 {
        let clocks = self.events.iter().rev();
        clocks
            .filter_map(|event| if let Event::Clock(now) = event { Some(*now) } else { None })
            .next()
            .unwrap()
    }
}
