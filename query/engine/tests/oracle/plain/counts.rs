//! How often values of fields occur.

use spandrel_proto::semconv;
use spandrel_traceql::ast::{AttributeName, Field, FieldExpr, FieldName, Intrinsic, Pipeline, Scope};

use super::metrics::{Points, Series};
use super::trace::Trace;
use super::value::Value;

/// Spans that have a value: selected ones and others, by point.
#[derive(Debug)]
pub struct Counts {
    pub value: Value,
    pub points: Vec<[u64; 2]>,
}

/// The counts of the values of each field that is compared, if any counted span has the field.
pub fn compared(
    traces: &[Trace],
    spans: &Pipeline,
    selection: &FieldExpr,
    selected: Option<(i64, i64)>,
    points: Points,
) -> Vec<(Field, Vec<Counts>)> {
    let is_selected = |trace: &Trace, span: usize| {
        let start = trace.spans[span].start() as i64;
        trace.holds(span, selection) && selected.is_none_or(|(begin, end)| begin <= start && start < end)
    };
    let counts = |field: Field| (counts_of(traces, spans, &field, points, is_selected), field);
    let all = compared_fields(traces).into_iter().map(counts);
    all.filter(|(counts, _)| !counts.is_empty()).map(|(counts, field)| (field, counts)).collect()
}

/// The counts of the values of a field.
pub fn counts_of(
    traces: &[Trace],
    spans: &Pipeline,
    field: &Field,
    points: Points,
    is_selected: impl Fn(&Trace, usize) -> bool,
) -> Vec<Counts> {
    let mut all: Vec<Counts> = Vec::new();
    for trace in traces {
        for span in trace.matched(spans) {
            let start = trace.spans[span].start();
            let value = trace.first(span, field).shown();
            if !points.contain(start) || value == Value::Nil {
                continue;
            }
            let known = all.iter().position(|counts| counts.value.is_same(&value));
            let at = known.unwrap_or_else(|| {
                all.push(Counts { value, points: vec![[0; 2]; points.count()] });
                all.len() - 1
            });
            all[at].points[points.of(start)][usize::from(!is_selected(trace, span))] += 1;
        }
    }
    all
}

/// What every span has, and all attributes of spans, resources and scopes; old and new names of an attribute are one
/// field.
fn compared_fields(traces: &[Trace]) -> Vec<Field> {
    let field = |name| Field { of_parent: false, name };
    let intrinsics = [Intrinsic::Name, Intrinsic::Kind, Intrinsic::Status, Intrinsic::StatusMessage];
    let mut fields: Vec<Field> = intrinsics.map(|of| field(FieldName::Intrinsic(of))).to_vec();
    let mut add = |scope, key: &str| {
        let key = semconv::names_of(key).map_or(key, |names| names[0]).to_owned();
        let attribute = field(FieldName::Attribute(AttributeName { scope, key, is_literal: false }));
        if !fields.contains(&attribute) {
            fields.push(attribute);
        }
    };
    add(Scope::Resource, "service.name");
    for sent in traces.iter().flat_map(|trace| &trace.spans) {
        sent.span.attributes.iter().for_each(|attribute| add(Scope::Span, &attribute.key));
        sent.resource.attributes.iter().for_each(|attribute| add(Scope::Resource, &attribute.key));
        sent.scope.attributes.iter().for_each(|attribute| add(Scope::Instrumentation, &attribute.key));
    }
    fields
}

// === impl Counts ===

impl Counts {
    /// The count of each side at all points.
    pub fn total(&self) -> [u64; 2] {
        [0, 1].map(|side| self.points.iter().map(|point| point[side]).sum())
    }
}

/// The series that `compare` gives if it gives all values.
pub fn series_of_comparison(compared: &[(Field, Vec<Counts>)], points: Points) -> Vec<Series> {
    let mut all = Vec::new();
    for (field, values) in compared {
        for (side, name) in ["selection", "baseline"].into_iter().enumerate() {
            let labels = |kind: String, value: Value| {
                vec![("__meta_type".to_owned(), Value::Text(kind)), (field.to_string(), value)]
            };
            let mut totals = vec![0.0; points.count()];
            for counts in values {
                let of_side: Vec<f64> = counts.points.iter().map(|point| point[side] as f64).collect();
                totals.iter_mut().zip(&of_side).for_each(|(total, count)| *total += count);
                if counts.total()[side] > 0 {
                    let labels = labels(name.to_owned(), counts.value.clone());
                    all.push(Series { labels, values: of_side });
                }
            }
            all.push(Series { labels: labels(format!("{name}_total"), Value::Nil), values: totals });
        }
    }
    all
}
