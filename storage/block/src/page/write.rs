//! Writes pages: encodes every column, and decides which texts the whole block shares.

use rustc_hash::FxHashSet;
use spandrel_proto::otlp::wire::put_varint;
use spandrel_proto::otlp::{AnyValue, RawValue};

use super::columns::{NO_ROW, PageColumns, SlotColumn};
use super::ints;
use super::shred::SpanSchema;
use crate::compression::Compressor;
use crate::shape::{ATTRIBUTES, FieldEncoding, Level, Slot, ValueKind};
use crate::token::{Number, Token};

/// The sections of a page.
#[derive(Debug)]
pub(crate) struct EncodedPage {
    pub(crate) core: Vec<u8>,
    pub(crate) ids: Vec<u8>,
    pub(crate) values: Vec<u8>,
}

/// Encodes the pages of one block.
pub(crate) struct PageEncoder {
    compressor: Compressor,
    /// The state of each text of the block.
    uses: Vec<TextUse>,
    /// The texts that pages share, by their number in the block's table.
    shared: Vec<u32>,
    page: u32,
    columns: u32,
    /// Tokens of the keys of slots; `None` until they are needed.
    key_tokens: Vec<Option<Token>>,
    /// The classes of the current page; empty between pages.
    classes: FxHashSet<u32>,
}

#[derive(Clone, Copy)]
struct TextUse {
    /// Its number in the block's table.
    shared: u32,
    /// The number of pages that contain it.
    pages: u16,
    /// The last page that listed it as a local text; `local` is its number there.
    page: u32,
    local: u32,
    /// The last column that listed it; `place` is its place in the list.
    column: u32,
    place: u32,
}

const NONE: u32 = u32::MAX;
/// A text that occurred in this many pages is stored in the block's table from the next page on.
const PAGES_BEFORE_SHARED: u16 = 4;
/// Limits of the block's table, which readers load as a whole: bytes of a text, and number of texts.
const MAX_SHARED_TEXT: usize = 4096;
const MAX_SHARED_TEXTS: usize = 1 << 22;

/// Texts of one slot are compressed by themselves if they have this many bytes.
const LEAST_TEXT_BLOCK: usize = 2048;

const UNUSED: TextUse = TextUse { shared: NONE, pages: 0, page: NONE, local: 0, column: NONE, place: 0 };

// === impl PageEncoder ===

impl PageEncoder {
    pub(crate) fn new(compressor: Compressor) -> Self {
        Self {
            compressor,
            uses: Vec::new(),
            shared: Vec::new(),
            page: 0,
            columns: 0,
            key_tokens: Vec::new(),
            classes: FxHashSet::default(),
        }
    }

    pub(crate) fn compressor(&mut self) -> &mut Compressor {
        &mut self.compressor
    }

    /// Keeps the compressor for the next block.
    pub(crate) fn keep(self) {
        self.compressor.keep();
    }

    /// The texts of the block's table, by number.
    pub(crate) fn shared_texts(&self) -> &[u32] {
        &self.shared
    }

    /// Encodes the columns of a page; adds the tokens of its span attributes to `tokens`.
    pub(crate) fn encode(
        &mut self,
        columns: &PageColumns,
        schema: &SpanSchema,
        tokens: &mut FxHashSet<u64>,
    ) -> EncodedPage {
        let core = self.core(columns);
        let ids = self.ids(columns);
        let values = self.values(columns, schema, tokens);
        self.add_literal_tokens(columns, schema, tokens);
        EncodedPage { core, ids, values }
    }

    fn core(&mut self, columns: &PageColumns) -> Vec<u8> {
        let rows = columns.rows();
        let mut out = Vec::with_capacity(rows * 10);
        put_varint(&mut out, rows as u64);
        put_varint(&mut out, columns.traces.len() as u64);
        ints::encode_u32(&mut out, &columns.class, &mut self.compressor);
        ints::encode_u32(&mut out, &columns.resource_scope, &mut self.compressor);
        let ends = columns.traces.iter().skip(1).copied().chain([rows as u32]);
        let lengths: Vec<u64> =
            columns.traces.iter().zip(ends).map(|(begin, end)| u64::from(end - begin)).collect();
        ints::encode(&mut out, &lengths, &mut self.compressor);
        let mut firsts = Vec::with_capacity(lengths.len());
        let mut deltas = Vec::with_capacity(rows);
        let mut row = 0;
        for length in &lengths {
            let starts = &columns.start[row..row + *length as usize];
            firsts.push(starts[0]);
            deltas.extend(starts.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
            row += starts.len();
        }
        ints::encode(&mut out, &firsts, &mut self.compressor);
        ints::encode(&mut out, &deltas, &mut self.compressor);
        ints::encode(&mut out, &columns.duration, &mut self.compressor);
        ints::encode(&mut out, &columns.sequence, &mut self.compressor);
        out
    }

    fn ids(&mut self, columns: &PageColumns) -> Vec<u8> {
        let rows = columns.rows();
        let mut out = Vec::with_capacity(rows * 10);
        columns.span_id.iter().for_each(|id| out.extend_from_slice(&id.to_be_bytes()));
        let mut codes = Vec::with_capacity(rows);
        let mut raw = Vec::new();
        for (row, (parent, found)) in columns.parent.iter().zip(&columns.parent_row).enumerate() {
            codes.push(match (*parent, *found) {
                (0, _) => 0,
                (_, NO_ROW) => {
                    raw.extend_from_slice(&parent.to_be_bytes());
                    1
                }
                (_, found) => {
                    let distance = row as i64 - i64::from(found);
                    (distance << 1 ^ distance >> 63) as u64 + 2
                }
            });
        }
        ints::encode(&mut out, &codes, &mut self.compressor);
        out.extend_from_slice(&raw);
        out
    }

    fn values(&mut self, columns: &PageColumns, schema: &SpanSchema, tokens: &mut FxHashSet<u64>) -> Vec<u8> {
        self.page += 1;
        self.uses.resize(schema.texts.len(), UNUSED);
        self.key_tokens.resize(schema.slots.len(), None);
        let mut out = Vec::new();
        for shapes in [&columns.events, &columns.links] {
            put_varint(&mut out, shapes.len() as u64);
            ints::encode_u32(&mut out, shapes, &mut self.compressor);
        }
        let (mut locals, mut groups) = (Vec::new(), Vec::new());
        let mut directory = Vec::new();
        let mut payload = Vec::new();
        let (mut last, mut count) = (0, 0u64);
        for (at, column) in columns.slots().iter().enumerate() {
            if column.numbers.is_empty() && column.texts.is_empty() {
                continue;
            }
            let slot = schema.slots.get(at as u32);
            let begin = payload.len();
            match slot.encoding.value_kind() {
                ValueKind::Number => ints::encode(&mut payload, &column.numbers, &mut self.compressor),
                ValueKind::Double => {
                    ints::encode_doubles(&mut payload, &column.numbers, &mut self.compressor)
                }
                _ => {
                    self.texts(&mut payload, column, &mut locals);
                    groups.push(locals.len());
                }
            }
            self.add_tokens(at, slot, column, schema, tokens);
            put_varint(&mut directory, (at - last) as u64);
            put_varint(&mut directory, (payload.len() - begin) as u64);
            (last, count) = (at, count + 1);
        }
        put_varint(&mut out, count);
        out.append(&mut directory);
        out.append(&mut payload);
        self.put_texts(&mut out, locals.iter().map(|text| schema.texts.get(*text)), &groups);
        out
    }

    fn texts(&mut self, out: &mut Vec<u8>, column: &SlotColumn, locals: &mut Vec<u32>) {
        // Columns are numbered across pages, so that entries of `uses` from earlier columns are recognised as outdated.
        self.columns += 1;
        let this = self.columns;
        let mut references: Vec<u32> = Vec::new();
        let mut codes = Vec::with_capacity(column.texts.len());
        for &text in &column.texts {
            let known = &mut self.uses[text as usize];
            if known.column == this {
                codes.push(references.len() as u32 - known.place);
                continue;
            }
            (known.column, known.place) = (this, references.len() as u32);
            let reference = if known.shared != NONE {
                2 * known.shared
            } else {
                if known.page != self.page {
                    (known.page, known.local) = (self.page, locals.len() as u32);
                    locals.push(text);
                }
                2 * known.local + 1
            };
            references.push(reference);
            codes.push(0);
        }
        put_varint(out, references.len() as u64);
        let wide: Vec<u64> = references.iter().map(|reference| u64::from(*reference)).collect();
        ints::encode(out, &wide, &mut self.compressor);
        if references.len() > 1 && references.len() < column.texts.len() {
            ints::encode_u32(out, &codes, &mut self.compressor);
        }
    }

    /// Appends a table of texts. `groups` has the number of texts behind each group of texts that are alike.
    pub(crate) fn put_texts<'t>(
        &mut self,
        out: &mut Vec<u8>,
        texts: impl Iterator<Item = &'t [u8]>,
        groups: &[usize],
    ) {
        let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
        let (mut ends, mut groups) = (Vec::new(), groups.iter().peekable());
        for text in texts {
            while groups.next_if(|group| **group <= lengths.len()).is_some() {
                if bytes.len() >= ends.last().unwrap_or(&0) + LEAST_TEXT_BLOCK {
                    ends.push(bytes.len());
                }
            }
            lengths.push(text.len() as u64);
            bytes.extend_from_slice(text);
        }
        put_varint(out, lengths.len() as u64);
        ints::encode(out, &lengths, &mut self.compressor);
        let compressed = self.compressor.compress_parts(&bytes, &ends);
        let stored = compressed.as_deref().unwrap_or(&bytes);
        put_varint(out, bytes.len() as u64);
        put_varint(out, stored.len() as u64);
        out.extend_from_slice(stored);
    }

    /// Moves the frequent texts of the page that was encoded last to the block's table, for the pages that follow.
    pub(crate) fn share_texts(&mut self, columns: &PageColumns, schema: &SpanSchema) {
        for text in columns.slots().iter().flat_map(|column| &column.texts) {
            let known = &mut self.uses[*text as usize];
            // `column` is not needed any more for this page and marks the text as counted.
            if known.shared != NONE || known.column == NONE {
                continue;
            }
            known.column = NONE;
            known.pages = known.pages.saturating_add(1);
            let is_small = schema.texts.get(*text).len() <= MAX_SHARED_TEXT;
            if known.pages >= PAGES_BEFORE_SHARED && is_small && self.shared.len() < MAX_SHARED_TEXTS {
                known.shared = self.shared.len() as u32;
                self.shared.push(*text);
            }
        }
    }

    /// Adds the tokens of attributes that are a part of shapes.
    fn add_literal_tokens(
        &mut self,
        columns: &PageColumns,
        schema: &SpanSchema,
        tokens: &mut FxHashSet<u64>,
    ) {
        let mut classes = std::mem::take(&mut self.classes);
        classes.extend(&columns.class);
        for class in classes.drain() {
            let shape = schema.shapes.get(schema.classes[class as usize].shape);
            let slots = shape.slots.iter().map(|slot| schema.slots.get(*slot));
            for slot in
                slots.filter(|slot| slot.encoding == FieldEncoding::Literal && slot.field == ATTRIBUTES)
            {
                if let Some((key, value)) = slot.literal_attribute() {
                    let key = Token::of_key_bytes(key);
                    tokens.insert(key.0);
                    if let RawValue::Bool(flag) = value {
                        tokens.insert(key.with_bool(flag).0);
                    }
                }
            }
        }
        self.classes = classes;
    }

    /// Adds the tokens of a column of span attributes.
    fn add_tokens(
        &mut self,
        at: usize,
        slot: &Slot,
        column: &SlotColumn,
        schema: &SpanSchema,
        tokens: &mut FxHashSet<u64>,
    ) {
        if slot.level != Level::Span {
            return;
        }
        if slot.encoding == FieldEncoding::Bytes && slot.field == ATTRIBUTES
            || slot.encoding == FieldEncoding::Verbatim
        {
            // Attributes that are stored as bytes: the token makes readers scan the spans.
            tokens.insert(Token::IRREGULAR.0);
        }
        if !slot.encoding.is_attribute() {
            return;
        }
        let key = *self.key_tokens[at].get_or_insert_with(|| Token::of_key_bytes(&slot.name));
        tokens.insert(key.0);
        match slot.encoding {
            FieldEncoding::String => {
                self.each_text(column, |text| {
                    tokens.insert(key.with_bytes(schema.texts.get(text)).0);
                });
            }
            FieldEncoding::Array => self.each_text(column, |text| {
                let array = AnyValue::Array(schema.texts.get(text));
                tokens.extend(key.with_value(array).map(|token| token.0));
            }),
            FieldEncoding::Int => {
                tokens.extend(column.numbers.iter().map(|n| key.with_number(Number::Int(*n as i64)).0));
            }
            FieldEncoding::Double => {
                let number = |bits: &u64| Number::of_double(f64::from_bits(*bits));
                tokens.extend(column.numbers.iter().map(|bits| key.with_number(number(bits)).0));
            }
            _ => {}
        }
    }

    /// Visits each text of a column once. The column has to be the last one that was written.
    fn each_text(&mut self, column: &SlotColumn, mut visit: impl FnMut(u32)) {
        let mut last = NONE;
        for &text in &column.texts {
            let known = &mut self.uses[text as usize];
            // Texts that were not visited yet still have their place in the column.
            if text != last && known.place != NONE {
                known.place = NONE;
                visit(text);
            }
            last = text;
        }
    }
}
