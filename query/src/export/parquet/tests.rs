//! Tables read back by the crate's own reader; DuckDB and pandas read them in the end-to-end tests.

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue as Attribute, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use spandrel_proto::TraceId;
use spandrel_storage::TraceSpans;

use super::*;
use crate::testing::{attribute, stored, string};

fn table(traces: Vec<Vec<spandrel_storage::StoredSpan>>, group_rows: usize) -> SerializedFileReader<Bytes> {
    let mut table = Table::begin().unwrap();
    for (id, spans) in (1u128..).zip(traces) {
        table.rows.begin_trace(TraceId::from_bytes(id.to_be_bytes()));
        for span in TraceSpans::from_spans(spans) {
            table.rows.push(&span.unwrap()).unwrap();
            if table.rows.len() == group_rows {
                table.write_group().unwrap();
            }
        }
    }
    table.write_group().unwrap();
    table.writer.finish().unwrap();
    let file = std::mem::take(table.writer.inner_mut());
    SerializedFileReader::new(Bytes::from(file)).unwrap()
}

fn rows(file: &SerializedFileReader<Bytes>) -> Vec<Row> {
    file.get_row_iter(None).unwrap().collect::<Result<_, _>>().unwrap()
}

fn field(row: &Row, name: &str) -> String {
    let found = row.get_column_iter().find(|(column, _)| *column == name);
    match &found.unwrap_or_else(|| panic!("no column {name}")).1 {
        Field::Str(text) => text.clone(),
        other => other.to_string(),
    }
}

fn full() -> Span {
    Span {
        trace_id: 1u128.to_be_bytes().to_vec(),
        span_id: 0xabu64.to_be_bytes().to_vec(),
        parent_span_id: 1u64.to_be_bytes().to_vec(),
        trace_state: "a=b".to_owned(),
        name: "GET /cart".to_owned(),
        kind: 3,
        start_time_unix_nano: 1_700_000_000_123_456_789,
        end_time_unix_nano: 1_700_000_000_123_457_000,
        flags: 0x301,
        status: Some(Status { code: 2, message: "gone".to_owned() }),
        attributes: vec![
            string("http.method", "OLD"),
            string("http.request.method", "GET"),
            attribute("http.response.status_code", Value::IntValue(503)),
            attribute("ratio", Value::DoubleValue(0.5)),
            attribute("wild", Value::DoubleValue(f64::NEG_INFINITY)),
            attribute("big", Value::IntValue(i64::MIN)),
            attribute("blob", Value::BytesValue(vec![0xff, 0])),
            attribute(
                "list",
                Value::ArrayValue(ArrayValue {
                    values: vec![
                        string("", "x").value.unwrap(),
                        attribute("", Value::BoolValue(true)).value.unwrap(),
                    ],
                }),
            ),
            string("twice", "first"),
            string("twice", "last"),
            Attribute { key: "nothing".to_owned(), ..Attribute::default() },
        ],
        events: vec![
            Event { time_unix_nano: 5, name: "one".to_owned(), ..Event::default() },
            Event {
                time_unix_nano: 6,
                name: "two".to_owned(),
                attributes: vec![string("k", "v"), attribute("n", Value::IntValue(1))],
                ..Event::default()
            },
        ],
        links: vec![Link {
            trace_id: 2u128.to_be_bytes().to_vec(),
            span_id: 3u64.to_be_bytes().to_vec(),
            attributes: vec![string("why", "retry")],
            ..Link::default()
        }],
        ..Span::default()
    }
}

fn plain(id: u64) -> Span {
    Span {
        span_id: id.to_be_bytes().to_vec(),
        start_time_unix_nano: 9,
        end_time_unix_nano: 7,
        ..Span::default()
    }
}

#[test]
fn every_field_has_its_column() {
    let resource =
        vec![string("service.name", "cart"), string("service.version", "1.2"), string("host", "a")];
    let file = table(vec![vec![stored(resource, &full()), stored(Vec::new(), &plain(2))]], 100);
    let rows = rows(&file);
    assert_eq!(rows.len(), 2);
    let expected = [
        ("trace_id", "00000000000000000000000000000001"),
        ("span_id", "00000000000000ab"),
        ("parent_span_id", "0000000000000001"),
        ("service", "cart"),
        ("name", "GET /cart"),
        ("kind", "CLIENT"),
        ("start", "1700000000123456789"),
        ("end", "1700000000123457000"),
        ("duration_nano", "211"),
        ("status", "ERROR"),
        ("status_message", "gone"),
        ("failed", "true"),
        ("error_code", "503"),
        ("trace_state", "a=b"),
        ("flags", "769"),
        ("scope_name", "test"),
        ("scope_version", "1"),
        ("service_version", "1.2"),
        ("service_namespace", "null"),
        ("http_request_method", "GET"),
        ("http_response_status_code", "503"),
        ("db_system", "null"),
        ("resource_attributes", r#"{"service.name" -> "cart", "service.version" -> "1.2", "host" -> "a"}"#),
        (
            "attributes",
            r#"{"http.method" -> "OLD", "http.request.method" -> "GET", "http.response.status_code" -> "503", "ratio" -> "0.5", "wild" -> "-Infinity", "big" -> "-9223372036854775808", "blob" -> "/wA=", "list" -> "["x",true]", "twice" -> "last", "nothing" -> null}"#,
        ),
        (
            "events",
            r#"[{time: 5, name: "one", attributes: {}}, {time: 6, name: "two", attributes: {"k" -> "v", "n" -> "1"}}]"#,
        ),
        (
            "links",
            r#"[{trace_id: "00000000000000000000000000000002", span_id: "0000000000000003", trace_state: null, attributes: {"why" -> "retry"}}]"#,
        ),
    ];
    for (column, value) in expected {
        assert_eq!(field(&rows[0], column), value, "{column}");
    }
    let empty = [
        ("parent_span_id", "null"),
        ("service", "unknown_service"),
        ("name", ""),
        ("kind", "UNSPECIFIED"),
        ("duration_nano", "0"),
        ("status", "UNSET"),
        ("failed", "false"),
        ("error_code", "null"),
        ("http_response_status_code", "null"),
        ("attributes", "{}"),
        ("events", "[]"),
        ("links", "[]"),
    ];
    for (column, value) in empty {
        assert_eq!(field(&rows[1], column), value, "{column}");
    }
}

#[test]
fn row_groups_end_where_they_have_to_and_share_nothing() {
    let traces = (0..5)
        .map(|_| (1..=3).map(|id| stored(Vec::new(), &if id == 2 { full() } else { plain(id) })).collect());
    let file = table(traces.collect(), 4);
    let groups: Vec<i64> = file.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [4, 4, 4, 3]);
    let rows = rows(&file);
    for (place, row) in rows.iter().enumerate() {
        assert_eq!(field(row, "trace_id"), format!("{:032x}", place / 3 + 1));
        let events = field(row, "events");
        assert_eq!(events == "[]", place % 3 != 1, "{events}");
    }
}

#[test]
fn a_table_without_rows_is_one() {
    let file = table(Vec::new(), 10);
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
    let noted = file.metadata().file_metadata().key_value_metadata().unwrap();
    assert!(noted.iter().any(|one| one.key == "spandrel.schema" && one.value.as_deref() == Some("1")));
}
