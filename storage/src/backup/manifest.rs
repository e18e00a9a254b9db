//! The manifest of a backup, as text: see the parent module for its lines.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use spandrel_block::{BlockId, BlockKey, Hour};
use spandrel_proto::{TenantId, UnixNanos};

use super::{Blob, ContentHash, FORMAT_VERSION, number};
use crate::ids::{BackupId, DeletionId};

/// The manifest of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The backup's ID.
    pub id: BackupId,
    /// The time when it was taken: it contains every span that was acknowledged before.
    pub taken: UnixNanos,
    /// The store's own records; `None` until they are read.
    pub records: Option<Blob>,
    /// Its blocks.
    pub blocks: Vec<BackupBlock>,
    /// Blocks that could not be read.
    pub lost: Vec<LostBlock>,
    /// Deletions that were done before the backup began: it contains none of their spans. Known only to the store that
    /// took it.
    pub without: Vec<DeletionId>,
}

/// A block of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupBlock {
    /// The block's key in the store.
    pub key: BlockKey,
    /// Length in bytes.
    pub bytes: u64,
    /// Number of spans.
    pub spans: u32,
    /// The smallest and the largest sequence number of a commit that stored one of its spans.
    pub sequences: (u64, u64),
    /// The hash of its bytes; `None` until they are read.
    pub hash: Option<ContentHash>,
}

/// A block that is missing from the backup, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostBlock {
    /// The block's key in the store.
    pub key: BlockKey,
    /// Why it cannot be read.
    pub reason: String,
}

/// Why text is not a valid manifest, or differs from the one that was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Written by a newer Spandrel.
    #[error("backup format {0} is newer than this program (format {NEWEST}); use a newer Spandrel")]
    Version(u32),
    /// The text differs from what was written.
    #[error("the checksum of the manifest does not match: it was damaged, or cut short")]
    Checksum,
    /// A line does not parse.
    #[error("line {0:?} of the manifest is not understood")]
    Line(String),
}

const TITLE: &str = "spandrel-backup";
/// The version of a manifest with excluded deletions. Manifests without them keep version 1, which every program reads.
const NEWEST: u32 = 2;

// === impl Manifest ===

impl Manifest {
    /// Creates an empty manifest.
    pub fn new(id: BackupId, taken: UnixNanos) -> Self {
        Self { id, taken, records: None, blocks: Vec::new(), lost: Vec::new(), without: Vec::new() }
    }

    /// Encodes the manifest with its checksum.
    pub fn encode(&self) -> String {
        let version = if self.without.is_empty() { FORMAT_VERSION } else { NEWEST };
        let mut out = format!("{TITLE} {version}\nid {}\ntaken {}\n", self.id, self.taken.0);
        self.records.iter().for_each(|records| out += &format!("records {records}\n"));
        self.blocks.iter().for_each(|block| out += &format!("block {block}\n"));
        self.lost.iter().for_each(|block| out += &format!("lost {block}\n"));
        self.without.iter().for_each(|deletion| out += &format!("without {deletion}\n"));
        let checksum = ContentHash::of(out.as_bytes());
        out + &format!("checksum {checksum}\n")
    }

    /// Decodes a manifest and checks its checksum.
    pub fn decode(text: &str) -> Result<Self, ManifestError> {
        let title = text.lines().next().unwrap_or_default();
        let version = title.strip_prefix(TITLE).and_then(|rest| rest.trim().parse::<u32>().ok());
        match version {
            Some(FORMAT_VERSION..=NEWEST) => {}
            Some(newer) if newer > NEWEST => return Err(ManifestError::Version(newer)),
            _ => return Err(ManifestError::Line(title.to_owned())),
        }
        let end = text.rfind("checksum ").ok_or(ManifestError::Checksum)?;
        let (lines, checksum) = text.split_at(end);
        let expected = format!("checksum {}\n", ContentHash::of(lines.as_bytes()));
        if checksum != expected {
            return Err(ManifestError::Checksum);
        }
        let mut manifest = Self::new(BackupId(0), UnixNanos(0));
        for line in lines.lines().skip(1) {
            manifest.read_line(line).ok_or_else(|| ManifestError::Line(line.to_owned()))?;
        }
        Ok(manifest)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        match line.split_once(' ')? {
            ("id", id) => self.id = id.parse().ok()?,
            ("taken", nanos) => self.taken = UnixNanos(nanos.parse().ok()?),
            ("records", piece) => self.records = Some(piece.parse().ok()?),
            ("block", block) => self.blocks.push(block.parse().ok()?),
            ("lost", block) => self.lost.push(block.parse().ok()?),
            ("without", deletion) => self.without.push(deletion.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// Bytes of all its blocks together.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.bytes).sum()
    }

    /// Spans of all its blocks together.
    pub fn spans(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.spans)).sum()
    }

    /// The hashes of all contents that the backup needs.
    pub fn hashes(&self) -> impl Iterator<Item = ContentHash> {
        let records = self.records.map(|records| records.hash);
        self.blocks.iter().filter_map(|block| block.hash).chain(records)
    }

    /// Whether the backup may contain a span of a window that one of these commits stored. A span keeps its window and
    /// sequence number when its block is merged.
    pub fn may_hold(&self, tenant: &TenantId, hour: Hour, commits: &RangeInclusive<u64>) -> bool {
        self.blocks.iter().any(|block| {
            let (first, last) = block.sequences;
            let of_window = block.key.tenant == *tenant && block.key.hour == hour;
            of_window && first <= *commits.end() && last >= *commits.start()
        })
    }
}

// === impl BackupBlock, LostBlock ===

impl BackupBlock {
    /// The length and hash of its bytes; `None` while the hash is not known.
    pub fn blob(&self) -> Option<Blob> {
        self.hash.map(|hash| Blob { bytes: self.bytes, hash })
    }
}

impl Display for BackupBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, bytes, spans, sequences: (first, last), hash } = self;
        write!(f, "{} {bytes} {spans} {first} {last} ", Place(key))?;
        match hash {
            Some(hash) => write!(f, "{hash}"),
            None => f.write_str("-"),
        }
    }
}

impl FromStr for BackupBlock {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let [tenant, hour, block, bytes, spans, first, last, hash] = words[..] else { return Err(()) };
        Ok(Self {
            key: place(tenant, hour, block).ok_or(())?,
            bytes: number(bytes)?,
            spans: number(spans)?,
            sequences: (number(first)?, number(last)?),
            hash: if hash == "-" { None } else { Some(hash.parse()?) },
        })
    }
}

impl Display for LostBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason: String = self.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "{} {reason}", Place(&self.key))
    }
}

impl FromStr for LostBlock {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.splitn(4, ' ');
        let mut word = || words.next().ok_or(());
        let (tenant, hour, block) = (word()?, word()?, word()?);
        Ok(Self { key: place(tenant, hour, block).ok_or(())?, reason: word()?.to_owned() })
    }
}

/// Formats the key of a block.
struct Place<'k>(&'k BlockKey);

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BlockKey { tenant, hour, block } = self.0;
        write!(f, "{tenant} {} {}", hour.0, block.0)
    }
}

fn place(tenant: &str, hour: &str, block: &str) -> Option<BlockKey> {
    let tenant = TenantId::new(tenant).ok()?;
    Some(BlockKey { tenant, hour: Hour(number(hour).ok()?), block: BlockId(number(block).ok()?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(hour: u32, block: u64) -> BlockKey {
        BlockKey { tenant: TenantId::default(), hour: Hour(hour), block: BlockId(block) }
    }

    fn manifest() -> Manifest {
        let block = |hour, block, sequences, hash| BackupBlock {
            key: key(hour, block),
            bytes: 1234,
            spans: 50,
            sequences,
            hash,
        };
        Manifest {
            id: BackupId(0x18ea_5f3c_2b1d_4e00),
            taken: UnixNanos(1_795_460_000_000_000_000),
            records: Some(Blob::of(b"records")),
            blocks: vec![
                block(500_000, 7, (1, 9), Some(ContentHash::of(b"seven"))),
                block(500_001, u64::MAX, (10, 12), None),
            ],
            lost: vec![LostBlock {
                key: key(500_001, 8),
                reason: "checksum mismatch in the header".to_owned(),
            }],
            without: Vec::new(),
        }
    }

    #[test]
    fn frozen_version_1() {
        let text = "spandrel-backup 1\n\
            id 18ea5f3c2b1d4e00\n\
            taken 1795460000000000000\n\
            records 7 e88d679aab778f1da56e967e79916645\n\
            block default 500000 7 1234 50 1 9 4b4a6d10483e1e4c133273310470becd\n\
            block default 500001 18446744073709551615 1234 50 10 12 -\n\
            lost default 500001 8 checksum mismatch in the header\n\
            checksum 08d31f761a9b743cb42a74ef2a4f1003\n";
        assert_eq!(manifest().encode(), text);
        assert_eq!(Manifest::decode(text), Ok(manifest()));
    }

    #[test]
    fn frozen_version_2() {
        let text = "spandrel-backup 2\n\
            id 18ea5f3c2b1d4e00\n\
            taken 1795460000000000000\n\
            without 1797ee1eb47a6000\n\
            without 1797ee1eb47a6001\n\
            checksum 8dd81d2e54c6f21ce4db2e3663e5b1e7\n";
        let done = [0x1797_ee1e_b47a_6000, 0x1797_ee1e_b47a_6001].map(DeletionId);
        let Manifest { id, taken, .. } = manifest();
        let later = Manifest { without: done.to_vec(), ..Manifest::new(id, taken) };
        assert_eq!(later.encode(), text);
        assert_eq!(Manifest::decode(text), Ok(later));
    }

    #[test]
    fn damage_and_newer_versions_are_refused() {
        let text = manifest().encode();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(Manifest::decode(&damaged).is_err(), "byte {at}: {damaged}");
            assert!(Manifest::decode(&text[..at]).is_err(), "cut at {at}");
        }
        assert!(Manifest::decode(&format!("{text}\n")).is_err());
        let newer = text.replacen("backup 1", "backup 3", 1);
        assert_eq!(Manifest::decode(&newer), Err(ManifestError::Version(3)));
    }

    #[test]
    fn knows_what_it_may_hold() {
        let backup = manifest();
        let tenant = TenantId::default();
        assert!(backup.may_hold(&tenant, Hour(500_000), &(9..=20)));
        assert!(backup.may_hold(&tenant, Hour(500_000), &(0..=1)));
        assert!(!backup.may_hold(&tenant, Hour(500_000), &(10..=12)));
        assert!(backup.may_hold(&tenant, Hour(500_001), &(10..=12)));
        assert!(!backup.may_hold(&tenant, Hour(500_002), &(0..=u64::MAX)));
        assert!(!backup.may_hold(&TenantId::new("other").unwrap(), Hour(500_000), &(0..=u64::MAX)));
    }

    proptest! {
        #[test]
        fn foreign_text_is_refused_not_followed(text in "\\PC{0,80}") {
            let _ = Manifest::decode(&text);
        }
    }
}
