//! Decides predicates outside of a store, with the store's own meaning of them: for layers that show less than a store
//! has, and so decide on what is left. The store itself decides by columns, in `store/query/`.

use spandrel_block::{Number, semantics};
use spandrel_proto::otlp::{ResourceView, SpanView};
use spandrel_proto::{SpanId, TimeRange, TraceId, UnixNanos};

use crate::api::{StoredSpan, TraceSummary};
use crate::error::ReadError;
use crate::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use crate::store::{clamp, matches, summarise};
use crate::table::{AttributeLevel, ColumnName, SpanTable, Value, ValueColumn};

/// What a span is sorted by within its trace.
pub type SpanOrder = (UnixNanos, SpanId);

// === impl StoredSpan ===

impl StoredSpan {
    /// Whether the span satisfies a predicate.
    pub fn satisfies(&self, predicate: &Predicate) -> Result<bool, ReadError> {
        let decided =
            || matches(predicate, &SpanView::parse(&self.span)?, &ResourceView::parse(&self.resource)?);
        decided().map_err(unreadable)
    }

    /// The place of the span in its trace.
    pub fn order(&self) -> Result<SpanOrder, ReadError> {
        let span = SpanView::parse(&self.span).map_err(unreadable)?;
        Ok((UnixNanos(span.start), SpanId::from_wire(span.span_id).unwrap_or_default()))
    }

    /// The name of the span's service.
    pub fn service(&self) -> Result<String, ReadError> {
        let resource = ResourceView::parse(&self.resource).map_err(unreadable)?;
        Ok(semantics::service_name(&resource).to_owned())
    }
}

fn unreadable(error: impl std::fmt::Display) -> ReadError {
    ReadError::Io(format!("a stored span does not decode: {error}"))
}

// === impl TraceSummary ===

impl TraceSummary {
    /// Summarises a trace from its spans, which are sorted, and its rows of logs. `None` without spans.
    pub fn of_spans(
        id: TraceId,
        spans: &[StoredSpan],
        logs: &[StoredSpan],
        predicate: &Predicate,
        range: &TimeRange,
    ) -> Result<Option<Self>, ReadError> {
        summarise(id, spans, logs, predicate, range).map_err(unreadable)
    }
}

// === impl Predicate ===

impl Predicate {
    /// The columns that [`Self::rows`] looks at, some of them twice.
    pub fn columns(&self) -> Vec<ColumnName> {
        match self {
            Self::All => Vec::new(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::columns).collect(),
            Self::Compare(field, _) | Self::Exists(field) | Self::Absent(field) => columns_of(field),
        }
    }

    /// For each row of a table whether it satisfies the predicate. `names` are those of the table's columns; a column
    /// that is missing is one without values.
    pub fn rows(&self, table: &SpanTable, names: &[ColumnName]) -> Vec<bool> {
        match self {
            Self::All => vec![true; table.rows()],
            Self::And(parts) => combine(parts, table, names, true),
            Self::Or(parts) => combine(parts, table, names, false),
            Self::Compare(field, comparison) => compare(field, comparison, table, names),
            Self::Exists(field) => match field {
                Field::Attribute(..) => with_value(field, table, names, |_| true),
                _ => vec![true; table.rows()],
            },
            Self::Absent(field) => {
                let mut rows = Self::Exists(field.clone()).rows(table, names);
                rows.iter_mut().for_each(|row| *row = !*row);
                rows
            }
        }
    }
}

/// Joins the rows of parts: all have to hold, or any.
fn combine(parts: &[Predicate], table: &SpanTable, names: &[ColumnName], all: bool) -> Vec<bool> {
    let mut rows = vec![all; table.rows()];
    for part in parts {
        for (row, holds) in rows.iter_mut().zip(part.rows(table, names)) {
            *row = if all { *row && holds } else { *row || holds };
        }
    }
    rows
}

fn columns_of(field: &Field) -> Vec<ColumnName> {
    let Field::Attribute(scope, key) = field else { return Vec::new() };
    let levels: &[AttributeLevel] = match scope {
        AttributeScope::Any => &[AttributeLevel::Span, AttributeLevel::Resource],
        AttributeScope::Span => &[AttributeLevel::Span],
        AttributeScope::Resource => &[AttributeLevel::Resource],
    };
    levels.iter().map(|level| ColumnName::Attribute(*level, key.clone())).collect()
}

fn compare(field: &Field, comparison: &Comparison, table: &SpanTable, names: &[ColumnName]) -> Vec<bool> {
    let by_class = |holds: &dyn Fn(usize) -> bool| {
        let classes: Vec<bool> = (0..table.classes.classes.len()).map(holds).collect();
        table.class.iter().map(|class| classes[*class as usize]).collect()
    };
    let flags = |class: usize| table.classes.classes[class].flags;
    match field {
        Field::Name => by_class(&|class| {
            let name = table.classes.classes[class].name as usize;
            comparison.holds_for_text(&table.classes.names[name])
        }),
        Field::Status => by_class(&|class| comparison.holds_for_status(flags(class).status())),
        Field::Kind => by_class(&|class| comparison.holds_for_kind(flags(class).kind())),
        Field::Failed => by_class(&|class| comparison.holds_for_bool(flags(class).failed())),
        Field::Parentless => by_class(&|class| comparison.holds_for_bool(!flags(class).has_parent())),
        Field::Duration => {
            let holds = |duration: &u64| comparison.holds_for_number(Number::Int(clamp(*duration)));
            table.duration.iter().map(holds).collect()
        }
        Field::Attribute(..) => with_value(field, table, names, |value| comparison.holds_for(value)),
    }
}

/// The rows with a value of the field for which something holds.
fn with_value(
    field: &Field,
    table: &SpanTable,
    names: &[ColumnName],
    holds: impl Fn(&Value) -> bool,
) -> Vec<bool> {
    let mut rows = vec![false; table.rows()];
    for name in columns_of(field) {
        let Some(column) = names.iter().position(|known| *known == name) else { continue };
        let Some(ValueColumn { values, codes, .. }) = table.columns.get(column) else { continue };
        let held: Vec<bool> = values.iter().map(&holds).collect();
        for (row, found) in rows.iter_mut().enumerate() {
            *found = *found || codes.of_row(row).any(|code| held[code]);
        }
    }
    rows
}

// === impl Comparison ===

impl Comparison {
    /// Whether it holds for a value of a table, as for one that is encoded.
    fn holds_for(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.holds_for_text(text),
            Value::Bool(flag) => self.holds_for_bool(*flag),
            Value::Int(int) => self.holds_for_number(Number::Int(*int)),
            Value::Double(double) => self.holds_for_number(Number::of_double(*double)),
            Value::Array(elements) => self.holds_for_any(elements),
            Value::KeyValues(_) | Value::Bytes(_) | Value::Empty => false,
        }
    }

    fn holds_for_any(&self, elements: &[Value]) -> bool {
        let any = |comparison: &Self| {
            let mut scalars = elements.iter().filter(|element| !matches!(element, Value::Array(_)));
            scalars.any(|element| comparison.holds_for(element))
        };
        match self {
            Self::Ne(literal) => !any(&Self::Eq(literal.clone())),
            Self::MatchesNot(regex) => !any(&Self::Matches(regex.clone())),
            _ => any(self),
        }
    }

    /// The text that it compares with, if it compares with a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Eq(Literal::String(text))
            | Self::Ne(Literal::String(text))
            | Self::Lt(Literal::String(text))
            | Self::Le(Literal::String(text))
            | Self::Gt(Literal::String(text))
            | Self::Ge(Literal::String(text))
            | Self::Contains(text)
            | Self::StartsWith(text)
            | Self::EndsWith(text) => Some(text),
            Self::Matches(regex) | Self::MatchesNot(regex) => Some(regex.as_str()),
            _ => None,
        }
    }
}
