//! Lines and their hashes.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::Record;

/// The last line of a log: all that is needed to write the next one, and to tell later that no line is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the line; the first has 1, and 0 stands for an empty log.
    pub seq: u64,
    pub hash: Hash,
}

/// SHA-256 of a line without its line end; zeros before the first line.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Hash([u8; 32]);

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

/// The lines that a retention pass has removed: all up to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removed {
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

/// The text of a head that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a head is the number of a line, a colon and the line's SHA-256 in 64 hex digits, as in 17:9f86…")]
pub struct NoHead;

// === impl Head ===

impl Head {
    pub(super) const EMPTY: Self = Self { seq: 0, hash: Hash([0; 32]) };

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

// === impl Hash ===

impl Hash {
    pub(super) fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(is_hex) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 64 hex digits"))
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
