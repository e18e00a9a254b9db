//! Parts of a pipeline while it is parsed, and which operators join which of them.

use std::ops::Range;

use crate::ast::{BinaryOp, Metrics, Pipeline, ScalarExpr, ScalarFilter, SpanSetExpr, SpanSetOp, Stage};
use crate::error::Problem;
use crate::types::Type;
use crate::words::{self, Binding};

/// What stands between two `|`, or a part of it.
pub(super) struct Part {
    pub(super) what: What,
    pub(super) place: Place,
}

/// What is known of a part besides the part itself.
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) depth: usize,
    /// Whether `none()` or `all()` stands in it.
    pub(super) of_trace: bool,
}

pub(super) enum What {
    Spans(SpanSetExpr),
    Stage(Stage),
    Scalar(ScalarExpr),
    Series(Metrics),
}

/// A pipeline as far as it was written.
pub(super) struct Pipe {
    pub(super) piped: Piped,
    pub(super) depth: usize,
    pub(super) of_trace: bool,
}

/// What a pipeline ends with.
pub(super) enum Piped {
    Stages(Vec<Stage>),
    /// Stages and a number of what they give.
    Scalar(Vec<Stage>, ScalarExpr),
    Series(Metrics),
}

// === impl Part ===

impl Part {
    pub(super) fn new(what: What, range: Range<usize>, depth: usize) -> Self {
        Self { what, place: Place { range, depth, of_trace: false } }
    }
}

/// Stages in parentheses as a set. A set needs no pipeline of its own.
pub(super) fn spans_of(mut stages: Vec<Stage>) -> SpanSetExpr {
    match stages.pop() {
        Some(Stage::Spans(spans)) if stages.is_empty() => spans,
        last => {
            stages.extend(last);
            SpanSetExpr::Wrapped(Box::new(Pipeline { stages }))
        }
    }
}

/// `&&`, `||` or a structural operator between two sets.
pub(super) fn sets(
    symbol: &str,
    left: (SpanSetExpr, &Place),
    right: (SpanSetExpr, &Place),
) -> Result<SpanSetExpr, Problem> {
    let structural = words::structural_named(symbol);
    let op = match (symbol, structural) {
        ("&&", _) => SpanSetOp::And,
        ("||", _) => SpanSetOp::Or,
        (_, Some((relation, result))) => SpanSetOp::Structural { relation, result },
        _ => {
            let message = format!(
                "sets of spans are joined with &&, || and structural operators like > and >>, not with {symbol}"
            );
            return Err(Problem::types(right.1.range.clone(), message));
        }
    };
    let of_trace = [left.1, right.1].into_iter().find(|place| structural.is_some() && place.of_trace);
    if let Some(place) = of_trace {
        let message = format!(
            "none() and all() speak of the whole trace and have no place in its tree: {symbol} cannot relate them; \
             join them with && or ||"
        );
        return Err(Problem::types(place.range.clone(), message));
    }
    Ok(SpanSetExpr::Binary(op, Box::new(left.0), Box::new(right.0)))
}

/// A computation or a comparison of two numbers.
pub(super) fn scalars(
    symbol: &str,
    left: (ScalarExpr, &Place),
    right: (ScalarExpr, &Place),
) -> Result<What, Problem> {
    let found = words::operator_named(symbol).filter(|(op, _)| is_scalar(*op));
    let Some((op, binding)) = found else {
        let message = format!(
            "numbers are computed with + - * / % ^ and compared with = != < <= > >=, not with {symbol}; conditions \
             on spans stand in braces"
        );
        return Err(Problem::types(right.1.range.clone(), message));
    };
    if binding == Binding::Comparison && !has_aggregate(&left.0) && !has_aggregate(&right.0) {
        let message = "conditions on spans are written in braces, like { duration > 5s }; outside of them a \
                       comparison needs an aggregate like count()";
        return Err(Problem::syntax(left.1.range.clone(), message));
    }
    numeric(&left.0, left.1)?;
    numeric(&right.0, right.1)?;
    if binding == Binding::Comparison {
        return Ok(What::Stage(Stage::Filter(ScalarFilter { op, left: left.0, right: right.0 })));
    }
    Ok(What::Scalar(ScalarExpr::Arithmetic(op, Box::new(left.0), Box::new(right.0))))
}

/// A complaint about parts that no operator joins.
pub(super) fn misfit(symbol: &str, left: &What, right: &What, place: &Place) -> Problem {
    let message = match (left, right) {
        (What::Stage(_), _) | (_, What::Stage(_)) => {
            format!("a stage is not joined with {symbol}: put it in parentheses, or join it with |")
        }
        (What::Spans(_), What::Scalar(_)) if is_comparison(symbol) => {
            format!(
                "{symbol} does not join spans and a number; write {{ ... }} | count() {symbol} 2 to count them"
            )
        }
        (What::Scalar(_), What::Spans(_)) => {
            format!(
                "{symbol} does not join a number and spans; series are put in parentheses: ({{ }} | rate())"
            )
        }
        _ => format!("{symbol} does not join {} and {}", describe(left), describe(right)),
    };
    Problem::syntax(place.range.clone(), message)
}

pub(super) fn describe(what: &What) -> &'static str {
    match what {
        What::Spans(_) => "a set of spans",
        What::Stage(_) => "a stage",
        What::Scalar(_) => "a number",
        What::Series(_) => "series",
    }
}

/// Aggregates are computed and compared with numbers alone.
pub(super) fn numeric(scalar: &ScalarExpr, place: &Place) -> Result<(), Problem> {
    let kind = match scalar {
        ScalarExpr::Literal(literal) => Type::of_literal(literal),
        ScalarExpr::Field(field) => Type::of_field(field),
        _ => Type::Number,
    };
    if kind.may_be(Type::Number) {
        return Ok(());
    }
    let message = format!("aggregates are compared with numbers and durations, not with {}", kind.describe());
    Err(Problem::types(place.range.clone(), message))
}

pub(super) fn has_aggregate(scalar: &ScalarExpr) -> bool {
    match scalar {
        ScalarExpr::Aggregate(_) | ScalarExpr::Wrapped(..) => true,
        ScalarExpr::Literal(_) | ScalarExpr::Field(_) => false,
        ScalarExpr::Negate(inner) => has_aggregate(inner),
        ScalarExpr::Arithmetic(_, left, right) => has_aggregate(left) || has_aggregate(right),
    }
}

fn is_comparison(symbol: &str) -> bool {
    words::operator_named(symbol).is_some_and(|(op, _)| words::is_comparison(op))
}

pub(super) fn is_scalar(op: BinaryOp) -> bool {
    words::is_comparison(op) || words::operator(op).1 >= Binding::Sum
}
