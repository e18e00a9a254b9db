//! Streams a trace as OTLP, JSON or protobuf: lossless, any size, with at most a few hundred spans in memory.

use std::ops::ControlFlow;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::wire::{WireError, put_bytes};
use spandrel_proto::otlp::{SpanRecord, write_request_json};
use spandrel_storage::{ReadError, StoredSpan};

use crate::executor::{Output, StreamError};
use crate::problem::Problem;

/// Spans that are read before they are grouped by resource and scope and written.
const GROUP_SPANS: usize = 512;

/// Bytes at which spans are written though they are fewer.
const GROUP_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtlpFormat {
    /// One JSON document `{"resourceSpans":[…]}`.
    Json,
    /// One protobuf message `TracesData`. Concatenated messages are one message, so it is written in pieces.
    Protobuf,
}

/// Spans of the same resource and scope, next to each other.
struct Group<'a> {
    resource: &'a Bytes,
    scope: &'a Bytes,
    spans: Vec<&'a Bytes>,
}

// === impl OtlpFormat ===

impl OtlpFormat {
    /// The `Content-Type` of the response.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// Writes all spans. Returns false if there were none.
    pub(crate) fn write(
        self,
        out: &mut Output,
        mut spans: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    ) -> Result<bool, StreamError> {
        // An empty document, to be split around its list.
        let mut frame = Vec::new();
        write_request_json(&mut frame, []).map_err(unreadable)?;
        let (opening, closing) = frame.split_at(frame.len() - 2);
        let mut pieces = 0;
        loop {
            let chunk = next_chunk(&mut spans)?;
            if chunk.is_empty() {
                break;
            }
            let groups = grouped(&chunk);
            match self {
                Self::Protobuf => write_protobuf(&mut out.buffer, &groups),
                Self::Json => {
                    out.buffer.extend_from_slice(if pieces == 0 { opening } else { b"," });
                    write_json_piece(&mut out.buffer, &groups, opening.len()).map_err(unreadable)?;
                }
            }
            pieces += 1;
            out.spill()?;
        }
        if self == Self::Json && pieces > 0 {
            out.buffer.extend_from_slice(closing);
        }
        Ok(pieces > 0)
    }
}

/// Writes all spans as documents, one a line, as the file exporter of OpenTelemetry's collector does.
pub(crate) fn write_lines(
    out: &mut Output,
    mut spans: impl Iterator<Item = Result<StoredSpan, ReadError>>,
) -> Result<(), StreamError> {
    loop {
        let chunk = next_chunk(&mut spans)?;
        if chunk.is_empty() {
            return Ok(());
        }
        write_request_json(&mut out.buffer, records(&grouped(&chunk))).map_err(unreadable)?;
        out.buffer.push(b'\n');
        out.spill()?;
    }
}

fn unreadable(error: WireError) -> Problem {
    Problem::unreadable(format!(
        "a stored span could not be read ({error}); ask for the tree, which leaves it out"
    ))
}

fn next_chunk(
    spans: &mut impl Iterator<Item = Result<StoredSpan, ReadError>>,
) -> Result<Vec<StoredSpan>, ReadError> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    let end = spans.try_for_each(|span| match span {
        Err(error) => ControlFlow::Break(Err(error)),
        Ok(span) => {
            bytes += span.span.len();
            chunk.push(span);
            let full = chunk.len() == GROUP_SPANS || bytes >= GROUP_BYTES;
            if full { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
        }
    });
    match end {
        ControlFlow::Break(Err(error)) => Err(error),
        _ => Ok(chunk),
    }
}

/// Groups by resource and scope, those of one resource next to each other.
fn grouped(chunk: &[StoredSpan]) -> Vec<Group<'_>> {
    let mut resources: FxHashMap<&Bytes, usize> = FxHashMap::default();
    let mut places: FxHashMap<(&Bytes, &Bytes), usize> = FxHashMap::default();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for span in chunk {
        let place = *places.entry((&span.resource, &span.scope)).or_insert_with(|| {
            groups.push(Group { resource: &span.resource, scope: &span.scope, spans: Vec::new() });
            groups.len() - 1
        });
        groups[place].spans.push(&span.span);
        resources.entry(&span.resource).or_insert(place);
    }
    groups.sort_by_key(|group| resources[group.resource]);
    groups
}

fn records<'a>(groups: &'a [Group<'a>]) -> impl Iterator<Item = SpanRecord<'a>> {
    groups.iter().flat_map(|group| {
        group.spans.iter().map(|span| SpanRecord { resource: group.resource, scope: group.scope, span })
    })
}

/// Appends the members of one document's list, without the document around it.
fn write_json_piece(out: &mut Vec<u8>, groups: &[Group<'_>], opening: usize) -> Result<(), WireError> {
    let mut document = Vec::new();
    write_request_json(&mut document, records(groups))?;
    out.extend_from_slice(&document[opening..document.len() - 2]);
    Ok(())
}

/// Appends `resource_spans` fields of a `TracesData` message.
fn write_protobuf(out: &mut Vec<u8>, groups: &[Group<'_>]) {
    for group in groups.chunk_by(|a, b| a.resource == b.resource) {
        let mut resource = group[0].resource.to_vec();
        for Group { scope, spans, .. } in group {
            let mut scope = scope.to_vec();
            spans.iter().for_each(|span| put_bytes(&mut scope, 2, span));
            put_bytes(&mut resource, 2, &scope);
        }
        put_bytes(out, 1, &resource);
    }
}
