//! Values of log records in the table of a trace: a record of a span counts as one more event of it.
//!
//! A record belongs to the span with its ID; where several share it, to the first that is of its service, else to the
//! first.

use spandrel_block::semantics::service_name;
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{ResourceView, SpanView};

use super::span_values::{each_value_of_span, time_since};
use super::value_list::ColumnBuilder;
use crate::store::read::merge_iter::SpanRow;
use crate::table::{AttributeLevel, ColumnName, SpanTable, ValueColumn};

/// Whether log records have values in a column.
pub(crate) fn is_of_events(column: &ColumnName) -> bool {
    matches!(
        column,
        ColumnName::EventName
            | ColumnName::EventTimeSinceStart
            | ColumnName::Attribute(AttributeLevel::Event, _)
    )
}

/// Adds the values of rows of logs, in their order, to the spans of a trace. The table has IDs.
pub(super) fn join_logs(
    table: &mut SpanTable,
    columns: &[ColumnName],
    logs: &[SpanRow],
) -> Result<(), WireError> {
    let mut of_rows: Vec<Vec<SpanView<'_>>> = vec![Vec::new(); table.rows()];
    for log in logs {
        let view = SpanView::parse(&log.span)?;
        if let Some(row) = row_of(table, &view, service_name(&ResourceView::parse(&log.resource)?)) {
            of_rows[row].push(view);
        }
    }
    if of_rows.iter().all(Vec::is_empty) {
        return Ok(());
    }
    for (name, column) in columns.iter().zip(&mut table.columns).filter(|(name, _)| is_of_events(name)) {
        *column = joined(name, column, &table.start, &of_rows)?;
    }
    Ok(())
}

fn row_of(table: &SpanTable, log: &SpanView<'_>, service: &str) -> Option<usize> {
    let id = u64::from_be_bytes(log.span_id.try_into().ok()?);
    let mut rows = (0..table.rows()).filter(|row| table.span_id[*row] == id);
    let first = rows.clone().next();
    rows.find(|row| table.service(*row) == service).or(first)
}

fn joined(
    name: &ColumnName,
    column: &ValueColumn,
    starts: &[u64],
    logs: &[Vec<SpanView<'_>>],
) -> Result<ValueColumn, WireError> {
    let mut builder = ColumnBuilder::default();
    for (row, logs) in logs.iter().enumerate() {
        let has_values = !column.values.is_empty();
        for code in column.codes.of_row(row).filter(|_| has_values) {
            builder.push(column.values[code].clone());
        }
        for log in logs {
            if *name == ColumnName::EventTimeSinceStart {
                for event in log.events() {
                    builder.push(time_since(starts[row], event?.time));
                }
            } else {
                each_value_of_span(name, log, |value| _ = builder.push(value))?;
            }
        }
        builder.end_row();
    }
    Ok(builder.finish())
}
