//! The values of fields.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use spandrel_proto::semconv;
use spandrel_traceql::ast::{AttributeName, Field, FieldName, Intrinsic, Kind, Scope, Status};

use super::mesh;
use super::trace::{Sent, Trace};
use super::value::Value;

impl Trace {
    /// All values of a field of a span, in the order of occurrence.
    pub fn values(&self, span: usize, field: &Field) -> Vec<Value> {
        let span = if field.of_parent { self.parents[span] } else { Some(span) };
        let Some(span) = span else { return Vec::new() };
        let mut values = match &field.name {
            FieldName::Intrinsic(intrinsic) => self.intrinsic(span, *intrinsic),
            FieldName::Attribute(name) => attribute(&self.spans[span], name),
        };
        values.retain(|value| *value != Value::Nil);
        values
    }

    /// The first value of a field; nil without one.
    pub fn first(&self, span: usize, field: &Field) -> Value {
        self.values(span, field).into_iter().next().unwrap_or(Value::Nil)
    }

    fn intrinsic(&self, at: usize, intrinsic: Intrinsic) -> Vec<Value> {
        let sent = &self.spans[at];
        let span = &sent.span;
        let parent = self.parents[at];
        let one = match intrinsic {
            Intrinsic::Duration => whole(sent.duration()),
            Intrinsic::Name => Value::Text(span.name.clone()),
            Intrinsic::Kind => Value::Kind(kind(span.kind)),
            Intrinsic::Status => Value::Status(status(sent.status())),
            Intrinsic::StatusMessage => {
                Value::Text(span.status.as_ref().map_or_else(String::new, |status| status.message.clone()))
            }
            Intrinsic::SpanId => hex(&span.span_id),
            Intrinsic::ParentId => sent.named_parent().map_or(Value::Text(String::new()), hex),
            Intrinsic::ChildCount => Value::Int(self.children(at).len() as i64),
            Intrinsic::Failed => Value::Bool(sent.has_failed()),
            Intrinsic::Root => Value::Bool(at == self.root),
            Intrinsic::Entry => Value::Bool(self.is_entry(at)),
            Intrinsic::TraceDuration => whole(self.duration()),
            Intrinsic::RootName => Value::Text(self.spans[self.root].span.name.clone()),
            Intrinsic::RootService => Value::Text(self.spans[self.root].service().to_owned()),
            Intrinsic::TraceId => hex(&span.trace_id),
            Intrinsic::InstrumentationName => Value::Text(sent.scope.name.clone()),
            Intrinsic::InstrumentationVersion => Value::Text(sent.scope.version.clone()),
            Intrinsic::NestedSetLeft => Value::Int(self.nested[at].0),
            Intrinsic::NestedSetRight => Value::Int(self.nested[at].1),
            Intrinsic::NestedSetParent if sent.named_parent().is_none() => Value::Int(-1),
            Intrinsic::NestedSetParent => Value::Int(parent.map_or(0, |parent| self.nested[parent].0)),
            Intrinsic::Parent => {
                if parent.is_some() {
                    Value::Other
                } else {
                    Value::Nil
                }
            }
            Intrinsic::EventName => {
                return span.events.iter().map(|event| Value::Text(event.name.clone())).collect();
            }
            Intrinsic::EventTimeSinceStart => {
                let since = |time: u64| Value::Int(time as i64 - sent.start() as i64);
                return span.events.iter().map(|event| since(event.time_unix_nano)).collect();
            }
            Intrinsic::MeshRequest => {
                Value::Bool(mesh::is_request(sent, parent.map(|parent| &self.spans[parent])))
            }
            Intrinsic::Mesh(field) => {
                return mesh::values(sent, field).into_iter().map(Value::Text).collect();
            }
            Intrinsic::LinkTraceId => return span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            Intrinsic::LinkSpanId => return span.links.iter().map(|link| hex(&link.span_id)).collect(),
        };
        vec![one]
    }
}

/// The values of the newest name that the span has.
fn attribute(sent: &Sent, name: &AttributeName) -> Vec<Value> {
    let names = if name.is_literal { None } else { semconv::names_of(&name.key) };
    let names = names.map_or(vec![name.key.as_str()], <[&str]>::to_vec);
    let values = names.into_iter().map(|key| of_scope(sent, name.scope, key));
    values.into_iter().find(|values| !values.is_empty()).unwrap_or_default()
}

fn of_scope(sent: &Sent, scope: Scope, key: &str) -> Vec<Value> {
    let span = &sent.span;
    match scope {
        Scope::Any => [of_scope(sent, Scope::Span, key), of_scope(sent, Scope::Resource, key)].concat(),
        Scope::Span => of_list(&span.attributes, key),
        Scope::Resource if key == "service.name" => vec![Value::Text(sent.service().to_owned())],
        Scope::Resource => of_list(&sent.resource.attributes, key),
        Scope::Event => span.events.iter().flat_map(|event| of_list(&event.attributes, key)).collect(),
        Scope::Link => span.links.iter().flat_map(|link| of_list(&link.attributes, key)).collect(),
        Scope::Instrumentation => of_list(&sent.scope.attributes, key),
    }
}

fn of_list(attributes: &[KeyValue], key: &str) -> Vec<Value> {
    let with_key = attributes.iter().filter(|attribute| attribute.key == key);
    with_key.map(|attribute| Value::of_any(attribute.value.as_ref())).collect()
}

fn whole(nanos: u64) -> Value {
    Value::Int(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn hex(id: &[u8]) -> Value {
    Value::Text(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn kind(kind: i32) -> Kind {
    match kind {
        1 => Kind::Internal,
        2 => Kind::Server,
        3 => Kind::Client,
        4 => Kind::Producer,
        5 => Kind::Consumer,
        _ => Kind::Unspecified,
    }
}

fn status(code: i32) -> Status {
    match code {
        1 => Status::Ok,
        2 => Status::Error,
        _ => Status::Unset,
    }
}
