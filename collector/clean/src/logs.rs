//! Takes the log records of one request through the rules, record by record.
//!
//! A record is seen as a span that has nothing but this one event, so that conditions on events, resource, scope and IDs,
//! and changes of `event.` and `.key`, mean what they mean for span events. A rule whose condition asks for anything of
//! the span itself (name, kind, status, times, its attributes, links) says nothing of logs: they have none of that, and
//! `duration < 1ms` must not take them for short spans.

use spandrel_proto::TraceId;
use spandrel_proto::otlp::wire::{Reader, Value};

use crate::engine::{Left, Of, Pass};

/// A row of the records that are left, with its resource and scope.
pub(crate) type LeftRow = (u32, u32, Vec<u8>);

/// What is left of a row of log records.
pub(crate) struct LeftRows {
    pub(crate) rows: Vec<LeftRow>,
    /// Records that are gone.
    pub(crate) dropped: u64,
}

impl Pass<'_> {
    /// Takes a row of log records through the rules; `None` if all of it stays as it is.
    pub(crate) fn log_row(&mut self, trace: TraceId, row: &[u8], around: (u32, u32)) -> Option<LeftRows> {
        let (head, events) = split(row);
        let (mut rows, mut dropped): (Vec<LeftRow>, u64) = (Vec::new(), 0);
        let (mut changed, mut one) = (false, Vec::new());
        for event in events {
            one.clear();
            one.extend_from_slice(head);
            one.extend_from_slice(event);
            let (mut resource, mut scope) = around;
            let left = self.span(Of::Log, trace, &one, (&mut resource, &mut scope), &mut ());
            changed |= !matches!(left, Left::Same) || (resource, scope) != around;
            let event = match &left {
                Left::Nothing => {
                    dropped += 1;
                    continue;
                }
                Left::Same => event,
                Left::Changed(now) => &now[head.len()..],
            };
            match rows.iter_mut().find(|(own, its, _)| (*own, *its) == (resource, scope)) {
                Some((.., row)) => row.extend_from_slice(event),
                None => rows.push((resource, scope, [head, event].concat())),
            }
        }
        changed.then_some(LeftRows { rows, dropped })
    }
}

/// The fields before the records, and the field of each record.
fn split(row: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let mut reader = Reader::new(row);
    let (mut head, mut events) = (row.len(), Vec::new());
    while let Ok(Some(field)) = reader.next_field() {
        if let (11, Value::Bytes(_)) = (field.number, field.value) {
            head = head.min(field.begin);
            events.push(&row[field.begin..field.end]);
        }
    }
    (&row[..head], events)
}
