//! Hides values of single spans, for traces and exports.
//!
//! A span is decoded, changed and encoded again: fields that this version of OTLP does not know are left out, because
//! they could hold anything.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::LogRowMessage;
use spandrel_storage::{ReadError, StoredSpan};

use super::mask::{MASKED, Masker};

/// Hides values of the spans of a trace, and remembers the resources and scopes that they share.
pub(super) struct SpanMask {
    masker: Arc<Masker>,
    /// Masked resources and scopes, by their stored bytes.
    resources: FxHashMap<Bytes, Bytes>,
    scopes: FxHashMap<Bytes, Bytes>,
}

// === impl SpanMask ===

impl SpanMask {
    pub(super) fn new(masker: Arc<Masker>) -> Self {
        Self { masker, resources: FxHashMap::default(), scopes: FxHashMap::default() }
    }

    /// The span as the role sees it.
    pub(super) fn masked(&mut self, stored: &StoredSpan) -> Result<StoredSpan, ReadError> {
        let Self { masker, resources, scopes } = self;
        Ok(StoredSpan {
            resource: once(resources, &stored.resource, |bytes| resource(masker, bytes))?,
            scope: once(scopes, &stored.scope, |bytes| scope(masker, bytes))?,
            span: span(masker, &stored.span)?,
            failed: stored.failed,
        })
    }

    /// The same for a row of logs.
    pub(super) fn masked_log(&mut self, stored: &StoredSpan) -> Result<StoredSpan, ReadError> {
        let Self { masker, resources, scopes } = self;
        Ok(StoredSpan {
            resource: once(resources, &stored.resource, |bytes| resource(masker, bytes))?,
            scope: once(scopes, &stored.scope, |bytes| scope(masker, bytes))?,
            span: log_row(masker, &stored.span)?,
            failed: stored.failed,
        })
    }
}

fn once(
    known: &mut FxHashMap<Bytes, Bytes>,
    stored: &Bytes,
    change: impl FnOnce(&Bytes) -> Result<Bytes, ReadError>,
) -> Result<Bytes, ReadError> {
    if let Some(seen) = known.get(stored) {
        return Ok(seen.clone());
    }
    let seen = change(stored)?;
    known.insert(stored.clone(), seen.clone());
    Ok(seen)
}

fn resource(masker: &Masker, stored: &Bytes) -> Result<Bytes, ReadError> {
    changed(stored, |spans: &mut ResourceSpans| {
        if let Some(resource) = &mut spans.resource {
            attributes(masker, &mut resource.attributes);
        }
        masker.apply(&mut spans.schema_url);
    })
}

fn scope(masker: &Masker, stored: &Bytes) -> Result<Bytes, ReadError> {
    changed(stored, |spans: &mut ScopeSpans| {
        if let Some(scope) = &mut spans.scope {
            masker.apply(&mut scope.name);
            masker.apply(&mut scope.version);
            attributes(masker, &mut scope.attributes);
        }
        masker.apply(&mut spans.schema_url);
    })
}

fn span(masker: &Masker, stored: &Bytes) -> Result<Bytes, ReadError> {
    changed(stored, |span: &mut Span| {
        masker.apply(&mut span.name);
        masker.apply(&mut span.trace_state);
        attributes(masker, &mut span.attributes);
        for event in &mut span.events {
            masker.apply(&mut event.name);
            attributes(masker, &mut event.attributes);
        }
        for link in &mut span.links {
            masker.apply(&mut link.trace_state);
            attributes(masker, &mut link.attributes);
        }
        if let Some(status) = &mut span.status {
            masker.apply(&mut status.message);
        }
    })
}

fn log_row(masker: &Masker, stored: &Bytes) -> Result<Bytes, ReadError> {
    changed(stored, |row: &mut LogRowMessage| {
        for log in &mut row.logs {
            // Fields that are not known could hold anything.
            log.unknown = Vec::new();
            masker.apply(&mut log.event_name);
            masker.apply(&mut log.severity_text);
            attributes(masker, &mut log.attributes);
            log.body.iter_mut().for_each(|body| hide(masker, body));
        }
    })
}

fn changed<M: Message + Default>(bytes: &Bytes, change: impl FnOnce(&mut M)) -> Result<Bytes, ReadError> {
    let mut message = M::decode(bytes.clone())
        .map_err(|error| ReadError::Io(format!("a stored span does not decode: {error}")))?;
    change(&mut message);
    Ok(message.encode_to_vec().into())
}

fn attributes(masker: &Masker, attributes: &mut [KeyValue]) {
    for KeyValue { key, value, .. } in attributes {
        if masker.hides_key(key) {
            *value = Some(text(MASKED.to_owned()));
            masker.apply(key);
        } else if let Some(known) = value {
            hide(masker, known);
        }
    }
}

fn hide(masker: &Masker, any: &mut AnyValue) {
    match &mut any.value {
        Some(any_value::Value::StringValue(text)) => masker.apply(text),
        Some(any_value::Value::IntValue(int)) => {
            if let Some(seen) = masker.number(*int) {
                *any = text(seen);
            }
        }
        Some(any_value::Value::DoubleValue(double)) => {
            if let Some(seen) = masker.number(*double) {
                *any = text(seen);
            }
        }
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.iter_mut().for_each(|item| hide(masker, item));
        }
        Some(any_value::Value::KvlistValue(list)) => attributes(masker, &mut list.values),
        // Nothing can be found in bytes, and anything may be in them.
        Some(any_value::Value::BytesValue(_)) if masker.has_detectors() => *any = text(MASKED.to_owned()),
        _ => {}
    }
}

fn text(text: String) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text)) }
}
