//! Copies rows of blocks into a block in the making, as columns: no span is put together on the way.
//!
//! What a row refers to by index (slots, shapes, texts, resources) has other indices in the new block.
//! They are looked up once for each distinct thing and page, not once for each row.

use spandrel_proto::{SpanId, TraceId};

use crate::derive::calls_of;
use crate::equality::SpanParts;
use crate::format::FormatError;
use crate::page::by_key::ByKey;
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

/// Walks over the rows of one page, in the order of their keys.
#[derive(Debug)]
pub struct PageRows {
    page: OpenPage,
    /// The trace of each run of rows.
    traces: Vec<TraceId>,
    run: usize,
    at: Position,
    /// The run in hand, where its rows do not stand by their keys.
    by_key: Option<ByKey>,
    /// The values of each slot that was asked for.
    columns: Vec<Loaded>,
    maps: Maps,
    /// Those for another block: rows of one page may go into two by turns.
    other: Maps,
    /// Stands at the row that was looked at last.
    peeker: Option<Rebuilder>,
    /// Of the row in hand: its flags, how many values it has, and texts that may name the other side of
    /// a call, with their slots.
    flags: u32,
    values: usize,
    peers: Vec<(u32, u32)>,
}

/// Where things of a page's block are in the block that is being written.
#[derive(Debug, Default)]
struct Maps {
    /// Which block in the making these are for.
    writer: u64,
    classes: Vec<u32>,
    origins: Vec<u32>,
    /// By reference.
    texts: Vec<u32>,
    plans: Vec<Option<Plan>>,
}

/// The values of a slot: numbers, or references to texts.
#[derive(Debug, Default)]
struct Loaded {
    loaded: bool,
    numbers: Vec<u64>,
    /// The distinct ones, then each.
    references: Vec<u32>,
    texts: Vec<u32>,
}

/// What to copy for a message of one shape.
#[derive(Debug)]
struct Plan {
    shape: u32,
    /// The flags of the span, where the shape says them.
    flags: u32,
    /// What edges are made of has to be sought in the span itself.
    opaque: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    from: u32,
    to: u32,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Number,
    /// The span's flags.
    Flags,
    Text,
    /// A text that may name the other side of a call.
    Peer,
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
        let slots = page.dictionary.slots.len();
        let mut rows = Self {
            at: Position { taken: vec![0; slots], ..Position::default() },
            by_key: None,
            columns: std::iter::repeat_with(Loaded::default).take(slots).collect(),
            page,
            traces,
            run: 0,
            maps: Maps::default(),
            other: Maps::default(),
            peeker: None,
            flags: 0,
            values: 0,
            peers: Vec::new(),
        };
        rows.begin_run();
        Ok(rows)
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

    /// The key of the row behind the next one, where both are of one trace and page.
    pub fn key_behind(&self) -> Option<RowKey> {
        let row = match &self.by_key {
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

    /// The next row as it was sent. For rows that have to be compared.
    pub fn peek(&mut self) -> Result<SpanParts, FormatError> {
        let trace = *self.traces.get(self.run).ok_or(DAMAGED)?;
        let row = self.at.row;
        let first = self.by_key.as_ref().map_or(row, |run| run.rows().start);
        let peeker = self.peeker.get_or_insert_with(|| Rebuilder::new(self.page.clone(), first));
        match &self.by_key {
            Some(run) => peeker.seek_by_key(run.rows(), run.at()),
            None => peeker.seek(row),
        }
        let mut out = Vec::new();
        peeker.peek(trace, &mut out)?;
        let origin = *self.page.core.origin.get(row).ok_or(DAMAGED)?;
        let (resource, scope) = self.page.dictionary.records(origin);
        Ok(SpanParts { resource: resource.clone(), scope: scope.clone(), span: out.into() })
    }

    /// Passes over the next row.
    pub fn skip(&mut self) {
        self.at.pass(&self.page, &mut |_| {});
        self.step();
    }

    /// Goes on behind a row that was passed over.
    fn step(&mut self) {
        if let Some(run) = &mut self.by_key {
            if run.advance(&mut self.at) {
                return;
            }
            self.by_key = None;
        }
        if self.page.core.traces.get(self.run + 1).is_some_and(|begin| *begin as usize <= self.at.row) {
            self.run += 1;
            self.begin_run();
        }
    }

    fn begin_run(&mut self) {
        self.by_key = ByKey::begin(&self.page, self.page.run(self.run), &mut self.at);
    }

    /// Copies the next row.
    pub fn copy_to(&mut self, writer: &mut BlockWriter) -> Result<(), CopyError> {
        let (Some((key, _)), row) = (self.key(), self.at.row) else { return Err(DAMAGED.into()) };
        self.prepare(writer);
        let (class, origin) = (self.page.core.class[row], self.page.core.origin[row]);
        let texts = writer.words.texts.bytes();
        writer.begin_row(key.trace());
        let shape = self.page.dictionary.classes[class as usize].shape;
        let &mut Plan { flags, opaque, .. } = self.plan(writer, shape)?;
        self.flags = flags;
        // Before its values are behind.
        let span = if opaque { Some(self.peek()?.span) } else { None };
        self.values = 0;
        self.peers.clear();
        self.copy_message(writer, shape)?;
        let copied = Row {
            class: self.class(writer, class)?,
            origin: self.origin(writer, origin)?,
            ..self.page.row(row)
        };
        match &span {
            // The shape does not tell enough.
            Some(span) => {
                let (flags, peers) = calls_of(span).map_err(WriteError::from)?;
                let links = links_of(span).map_err(WriteError::from)?;
                writer.push_edge(&copied, flags, &peers, links);
            }
            None => writer.push_known_edge(&copied, self.flags, &self.peers),
        }
        let texts = writer.words.texts.bytes() - texts;
        writer.push_row(copied, ROW_BYTES.max(VALUE_BYTES * self.values) + texts);
        self.at.row += 1;
        self.step();
        Ok(())
    }

    /// Looks things up anew when the block in the making is neither of the last two.
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
        self.maps = Maps {
            writer: writer.serial(),
            classes: unknown(page.dictionary.classes.len()),
            origins: unknown(page.dictionary.origins.len()),
            texts: unknown(2 * local.max(page.texts.len())),
            plans: std::iter::repeat_with(|| None).take(page.dictionary.shapes.len()).collect(),
        };
    }

    fn copy_message(&mut self, writer: &mut BlockWriter, shape: u32) -> Result<u32, CopyError> {
        let plan = self.plan(writer, shape)?;
        let copied = plan.shape;
        // Lent, so that values can be copied meanwhile; a message does not nest in one of its own shape.
        let steps = std::mem::take(&mut plan.steps);
        let result = self.copy_values(writer, &steps);
        self.plan(writer, shape)?.steps = steps;
        result.map(|()| copied)
    }

    fn copy_values(&mut self, writer: &mut BlockWriter, steps: &[Step]) -> Result<(), CopyError> {
        self.values += steps.len();
        for step in steps {
            match step.what {
                What::Event => {
                    let shape = *self.page.values.events.get(self.at.events).ok_or(DAMAGED)?;
                    self.at.events += 1;
                    let copied = self.copy_message(writer, shape)?;
                    writer.columns.events.push(copied);
                    continue;
                }
                What::Link => {
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
            if matches!(step.what, What::Number | What::Flags) {
                let number = *column.numbers.get(at).ok_or(DAMAGED)?;
                if step.what == What::Flags {
                    self.flags = number as u32;
                }
                writer.columns.push_number(step.to, number);
            } else {
                let reference = *column.texts.get(at).ok_or(DAMAGED)?;
                let text = match self.maps.texts.get(reference as usize) {
                    Some(&known) if known != UNKNOWN => known,
                    _ => self.text(writer, reference)?,
                };
                if step.what == What::Peer {
                    self.peers.push((step.to, text));
                }
                writer.columns.texts(step.to).push(text);
            }
        }
        Ok(())
    }

    #[inline]
    fn plan(&mut self, writer: &mut BlockWriter, shape: u32) -> Result<&mut Plan, CopyError> {
        if self.maps.plans[shape as usize].is_none() {
            let plan = self.make_plan(writer, shape)?;
            self.maps.plans[shape as usize] = Some(plan);
        }
        self.maps.plans[shape as usize].as_mut().ok_or_else(|| DAMAGED.into())
    }

    fn make_plan(&mut self, writer: &mut BlockWriter, shape: u32) -> Result<Plan, CopyError> {
        let dictionary = self.page.dictionary.clone();
        let known = &dictionary.shapes[shape as usize];
        let (mut slots, mut steps) = (Vec::with_capacity(known.slots.len()), Vec::new());
        let (mut flags, mut opaque) = (0, false);
        let mut before = UNKNOWN;
        for &from in &known.slots {
            let slot = &dictionary.slots[from as usize];
            let words = &mut writer.words.slots;
            let to = words.intern(words.after(before), slot.level, slot.form, slot.field, &slot.name);
            words.follows(before, to);
            before = to;
            slots.push(to);
            opaque |= slot.is_opaque_call();
            flags = slot.literal_span_flags().unwrap_or(flags);
            let what = match slot.form.value_kind() {
                ValueKind::Number if slot.form == Form::Fixed32 && slot.is_span_flags() => What::Flags,
                ValueKind::Number | ValueKind::Double => What::Number,
                ValueKind::Text if writer.words.slots.is_peer(to) => What::Peer,
                ValueKind::Text => What::Text,
                ValueKind::None if slot.form == Form::Nested && slot.level == Level::Span => {
                    if slot.field == EVENTS { What::Event } else { What::Link }
                }
                ValueKind::None => continue,
            };
            if !matches!(what, What::Event | What::Link) {
                self.load(from, slot.form)?;
                self.name_texts(writer, from)?;
            }
            steps.push(Step { from, to, what });
        }
        let shape = writer.words.shapes.intern(known.flags, &slots);
        Ok(Plan { shape, flags, opaque, steps })
    }

    /// Decodes the values of a slot.
    fn load(&mut self, slot: u32, form: Form) -> Result<(), CopyError> {
        if self.columns[slot as usize].loaded {
            return Ok(());
        }
        let mut column = Loaded { loaded: true, ..Loaded::default() };
        match self.page.values.decode_column(slot, form)?.ok_or(DAMAGED)? {
            Column::Numbers(numbers) => column.numbers = numbers,
            Column::Texts { references, mut index } => {
                index.iter_mut().for_each(|index| *index = references[*index as usize]);
                (column.references, column.texts) = (references, index);
            }
        }
        self.columns[slot as usize] = column;
        Ok(())
    }

    /// Numbers the texts of a column in the block in the making. A merged block takes nearly all of them: side by
    /// side they are faster to write. A fresh one takes few, and what it does not take must not fill it.
    fn name_texts(&mut self, writer: &mut BlockWriter, slot: u32) -> Result<(), CopyError> {
        if writer.is_fresh() {
            return Ok(());
        }
        let references = std::mem::take(&mut self.columns[slot as usize].references);
        let unknown = |maps: &Maps, reference: u32| maps.texts.get(reference as usize) == Some(&UNKNOWN);
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
        *known = writer.words.texts.intern(self.page.values.text(reference, &self.page.texts)?);
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

    fn origin(&mut self, writer: &mut BlockWriter, origin: u32) -> Result<u32, CopyError> {
        if let Some(&known) = self.maps.origins.get(origin as usize).filter(|known| **known != UNKNOWN) {
            return Ok(known);
        }
        let (resource, scope) = self.page.dictionary.records(origin);
        let (resource, scope) = (writer.resource(resource)?, writer.scope(scope));
        let known = writer.origin(resource, scope);
        self.maps.origins[origin as usize] = known;
        Ok(known)
    }
}

/// What a row counts for beside its new texts when pages and blocks are cut by size, and a row of very
/// many values for each of them: thousands of such rows would be a page that nobody can hold.
const ROW_BYTES: usize = 128;
const VALUE_BYTES: usize = 4;
