//! Series over time: functions that make them, and what is done with them.

use std::ops::Range;

use super::parts::{Part, What};
use super::{Expected, Parser};
use crate::ast::{
    BinaryOp, Literal, Metrics, MetricsFunction, Pipeline, ScalarExpr, SecondStage, SpanSetExpr, Stage,
};
use crate::error::Problem;
use crate::lexer::Word;
use crate::types;
use crate::words::{self, Binding};

/// The most values of each attribute that `compare` gives, and those that it gives unless told.
const COMPARE_TOP: (u32, u32) = (1_000, 10);

/// A constant of which something is computed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    /// A duration, which is compared, but not computed with.
    Nanos(i64),
}

// === impl Number ===

impl Number {
    /// What series are combined with.
    pub(super) fn of_series(self, range: &Range<usize>) -> Result<f64, Problem> {
        match self {
            Self::Int(int) => Ok(int as f64),
            Self::Float(float) => Ok(float),
            Self::Nanos(_) => {
                let message = "series are combined with numbers; durations are only compared with them";
                Err(Problem::types(range.clone(), message))
            }
        }
    }

    fn of_comparison(self) -> f64 {
        match self {
            Self::Int(number) | Self::Nanos(number) => number as f64,
            Self::Float(float) => float,
        }
    }
}

impl Parser<'_> {
    /// A function over time of the stages before it, if one stands here.
    pub(super) fn over_time(&mut self, stages: &mut Vec<Stage>) -> Result<Option<(Metrics, usize)>, Problem> {
        if !stages.is_empty() {
            for name in words::COUNTS.iter().chain(&words::FOLDS).chain([&words::COMPARE]) {
                self.note(Expected::Function(name));
            }
        }
        let Word::Name(name) = self.word() else { return Ok(None) };
        if !words::is_over_time(name) || stages.is_empty() {
            return Ok(None);
        }
        self.advance();
        let spans = Pipeline { stages: std::mem::take(stages) };
        if name == words::COMPARE {
            return self.compare(spans).map(Some);
        }
        let (function, depth) = self.function(name)?;
        let mut by = Vec::new();
        if self.eat_function("by") {
            self.want("(", "an opening parenthesis and fields, like by(name)")?;
            by = self.fields()?;
        }
        Ok(Some((Metrics::Fold { spans, function, by }, depth)))
    }

    /// The arguments of a function and its closing parenthesis.
    fn function(&mut self, name: &str) -> Result<(MetricsFunction, usize), Problem> {
        self.want("(", &format!("an opening parenthesis behind {name}"))?;
        if words::COUNTS.contains(&name) {
            self.want(
                ")",
                &format!("a closing parenthesis: {name}() takes nothing; filter spans in front of it"),
            )?;
            let function =
                if name == "rate" { MetricsFunction::Rate } else { MetricsFunction::CountOverTime };
            return Ok((function, 0));
        }
        let term = self.field_expr()?;
        let what = format!("{name}()");
        if name != "count_distinct_over_time" {
            types::number(&term, &what)?;
        }
        types::of_spans(&term, &what)?;
        let expr = term.expr;
        let function = match name {
            "min_over_time" => MetricsFunction::MinOverTime(expr),
            "max_over_time" => MetricsFunction::MaxOverTime(expr),
            "sum_over_time" => MetricsFunction::SumOverTime(expr),
            "avg_over_time" => MetricsFunction::AvgOverTime(expr),
            "histogram_over_time" => MetricsFunction::HistogramOverTime(expr),
            "count_distinct_over_time" => MetricsFunction::CountDistinctOverTime(expr),
            _ => MetricsFunction::QuantileOverTime(expr, self.quantiles()?),
        };
        self.want(")", "an operator or the closing parenthesis")?;
        Ok((function, term.depth))
    }

    /// `, q, q`
    fn quantiles(&mut self) -> Result<Vec<f64>, Problem> {
        self.want(",", "a comma and quantiles, like quantile_over_time(duration, 0.5, 0.9)")?;
        let mut quantiles = vec![self.quantile()?];
        while self.eat(",") {
            quantiles.push(self.quantile()?);
        }
        Ok(quantiles)
    }

    pub(super) fn quantile(&mut self) -> Result<f64, Problem> {
        let quantile = match self.word() {
            Word::Literal(Literal::Int(int)) => *int as f64,
            Word::Literal(Literal::Float(float)) => *float,
            _ => return Err(self.unexpected("a quantile, a number from 0 to 1")),
        };
        if !(0.0..=1.0).contains(&quantile) {
            return Err(Problem::types(self.range(), "a quantile is a number from 0 to 1, like 0.95"));
        }
        self.advance();
        Ok(quantile)
    }

    /// `({ selection }, top, start, end)` behind `compare`.
    fn compare(&mut self, spans: Pipeline) -> Result<(Metrics, usize), Problem> {
        self.want("(", "an opening parenthesis and a selection, like compare({ failed })")?;
        let begin = self.range().start;
        self.want("{", "a selection in braces, like compare({ failed })")?;
        let Part { what: What::Spans(SpanSetExpr::Filter(selection)), place } = self.filter(begin)? else {
            return Err(self.unexpected("a selection in braces"));
        };
        let (mut top, mut range) = (COMPARE_TOP.1, None);
        if self.eat(",") {
            top = self.limit(COMPARE_TOP.0)?;
            if self.eat(",") {
                let start = self.nanos()?;
                self.want(",", "a comma and the end of the selection, in Unix nanoseconds")?;
                range = Some((start, self.nanos()?));
            }
        }
        self.want(")", "a comma or the closing parenthesis")?;
        Ok((Metrics::Compare { spans, selection, top, range }, place.depth))
    }

    fn nanos(&mut self) -> Result<i64, Problem> {
        let Word::Literal(Literal::Int(nanos)) = self.word() else {
            return Err(self.unexpected("a point in time in Unix nanoseconds"));
        };
        self.advance();
        Ok(*nanos)
    }

    /// A whole number from 1.
    fn limit(&mut self, most: u32) -> Result<u32, Problem> {
        let Word::Literal(Literal::Int(limit)) = self.word() else {
            return Err(self.unexpected("a whole number of at least 1"));
        };
        let limit = u32::try_from(*limit).ok().filter(|limit| (1..=most).contains(limit));
        let message = format!("this number is at least 1 and at most {most}");
        let limit = limit.ok_or_else(|| Problem::types(self.range(), message))?;
        self.advance();
        Ok(limit)
    }

    /// `| topk(5)`, `> 10` and so on, as many as there are.
    pub(super) fn second_stages(
        &mut self,
        mut series: Metrics,
        depth: &mut usize,
    ) -> Result<Metrics, Problem> {
        loop {
            let range = self.range();
            let stage = if let Some(op) = self.comparison() {
                let Part { what, place } = self.expression(Binding::Comparison)?;
                let What::Scalar(scalar) = what else {
                    return Err(Problem::types(
                        place.range,
                        "series are compared with a number or a duration",
                    ));
                };
                SecondStage::Filter(op, constant(&scalar, &place.range)?.of_comparison())
            } else if self.eat("|") {
                self.second_stage()?
            } else {
                self.refuse_arithmetic()?;
                return Ok(series);
            };
            *depth = self.deeper(*depth, &range)?;
            series = second(series, stage, &range)?;
        }
    }

    /// A comparison, if one stands here.
    fn comparison(&mut self) -> Option<BinaryOp> {
        for (symbol, op, _) in words::OPERATORS.iter().filter(|(_, op, _)| words::is_comparison(*op)) {
            if self.eat(symbol) {
                return Some(*op);
            }
        }
        None
    }

    fn second_stage(&mut self) -> Result<SecondStage, Problem> {
        let found = words::SECOND_STAGES.iter().find(|name| self.eat_function(name));
        let Some(name) = found else {
            return Err(self.unexpected("topk, bottomk, top or bottom: nothing else is done with series"));
        };
        self.want("(", &format!("an opening parenthesis and a number, like {name}(5)"))?;
        let limit = self.limit(u32::MAX)?;
        self.want(")", "the closing parenthesis")?;
        Ok(match *name {
            "topk" => SecondStage::TopK(limit),
            "bottomk" => SecondStage::BottomK(limit),
            "top" => SecondStage::Top(limit),
            _ => SecondStage::Bottom(limit),
        })
    }

    /// Arithmetic would otherwise be a query that does not end.
    fn refuse_arithmetic(&self) -> Result<(), Problem> {
        let is_sum = ["+", "-", "*", "/", "%", "^"].into_iter().any(|symbol| self.at(symbol));
        let message = "series are combined in parentheses, like ({ } | rate()) * 100";
        if is_sum { Err(Problem::syntax(self.range(), message)) } else { Ok(()) }
    }
}

/// `left symbol right` of series.
pub(super) fn arithmetic(
    symbol: &str,
    left: Metrics,
    right: Metrics,
    range: &Range<usize>,
) -> Result<Metrics, Problem> {
    let Some(op) = sum_or_product(symbol) else {
        let message = format!(
            "series are combined with + - * / and compared, like ({{ }} | rate()) > 10, with a number on the right; \
             not with {symbol}"
        );
        return Err(Problem::syntax(range.clone(), message));
    };
    for side in [&left, &right] {
        refuse_compare(side, range)?;
    }
    Ok(Metrics::Arithmetic(op, Box::new(left), Box::new(right)))
}

/// `series symbol number`.
pub(super) fn with_number(
    symbol: &str,
    series: Metrics,
    number: &ScalarExpr,
    range: &Range<usize>,
) -> Result<Metrics, Problem> {
    let number = constant(number, range)?;
    match words::operator_named(symbol).filter(|(op, _)| words::is_comparison(*op)) {
        Some((op, _)) => second(series, SecondStage::Filter(op, number.of_comparison()), range),
        None => arithmetic(symbol, series, Metrics::Scalar(number.of_series(range)?), range),
    }
}

fn second(series: Metrics, stage: SecondStage, range: &Range<usize>) -> Result<Metrics, Problem> {
    refuse_compare(&series, range)?;
    Ok(Metrics::Second(Box::new(series), stage))
}

fn refuse_compare(series: &Metrics, range: &Range<usize>) -> Result<(), Problem> {
    if matches!(series, Metrics::Compare { .. }) {
        return Err(Problem::types(
            range.clone(),
            "compare() gives its own series, which nothing is done with",
        ));
    }
    Ok(())
}

/// The value of a constant expression. Whole numbers stay whole: `1 / 2` is 0.
pub(super) fn constant(scalar: &ScalarExpr, range: &Range<usize>) -> Result<Number, Problem> {
    match scalar {
        ScalarExpr::Literal(Literal::Int(int)) => Ok(Number::Int(*int)),
        ScalarExpr::Literal(Literal::Float(float)) => Ok(Number::Float(*float)),
        ScalarExpr::Literal(Literal::Duration(nanos)) => Ok(Number::Nanos(*nanos)),
        ScalarExpr::Negate(inner) => {
            let negative = match constant(inner, range)? {
                Number::Int(int) => int.checked_neg().map(Number::Int),
                Number::Float(float) => Some(Number::Float(-float)),
                Number::Nanos(nanos) => nanos.checked_neg().map(Number::Nanos),
            };
            negative.ok_or_else(|| Problem::types(range.clone(), "this number does not fit 64 bits"))
        }
        ScalarExpr::Arithmetic(op, left, right) => {
            let (left, right) = (constant(left, range)?, constant(right, range)?);
            let computed = match (left, right) {
                (Number::Int(left), Number::Int(right)) => whole(*op, left, right).map(Number::Int),
                (left, right) => {
                    fraction(*op, left.of_series(range)?, right.of_series(range)?).map(Number::Float)
                }
            };
            computed.ok_or_else(|| {
                let message = "this has no value: numbers here are computed with + - * / and fit 64 bits";
                Problem::types(range.clone(), message)
            })
        }
        _ => Err(Problem::types(
            range.clone(),
            "series are combined and compared with numbers and series alone",
        )),
    }
}

fn whole(op: BinaryOp, left: i64, right: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => left.checked_add(right),
        BinaryOp::Sub => left.checked_sub(right),
        BinaryOp::Mul => left.checked_mul(right),
        BinaryOp::Div => left.checked_div(right),
        _ => None,
    }
}

fn fraction(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    let value = match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn sum_or_product(symbol: &str) -> Option<BinaryOp> {
    use BinaryOp::{Add, Div, Mul, Sub};
    words::operator_named(symbol).map(|(op, _)| op).filter(|op| matches!(op, Add | Sub | Mul | Div))
}
