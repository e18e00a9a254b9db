//! Samples of what a rule does to a span: its fields before and after, by their names in rules.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use spandrel_clean::Seen;
use spandrel_proto::otlp::{SpanRecord, write_request_json};

/// A span that a rule drops or changes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sample {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) service: String,
    pub(super) name: String,
    /// All fields before.
    pub(super) before: Fields,
    /// All fields after; none of a span that is dropped.
    pub(super) after: Option<Fields>,
}

pub(super) type Fields = BTreeMap<String, String>;

// === impl Sample ===

impl Sample {
    pub(super) fn of(before: Seen<'_>, after: Option<Seen<'_>>) -> Option<Self> {
        let (span, fields) = fields(before)?;
        let text = |member: &str| span[member].as_str().unwrap_or_default().to_owned();
        let after = match after {
            Some(after) => Some(self::fields(after)?.1),
            None => None,
        };
        Some(Self {
            trace_id: text("traceId"),
            span_id: text("spanId"),
            service: fields.get("resource.service.name").cloned().unwrap_or_default(),
            name: text("name"),
            before: fields,
            after,
        })
    }

    /// The same operation of the same service.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.service, &self.name) == (&other.service, &other.name)
    }

    /// The fields that differ, before and after.
    pub(super) fn differences(&self) -> Vec<(&str, Option<&str>, Option<&str>)> {
        let Some(after) = &self.after else { return Vec::new() };
        let names: std::collections::BTreeSet<&String> = self.before.keys().chain(after.keys()).collect();
        let both = |name: &'_ String| (self.before.get(name), after.get(name));
        names
            .into_iter()
            .map(|name| (name, both(name)))
            .filter(|(_, (before, after))| before != after)
            .map(|(name, (before, after))| {
                (name.as_str(), before.map(String::as_str), after.map(String::as_str))
            })
            .collect()
    }
}

/// The span as JSON of OTLP, and its fields with their values as text.
fn fields(seen: Seen<'_>) -> Option<(Value, Fields)> {
    let mut text = Vec::new();
    let record = SpanRecord { resource: seen.resource, scope: seen.scope, span: seen.span };
    write_request_json(&mut text, [record]).ok()?;
    let document: Value = serde_json::from_slice(&text).ok()?;
    let resource = &document["resourceSpans"][0];
    let scope = &resource["scopeSpans"][0];
    let span = &scope["spans"][0];
    let mut fields = Fields::new();
    add_attributes(&mut fields, "resource.", &resource["resource"]["attributes"]);
    add_attributes(&mut fields, "instrumentation.", &scope["scope"]["attributes"]);
    add_attributes(&mut fields, "span.", &span["attributes"]);
    let mut add = |name: &str, value: &Value| {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            fields.insert(name.to_owned(), text.to_owned());
        }
    };
    add("name", &span["name"]);
    add("statusMessage", &span["status"]["message"]);
    add("traceState", &span["traceState"]);
    add("instrumentation.name", &scope["scope"]["name"]);
    for (level, list) in [("event", "events"), ("link", "links")] {
        for (number, one) in span[list].as_array().into_iter().flatten().enumerate() {
            let place = format!("{level}[{number}]");
            if let Some(name) = one["name"].as_str() {
                fields.insert(format!("{place}.name"), name.to_owned());
            }
            add_attributes(&mut fields, &format!("{place}."), &one["attributes"]);
        }
    }
    Some((span.clone(), fields))
}

fn add_attributes(fields: &mut Fields, level: &str, attributes: &Value) {
    for attribute in attributes.as_array().into_iter().flatten() {
        let key = attribute["key"].as_str().unwrap_or_default();
        let value = match attribute["value"].as_object().and_then(|value| value.values().next()) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        fields.insert(format!("{level}{key}"), value);
    }
}
