//! Copies rows of blocks into a block in the making, as columns: no span is put together on the way.
//!
//! What a row refers to by index (slots, shapes, texts, resources) has other indices in the new block.
//! They are looked up once for each distinct thing and page, not once for each row.

use bytes::Bytes;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{RawValue, SpanView};
use spandrel_proto::{SpanId, TraceId};

use crate::edges::{PeerCandidates, is_peer_key};
use crate::format::FormatError;
use crate::page::rebuild::Position;
use crate::page::shape::EVENTS;
use crate::page::shred::Class;
use crate::page::{Column, Form, Level, OpenPage, Rebuilder, ValueKind};
use crate::writer::{BlockWriter, Row, WriteError, links_of};

/// What rows are sorted by: trace, start, span ID. Big-endian numbers compare faster than bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    trace: u128,
    start: u64,
    span_id: u64,
}

/// Walks over the rows of one page.
#[derive(Debug)]
pub struct PageRows {
    page: OpenPage,
    /// The trace of each run of rows.
    traces: Vec<TraceId>,
    run: usize,
    at: Position,
    links: Links,
    /// Of the row in hand: its flags, its values, and attributes that may name the other side of a call.
    flags: u32,
    values: usize,
    peers: Vec<(u32, u32)>,
}

/// Where things of a page's block are in the block that is being written.
#[derive(Debug, Default)]
struct Links {
    /// Which block in the making these are for.
    writer: u64,
    classes: Vec<u32>,
    origins: Vec<u32>,
    shared: Vec<u32>,
    local: Vec<u32>,
    shapes: Vec<Option<Plan>>,
}

/// What to copy for a message of one shape.
#[derive(Debug, Clone)]
struct Plan {
    shape: u32,
    /// The flags of the span, where the shape says them.
    flags: u32,
    /// What edges are made of has to be sought in the span itself.
    opaque: bool,
    steps: std::sync::Arc<[Step]>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    from: u32,
    to: u32,
    what: What,
    /// The text may name the other side of a call.
    peer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Number(Form),
    Text(Form),
    Event,
    Link,
}

const UNKNOWN: u32 = u32::MAX;
const DAMAGED: FormatError = FormatError::Damaged("values of a page");

/// Why a row cannot be copied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// Where it comes from is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

// === impl RowKey ===

impl RowKey {
    /// The key of a span.
    pub fn new(trace: TraceId, start: u64, span_id: SpanId) -> Self {
        Self {
            trace: u128::from_be_bytes(*trace.as_bytes()),
            start,
            span_id: u64::from_be_bytes(*span_id.as_bytes()),
        }
    }

    /// Its trace.
    pub fn trace(&self) -> TraceId {
        TraceId::from_bytes(self.trace.to_be_bytes())
    }

    /// Its start.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its span ID.
    pub fn span_id(&self) -> SpanId {
        SpanId::from_bytes(self.span_id.to_be_bytes())
    }
}

// === impl PageRows ===

impl PageRows {
    /// The rows of a page; `traces` has the trace of each run of its rows.
    pub fn new(page: OpenPage, traces: Vec<TraceId>) -> Result<Self, FormatError> {
        if page.core.traces.len() != traces.len() {
            return Err(FormatError::Damaged("trace table"));
        }
        let at = Position { taken: vec![0; page.dictionary.slots.len()], ..Position::default() };
        Ok(Self { page, traces, run: 0, at, links: Links::default(), flags: 0, values: 0, peers: Vec::new() })
    }

    /// The key of the next row, and the commit that stored it.
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

    /// The next row as wire bytes: resource, scope and span. For rows that have to be compared.
    pub fn peek(&self) -> Result<(Bytes, Bytes, Bytes), FormatError> {
        let trace = *self.traces.get(self.run).ok_or(DAMAGED)?;
        let mut out = Vec::new();
        Rebuilder::at(self.page.clone(), self.at.clone()).next(trace, &mut out)?;
        let origin = *self.page.core.origin.get(self.at.row).ok_or(DAMAGED)?;
        let (resource, scope) = self.page.dictionary.records(origin);
        Ok((resource.clone(), scope.clone(), out.into()))
    }

    /// Passes over the next row.
    pub fn skip(&mut self) {
        if let Some(class) = self.page.core.class.get(self.at.row) {
            let shape = self.page.dictionary.classes[*class as usize].shape;
            self.at.pass(&self.page, shape);
        }
        self.at.row += 1;
        self.step_run();
    }

    fn step_run(&mut self) {
        if self.page.core.traces.get(self.run + 1).is_some_and(|begin| *begin as usize <= self.at.row) {
            self.run += 1;
        }
    }

    /// Copies the next row.
    pub fn copy_to(&mut self, writer: &mut BlockWriter) -> Result<(), CopyError> {
        let (Some((key, sequence)), row) = (self.key(), self.at.row) else { return Err(DAMAGED.into()) };
        self.links.prepare(writer, &self.page);
        let (class, origin) = (self.page.core.class[row], self.page.core.origin[row]);
        let texts = writer.words.texts.bytes();
        writer.begin_row(key.trace());
        let shape = self.page.dictionary.classes[class as usize].shape;
        let plan = self.plan(writer, shape);
        // Before its values are behind.
        let span = if plan.opaque { Some(self.peek()?.2) } else { None };
        (self.flags, self.values) = (plan.flags, 0);
        self.peers.clear();
        self.copy_message(writer, &plan)?;
        let copied = Row {
            class: self.class(writer, class)?,
            origin: self.origin(writer, origin)?,
            start: key.start,
            duration: self.page.core.duration[row],
            sequence,
            span_id: key.span_id(),
            parent: self.page.ids.parent[row],
        };
        match &span {
            Some(span) => push_edge_of_span(writer, &copied, span).map_err(WriteError::from)?,
            None => self.push_edge(writer, &copied)?,
        }
        let texts = writer.words.texts.bytes() - texts;
        writer.push_row(copied, ROW_BYTES.max(VALUE_BYTES * self.values) + texts);
        self.at.row += 1;
        self.step_run();
        Ok(())
    }

    fn push_edge(&self, writer: &mut BlockWriter, row: &Row) -> Result<(), CopyError> {
        let mut peers = PeerCandidates::default();
        for (slot, reference) in &self.peers {
            let text = self.page.values.text(*reference, &self.page.texts)?;
            peers.see(&self.page.dictionary.slots[*slot as usize].name, text);
        }
        writer.push_edge(row, self.flags, &peers, Vec::new());
        Ok(())
    }

    fn copy_message(&mut self, writer: &mut BlockWriter, plan: &Plan) -> Result<(), CopyError> {
        self.values += plan.steps.len();
        for step in plan.steps.iter() {
            match step.what {
                What::Event => {
                    let shape = *self.page.values.events.get(self.at.events).ok_or(DAMAGED)?;
                    self.at.events += 1;
                    let plan = self.plan(writer, shape);
                    self.copy_message(writer, &plan)?;
                    writer.columns.events.push(plan.shape);
                }
                What::Link => {
                    let shape = *self.page.values.links.get(self.at.links).ok_or(DAMAGED)?;
                    self.at.links += 1;
                    let plan = self.plan(writer, shape);
                    self.copy_message(writer, &plan)?;
                    writer.columns.links.push(plan.shape);
                }
                What::Number(form) | What::Text(form) => self.copy_value(writer, step, form)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn copy_value(&mut self, writer: &mut BlockWriter, step: &Step, form: Form) -> Result<(), CopyError> {
        let taken = &mut self.at.taken[step.from as usize];
        let at = *taken as usize;
        *taken += 1;
        match self.page.values.column(step.from, form)?.ok_or(DAMAGED)? {
            Column::Numbers(numbers) => {
                let number = *numbers.get(at).ok_or(DAMAGED)?;
                if form == Form::Fixed32 && self.page.dictionary.slots[step.from as usize].is_span_flags() {
                    self.flags = number as u32;
                }
                writer.columns.push_number(step.to, number);
            }
            Column::Texts { references, index } => {
                let index = *index.get(at).ok_or(DAMAGED)?;
                let reference = *references.get(index as usize).ok_or(DAMAGED)?;
                if step.peer {
                    self.peers.push((step.from, reference));
                }
                let table = if reference & 1 == 1 { &mut self.links.local } else { &mut self.links.shared };
                let known = table.get_mut((reference >> 1) as usize).ok_or(DAMAGED)?;
                if *known == UNKNOWN {
                    let text = self.page.values.text(reference, &self.page.texts)?;
                    *known = writer.words.texts.intern(text);
                }
                writer.columns.texts(step.to).push(*known);
            }
        }
        Ok(())
    }

    fn plan(&mut self, writer: &mut BlockWriter, shape: u32) -> Plan {
        if let Some(Some(plan)) = self.links.shapes.get(shape as usize) {
            return plan.clone();
        }
        let dictionary = &self.page.dictionary;
        let known = &dictionary.shapes[shape as usize];
        let (mut slots, mut steps) = (Vec::with_capacity(known.slots.len()), Vec::new());
        let (mut flags, mut opaque) = (0, false);
        let mut before = UNKNOWN;
        for &from in &known.slots {
            let slot = &dictionary.slots[from as usize];
            let to = writer.words.slots.intern(before, slot.level, slot.form, slot.field, &slot.name);
            before = to;
            slots.push(to);
            opaque |= slot.is_irregular() || slot.form == Form::Nested && slot.field != EVENTS;
            flags = slot.literal_span_flags().unwrap_or(flags);
            let what = match slot.form.value_kind() {
                ValueKind::Number | ValueKind::Double => What::Number(slot.form),
                ValueKind::Text => What::Text(slot.form),
                ValueKind::None if slot.form == Form::Nested && slot.level == Level::Span => {
                    if slot.field == EVENTS { What::Event } else { What::Link }
                }
                ValueKind::None => continue,
            };
            steps.push(Step { from, to, what, peer: writer.words.slots.is_peer(to) });
        }
        let shape_in_writer = writer.words.shapes.intern(known.flags, &slots);
        let plan = Plan { shape: shape_in_writer, flags, opaque, steps: steps.into() };
        self.links.shapes[shape as usize] = Some(plan.clone());
        plan
    }

    fn class(&mut self, writer: &mut BlockWriter, class: u32) -> Result<u32, CopyError> {
        if let Some(&known) = self.links.classes.get(class as usize).filter(|known| **known != UNKNOWN) {
            return Ok(known);
        }
        let Class { operation, shape } = self.page.dictionary.classes[class as usize];
        let shape = self.plan(writer, shape).shape;
        let (service, name) = &self.page.dictionary.operations[operation as usize];
        let service = writer.service(&self.page.dictionary.services[*service as usize]);
        let operation = writer.operation(service, name.as_bytes());
        let known = writer.class(Class { operation, shape });
        self.links.classes[class as usize] = known;
        Ok(known)
    }

    fn origin(&mut self, writer: &mut BlockWriter, origin: u32) -> Result<u32, CopyError> {
        if let Some(&known) = self.links.origins.get(origin as usize).filter(|known| **known != UNKNOWN) {
            return Ok(known);
        }
        let (resource, scope) = self.page.dictionary.records(origin);
        let (resource, scope) = (writer.resource(resource)?, writer.scope(scope));
        let known = writer.origin(resource, scope);
        self.links.origins[origin as usize] = known;
        Ok(known)
    }
}

/// The edges of a span of which the shape does not tell enough.
fn push_edge_of_span(writer: &mut BlockWriter, row: &Row, span: &[u8]) -> Result<(), WireError> {
    let view = SpanView::parse(span)?;
    let mut peers = PeerCandidates::default();
    view.visit_raw_attributes(|key, value| {
        if let RawValue::String(text) = value
            && is_peer_key(key)
        {
            peers.see(key, text);
        }
    })?;
    writer.push_edge(row, view.flags, &peers, links_of(span)?);
    Ok(())
}

/// What a row counts for beside its new texts when pages and blocks are cut by size, and a row of very
/// many values for each of them: thousands of such rows would be a page that nobody can hold.
const ROW_BYTES: usize = 128;
const VALUE_BYTES: usize = 4;

// === impl Links ===

impl Links {
    /// Forgets everything when the block in the making is another one.
    fn prepare(&mut self, writer: &BlockWriter, page: &OpenPage) {
        if self.writer == writer.serial() {
            return;
        }
        let unknown = |count: usize| vec![UNKNOWN; count];
        let local = page.values.local_texts().map_or(0, |texts| texts.len());
        *self = Self {
            writer: writer.serial(),
            classes: unknown(page.dictionary.classes.len()),
            origins: unknown(page.dictionary.origins.len()),
            shared: unknown(page.texts.len()),
            local: unknown(local),
            shapes: vec![None; page.dictionary.shapes.len()],
        };
    }
}
