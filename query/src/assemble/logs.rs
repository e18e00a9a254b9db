//! Log records of a trace, each at its span (`docs/semantics.md#logs-of-spans`).
//!
//! A record names its span by ID alone. Where spans share an ID, as client and server may, it belongs to the first of its
//! own service, else to the first, as in the store's tables. A record whose span is not stored stays with the trace.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::SpanId;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{EventView, LogView, SpanView};
use spandrel_storage::semantics::exception_type;

use super::model::{Log, Logs, Resource, Span};

/// What happened at a span: an event of it, or a log record.
pub(crate) enum Happening<'a> {
    Event(EventView<'a>),
    /// The record, and whether the span has the same exception as an event, which is left out.
    Log(&'a Log, LogView<'a>, bool),
}

/// What tells exceptions apart: type and message, and the stack trace where both have one.
#[derive(Clone, Copy)]
struct Exception<'a> {
    what: (&'a str, Option<&'a str>),
    stack: Option<&'a str>,
}

// === impl Logs ===

impl Logs {
    /// Joins records to spans.
    pub(super) fn join(mut records: Vec<Log>, spans: &[Span], resources: &[Resource]) -> Self {
        records.sort_by(|a, b| a.key().cmp(&b.key()));
        records.dedup_by(|a, b| a.key() == b.key());
        let mut places: FxHashMap<SpanId, Vec<u32>> = FxHashMap::default();
        if !records.is_empty() {
            for (place, span) in (0u32..).zip(spans) {
                // What a folded span logged stands with the span that it is a part of.
                for id in std::iter::once(span.id).chain(span.folded.iter().map(|folded| folded.id)) {
                    places.entry(id).or_default().push(place);
                }
            }
        }
        let service = |resource: u32| &resources[resource as usize].service;
        let (mut of_spans, mut of_unknown): (FxHashMap<u32, Vec<u32>>, _) = Default::default();
        for (number, record) in (0u32..).zip(&records) {
            let known = places.get(&record.span).map_or(&[][..], Vec::as_slice);
            let is_own = |place: &&u32| service(spans[**place as usize].resource) == service(record.resource);
            match known.iter().find(is_own).or(known.first()) {
                Some(place) => of_spans.entry(*place).or_default().push(number),
                None => Vec::push(&mut of_unknown, number),
            }
        }
        of_unknown.sort_by_key(|number| records[*number as usize].time);
        Self { records, of_spans, of_unknown }
    }

    pub(crate) fn get(&self, number: u32) -> &Log {
        &self.records[number as usize]
    }

    /// The records of the span at a place, in the order of their times.
    pub(crate) fn of_span(&self, place: usize) -> impl Iterator<Item = &Log> {
        let numbers = u32::try_from(place).ok().and_then(|place| self.of_spans.get(&place));
        numbers.into_iter().flatten().map(|number| self.get(*number))
    }

    /// What happened at the span at a place: its events as sent, or, if it has log records, events and records in the
    /// order of their times. An exception that is both is there once.
    pub(crate) fn happenings<'a>(
        &'a self,
        place: usize,
        span: &SpanView<'a>,
    ) -> Result<Vec<Happening<'a>>, WireError> {
        let logs = self.of_span(place).map(|log| Ok((log, LogView::parse(&log.event)?)));
        let logs: Vec<(&Log, LogView<'a>)> = logs.collect::<Result<_, WireError>>()?;
        if logs.is_empty() {
            return span.events().map(|event| event.map(Happening::Event)).collect();
        }
        let mut logged: FxHashMap<_, Vec<usize>> = FxHashMap::default();
        let of_logs: Vec<_> = logs.iter().map(|(_, log)| exception(&log.event)).collect();
        for (at, exception) in of_logs.iter().enumerate() {
            exception.iter().for_each(|exception| logged.entry(exception.what).or_default().push(at));
        }
        let (mut found, mut are_events) = (Vec::new(), vec![false; logs.len()]);
        for event in span.events() {
            let event = event?;
            match log_of(&event, &logged, &of_logs, &are_events) {
                Some(at) => are_events[at] = true,
                None => found.push(Happening::Event(event)),
            }
        }
        for ((log, view), is_event) in logs.into_iter().zip(are_events) {
            found.push(Happening::Log(log, view, is_event));
        }
        found.sort_by_key(Happening::time);
        Ok(found)
    }
}

/// The log record that tells of the same exception as an event, and of none before.
fn log_of<'a>(
    event: &EventView<'a>,
    logged: &FxHashMap<(&'a str, Option<&'a str>), Vec<usize>>,
    of_logs: &[Option<Exception<'a>>],
    taken: &[bool],
) -> Option<usize> {
    let own = exception(event)?;
    let same_stack = |at: &usize| {
        let other = of_logs[*at].and_then(|other| other.stack);
        own.stack.zip(other).is_none_or(|(own, other)| own == other)
    };
    logged.get(&own.what)?.iter().copied().find(|at| !taken[*at] && same_stack(at))
}

fn exception<'a>(event: &EventView<'a>) -> Option<Exception<'a>> {
    let text = |key| event.attributes().string(key);
    let what = (exception_type(event)?, text("exception.message"));
    Some(Exception { what, stack: text("exception.stacktrace") })
}

// === impl Log, Happening ===

impl Log {
    /// Equal for a record that is stored twice.
    fn key(&self) -> (SpanId, u64, &Bytes, u32, u32) {
        (self.span, self.time, &self.event, self.resource, self.scope)
    }
}

impl Happening<'_> {
    fn time(&self) -> u64 {
        match self {
            Self::Event(event) => event.time,
            Self::Log(log, ..) => log.time,
        }
    }
}
