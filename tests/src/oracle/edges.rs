//! The expected edges of a list of spans: the rules, applied to every pair of spans.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spandrel_proto::TimeRange;
use spandrel_storage::EdgeKind;

use super::{failed, service, value};
use crate::spans::{HOUR, MINUTE, Sent};

/// Caller, callee, kind.
pub type Edge = (String, String, EdgeKind);

/// The calls of an edge: whether each failed, its duration and its trace.
#[derive(Debug, Default)]
pub struct Calls(Vec<(bool, u64, Vec<u8>)>);

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

impl Calls {
    /// Calls, and failed calls.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.len() as u64, self.0.iter().filter(|call| call.0).count() as u64)
    }

    pub fn durations(&self) -> Vec<u64> {
        self.0.iter().map(|call| call.1).collect()
    }

    /// The worst calls, at most one of each trace.
    pub fn worst(&self, n: usize) -> Vec<(bool, u64)> {
        let mut by_trace: BTreeMap<&[u8], (bool, u64)> = BTreeMap::new();
        for (failed, duration, trace) in &self.0 {
            let worst = by_trace.entry(trace).or_default();
            *worst = (*worst).max((*failed, *duration));
        }
        let mut worst: Vec<_> = by_trace.into_values().collect();
        worst.sort_by(|a, b| b.cmp(a));
        worst.truncate(n);
        worst
    }
}

/// The edges of spans with different IDs, in the minutes of a range, as of a time.
pub fn edges(spans: &[Sent], range: TimeRange, now: u64) -> BTreeMap<Edge, Calls> {
    let mut edges: BTreeMap<Edge, Calls> = BTreeMap::new();
    let mut answered = BTreeSet::new();
    let mut add = |edge: (&str, &str, EdgeKind), told_by: &Sent, has_failed: bool| {
        let minute = told_by.start() / MINUTE;
        let begun = minute >= range.start.0 / MINUTE;
        let empty = range.end.is_some_and(|end| end <= range.start);
        if begun && !empty && range.end.is_none_or(|end| minute * MINUTE < end.0) {
            let key = (edge.0.to_owned(), edge.1.to_owned(), edge.2);
            let call = (has_failed, told_by.duration(), told_by.span.trace_id.clone());
            edges.entry(key).or_default().0.push(call);
        }
    };
    for callee in spans {
        let receives = operation(callee) == Some("receive");
        let consumes = callee.span.kind == CONSUMER || receives;
        let is_entry = callee.span.kind == SERVER || consumes;
        let is_local = callee.span.flags & 0x300 == 0x100 && (!is_entry || receives);
        for (at, caller) in spans.iter().enumerate() {
            let is_parent = caller.trace() == callee.trace()
                && caller.span.span_id == callee.span.parent_span_id
                && caller.id() != callee.id()
                && !is_local;
            let links = callee.span.links.iter();
            let is_linked = links
                .into_iter()
                .any(|link| (&link.trace_id, &link.span_id) == (&caller.span.trace_id, &caller.span.span_id));
            let is_producer = caller.span.kind == PRODUCER;
            let by_link = is_linked && is_producer && consumes && !is_parent;
            if !is_parent && !by_link || receives && !is_producer {
                continue;
            }
            let (from, to) = (service(caller), service(callee));
            if from != to {
                let messaging = is_producer || callee.span.kind == CONSUMER;
                let kind = if messaging { EdgeKind::Messaging } else { EdgeKind::Rpc };
                add((from, to, kind), callee, failed(caller) || failed(callee));
            }
            if from != to || is_entry {
                answered.insert(at);
            }
        }
        if is_entry && callee.span.parent_span_id.is_empty() {
            let is_linked = consumes && !callee.span.links.is_empty();
            let keys: &[&str] = match consumes {
                true => &["peer.service", "messaging.destination.name", "messaging.system"],
                false => &["peer.service"],
            };
            if !is_linked {
                let caller = first(callee, keys).unwrap_or("user");
                add((caller, service(callee), EdgeKind::Virtual), callee, failed(callee));
            }
        }
    }
    for (at, caller) in spans.iter().enumerate() {
        if answered.contains(&at) || !matches!(caller.span.kind, CLIENT | PRODUCER) {
            continue;
        }
        if matches!(operation(caller), Some("receive" | "send" | "settle" | "publish")) {
            continue;
        }
        let database = ["db.namespace", "db.name", "db.system.name", "db.system"];
        if first(caller, &database).is_some() {
            let name = first(caller, &["peer.service"]).or(first(caller, &database)).unwrap();
            add((service(caller), name, EdgeKind::Database), caller, failed(caller));
            continue;
        }
        let peers = ["peer.service", "messaging.destination.name", "messaging.system", "server.address"];
        let end = caller.start() + caller.duration();
        let has_waited = end + MINUTE <= now || now > caller.start() + 100 * HOUR;
        if let (true, Some(name)) = (has_waited, first(caller, &peers)) {
            add((service(caller), name, EdgeKind::Virtual), caller, failed(caller));
        }
    }
    edges
}

/// The messaging operation of a CLIENT, if it has one.
fn operation(sent: &Sent) -> Option<&str> {
    let said = first(sent, &["messaging.operation.type", "messaging.operation"]);
    said.filter(|_| sent.span.kind == CLIENT)
}

/// The first of these attributes that the span has as a text that is not empty.
fn first<'a>(sent: &'a Sent, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| {
        let attribute = sent.span.attributes.iter().rfind(|attribute| attribute.key == *key)?;
        match value(attribute) {
            Some(Value::StringValue(text)) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        }
    })
}
