//! What rules do to requests, and which rules are refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spandrel_clean::{HashKey, Registry, RuleError, RuleSet, Seen, Watch};
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_request};
use std::convert::Infallible;
use std::sync::Arc;

fn text(key: &str, value: &str) -> KeyValue {
    any(key, V::StringValue(value.to_owned()))
}

fn any(key: &str, value: V) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(id: u8, name: &str, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![id; 16],
        span_id: vec![id; 8],
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 2_000_000,
        attributes,
        ..Span::default()
    }
}

fn request(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let scope = InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() };
    ResourceSpans {
        resource: Some(Resource { attributes: vec![text("service.name", service)], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn decoded(resource_spans: Vec<ResourceSpans>) -> Decoded {
    let body: Bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    decode_request(body, &DecodeLimits::default()).unwrap()
}

fn rules(text: &str) -> Result<Arc<RuleSet>, RuleError> {
    let key = |name: Option<&str>| match name {
        None => HashKey::new(&[7; 32]),
        Some(name) => Err(format!("there is no key {name}")),
    };
    RuleSet::parse(text, &key, &Registry::default()).map(Arc::new)
}

fn apply(rules: &Arc<RuleSet>, decoded: &mut Decoded) -> u64 {
    let tally = rules.apply(decoded, &TenantId::default(), |_| Ok::<_, Infallible>(())).unwrap();
    tally.count();
    tally.dropped()
}

/// The cleaned spans, each with its resource and scope.
fn cleaned(yaml: &str, sent: Vec<ResourceSpans>) -> Vec<(Resource, InstrumentationScope, Span)> {
    let mut decoded = decoded(sent);
    apply(&rules(yaml).unwrap(), &mut decoded);
    let one = |span| -> (Resource, InstrumentationScope, Span) {
        let span: &spandrel_proto::otlp::DecodedSpan = span;
        let resource = ResourceSpans::decode(decoded.resources[span.resource as usize].clone()).unwrap();
        let scope = ScopeSpans::decode(decoded.scopes[span.scope as usize].clone()).unwrap();
        let message = Span::decode(decoded.span(span)).unwrap();
        (resource.resource.unwrap_or_default(), scope.scope.unwrap_or_default(), message)
    };
    decoded.spans.iter().map(one).collect()
}

fn names(yaml: &str, sent: Vec<ResourceSpans>) -> Vec<String> {
    cleaned(yaml, sent).into_iter().map(|(_, _, span)| span.name).collect()
}

/// The only span after a list of rules.
fn one(yaml: &str, sent: Span) -> Span {
    cleaned(yaml, vec![request("cart", vec![sent])]).remove(0).2
}

#[test]
fn a_rule_drops_what_it_matches_and_nothing_else() {
    let sent = || {
        vec![
            request("cart", vec![span(1, "a", vec![text("http.route", "/healthz")]), span(2, "b", vec![])]),
            request("shop", vec![span(3, "c", vec![text("http.route", "/healthz")])]),
        ]
    };
    let rule = |matches: &str| format!("- {{name: x, match: '{matches}', drop: true}}");
    for (matches, left) in [
        (r#"{ resource.service.name = "cart" && span.http.route = "/healthz" }"#, &["b", "c"][..]),
        (r#"{ .http.route = "/healthz" }"#, &["b"]),
        (r#"{ resource.service.name != "cart" }"#, &["a", "b"]),
        (r#"{ span.http.route = nil }"#, &["a", "c"]),
        (r#"{ name =~ "[ab]" && kind = server && duration < 1ms }"#, &["a", "b", "c"]),
        (r#"{ name =~ "[ab]" && kind = server && duration > 1ms }"#, &["c"]),
        (r#"{ !(name = "a") }"#, &["a"]),
        (r#"{ nestedSetParent < 0 && instrumentation:name = "lib" }"#, &[]),
        (r#"{ span.http.route = resource.service.name }"#, &["a", "b", "c"]),
    ] {
        assert_eq!(names(&rule(matches), sent()), left, "{matches}");
    }
}

#[test]
fn a_share_keeps_traces_as_a_whole() {
    let sent = |offset: u8| {
        let of = |id: u8| {
            let mut span = span(id, "x", vec![]);
            span.span_id = vec![id, offset, 1, 1, 1, 1, 1, 1];
            span
        };
        vec![request("cart", (1..=200).map(of).collect())]
    };
    let yaml = "- {name: few, keep: 25%}";
    let kept: Vec<Vec<u8>> = cleaned(yaml, sent(1)).into_iter().map(|(_, _, span)| span.trace_id).collect();
    let again: Vec<Vec<u8>> = cleaned(yaml, sent(2)).into_iter().map(|(_, _, span)| span.trace_id).collect();
    assert_eq!(kept, again);
    assert!((25..75).contains(&kept.len()), "{}", kept.len());
    // A larger share keeps the traces of a smaller one.
    let more = cleaned("- {name: few, keep: 0.5}", sent(1));
    assert!(kept.iter().all(|id| more.iter().any(|(_, _, span)| span.trace_id == *id)));
}

#[test]
fn attributes_are_renamed_removed_set_hashed_and_cut() {
    let sent = span(
        1,
        "a",
        vec![text("old", "1"), text("secret", "x"), text("user", "ada"), text("sql", "select 1")],
    );
    let yaml = "
- name: all of it
  rename: {span.old: span.new}
  remove: span.sec*
  set: {span.team: shop, span.level: 3, span.rate: 0.5, span.on: true, span.list: [a, 1]}
  hash: [span.user]
  cut: {span.sql: 4, name: 9}
";
    let now = one(yaml, sent);
    let value =
        |key: &str| now.attributes.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.clone()?.value);
    let keys: Vec<&str> = now.attributes.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(keys, ["new", "user", "sql", "team", "level", "rate", "on", "list"]);
    assert_eq!(value("new"), Some(V::StringValue("1".to_owned())));
    assert_eq!(value("sql"), Some(V::StringValue("sel…".to_owned())));
    assert_eq!((value("level"), value("rate")), (Some(V::IntValue(3)), Some(V::DoubleValue(0.5))));
    let Some(V::StringValue(hash)) = value("user") else { panic!("{now:?}") };
    assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn a_rename_overwrites_nothing_and_a_set_replaces() {
    let yaml = "- {name: x, rename: {span.old: span.new}, set: {span.team: shop}}";
    let sent = span(1, "a", vec![text("old", "1"), text("new", "2"), text("team", "x"), text("team", "y")]);
    let now = one(yaml, sent);
    assert_eq!(now.attributes, [text("old", "1"), text("new", "2"), text("team", "shop")]);
}

#[test]
fn resources_and_scopes_change_for_the_spans_that_match() {
    let sent = vec![request("cart", vec![span(1, "a", vec![]), span(2, "b", vec![])])];
    let yaml = r#"
- {name: new name, match: '{ name = "a" }', service: basket, set: {instrumentation.x: 1}}
- {name: follows, match: '{ resource.service.name = "basket" }', set: {span.seen: true}}
"#;
    let now = cleaned(yaml, sent);
    assert_eq!(now[0].0.attributes, [text("service.name", "basket")]);
    assert_eq!(now[0].1.attributes, [any("x", V::IntValue(1))]);
    assert_eq!(now[0].2.attributes, [any("seen", V::BoolValue(true))]);
    assert_eq!(
        (&now[1].0.attributes[..], &now[1].2),
        (&[text("service.name", "cart")][..], &span(2, "b", vec![]))
    );
    // A request without a resource gets one.
    let bare = ResourceSpans { resource: None, ..request("", vec![span(1, "a", vec![])]) };
    assert_eq!(
        cleaned("- {name: x, service: other}", vec![bare])[0].0.attributes,
        [text("service.name", "other")]
    );
}

/// Every text that a span may have, with a marker in it.
fn marked(marker: &str) -> ResourceSpans {
    let list = V::ArrayValue(ArrayValue {
        values: vec![AnyValue { value: Some(V::StringValue(marker.to_owned())) }],
    });
    let map = V::KvlistValue(KeyValueList {
        values: vec![text(&format!("k {marker}"), marker), any("l", list.clone())],
    });
    let mut sent = span(
        1,
        &format!("GET {marker}"),
        vec![
            text("a", &format!("before {marker} behind")),
            text(&format!("key {marker}"), "x"),
            any("list", list),
            any("map", map.clone()),
            any("bytes", V::BytesValue([b"\xff ", marker.as_bytes()].concat())),
        ],
    );
    sent.trace_state = format!("v={marker}");
    sent.status = Some(Status { code: 2, message: format!("failed for {marker}") });
    let event =
        Event { name: format!("e {marker}"), attributes: vec![any("m", map.clone())], ..Event::default() };
    sent.events = vec![event];
    let link = Link {
        trace_id: vec![9; 16],
        span_id: vec![9; 8],
        trace_state: marker.to_owned(),
        attributes: vec![text("l", marker)],
        ..Link::default()
    };
    sent.links = vec![link];
    let mut all = request(marker, vec![sent]);
    all.schema_url = format!("http://x/{marker}");
    all.scope_spans[0].schema_url = format!("http://x/{marker}");
    let scope = all.scope_spans[0].scope.as_mut().unwrap();
    (scope.name, scope.version) = (marker.to_owned(), marker.to_owned());
    scope.attributes = vec![text("s", marker)];
    all
}

#[test]
fn redaction_reaches_every_text() {
    for (detector, marker) in [
        ("card", "4111 1111 1111 1111"),
        ("mail", "ada.lovelace@example.org"),
        ("token", "Bearer abcdefgh12345678"),
        ("phone", "+49 171 1234567"),
        ("address", "203.0.113.77"),
        ("key", "-----BEGIN PRIVATE KEY----- MIIE -----END PRIVATE KEY-----"),
    ] {
        let secret = marker.strip_prefix("Bearer ").unwrap_or(marker);
        let mut decoded = decoded(vec![marked(marker)]);
        apply(&rules(&format!("- {{name: x, redact: {detector}}}")).unwrap(), &mut decoded);
        let left = [
            decoded.span(&decoded.spans[0]),
            &decoded.resources[decoded.spans[0].resource as usize],
            &decoded.scopes[decoded.spans[0].scope as usize],
        ];
        for bytes in left {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains(secret), "{detector}: {text}");
            assert!(text.contains(&format!("[{detector}]")), "{detector}: {text}");
        }
        let (now, sent) =
            (Span::decode(left[0]).unwrap(), marked(marker).scope_spans.remove(0).spans.remove(0));
        assert_eq!(
            (now.attributes.len(), now.events.len(), now.start_time_unix_nano),
            (sent.attributes.len(), 1, 1_000)
        );
    }
}

#[test]
fn redaction_by_pattern_and_place() {
    let yaml = r"
- name: sessions
  redact: {patterns: ['sess-[0-9a-f]+'], in: [span.a, name]}
";
    let now = one(yaml, span(1, "x sess-1f", vec![text("a", "is sess-2e."), text("b", "sess-3d")]));
    assert_eq!(now.name, "x [redacted]");
    assert_eq!(now.attributes, [text("a", "is [redacted]."), text("b", "sess-3d")]);
    // The number of a card that is sent as a number.
    let now =
        one("- {name: x, redact: card}", span(1, "x", vec![any("pan", V::IntValue(4_111_111_111_111_111))]));
    assert_eq!(now.attributes, [text("pan", "[card]")]);
}

#[test]
fn names_are_folded() {
    assert_eq!(one("- {name: x, fold-name: true}", span(1, "GET /user/4711", vec![])).name, "GET /user/{id}");
    let yaml = "- {name: x, fold-name: {ids: [uuids], patterns: {'/u/[^/]+': '/u/{name}'}}}";
    assert_eq!(one(yaml, span(1, "/u/ada/7", vec![])).name, "/u/{name}/7");
}

#[test]
fn what_no_rule_changes_is_not_copied_and_unknown_fields_stay() {
    let sent = span(1, "a", vec![text("b", "c")]);
    let mut before = decoded(vec![request("cart", vec![sent])]);
    let place = before.spans[0].at.clone();
    apply(&rules("- {name: x, redact: [card, mail, key], remove: span.other}").unwrap(), &mut before);
    assert_eq!((before.spans[0].at.clone(), before.rewritten.len()), (place, 0));
    // Field 1000, which nothing knows, of span and attribute.
    let unknown = [0xc2, 0x3e, 3, b'x', b'y', b'z'];
    let attribute = [text("b", "c").encode_to_vec(), unknown.to_vec()].concat();
    let mut message = span(1, "a", vec![]).encode_to_vec();
    message.extend([0x4a, attribute.len() as u8]);
    message.extend(&attribute);
    message.extend(unknown);
    let scope = [&[0x12, message.len() as u8][..], &message].concat();
    let resource = [&[0x12, scope.len() as u8][..], &scope].concat();
    let body = [&[0x0a, resource.len() as u8][..], &resource].concat();
    let mut decoded = decode_request(body.into(), &DecodeLimits::default()).unwrap();
    apply(&rules("- {name: x, set: {span.b: d}}").unwrap(), &mut decoded);
    let now = decoded.span(&decoded.spans[0]).to_vec();
    assert_eq!(now.windows(unknown.len()).filter(|window| *window == unknown).count(), 2);
    assert_eq!(Span::decode(&now[..]).unwrap().attributes, [text("b", "d")]);
}

#[test]
fn rules_are_counted_by_name_and_concern_their_tenants() {
    let registry = Registry::default();
    let key = |_: Option<&str>| Err("none".to_owned());
    let yaml = "[{name: a, match: '{ name = \"a\" }', drop: true}, {name: b, tenants: shop, drop: true}, {name: c, set: {span.x: 1}}]";
    let rules = Arc::new(RuleSet::parse(yaml, &key, &registry).unwrap());
    let mut spans = decoded(vec![request("cart", vec![span(1, "a", vec![]), span(2, "b", vec![])])]);
    assert_eq!(apply(&rules, &mut spans), 1);
    let done: Vec<[u64; 3]> =
        rules.reports().map(|rule| [rule.done.matched, rule.done.dropped, rule.done.changed]).collect();
    assert_eq!(done, [[1, 1, 0], [0, 0, 0], [1, 0, 1]]);
    let mut spans = decoded(vec![request("cart", vec![span(3, "c", vec![])])]);
    let tally =
        rules.apply(&mut spans, &TenantId::new("shop").unwrap(), |_| Ok::<_, Infallible>(())).unwrap();
    assert_eq!(tally.dropped(), 1);
    // Others of the same name go on counting.
    let again = RuleSet::parse("[{name: a, drop: true}]", &key, &registry).unwrap();
    assert_eq!(again.reports().next().unwrap().done.matched, 1);
}

#[test]
fn memory_that_is_refused_ends_the_work() {
    let rules = rules("- {name: x, set: {span.x: 1}}").unwrap();
    let mut spans = decoded(vec![request("cart", vec![span(1, "a", vec![])])]);
    assert_eq!(rules.apply(&mut spans, &TenantId::default(), Err).unwrap_err(), 64 << 10);
}

#[test]
fn mistakes_are_refused_with_their_place() {
    for (yaml, line, column, word) in [
        ("- {name: a}", 1, 3, "does nothing"),
        ("- name: a\n  drop: true\n- name: a\n  drop: true", 3, 9, "another rule"),
        ("- name: a\n  drop: maybe", 2, 9, "true or false"),
        ("- name: a\n  match: '{ span.a = }'\n  drop: true", 2, 22, ""),
        (
            "- name: a\n  match: |\n    { span.a = 1 &&\n      rootName = \"x\" }\n  drop: true",
            4,
            7,
            "other spans of the trace",
        ),
        ("- name: a\n  match: '{ parent.name = \"x\" }'\n  drop: true", 2, 13, "parent.name"),
        ("- name: a\n  match: '{ .a } >> { .b }'\n  drop: true", 2, 11, "one condition"),
        ("- name: a\n  match: '{ } | count() > 2'\n  drop: true", 2, 11, "one condition"),
        ("- name: a\n  keep: 120%", 2, 9, "10%"),
        ("- name: a\n  drop: true\n  keep: 10%", 3, 9, "not both"),
        ("- name: a\n  remove: spam.x", 2, 11, "spam"),
        ("- name: a\n  rename: {span.a: event.a}", 2, 11, "levels"),
        ("- name: a\n  set: {span.a: {b: 1}}", 2, 8, "remove removes"),
        ("- name: a\n  hash: span.a\n  hash-key: other", 2, 9, "there is no key other"),
        ("- name: a\n  redact: names", 2, 11, "card, mail, token"),
        ("- name: a\n  redact: {patterns: 'a*'}", 2, 11, "nothing at all"),
        ("- name: a\n  redact: {patterns: '('}", 2, 11, "not valid"),
        ("- name: a\n  cut: {span.a: 0}", 2, 8, "at least 1"),
        ("- name: a\n  fold-name: [words]", 2, 14, "numbers"),
        ("- name: a\n  drop: true\n  set: {span.a: 1}", 1, 3, "changes nothing"),
        ("- name: a\n  dorp: true", 2, 3, "dorp"),
        ("- drop: true", 1, 3, "name"),
        ("{}", 1, 1, ""),
        ("- name: [", 1, 9, ""),
    ] {
        let error = rules(yaml).unwrap_err();
        assert!(error.message.contains(word), "{yaml}: {error}");
        assert_eq!((error.line, error.column), (line, column), "{yaml}: {error}");
    }
}

#[test]
fn a_configuration_file_has_its_rules_under_clean() {
    let key = |_: Option<&str>| Err("none".to_owned());
    let parse = |text: &str| RuleSet::parse_file(text, &key, &Registry::default());
    let found = parse("data-dir: /x\ntls: {http: off}\nclean:\n  - name: a\n    drop: true\n").unwrap();
    assert_eq!(found.written()[0]["name"], "a");
    assert!(parse("data-dir: /x\n").unwrap().is_empty());
    let error = parse("data-dir: /x\nclean:\n  - name: a\n    drop: x\n").unwrap_err();
    assert_eq!((error.line, error.column), (4, 11));
    // What is printed is read as the same rules.
    let json = serde_json::to_string(found.written()).unwrap();
    assert_eq!(rules(&json).unwrap().written(), found.written());
}

/// What a watcher was shown: the rule, and the lengths of the span before and behind it.
#[derive(Default)]
struct Steps(Vec<(usize, usize, Option<usize>)>);

impl Watch for Steps {
    fn step(&mut self, rule: usize, before: Seen<'_>, after: Option<Seen<'_>>) {
        self.0.push((rule, before.span.len(), after.map(|after| after.span.len())));
    }
}

#[test]
fn each_step_is_shown_with_what_the_rules_before_have_left() {
    let yaml = "
- {name: short, set: {span.a: x}}
- {name: idle, match: '{ name = \"b\" }', hash: span.nothing}
- {name: gone, match: '{ span.a = \"x\" && name = \"b\" }', drop: true}
";
    let long = |id, name| span(id, name, vec![text("a", &"y".repeat(50))]);
    let mut decoded = decoded(vec![request("shop", vec![long(1, "a"), long(2, "b")])]);
    let mut steps = Steps::default();
    let grow = |_| Ok::<_, Infallible>(());
    rules(yaml).unwrap().apply_watched(&mut decoded, &TenantId::default(), grow, &mut steps).unwrap();
    let length = decoded.span(&decoded.spans[0]).len();
    let before = length + 49;
    assert_eq!(steps.0, [(0, before, Some(length)), (0, before, Some(length)), (2, length, None)]);
}

#[test]
fn resources_that_rules_make_are_charged() {
    let yaml = format!("- {{name: big, set: {{resource.a: {:?}}}}}", "x".repeat(4000));
    let sent = (0..50).map(|n| request(&format!("shop {n}"), vec![span(n + 1, "a", vec![])])).collect();
    let (mut decoded, mut asked) = (decoded(sent), 0);
    let grow = |bytes| {
        asked += bytes;
        if asked > 100_000 { Err(()) } else { Ok(()) }
    };
    assert!(rules(&yaml).unwrap().apply(&mut decoded, &TenantId::default(), grow).is_err());
    assert!(asked < 120_000, "{asked}");
}

#[test]
fn a_card_that_is_sent_as_a_number_is_found_wherever_it_is() {
    const CARD: i64 = 4_111_111_111_111_111;
    let yaml = "[{name: cards, redact: card}]";
    let int = || V::IntValue(CARD);
    let item = |value| AnyValue { value: Some(value) };
    let list = V::ArrayValue(ArrayValue { values: vec![item(V::BoolValue(true)), item(int())] });
    let map = V::KvlistValue(KeyValueList { values: vec![any("n", int())] });
    let event = Event { attributes: vec![any("n", int())], ..Event::default() };
    let link = Link {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        attributes: vec![any("n", int())],
        ..Link::default()
    };
    let attributes =
        [int(), V::DoubleValue(CARD as f64), list, map].map(|value| span(1, "a", vec![any("n", value)]));
    let long_key = span(1, "a", vec![any(&"k".repeat(200), int())]);
    let in_event = Span { events: vec![event], ..span(1, "a", vec![]) };
    let in_link = Span { links: vec![link], ..span(1, "a", vec![]) };
    for sent in attributes.into_iter().chain([long_key, in_event, in_link]) {
        let (.., left) = cleaned(yaml, vec![request("shop", vec![sent.clone()])]).remove(0);
        let shown = format!("{left:?}");
        assert!(shown.contains("[card]") && !shown.contains("4111111111111111"), "{sent:?} {shown}");
    }
    let short = vec![any("n", V::IntValue(4711)), any("t", V::BoolValue(true)), text("x", "y")];
    let mut decoded = decoded(vec![request("shop", vec![span(1, "a", short)])]);
    apply(&rules(yaml).unwrap(), &mut decoded);
    assert!(decoded.rewritten.is_empty());
}

/// The log records of service `shop`: those that are left, as (service, event name, body, attributes).
fn cleaned_logs(text: &str) -> Vec<(String, String, String, Vec<String>)> {
    let record = |name: &str, body: &str, attribute: &str| {
        format!(
            r#"{{"traceId":"01010101010101010101010101010101","spanId":"0101010101010101","timeUnixNano":"5","eventName":"{name}",
                "severityText":"ana@example.com","body":{{"kvlistValue":{{"values":[{{"key":"text","value":{{"stringValue":"{body}"}}}}]}}}},
                "attributes":[{{"key":"{attribute}","value":{{"stringValue":"v"}}}}]}}"#
        )
    };
    let records = [record("login", "by ana@example.com", "user.id"), record("noise", "tick", "n")].join(",");
    let request = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
            "scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#
    );
    let mut decoded =
        spandrel_proto::otlp::decode_json_logs_request(&mut request.as_bytes(), &DecodeLimits::default())
            .unwrap();
    let grow = |_| Ok::<(), Infallible>(());
    let Ok(tally) = rules(text).unwrap().apply(&mut decoded, &TenantId::default(), grow);
    assert_eq!(tally.dropped(), 2 - decoded.log_records);
    let mut left = Vec::new();
    for row in &decoded.logs {
        let resource =
            spandrel_proto::otlp::ResourceView::parse(&decoded.resources[row.resource as usize]).unwrap();
        let message = spandrel_proto::otlp::LogRowMessage::decode(decoded.span(row)).unwrap();
        for log in message.logs {
            let Some(V::KvlistValue(list)) = log.body.unwrap().value else { panic!("the body is a map") };
            let Some(V::StringValue(body)) = list.values[0].value.clone().unwrap().value else {
                panic!("a text")
            };
            let keys = log.attributes.into_iter().map(|attribute| attribute.key).collect();
            let service = resource.string_attribute("service.name").unwrap().to_owned();
            left.push((service, format!("{} {}", log.event_name, log.severity_text), body, keys));
        }
    }
    left
}

#[test]
fn logs_go_through_the_rules_like_events() {
    let names = |text: &str| cleaned_logs(text).into_iter().map(|(_, name, ..)| name).collect::<Vec<_>>();
    let both = ["login ana@example.com", "noise ana@example.com"];
    for (rule, left) in [
        ("{name: a, match: '{ resource.service.name = \"shop\" }', drop: true}", &[][..]),
        ("{name: a, match: '{ event:name = \"noise\" }', drop: true}", &both[..1]),
        ("{name: a, match: '{ event.user.id = \"v\" }', drop: true}", &both[1..]),
        ("{name: a, match: '{ .service.name = \"other\" }', drop: true}", &both[..]),
        // What only a span has says nothing of a log.
        ("{name: a, match: '{ duration < 1ms }', drop: true}", &both[..]),
        ("{name: a, match: '{ status != error || name = \"\" }', drop: true}", &both[..]),
        ("{name: a, match: '{ !(span.x = 1) }', drop: true}", &both[..]),
        ("{name: a, drop: true}", &[][..]),
    ] {
        assert_eq!(names(&format!("[{rule}]")), left, "{rule}");
    }
}

#[test]
fn what_logs_say_is_changed() {
    let login = |rule: &str| cleaned_logs(rule).remove(0);
    let (service, name, body, keys) = login("[{name: a, redact: [mail]}]");
    assert_eq!((service.as_str(), name.as_str(), body.as_str()), ("shop", "login [mail]", "by [mail]"));
    assert_eq!(keys, ["user.id"]);
    assert_eq!(login("[{name: a, redact: {detect: [mail], in: ['log:body']}}]").1, "login ana@example.com");
    assert_eq!(login("[{name: a, redact: {detect: [mail], in: ['log:body']}}]").2, "by [mail]");
    assert_eq!(login("[{name: a, cut: {'log:body': 3}}]").2, "by…");
    assert_eq!(login("[{name: a, remove: ['.user.*']}]").3, Vec::<String>::new());
    assert_eq!(
        login("[{name: a, remove: ['span.user.*']}]").3,
        ["user.id"],
        "logs have no attributes of spans"
    );
    let (service, _, _, keys) = login(
        "[{name: a, match: '{ event:name = \"login\" }', service: other, set: {event.team: red, span.x: 1}}]",
    );
    assert_eq!((service.as_str(), keys), ("other", vec!["user.id".to_owned(), "team".to_owned()]));
    let left = cleaned_logs("[{name: a, match: '{ event:name = \"login\" }', service: other}]");
    let services: Vec<&str> = left.iter().map(|(service, ..)| service.as_str()).collect();
    assert_eq!(services, ["other", "shop"], "the other record keeps its resource");
}
