//! Parses words into a tree, by recursive descent, and applies the rules of types on the way, where places are known.
//!
//! Here is the reader of words that all parts share, and the frame of a query. Expressions on one span are in
//! `fields.rs`, pipelines in `pipelines.rs`, what combines their parts in `parts.rs`, series in `metrics.rs`.

mod fields;
mod metrics;
mod parts;
mod pipelines;

use std::ops::Range;

use crate::ast::{
    Body, Field, FieldExpr, FieldName, Hint, Literal, Pipeline, Query, ScalarExpr, SpanSetExpr, Stage,
};
use crate::error::Problem;
use crate::lexer::{Token, Word};
use crate::words;
use parts::Piped;

/// How deep parentheses and signs may nest, so that the parser may recurse.
pub const MAX_NESTING: usize = 128;

/// How many operators deep a tree may be, so that code that walks it may recurse. A chain `a || b || c` is as deep as
/// it is long.
pub const MAX_DEPTH: usize = 1_000;

/// How many regular expressions a query may contain: compiling one takes milliseconds.
pub const MAX_REGEXES: usize = 100;

/// Hints that completion offers. Every name is parsed: what hints mean is for those who run queries.
const HINTS: [&str; 3] = ["exemplars", "most_recent", "sample"];

/// What the parser would have taken at the end of a text. For completion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expected {
    /// A bracket or an operator.
    Symbol(&'static str),
    /// An operator that is a word.
    Operator(&'static str),
    /// A function or a keyword, which goes on with a parenthesis.
    Function(&'static str),
    /// The name of a hint.
    Hint(&'static str),
    /// A field.
    Field,
    /// What can be compared with a field.
    ValueOf(Field),
}

pub(crate) struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    nesting: usize,
    regexes: usize,
    expected: Vec<Expected>,
}

/// What stands at a place that has no more words.
const END: &Token = &Token { word: Word::End, range: 0..0 };

/// Parses all words, which end with [`Word::End`].
pub(crate) fn query(tokens: &[Token]) -> Result<Query, Problem> {
    Parser::new(tokens).query()
}

/// What may follow the words.
pub(crate) fn expected(tokens: &[Token]) -> Vec<Expected> {
    let mut parser = Parser::new(tokens);
    // The text is half a query, so that it is most likely wrong.
    let _ = parser.query();
    parser.expected
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, next: 0, nesting: 0, regexes: 0, expected: Vec::new() }
    }

    fn query(&mut self) -> Result<Query, Problem> {
        self.expect_start();
        if self.at_end() {
            let all = SpanSetExpr::Filter(FieldExpr::Literal(Literal::Bool(true)));
            let pipeline = Pipeline { stages: vec![Stage::Spans(all)] };
            return Ok(Query { body: Body::Traces(pipeline), hints: Vec::new() });
        }
        let begin = self.range();
        let body = match self.pipeline()?.piped {
            Piped::Stages(stages) => Body::Traces(Pipeline { stages }),
            Piped::Series(series) => Body::Metrics(series),
            Piped::Scalar(_, scalar) => return Err(naked_scalar(&scalar, begin, self.range())),
        };
        let mut hints = Vec::new();
        while self.eat_function("with") {
            self.hints(&mut hints)?;
        }
        if !self.at_end() {
            let message = "the query should end here, or go on with | or an operator";
            return Err(Problem::syntax(self.range(), message));
        }
        Ok(Query { body, hints })
    }

    /// `(name = value, ...)` behind `with`.
    fn hints(&mut self, hints: &mut Vec<Hint>) -> Result<(), Problem> {
        self.want("(", "an opening parenthesis and hints, like with(exemplars = true)")?;
        loop {
            for name in HINTS {
                self.note(Expected::Hint(name));
            }
            let Word::Name(name) = self.word() else {
                return Err(self.unexpected("the name of a hint, like exemplars or sample"));
            };
            self.advance();
            self.want("=", "= and the value of the hint")?;
            hints.push(Hint { name: name.clone(), value: self.hint_value()? });
            if !self.eat(",") {
                return self.want(")", "a comma or the closing parenthesis");
            }
        }
    }

    fn hint_value(&mut self) -> Result<Literal, Problem> {
        let negative = self.eat("-");
        let value = match self.word() {
            Word::Literal(literal) if negative => fields::negative(literal),
            Word::Literal(literal) => Some(literal.clone()),
            Word::Name(name) if !negative => words::constant_named(name),
            _ => None,
        };
        let value = value.ok_or_else(|| self.unexpected("a constant, like true, 0.5 or \"text\""))?;
        self.advance();
        Ok(value)
    }

    // --- words ---

    fn token(&self) -> &'a Token {
        // No rule takes the end, so that the last word stays the last.
        self.tokens.get(self.next).or(self.tokens.last()).unwrap_or(END)
    }

    fn word(&self) -> &'a Word {
        &self.token().word
    }

    fn range(&self) -> Range<usize> {
        self.token().range.clone()
    }

    fn at_end(&self) -> bool {
        *self.word() == Word::End
    }

    /// Where the word before this one ends.
    fn end_of_last(&self) -> usize {
        self.next.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.range.end)
    }

    fn advance(&mut self) {
        self.next += 1;
    }

    fn at(&self, symbol: &str) -> bool {
        matches!(self.word(), Word::Symbol(found) if *found == symbol)
    }

    fn at_name(&self, name: &str) -> bool {
        matches!(self.word(), Word::Name(found) if found == name)
    }

    fn eat(&mut self, symbol: &'static str) -> bool {
        self.note(Expected::Symbol(symbol));
        let found = self.at(symbol);
        self.next += usize::from(found);
        found
    }

    fn eat_function(&mut self, name: &'static str) -> bool {
        self.note(Expected::Function(name));
        let found = self.at_name(name);
        self.next += usize::from(found);
        found
    }

    fn want(&mut self, symbol: &'static str, expected: &str) -> Result<(), Problem> {
        if self.eat(symbol) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// Notes what could stand at the end of the text.
    fn note(&mut self, expected: Expected) {
        if self.at_end() && !self.expected.contains(&expected) {
            self.expected.push(expected);
        }
    }

    fn unexpected(&self, expected: &str) -> Problem {
        Problem::syntax(self.range(), format!("expected {expected}"))
    }

    /// Enters a parenthesis or a sign; [`Self::leave`] is its end.
    fn enter(&mut self) -> Result<(), Problem> {
        self.nesting += 1;
        if self.nesting <= MAX_NESTING {
            return Ok(());
        }
        Err(Problem::limit(
            self.range(),
            format!("the query nests deeper than {MAX_NESTING} levels; make it flatter"),
        ))
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    /// The depth of a tree above others, which is limited.
    fn deeper(&self, depth: usize, range: &Range<usize>) -> Result<usize, Problem> {
        if depth < MAX_DEPTH {
            return Ok(depth + 1);
        }
        let message = format!(
            "the query chains more than {MAX_DEPTH} operators; a regular expression may replace some"
        );
        Err(Problem::limit(range.clone(), message))
    }

    /// Fields, separated by commas, and the closing parenthesis.
    fn fields(&mut self) -> Result<Vec<Field>, Problem> {
        let mut fields = Vec::new();
        loop {
            self.note(Expected::Field);
            let field = field_of(self.word())
                .ok_or_else(|| self.unexpected("a field, like name, .key, span.key or resource.key"))?;
            fields.push(field);
            self.advance();
            if !self.eat(",") {
                self.want(")", "a comma or the closing parenthesis")?;
                return Ok(fields);
            }
        }
    }
}

/// The field that a word names.
fn field_of(word: &Word) -> Option<Field> {
    match word {
        Word::Field(field) => Some(field.clone()),
        Word::Name(name) => words::intrinsic_named(name)
            .map(|intrinsic| Field { of_parent: false, name: FieldName::Intrinsic(intrinsic) }),
        _ => None,
    }
}

/// A complaint about a number where a query is wanted.
fn naked_scalar(scalar: &ScalarExpr, begin: Range<usize>, end: Range<usize>) -> Problem {
    if parts::has_aggregate(scalar) {
        return Problem::syntax(end, "expected a comparison of what stands in front, like count() > 2");
    }
    Problem::syntax(begin, "a query is written in braces, like { resource.service.name = \"cart\" }")
}
