//! Brings spans into one JSON form: those that an SDK reports as sent and those of the API's three formats, so that
//! they can be compared field by field.
//!
//! Attributes are sorted by key, 64-bit integers are strings, doubles are doubles, kinds and status codes are names,
//! and absent fields have their defaults.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Spans by their ID.
pub type Spans = BTreeMap<String, Value>;

const KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];

/// Bits of a span's flags: whether the parent is remote is known; the parent is remote.
const PARENT_KNOWN: u64 = 0x100;
const PARENT_REMOTE: u64 = 0x200;

/// The spans that an SDK's script printed (see `sdk/README.md`), by trace.
pub fn of_sdk(printed: &Value) -> BTreeMap<String, Spans> {
    let mut traces: BTreeMap<String, Spans> = BTreeMap::new();
    for sent in list(printed) {
        let mut span = common(sent);
        let remote = if sent["parentIsRemote"] == true { PARENT_REMOTE } else { 0 };
        span["parentFlags"] = json!(PARENT_KNOWN | remote);
        span["kind"] = sent["kind"].clone();
        span["status"] = sent["status"].clone();
        span["dropped"] = dropped(sent);
        span["resource"] = json!({
            "attributes": attributes(&sent["resource"]), "schemaUrl": text(&sent["resourceSchemaUrl"]),
        });
        span["scope"] = scope(&sent["scope"], &sent["scopeSchemaUrl"]);
        insert(traces.entry(text(&sent["traceId"]).to_owned()).or_default(), span);
    }
    traces
}

/// The spans of an OTLP/JSON document.
pub fn of_otlp_json(document: &Value) -> Spans {
    let mut spans = Spans::new();
    for resource in list(&document["resourceSpans"]) {
        for scope_spans in list(&resource["scopeSpans"]) {
            for sent in list(&scope_spans["spans"]) {
                let mut span = common(sent);
                span["parentFlags"] = json!(parent_flags(sent));
                span["kind"] = json!(name_of(&KINDS, &sent["kind"]));
                span["status"] = json!({
                    "code": name_of(&STATUS_CODES, &sent["status"]["code"]), "message": text(&sent["status"]["message"]),
                });
                span["dropped"] = dropped(sent);
                span["resource"] = json!({
                    "attributes": attributes(&resource["resource"]["attributes"]), "schemaUrl": text(&resource["schemaUrl"]),
                });
                span["scope"] = scope(&scope_spans["scope"], &scope_spans["schemaUrl"]);
                insert(&mut spans, span);
            }
        }
    }
    spans
}

/// The spans of a tree, which has no dropped counts.
pub fn of_tree(trace: &Value) -> Spans {
    let mut spans = Spans::new();
    for sent in list(&trace["segments"]).iter().flat_map(|segment| list(&segment["spans"])) {
        let resource = &trace["resources"][index(&sent["resource"])];
        let scope_entry = &trace["scopes"][index(&sent["scope"])];
        let mut span = common(sent);
        span["traceId"] = trace["id"].clone();
        span["spanId"] = sent["id"].clone();
        span["parentSpanId"] = json!(text(&sent["parentId"]));
        span["parentFlags"] = json!(parent_flags(sent));
        span["kind"] = sent["kind"].clone();
        span["status"] = json!({ "code": sent["status"], "message": text(&sent["statusMessage"]) });
        span["resource"] = json!({
            "attributes": attributes(&resource["attributes"]), "schemaUrl": text(&resource["schemaUrl"]),
        });
        span["scope"] = scope(scope_entry, &scope_entry["schemaUrl"]);
        insert(&mut spans, span);
    }
    spans
}

/// The same spans without dropped counts, which a tree does not have.
pub fn without_dropped(spans: &Spans) -> Spans {
    let mut spans = spans.clone();
    for span in spans.values_mut() {
        span.as_object_mut().expect("an object").remove("dropped");
    }
    spans
}

/// Panics at the first span and field that differ.
pub fn assert_same(what: &str, seen: &Spans, expected: &Spans) {
    let ids = |spans: &Spans| spans.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(seen), ids(expected), "{what}: other spans");
    for (id, span) in expected {
        for (field, value) in span.as_object().expect("an object") {
            assert_eq!(&seen[id][field], value, "{what}: span {id} ({}): {field}", span["name"]);
        }
    }
}

fn insert(spans: &mut Spans, span: Value) {
    let id = text(&span["spanId"]).to_owned();
    assert!(spans.insert(id, span.clone()).is_none(), "a span is there twice: {span}");
}

fn common(sent: &Value) -> Value {
    let events: Vec<Value> = list(&sent["events"]).iter().map(event).collect();
    let links: Vec<Value> = list(&sent["links"]).iter().map(link).collect();
    json!({
        "traceId": text(&sent["traceId"]),
        "spanId": text(&sent["spanId"]),
        "parentSpanId": text(&sent["parentSpanId"]),
        "traceState": text(&sent["traceState"]),
        "name": text(&sent["name"]),
        "start": text(&sent["startTimeUnixNano"]).to_owned() + text(&sent["startUnixNano"]),
        "end": text(&sent["endTimeUnixNano"]).to_owned() + text(&sent["endUnixNano"]),
        "attributes": attributes(&sent["attributes"]),
        "events": events,
        "links": links,
    })
}

fn event(sent: &Value) -> Value {
    json!({
        "time": text(&sent["timeUnixNano"]),
        "name": text(&sent["name"]),
        "attributes": attributes(&sent["attributes"]),
        "dropped": sent["droppedAttributesCount"].as_u64().unwrap_or(0),
    })
}

fn link(sent: &Value) -> Value {
    json!({
        "traceId": text(&sent["traceId"]),
        "spanId": text(&sent["spanId"]),
        "traceState": text(&sent["traceState"]),
        "attributes": attributes(&sent["attributes"]),
        "dropped": sent["droppedAttributesCount"].as_u64().unwrap_or(0),
    })
}

fn scope(sent: &Value, schema_url: &Value) -> Value {
    json!({
        "name": text(&sent["name"]),
        "version": text(&sent["version"]),
        "attributes": attributes(&sent["attributes"]),
        "schemaUrl": text(schema_url),
    })
}

fn dropped(sent: &Value) -> Value {
    let count = |field: &str| sent[field].as_u64().unwrap_or(0);
    json!([count("droppedAttributesCount"), count("droppedEventsCount"), count("droppedLinksCount")])
}

fn parent_flags(sent: &Value) -> u64 {
    sent["flags"].as_u64().unwrap_or(0) & (PARENT_KNOWN | PARENT_REMOTE)
}

fn attributes(sent: &Value) -> Value {
    let mut all: Vec<(String, Value)> =
        list(sent).iter().map(|one| (text(&one["key"]).to_owned(), any_value(&one["value"]))).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    json!(all)
}

fn any_value(sent: &Value) -> Value {
    let Some((kind, value)) = sent.as_object().and_then(|members| members.iter().next()) else {
        return Value::Null;
    };
    match (kind.as_str(), value) {
        ("intValue", Value::Number(number)) => json!({ kind: number.to_string() }),
        ("doubleValue", Value::Number(number)) => json!({ kind: number.as_f64() }),
        // serde_json writes infinity as null; it is the only number of the test spans that JSON lacks.
        ("doubleValue", Value::Null) => json!({ kind: "Infinity" }),
        ("arrayValue", array) => {
            json!({ kind: list(&array["values"]).iter().map(any_value).collect::<Vec<_>>() })
        }
        ("kvlistValue", map) => json!({ kind: attributes(&map["values"]) }),
        _ => json!({ kind: value }),
    }
}

fn name_of(names: &[&str], number: &Value) -> String {
    let number = index(number);
    names.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn index(number: &Value) -> usize {
    usize::try_from(number.as_u64().unwrap_or(0)).expect("a small number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
