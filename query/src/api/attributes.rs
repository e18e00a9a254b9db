//! `GET /api/v1/attributes`: which attributes there are; their values; and which of them tell two sets of spans apart.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::Uri;
use spandrel_engine::metrics::{self, Comparison};
use spandrel_engine::values::{self, CountedValue};
use spandrel_storage::table::{AttributeLevel, KnownAttribute, ValueType};
use spandrel_traceql::ast::{BinaryOp, FieldExpr, Literal, Pipeline, SpanSetExpr, Stage};

use super::handler::{Answer, Asked, json, part};
use crate::answers::{
    AttributeEntry, AttributeValue, AttributeValuesAnswer, AttributesAnswer, ComparedAttribute,
    ComparedValue, ComparisonAnswer,
};
use crate::params::Params;
use crate::{question, times};

const PARAMETERS: [&str; 3] = ["scope", "start", "end"];
const VALUE_PARAMETERS: [&str; 5] = ["q", "prefix", "limit", "start", "end"];
const COMPARE_PARAMETERS: [&str; 5] = ["selection", "baseline", "limit", "start", "end"];

/// Scopes, by the words that users write.
const SCOPES: [(&str, Option<AttributeLevel>); 6] = [
    ("any", None),
    ("span", Some(AttributeLevel::Span)),
    ("resource", Some(AttributeLevel::Resource)),
    ("event", Some(AttributeLevel::Event)),
    ("link", Some(AttributeLevel::Link)),
    ("instrumentation", Some(AttributeLevel::Scope)),
];

/// Values of an answer, unless a request says otherwise, and at the most.
const USUAL_VALUES: usize = 100;
const MAX_VALUES: usize = 10_000;
/// Values of each attribute of a comparison, unless a request says otherwise.
const USUAL_COMPARED: usize = 10;

pub(super) async fn all(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let scope = params.choice("scope", None, &SCOPES)?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let known = state.run_query(move |store| Ok(store.attributes(&tenant, range)?)).await?;
    let wanted = known.into_iter().filter(|known| scope.is_none_or(|scope| scope == known.level));
    json(&AttributesAnswer { attributes: wanted.map(AttributeEntry::from).collect() })
}

impl From<KnownAttribute> for AttributeEntry {
    fn from(known: KnownAttribute) -> Self {
        let types = known.types.into_iter().map(|value_type| type_word(value_type).into()).collect();
        Self { name: known.key, scope: scope_word(known.level).into(), types }
    }
}

pub(super) async fn values(
    Asked { state, tenant, .. }: Asked,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let params = Params::parse(&uri, &VALUE_PARAMETERS)?;
    let field = question::field(&part("name", path)?)?;
    let spans = question::pipeline(&params, "q")?;
    let limit = params.number("limit", USUAL_VALUES, 1, MAX_VALUES)?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let prefix = params.text("prefix").unwrap_or_default().to_owned();
    let answer = question::run(&state, move |store, budget| {
        values::values(store, &tenant, &field, &spans, range, budget)
    });
    let (values, partial) = answer.await?;
    let value = |counted: &CountedValue| AttributeValue {
        r#type: question::type_word(&counted.value),
        value: question::value(&counted.value),
        span_count: counted.spans,
    };
    let matches = |value: &AttributeValue| match &value.value {
        serde_json::Value::String(text) => text.starts_with(&prefix),
        other => other.to_string().starts_with(&prefix),
    };
    json(&AttributeValuesAnswer {
        values: values.iter().map(value).filter(matches).take(limit).collect(),
        partial: partial.is_some(),
        partial_reason: question::reason(partial),
    })
}

pub(super) async fn compare(Asked { state, tenant, .. }: Asked, uri: Uri) -> Answer {
    let params = Params::parse(&uri, &COMPARE_PARAMETERS)?;
    let selection = question::condition(&params, "selection")?;
    let baseline = match params.text("baseline") {
        Some(_) => Some(question::condition(&params, "baseline")?),
        None => None,
    };
    let limit = params.number("limit", USUAL_COMPARED, 1, MAX_VALUES)?;
    let range = times::range(params.text("start"), params.text("end"), state.now())?;
    let answer = question::run(&state, move |store, budget| {
        let spans = either(&selection, baseline);
        metrics::comparisons(store, &tenant, &spans, &selection, range, budget)
    });
    let (comparisons, partial) = answer.await?;
    json(&ComparisonAnswer {
        attributes: comparisons.iter().map(|comparison| compared(comparison, limit)).collect(),
        partial: partial.is_some(),
        partial_reason: question::reason(partial),
    })
}

/// The spans of both sides: without a baseline every span.
fn either(selection: &FieldExpr, baseline: Option<FieldExpr>) -> Pipeline {
    let condition = match baseline {
        None => FieldExpr::Literal(Literal::Bool(true)),
        Some(baseline) => FieldExpr::Binary(BinaryOp::Or, Box::new(selection.clone()), Box::new(baseline)),
    };
    Pipeline { stages: vec![Stage::Spans(SpanSetExpr::Filter(condition))] }
}

fn compared(comparison: &Comparison, limit: usize) -> ComparedAttribute {
    let value = |value: &metrics::ComparedValue| ComparedValue {
        value: question::value(&value.value),
        selection_count: value.counts[0],
        baseline_count: value.counts[1],
    };
    ComparedAttribute {
        name: comparison.field.to_string(),
        difference: comparison.difference,
        selection_count: comparison.totals[0],
        baseline_count: comparison.totals[1],
        too_many_values: comparison.too_many_values,
        values: comparison.values.iter().take(limit).map(value).collect(),
    }
}

fn scope_word(level: AttributeLevel) -> &'static str {
    let word = SCOPES.iter().find(|(_, known)| *known == Some(level));
    word.map_or("any", |(word, _)| word)
}

fn type_word(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Empty => "none",
        ValueType::String => "string",
        ValueType::Bool => "bool",
        ValueType::Int => "int",
        ValueType::Double => "double",
        ValueType::Bytes => "bytes",
        ValueType::Array => "array",
        ValueType::KeyValues => "kvlist",
    }
}
