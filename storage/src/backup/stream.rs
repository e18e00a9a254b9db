//! The stream that transports a backup: lines of text with the bytes of blocks between them. See the parent module for
//! the lines. The caller passes in the writer and the reader.

use std::fmt::{self, Display};
use std::io::{self, BufRead, Read as _};
use std::str::FromStr;

use bytes::Bytes;
use spandrel_proto::UnixNanos;

use super::set::{BackupSet, Files, SetError};
use super::{
    BackupBlock, BackupId, BackupReceiver, Blob, ContentHash, FORMAT_VERSION, LostBlock, Manifest,
    ManifestError, ReceiverGone, number, verify,
};

/// A line of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamLine {
    /// The first line.
    Begin,
    /// The backup's ID.
    Id(BackupId),
    /// The time when it was taken.
    Taken(UnixNanos),
    /// The most blocks, bytes and spans that will follow.
    Expect(u64, u64, u64),
    /// The store's own records, whose bytes follow.
    Records(Blob),
    /// A block that the receiver already has.
    Have(BackupBlock),
    /// A block whose bytes follow.
    Send(BackupBlock),
    /// A block that could not be read.
    Lost(LostBlock),
    /// The last line.
    End,
}

/// Writes a backup as a stream, without the contents that the receiver has.
pub struct StreamWriter<W, H> {
    write: W,
    has: H,
}

/// Progress of receiving a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// The backup begins, and will have at most so many bytes.
    Begin(u64),
    /// A block of so many bytes that the set already had.
    Kept(u64),
    /// A block of so many bytes was received.
    Fetched(u64),
}

/// Why a backup was not received completely. The received contents are kept for the next run.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The stream ended before its last line.
    #[error("the connection broke off ({0}); run the command again, it goes on from here")]
    CutShort(String),
    /// The stream does not parse.
    #[error("the server sent what is no backup ({0}); is it a spandrel of the same version?")]
    Nonsense(String),
    /// The bytes of a block do not match its hash.
    #[error("block {0} arrived with other bytes than were sent; run the command again")]
    Altered(ContentHash),
    /// The set of backups cannot store it.
    #[error(transparent)]
    Set(#[from] SetError),
}

/// The state of a backup that is being received.
struct Incoming<'s, F, R> {
    set: &'s mut BackupSet<F>,
    stream: R,
    manifest: Manifest,
    watch: &'s mut dyn FnMut(Arrived),
}

const TITLE: &str = "spandrel-backup-stream";
/// The maximum length of a line, so that a stream without newlines is not buffered without bound.
const MAX_LINE: u64 = 64 << 10;

/// Receives a backup with this ID into a set. The caller has to complete the returned manifest in the set.
pub fn receive<F: Files>(
    set: &mut BackupSet<F>,
    id: BackupId,
    stream: impl BufRead,
    watch: &mut dyn FnMut(Arrived),
) -> Result<Manifest, IncomingError> {
    let manifest = Manifest::new(id, UnixNanos(0));
    let mut incoming = Incoming { set, stream, manifest, watch };
    incoming.receive()?;
    Ok(incoming.manifest)
}

// === impl StreamLine ===

impl Display for StreamLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => write!(f, "{TITLE} {FORMAT_VERSION}"),
            Self::Id(id) => write!(f, "id {id}"),
            Self::Taken(at) => write!(f, "taken {}", at.0),
            Self::Expect(blocks, bytes, spans) => write!(f, "expect {blocks} {bytes} {spans}"),
            Self::Records(piece) => write!(f, "records {piece}"),
            Self::Have(block) => write!(f, "have {block}"),
            Self::Send(block) => write!(f, "send {block}"),
            Self::Lost(block) => write!(f, "lost {block}"),
            Self::End => f.write_str("end"),
        }
    }
}

impl FromStr for StreamLine {
    type Err = ManifestError;

    fn from_str(line: &str) -> Result<Self, ManifestError> {
        Self::read(line).map_err(|()| match line.split_once(' ') {
            Some((TITLE, version)) => ManifestError::Version(version.parse().unwrap_or(u32::MAX)),
            _ => ManifestError::Line(line.chars().take(200).collect()),
        })
    }
}

impl StreamLine {
    fn read(line: &str) -> Result<Self, ()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match word {
            TITLE if number(rest) == Ok(FORMAT_VERSION) => Self::Begin,
            "id" => Self::Id(rest.parse()?),
            "taken" => Self::Taken(UnixNanos(number(rest)?)),
            "expect" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let [blocks, bytes, spans] = words[..] else { return Err(()) };
                Self::Expect(number(blocks)?, number(bytes)?, number(spans)?)
            }
            "records" => Self::Records(rest.parse()?),
            "have" => Self::Have(rest.parse()?),
            "send" => Self::Send(rest.parse()?),
            "lost" => Self::Lost(rest.parse()?),
            "end" if rest.is_empty() => Self::End,
            _ => return Err(()),
        })
    }
}

// === impl StreamWriter ===

impl<W, H> StreamWriter<W, H>
where
    W: FnMut(&[u8]) -> Result<(), ReceiverGone>,
    H: Fn(ContentHash) -> bool,
{
    /// Writes parts by `write`; `has` tells which contents need not be sent.
    pub fn new(write: W, has: H) -> Self {
        Self { write, has }
    }

    /// Writes the last line of a complete backup.
    pub fn end(mut self) -> Result<(), ReceiverGone> {
        self.line(&StreamLine::End)
    }

    fn line(&mut self, line: &StreamLine) -> Result<(), ReceiverGone> {
        (self.write)(format!("{line}\n").as_bytes())
    }
}

impl<W, H> BackupReceiver for StreamWriter<W, H>
where
    W: FnMut(&[u8]) -> Result<(), ReceiverGone>,
    H: Fn(ContentHash) -> bool,
{
    fn begin(&mut self, backup: &Manifest) -> Result<(), ReceiverGone> {
        self.line(&StreamLine::Begin)?;
        self.line(&StreamLine::Id(backup.id))?;
        self.line(&StreamLine::Taken(backup.taken))?;
        self.line(&StreamLine::Expect(backup.blocks.len() as u64, backup.bytes(), backup.spans()))
    }

    fn records(&mut self, piece: Blob, bytes: Bytes) -> Result<(), ReceiverGone> {
        self.line(&StreamLine::Records(piece))?;
        (self.write)(&bytes)
    }

    fn has(&self, hash: ContentHash) -> bool {
        (self.has)(hash)
    }

    fn block(&mut self, block: &BackupBlock, bytes: Option<Bytes>) -> Result<(), ReceiverGone> {
        match bytes {
            None => self.line(&StreamLine::Have(block.clone())),
            Some(bytes) => {
                self.line(&StreamLine::Send(block.clone()))?;
                (self.write)(&bytes)
            }
        }
    }

    fn lost(&mut self, block: &LostBlock) -> Result<(), ReceiverGone> {
        self.line(&StreamLine::Lost(block.clone()))
    }
}

// === impl Incoming ===

impl<F: Files, R: BufRead> Incoming<'_, F, R> {
    fn receive(&mut self) -> Result<(), IncomingError> {
        match self.line()? {
            StreamLine::Begin => {}
            other => return Err(IncomingError::Nonsense(other.to_string())),
        }
        loop {
            match self.line()? {
                StreamLine::Id(id) if id == self.manifest.id => {}
                StreamLine::Id(id) => return Err(IncomingError::Nonsense(format!("another backup, {id}"))),
                StreamLine::Taken(at) => self.manifest.taken = at,
                StreamLine::Expect(_, bytes, _) => (self.watch)(Arrived::Begin(bytes)),
                StreamLine::Records(piece) => self.fetch_records(piece)?,
                StreamLine::Have(block) => self.keep(block)?,
                StreamLine::Send(block) => self.fetch(block)?,
                StreamLine::Lost(block) => self.manifest.lost.push(block),
                StreamLine::End => return Ok(()),
                StreamLine::Begin => return Err(IncomingError::Nonsense("a second beginning".to_owned())),
            }
        }
    }

    fn line(&mut self) -> Result<StreamLine, IncomingError> {
        let mut line = String::new();
        let read = self.stream.by_ref().take(MAX_LINE).read_line(&mut line);
        read.map_err(|error| IncomingError::CutShort(error.to_string()))?;
        match line.strip_suffix('\n') {
            Some(line) => line.parse().map_err(|error| IncomingError::Nonsense(format!("{error}"))),
            None => Err(IncomingError::CutShort("the stream has no end".to_owned())),
        }
    }

    fn fetch_records(&mut self, piece: Blob) -> Result<(), IncomingError> {
        let bytes = self.bytes(piece)?;
        self.set.put(piece.hash, &bytes)?;
        self.manifest.records = Some(piece);
        Ok(())
    }

    fn keep(&mut self, block: BackupBlock) -> Result<(), IncomingError> {
        if !block.hash.is_some_and(|hash| self.set.has(hash)) {
            return Err(IncomingError::Nonsense(format!("block {block} is not here and was not sent")));
        }
        (self.watch)(Arrived::Kept(block.bytes));
        self.manifest.blocks.push(block);
        Ok(())
    }

    fn fetch(&mut self, block: BackupBlock) -> Result<(), IncomingError> {
        let hash = block.hash.ok_or_else(|| IncomingError::Nonsense("a block without hash".to_owned()))?;
        let bytes = self.bytes(Blob { bytes: block.bytes, hash })?;
        // The bytes match the hash of the server, but the server's block may be damaged.
        match verify(bytes.clone().into()) {
            Ok(()) => {
                self.set.put(hash, &bytes)?;
                (self.watch)(Arrived::Fetched(block.bytes));
                self.manifest.blocks.push(block);
            }
            Err(error) => {
                self.manifest.lost.push(LostBlock { key: block.key, reason: error.to_string() });
            }
        }
        Ok(())
    }

    /// Memory grows with the received bytes, not with the announced length.
    fn bytes(&mut self, piece: Blob) -> Result<Vec<u8>, IncomingError> {
        let mut bytes = Vec::new();
        let read: io::Result<usize> = self.stream.by_ref().take(piece.bytes).read_to_end(&mut bytes);
        match read {
            Ok(read) if read as u64 != piece.bytes => {
                Err(IncomingError::CutShort("in the middle of a block".to_owned()))
            }
            Ok(_) if Blob::of(&bytes) != piece => Err(IncomingError::Altered(piece.hash)),
            Ok(_) => Ok(bytes),
            Err(error) => Err(IncomingError::CutShort(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spandrel_block::{BlockId, BlockKey, Hour};
    use spandrel_proto::TenantId;

    use super::*;

    fn key() -> BlockKey {
        BlockKey { tenant: TenantId::default(), hour: Hour(500_000), block: BlockId(7) }
    }

    #[test]
    fn lines_of_the_stream_come_back() {
        let hash = Some(ContentHash::of(b"seven"));
        let block = BackupBlock { key: key(), bytes: 9, spans: 5, sequences: (1, 2), hash };
        let lost = LostBlock { key: key(), reason: "it is gone".to_owned() };
        for line in [
            StreamLine::Begin,
            StreamLine::Id(BackupId(1)),
            StreamLine::Taken(UnixNanos(3)),
            StreamLine::Expect(1, 2, 3),
            StreamLine::Records(Blob::of(b"")),
            StreamLine::Have(block.clone()),
            StreamLine::Send(BackupBlock { hash: None, ..block }),
            StreamLine::Lost(lost),
            StreamLine::End,
        ] {
            assert_eq!(line.to_string().parse(), Ok(line));
        }
    }

    #[test]
    fn a_newer_stream_is_refused() {
        assert_eq!("spandrel-backup-stream 9".parse::<StreamLine>(), Err(ManifestError::Version(9)));
    }

    proptest! {
        #[test]
        fn foreign_text_is_refused_not_followed(text in "\\PC{0,80}") {
            let _ = text.parse::<StreamLine>();
        }
    }
}
