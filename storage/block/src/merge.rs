//! Copies rows of blocks into a block that is being written, as columns, without rebuilding spans.
//!
//! The indices by which a row refers to slots, shapes, texts and resources differ in the new block. Each is looked up
//! once for each page, not once for each row.

use spandrel_proto::TraceId;

use crate::derive::calls_of;
use crate::equality::SpanParts;
use crate::error::WriteError;
use crate::format::FormatError;
use crate::page::cursor::RowCursor;
use crate::page::key_order::KeyOrder;
use crate::page::row::{Row, links_of};
use crate::page::{Column, OpenPage, Rebuilder};
use crate::row_key::RowKey;
use crate::shape::{Class, EVENTS, FieldEncoding, Level, ValueKind};
use crate::writer::BlockWriter;

/// Iterates over the rows of one page, sorted by key.
#[derive(Debug)]
pub struct PageRows {
    page: OpenPage,
    /// The trace of each run of rows, where a run is the rows of one trace in the page.
    traces: Vec<TraceId>,
    run: usize,
    at: RowCursor,
    /// The order of the current run, if its rows are not stored in key order.
    key_order: Option<KeyOrder>,
    /// The values of each slot that was needed so far.
    columns: Vec<LoadedColumn>,
    maps: IndexMaps,
    /// The maps of the other block that is being written: rows of a page may go to two blocks alternately.
    other: IndexMaps,
    /// Rebuilds rows for `peek`; it stands at the last one.
    peeker: Option<Rebuilder>,
    /// Of the current row: its flags, the number of its values, and texts that may name the peer of a call, with their
    /// slots.
    flags: u32,
    values: usize,
    peers: Vec<(u32, u32)>,
}

/// Translates the indices of a page's block into those of the block that is being written.
#[derive(Debug, Default)]
struct IndexMaps {
    /// The serial number of the block that is being written.
    writer: u64,
    classes: Vec<u32>,
    resource_scopes: Vec<u32>,
    /// By the page's references.
    texts: Vec<u32>,
    plans: Vec<Option<CopyPlan>>,
}

/// The values of a slot: numbers, or references to texts.
#[derive(Debug, Default)]
struct LoadedColumn {
    loaded: bool,
    numbers: Vec<u64>,
    /// The references of the distinct texts; `texts` has the reference of each value.
    references: Vec<u32>,
    texts: Vec<u32>,
}

/// How to copy a message of one shape.
#[derive(Debug)]
struct CopyPlan {
    shape: u32,
    /// The span's flags, if they are a part of the shape.
    flags: u32,
    /// Whether the input of an edge has to be read from the span itself.
    opaque: bool,
    steps: Vec<CopyStep>,
}

#[derive(Debug, Clone, Copy)]
struct CopyStep {
    from: u32,
    to: u32,
    what: CopyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CopyKind {
    Number,
    /// The span's flags.
    Flags,
    Text,
    /// A text that may name the peer of a call.
    Peer,
    Event,
    Link,
}

const UNKNOWN: u32 = u32::MAX;
const DAMAGED: FormatError = FormatError::Damaged("values of a page");

/// Why a row cannot be copied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// The block that it is copied from is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The block that it is copied to cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

// === impl PageRows ===

impl PageRows {
    /// Starts at the first row of a page; `traces` has the trace of each run of its rows.
    pub fn new(page: OpenPage, traces: Vec<TraceId>) -> Result<Self, FormatError> {
        if page.core.traces.len() != traces.len() {
            return Err(FormatError::Damaged("trace table"));
        }
        let slots = page.dictionary.slots.len();
        let mut rows = Self {
            at: RowCursor { taken: vec![0; slots], ..RowCursor::default() },
            key_order: None,
            columns: std::iter::repeat_with(LoadedColumn::default).take(slots).collect(),
            page,
            traces,
            run: 0,
            maps: IndexMaps::default(),
            other: IndexMaps::default(),
            peeker: None,
            flags: 0,
            values: 0,
            peers: Vec::new(),
        };
        rows.begin_run();
        Ok(rows)
    }

    /// The key of the next row and the sequence number of the commit that stored it; `None` after the last row.
    pub fn key(&self) -> Option<(RowKey, u64)> {
        let row = self.at.row;
        let core = &self.page.core;
        let key = RowKey {
            trace: u128::from_be_bytes(*self.traces.get(self.run)?.as_bytes()),
            start: *core.start.get(row)?,
            span_id: *self.page.ids.span_id.get(row)?,
        };
        Some((key, core.sequence[row]))
    }

    /// The key of the row after the next one, if both belong to the same trace and page.
    pub fn key_behind(&self) -> Option<RowKey> {
        let row = match &self.key_order {
            Some(run) => run.row_behind()?,
            None => self.at.row + 1,
        };
        let trace = *self.traces.get(self.run)?;
        if !self.page.run(self.run).contains(&row) {
            return None;
        }
        let (start, span_id) = (self.page.core.start[row], self.page.ids.span_id[row]);
        Some(RowKey { trace: u128::from_be_bytes(*trace.as_bytes()), start, span_id })
    }

    /// Rebuilds the next row as it was sent, to compare it with others.
    pub fn peek(&mut self) -> Result<SpanParts, FormatError> {
        let trace = *self.traces.get(self.run).ok_or(DAMAGED)?;
        let row = self.at.row;
        let first = self.key_order.as_ref().map_or(row, |run| run.rows().start);
        let peeker = self.peeker.get_or_insert_with(|| Rebuilder::new(self.page.clone(), first));
        match &self.key_order {
            Some(run) => peeker.seek_by_key(run.rows(), run.at()),
            None => peeker.seek(row),
        }
        let mut out = Vec::new();
        peeker.peek(trace, &mut out)?;
        let resource_scope = *self.page.core.resource_scope.get(row).ok_or(DAMAGED)?;
        let (resource, scope) = self.page.dictionary.resource_and_scope(resource_scope);
        Ok(SpanParts { resource: resource.clone(), scope: scope.clone(), span: out.into() })
    }

    /// Skips the next row.
    pub fn skip(&mut self) {
        self.at.pass(&self.page, &mut |_| {});
        self.step();
    }

    /// Moves to the next row in key order, after the values of a row were skipped or copied.
    fn step(&mut self) {
        if let Some(run) = &mut self.key_order {
            if run.advance(&mut self.at) {
                return;
            }
            self.key_order = None;
        }
        if self.page.core.traces.get(self.run + 1).is_some_and(|begin| *begin as usize <= self.at.row) {
            self.run += 1;
            self.begin_run();
        }
    }

    fn begin_run(&mut self) {
        self.key_order = KeyOrder::begin(&self.page, self.page.run(self.run), &mut self.at);
    }

    /// Copies the next row into a block.
    pub fn copy_to(&mut self, writer: &mut BlockWriter) -> Result<(), CopyError> {
        let (Some((key, _)), row) = (self.key(), self.at.row) else { return Err(DAMAGED.into()) };
        self.prepare(writer);
        let (class, resource_scope) = (self.page.core.class[row], self.page.core.resource_scope[row]);
        let texts = writer.schema.texts.bytes();
        writer.begin_row(key.trace());
        let shape = self.page.dictionary.classes[class as usize].shape;
        let &mut CopyPlan { flags, opaque, .. } = self.plan(writer, shape)?;
        self.flags = flags;
        // Rebuilds the span before its values are consumed.
        let span = if opaque { Some(self.peek()?.span) } else { None };
        self.values = 0;
        self.peers.clear();
        self.copy_message(writer, shape)?;
        let copied = Row {
            class: self.class(writer, class)?,
            resource_scope: self.resource_scope(writer, resource_scope)?,
            ..self.page.row(row)
        };
        match &span {
            // The shape does not contain everything that an edge needs.
            Some(span) => {
                let (flags, peers) = calls_of(span).map_err(WriteError::from)?;
                let links = links_of(span).map_err(WriteError::from)?;
                writer.push_edge(&copied, flags, &peers, links);
            }
            None => writer.push_known_edge(&copied, self.flags, &self.peers),
        }
        let texts = writer.schema.texts.bytes() - texts;
        writer.push_row(copied, ROW_BYTES.max(VALUE_BYTES * self.values) + texts);
        self.at.row += 1;
        self.step();
        Ok(())
    }

    /// Resets the maps if the block is neither of the last two.
    fn prepare(&mut self, writer: &BlockWriter) {
        if self.maps.writer == writer.serial() {
            return;
        }
        std::mem::swap(&mut self.maps, &mut self.other);
        if self.maps.writer == writer.serial() {
            return;
        }
        let page = &self.page;
        let unknown = |count: usize| vec![UNKNOWN; count];
        let local = page.values.local_texts().map_or(0, |texts| texts.len());
        self.maps = IndexMaps {
            writer: writer.serial(),
            classes: unknown(page.dictionary.classes.len()),
            resource_scopes: unknown(page.dictionary.resource_scopes.len()),
            texts: unknown(2 * local.max(page.texts.len())),
            plans: std::iter::repeat_with(|| None).take(page.dictionary.shapes.len()).collect(),
        };
    }

    fn copy_message(&mut self, writer: &mut BlockWriter, shape: u32) -> Result<u32, CopyError> {
        let plan = self.plan(writer, shape)?;
        let copied = plan.shape;
        // Moved out of the plan, so that `self` can be borrowed meanwhile; a message never contains one of its own
        // shape.
        let steps = std::mem::take(&mut plan.steps);
        let result = self.copy_values(writer, &steps);
        self.plan(writer, shape)?.steps = steps;
        result.map(|()| copied)
    }

    fn copy_values(&mut self, writer: &mut BlockWriter, steps: &[CopyStep]) -> Result<(), CopyError> {
        self.values += steps.len();
        for step in steps {
            match step.what {
                CopyKind::Event => {
                    let shape = *self.page.values.events.get(self.at.events).ok_or(DAMAGED)?;
                    self.at.events += 1;
                    let copied = self.copy_message(writer, shape)?;
                    writer.columns.events.push(copied);
                    continue;
                }
                CopyKind::Link => {
                    let shape = *self.page.values.links.get(self.at.links).ok_or(DAMAGED)?;
                    self.at.links += 1;
                    let copied = self.copy_message(writer, shape)?;
                    writer.columns.links.push(copied);
                    continue;
                }
                _ => {}
            }
            let column = &self.columns[step.from as usize];
            let taken = &mut self.at.taken[step.from as usize];
            let at = *taken as usize;
            *taken += 1;
            if matches!(step.what, CopyKind::Number | CopyKind::Flags) {
                let number = *column.numbers.get(at).ok_or(DAMAGED)?;
                if step.what == CopyKind::Flags {
                    self.flags = number as u32;
                }
                writer.columns.push_number(step.to, number);
            } else {
                let reference = *column.texts.get(at).ok_or(DAMAGED)?;
                let text = match self.maps.texts.get(reference as usize) {
                    Some(&known) if known != UNKNOWN => known,
                    _ => self.text(writer, reference)?,
                };
                if step.what == CopyKind::Peer {
                    self.peers.push((step.to, text));
                }
                writer.columns.texts(step.to).push(text);
            }
        }
        Ok(())
    }

    #[inline]
    fn plan(&mut self, writer: &mut BlockWriter, shape: u32) -> Result<&mut CopyPlan, CopyError> {
        if self.maps.plans[shape as usize].is_none() {
            let plan = self.make_plan(writer, shape)?;
            self.maps.plans[shape as usize] = Some(plan);
        }
        self.maps.plans[shape as usize].as_mut().ok_or_else(|| DAMAGED.into())
    }

    fn make_plan(&mut self, writer: &mut BlockWriter, shape: u32) -> Result<CopyPlan, CopyError> {
        let dictionary = self.page.dictionary.clone();
        let known = &dictionary.shapes[shape as usize];
        let (mut slots, mut steps) = (Vec::with_capacity(known.slots.len()), Vec::new());
        let (mut flags, mut opaque) = (0, false);
        let mut before = UNKNOWN;
        for &from in &known.slots {
            let slot = &dictionary.slots[from as usize];
            let schema = &mut writer.schema.slots;
            let to = schema.intern(schema.after(before), slot.level, slot.encoding, slot.field, &slot.name);
            schema.follows(before, to);
            before = to;
            slots.push(to);
            opaque |= slot.is_opaque_call();
            flags = slot.literal_span_flags().unwrap_or(flags);
            let what =
                match slot.encoding.value_kind() {
                    ValueKind::Number if slot.encoding == FieldEncoding::Fixed32 && slot.is_span_flags() => {
                        CopyKind::Flags
                    }
                    ValueKind::Number | ValueKind::Double => CopyKind::Number,
                    ValueKind::Text if writer.schema.slots.is_peer(to) => CopyKind::Peer,
                    ValueKind::Text => CopyKind::Text,
                    ValueKind::None
                        if slot.encoding == FieldEncoding::Nested && slot.level == Level::Span =>
                    {
                        if slot.field == EVENTS { CopyKind::Event } else { CopyKind::Link }
                    }
                    ValueKind::None => continue,
                };
            if !matches!(what, CopyKind::Event | CopyKind::Link) {
                self.load(from, slot.encoding)?;
                self.name_texts(writer, from)?;
            }
            steps.push(CopyStep { from, to, what });
        }
        let shape = writer.schema.shapes.intern(known.flags, &slots);
        Ok(CopyPlan { shape, flags, opaque, steps })
    }

    /// Decodes the values of a slot.
    fn load(&mut self, slot: u32, encoding: FieldEncoding) -> Result<(), CopyError> {
        if self.columns[slot as usize].loaded {
            return Ok(());
        }
        let mut column = LoadedColumn { loaded: true, ..LoadedColumn::default() };
        match self.page.values.decode_column(slot, encoding)?.ok_or(DAMAGED)? {
            Column::Numbers(numbers) => column.numbers = numbers,
            Column::Texts { references, mut index } => {
                index.iter_mut().for_each(|index| *index = references[*index as usize]);
                (column.references, column.texts) = (references, index);
            }
        }
        self.columns[slot as usize] = column;
        Ok(())
    }

    /// Gives the texts of a column numbers in the block that is being written. A merged block uses nearly all of them,
    /// and adding them together is faster. A fresh block uses few, and must not contain the others.
    fn name_texts(&mut self, writer: &mut BlockWriter, slot: u32) -> Result<(), CopyError> {
        if writer.is_fresh() {
            return Ok(());
        }
        let references = std::mem::take(&mut self.columns[slot as usize].references);
        let unknown = |maps: &IndexMaps, reference: u32| maps.texts.get(reference as usize) == Some(&UNKNOWN);
        for &reference in &references {
            if unknown(&self.maps, reference) {
                self.text(writer, reference)?;
            }
        }
        self.columns[slot as usize].references = references;
        Ok(())
    }

    fn text(&mut self, writer: &mut BlockWriter, reference: u32) -> Result<u32, CopyError> {
        let known = self.maps.texts.get_mut(reference as usize).ok_or(DAMAGED)?;
        *known = writer.schema.texts.intern(self.page.values.text(reference, &self.page.texts)?);
        Ok(*known)
    }

    fn class(&mut self, writer: &mut BlockWriter, class: u32) -> Result<u32, CopyError> {
        if let Some(&known) = self.maps.classes.get(class as usize).filter(|known| **known != UNKNOWN) {
            return Ok(known);
        }
        let Class { operation, shape } = self.page.dictionary.classes[class as usize];
        let shape = self.plan(writer, shape)?.shape;
        let (service, name) = &self.page.dictionary.operations[operation as usize];
        let service = writer.service(&self.page.dictionary.services[*service as usize]);
        let operation = writer.operation(service, name.as_bytes());
        let known = writer.class(Class { operation, shape });
        self.maps.classes[class as usize] = known;
        Ok(known)
    }

    fn resource_scope(&mut self, writer: &mut BlockWriter, resource_scope: u32) -> Result<u32, CopyError> {
        if let Some(&known) =
            self.maps.resource_scopes.get(resource_scope as usize).filter(|known| **known != UNKNOWN)
        {
            return Ok(known);
        }
        let (resource, scope) = self.page.dictionary.resource_and_scope(resource_scope);
        let (resource, scope) = (writer.resource(resource)?, writer.scope(scope));
        let known = writer.resource_scope(resource, scope);
        self.maps.resource_scopes[resource_scope as usize] = known;
        Ok(known)
    }
}

/// The size of a row, without its new texts, that counts when pages and blocks are cut. Rows with very many values
/// count more for each value, because a page of thousands of them would not fit into memory.
const ROW_BYTES: usize = 128;
const VALUE_BYTES: usize = 4;
