//! Tables of spans, row by row, and the rows that the oracle expects of the spans that were sent.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList, any_value};
use prost::Message;
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_storage::TraceStore;
use spandrel_storage::table::{
    AttributeLevel, Codes, ColumnName, FoldAnswer, FoldPlan, SpanTable, TableFold, Value,
};

use crate::harness::Harness;
use crate::oracle;
use crate::spans::Sent;

/// A row of a table, with its values as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Row {
    pub trace: String,
    pub start: u64,
    /// The IDs of the span and its parent; zero without.
    pub ids: Option<(u64, u64)>,
    pub duration: u64,
    pub service: String,
    pub name: String,
    pub kind: SpanKind,
    pub status: StatusCode,
    pub failed: bool,
    pub has_parent: bool,
    /// By column.
    pub values: Vec<Vec<String>>,
}

/// Collects the tables that it gets, each as its rows.
#[derive(Default)]
pub struct Collector {
    pub tables: Vec<Vec<Row>>,
    /// The number of tables after which it ends the pass; `None` to go on to the end.
    pub enough: Option<usize>,
}

/// Every column that has no key, and the attributes of these keys at every level.
pub fn columns(keys: &[&str]) -> Vec<ColumnName> {
    use AttributeLevel::{Event, Link, Resource, Scope, Span};
    let attributes = [Span, Resource, Event, Link, Scope]
        .into_iter()
        .flat_map(|level| keys.iter().map(move |key| ColumnName::Attribute(level, (*key).to_owned())));
    let others = [
        ColumnName::StatusMessage,
        ColumnName::TraceState,
        ColumnName::Flags,
        ColumnName::EventName,
        ColumnName::EventTimeSinceStart,
        ColumnName::LinkTraceId,
        ColumnName::LinkSpanId,
        ColumnName::ScopeName,
        ColumnName::ScopeVersion,
    ];
    attributes.chain(others).collect()
}

/// The rows of a table, which has to be sound.
pub fn rows(table: &SpanTable) -> Vec<Row> {
    let count = table.rows();
    assert_eq!((table.start.len(), table.duration.len()), (count, count));
    assert!(matches!(table.span_id.len(), 0) || table.span_id.len() == count);
    assert_eq!(table.span_id.len(), table.parent_id.len());
    assert_eq!(table.traces.last().map_or(0, |(_, end)| *end as usize), count);
    assert!(table.traces.is_sorted_by_key(|(_, end)| *end));
    table.columns.iter().for_each(|column| {
        let mut values: Vec<String> = column.values.iter().map(|value| format!("{value:?}")).collect();
        values.sort();
        assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "a value is listed twice: {values:?}");
        if let Codes::Many { ends, .. } = &column.codes {
            let rows = ends.iter().scan(0, |begin, end| Some(end - std::mem::replace(begin, *end)));
            assert!(rows.max().unwrap_or(0) > 1, "no row has several values");
        }
    });
    let row = |at: usize| {
        let (trace, _) = table.traces.iter().find(|(_, end)| at < *end as usize).unwrap();
        let flags = table.flags(at);
        Row {
            trace: trace.to_string(),
            start: table.start[at],
            ids: table.span_id.get(at).copied().zip(table.parent_id.get(at).copied()),
            duration: table.duration[at],
            service: table.service(at).to_owned(),
            name: table.name(at).to_owned(),
            kind: flags.kind(),
            status: flags.status(),
            failed: flags.failed(),
            has_parent: flags.has_parent(),
            values: table
                .columns
                .iter()
                .map(|column| column.codes.of_row(at).map(|code| text(&column.values[code])).collect())
                .collect(),
        }
    };
    (0..count).map(row).collect()
}

/// The row that a table has for a span.
pub fn expected(sent: &Sent, columns: &[ColumnName], ids: bool) -> Row {
    let id = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
    Row {
        trace: sent.trace().to_string(),
        start: sent.start(),
        ids: ids.then(|| (id(&sent.span.span_id), id(&sent.span.parent_span_id))),
        duration: sent.duration(),
        service: oracle::service(sent).to_owned(),
        name: sent.span.name.clone(),
        kind: oracle::kind(sent),
        status: oracle::status(sent),
        failed: oracle::failed(sent),
        has_parent: oracle::has_parent(sent),
        values: columns.iter().map(|column| values(sent, column)).collect(),
    }
}

/// The values that a column has for a span.
fn values(sent: &Sent, column: &ColumnName) -> Vec<String> {
    let Sent { resource, scope, span } = sent;
    let string = |text: &str| format!("{:?}", Value::String(text.to_owned()));
    let unless_empty = |text: &str| if text.is_empty() { Vec::new() } else { vec![string(text)] };
    let hex = |bytes: &[u8]| string(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let scope = scope.scope.clone().unwrap_or_default();
    match column {
        ColumnName::Attribute(level, key) => match level {
            AttributeLevel::Span => with_key(&span.attributes, key),
            AttributeLevel::Resource if key == "service.name" => vec![string(oracle::service(sent))],
            AttributeLevel::Resource => {
                with_key(&resource.resource.clone().unwrap_or_default().attributes, key)
            }
            AttributeLevel::Scope => with_key(&scope.attributes, key),
            AttributeLevel::Event => {
                span.events.iter().flat_map(|event| with_key(&event.attributes, key)).collect()
            }
            AttributeLevel::Link => {
                span.links.iter().flat_map(|link| with_key(&link.attributes, key)).collect()
            }
        },
        ColumnName::StatusMessage => {
            unless_empty(&span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default())
        }
        ColumnName::TraceState => unless_empty(&span.trace_state),
        ColumnName::Flags => {
            let flags = (span.flags != 0).then(|| text(&Value::Int(i64::from(span.flags))));
            flags.into_iter().collect()
        }
        ColumnName::EventName => span.events.iter().map(|event| string(&event.name)).collect(),
        ColumnName::EventTimeSinceStart => span
            .events
            .iter()
            .map(|event| {
                let since = i128::from(event.time_unix_nano) - i128::from(span.start_time_unix_nano);
                text(&Value::Int(since.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
            })
            .collect(),
        ColumnName::LinkTraceId => span.links.iter().map(|link| hex(&link.trace_id)).collect(),
        ColumnName::LinkSpanId => span.links.iter().map(|link| hex(&link.span_id)).collect(),
        ColumnName::ScopeName => unless_empty(&scope.name),
        ColumnName::ScopeVersion => unless_empty(&scope.version),
    }
}

fn with_key(attributes: &[KeyValue], key: &str) -> Vec<String> {
    let own = attributes.iter().filter(|attribute| attribute.key == key);
    own.map(|attribute| text(&value(attribute.value.as_ref()))).collect()
}

fn value(sent: Option<&AnyValue>) -> Value {
    use any_value::Value as Sent;
    match sent.and_then(|value| value.value.as_ref()) {
        Some(Sent::StringValue(text)) => Value::String(text.clone()),
        Some(Sent::BoolValue(flag)) => Value::Bool(*flag),
        Some(Sent::IntValue(int)) => Value::Int(*int),
        Some(Sent::DoubleValue(double)) => Value::Double(*double),
        Some(Sent::BytesValue(bytes)) => Value::Bytes(bytes.clone()),
        Some(Sent::KvlistValue(list)) => Value::KeyValues(list.encode_to_vec()),
        Some(Sent::ArrayValue(array)) => {
            Value::Array(array.values.iter().map(|element| value(Some(element))).collect())
        }
        _ => Value::Empty,
    }
}

/// The value as text; key-value lists by content, because there are many ways to write one.
fn text(value: &Value) -> String {
    match value {
        Value::KeyValues(message) => format!("{:?}", KeyValueList::decode(message.as_slice()).unwrap()),
        Value::Array(elements) => format!("{:?}", elements.iter().map(text).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

// === impl Collector ===

impl TableFold for Collector {
    fn add(&mut self, table: &SpanTable) -> bool {
        assert!(table.rows() > 0, "an empty table");
        self.tables.push(rows(table));
        self.enough.is_none_or(|enough| self.tables.len() < enough)
    }
}

/// How to run a pass: all spans, or whole traces.
pub type Pass =
    fn(&Harness, &FoldPlan, &mut [&mut dyn TableFold]) -> Result<FoldAnswer, spandrel_storage::ReadError>;

/// A pass over the spans of the default tenant.
pub fn over_spans(
    harness: &Harness,
    plan: &FoldPlan,
    folds: &mut [&mut dyn TableFold],
) -> Result<FoldAnswer, spandrel_storage::ReadError> {
    harness.store().fold_spans(&TenantId::default(), plan, folds)
}

/// A pass over the traces of the default tenant.
pub fn over_traces(
    harness: &Harness,
    plan: &FoldPlan,
    folds: &mut [&mut dyn TableFold],
) -> Result<FoldAnswer, spandrel_storage::ReadError> {
    harness.store().fold_traces(&TenantId::default(), plan, folds)
}

/// Runs a whole pass in so many threads. Returns its tables.
pub fn tables(harness: &Harness, pass: Pass, plan: &FoldPlan, threads: usize) -> Vec<Vec<Row>> {
    let mut folds: Vec<Collector> = (0..threads).map(|_| Collector::default()).collect();
    let mut shown: Vec<&mut dyn TableFold> =
        folds.iter_mut().map(|fold| fold as &mut dyn TableFold).collect();
    let answer = pass(harness, plan, &mut shown).unwrap();
    assert!(!answer.partial, "{plan:?}");
    folds.into_iter().flat_map(|fold| fold.tables).collect()
}

/// The rows of each trace of a pass over traces: a table may have several.
pub fn traces(harness: &Harness, plan: &FoldPlan, threads: usize) -> Vec<Vec<Row>> {
    let of_table = |table: Vec<Row>| -> Vec<Vec<Row>> {
        table.chunk_by(|one, next| one.trace == next.trace).map(<[Row]>::to_vec).collect()
    };
    tables(harness, over_traces, plan, threads).into_iter().flat_map(of_table).collect()
}
