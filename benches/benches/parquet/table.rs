//! The Parquet side: all fields of a span in columns.
//!
//! Attributes that enough spans have get a typed column each. A list in the file's metadata has every combination of
//! attributes with their order, and each span has its number in that list. Fields without a column (rare keys, arrays,
//! repeated keys) are kept as wire bytes, and so are events and links. Resources and scopes are dictionary-encoded as
//! wholes. Nothing is lost.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use spandrel_proto::otlp::wire::{Reader, Value, put_bytes};
use spandrel_proto::otlp::{AnyValue, ResourceView, SpanView};

use super::clock::{asked, measured};
use super::input::{GROUP, Input, RARE, Span};
use super::{Costs, lookup};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Type {
    Text,
    Int,
    Double,
    Bool,
}

/// Values of one column of a row group; rows without one are left out of `values`.
pub enum Values {
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
    Int(Vec<i64>),
    Double(Vec<f64>),
    Bool(Vec<bool>),
}

struct Column {
    values: Values,
    /// Empty if every row has a value.
    present: Vec<i16>,
    rows: usize,
}

/// The attributes that have columns.
struct Layout {
    keys: Vec<(String, Type)>,
    index: HashMap<(String, Type), usize>,
}

/// An attribute gets a column if at least one span in this many has it.
const SHARE: usize = 1_000;
/// Columns that every span has, in the order of the schema.
pub const FIXED: [&str; 17] = [
    "trace_id",
    "span_id",
    "parent_id",
    "resource",
    "scope",
    "service",
    "name",
    "kind",
    "start",
    "duration",
    "status",
    "message",
    "state",
    "flags",
    "shape",
    "rest",
    "nested",
];
/// The index of the first attribute's column.
pub const FIRST_ATTRIBUTE: usize = FIXED.len();

pub fn measure(input: &Input, zstd_level: i32) -> Costs {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spans.parquet");
    // The layout is not part of the measurement: a store computes it once and not for each block.
    let layout = Layout::of(&input.spans);
    let ((), encode) = measured(|| write(&path, input, &layout, zstd_level));
    let bytes = path.metadata().expect("a file").len();
    let rare = FIRST_ATTRIBUTE + layout.index[&(RARE.to_owned(), Type::Text)];
    let by_id = asked(&input.wanted, || (), |(), (id, _)| assert!(lookup::by_id(&path, *id) > 0));
    let by_value = asked(
        &input.wanted,
        || (),
        |(), (id, order)| {
            assert_eq!(lookup::by_value(&path, rare, order), Some(*id));
        },
    );
    let absent_value = asked(
        &input.absent(),
        || (),
        |(), order| {
            assert_eq!(lookup::by_value(&path, rare, order), None);
        },
    );
    let (rows, decode) = measured(|| lookup::read_all(&path));
    assert_eq!(rows, input.spans.len());
    Costs {
        name: format!("Parquet, zstd {zstd_level}"),
        bytes,
        encode,
        decode,
        by_id,
        by_value,
        absent_value,
    }
}

fn write(path: &Path, input: &Input, layout: &Layout, zstd_level: i32) {
    let schema = Arc::new(parse_message_type(&layout.schema()).expect("a schema"));
    let file = File::create(path).expect("a file");
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(layout.properties(zstd_level))).expect("a writer");
    let mut shapes: HashMap<Vec<u16>, i64> = HashMap::new();
    for spans in input.spans.chunks(GROUP) {
        let columns = columns_of(spans, layout, &mut shapes);
        let mut group = writer.next_row_group().expect("a row group");
        for column in columns {
            column.write(group.next_column().expect("a column").expect("one more"));
        }
        group.close().expect("a whole row group");
    }
    let mut listed: Vec<(&Vec<u16>, &i64)> = shapes.iter().collect();
    listed.sort_by_key(|(_, number)| **number);
    let shapes: Vec<&Vec<u16>> = listed.into_iter().map(|(shape, _)| shape).collect();
    writer.append_key_value_metadata(KeyValue::new("shapes".to_owned(), serde_json::to_string(&shapes).ok()));
    writer.close().expect("a whole file");
}

fn columns_of(spans: &[Span], layout: &Layout, shapes: &mut HashMap<Vec<u16>, i64>) -> Vec<Column> {
    let mut columns = layout.columns();
    let mut services: HashMap<&[u8], ByteArray> = HashMap::new();
    for span in spans {
        let view = SpanView::parse(&span.bytes).expect("a span");
        let service = services.entry(&span.resource).or_insert_with(|| {
            let resource = ResourceView::parse(&span.resource).expect("a resource");
            spandrel_storage::semantics::service_name(&resource).as_bytes().to_vec().into()
        });
        columns[0].fixed(view.trace_id);
        columns[1].fixed(view.span_id);
        columns[2].fixed_or_none(view.parent_span_id);
        columns[3].shared(&span.resource);
        columns[4].shared(&span.scope);
        columns[5].bytes(service.clone());
        columns[6].slice(&span.bytes, view.name.as_bytes());
        columns[7].int(i64::from(view.raw_kind));
        columns[8].int(view.start as i64);
        columns[9].int(view.end.wrapping_sub(view.start) as i64);
        columns[10].int(i64::from(view.raw_status_code) + if view.has_status { 1 << 32 } else { 0 });
        columns[11].slice(&span.bytes, view.status_message.as_bytes());
        columns[12].slice(&span.bytes, view.trace_state.as_bytes());
        columns[13].int(i64::from(view.flags));
        let (shape, rest) = attributes(span, &view, layout, &mut columns);
        let next = shapes.len() as i64;
        columns[14].int(*shapes.entry(shape).or_insert(next));
        columns[15].bytes(rest.into());
        columns[16].bytes(nested(&span.bytes).into());
        columns[FIRST_ATTRIBUTE..].iter_mut().for_each(Column::end_row);
    }
    columns
}

/// Puts attributes into their columns; returns their combination, and the attributes without a column.
fn attributes(
    span: &Span,
    view: &SpanView<'_>,
    layout: &Layout,
    columns: &mut [Column],
) -> (Vec<u16>, Vec<u8>) {
    let (mut shape, mut rest) = (Vec::new(), Vec::new());
    for attribute in view.attributes() {
        let attribute = attribute.expect("an attribute");
        let value = attribute.value.unwrap_or(AnyValue::Empty);
        let place = type_of(value).and_then(|kind| layout.place(attribute.key, kind));
        match place.filter(|place| !shape.contains(&(*place as u16))) {
            Some(place) => {
                shape.push(place as u16);
                columns[FIRST_ATTRIBUTE + place].any(span, value);
            }
            None => {
                // Stands for the wire bytes, which have about the same length.
                put_bytes(&mut rest, 1, attribute.key.as_bytes());
                put_bytes(&mut rest, 2, format!("{value:?}").as_bytes());
                shape.push(u16::MAX);
            }
        }
    }
    (shape, rest)
}

/// Events, links and all other fields without a column, as wire bytes.
fn nested(span: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reader = Reader::new(span);
    while let Some(field) = reader.next_field().expect("a span") {
        if let (11 | 13, Value::Bytes(bytes)) = (field.number, field.value) {
            put_bytes(&mut out, field.number, bytes);
        }
    }
    out
}

fn type_of(value: AnyValue<'_>) -> Option<Type> {
    match value {
        AnyValue::String(_) => Some(Type::Text),
        AnyValue::Int(_) => Some(Type::Int),
        AnyValue::Double(_) => Some(Type::Double),
        AnyValue::Bool(_) => Some(Type::Bool),
        _ => None,
    }
}

// === impl Layout ===

impl Layout {
    fn of(spans: &[Span]) -> Self {
        let mut counts: HashMap<(String, Type), usize> = HashMap::new();
        for span in spans {
            let view = SpanView::parse(&span.bytes).expect("a span");
            for attribute in view.attributes() {
                let attribute = attribute.expect("an attribute");
                if let Some(kind) = attribute.value.and_then(type_of) {
                    *counts.entry((attribute.key.to_owned(), kind)).or_default() += 1;
                }
            }
        }
        let enough = (spans.len() / SHARE).max(1);
        let mut keys: Vec<(String, Type)> =
            counts.into_iter().filter(|(_, count)| *count >= enough).map(|(key, _)| key).collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0).then((a.1 as u8).cmp(&(b.1 as u8))));
        let index = keys.iter().cloned().zip(0..).collect();
        Self { keys, index }
    }

    fn place(&self, key: &str, kind: Type) -> Option<usize> {
        self.index.get(&(key.to_owned(), kind)).copied()
    }

    fn schema(&self) -> String {
        let mut schema = String::from("message span {\n");
        for name in FIXED {
            schema += &match name {
                "trace_id" => format!("required fixed_len_byte_array(16) {name};\n"),
                "span_id" => format!("required fixed_len_byte_array(8) {name};\n"),
                "parent_id" => format!("optional fixed_len_byte_array(8) {name};\n"),
                "kind" | "start" | "duration" | "status" | "flags" | "shape" => {
                    format!("required int64 {name};\n")
                }
                _ => format!("required binary {name};\n"),
            };
        }
        for (place, (_, kind)) in self.keys.iter().enumerate() {
            let kind = match kind {
                Type::Text => "binary",
                Type::Int => "int64",
                Type::Double => "double",
                Type::Bool => "boolean",
            };
            schema += &format!("optional {kind} a{place};\n");
        }
        schema + "}"
    }

    fn properties(&self, zstd_level: i32) -> WriterProperties {
        let path = |name: &str| ColumnPath::from(name);
        let delta = |properties: WriterPropertiesBuilder, name: &str| {
            properties
                .set_column_dictionary_enabled(path(name), false)
                .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED)
        };
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level).expect("a level")))
            .set_column_dictionary_enabled(path("span_id"), false)
            .set_column_bloom_filter_enabled(path("trace_id"), true)
            .set_column_bloom_filter_max_ndv(path("trace_id"), GROUP as u64 / 15);
        properties = delta(delta(properties, "start"), "duration");
        if let Some(rare) = self.index.get(&(RARE.to_owned(), Type::Text)) {
            let name = format!("a{rare}");
            properties = properties
                .set_column_bloom_filter_enabled(path(&name), true)
                .set_column_bloom_filter_max_ndv(path(&name), GROUP as u64 / 50);
        }
        // Small pages for columns that are read row by row. No query uses statistics of the others.
        properties.set_data_page_row_count_limit(5_000).set_statistics_truncate_length(Some(16)).build()
    }

    fn columns(&self) -> Vec<Column> {
        let fixed = FIXED.iter().map(|name| match *name {
            "trace_id" | "span_id" | "parent_id" => Values::Fixed(Vec::new()),
            "kind" | "start" | "duration" | "status" | "flags" | "shape" => Values::Int(Vec::new()),
            _ => Values::Bytes(Vec::new()),
        });
        let attributes = self.keys.iter().map(|(_, kind)| match kind {
            Type::Text => Values::Bytes(Vec::new()),
            Type::Int => Values::Int(Vec::new()),
            Type::Double => Values::Double(Vec::new()),
            Type::Bool => Values::Bool(Vec::new()),
        });
        fixed.chain(attributes).map(|values| Column { values, present: Vec::new(), rows: 0 }).collect()
    }
}

// === impl Column ===

impl Column {
    fn fixed(&mut self, id: &[u8]) {
        if let Values::Fixed(values) = &mut self.values {
            values.push(FixedLenByteArray::from(id.to_vec()));
        }
    }

    fn fixed_or_none(&mut self, id: &[u8]) {
        self.present.push(i16::from(!id.is_empty()));
        if !id.is_empty() {
            self.fixed(id);
        }
    }

    fn bytes(&mut self, value: ByteArray) {
        if let Values::Bytes(values) = &mut self.values {
            values.push(value);
        }
    }

    fn shared(&mut self, value: &bytes::Bytes) {
        self.bytes(value.clone().into());
    }

    fn slice(&mut self, whole: &bytes::Bytes, part: &[u8]) {
        let part = if part.is_empty() { bytes::Bytes::new() } else { whole.slice_ref(part) };
        self.bytes(part.into());
    }

    fn int(&mut self, value: i64) {
        if let Values::Int(values) = &mut self.values {
            values.push(value);
        }
    }

    /// The value of an attribute.
    fn any(&mut self, span: &Span, value: AnyValue<'_>) {
        self.present.push(1);
        match (&mut self.values, value) {
            (Values::Bytes(_), AnyValue::String(text)) => self.slice(&span.bytes, text.as_bytes()),
            (Values::Int(values), AnyValue::Int(int)) => values.push(int),
            (Values::Double(values), AnyValue::Double(double)) => values.push(double),
            (Values::Bool(values), AnyValue::Bool(flag)) => values.push(flag),
            _ => unreachable!("the layout chose the column by its type"),
        }
    }

    /// Ends the row of an attribute, which may have had no value.
    fn end_row(&mut self) {
        self.rows += 1;
        if self.present.len() < self.rows {
            self.present.push(0);
        }
    }

    fn write(self, mut writer: SerializedColumnWriter<'_>) {
        let present = (!self.present.is_empty()).then_some(&*self.present);
        let written = match &self.values {
            Values::Bytes(v) => writer.typed::<ByteArrayType>().write_batch(v, present, None),
            Values::Fixed(v) => writer.typed::<FixedLenByteArrayType>().write_batch(v, present, None),
            Values::Int(v) => writer.typed::<Int64Type>().write_batch(v, present, None),
            Values::Double(v) => writer.typed::<DoubleType>().write_batch(v, present, None),
            Values::Bool(v) => writer.typed::<BoolType>().write_batch(v, present, None),
        };
        written.expect("a column");
        writer.close().expect("a whole column");
    }
}
