//! What a victim was promised, noted line by line as it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use parking_lot::Mutex;

use super::story::RETENTION;
use crate::spans::{BEGIN, HOUR, MINUTE};

/// Notes of a victim, as they are written. One line is one write, so a kill leaves whole lines.
pub struct Diary(Mutex<File>);

/// Notes of a victim, as they are read.
#[derive(Debug, Default, Clone)]
pub struct Notes {
    /// Batches that were sent, each with its place in `clocks`: what the clock stood at.
    pub begun: BTreeMap<u64, usize>,
    /// Those that were acknowledged.
    pub acknowledged: BTreeSet<u64>,
    /// What refused batches were told, in order.
    pub refusals: Vec<String>,
    /// Why the store does not open any more, if so.
    pub not_opened: Option<String>,
    /// Batches that were acknowledged although an earlier one had been refused, with no restart between.
    pub after_refusal: BTreeSet<u64>,
    /// Every time that the clock was set to, in order; the last one counts.
    pub clocks: Vec<u64>,
}

/// How far the clock goes on, at most, while a verdict is found.
const AFTERLIFE: u64 = 10 * MINUTE;

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
        let mut notes = Self { clocks: vec![BEGIN], ..Self::default() };
        let mut refuses = false;
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let word = words.next().unwrap();
            let number: u64 = words.next().and_then(|number| number.parse().ok()).expect("a number");
            let now = notes.clocks.len() - 1;
            match word {
                "begin" => drop(notes.begun.insert(number, now)),
                "done" => {
                    notes.acknowledged.insert(number);
                    if refuses {
                        notes.after_refusal.insert(number);
                    }
                }
                "refused" => {
                    refuses = true;
                    notes.refusals.push(words.next().unwrap_or_default().to_owned());
                }
                "open" => refuses = false,
                "closed" => notes.not_opened = words.next().map(str::to_owned),
                "clock" => notes.clocks.push(number),
                other => panic!("what is {other:?} in a diary?"),
            }
        }
        notes
    }

    /// What the clock stands at in the end.
    pub fn now(&self) -> u64 {
        *self.clocks.last().unwrap()
    }

    /// Whether a batch is in a window that could not go yet.
    pub fn is_kept(&self, batch: u64) -> bool {
        let at = self.begun[&batch];
        let latest = self.clocks[at..].iter().max().unwrap();
        self.acknowledged.contains(&batch) && !is_over(self.clocks[at], latest + AFTERLIFE)
    }

    /// Whether a batch is in a window that has to go now. Windows never go backwards when the clock
    /// does, but a store that has no window left knows of none: where a batch came into one of
    /// several, neither this nor its opposite holds.
    pub fn is_gone(&self, batch: u64) -> bool {
        let latest = self.clocks[..=self.begun[&batch]].iter().max().unwrap();
        is_over(*latest, self.now())
    }
}

fn is_over(arrival: u64, now: u64) -> bool {
    (arrival / HOUR + 1) * HOUR <= now.saturating_sub(RETENTION)
}
