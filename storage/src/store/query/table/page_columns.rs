//! Reads columns of tables from the columns of a page, row by row. Rows whose values columns do not tell are read from
//! their spans. `whole_columns.rs` reads usual columns faster.

use spandrel_block::{
    Access, FieldReader, FieldValue, Level, MessageField, OpenValues, Rebuilder, StoredValue,
};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::SpanView;

use super::block_parts::FieldParts;
use super::column_lists::ColumnList;
use super::span_values::{each_value_of_span, time_since};
use super::translator::Translator;
use super::value_list::CodesBuilder;
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader, Caching};
use crate::table::{AttributeLevel, Codes, ColumnName, Value};

/// The spans of a page, for rows that columns do not tell everything of.
pub(super) struct PageSpans<'s> {
    reader: &'s BlockReader,
    entry: &'s BlockEntry,
    page: u32,
    /// `None` until a span is needed.
    spans: Option<Rebuilder>,
    bytes: Vec<u8>,
}

// === impl ColumnName ===

impl ColumnName {
    /// The field of spans, events or links that has the values; `None` if resource and scope decide them.
    pub(super) fn field(&self) -> Option<(Level, MessageField<'_>)> {
        let attribute = MessageField::Attribute;
        Some(match self {
            Self::Attribute(AttributeLevel::Span, key) => (Level::Span, attribute(key)),
            Self::Attribute(AttributeLevel::Event, key) => (Level::Event, attribute(key)),
            Self::Attribute(AttributeLevel::Link, key) => (Level::Link, attribute(key)),
            Self::TraceState => (Level::Span, MessageField::Number(3)),
            Self::StatusMessage => (Level::Span, MessageField::Number(15)),
            Self::Flags => (Level::Span, MessageField::Number(16)),
            Self::EventTimeSinceStart => (Level::Event, MessageField::Number(1)),
            Self::EventName => (Level::Event, MessageField::Number(2)),
            Self::LinkTraceId => (Level::Link, MessageField::Number(1)),
            Self::LinkSpanId => (Level::Link, MessageField::Number(2)),
            Self::Attribute(AttributeLevel::Resource | AttributeLevel::Scope, _)
            | Self::ScopeName
            | Self::ScopeVersion => return None,
        })
    }

    /// The value of an event or link that lacks the field.
    fn default_value(&self, start: u64) -> Option<Value> {
        match self {
            Self::EventTimeSinceStart => Some(time_since(start, 0)),
            Self::EventName | Self::LinkTraceId | Self::LinkSpanId => Some(Value::String(String::new())),
            _ => None,
        }
    }
}

/// Reads a column of these rows, which ascend, row by row.
pub(super) fn column_by_rows(
    name: &ColumnName,
    field: &FieldParts,
    page: &OpenValues,
    rows: &[usize],
    access: Access,
    spans: &mut PageSpans<'_>,
    list: &mut ColumnList,
) -> Result<Codes, BlockError> {
    let mut reader = FieldReader::new(page, &field.plan, access);
    let translator = Translator { name, dictionary: &page.dictionary };
    let mut column = RowsOfColumn::new(translator, list, field.plan.places());
    for &row in rows {
        if field.absent[page.core.class[row] as usize] {
            reader.pass_absent(row);
            column.codes.end_row();
            continue;
        }
        let (start, mut added) = (page.core.start[row], Ok(()));
        let is_known = reader.read(row, |reader, values| {
            if added.is_ok() {
                added = column.add(reader, values, start);
            }
        })?;
        added?;
        if !is_known {
            each_value_of_span(name, &SpanView::parse(spans.span(row)?)?, |value| column.push(value))?;
        }
        column.codes.end_row();
    }
    Ok(column.codes.finish())
}

/// Builds a column row by row.
struct RowsOfColumn<'p> {
    translator: Translator<'p>,
    list: &'p mut ColumnList,
    codes: CodesBuilder,
    /// For each slot, and each distinct text in its column, what is known of its value; of a literal, the first one.
    known: Vec<Vec<Known>>,
}

/// What is known of a value that may come again.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Absent,
    Number(u32),
}

// === impl PageSpans ===

impl<'s> PageSpans<'s> {
    pub(super) fn new(reader: &'s BlockReader, entry: &'s BlockEntry, page: u32) -> Self {
        Self { reader, entry, page, spans: None, bytes: Vec::new() }
    }

    /// The span of a row, but with another trace ID, which no column has.
    fn span(&mut self, row: usize) -> Result<&[u8], BlockError> {
        let spans = match &mut self.spans {
            Some(known) => known,
            none => {
                let page = self.reader.page(self.entry, self.page, Caching::Keep)?;
                none.insert(Rebuilder::new(page, row))
            }
        };
        self.bytes.clear();
        spans.seek(row);
        spans.next(TraceId::MIN, &mut self.bytes)?;
        Ok(&self.bytes)
    }
}

// === impl RowsOfColumn ===

impl<'p> RowsOfColumn<'p> {
    fn new(translator: Translator<'p>, list: &'p mut ColumnList, places: usize) -> Self {
        Self { translator, list, codes: CodesBuilder::default(), known: vec![Vec::new(); places] }
    }

    fn push(&mut self, value: Value) {
        let number = self.list.values.number(value);
        self.codes.push(number);
    }

    /// Adds the values of a message. Of a field that is no list, the last one counts.
    fn add(&mut self, reader: &FieldReader<'_>, values: &[FieldValue], start: u64) -> Result<(), BlockError> {
        let values = match (self.translator.name, values) {
            (ColumnName::Attribute(..), all) => all,
            (_, [.., last]) => std::slice::from_ref(last),
            (name, []) => {
                if let Some(value) = name.default_value(start) {
                    self.push(value);
                }
                return Ok(());
            }
        };
        for value in values {
            if let Some(number) = self.number_of(reader, value, start)? {
                self.codes.push(number);
            }
        }
        Ok(())
    }

    /// The number of a value; `None` for one that counts as absent.
    fn number_of(
        &mut self,
        reader: &FieldReader<'_>,
        FieldValue { slot, place, stored }: &FieldValue,
        start: u64,
    ) -> Result<Option<u32>, BlockError> {
        let (values, translator) = (&mut self.list.values, self.translator);
        let at = match stored {
            StoredValue::Literal => 0,
            StoredValue::Text(text) => *text as usize,
            StoredValue::Number(number) => {
                let value = translator.value_of_number(*slot, *number, start)?;
                return Ok(value.map(|value| values.number(value)));
            }
        };
        match self.known[*place as usize].get(at) {
            Some(Known::Number(number)) => return Ok(Some(*number)),
            Some(Known::Absent) => return Ok(None),
            Some(Known::Nothing) | None => {}
        }
        let value = match stored {
            StoredValue::Text(text) => translator.value_of_text(*slot, reader.text(*place, *text)?)?,
            _ => translator.literal(*slot)?,
        };
        let number = value.map(|value| values.number(value));
        let known = &mut self.known[*place as usize];
        known.resize(known.len().max(at + 1), Known::Nothing);
        known[at] = number.map_or(Known::Absent, Known::Number);
        Ok(number)
    }
}
