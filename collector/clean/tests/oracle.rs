//! Random rules on random spans do what a plain evaluator does on decoded messages, and leave what nothing knows.

use std::convert::Infallible;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use spandrel_clean::{HashKey, Registry, RuleSet};
use spandrel_proto::TenantId;
use spandrel_proto::otlp::wire::put_bytes;
use spandrel_proto::otlp::{DecodeLimits, decode_request};

const KEYS: [&str; 4] = ["a", "b", "c.d", "service.name"];
const TEXTS: [&str; 4] = ["x", "yy", "to ada@example.org!", "ada@example.org"];
const NAMES: [(&str, &str); 3] =
    [("/user/4711", "/user/{id}"), ("GET /", "GET /"), ("mail ada@example.org", "mail ada@example.org")];
const LEVELS: [&str; 5] = ["resource", "instrumentation", "span", "event", "link"];
const HASH_KEY: [u8; 32] = [9; 32];
/// A field that OTLP does not define.
const UNKNOWN: (u32, &[u8]) = (1000, b"unknown");

/// A span with its resource and its scope.
#[derive(Debug, Clone, PartialEq)]
struct Whole {
    resource: Resource,
    scope: InstrumentationScope,
    span: Span,
}

#[derive(Debug, Clone)]
enum Condition {
    Always,
    Equals(&'static str, &'static str, &'static str),
    Differs(&'static str, &'static str, &'static str),
    Has(&'static str, &'static str),
    Name(&'static str),
    Server,
    Not(Box<Condition>),
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
}

#[derive(Debug, Clone)]
enum Action {
    Drop,
    Remove(&'static str, &'static str),
    Set(&'static str, &'static str, &'static str),
    Rename(&'static str, &'static str, &'static str),
    Hash(&'static str, &'static str),
    Cut(&'static str, &'static str, usize),
    Redact,
    Fold,
}

// === the plain evaluator ===

impl Whole {
    /// The lists of attributes of a level.
    fn lists(&mut self, level: &str) -> Vec<&mut Vec<KeyValue>> {
        match level {
            "resource" => vec![&mut self.resource.attributes],
            "instrumentation" => vec![&mut self.scope.attributes],
            "span" => vec![&mut self.span.attributes],
            "event" => self.span.events.iter_mut().map(|event| &mut event.attributes).collect(),
            _ => self.span.links.iter_mut().map(|link| &mut link.attributes).collect(),
        }
    }

    fn values(&self, level: &str, key: &str) -> Vec<V> {
        if level == "." {
            return [self.values("span", key), self.values("resource", key)].concat();
        }
        let mut copy = self.clone();
        let all = copy.lists(level).into_iter().flat_map(|list| list.clone());
        let found: Vec<V> = all.filter(|kv| kv.key == key).filter_map(|kv| kv.value?.value).collect();
        if level == "resource" && key == "service.name" {
            let named = found.iter().rev().find_map(|value| match value {
                V::StringValue(name) => Some(name.clone()),
                _ => None,
            });
            let name = named.filter(|name| !name.is_empty()).unwrap_or("unknown_service".to_owned());
            return vec![V::StringValue(name)];
        }
        found
    }

    fn any(&self, level: &str, key: &str, holds: &dyn Fn(&str) -> bool, empty_list: bool) -> bool {
        self.values(level, key).into_iter().any(|value| match value {
            V::StringValue(text) => holds(&text),
            V::ArrayValue(_) => empty_list,
            _ => false,
        })
    }

    fn satisfies(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Always => true,
            // No list in these spans has texts in it.
            Condition::Equals(level, key, text) => self.any(level, key, &|value| value == *text, false),
            Condition::Differs(level, key, text) => self.any(level, key, &|value| value != *text, true),
            Condition::Has(level, key) => !self.values(level, key).is_empty(),
            Condition::Name(name) => self.span.name == *name,
            Condition::Server => self.span.kind == 2,
            Condition::Not(inner) => !self.satisfies(inner),
            Condition::Both(left, right) => self.satisfies(left) && self.satisfies(right),
            Condition::Either(left, right) => self.satisfies(left) || self.satisfies(right),
        }
    }

    /// Does an action; whether the span stays.
    fn apply(&mut self, action: &Action) -> bool {
        match action {
            Action::Drop => return false,
            Action::Remove(level, key) => {
                self.lists(level).into_iter().for_each(|list| list.retain(|kv| kv.key != *key));
            }
            Action::Set(level, key, text) => {
                for list in self.lists(level) {
                    let value = Some(AnyValue { value: Some(V::StringValue((*text).to_owned())) });
                    match list.iter().position(|kv| kv.key == *key) {
                        None => list.push(KeyValue { key: (*key).to_owned(), value, ..KeyValue::default() }),
                        Some(first) => {
                            list[first].value = value;
                            let mut at = 0;
                            list.retain(|kv| {
                                at += 1;
                                kv.key != *key || at - 1 == first
                            });
                        }
                    }
                }
            }
            Action::Rename(level, from, to) => {
                for list in self.lists(level).into_iter().filter(|list| list.iter().all(|kv| kv.key != *to)) {
                    list.iter_mut().filter(|kv| kv.key == *from).for_each(|kv| kv.key = (*to).to_owned());
                }
            }
            Action::Hash(level, key) => self.each_value(level, key, &|value| hashed(value)),
            Action::Cut(level, key, length) => self.each_value(level, key, &|value| {
                if let V::StringValue(text) = value
                    && text.chars().count() > *length
                {
                    *text = text.chars().take(length - 1).chain(['…']).collect();
                }
            }),
            Action::Redact => self.redact(),
            Action::Fold => {
                if let Some((_, folded)) = NAMES.iter().find(|(name, _)| self.span.name == *name) {
                    self.span.name = (*folded).to_owned();
                }
            }
        }
        true
    }

    fn each_value(&mut self, level: &str, key: &str, edit: &dyn Fn(&mut V)) {
        for list in self.lists(level) {
            for kv in list.iter_mut().filter(|kv| kv.key == key) {
                kv.value
                    .iter_mut()
                    .filter_map(|value| value.value.as_mut())
                    .for_each(|value| leaves(value, edit));
            }
        }
    }

    fn redact(&mut self) {
        for level in LEVELS {
            for list in self.lists(level) {
                for kv in list.iter_mut() {
                    kv.value.iter_mut().filter_map(|v| v.value.as_mut()).for_each(|v| {
                        leaves(v, &|value| {
                            if let V::StringValue(text) = value {
                                *text = text.replace("ada@example.org", "[mail]");
                            }
                        })
                    });
                }
            }
        }
        let span = &mut self.span;
        let mut texts = vec![&mut span.name, &mut self.scope.name];
        texts.extend(span.status.iter_mut().map(|status| &mut status.message));
        texts.extend(span.events.iter_mut().map(|event| &mut event.name));
        texts.into_iter().for_each(|text| *text = text.replace("ada@example.org", "[mail]"));
    }
}

fn leaves(value: &mut V, edit: &dyn Fn(&mut V)) {
    match value {
        V::ArrayValue(list) => {
            list.values.iter_mut().filter_map(|v| v.value.as_mut()).for_each(|v| leaves(v, edit))
        }
        V::KvlistValue(map) => {
            map.values
                .iter_mut()
                .filter_map(|kv| kv.value.as_mut()?.value.as_mut())
                .for_each(|v| leaves(v, edit));
        }
        leaf => edit(leaf),
    }
}

fn hashed(value: &mut V) {
    let text = match value {
        V::StringValue(text) => text.clone(),
        V::IntValue(int) => int.to_string(),
        V::BoolValue(flag) => flag.to_string(),
        _ => return,
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &HASH_KEY);
    let tag = ring::hmac::sign(&key, text.as_bytes());
    *value = V::StringValue(tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect());
}

// === how rules are written ===

fn traceql(condition: &Condition) -> String {
    let field =
        |level: &str, key: &str| if level == "." { format!(".{key}") } else { format!("{level}.{key}") };
    match condition {
        Condition::Always => "true".to_owned(),
        Condition::Equals(level, key, text) => format!("{} = \"{text}\"", field(level, key)),
        Condition::Differs(level, key, text) => format!("{} != \"{text}\"", field(level, key)),
        Condition::Has(level, key) => format!("{} != nil", field(level, key)),
        Condition::Name(name) => format!("name = \"{name}\""),
        Condition::Server => "kind = server".to_owned(),
        Condition::Not(inner) => format!("!({})", traceql(inner)),
        Condition::Both(left, right) => format!("({} && {})", traceql(left), traceql(right)),
        Condition::Either(left, right) => format!("({} || {})", traceql(left), traceql(right)),
    }
}

fn rule(number: usize, (condition, action): &(Condition, Action)) -> serde_json::Value {
    let name = |level: &str, key: &str| format!("{level}.{key}");
    let (key, value) = match action {
        Action::Drop => ("drop", true.into()),
        Action::Remove(level, key) => ("remove", name(level, key).into()),
        Action::Set(level, key, text) => ("set", serde_json::json!({ name(level, key): text })),
        Action::Rename(level, from, to) => {
            ("rename", serde_json::json!({ name(level, from): name(level, to) }))
        }
        Action::Hash(level, key) => ("hash", name(level, key).into()),
        Action::Cut(level, key, length) => ("cut", serde_json::json!({ name(level, key): length })),
        Action::Redact => ("redact", "mail".into()),
        Action::Fold => ("fold-name", true.into()),
    };
    serde_json::json!({ "name": format!("r{number}"), "match": format!("{{ {} }}", traceql(condition)), key: value })
}

// === strategies ===

fn value() -> impl Strategy<Value = V> {
    let leaf = prop_oneof![
        4 => select(&TEXTS[..]).prop_map(|text| V::StringValue(text.to_owned())),
        1 => (0i64..200).prop_map(V::IntValue),
        1 => any::<bool>().prop_map(V::BoolValue),
    ];
    let wrap = |value: V| AnyValue { value: Some(value) };
    let inside = leaf.clone();
    prop_oneof![
        6 => leaf,
        1 => vec(0i64..9, 0..3).prop_map(move |all| V::ArrayValue(ArrayValue { values: all.into_iter().map(|int| wrap(V::IntValue(int))).collect() })),
        1 => inside.prop_map(move |value| V::KvlistValue(KeyValueList { values: vec![KeyValue { key: "k".to_owned(), value: Some(wrap(value)), ..KeyValue::default() }] })),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = (select(&KEYS[..]), value()).prop_map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    });
    vec(one, 0..4)
}

fn whole() -> impl Strategy<Value = Whole> {
    let texts = (select(&NAMES[..]), select(&TEXTS[..]), select(&TEXTS[..]));
    let lists = (attributes(), attributes(), attributes(), vec(attributes(), 0..3), vec(attributes(), 0..2));
    (texts, lists, 0i32..4, any::<bool>()).prop_map(
        |((name, message, event), (resource, scope, own, events, links), kind, in_order)| {
            let event = |attributes| Event { name: event.to_owned(), attributes, ..Event::default() };
            let link = |attributes| Link {
                trace_id: vec![7; 16],
                span_id: vec![7; 8],
                attributes,
                ..Link::default()
            };
            Whole {
                resource: Resource { attributes: resource, ..Resource::default() },
                scope: InstrumentationScope {
                    name: message.to_owned(),
                    attributes: scope,
                    ..InstrumentationScope::default()
                },
                span: Span {
                    trace_id: vec![1; 16],
                    span_id: vec![2; 8],
                    name: name.0.to_owned(),
                    kind,
                    start_time_unix_nano: u64::from(in_order),
                    end_time_unix_nano: 9,
                    attributes: own,
                    events: events.into_iter().map(event).collect(),
                    links: links.into_iter().map(link).collect(),
                    status: Some(Status { message: message.to_owned(), code: 1 }),
                    ..Span::default()
                },
            }
        },
    )
}

fn condition() -> impl Strategy<Value = Condition> {
    // Names of service.name on events and links are plain attributes, too.
    let level = || select(vec![".", "span", "resource", "event", "link", "instrumentation"]);
    let key = || select(&KEYS[..]);
    let text = || select(&TEXTS[..]);
    let leaf = prop_oneof![
        1 => Just(Condition::Always),
        4 => (level(), key(), text()).prop_map(|(level, key, text)| Condition::Equals(level, key, text)),
        2 => (level(), key(), text()).prop_map(|(level, key, text)| Condition::Differs(level, key, text)),
        2 => (level(), key())
            .prop_filter("always there", |(level, key)| *key != "service.name" || *level != "resource")
            .prop_map(|(level, key)| Condition::Has(level, key)),
        1 => select(&NAMES[..]).prop_map(|name| Condition::Name(name.0)),
        1 => Just(Condition::Server),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
            pair.clone().prop_map(|(left, right)| Condition::Both(Box::new(left), Box::new(right))),
            pair.prop_map(|(left, right)| Condition::Either(Box::new(left), Box::new(right))),
        ]
    })
}

fn action() -> impl Strategy<Value = Action> {
    let level = || select(&LEVELS[..]);
    let key = || select(&KEYS[..]);
    prop_oneof![
        1 => Just(Action::Drop),
        2 => (level(), key()).prop_map(|(level, key)| Action::Remove(level, key)),
        2 => (level(), key(), select(&TEXTS[..])).prop_map(|(level, key, text)| Action::Set(level, key, text)),
        2 => (level(), key(), key()).prop_map(|(level, from, to)| Action::Rename(level, from, to)),
        2 => (level(), key()).prop_map(|(level, key)| Action::Hash(level, key)),
        2 => (level(), key(), 1usize..6).prop_map(|(level, key, length)| Action::Cut(level, key, length)),
        1 => Just(Action::Redact),
        1 => Just(Action::Fold),
    ]
}

/// A request of one resource, with a field in each span that OTLP does not define.
fn request(resource: &Resource, scope: &InstrumentationScope, spans: &[Span]) -> Vec<u8> {
    let mut inner = ScopeSpans { scope: Some(scope.clone()), ..ScopeSpans::default() }.encode_to_vec();
    for span in spans {
        let mut message = span.encode_to_vec();
        put_bytes(&mut message, UNKNOWN.0, UNKNOWN.1);
        put_bytes(&mut inner, 2, &message);
    }
    let mut outer =
        ResourceSpans { resource: Some(resource.clone()), ..ResourceSpans::default() }.encode_to_vec();
    put_bytes(&mut outer, 2, &inner);
    let mut body = Vec::new();
    put_bytes(&mut body, 1, &outer);
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn rules_do_what_a_plain_evaluator_does(
        first in whole(),
        more in vec(whole(), 0..3),
        rules in vec((condition(), action()), 1..6),
    ) {
        let mut spans: Vec<Span> = vec![first.span.clone()];
        spans.extend(more.into_iter().map(|whole| whole.span));
        let mut wanted = Vec::new();
        for span in &spans {
            let mut whole = Whole { span: span.clone(), ..first.clone() };
            let stays = rules.iter().all(|(condition, action)| !whole.satisfies(condition) || whole.apply(action));
            if stays {
                wanted.push(whole);
            }
        }
        let written: Vec<serde_json::Value> = rules.iter().enumerate().map(|(at, one)| rule(at, one)).collect();
        let text = serde_json::to_string(&written).unwrap();
        let set = RuleSet::parse(&text, &|_| HashKey::new(&HASH_KEY), &Registry::default()).unwrap();
        let body = request(&first.resource, &first.scope, &spans);
        let mut decoded = decode_request(body.into(), &DecodeLimits::default()).unwrap();
        Arc::new(set).apply(&mut decoded, &TenantId::default(), |_| Ok::<_, Infallible>(())).unwrap();
        let mut left = Vec::new();
        for span in &decoded.spans {
            let bytes = decoded.span(span);
            prop_assert_eq!(bytes.windows(UNKNOWN.1.len()).filter(|window| *window == UNKNOWN.1).count(), 1);
            left.push(Whole {
                resource: ResourceSpans::decode(decoded.resources[span.resource as usize].clone()).unwrap().resource.unwrap(),
                scope: ScopeSpans::decode(decoded.scopes[span.scope as usize].clone()).unwrap().scope.unwrap(),
                span: Span::decode(bytes).unwrap(),
            });
        }
        prop_assert_eq!(left, wanted, "{}", text);
    }
}
