//! Expressions on one span: `resource.service.name = "cart" && duration > 100ms`.

use super::{Expected, MAX_REGEXES, Parser, field_of};
use crate::ast::{BinaryOp, FieldExpr, Literal};
use crate::error::Problem;
use crate::lexer::Word;
use crate::types::{self, Term, Type};
use crate::words::{self, Binding};

impl Parser<'_> {
    /// The condition of a filter and its closing brace.
    pub(super) fn condition(&mut self) -> Result<Term, Problem> {
        let term = self.field_expr()?;
        // At the end of half a query a brace is only wanted behind what can stand alone.
        let may_close = !self.at_end() || term.kind.may_be(Type::Bool);
        if !may_close || !self.eat("}") {
            return Err(self.no_operator("the closing brace }"));
        }
        types::condition(&term)?;
        Ok(term)
    }

    pub(super) fn field_expr(&mut self) -> Result<Term, Problem> {
        self.operation(Binding::Loosest)
    }

    /// Operands joined by operators that bind more tightly than the one around.
    fn operation(&mut self, around: Binding) -> Result<Term, Problem> {
        let mut left = self.operand()?;
        while let Some((op, binding)) = self.operator(around, &left) {
            self.advance();
            let right = self.right_side(op, binding, &left)?;
            left = self.join(op, left, right)?;
        }
        Ok(left)
    }

    fn operator(&mut self, around: Binding, left: &Term) -> Option<(BinaryOp, Binding)> {
        self.note_operators(around, left);
        let text = match self.word() {
            Word::Symbol(symbol) => *symbol,
            Word::Name(name) => name.as_str(),
            _ => return None,
        };
        words::operator_named(text).filter(|(_, binding)| *binding > around)
    }

    fn right_side(&mut self, op: BinaryOp, binding: Binding, left: &Term) -> Result<Term, Problem> {
        if binding == Binding::Comparison
            && let FieldExpr::Field(field) = &left.expr
        {
            self.note(Expected::ValueOf(field.clone()));
        }
        if op != BinaryOp::Pow {
            return self.operation(binding);
        }
        // A power of a power groups from the right, and is a level of its own.
        self.enter()?;
        let right = self.operation(Binding::Product)?;
        self.leave();
        Ok(right)
    }

    fn join(&mut self, op: BinaryOp, left: Term, right: Term) -> Result<Term, Problem> {
        if matches!(op, BinaryOp::Matches | BinaryOp::MatchesNot) {
            self.count_regex(&right)?;
        }
        let kind = types::binary(op, &left, &right)?;
        let depth = self.deeper(left.depth.max(right.depth), &right.range)?;
        Ok(Term {
            kind,
            depth,
            range: left.range.start..right.range.end,
            has_field: left.has_field || right.has_field,
            expr: FieldExpr::Binary(op, Box::new(left.expr), Box::new(right.expr)),
        })
    }

    /// Each regular expression is compiled, which is why there may only be so many.
    fn count_regex(&mut self, pattern: &Term) -> Result<(), Problem> {
        self.regexes += 1;
        if self.regexes <= MAX_REGEXES {
            return Ok(());
        }
        let message = format!(
            "the query has more than {MAX_REGEXES} regular expressions; join some of them with |, like \"a|b\""
        );
        Err(Problem::limit(pattern.range.clone(), message))
    }

    fn operand(&mut self) -> Result<Term, Problem> {
        let range = self.range();
        self.note(Expected::Field);
        if self.eat("(") {
            return self.parenthesis(range.start);
        }
        if self.eat("!") {
            return self.not(range.start);
        }
        if self.eat("-") {
            return self.minus(range.start);
        }
        let term = match self.word() {
            Word::Literal(literal) => Term::literal(literal.clone(), range),
            Word::Name(name) if words::constant_named(name).is_some() => {
                Term::literal(words::constant_named(name).unwrap_or(Literal::Nil), range)
            }
            word => Term::field(field_of(word).ok_or_else(|| self.no_operand())?, range),
        };
        self.advance();
        Ok(term)
    }

    fn no_operand(&self) -> Problem {
        match self.word() {
            Word::Name(name) if words::is_function(name) => {
                let message = format!("{name}() stands behind the braces, like {{ ... }} | {name}( ... )");
                Problem::syntax(self.range(), message)
            }
            Word::Name(name) if name.contains(':') => {
                let message = format!(
                    "{name} is not known; scoped names are span:duration, trace:rootName, event:name and so on"
                );
                Problem::syntax(self.range(), message)
            }
            Word::Name(name) => {
                let message = format!(
                    "{name} is not known; a field is name, duration, status, kind, failed, .key, span.key or \
                     resource.key, and a string needs double quotes"
                );
                Problem::syntax(self.range(), message)
            }
            _ => self.unexpected(
                "a field (name, duration, status, kind, failed, .key, span.key, resource.key), a constant or a \
                 parenthesis",
            ),
        }
    }

    fn no_operator(&self, end: &str) -> Problem {
        let message = match self.word() {
            Word::Symbol(",") => "conditions are joined with && or ||, not with a comma".to_owned(),
            Word::Symbol("|") => "one | stands behind braces; conditions are joined with && or ||".to_owned(),
            Word::Symbol(symbol) if words::structural_named(symbol).is_some() => {
                format!(
                    "{symbol} relates spans, so that it stands between braces, like {{ root }} {symbol} {{ failed }}"
                )
            }
            Word::Name(name) if ["and", "or"].contains(&name.to_lowercase().as_str()) => {
                "conditions are joined with && or ||".to_owned()
            }
            _ => format!(
                "expected an operator (= != < <= > >= =~ !~ contains startsWith endsWith), &&, || or {end}"
            ),
        };
        Problem::syntax(self.range(), message)
    }

    fn parenthesis(&mut self, begin: usize) -> Result<Term, Problem> {
        self.enter()?;
        let term = self.field_expr()?;
        if !self.eat(")") {
            return Err(self.no_operator("the closing parenthesis"));
        }
        self.leave();
        Ok(Term { range: begin..self.end_of_last(), ..term })
    }

    fn not(&mut self, begin: usize) -> Result<Term, Problem> {
        self.enter()?;
        let term = self.operation(Binding::Not)?;
        self.leave();
        types::negation(&term)?;
        let depth = self.deeper(term.depth, &term.range)?;
        let range = begin..term.range.end;
        Ok(Term { expr: FieldExpr::Not(Box::new(term.expr)), kind: Type::Bool, depth, range, ..term })
    }

    /// A negative number, if nothing binds the number more tightly than its sign; else a change of sign.
    fn minus(&mut self, begin: usize) -> Result<Term, Problem> {
        let is_number = matches!(self.word(), Word::Literal(_));
        self.enter()?;
        let term = self.operation(Binding::Sum)?;
        self.leave();
        types::number(&term, "-")?;
        let range = begin..term.range.end;
        match &term.expr {
            FieldExpr::Literal(literal) if is_number && let Some(literal) = negative(literal) => {
                Ok(Term::literal(literal, range))
            }
            _ => {
                let depth = self.deeper(term.depth, &term.range)?;
                let expr = FieldExpr::Negate(Box::new(term.expr));
                Ok(Term { expr, kind: Type::Number, depth, range, ..term })
            }
        }
    }

    /// Notes the operators that make sense behind an operand at the end of the text.
    fn note_operators(&mut self, around: Binding, left: &Term) {
        if !self.at_end() {
            return;
        }
        for (text, op, binding) in words::OPERATORS {
            if binding > around && types::may_follow(op, left) {
                let is_word = text.starts_with(char::is_alphabetic);
                self.note(if is_word { Expected::Operator(text) } else { Expected::Symbol(text) });
            }
        }
    }
}

/// A number with its sign changed.
pub(super) fn negative(literal: &Literal) -> Option<Literal> {
    match literal {
        Literal::Int(int) => int.checked_neg().map(Literal::Int),
        Literal::Float(float) => Some(Literal::Float(-float)),
        Literal::Duration(nanos) => nanos.checked_neg().map(Literal::Duration),
        _ => None,
    }
}
