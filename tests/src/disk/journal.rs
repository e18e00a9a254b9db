//! What the shim wrote down: every change of a folder, in order.

use std::ops::Range;
use std::path::Path;

/// A change. Paths are relative to the folder; data are places in the journal's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    /// A process begins: no descriptor is open.
    Start,
    /// A descriptor of a file or folder.
    Open { fd: i32, path: String, flags: u64 },
    /// Bytes at an offset.
    Write { fd: i32, offset: u64, data: Range<usize> },
    /// The length of a file.
    Truncate { fd: i32, size: u64 },
    /// A sync of a file or folder.
    Sync { fd: i32, failed: bool },
    /// An entry that moves.
    Rename { from: String, to: String },
    /// An entry that goes, of a file or a folder.
    Remove { path: String },
    /// A folder that comes.
    MakeFolder { path: String },
    /// A descriptor that is closed.
    Close { fd: i32 },
}

/// All events of a run, and the bytes they speak of.
pub struct Journal {
    pub(super) bytes: Vec<u8>,
    /// In the order in which they happened.
    pub events: Vec<Event>,
}

const HEAD: usize = 22;

// === impl Journal ===

impl Journal {
    /// Reads what the shim wrote. Panics when it met something that it could not follow.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the shim writes a journal");
        let (mut events, mut at) = (Vec::new(), 0);
        // A process that is killed may leave half a record: the last one, of a change that nobody saw.
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

    /// How many events are of a kind, to choose one that fails.
    pub fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| which(event)).count()
    }
}
