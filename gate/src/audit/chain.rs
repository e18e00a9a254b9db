//! Lines, each with the hash of the one before.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::hash::{Hash, Removed};
use super::record::Record;

/// The last line of a log: all that is needed to write the next one, and to tell later that no line is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the line; the first has 1, and 0 stands for an empty log.
    pub seq: u64,
    pub hash: Hash,
}

/// A line as it is written.
#[derive(Serialize)]
struct Line<'r> {
    seq: u64,
    time: String,
    #[serde(flatten)]
    record: &'r Record,
    prev: Hash,
}

/// What a check reads of a line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    /// Of a line that says which lines were removed for their age.
    #[serde(default)]
    pub(super) removed: Option<Removed>,
    /// Of a line that says that the log did not end where it should have.
    #[serde(default)]
    pub(super) expected: Option<String>,
}

/// The text of a head that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a head is the number of a line, a colon and the line's SHA-256 in 64 hex digits, as in 17:9f86…")]
pub struct NoHead;

// === impl Head ===

impl Head {
    pub(super) const EMPTY: Self = Self { seq: 0, hash: Hash::ZERO };

    /// The next line, without its line end, and the head after it.
    pub(super) fn next(self, record: &Record, time: SystemTime) -> (Vec<u8>, Self) {
        let time = humantime::format_rfc3339_micros(time).to_string();
        let line = Line { seq: self.seq + 1, time, record, prev: self.hash };
        let bytes = serde_json::to_vec(&line).unwrap_or_default();
        let head = Self { seq: line.seq, hash: Hash::of(&bytes) };
        (bytes, head)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let (seq, hash) = text.split_once(':').ok_or(NoHead)?;
        Ok(Self { seq: seq.parse().map_err(|_| NoHead)?, hash: Hash::parse(hash).ok_or(NoHead)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Event;

    #[test]
    fn a_line_names_the_hash_of_the_one_before() {
        let record = Record::new(Event::Start);
        let (first, head) = Head::EMPTY.next(&record, SystemTime::UNIX_EPOCH);
        let zeros = "0".repeat(64);
        let expected =
            format!(r#"{{"seq":1,"time":"1970-01-01T00:00:00.000000Z","event":"start","prev":"{zeros}"}}"#);
        assert_eq!(String::from_utf8(first.clone()).unwrap(), expected);
        let (second, _) = head.next(&record, SystemTime::UNIX_EPOCH);
        let link: Link = serde_json::from_slice(&second).unwrap();
        assert_eq!((link.seq, link.prev), (2, Hash::of(&first)));
        assert_eq!(head.to_string().parse(), Ok(head));
        for bad in
            ["", "1", "x:00", "1:00", &format!("1:{}", "G".repeat(64)), &format!("1:{}", "A".repeat(64))]
        {
            assert_eq!(bad.parse::<Head>(), Err(NoHead));
        }
    }
}
