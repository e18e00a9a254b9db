//! Random traces, and the batches in which their spans arrive.

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::dice::Dice;
use super::pools::{DURATIONS, EVENTS, KEYS, MESH, MESSAGES, NAMES, SCOPES, SERVICES, Sort, value};
use crate::plain::trace::{CLIENT, SERVER, Sent};

pub const SECOND: u64 = 1_000_000_000;
pub const MINUTE: u64 = 60 * SECOND;
/// A whole hour in 2023.
pub const BEGIN: u64 = 472_222 * 3_600 * SECOND;
/// All spans start within these minutes.
pub const MINUTES: u64 = 6;
/// The batches in which spans are sent.
pub const BATCHES: usize = 4;

/// Spans of some traces by batch. Equal spans are sent twice if `duplicates` says so.
pub fn batches(dice: &Dice, duplicates: bool) -> Vec<Vec<Sent>> {
    let mut batches = vec![Vec::new(); BATCHES];
    let traces = 2 + dice.below(4);
    for trace in 1..=traces {
        for span in spans(dice, trace) {
            if duplicates && dice.percent(10) {
                batches[dice.below(BATCHES as u64) as usize].push(span.clone());
            }
            batches[dice.below(BATCHES as u64) as usize].push(span);
        }
    }
    batches
}

/// The spans of a trace. No two share start and ID, since nothing says which of them comes first.
fn spans(dice: &Dice, trace: u64) -> Vec<Sent> {
    // More spans than a summary names come now and then.
    let count = if dice.percent(5) { 25 } else { 1 + dice.below(12) };
    let begin = BEGIN + dice.below(MINUTES - 1) * MINUTE + dice.below(4) * 10 * SECOND;
    let mut spans: Vec<Sent> = Vec::new();
    for id in 1..=count {
        let span = span(dice, trace, id, count, begin);
        if span.span.kind == CLIENT && dice.percent(40) {
            let shared = Sent { span: other_side(dice, &span.span), ..span_like(dice, &span) };
            spans.push(shared);
        }
        spans.push(span);
    }
    let mut known = HashSet::new();
    for sent in &mut spans {
        while !known.insert((sent.start(), sent.id().to_vec())) {
            sent.span.start_time_unix_nano += 1;
        }
    }
    spans
}

fn span(dice: &Dice, trace: u64, id: u64, count: u64, begin: u64) -> Sent {
    let start = begin + dice.below(5) * DURATIONS[3] + dice.below(3);
    let duration = dice.pick(&DURATIONS);
    let ends_before = dice.percent(3);
    let mut attributes = attributes(dice, 7);
    if dice.percent(25) {
        attributes.extend(of_mesh(dice));
    }
    let span = Span {
        trace_id: trace_id(trace),
        span_id: span_id(id),
        parent_span_id: parent(dice, id, count),
        flags: dice.pick(&[0, 0, 0x100, 0x300]),
        name: dice.pick(&NAMES).to_owned(),
        kind: dice.pick(&[0, 1, 1, SERVER, SERVER, CLIENT, CLIENT, 4, 5, 9]),
        start_time_unix_nano: start,
        end_time_unix_nano: if ends_before { start - 5 } else { start + duration },
        attributes,
        events: events(dice, start),
        links: links(dice),
        status: status(dice),
        ..Span::default()
    };
    Sent { resource: resource(dice), scope: scope(dice), span }
}

/// The server's side of a call, with the ID of the client's side.
fn other_side(dice: &Dice, client: &Span) -> Span {
    let start = client.start_time_unix_nano + dice.below(4) * DURATIONS[2];
    Span {
        kind: SERVER,
        name: dice.pick(&NAMES).to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + dice.pick(&DURATIONS),
        attributes: attributes(dice, 5),
        events: Vec::new(),
        links: Vec::new(),
        ..client.clone()
    }
}

/// A span of the same service or of another one.
fn span_like(dice: &Dice, span: &Sent) -> Sent {
    if dice.percent(30) { span.clone() } else { Sent { resource: resource(dice), ..span.clone() } }
}

/// The ID of an earlier span, mostly; else of one that is missing, or that may close a cycle, or none.
fn parent(dice: &Dice, id: u64, count: u64) -> Vec<u8> {
    match dice.below(20) {
        0 | 1 => Vec::new(),
        2 => vec![0; 8],
        3 => span_id(99),
        4 => span_id(1 + dice.below(count)),
        _ if id == 1 => Vec::new(),
        _ => span_id(1 + dice.below(id - 1)),
    }
}

pub fn trace_id(trace: u64) -> Vec<u8> {
    u128::from(trace).to_be_bytes().to_vec()
}

pub fn span_id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn status(dice: &Dice) -> Option<Status> {
    let code = dice.pick(&[0, 0, 1, 2]);
    let message = dice.pick(&MESSAGES).to_owned();
    (code != 0 || !message.is_empty()).then_some(Status { message, code })
}

fn resource(dice: &Dice) -> Resource {
    let mut attributes = attributes(dice, 3);
    if dice.percent(10) {
        attributes.extend(of_mesh(dice));
    }
    if dice.percent(90) {
        attributes.push(text("service.name", dice.pick(&SERVICES)));
    }
    if dice.percent(40) {
        attributes.push(text("service.instance.id", dice.pick(&["i1", "i2"])));
    }
    if dice.percent(10) {
        attributes.push(text("service.namespace", "prod"));
    }
    Resource { attributes, ..Resource::default() }
}

fn scope(dice: &Dice) -> InstrumentationScope {
    InstrumentationScope {
        name: dice.pick(&SCOPES).to_owned(),
        version: dice.pick(&["", "2"]).to_owned(),
        attributes: attributes(dice, 2),
        ..InstrumentationScope::default()
    }
}

fn events(dice: &Dice, start: u64) -> Vec<Event> {
    let count = dice.below(6).saturating_sub(3);
    let event = || Event {
        time_unix_nano: start + dice.pick(&DURATIONS) - dice.below(2),
        name: dice.pick(&EVENTS).to_owned(),
        attributes: attributes(dice, 2),
        ..Event::default()
    };
    (0..count).map(|_| event()).collect()
}

fn links(dice: &Dice) -> Vec<Link> {
    let count = dice.below(6).saturating_sub(3);
    let link = || Link {
        trace_id: trace_id(1 + dice.below(3)),
        span_id: span_id(1 + dice.below(3)),
        attributes: attributes(dice, 2),
        ..Link::default()
    };
    (0..count).map(|_| link()).collect()
}

/// Up to `most` attributes, of which some repeat a key; but for `error`, which says once whether a span has
/// failed.
fn attributes(dice: &Dice, most: u64) -> Vec<KeyValue> {
    let mut attributes: Vec<KeyValue> = Vec::new();
    for _ in 0..dice.below(most + 1) {
        let (key, sort) = match attributes.last() {
            Some(last) if dice.percent(20) => (key_named(&last.key), sort_of(&last.key)),
            _ => dice.pick(&KEYS),
        };
        if key != "error" || attributes.iter().all(|known| known.key != key) {
            let value = (!dice.percent(2)).then(|| value(dice, sort));
            attributes.push(key_value(key, value));
        }
    }
    attributes
}

/// What a proxy tells of a request, all as texts.
fn of_mesh(dice: &Dice) -> Vec<KeyValue> {
    let told = MESH.iter().filter(|_| dice.percent(70));
    told.map(|(key, values)| text(key, dice.pick(values))).collect()
}

fn key_named(key: &str) -> &'static str {
    KEYS.into_iter().find(|(known, _)| *known == key).unwrap().0
}

fn sort_of(key: &str) -> Sort {
    KEYS.into_iter().find(|(known, _)| *known == key).unwrap().1
}

fn text(key: &str, text: &str) -> KeyValue {
    key_value(key, Some(any_value::Value::StringValue(text.to_owned())))
}

fn key_value(key: &str, value: Option<any_value::Value>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}
