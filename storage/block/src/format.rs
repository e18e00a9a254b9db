//! The layout of a block, format 5.
//!
//! ```text
//! header   magic "SPANBLK1" (8)                        all integers little endian
//!          version (2) = 5, flags (2), sections (4)
//!            flag 1: without derived sections, those that follow from the columns
//!            flag 2: filters, where there are some, have the elements of arrays
//!          xxh3-64 of everything else in the header (8)
//!          a directory entry (32) for each section:
//!            kind (2), codec (2): 0 as is, 1 zstd
//!            first row (4), for the sections of pages; of filters, the number of the part
//!            offset from the start of the block (8)
//!            stored length (4), decoded length (4)
//!            xxh3-64 of the stored bytes (8)
//! sections in any order, found through the directory
//! ```
//!
//! | kind | section | written in |
//! | --- | --- | --- |
//! | 1 | zone map of the block, as in the catalog | `meta.rs` |
//! | 2 | dictionary: services, operations, resources, scopes, slots, shapes, classes | `dictionary.rs` |
//! | 3 | traces: sorted IDs with their rows | `traces.rs` |
//! | 9 | Bloom filters over attribute tokens, in 1, 2, 4, 8 or 16 parts | `filter.rs` |
//! | 10 | rollups | `rollup.rs` |
//! | 12 | edges between services | `edges/section.rs` |
//! | 13 | texts that several pages share | `page/write.rs` |
//! | 14, 15, 16 | core, IDs and values of a page, any number of pages | `page/mod.rs` |
//! | 17 | zone maps of pages: bounds on their columns | `zone_map.rs` |
//!
//! The header and its checksum are the same in every format, so a flipped bit in the version is reported as damage and
//! not as a newer format.
//!
//! Rows are spans, sorted by (trace ID, start, span ID), and cut into pages of consecutive rows. Within a page of a
//! sealed block, the rows of a trace are then sorted in the order of their tree, depth first (`page/tree.rs`). A page
//! is split into columns (see `shape.rs`); its three sections have the same first row. Spans are restored byte for
//! byte, with unknown fields and unusual encodings.
//!
//! Each section has its own checksum and is compressed on its own. Columns within the sections of a sealed block's
//! pages are compressed one by one, so that a reader fetches and decodes only what a query needs.
//!
//! A fresh block (level 0) is merged within seconds, so it is cheap to write: its sections are compressed as a whole
//! and not column by column, and all four derived sections (9, 10, 12 and 17) are left out. They are derived from the
//! others (`derive.rs`).
//!
//! History: 1 kept the spans' wire bytes in compressed chunks, with a few columns beside them; it is read by `v1/`. 2
//! is columnar; it has the filters as one part and none over all spans, and flag 1 is missing: a block is without
//! derived sections if it has none of the four. 3 is 4 without columns of bits (`page/ints.rs`). 4 has the rows of all
//! pages sorted by start and span ID. Formats from 2 on are read directly. Flag 2 came with 5 and is not set in all of
//! its blocks; a reader that reads filters without it needs no change.

use bytes::{Buf, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::compression::{Compressor, decompress_with_dictionary};

/// The kind of a section; the numbers are part of the format.
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
    Texts = 13,
    Core = 14,
    Ids = 15,
    Values = 16,
    Zones = 17,
}

/// Why bytes are not a valid block, or differ from the block that was written.
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
    /// A section that every block has is missing.
    #[error("section {0:?} is missing")]
    Missing(SectionKind),
}

/// The directory of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    version: u16,
    is_without_derived: bool,
    filters_have_elements: bool,
    /// Sorted by kind and first row.
    sections: Vec<Section>,
}

/// A directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// The kind of its content.
    pub kind: SectionKind,
    /// The first row of a page; the number of the part for filters; else 0.
    pub first_row: u32,
    /// Bytes from the start of the block.
    pub offset: u64,
    /// Bytes in the block, compressed or not.
    pub stored: u32,
    /// Bytes after decompression.
    pub decoded: u32,
    codec: u16,
    checksum: u64,
}

/// The format that this program writes.
pub const FORMAT_VERSION: u16 = 5;
/// The first columnar format; this and all later ones are read without conversion.
const COLUMNAR: u16 = 2;
/// The first format whose header has flags.
const FLAGGED: u16 = 3;
/// The first format whose sealed blocks sort the rows of a trace by their tree.
const IN_TREES: u16 = 5;
const WITHOUT_DERIVED: u16 = 1;
const ELEMENTS: u16 = 2;
const MAGIC: &[u8; 8] = b"SPANBLK1";
const FIXED_HEADER: usize = 24;
const ENTRY: usize = 32;

// === impl Header ===

impl Header {
    /// Reads a header from the first bytes of a block; bytes behind the header are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (fixed, rest) =
            bytes.split_first_chunk::<FIXED_HEADER>().ok_or(FormatError::Damaged("header"))?;
        if &fixed[..8] != MAGIC {
            return Err(FormatError::Magic);
        }
        let mut fields = &fixed[8..];
        let version = fields.get_u16_le();
        if version == 0 {
            return Err(FormatError::Damaged("header"));
        }
        let flags = fields.get_u16_le();
        let count = fields.get_u32_le() as usize;
        let entries =
            count.checked_mul(ENTRY).and_then(|n| rest.get(..n)).ok_or(FormatError::Damaged("header"))?;
        if header_checksum(version, flags, entries) != fields.get_u64_le() {
            return Err(FormatError::Checksum("header"));
        }
        if version > FORMAT_VERSION {
            return Err(FormatError::Version(version));
        }
        // Skips unknown kinds, which a later writer of the same format may add.
        let mut sections: Vec<Section> = entries.chunks_exact(ENTRY).filter_map(Section::parse).collect();
        sections.sort_by_key(|section| (section.kind, section.first_row));
        let (is_without_derived, filters_have_elements) =
            (flags & WITHOUT_DERIVED != 0, flags & ELEMENTS != 0);
        let mut header = Self { version, is_without_derived, filters_have_elements, sections };
        match version {
            FLAGGED.. => {}
            COLUMNAR => header.is_without_derived = header.has_none_derived(),
            _ => header.is_without_derived = false,
        }
        Ok(header)
    }

    /// The format that the block was written in.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Whether the block is columnar, as all are since format 2; older ones have to be converted (`v1`).
    pub fn is_columnar(&self) -> bool {
        self.version >= COLUMNAR
    }

    /// The one section of a kind.
    pub fn section(&self, kind: SectionKind) -> Result<&Section, FormatError> {
        self.pages(kind).first().ok_or(FormatError::Missing(kind))
    }

    /// Whether the derived sections were left out, as in fresh blocks.
    pub fn is_without_derived(&self) -> bool {
        self.is_without_derived
    }

    /// Whether filters contain the elements of arrays; filters of earlier programs do not.
    pub fn filters_have_elements(&self) -> bool {
        self.filters_have_elements
    }

    /// Whether the rows of a trace in a page may be in the order of their tree.
    pub(crate) fn is_in_trees(&self) -> bool {
        self.version >= IN_TREES && !self.is_without_derived
    }

    fn has_none_derived(&self) -> bool {
        [SectionKind::Filter, SectionKind::Rollups, SectionKind::Edges, SectionKind::Zones]
            .iter()
            .all(|kind| self.pages(*kind).is_empty())
    }

    /// All sections, sorted by kind and first row.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The sections of a kind that each page has, sorted by first row.
    pub fn pages(&self, kind: SectionKind) -> &[Section] {
        let begin = self.sections.partition_point(|section| section.kind < kind);
        let end = self.sections.partition_point(|section| section.kind <= kind);
        &self.sections[begin..end]
    }

    /// The index of the page that holds a row.
    pub fn page_of(&self, row: u32) -> Result<usize, FormatError> {
        let behind = self.pages(SectionKind::Core).partition_point(|page| page.first_row <= row);
        behind.checked_sub(1).ok_or(FormatError::Damaged("header"))
    }
}

fn header_checksum(version: u16, flags: u16, entries: &[u8]) -> u64 {
    let fixed = u64::from(version) | u64::from(flags) << 16;
    xxh3_64(entries) ^ fixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
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

    /// Its byte range within the block.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.stored))
    }

    /// Checks and decompresses the stored bytes.
    pub fn decode(&self, stored: Bytes) -> Result<Bytes, FormatError> {
        self.decode_with(stored, None)
    }

    /// Like [`Self::decode`], with the first body chunk of a format 1 block as the zstd dictionary.
    pub(crate) fn decode_with(
        &self,
        stored: Bytes,
        first_chunk: Option<&[u8]>,
    ) -> Result<Bytes, FormatError> {
        self.check(&stored)?;
        let dictionary = match (self.codec, first_chunk) {
            (0, _) => return Ok(stored),
            (1, _) => &[][..],
            (2, Some(first_chunk)) => first_chunk,
            _ => return Err(FormatError::Damaged(self.kind.name())),
        };
        let decompressed = decompress_with_dictionary(&stored, self.decoded as usize, dictionary);
        decompressed.map(Bytes::from).ok_or(FormatError::Damaged(self.kind.name()))
    }

    /// Whether the bytes have the stored length and checksum.
    pub fn check(&self, stored: &[u8]) -> Result<(), FormatError> {
        let intact = stored.len() == self.stored as usize && xxh3_64(stored) == self.checksum;
        intact.then_some(()).ok_or(FormatError::Checksum(self.kind.name()))
    }
}

// === impl SectionKind ===

impl SectionKind {
    fn from_raw(raw: u16) -> Option<Self> {
        use SectionKind::*;
        let all = [
            Meta, Dictionary, Traces, Start, Duration, Flags, Operation, Sequence, Filter, Rollups, Body,
            Edges, Texts, Core, Ids, Values, Zones,
        ];
        all.into_iter().find(|kind| *kind as u16 == raw)
    }

    /// The name in error messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "zone map",
            Self::Dictionary => "dictionary",
            Self::Traces => "trace table",
            Self::Start | Self::Duration | Self::Flags | Self::Operation | Self::Sequence => "column",
            Self::Filter => "Bloom filter",
            Self::Rollups => "rollups",
            Self::Body => "body chunk",
            Self::Edges => "edges",
            Self::Texts => "texts",
            Self::Core => "core of a page",
            Self::Ids => "IDs of a page",
            Self::Values => "values of a page",
            Self::Zones => "zone map of a page",
        }
    }
}

/// Removes a varint from the front.
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

pub(crate) struct Assembler {
    /// The block so far; the room for its header is zero until the end.
    out: Vec<u8>,
    entries: Vec<u8>,
    header: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Whole,
    /// Without sections 9, 10, 12 and 17, which are derived from the columns.
    WithoutDerived,
}

/// Sections that compression does not make smaller are stored as they are.
const AS_IS: u16 = 0;
const ZSTD: u16 = 1;

impl Assembler {
    /// Starts a block of so many sections.
    pub(crate) fn new(sections: usize) -> Self {
        let header = FIXED_HEADER + sections * ENTRY;
        Self { out: vec![0; header], entries: Vec::with_capacity(sections * ENTRY), header }
    }

    /// Makes room for sections of this size, so that adding them does not copy those before.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    /// Adds a section, compressed.
    pub(crate) fn add(
        &mut self,
        kind: SectionKind,
        first_row: u32,
        bytes: &[u8],
        compressor: &mut Compressor,
    ) {
        match compressor.compress(bytes) {
            Some(compressed) => self.add_stored(kind, ZSTD, first_row, &compressed, bytes.len()),
            None => self.add_as_is(kind, first_row, bytes),
        }
    }

    /// Adds a section whose parts are compressed already.
    pub(crate) fn add_as_is(&mut self, kind: SectionKind, first_row: u32, bytes: &[u8]) {
        self.add_stored(kind, AS_IS, first_row, bytes, bytes.len());
    }

    fn add_stored(&mut self, kind: SectionKind, codec: u16, first_row: u32, stored: &[u8], decoded: usize) {
        self.entries.extend_from_slice(&(kind as u16).to_le_bytes());
        self.entries.extend_from_slice(&codec.to_le_bytes());
        self.entries.extend_from_slice(&first_row.to_le_bytes());
        self.entries.extend_from_slice(&(self.out.len() as u64).to_le_bytes());
        self.entries.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&(decoded as u32).to_le_bytes());
        self.entries.extend_from_slice(&xxh3_64(stored).to_le_bytes());
        self.out.extend_from_slice(stored);
    }

    /// Returns the block and the length of its header. Room for sections that were not added stays unused.
    pub(crate) fn finish(mut self, contents: Contents) -> (Vec<u8>, u32) {
        let flags = match contents {
            Contents::Whole => ELEMENTS,
            Contents::WithoutDerived => ELEMENTS | WITHOUT_DERIVED,
        };
        let count = (self.entries.len() / ENTRY) as u32;
        let mut header = Vec::with_capacity(self.header);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&flags.to_le_bytes());
        header.extend_from_slice(&count.to_le_bytes());
        header.extend_from_slice(&header_checksum(FORMAT_VERSION, flags, &self.entries).to_le_bytes());
        header.extend_from_slice(&self.entries);
        self.out[..header.len()].copy_from_slice(&header);
        (self.out, header.len() as u32)
    }
}
