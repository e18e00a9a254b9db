//! Writes trees as text, with the least parentheses that parsing needs to give the same tree.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::ast::{
    Aggregate, AttributeName, BinaryOp, Body, Field, FieldExpr, FieldName, Hint, Literal, Metrics,
    MetricsFunction, Pipeline, Query, ScalarExpr, ScalarFilter, Scope, SecondStage, SpanSetExpr, SpanSetOp,
    Stage,
};
use crate::duration;
use crate::words::{self, Binding};

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)?;
        if self.hints.is_empty() { Ok(()) } else { write!(f, " with({})", List(&self.hints)) }
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Traces(pipeline) => pipeline.fmt(f),
            Self::Metrics(series) => series.fmt(f),
        }
    }
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().enumerate() {
            write!(f, "{}{stage}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spans(spans) => spans.fmt(f),
            Self::Filter(filter) => filter.fmt(f),
            Self::By(keys) => write!(f, "by({})", List(keys)),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => write!(f, "select({})", List(fields)),
        }
    }
}

// === sets of spans ===

impl Display for SpanSetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(FieldExpr::Literal(Literal::Bool(true))) => f.write_str("{ }"),
            Self::Filter(condition) => write!(f, "{{ {condition} }}"),
            Self::Binary(op, left, right) => {
                let (symbol, binding) = set_operator(*op);
                let right_needs = set_binding(right) <= binding;
                Within(set_binding(left) < binding, left).fmt(f)?;
                write!(f, " {symbol} {}", Within(right_needs, right))
            }
            Self::Wrapped(pipeline) => write!(f, "({pipeline})"),
            Self::None(spans) => write!(f, "none({})", Inside(spans)),
            Self::All(spans) => write!(f, "all({})", Inside(spans)),
        }
    }
}

/// A set in parentheses that are there anyway.
struct Inside<'a>(&'a SpanSetExpr);

impl Display for Inside<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            SpanSetExpr::Wrapped(pipeline) => pipeline.fmt(f),
            spans => spans.fmt(f),
        }
    }
}

fn set_operator(op: SpanSetOp) -> (&'static str, Binding) {
    match op {
        SpanSetOp::And => ("&&", Binding::Logic),
        SpanSetOp::Or => ("||", Binding::Logic),
        SpanSetOp::Structural { relation, result } => {
            (words::structural(relation, result), Binding::Comparison)
        }
    }
}

fn set_binding(spans: &SpanSetExpr) -> Binding {
    match spans {
        SpanSetExpr::Binary(op, ..) => set_operator(*op).1,
        _ => Binding::Tightest,
    }
}

// === numbers of sets ===

impl Display for ScalarFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, words::operator(self.op).0, self.right)
    }
}

impl Display for ScalarExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Field(field) => field.fmt(f),
            Self::Aggregate(aggregate) => aggregate.fmt(f),
            Self::Wrapped(pipeline, aggregate) => write!(f, "({pipeline} | {aggregate})"),
            Self::Negate(inner) => {
                // `-5` is a number, and `-(5)` changes the sign of one.
                let needs = matches!(**inner, Self::Literal(_) | Self::Arithmetic(..));
                write!(f, "-{}", Within(needs, inner))
            }
            Self::Arithmetic(op, left, right) => {
                let binding = words::operator(*op).1;
                let (left_needs, right_needs) = parentheses(*op, scalar_binding(left), scalar_binding(right));
                debug_assert!(binding >= Binding::Sum);
                Within(left_needs, left).fmt(f)?;
                write!(f, " {} {}", words::operator(*op).0, Within(right_needs, right))
            }
        }
    }
}

fn scalar_binding(scalar: &ScalarExpr) -> Binding {
    match scalar {
        ScalarExpr::Arithmetic(op, ..) => words::operator(*op).1,
        _ => Binding::Tightest,
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count()"),
            Self::Min(e) => write!(f, "min({e})"),
            Self::Max(e) => write!(f, "max({e})"),
            Self::Sum(e) => write!(f, "sum({e})"),
            Self::Avg(e) => write!(f, "avg({e})"),
            Self::CountDistinct(e) => write!(f, "count_distinct({e})"),
            Self::Quantile(e, q) => write!(f, "quantile({e}, {q})"),
        }
    }
}

// === expressions on a span ===

impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Field(field) => field.fmt(f),
            Self::Not(inner) => write!(f, "!{}", Within(field_binding(inner) <= Binding::Not, inner)),
            Self::Negate(inner) => {
                // `-5` is a number, and `-(5)` changes the sign of one.
                let needs = matches!(**inner, Self::Literal(_)) || field_binding(inner) <= Binding::Sum;
                write!(f, "-{}", Within(needs, inner))
            }
            Self::Binary(op, left, right) => {
                let (left_needs, right_needs) = parentheses(*op, field_binding(left), field_binding(right));
                // A sign ends before whatever follows a sum or a comparison.
                let right_needs =
                    right_needs && !(is_prefixed(right) && words::operator(*op).1 <= Binding::Sum);
                Within(left_needs, left).fmt(f)?;
                write!(f, " {} {}", words::operator(*op).0, Within(right_needs, right))
            }
        }
    }
}

/// How tightly an expression holds together. A negative number is no tighter than its sign.
fn field_binding(expr: &FieldExpr) -> Binding {
    match expr {
        FieldExpr::Binary(op, ..) => words::operator(*op).1,
        FieldExpr::Not(_) => Binding::Not,
        FieldExpr::Negate(_) => Binding::Sum,
        FieldExpr::Literal(literal) if is_negative(literal) => Binding::Sum,
        FieldExpr::Literal(_) | FieldExpr::Field(_) => Binding::Tightest,
    }
}

fn is_prefixed(expr: &FieldExpr) -> bool {
    matches!(expr, FieldExpr::Not(_) | FieldExpr::Negate(_) | FieldExpr::Literal(_))
}

/// Whether the sides of an operator need parentheses: those that bind less tightly, and of equals the side that would
/// not be taken first.
fn parentheses(op: BinaryOp, left: Binding, right: Binding) -> (bool, bool) {
    let binding = words::operator(op).1;
    if op == BinaryOp::Pow { (left <= binding, right < binding) } else { (left < binding, right <= binding) }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.name {
            FieldName::Intrinsic(intrinsic) if self.of_parent => {
                write!(f, "parent.{}", words::intrinsic_of_parent(*intrinsic))
            }
            FieldName::Intrinsic(intrinsic) => f.write_str(words::intrinsic(*intrinsic)),
            FieldName::Attribute(name) if self.of_parent && name.scope == Scope::Any => {
                // A second dot tells `parent..duration`, an attribute, from `parent.duration`.
                write!(f, "parent{}{name}", if words::is_taken_of_parent(name) { "." } else { "" })
            }
            FieldName::Attribute(name) => write!(f, "{}{name}", if self.of_parent { "parent." } else { "" }),
        }
    }
}

impl Display for AttributeName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", words::scope(self.scope))?;
        let plain = !self.key.is_empty() && self.key.chars().all(words::is_attribute_char);
        if plain && !self.is_literal {
            return f.write_str(&self.key);
        }
        let escaped = self.key.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{escaped}\"")
    }
}

// === constants ===

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(name) = words::constant(self).filter(|_| *self != Self::Int(i64::MAX)) {
            return f.write_str(name);
        }
        match self {
            Self::Int(int) => write!(f, "{int}"),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Duration(nanos) => {
                f.write_str(if *nanos < 0 { "-" } else { "" })?;
                f.write_str(&duration::write(nanos.unsigned_abs()))
            }
            Self::String(text) => write_string(f, text),
            Self::Nil | Self::Bool(_) | Self::Status(_) | Self::Kind(_) => Ok(()),
        }
    }
}

/// Backslashes, as in regular expressions, are easier to read in backticks.
fn write_string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    if text.contains('\\') && !text.contains(|c: char| c == '`' || c.is_control()) {
        return write!(f, "`{text}`");
    }
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

fn is_negative(literal: &Literal) -> bool {
    match literal {
        Literal::Int(int) => *int < 0 && *int != i64::MIN,
        Literal::Float(float) => float.is_sign_negative(),
        Literal::Duration(nanos) => *nanos < 0,
        _ => false,
    }
}

// === series ===

impl Display for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fold { spans, function, by } => {
                write!(f, "{spans} | {function}")?;
                if by.is_empty() { Ok(()) } else { write!(f, " by({})", List(by)) }
            }
            Self::Compare { spans, selection, top, range } => {
                let selection = SpanSetExpr::Filter(selection.clone());
                match range {
                    Some((start, end)) => write!(f, "{spans} | compare({selection}, {top}, {start}, {end})"),
                    None => write!(f, "{spans} | compare({selection}, {top})"),
                }
            }
            Self::Second(series, stage @ SecondStage::Filter(..)) => write!(f, "{series} {stage}"),
            Self::Second(series, stage) => write!(f, "{series} | {stage}"),
            Self::Scalar(number) => write_number(f, *number),
            Self::Arithmetic(op, left, right) => {
                let (left_needs, right_needs) = parentheses(*op, series_binding(left), series_binding(right));
                Within(left_needs, left).fmt(f)?;
                write!(f, " {} {}", words::operator(*op).0, Within(right_needs, right))
            }
        }
    }
}

fn series_binding(series: &Metrics) -> Binding {
    match series {
        Metrics::Scalar(_) => Binding::Tightest,
        Metrics::Arithmetic(op, ..) => words::operator(*op).1,
        Metrics::Fold { .. } | Metrics::Compare { .. } | Metrics::Second(..) => Binding::Loosest,
    }
}

impl Display for MetricsFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate => f.write_str("rate()"),
            Self::CountOverTime => f.write_str("count_over_time()"),
            Self::MinOverTime(e) => write!(f, "min_over_time({e})"),
            Self::MaxOverTime(e) => write!(f, "max_over_time({e})"),
            Self::SumOverTime(e) => write!(f, "sum_over_time({e})"),
            Self::AvgOverTime(e) => write!(f, "avg_over_time({e})"),
            Self::QuantileOverTime(e, quantiles) => write!(f, "quantile_over_time({e}, {})", List(quantiles)),
            Self::HistogramOverTime(e) => write!(f, "histogram_over_time({e})"),
            Self::CountDistinctOverTime(e) => write!(f, "count_distinct_over_time({e})"),
        }
    }
}

impl Display for SecondStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK(n) => write!(f, "topk({n})"),
            Self::BottomK(n) => write!(f, "bottomk({n})"),
            Self::Top(n) => write!(f, "top({n})"),
            Self::Bottom(n) => write!(f, "bottom({n})"),
            Self::Filter(op, number) => {
                write!(f, "{} ", words::operator(*op).0)?;
                write_number(f, *number)
            }
        }
    }
}

/// A whole number without a fraction, if that is exact.
fn write_number(f: &mut Formatter<'_>, number: f64) -> fmt::Result {
    if number.fract() == 0.0 && number.abs() < 1e15 { write!(f, "{number}") } else { write!(f, "{number:?}") }
}

// === helpers ===

/// Something in parentheses, if it needs them.
struct Within<'a, T>(bool, &'a T);

impl<T: Display> Display for Within<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 { write!(f, "({})", self.1) } else { self.1.fmt(f) }
    }
}

/// Things separated by commas.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
