//! What follows from the columns of a block: its rollups and its edges, for blocks that were written
//! without (fresh ones, which are merged before most questions come).
//!
//! Not for filters: a block without them is looked at.

use std::sync::Arc;

use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{RawValue, SpanView};
use spandrel_proto::{SpanId, TraceId};

use crate::dictionary::Dictionary;
use crate::edges::{BlockEdges, EdgeBuilder, EdgeSpan, Exemplar, PeerCandidates, is_peer_key};
use crate::flags::{RowFlags, shown_duration};
use crate::format::FormatError;
use crate::page::{CorePage, OpenPage, Rebuilder};
use crate::rollup::{RollupBuilder, RollupRow};
use crate::traces::TraceTable;
use crate::writer::{Row, links_of};

/// The rollups of a block, from the cores of all its pages.
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

/// The edges of a block, from all its pages.
pub fn edges(pages: &[OpenPage], traces: &TraceTable) -> Result<BlockEdges, FormatError> {
    let mut ids = traces.of_rows();
    let (mut edges, mut span) = (EdgeBuilder::default(), Vec::new());
    for page in pages {
        let mut spans = Rebuilder::new(page.clone(), 0);
        for at in 0..page.core.rows() {
            let trace = ids.next().ok_or(TRACES)?;
            span.clear();
            spans.next(trace, &mut span)?;
            let row = page.row(at);
            let (service, _) = &page.dictionary.operations[page.dictionary.operation(row.class) as usize];
            let of_class = page.dictionary.flags(row.class);
            push_edge(&mut edges, trace, &row, *service, of_class, &span)
                .map_err(|_| FormatError::Damaged("values of a page"))?;
        }
    }
    Ok(edges.into_edges())
}

const TRACES: FormatError = FormatError::Damaged("trace table");

fn push_edge(
    edges: &mut EdgeBuilder,
    trace: TraceId,
    row: &Row,
    service: u32,
    of_class: RowFlags,
    span: &[u8],
) -> Result<(), WireError> {
    let (flags, peers) = calls_of(span)?;
    let links = links_of(span)?;
    edges.push(trace, edge_span(row, service, of_class, flags), &peers, || links.into_iter());
    Ok(())
}

/// What a span itself says of its call: its flags, and names of the other side.
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

/// What edges are made of, given the row, its service, its class and the span's flags as sent.
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
