//! The edges of a block that lacks them, found in its spans: for blocks written before edges were.

use std::sync::Arc;

use spandrel_block::{BlockEdges, EdgeBuilder, FormatError, PeerCandidates, semantics};
use spandrel_proto::otlp::{ResourceView, SpanView};

use crate::store::block::{BlockEntry, BlockError, BlockReader};
use crate::store::rows::{BlockRows, MergedRows};

/// Reads all spans of a block.
pub(super) fn edges(reader: &Arc<BlockReader>, entry: &Arc<BlockEntry>) -> Result<BlockEdges, BlockError> {
    let dictionary = reader.dictionary(entry)?;
    let mut rows = MergedRows::new([BlockRows::open(reader, entry, 0..entry.row.meta.spans, false)?]);
    let mut builder = EdgeBuilder::default();
    for row in rows.by_ref() {
        let resource = ResourceView::parse(&row.resource)?;
        let name = semantics::service_name(&resource);
        let service = dictionary.services.iter().position(|known| known == name);
        let service = service.ok_or(FormatError::Damaged("dictionary"))? as u32;
        let span = SpanView::parse(&row.span)?;
        let mut peers = PeerCandidates::of(&span);
        span.visit_raw_attributes(|key, value| peers.see(key, value))?;
        builder.push(row.key.0, &span, &peers, service, semantics::has_failed(&span)?)?;
    }
    match rows.take_failed().pop() {
        Some((_, error)) => Err(error),
        None => Ok(builder.into_edges()),
    }
}
