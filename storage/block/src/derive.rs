//! Derives rollups and edges from the columns of a block, for blocks that are stored without derived sections (fresh
//! ones, most of which are merged before a query reads them).
//!
//! Not for filters: the filter of a fresh block stays in memory, and a block without filters is scanned.

use std::sync::Arc;

use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{RawValue, SpanView};
use spandrel_proto::{SpanId, TraceId};

use crate::dictionary::Dictionary;
use crate::edges::{BlockEdges, EdgeBuilder, EdgeSpan, PeerCandidates, is_peer_key};
use crate::exemplar::Exemplar;
use crate::flags::{RowFlags, shown_duration};
use crate::format::FormatError;
use crate::page::row::{Row, links_of};
use crate::page::{Column, CorePage, OpenPage, Rebuilder};
use crate::rollup::{RollupBuilder, RollupRow};
use crate::shape::{Class, FieldEncoding};
use crate::traces::TraceTable;

/// Computes the rollups of a block from the cores of all its pages.
pub fn rollups(
    dictionary: &Dictionary,
    cores: &[Arc<CorePage>],
    traces: &TraceTable,
) -> Result<Vec<RollupRow>, FormatError> {
    let mut ids = traces.of_rows();
    let mut rollups = RollupBuilder::default();
    for core in cores {
        for row in 0..core.rows() {
            let (class, start) = (core.class[row], core.start[row]);
            let flags = dictionary.flags(class);
            let duration = shown_duration(start, core.duration[row]);
            let trace = ids.next().ok_or(TRACES)?;
            let span = Exemplar { failed: flags.failed(), duration, trace };
            rollups.add(start, dictionary.operation(class), flags, span);
        }
    }
    Ok(rollups.finish())
}

/// Computes the edges of a block from all its pages.
pub fn edges(pages: &[OpenPage], traces: &TraceTable) -> Result<BlockEdges, FormatError> {
    let mut ids = traces.of_rows();
    let mut edges = EdgeBuilder::default();
    for page in pages {
        let mut calls = Calls::new(page);
        for at in 0..page.core.rows() {
            calls.push(at, ids.next().ok_or(TRACES)?, &mut edges)?;
        }
    }
    Ok(edges.into_edges())
}

const TRACES: FormatError = FormatError::Damaged("trace table");
const VALUES: FormatError = FormatError::Damaged("values of a page");

/// Reads the input of edges from the columns of a page, row by row from the first.
struct Calls<'p> {
    page: &'p OpenPage,
    /// By shape.
    plans: Vec<Option<CallPlan>>,
    /// By slot: the values of slots that edges need, and in `taken` how many of them were read.
    columns: Vec<Option<Column>>,
    taken: Vec<usize>,
    /// Rebuilds spans whose shapes do not contain everything that an edge needs.
    spans: Rebuilder,
    span: Vec<u8>,
}

/// How to read the input of edges from messages of one shape.
struct CallPlan {
    /// The span's flags, if they are a part of the shape.
    flags: u32,
    /// Whether the input of an edge has to be read from the span itself.
    opaque: bool,
    /// The slots to read, in their order.
    slots: Vec<u32>,
}

// === impl Calls ===

impl<'p> Calls<'p> {
    fn new(page: &'p OpenPage) -> Self {
        let (slots, shapes) = (page.dictionary.slots.len(), page.dictionary.shapes.len());
        let plans = std::iter::repeat_with(|| None).take(shapes).collect();
        let columns = std::iter::repeat_with(|| None).take(slots).collect();
        let spans = Rebuilder::new(page.clone(), 0);
        Self { page, plans, columns, taken: vec![0; slots], spans, span: Vec::new() }
    }

    /// Adds the next row, which belongs to this trace.
    fn push(&mut self, at: usize, trace: TraceId, edges: &mut EdgeBuilder) -> Result<(), FormatError> {
        let (page, row) = (self.page, self.page.row(at));
        let Class { operation, shape } = page.dictionary.classes[row.class as usize];
        let (service, _) = page.dictionary.operations[operation as usize];
        let of_class = page.dictionary.flags(row.class);
        let plan = match &mut self.plans[shape as usize] {
            Some(known) => known,
            none => none.insert(CallPlan::new(page, shape, &mut self.columns)?),
        };
        let (mut flags, mut peers) = (plan.flags, PeerCandidates::default());
        for &number in &plan.slots {
            let next = &mut self.taken[number as usize];
            match &self.columns[number as usize] {
                Some(Column::Numbers(numbers)) => flags = *numbers.get(*next).ok_or(VALUES)? as u32,
                Some(Column::Texts { references, index }) => {
                    let reference = index.get(*next).and_then(|at| references.get(*at as usize));
                    let text = page.values.text(*reference.ok_or(VALUES)?, &page.texts)?;
                    peers.see(&page.dictionary.slots[number as usize].name, text);
                }
                None => return Err(VALUES),
            }
            *next += 1;
        }
        if !plan.opaque {
            edges.push(trace, edge_span(&row, service, of_class, flags), &peers, std::iter::empty);
            return Ok(());
        }
        self.spans.seek(at);
        self.span.clear();
        self.spans.next(trace, &mut self.span)?;
        let (flags, peers) = calls_of(&self.span).map_err(|_| VALUES)?;
        let links = links_of(&self.span).map_err(|_| VALUES)?;
        edges.push(trace, edge_span(&row, service, of_class, flags), &peers, || links.into_iter());
        Ok(())
    }
}

// === impl CallPlan ===

impl CallPlan {
    /// Decodes the columns that the shape needs and that are not decoded yet.
    fn new(page: &OpenPage, shape: u32, columns: &mut [Option<Column>]) -> Result<Self, FormatError> {
        let (mut plan, known) = (Self { flags: 0, opaque: false, slots: Vec::new() }, &page.dictionary.slots);
        for &number in &page.dictionary.shapes[shape as usize].slots {
            let slot = &known[number as usize];
            plan.opaque |= slot.is_opaque_call();
            plan.flags = slot.literal_span_flags().unwrap_or(plan.flags);
            if slot.is_peer() || slot.encoding == FieldEncoding::Fixed32 && slot.is_span_flags() {
                plan.slots.push(number);
                let column = &mut columns[number as usize];
                if column.is_none() {
                    *column = page.values.decode_column(number, slot.encoding)?;
                }
            }
        }
        Ok(plan)
    }
}

/// Reads a span's flags and the names of the peer from the span itself.
pub(crate) fn calls_of(span: &[u8]) -> Result<(u32, PeerCandidates<'_>), WireError> {
    let view = SpanView::parse(span)?;
    let mut peers = PeerCandidates::default();
    view.visit_raw_attributes(|key, value| {
        if let RawValue::String(text) = value
            && is_peer_key(key)
        {
            peers.see(key, text);
        }
    })?;
    Ok((view.flags, peers))
}

/// Builds the input of an edge from the row, its service, the flags of its class and the span's flags as sent.
pub(crate) fn edge_span(row: &Row, service: u32, of_class: RowFlags, flags: u32) -> EdgeSpan {
    EdgeSpan {
        id: row.span_id,
        parent: SpanId::from_bytes(row.parent.to_be_bytes()),
        has_parent: of_class.has_parent(),
        start: row.start,
        duration: shown_duration(row.start, row.duration),
        service,
        kind: of_class.kind(),
        flags,
        failed: of_class.failed(),
    }
}
