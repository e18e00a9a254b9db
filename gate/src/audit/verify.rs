//! Checks the chain of a log: every line, across its files, against the head that it should have.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::chain::{Head, Link};
use super::files::{HEAD, LogFile, MAX_LINE, list, read_head};
use super::hash::{Hash, Removed};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub files: usize,
    pub lines: u64,
    /// The number of the first line that is there; 0 of an empty log.
    pub first: u64,
    /// The last line, to be compared with what was noted elsewhere.
    pub head: Head,
    /// What is wrong, in the order of the lines; at most [`Report::MAX_FINDINGS`].
    pub findings: Vec<String>,
    /// What is unusual but explained.
    pub notes: Vec<String>,
}

/// Goes through the lines in order.
struct Walk {
    report: Report,
    /// The line before; `None` before the first one that is there.
    last: Option<Head>,
    /// Hashes of the first line's predecessor, as it says itself.
    before_first: Option<Removed>,
    removed: Option<Removed>,
    /// Whether the line of the expected head was met, with its hash.
    expected: Vec<(Head, bool)>,
}

/// Checks a folder. With `noted`, a head that was kept elsewhere, it also finds a log that was rewritten as a whole.
pub fn verify(folder: &Path, noted: Option<Head>) -> io::Result<Report> {
    let own = read_head(&folder.join(HEAD))?;
    let files = list(folder)?;
    let expected = own.into_iter().chain(noted).map(|head| (head, head.seq == 0)).collect();
    let report = Report {
        files: files.len(),
        lines: 0,
        first: 0,
        head: Head::EMPTY,
        findings: Vec::new(),
        notes: Vec::new(),
    };
    let mut walk = Walk { report, last: None, before_first: None, removed: None, expected };
    if own.is_none() && !files.is_empty() {
        walk.find(format!("{HEAD} is missing or damaged, so that a missing end would not be noticed"));
    }
    let count = files.len();
    for (at, file) in files.iter().enumerate() {
        walk.file(file, at + 1 == count)?;
    }
    Ok(walk.end())
}

// === impl Walk ===

impl Walk {
    fn find(&mut self, finding: String) {
        if self.report.findings.len() < Report::MAX_FINDINGS {
            self.report.findings.push(finding);
        }
    }

    fn file(&mut self, file: &LogFile, is_last: bool) -> io::Result<()> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut reader = BufReader::new(File::open(&file.path)?);
        let mut line = Vec::new();
        let mut number = 0u64;
        loop {
            line.clear();
            let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            number += 1;
            let place = format!("{name}, line {number}");
            match line.strip_suffix(b"\n") {
                Some(whole) => self.line(whole, &place, (number == 1).then_some(file.first)),
                None if is_last => {
                    let note = format!("{place} is unfinished: the process was killed before it answered");
                    self.report.notes.push(note);
                }
                None => self.find(format!("{place} has no end")),
            }
        }
        if number == 0 && !is_last {
            self.find(format!("{name} is empty"));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], place: &str, named: Option<u64>) {
        let Ok(link) = serde_json::from_slice::<Link>(line) else {
            return self.find(format!("{place} is no line of an audit log"));
        };
        if named.is_some_and(|named| named != link.seq) {
            self.find(format!("{place} has the number {}, which is not the one of its file", link.seq));
        }
        match self.last {
            None => {
                self.report.first = link.seq;
                self.before_first = Some(Removed { seq: link.seq.saturating_sub(1), hash: link.prev });
            }
            Some(last) if link.seq != last.seq + 1 => {
                self.find(format!(
                    "{place} has the number {} after {}: lines are missing or moved",
                    link.seq, last.seq
                ));
            }
            Some(last) if link.prev != last.hash => {
                self.find(format!("{place} does not follow from line {}, which was changed", last.seq));
            }
            Some(_) => {}
        }
        if let Some(expected) = link.expected {
            self.find(format!("{place} says that the log once ended at {expected}: lines of that time are missing or changed"));
        }
        self.removed = link.removed.or(self.removed);
        let head = Head { seq: link.seq, hash: Hash::of(line) };
        for (expected, met) in &mut self.expected {
            *met |= *expected == head;
        }
        self.report.lines += 1;
        self.last = Some(head);
    }

    fn end(mut self) -> Report {
        let start = Removed { seq: Head::EMPTY.seq, hash: Head::EMPTY.hash };
        let begins_well = match self.before_first {
            None => true,
            Some(before) => before == self.removed.unwrap_or(start),
        };
        if !begins_well {
            let first = self.report.first;
            self.find(format!(
                "the log begins with line {first}, and none says that earlier ones were removed for their age"
            ));
        }
        if let Some(removed) = self.removed.filter(|_| begins_well) {
            self.report.notes.push(format!("lines up to {} were removed for their age", removed.seq));
        }
        self.report.head = self.last.unwrap_or(Head::EMPTY);
        for (expected, met) in std::mem::take(&mut self.expected) {
            if !met && expected.seq < self.report.first && begins_well {
                self.report
                    .notes
                    .push(format!("line {} was removed for its age, and is not compared", expected.seq));
            } else if !met {
                self.find(format!(
                    "line {} with the hash {} is not there: the end is missing, or the log was rewritten",
                    expected.seq, expected.hash
                ));
            }
        }
        self.report
    }
}

// === impl Report ===

impl Report {
    /// Findings that are kept.
    pub const MAX_FINDINGS: usize = 100;

    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}
