//! What a victim was promised, noted line by line as it happens.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use parking_lot::Mutex;

use crate::spans::BEGIN;

/// Notes of a victim, as they are written. One line is one write, so a kill leaves whole lines.
pub struct Diary(Mutex<File>);

/// Notes of a victim, as they are read.
#[derive(Debug, Default, Clone)]
pub struct Notes {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What refused batches were told, in order.
    pub refusals: Vec<String>,
    /// Why the store does not open any more, if so.
    pub not_opened: Option<String>,
    /// Batches that were acknowledged although an earlier one had been refused, with no restart between.
    pub after_refusal: BTreeSet<u64>,
}

/// One thing that happened to a victim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The clock was set, or was about to be.
    Clock(u64),
    /// A batch was sent, and perhaps acknowledged.
    Batch {
        /// Which batch of the story.
        number: u64,
        /// Whether it was.
        acknowledged: bool,
    },
    /// A trace was to be pinned; whether it was there to be pinned, if anybody said so.
    Pin {
        /// The number of the trace.
        trace: u64,
        /// Whether it was found, and is pinned.
        there: Option<bool>,
    },
    /// A pin was to be taken away; whether there was one, if anybody said so.
    Unpin {
        /// The number of the trace.
        trace: u64,
        /// Whether it was pinned, and is not any more.
        was_pinned: Option<bool>,
    },
    /// Some traces were to be deleted: those that a search found by their mark.
    Delete {
        /// The mark.
        mark: u64,
        /// The traces that were found, by their numbers.
        traces: BTreeSet<u64>,
        /// How many the store will delete, if it has said so.
        accepted: Option<u64>,
    },
}

// === impl Diary ===

impl Diary {
    /// A diary that goes on, or begins.
    pub fn open(path: &Path) -> Self {
        Self(Mutex::new(File::options().create(true).append(true).open(path).unwrap()))
    }

    /// The store is open: new, or after a restart.
    pub fn opened(&self) {
        self.note("open 0");
    }

    /// The store does not open any more.
    pub fn not_opened(&self, why: &str) {
        self.note(&format!("closed 0 {why}"));
    }

    /// A batch is sent.
    pub fn begin(&self, batch: u64) {
        self.note(&format!("begin {batch}"));
    }

    /// It is acknowledged.
    pub fn acknowledged(&self, batch: u64) {
        self.note(&format!("done {batch}"));
    }

    /// It is refused.
    pub fn refused(&self, batch: u64, why: &str) {
        self.note(&format!("refused {batch} {why}"));
    }

    /// The clock will be set to this.
    pub fn clock(&self, now: u64) {
        self.note(&format!("clock {now}"));
    }

    /// A trace is to be pinned.
    pub fn pin(&self, trace: u64) {
        self.note(&format!("pin {trace}"));
    }

    /// It is pinned, or nobody found it.
    pub fn pinned(&self, trace: u64, there: bool) {
        self.note(&format!("pinned {trace} {there}"));
    }

    /// A pin is to be taken away.
    pub fn unpin(&self, trace: u64) {
        self.note(&format!("unpin {trace}"));
    }

    /// It is taken away, or there was none.
    pub fn unpinned(&self, trace: u64, was_pinned: bool) {
        self.note(&format!("unpinned {trace} {was_pinned}"));
    }

    /// What has a mark is to be deleted: these traces, by what can be found.
    pub fn delete(&self, mark: u64, traces: &BTreeSet<u64>) {
        let traces: Vec<String> = traces.iter().map(u64::to_string).collect();
        self.note(&format!("delete {mark} {}", traces.join(",")));
    }

    /// So many traces will be deleted, whatever happens.
    pub fn deleted(&self, mark: u64, traces: u64) {
        self.note(&format!("deleted {mark} {traces}"));
    }

    fn note(&self, line: &str) {
        self.0.lock().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads a diary.
    pub fn read(path: &Path) -> Notes {
        Notes::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }
}

// === impl Notes ===

impl Notes {
    /// From the lines of a diary; without a line about it, the clock stands at `BEGIN`.
    pub fn parse(text: &str) -> Self {
        let mut notes = Self { events: vec![Event::Clock(BEGIN)], ..Self::default() };
        let mut refuses = false;
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let word = words.next().unwrap();
            let number: u64 = words.next().and_then(|number| number.parse().ok()).expect("a number");
            let rest = words.next().unwrap_or_default();
            match word {
                "done" if refuses => drop(notes.after_refusal.insert(number)),
                "refused" => {
                    refuses = true;
                    notes.refusals.push(rest.to_owned());
                }
                "open" => refuses = false,
                "closed" => notes.not_opened = Some(rest.to_owned()),
                _ => {}
            }
            notes.note(word, number, rest);
        }
        notes
    }

    /// What a line says has happened, or came of what had begun to happen.
    fn note(&mut self, word: &str, number: u64, rest: &str) {
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
                other => panic!("what is {other:?} in a diary?"),
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

    /// What the clock stands at in the end.
    pub fn now(&self) -> u64 {
        let clocks = self.events.iter().rev();
        clocks
            .filter_map(|event| if let Event::Clock(now) = event { Some(*now) } else { None })
            .next()
            .unwrap()
    }
}
