//! The fields that a query mentions.

use spandrel_traceql::ast::{
    Aggregate, Field, FieldExpr, FieldName, Intrinsic, Pipeline, ScalarExpr, SpanSetExpr, Stage,
};

/// The fields in the order in which they are written, each once, but for the name and the duration of a span.
pub fn mentioned(pipeline: &Pipeline) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for field in of_pipeline(pipeline) {
        let is_known = matches!(field.name, FieldName::Intrinsic(Intrinsic::Name | Intrinsic::Duration));
        if !fields.contains(&field) && (field.of_parent || !is_known) {
            fields.push(field);
        }
    }
    fields
}

fn of_pipeline(pipeline: &Pipeline) -> Vec<Field> {
    pipeline.stages.iter().flat_map(of_stage).collect()
}

fn of_stage(stage: &Stage) -> Vec<Field> {
    match stage {
        Stage::Spans(spans) => of_spans(spans),
        Stage::Filter(filter) => [of_scalar(&filter.left), of_scalar(&filter.right)].concat(),
        Stage::By(keys) => keys.iter().flat_map(of_expr).collect(),
        Stage::Coalesce => Vec::new(),
        Stage::Select(fields) => fields.clone(),
    }
}

fn of_spans(spans: &SpanSetExpr) -> Vec<Field> {
    match spans {
        SpanSetExpr::Filter(condition) => of_expr(condition),
        SpanSetExpr::Binary(_, left, right) => [of_spans(left), of_spans(right)].concat(),
        SpanSetExpr::Wrapped(pipeline) => of_pipeline(pipeline),
        SpanSetExpr::None(inner) | SpanSetExpr::All(inner) => of_spans(inner),
    }
}

fn of_scalar(scalar: &ScalarExpr) -> Vec<Field> {
    match scalar {
        ScalarExpr::Literal(_) => Vec::new(),
        ScalarExpr::Field(field) => vec![field.clone()],
        ScalarExpr::Aggregate(aggregate) => of_aggregate(aggregate),
        ScalarExpr::Wrapped(pipeline, aggregate) => [of_pipeline(pipeline), of_aggregate(aggregate)].concat(),
        ScalarExpr::Negate(inner) => of_scalar(inner),
        ScalarExpr::Arithmetic(_, left, right) => [of_scalar(left), of_scalar(right)].concat(),
    }
}

fn of_aggregate(aggregate: &Aggregate) -> Vec<Field> {
    match aggregate {
        Aggregate::Count => Vec::new(),
        Aggregate::Min(expr) | Aggregate::Max(expr) | Aggregate::Sum(expr) | Aggregate::Avg(expr) => {
            of_expr(expr)
        }
        Aggregate::CountDistinct(expr) | Aggregate::Quantile(expr, _) => of_expr(expr),
    }
}

fn of_expr(expr: &FieldExpr) -> Vec<Field> {
    match expr {
        FieldExpr::Literal(_) => Vec::new(),
        FieldExpr::Field(field) => vec![field.clone()],
        FieldExpr::Not(inner) | FieldExpr::Negate(inner) => of_expr(inner),
        FieldExpr::Binary(_, left, right) => [of_expr(left), of_expr(right)].concat(),
    }
}
