//! The fields that a query mentions, which its answer shows of each span.

use spandrel_traceql::ast::{
    Aggregate, Field, FieldExpr, FieldName, Intrinsic, Pipeline, ScalarExpr, SpanSetExpr, Stage,
};

/// The fields of a pipeline in the order in which they are written, each once, without those that every span of an
/// answer shows anyway.
pub(crate) fn of_pipeline(pipeline: &Pipeline) -> Vec<Field> {
    let mut fields = Vec::new();
    in_pipeline(pipeline, &mut |field| {
        let shown = matches!(field.name, FieldName::Intrinsic(Intrinsic::Name | Intrinsic::Duration));
        if (field.of_parent || !shown) && !fields.contains(field) {
            fields.push(field.clone());
        }
    });
    fields
}

fn in_pipeline(pipeline: &Pipeline, see: &mut dyn FnMut(&Field)) {
    for stage in &pipeline.stages {
        match stage {
            Stage::Spans(expr) => in_set(expr, see),
            Stage::Filter(filter) => {
                in_scalar(&filter.left, see);
                in_scalar(&filter.right, see);
            }
            Stage::By(keys) => keys.iter().for_each(|key| in_field_expr(key, see)),
            Stage::Coalesce => {}
            Stage::Select(fields) => fields.iter().for_each(&mut *see),
        }
    }
}

fn in_set(expr: &SpanSetExpr, see: &mut dyn FnMut(&Field)) {
    match expr {
        SpanSetExpr::Filter(condition) => in_field_expr(condition, see),
        SpanSetExpr::Binary(_, left, right) => {
            in_set(left, see);
            in_set(right, see);
        }
        SpanSetExpr::Wrapped(pipeline) => in_pipeline(pipeline, see),
        SpanSetExpr::None(inner) | SpanSetExpr::All(inner) => in_set(inner, see),
    }
}

fn in_scalar(expr: &ScalarExpr, see: &mut dyn FnMut(&Field)) {
    match expr {
        ScalarExpr::Literal(_) => {}
        ScalarExpr::Field(field) => see(field),
        ScalarExpr::Aggregate(aggregate) => in_aggregate(aggregate, see),
        ScalarExpr::Wrapped(pipeline, aggregate) => {
            in_pipeline(pipeline, see);
            in_aggregate(aggregate, see);
        }
        ScalarExpr::Negate(inner) => in_scalar(inner, see),
        ScalarExpr::Arithmetic(_, left, right) => {
            in_scalar(left, see);
            in_scalar(right, see);
        }
    }
}

fn in_aggregate(aggregate: &Aggregate, see: &mut dyn FnMut(&Field)) {
    match aggregate {
        Aggregate::Count => {}
        Aggregate::Min(expr)
        | Aggregate::Max(expr)
        | Aggregate::Sum(expr)
        | Aggregate::Avg(expr)
        | Aggregate::CountDistinct(expr)
        | Aggregate::Quantile(expr, _) => in_field_expr(expr, see),
    }
}

fn in_field_expr(expr: &FieldExpr, see: &mut dyn FnMut(&Field)) {
    match expr {
        FieldExpr::Literal(_) => {}
        FieldExpr::Field(field) => see(field),
        FieldExpr::Not(inner) | FieldExpr::Negate(inner) => in_field_expr(inner, see),
        FieldExpr::Binary(_, left, right) => {
            in_field_expr(left, see);
            in_field_expr(right, see);
        }
    }
}
