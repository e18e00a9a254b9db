//! The layout of a block, format 1.
//!
//! ```text
//! header   magic "SPANBLK1" (8)                        all integers little endian
//!          version (2) = 1, reserved (2), sections (4)
//!          xxh3-64 of everything else in the header (8)
//!          a directory entry (32) for each section:
//!            kind (2), codec (2): 0 as is, 1 zstd, 2 zstd with the first body chunk as its dictionary
//!            first row (4), for body chunks
//!            offset from the start of the block (8)
//!            stored length (4), decoded length (4)
//!            xxh3-64 of the stored bytes (8)
//! sections in any order, found through the directory
//! ```
//!
//! | kind | section | written in |
//! | --- | --- | --- |
//! | 1 | zone data, as in the catalog | `meta.rs` |
//! | 2 | dictionary: resources, scopes, services, operations | `dictionary.rs` |
//! | 3 | traces: sorted IDs with their rows | `traces.rs` |
//! | 4 to 8 | columns: start, duration, flags, operation, sequence | `columns.rs` |
//! | 9 | filter over attribute tokens | `filter.rs` |
//! | 10 | rollups | `rollup.rs` |
//! | 11 | body chunk, any number of them | here |
//! | 12 | edges; blocks written before they were known lack it | `edges/section.rs` |
//!
//! Rows are spans, sorted by (trace ID, start, span ID). A body chunk holds consecutive rows; each is
//! resource (varint), scope (varint), length (varint) and the bytes of the `Span` message as they
//! came in, unknown fields included: what went in comes out.
//!
//! The first body chunk is larger than the others and is the dictionary (raw content) that they are
//! compressed with: small chunks then compress like large ones, and a reader of one trace inflates
//! two of them. Its first byte is always 0, the first resource, so zstd never takes it for anything
//! but raw content.
//!
//! Sections are compressed and checksummed one by one, so that a reader fetches and decodes only
//! what a question needs. History: 1 is the first format.

use std::cell::RefCell;

use bytes::{Buf, Bytes};
use spandrel_proto::otlp::wire::put_varint;
use xxhash_rust::xxh3::xxh3_64;
use zstd::zstd_safe::DCtx;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum SectionKind {
    Meta = 1,
    Dictionary = 2,
    Traces = 3,
    Start = 4,
    Duration = 5,
    Flags = 6,
    Operation = 7,
    Sequence = 8,
    Filter = 9,
    Rollups = 10,
    Body = 11,
    Edges = 12,
}

/// Why bytes are not a block, or not the one that was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The magic bytes are missing.
    #[error("not a block: the magic bytes are missing")]
    Magic,
    /// Written by a newer Spandrel.
    #[error("block format {0} is newer than this program (format {FORMAT_VERSION}); use a newer Spandrel")]
    Version(u16),
    /// Bytes differ from those that were written.
    #[error("checksum mismatch in the {0}")]
    Checksum(&'static str),
    /// A length or count does not fit its surroundings.
    #[error("the {0} is damaged")]
    Damaged(&'static str),
    /// A section that every block has is not there.
    #[error("section {0:?} is missing")]
    Missing(SectionKind),
}

/// The directory of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    sections: Vec<Section>,
    chunks: Vec<Section>,
}

/// A directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// For body chunks, the first row.
    pub first_row: u32,
    /// Where it begins.
    pub offset: u64,
    /// Bytes in the block.
    pub stored: u32,
    /// Bytes once decoded.
    pub decoded: u32,
    codec: u16,
    checksum: u64,
}

/// Walks over the rows of a decoded body chunk.
#[derive(Debug, Clone)]
pub struct ChunkRows {
    rest: Bytes,
}

/// One row of a body chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    /// Index into the dictionary's resources.
    pub resource: u32,
    /// Index into the dictionary's scopes.
    pub scope: u32,
    /// The `Span` message.
    pub span: Bytes,
}

/// The format that this program writes.
pub const FORMAT_VERSION: u16 = 1;
const MAGIC: &[u8; 8] = b"SPANBLK1";
const FIXED_HEADER: usize = 24;
const ENTRY: usize = 32;
/// No section decodes to more: a damaged length must not make a reader allocate without bound.
const MAX_DECODED: usize = 1 << 30;

// === impl Header ===

impl Header {
    /// Reads a header from the first bytes of a block; more bytes than the header do not matter.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (fixed, rest) =
            bytes.split_first_chunk::<FIXED_HEADER>().ok_or(FormatError::Damaged("header"))?;
        if &fixed[..8] != MAGIC {
            return Err(FormatError::Magic);
        }
        let mut fields = &fixed[8..];
        let version = fields.get_u16_le();
        if version != FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        fields.advance(2);
        let count = fields.get_u32_le() as usize;
        let entries =
            count.checked_mul(ENTRY).and_then(|n| rest.get(..n)).ok_or(FormatError::Damaged("header"))?;
        if header_checksum(version, entries) != fields.get_u64_le() {
            return Err(FormatError::Checksum("header"));
        }
        let mut header = Self { sections: Vec::new(), chunks: Vec::new() };
        for entry in entries.chunks_exact(ENTRY) {
            // Kinds that later writers of the same format may add are passed over.
            if let Some(section) = Section::parse(entry) {
                match section.kind {
                    SectionKind::Body => header.chunks.push(section),
                    _ => header.sections.push(section),
                }
            }
        }
        if !header.chunks.is_sorted_by_key(|chunk| chunk.first_row) {
            return Err(FormatError::Damaged("header"));
        }
        Ok(header)
    }

    /// The one section of a kind.
    pub fn section(&self, kind: SectionKind) -> Result<&Section, FormatError> {
        self.sections.iter().find(|section| section.kind == kind).ok_or(FormatError::Missing(kind))
    }

    /// The body chunks, by row.
    pub fn chunks(&self) -> &[Section] {
        &self.chunks
    }

    /// The index of the chunk that holds a row.
    pub fn chunk_of(&self, row: u32) -> Result<usize, FormatError> {
        let behind = self.chunks.partition_point(|chunk| chunk.first_row <= row);
        behind.checked_sub(1).ok_or(FormatError::Damaged("header"))
    }
}

fn header_checksum(version: u16, entries: &[u8]) -> u64 {
    xxh3_64(entries) ^ u64::from(version).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

// === impl Section ===

impl Section {
    fn parse(mut entry: &[u8]) -> Option<Self> {
        let kind = SectionKind::from_raw(entry.get_u16_le())?;
        let codec = entry.get_u16_le();
        let first_row = entry.get_u32_le();
        let offset = entry.get_u64_le();
        let (stored, decoded) = (entry.get_u32_le(), entry.get_u32_le());
        Some(Self { kind, first_row, offset, stored, decoded, codec, checksum: entry.get_u64_le() })
    }

    /// Its bytes within the block.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.stored))
    }

    /// Whether it is inflated with the help of the first body chunk.
    pub fn needs_first_chunk(&self) -> bool {
        self.codec == Codec::ZstdWithFirstChunk as u16
    }

    /// Checks and decompresses the stored bytes; `first_chunk`, decoded, is given if it is needed.
    pub fn decode(&self, stored: Bytes, first_chunk: Option<&[u8]>) -> Result<Bytes, FormatError> {
        let name = self.kind.name();
        if stored.len() != self.stored as usize || xxh3_64(&stored) != self.checksum {
            return Err(FormatError::Checksum(name));
        }
        let dictionary = match (self.codec, first_chunk) {
            (0, _) => return Ok(stored),
            (1, _) => &[][..],
            (2, Some(first_chunk)) => first_chunk,
            _ => return Err(FormatError::Damaged(name)),
        };
        let decoded = self.decoded as usize;
        let inflated = (decoded <= MAX_DECODED).then(|| decompress(&stored, decoded, dictionary)).flatten();
        inflated.map(Bytes::from).ok_or(FormatError::Damaged(name))
    }
}

/// Inflates with a context that each thread keeps: making one costs as much as a small section.
fn decompress(stored: &[u8], decoded: usize, dictionary: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    }
    // What is allocated is bounded by what zstd itself says, not by a directory entry alone.
    let says = zstd::zstd_safe::get_frame_content_size(stored).ok()??;
    let mut out = Vec::with_capacity((says == decoded as u64).then_some(decoded)?);
    let written =
        CONTEXT.with_borrow_mut(|context| context.decompress_using_dict(&mut out, stored, dictionary));
    (written.ok()? == decoded).then_some(out)
}

// === impl SectionKind ===

impl SectionKind {
    fn from_raw(raw: u16) -> Option<Self> {
        use SectionKind::*;
        let all = [
            Meta, Dictionary, Traces, Start, Duration, Flags, Operation, Sequence, Filter, Rollups, Body,
            Edges,
        ];
        all.into_iter().find(|kind| *kind as u16 == raw)
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "zone data",
            Self::Dictionary => "dictionary",
            Self::Traces => "trace table",
            Self::Start | Self::Duration | Self::Flags | Self::Operation | Self::Sequence => "column",
            Self::Filter => "token filter",
            Self::Rollups => "rollups",
            Self::Body => "body chunk",
            Self::Edges => "edges",
        }
    }
}

// === impl ChunkRows ===

impl ChunkRows {
    /// Rows of a chunk whose section was decoded.
    pub fn new(decoded: Bytes) -> Self {
        Self { rest: decoded }
    }

    /// The bytes of the rows that are still to come.
    pub fn bytes(&self) -> &[u8] {
        &self.rest
    }

    fn advance(&mut self) -> Option<ChunkRow> {
        let resource = u32::try_from(take_varint(&mut self.rest)?).ok()?;
        let scope = u32::try_from(take_varint(&mut self.rest)?).ok()?;
        let length = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        (length <= self.rest.len()).then(|| ChunkRow { resource, scope, span: self.rest.split_to(length) })
    }

    /// Appends a row to a chunk that is being written.
    pub(crate) fn put(out: &mut Vec<u8>, resource: u32, scope: u32, span: &[u8]) {
        put_varint(out, u64::from(resource));
        put_varint(out, u64::from(scope));
        put_varint(out, span.len() as u64);
        out.extend_from_slice(span);
    }
}

impl Iterator for ChunkRows {
    type Item = Result<ChunkRow, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let row = self.advance().ok_or(FormatError::Damaged("body chunk"));
        if row.is_err() {
            self.rest.clear();
        }
        Some(row)
    }
}

/// Takes a varint off the front.
pub(crate) fn take_varint(bytes: &mut impl Buf) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        if !bytes.has_remaining() {
            return None;
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

// === writing ===

/// Collects sections and puts the header before them.
pub(crate) struct Assembler {
    entries: Vec<u8>,
    body: Vec<u8>,
    count: usize,
}

/// How a section is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Codec {
    AsIs = 0,
    Zstd = 1,
    ZstdWithFirstChunk = 2,
}

impl Assembler {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), body: Vec::new(), count: 0 }
    }

    /// Adds a section whose bytes are already as they will be stored.
    pub(crate) fn add(
        &mut self,
        kind: SectionKind,
        codec: Codec,
        first_row: u32,
        stored: &[u8],
        decoded: usize,
    ) {
        self.entries.extend_from_slice(&(kind as u16).to_le_bytes());
        self.entries.extend_from_slice(&(codec as u16).to_le_bytes());
        self.entries.extend_from_slice(&first_row.to_le_bytes());
        // Relative for now: the header's length is known at the end.
        self.entries.extend_from_slice(&(self.body.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&(decoded as u32).to_le_bytes());
        self.entries.extend_from_slice(&xxh3_64(stored).to_le_bytes());
        self.body.extend_from_slice(stored);
        self.count += 1;
    }

    /// The block, and the length of its header.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u32) {
        let header = FIXED_HEADER + self.entries.len();
        for entry in self.entries.chunks_exact_mut(ENTRY) {
            // Kind, codec and first row take the first eight bytes.
            if let [_, offset, ..] = entry.as_chunks_mut::<8>().0 {
                *offset = (u64::from_le_bytes(*offset) + header as u64).to_le_bytes();
            }
        }
        let mut out = Vec::with_capacity(header + self.body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(self.count as u32).to_le_bytes());
        out.extend_from_slice(&header_checksum(FORMAT_VERSION, &self.entries).to_le_bytes());
        out.extend_from_slice(&self.entries);
        out.extend_from_slice(&self.body);
        (out, header as u32)
    }
}
