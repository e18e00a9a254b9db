//! Writes blocks: takes spans in order, keeps columns and dictionaries, compresses the body as it goes.

use std::collections::BTreeMap;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{Attributes, RawValue, ResourceView, SpanView};
use spandrel_proto::{TraceId, UnixNanos};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};
use zstd::bulk::Compressor;

use crate::columns::{self, RowFlags, shown_duration};
use crate::dictionary::Dictionary;
use crate::edges::{EdgeBuilder, PeerCandidates};
use crate::filter::TokenFilter;
use crate::format::{Assembler, ChunkRows, Codec, SectionKind};
use crate::keys::RowRange;
use crate::meta::{BlockMeta, CatalogRow, OperationMeta, ServiceMeta};
use crate::record::RecordError;
use crate::rollup::{RollupKey, RollupRow};
use crate::semantics;
use crate::token::Token;
use crate::traces::TraceTable;

/// A block in the making.
pub struct BlockWriter {
    zstd_level: i32,
    compressor: Compressor<'static>,
    /// Compresses body chunks with the first one as dictionary, once there is one.
    chunk_compressor: Option<Compressor<'static>>,
    dictionary: Dictionary,
    resource_index: FxHashMap<u128, u32>,
    scope_index: FxHashMap<u128, u32>,
    service_index: FxHashMap<String, u32>,
    operation_index: FxHashMap<u64, u32>,
    traces: TraceTable,
    start: Vec<u64>,
    duration: Vec<u64>,
    flags: Vec<u8>,
    operation: Vec<u32>,
    sequence: Vec<u64>,
    tokens: FxHashSet<u64>,
    rollups: FxHashMap<RollupKey, RollupRow>,
    edges: EdgeBuilder,
    chunk: Vec<u8>,
    chunk_first_row: u32,
    body: Vec<Chunk>,
    body_bytes: usize,
}

struct Chunk {
    first_row: u32,
    codec: Codec,
    stored: Vec<u8>,
    decoded: usize,
}

/// A block, ready to be stored.
#[derive(Debug, Clone)]
pub struct FinishedBlock {
    /// The block.
    pub bytes: Bytes,
    /// Its row for the catalog.
    pub row: CatalogRow,
    /// Its traces, for the index.
    pub traces: TraceTable,
}

/// Why a block cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// A span or resource that was not checked before.
    #[error("a span does not decode: {0}")]
    Wire(#[from] WireError),
    /// A record does not encode.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The compressor failed.
    #[error("compression failed: {0}")]
    Compress(String),
}

/// Decoded bytes of the first body chunk, which the others are compressed with. Measured on mixed
/// traffic: 128 KiB before chunks of 64 KiB take 61 bytes a span, chunks of 64 KiB alone 83.
const FIRST_CHUNK_BYTES: usize = 128 << 10;
/// Decoded bytes of every other body chunk: what a reader of one trace inflates.
const CHUNK_BYTES: usize = 64 << 10;

// === impl BlockWriter ===

impl BlockWriter {
    /// An empty block whose sections are compressed at a zstd level.
    pub fn new(zstd_level: i32) -> Result<Self, WriteError> {
        Ok(Self {
            zstd_level,
            compressor: Compressor::new(zstd_level).map_err(compress_error)?,
            chunk_compressor: None,
            dictionary: Dictionary::default(),
            resource_index: FxHashMap::default(),
            scope_index: FxHashMap::default(),
            service_index: FxHashMap::default(),
            operation_index: FxHashMap::default(),
            traces: TraceTable::default(),
            start: Vec::new(),
            duration: Vec::new(),
            flags: Vec::new(),
            operation: Vec::new(),
            sequence: Vec::new(),
            tokens: FxHashSet::default(),
            rollups: FxHashMap::default(),
            edges: EdgeBuilder::default(),
            chunk: Vec::with_capacity(FIRST_CHUNK_BYTES + CHUNK_BYTES),
            chunk_first_row: 0,
            body: Vec::new(),
            body_bytes: 0,
        })
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.start.len() as u32
    }

    /// Bytes of spans so far, before compression.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// The index of a resource in this block.
    pub fn resource(&mut self, record: &Bytes) -> Result<u32, WriteError> {
        let hash = xxh3_128(record);
        if let Some(known) = self.resource_index.get(&hash) {
            return Ok(*known);
        }
        let view = ResourceView::parse(record)?;
        let service = semantics::service_name(&view);
        let service = match self.service_index.get(service) {
            Some(known) => *known,
            None => {
                let index = self.dictionary.services.len() as u32;
                self.dictionary.services.push(service.to_owned());
                self.service_index.insert(service.to_owned(), index);
                index
            }
        };
        self.add_tokens(view.attributes())?;
        let index = self.dictionary.resources.len() as u32;
        self.dictionary.resources.push(record.clone());
        self.dictionary.resource_services.push(service);
        self.resource_index.insert(hash, index);
        Ok(index)
    }

    /// The index of a scope in this block.
    pub fn scope(&mut self, record: &Bytes) -> u32 {
        let scopes = &mut self.dictionary.scopes;
        *self.scope_index.entry(xxh3_128(record)).or_insert_with(|| {
            scopes.push(record.clone());
            scopes.len() as u32 - 1
        })
    }

    /// Adds a span. Spans come sorted by (trace ID, start, span ID).
    pub fn push(
        &mut self,
        resource: u32,
        scope: u32,
        message: &[u8],
        sequence: u64,
    ) -> Result<(), WriteError> {
        let span = SpanView::parse(message)?;
        let trace = TraceId::from_wire(span.trace_id).unwrap_or_default();
        let mut peers = PeerCandidates::of(&span);
        let failed = self.visit_attributes(&span, &mut peers)?;
        let service = self.dictionary.resource_services[resource as usize];
        self.edges.push(trace, &span, &peers, service, failed)?;
        let operation = self.operation(service, span.name);
        let flags = RowFlags::of(&span, failed);
        let duration = span.end.wrapping_sub(span.start);
        let key = RollupKey::of(span.start, operation, flags);
        self.rollups
            .entry(key)
            .or_insert_with(|| RollupRow::new(key))
            .add(shown_duration(span.start, duration), failed);
        self.traces.push_row(trace);
        self.start.push(span.start);
        self.duration.push(duration);
        self.flags.push(flags.0);
        self.operation.push(operation);
        self.sequence.push(sequence);
        self.body_bytes += message.len();
        ChunkRows::put(&mut self.chunk, resource, scope, message);
        let full = if self.body.is_empty() { FIRST_CHUNK_BYTES } else { CHUNK_BYTES };
        if self.chunk.len() >= full {
            self.finish_chunk()?;
        }
        Ok(())
    }

    fn operation(&mut self, service: u32, name: &str) -> u32 {
        let mut hash = xxh3_64_with_seed(name.as_bytes(), u64::from(service));
        while let Some(&known) = self.operation_index.get(&hash) {
            let (its_service, its_name) = &self.dictionary.operations[known as usize];
            if (*its_service, its_name.as_str()) == (service, name) {
                return known;
            }
            // Two operations with one hash: the next free place.
            hash = hash.wrapping_add(1);
        }
        let index = self.dictionary.operations.len() as u32;
        self.dictionary.operations.push((service, name.to_owned()));
        self.operation_index.insert(hash, index);
        index
    }

    /// Adds the tokens of a span's attributes, and tells whether the span has failed: the one walk
    /// over the attributes that a span gets here.
    fn visit_attributes<'a>(
        &mut self,
        span: &SpanView<'a>,
        peers: &mut PeerCandidates<'a>,
    ) -> Result<bool, WireError> {
        let tokens = &mut self.tokens;
        let mut error = false;
        span.visit_raw_attributes(|key, value| {
            peers.see(key, value);
            let token = Token::of_key_bytes(key);
            tokens.insert(token.0);
            if let Some(token) = token.with_raw(value) {
                tokens.insert(token.0);
            }
            if key == semantics::ERROR_ATTRIBUTE.as_bytes() {
                error = matches!(value, RawValue::Bool(true) | RawValue::String(b"true"));
            }
        })?;
        Ok(semantics::failed(span.status(), error))
    }

    fn add_tokens(&mut self, attributes: Attributes<'_>) -> Result<(), WireError> {
        for attribute in attributes {
            let attribute = attribute?;
            let key = Token::of_key(attribute.key);
            self.tokens.insert(key.0);
            if let Some(token) = attribute.value.and_then(|value| key.with_value(value)) {
                self.tokens.insert(token.0);
            }
        }
        Ok(())
    }

    fn finish_chunk(&mut self) -> Result<(), WriteError> {
        if !self.chunk.is_empty() {
            let (compressor, codec) = match &mut self.chunk_compressor {
                Some(with_first) => (with_first, Codec::ZstdWithFirstChunk),
                None => (&mut self.compressor, Codec::Zstd),
            };
            let stored = compressor.compress(&self.chunk).map_err(compress_error)?;
            if codec == Codec::Zstd {
                let with_first = Compressor::with_dictionary(self.zstd_level, &self.chunk);
                self.chunk_compressor = Some(with_first.map_err(compress_error)?);
            }
            let first_row = self.chunk_first_row;
            self.body.push(Chunk { first_row, codec, stored, decoded: self.chunk.len() });
            self.chunk.clear();
        }
        self.chunk_first_row = self.rows();
        Ok(())
    }

    /// The block. It has at least one span.
    pub fn finish(mut self, level: u8, created: UnixNanos) -> Result<FinishedBlock, WriteError> {
        self.finish_chunk()?;
        let meta = self.meta(level, created);
        let mut out = Assembler::new();
        let sections = [
            (SectionKind::Meta, meta.encode()?),
            (SectionKind::Dictionary, self.dictionary.encode()),
            (SectionKind::Traces, self.traces.encode()),
            (SectionKind::Start, columns::encode(self.start.iter().copied())),
            (SectionKind::Duration, columns::encode(self.duration.iter().copied())),
            (SectionKind::Flags, columns::encode(self.flags.iter().map(|flags| u64::from(*flags)))),
            (SectionKind::Operation, columns::encode(self.operation.iter().map(|index| u64::from(*index)))),
            (SectionKind::Sequence, columns::encode(self.sequence.iter().copied())),
            (SectionKind::Rollups, self.encode_rollups()?),
            (SectionKind::Edges, std::mem::take(&mut self.edges).finish()?),
        ];
        for (kind, bytes) in sections {
            let stored = self.compressor.compress(&bytes).map_err(compress_error)?;
            out.add(kind, Codec::Zstd, 0, &stored, bytes.len());
        }
        let filter =
            TokenFilter::new(self.tokens.len(), self.tokens.iter().map(|token| Token(*token))).encode();
        out.add(SectionKind::Filter, Codec::AsIs, 0, &filter, filter.len());
        for chunk in &self.body {
            out.add(SectionKind::Body, chunk.codec, chunk.first_row, &chunk.stored, chunk.decoded);
        }
        let (bytes, header_bytes) = out.finish();
        let row = CatalogRow { bytes: bytes.len() as u64, header_bytes, meta };
        Ok(FinishedBlock { bytes: bytes.into(), row, traces: self.traces })
    }

    fn encode_rollups(&mut self) -> Result<Vec<u8>, RecordError> {
        let mut rows: Vec<(RollupKey, RollupRow)> = self.rollups.drain().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        RollupRow::encode_all(&rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
    }

    fn meta(&self, level: u8, created: UnixNanos) -> BlockMeta {
        let durations = || self.start.iter().zip(&self.duration).map(|(start, d)| shown_duration(*start, *d));
        let flags = || self.flags.iter().map(|flags| RowFlags(*flags));
        let min = |values: &[u64]| values.iter().copied().min().unwrap_or_default();
        let max = |values: &[u64]| values.iter().copied().max().unwrap_or_default();
        BlockMeta {
            level,
            created,
            spans: self.rows(),
            traces: self.traces.entries().len() as u32,
            failed: flags().filter(|flags| flags.failed()).count() as u32,
            min_start: UnixNanos(min(&self.start)),
            max_start: UnixNanos(max(&self.start)),
            min_duration: durations().min().unwrap_or_default(),
            max_duration: durations().max().unwrap_or_default(),
            min_sequence: min(&self.sequence),
            max_sequence: max(&self.sequence),
            kinds: flags().fold(0, |bits, flags| bits | 1 << (flags.0 & 7)),
            statuses: flags().fold(0, |bits, flags| bits | 1 << (flags.0 >> 3 & 3)),
            services: self.service_metas(),
        }
    }

    fn service_metas(&self) -> Vec<ServiceMeta> {
        let mut kinds = vec![0u8; self.dictionary.operations.len()];
        for (operation, flags) in self.operation.iter().zip(&self.flags) {
            kinds[*operation as usize] |= 1 << (flags & 7);
        }
        let mut services: BTreeMap<&str, BTreeMap<&str, u8>> = BTreeMap::new();
        for ((service, name), kinds) in self.dictionary.operations.iter().zip(kinds) {
            let service = &self.dictionary.services[*service as usize];
            services.entry(service).or_default().insert(name, kinds);
        }
        let operation = |(name, kinds): (&str, u8)| OperationMeta { name: name.to_owned(), kinds };
        services
            .into_iter()
            .map(|(name, operations)| ServiceMeta {
                name: name.to_owned(),
                operations: operations.into_iter().map(operation).collect(),
            })
            .collect()
    }
}

fn compress_error(error: std::io::Error) -> WriteError {
    WriteError::Compress(error.to_string())
}

// === impl FinishedBlock ===

impl FinishedBlock {
    /// The rows of each trace, for the index.
    pub fn trace_rows(&self) -> &[(TraceId, RowRange)] {
        self.traces.entries()
    }
}
