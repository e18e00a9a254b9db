//! Streams a trace as OTLP, its spans and its logs, JSON or protobuf: lossless, any size, with at most a few hundred spans in memory.

use std::ops::ControlFlow;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::wire::{WireError, put_bytes};
use spandrel_proto::otlp::{SpanRecord, SpanView, logs_of, write_logs_json, write_request_json};
use spandrel_storage::{ReadError, StoredSpan};

use crate::executor::{Output, StreamError};
use crate::problem::Problem;

/// Spans that are read before they are grouped by resource and scope and written.
const GROUP_SPANS: usize = 512;

/// Bytes at which spans are written though they are fewer.
const GROUP_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtlpFormat {
    /// One JSON document `{"resourceSpans":[…]}`, with a member `resourceLogs` if the trace has logs.
    Json,
    /// One protobuf message `TracesData`. Concatenated messages are one message, so it is written in pieces. It has no
    /// room for logs.
    Protobuf,
    /// One JSON document `{"resourceLogs":[…]}`.
    LogsJson,
    /// One protobuf message `LogsData`, in pieces.
    LogsProtobuf,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Spans,
    Logs,
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
            Self::Json | Self::LogsJson => "application/json",
            Self::Protobuf | Self::LogsProtobuf => "application/x-protobuf",
        }
    }

    /// Whether it is a format of logs alone, which a trace may have none of.
    pub(crate) fn is_of_logs(self) -> bool {
        matches!(self, Self::LogsJson | Self::LogsProtobuf)
    }

    /// Writes all spans and log records that the format has room for. Returns false if there were neither.
    pub(crate) fn write(
        self,
        out: &mut Output,
        mut spans: impl Iterator<Item = Result<StoredSpan, ReadError>>,
        mut logs: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    ) -> Result<bool, StreamError> {
        match self {
            Self::Protobuf => write_messages(out, Signal::Spans, &mut spans),
            Self::LogsProtobuf => write_messages(out, Signal::Logs, &mut logs),
            Self::LogsJson => {
                out.buffer.push(b'{');
                let any = write_member(out, Signal::Logs, &mut logs)?;
                out.buffer.push(b'}');
                Ok(any)
            }
            Self::Json => {
                let first_log = logs.next();
                out.buffer.push(b'{');
                let mut any = write_member(out, Signal::Spans, &mut spans)?;
                if let Some(first) = first_log {
                    out.buffer.push(b',');
                    any |= write_member(out, Signal::Logs, &mut std::iter::once(first).chain(logs))?;
                }
                out.buffer.push(b'}');
                Ok(any)
            }
        }
    }
}

/// Writes a member with a list; returns whether anything is in it.
fn write_member(
    out: &mut Output,
    signal: Signal,
    rows: &mut impl Iterator<Item = Result<StoredSpan, ReadError>>,
) -> Result<bool, StreamError> {
    // An empty document, to be split around its list.
    let mut frame = Vec::new();
    signal.write_json(&mut frame, &[]).map_err(unreadable)?;
    let (opening, closing) = (&frame[1..frame.len() - 2], b"]");
    out.buffer.extend_from_slice(opening);
    let mut any = false;
    loop {
        let chunk = next_chunk(rows)?;
        if chunk.is_empty() {
            break;
        }
        if any {
            out.buffer.push(b',');
        }
        let mut document = Vec::new();
        signal.write_json(&mut document, &grouped(&chunk)).map_err(unreadable)?;
        out.buffer.extend_from_slice(&document[frame.len() - 2..document.len() - 2]);
        any = true;
        out.spill()?;
    }
    out.buffer.extend_from_slice(closing);
    Ok(any)
}

/// Writes `resource_spans` or `resource_logs` fields; returns whether there were any.
fn write_messages(
    out: &mut Output,
    signal: Signal,
    rows: &mut impl Iterator<Item = Result<StoredSpan, ReadError>>,
) -> Result<bool, StreamError> {
    let mut any = false;
    loop {
        let chunk = next_chunk(rows)?;
        if chunk.is_empty() {
            return Ok(any);
        }
        write_protobuf(&mut out.buffer, signal, &grouped(&chunk)).map_err(unreadable)?;
        any = true;
        out.spill()?;
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

/// Appends `resource_spans` or `resource_logs` fields of a `TracesData` or `LogsData` message, which have the same numbers.
fn write_protobuf(out: &mut Vec<u8>, signal: Signal, groups: &[Group<'_>]) -> Result<(), WireError> {
    for group in groups.chunk_by(|a, b| a.resource == b.resource) {
        let mut resource = group[0].resource.to_vec();
        for Group { scope, spans, .. } in group {
            let mut scope = scope.to_vec();
            for row in spans {
                match signal {
                    Signal::Spans => put_bytes(&mut scope, 2, row),
                    Signal::Logs => put_logs(&mut scope, row)?,
                }
            }
            put_bytes(&mut resource, 2, &scope);
        }
        put_bytes(out, 1, &resource);
    }
    Ok(())
}

fn put_logs(scope: &mut Vec<u8>, row: &[u8]) -> Result<(), WireError> {
    let row = SpanView::parse(row)?;
    for log in logs_of(&row) {
        let mut message = Vec::new();
        log?.write_message(&mut message, &row)?;
        put_bytes(scope, 2, &message);
    }
    Ok(())
}

// === impl Signal ===

impl Signal {
    fn write_json(self, out: &mut Vec<u8>, groups: &[Group<'_>]) -> Result<(), WireError> {
        match self {
            Self::Spans => write_request_json(out, records(groups)),
            Self::Logs => write_logs_json(out, records(groups)),
        }
    }
}
