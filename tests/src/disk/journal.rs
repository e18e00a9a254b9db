//! The journal of the shim: every change of a folder, in order.

use std::ops::Range;
use std::path::Path;

/// A change. Paths are relative to the folder; data are ranges of the journal's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    /// A process starts, with no open descriptor.
    Start,
    /// A file or folder is opened.
    Open { fd: i32, path: String, flags: u64 },
    /// Bytes are written at an offset.
    Write { fd: i32, offset: u64, data: Range<usize> },
    /// A file gets another length.
    Truncate { fd: i32, size: u64 },
    /// A file or folder is synced.
    Sync { fd: i32, failed: bool },
    /// An entry is renamed.
    Rename { from: String, to: String },
    /// A file or folder is removed.
    Remove { path: String },
    /// A folder is created.
    MakeFolder { path: String },
    /// A descriptor is closed.
    Close { fd: i32 },
}

/// All events of a run, and the bytes that their ranges refer to.
pub struct Journal {
    pub(super) bytes: Vec<u8>,
    pub events: Vec<Event>,
}

const HEAD: usize = 22;

// === impl Journal ===

impl Journal {
    /// Reads a journal. Panics if the shim met a call that it cannot record.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the shim writes a journal");
        let (mut events, mut at) = (Vec::new(), 0);
        // A killed process may leave a part of its last record. Its change had not returned yet.
        while at + HEAD <= bytes.len() {
            let number = |from: usize, length: usize| -> u64 {
                let field = &bytes[at + from..at + from + length];
                field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
            };
            let (kind, failed) = (bytes[at], bytes[at + 1] != 0);
            let (first, second) = (number(2, 2) as usize, number(4, 2) as usize);
            let (fd, offset, size) = (number(6, 4) as u32 as i32, number(10, 8), number(18, 4) as usize);
            let names = at + HEAD;
            let data = names + first + second..names + first + second + size;
            if data.end > bytes.len() {
                break;
            }
            let path = String::from_utf8(bytes[names..names + first].to_vec()).unwrap();
            let to = String::from_utf8(bytes[names + first..data.start].to_vec()).unwrap();
            at = data.end;
            events.push(match kind {
                1 => Event::Start,
                2 => Event::Open { fd, path, flags: offset },
                3 => Event::Write { fd, offset, data },
                4 => Event::Truncate { fd, size: offset },
                5 => Event::Sync { fd, failed },
                6 => Event::Rename { from: path, to },
                7 | 9 => Event::Remove { path },
                8 => Event::MakeFolder { path },
                10 => Event::Close { fd },
                11 => panic!("the shim cannot follow {path}: teach it, or the replay is wrong"),
                other => panic!("what is an event of kind {other}?"),
            });
        }
        Self { bytes, events }
    }

    /// The number of events of a kind, for choosing one that fails.
    pub fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| which(event)).count()
    }
}
