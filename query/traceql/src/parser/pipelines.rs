//! Pipelines and what combines them: sets of spans, and numbers of such sets.
//!
//! A parenthesis may hold a set, a number or series, and only its end tells which. So all are parsed alike, as parts
//! joined by operators, and each operator looks at what it joins.

use super::parts::{
    Part, Pipe, Piped, Place, What, describe, is_scalar, misfit, numeric, scalars, sets, spans_of,
};
use super::{Expected, Parser, field_of, fields, metrics};
use crate::ast::{
    Aggregate, BinaryOp, FieldExpr, Literal, Metrics, Pipeline, ScalarExpr, SpanSetExpr, Stage,
};
use crate::error::Problem;
use crate::lexer::Word;
use crate::types;
use crate::words::{self, Binding};

impl Parser<'_> {
    /// Notes what may begin a query.
    pub(super) fn expect_start(&mut self) {
        self.note_parts();
        for name in ["by", "select"] {
            self.note(Expected::Function(name));
        }
    }

    /// Stages joined by `|`.
    pub(super) fn pipeline(&mut self) -> Result<Pipe, Problem> {
        let (mut stages, mut depth, mut of_trace) = (Vec::new(), 0, false);
        loop {
            let part = self.element(&mut stages)?;
            depth = depth.max(part.place.depth);
            of_trace |= part.place.of_trace;
            let stage = match part.what {
                What::Spans(spans) => Stage::Spans(spans),
                What::Stage(stage) => stage,
                What::Scalar(scalar) => {
                    return Ok(Pipe { piped: Piped::Scalar(stages, scalar), depth, of_trace });
                }
                What::Series(series) => {
                    let piped = Piped::Series(self.second_stages(series, &mut depth)?);
                    return Ok(Pipe { piped, depth, of_trace });
                }
            };
            stages.push(stage);
            if !self.eat("|") {
                return Ok(Pipe { piped: Piped::Stages(stages), depth, of_trace });
            }
        }
    }

    /// What stands between two `|`. Functions over time take the stages before them.
    fn element(&mut self, stages: &mut Vec<Stage>) -> Result<Part, Problem> {
        let range = self.range();
        if self.eat_function("by") {
            return self.by(range.start);
        }
        if self.eat_function("select") {
            self.want("(", "an opening parenthesis and fields, like select(name, .key)")?;
            let select = Stage::Select(self.fields()?);
            return Ok(Part::new(What::Stage(select), range.start..self.end_of_last(), 1));
        }
        if stages.is_empty() {
            if self.at_name("coalesce") {
                return Err(Problem::syntax(
                    range,
                    "coalesce() joins what by() has split; it cannot stand first",
                ));
            }
        } else if self.eat_function("coalesce") {
            self.want("(", "coalesce()")?;
            self.want(")", "the closing parenthesis of coalesce()")?;
            return Ok(Part::new(What::Stage(Stage::Coalesce), range.start..self.end_of_last(), 1));
        }
        if let Some((series, depth)) = self.over_time(stages)? {
            return Ok(Part::new(What::Series(series), range.start..self.end_of_last(), depth));
        }
        self.expression(Binding::Loosest)
    }

    /// Expressions by which sets are split, behind `by`.
    fn by(&mut self, begin: usize) -> Result<Part, Problem> {
        self.want("(", "an opening parenthesis and fields, like by(name)")?;
        let (mut keys, mut depth) = (Vec::new(), 0);
        loop {
            let key = self.field_expr()?;
            types::of_spans(&key, "by()")?;
            depth = depth.max(key.depth);
            keys.push(key.expr);
            if !self.eat(",") {
                self.want(")", "an operator, a comma or the closing parenthesis")?;
                let range = begin..self.end_of_last();
                return Ok(Part::new(What::Stage(Stage::By(keys)), range, depth));
            }
        }
    }

    /// Parts joined by operators that bind more tightly than the one around.
    pub(super) fn expression(&mut self, around: Binding) -> Result<Part, Problem> {
        let mut left = self.part()?;
        self.note_joints(&left.what, around);
        while let Some((symbol, binding)) = self.joint(around) {
            self.advance();
            let right = if binding == Binding::Power {
                self.enter()?;
                let right = self.expression(Binding::Product)?;
                self.leave();
                right
            } else {
                self.expression(binding)?
            };
            left = self.combine(symbol, left, right)?;
            self.note_joints(&left.what, around);
        }
        Ok(left)
    }

    fn joint(&self, around: Binding) -> Option<(&'static str, Binding)> {
        let Word::Symbol(symbol) = *self.word() else { return None };
        let binding = match words::operator_named(symbol) {
            Some((_, binding)) => binding,
            None => words::structural_named(symbol).map(|_| Binding::Comparison)?,
        };
        (binding > around).then_some((symbol, binding))
    }

    fn part(&mut self) -> Result<Part, Problem> {
        self.note_parts();
        let range = self.range();
        if self.eat("{") {
            return self.filter(range.start);
        }
        if self.eat("(") {
            return self.parenthesised(range.start);
        }
        if self.eat("-") {
            return self.negated(range.start);
        }
        let scalar = match self.word() {
            Word::Literal(literal) => ScalarExpr::Literal(literal.clone()),
            Word::Name(name) => {
                if let Some(name) = words::AGGREGATES.iter().find(|known| *known == name) {
                    return self.aggregate(name);
                }
                if let Some(name) = words::QUANTIFIERS.iter().find(|known| *known == name) {
                    return self.quantifier(name);
                }
                match words::constant_named(name) {
                    Some(literal) => ScalarExpr::Literal(literal),
                    None => ScalarExpr::Field(field_of(self.word()).ok_or_else(|| self.no_part(name))?),
                }
            }
            word => ScalarExpr::Field(field_of(word).ok_or_else(|| {
                self.unexpected(
                    "spans in braces, like { name = \"GET\" }, a parenthesis or an aggregate like count()",
                )
            })?),
        };
        self.advance();
        Ok(Part::new(What::Scalar(scalar), range, 1))
    }

    fn no_part(&self, name: &str) -> Problem {
        let message = if words::is_over_time(name) {
            format!("{name}() stands behind the spans that it takes, like {{ }} | {name}( ... )")
        } else if words::SECOND_STAGES.contains(&name) {
            format!("{name}() stands behind series, like {{ }} | rate() by(name) | {name}(5)")
        } else if words::STAGES.contains(&name) {
            format!("{name}() is a stage of its own, like {{ }} | {name}( ... )")
        } else {
            format!(
                "{name} is not known; spans are selected in braces, like {{ name = \"GET\" }}, and stages are by, \
                 select, coalesce, count, avg, rate and so on"
            )
        };
        Problem::syntax(self.range(), message)
    }

    /// `{ condition }`; `{ }` holds for every span.
    pub(super) fn filter(&mut self, begin: usize) -> Result<Part, Problem> {
        let (condition, depth) = if self.eat("}") {
            (FieldExpr::Literal(Literal::Bool(true)), 1)
        } else {
            let term = self.condition()?;
            (term.expr, term.depth)
        };
        let spans = What::Spans(SpanSetExpr::Filter(condition));
        Ok(Part::new(spans, begin..self.end_of_last(), depth))
    }

    fn parenthesised(&mut self, begin: usize) -> Result<Part, Problem> {
        self.enter()?;
        let pipe = self.pipeline()?;
        self.want(")", "|, an operator or a closing parenthesis")?;
        self.leave();
        let range = begin..self.end_of_last();
        let what = match pipe.piped {
            Piped::Series(series) => What::Series(series),
            Piped::Stages(stages) => What::Spans(spans_of(stages)),
            Piped::Scalar(stages, scalar) if stages.is_empty() => What::Scalar(scalar),
            Piped::Scalar(stages, ScalarExpr::Aggregate(aggregate)) => {
                What::Scalar(ScalarExpr::Wrapped(Box::new(Pipeline { stages }), aggregate))
            }
            Piped::Scalar(..) => {
                let message = "a pipeline in parentheses ends with one aggregate; compute outside of them, like \
                               ({ } | count()) * 2";
                return Err(Problem::syntax(range, message));
            }
        };
        let depth = self.deeper(pipe.depth, &range)?;
        Ok(Part { what, place: Place { range, depth, of_trace: pipe.of_trace } })
    }

    /// A negative number, or a change of sign. A sign binds more tightly here than in braces, as in Tempo.
    fn negated(&mut self, begin: usize) -> Result<Part, Problem> {
        let is_number = matches!(self.word(), Word::Literal(_));
        self.enter()?;
        let Part { what, place } = self.part()?;
        self.leave();
        let range = begin..place.range.end;
        let scalar = match what {
            What::Scalar(scalar) => scalar,
            other => {
                let message =
                    format!("- takes a number, not {}; for series write -1 * ( ... )", describe(&other));
                return Err(Problem::types(range, message));
            }
        };
        numeric(&scalar, &place)?;
        let depth = self.deeper(place.depth, &range)?;
        let negative = match scalar {
            ScalarExpr::Literal(literal) if is_number => {
                ScalarExpr::Literal(fields::negative(&literal).unwrap_or(literal))
            }
            scalar => ScalarExpr::Negate(Box::new(scalar)),
        };
        Ok(Part::new(What::Scalar(negative), range, depth))
    }

    /// `name(expression)`, or `count()`.
    fn aggregate(&mut self, name: &str) -> Result<Part, Problem> {
        let begin = self.range().start;
        self.advance();
        self.want("(", &format!("an opening parenthesis behind {name}"))?;
        if name == "count" {
            self.want(")", "a closing parenthesis: count() counts spans and takes nothing")?;
            let count = What::Scalar(ScalarExpr::Aggregate(Aggregate::Count));
            return Ok(Part::new(count, begin..self.end_of_last(), 1));
        }
        let term = self.field_expr()?;
        let what = format!("{name}()");
        if name != "count_distinct" {
            types::number(&term, &what)?;
        }
        types::of_spans(&term, &what)?;
        let expr = term.expr;
        let aggregate = match name {
            "min" => Aggregate::Min(expr),
            "max" => Aggregate::Max(expr),
            "sum" => Aggregate::Sum(expr),
            "avg" => Aggregate::Avg(expr),
            "count_distinct" => Aggregate::CountDistinct(expr),
            _ => {
                self.want(",", "a comma and the quantile, like quantile(duration, 0.9)")?;
                Aggregate::Quantile(expr, self.quantile()?)
            }
        };
        self.want(")", "an operator or the closing parenthesis")?;
        let scalar = What::Scalar(ScalarExpr::Aggregate(aggregate));
        Ok(Part::new(scalar, begin..self.end_of_last(), term.depth))
    }

    /// `none(set)` and `all(set)`.
    fn quantifier(&mut self, name: &str) -> Result<Part, Problem> {
        let begin = self.range().start;
        self.advance();
        self.want("(", &format!("an opening parenthesis and a set of spans, like {name}({{ failed }})"))?;
        self.enter()?;
        let inner = self.range().start;
        let pipe = self.pipeline()?;
        let inner = inner..self.end_of_last();
        self.want(")", "an operator, | or the closing parenthesis")?;
        self.leave();
        let range = begin..self.end_of_last();
        let depth = self.deeper(pipe.depth, &range)?;
        let Piped::Stages(stages) = pipe.piped else {
            let message = format!("{name}() takes a set of spans, like {name}({{ failed }})");
            return Err(Problem::types(inner, message));
        };
        let spans = Box::new(spans_of(stages));
        let spans = if name == "none" { SpanSetExpr::None(spans) } else { SpanSetExpr::All(spans) };
        Ok(Part { what: What::Spans(spans), place: Place { range, depth, of_trace: true } })
    }

    /// `left symbol right`.
    fn combine(&self, symbol: &'static str, left: Part, right: Part) -> Result<Part, Problem> {
        let (l, r) = (left.place, right.place);
        let range = l.range.start..r.range.end;
        let depth = self.deeper(l.depth.max(r.depth), &r.range)?;
        let what = match (left.what, right.what) {
            (What::Spans(left), What::Spans(right)) => What::Spans(sets(symbol, (left, &l), (right, &r))?),
            (What::Scalar(left), What::Scalar(right)) => scalars(symbol, (left, &l), (right, &r))?,
            (What::Series(left), What::Series(right)) => {
                What::Series(metrics::arithmetic(symbol, left, right, &r.range)?)
            }
            (What::Series(left), What::Scalar(right)) => {
                What::Series(metrics::with_number(symbol, left, &right, &r.range)?)
            }
            (What::Scalar(left), What::Series(right)) => {
                let number = Metrics::Scalar(metrics::constant(&left, &l.range)?.of_series(&l.range)?);
                What::Series(metrics::arithmetic(symbol, number, right, &r.range)?)
            }
            (left, right) => return Err(misfit(symbol, &left, &right, &r)),
        };
        Ok(Part { what, place: Place { range, depth, of_trace: l.of_trace || r.of_trace } })
    }

    /// Notes what may begin a part at the end of the text.
    fn note_parts(&mut self) {
        for symbol in ["{", "("] {
            self.note(Expected::Symbol(symbol));
        }
        for name in words::AGGREGATES.iter().chain(&words::QUANTIFIERS) {
            self.note(Expected::Function(name));
        }
    }

    /// Notes the operators that may follow a part at the end of the text.
    fn note_joints(&mut self, left: &What, around: Binding) {
        if !self.at_end() {
            return;
        }
        let operators = words::OPERATORS.iter();
        let symbols: Vec<(&str, Binding)> = match left {
            What::Stage(_) => Vec::new(),
            What::Spans(_) => operators
                .filter(|(_, _, binding)| *binding == Binding::Logic)
                .map(|(symbol, _, binding)| (*symbol, *binding))
                .chain(words::STRUCTURAL.iter().map(|(symbol, ..)| (*symbol, Binding::Comparison)))
                .collect(),
            What::Scalar(_) | What::Series(_) => operators
                .filter(|(_, op, _)| is_scalar(*op))
                .filter(|(_, op, _)| !matches!((left, op), (What::Series(_), BinaryOp::Mod | BinaryOp::Pow)))
                .map(|(symbol, _, binding)| (*symbol, *binding))
                .collect(),
        };
        for (symbol, _) in symbols.into_iter().filter(|(_, binding)| *binding > around) {
            self.note(Expected::Symbol(symbol));
        }
    }
}
