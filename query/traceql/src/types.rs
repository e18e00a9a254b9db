//! Which values go together: the types of fields and constants, and what operators take and give.
//!
//! An attribute may hold anything, so only what can never hold is refused.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::ast::{BinaryOp, Field, FieldExpr, FieldName, Intrinsic, Literal, Scope};
use crate::error::Problem;
use crate::words;

/// Bytes that a compiled regular expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The type of a value, as far as it is known before spans are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// That of an attribute, which may hold anything.
    Any,
    /// A whole number, one with a fraction or a duration; they mix freely.
    Number,
    String,
    Bool,
    Status,
    Kind,
    Nil,
    /// The parent, which is there or not.
    Span,
}

/// An expression on a span with what the rules need to know of it.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) expr: FieldExpr,
    pub(crate) kind: Type,
    /// Where it is written.
    pub(crate) range: Range<usize>,
    /// How many operators deep the expression is.
    pub(crate) depth: usize,
    /// Whether a field stands in it, so that its value depends on the span.
    pub(crate) has_field: bool,
}

// === impl Type ===

impl Type {
    pub(crate) fn of_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Nil => Self::Nil,
            Literal::Bool(_) => Self::Bool,
            Literal::Int(_) | Literal::Float(_) | Literal::Duration(_) => Self::Number,
            Literal::String(_) => Self::String,
            Literal::Status(_) => Self::Status,
            Literal::Kind(_) => Self::Kind,
        }
    }

    pub(crate) fn of_field(field: &Field) -> Self {
        let FieldName::Intrinsic(intrinsic) = &field.name else { return Self::Any };
        match intrinsic {
            Intrinsic::Duration
            | Intrinsic::ChildCount
            | Intrinsic::TraceDuration
            | Intrinsic::EventTimeSinceStart
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent => Self::Number,
            Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::SpanId
            | Intrinsic::ParentId
            | Intrinsic::RootName
            | Intrinsic::RootService
            | Intrinsic::TraceId
            | Intrinsic::EventName
            | Intrinsic::LinkTraceId
            | Intrinsic::LinkSpanId
            | Intrinsic::InstrumentationName
            | Intrinsic::InstrumentationVersion
            | Intrinsic::Mesh(_) => Self::String,
            Intrinsic::Kind => Self::Kind,
            Intrinsic::Status => Self::Status,
            Intrinsic::Failed | Intrinsic::Root | Intrinsic::Entry | Intrinsic::MeshRequest => Self::Bool,
            Intrinsic::Parent => Self::Span,
        }
    }

    /// Whether a value of this type may be one of the other.
    pub(crate) fn may_be(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Any => "an attribute",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Bool => "true or false",
            Self::Status => "a status",
            Self::Kind => "a kind",
            Self::Nil => "nil",
            Self::Span => "the parent span",
        }
    }

    /// What to write where a value of this type is wanted.
    fn wanted(self) -> &'static str {
        match self {
            Self::Any => "a string in double quotes, a number, a duration, true or false",
            Self::Number => "a number or a duration like 100ms",
            Self::String => "a string in double quotes",
            Self::Bool => "true or false",
            Self::Status => "error, ok or unset",
            Self::Kind => "server, client, producer, consumer, internal or unspecified",
            Self::Nil | Self::Span => "nil",
        }
    }
}

// === impl Term ===

impl Term {
    pub(crate) fn literal(literal: Literal, range: Range<usize>) -> Self {
        let kind = Type::of_literal(&literal);
        Self { expr: FieldExpr::Literal(literal), kind, range, depth: 1, has_field: false }
    }

    pub(crate) fn field(field: Field, range: Range<usize>) -> Self {
        let kind = Type::of_field(&field);
        Self { expr: FieldExpr::Field(field), kind, range, depth: 1, has_field: true }
    }

    fn is_constant(&self) -> bool {
        matches!(self.expr, FieldExpr::Literal(_))
    }

    fn describe(&self) -> String {
        match &self.expr {
            FieldExpr::Literal(Literal::Duration(_)) => "a duration".to_owned(),
            FieldExpr::Field(field) => name_of(field),
            FieldExpr::Literal(_) => self.kind.describe().to_owned(),
            _ if self.kind == Type::Bool => "a condition".to_owned(),
            _ => "a computed number".to_owned(),
        }
    }

    /// Complains that another type is wanted here.
    fn unfit(&self, what: &str) -> Problem {
        Problem::types(self.range.clone(), format!("{what}, not {}", self.describe()))
    }
}

/// A condition has to be true or false.
pub(crate) fn condition(term: &Term) -> Result<(), Problem> {
    if term.kind.may_be(Type::Bool) {
        return Ok(());
    }
    let message = if term.is_constant() {
        "a constant cannot stand alone; compare a field with it".to_owned()
    } else {
        format!("{} cannot stand alone; compare it with something", term.describe())
    };
    Err(Problem::types(term.range.clone(), message))
}

/// What is counted or grouped has to differ between spans.
pub(crate) fn of_spans(term: &Term, what: &str) -> Result<(), Problem> {
    match term.kind {
        Type::Nil | Type::Span => Err(term.unfit(&format!("{what} takes a value that spans have"))),
        _ if term.has_field => Ok(()),
        _ => {
            let message = format!("{what} takes something of the spans: name a field, like duration or .key");
            Err(Problem::types(term.range.clone(), message))
        }
    }
}

/// What is added up or averaged has to be a number.
pub(crate) fn number(term: &Term, what: &str) -> Result<(), Problem> {
    if term.kind.may_be(Type::Number) { Ok(()) } else { Err(term.unfit(&format!("{what} takes a number"))) }
}

/// `!e` of a condition.
pub(crate) fn negation(term: &Term) -> Result<(), Problem> {
    if term.kind.may_be(Type::Bool) {
        return Ok(());
    }
    let found = term.describe();
    let message =
        format!("! negates a condition, not {found}; a comparison is put in parentheses, like !(.key = 1)");
    Err(Problem::types(term.range.clone(), message))
}

/// The type of `left op right`.
pub(crate) fn binary(op: BinaryOp, left: &Term, right: &Term) -> Result<Type, Problem> {
    use BinaryOp as Op;
    let symbol = words::operator(op).0;
    match op {
        Op::Or | Op::And => {
            let what = format!("{symbol} joins conditions");
            both(Type::Bool, left, right, &what)
        }
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Mod | Op::Pow => {
            let what = format!("{symbol} computes with numbers and durations");
            both(Type::Number, left, right, &what)?;
            return Ok(Type::Number);
        }
        Op::Contains | Op::StartsWith | Op::EndsWith => {
            let what = format!("{symbol} compares strings (in double quotes)");
            both(Type::String, left, right, &what)
        }
        Op::Matches | Op::MatchesNot => matches(symbol, left, right),
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => compare(op, left, right),
    }?;
    Ok(Type::Bool)
}

/// Whether an operator makes sense behind an operand. More is allowed: a condition may be compared with another.
pub(crate) fn may_follow(op: BinaryOp, left: &Term) -> bool {
    use BinaryOp::{And, Contains, EndsWith, Eq, Matches, MatchesNot, Ne, Or, StartsWith};
    let is_condition =
        left.kind == Type::Bool && !matches!(left.expr, FieldExpr::Literal(_) | FieldExpr::Field(_));
    match op {
        And | Or => left.kind.may_be(Type::Bool),
        _ if is_condition => false,
        Eq | Ne => true,
        Matches | MatchesNot | Contains | StartsWith | EndsWith => left.kind.may_be(Type::String),
        _ if words::is_comparison(op) => left.kind.may_be(Type::Number) || left.kind == Type::String,
        _ => left.kind.may_be(Type::Number),
    }
}

fn both(wanted: Type, left: &Term, right: &Term, what: &str) -> Result<(), Problem> {
    match [left, right].into_iter().find(|term| !term.kind.may_be(wanted)) {
        Some(term) => Err(term.unfit(what)),
        None => Ok(()),
    }
}

fn matches(symbol: &str, left: &Term, right: &Term) -> Result<(), Problem> {
    both(Type::String, left, right, &format!("{symbol} compares a string with a regular expression"))?;
    if let FieldExpr::Literal(Literal::String(pattern)) = &right.expr {
        anchored_regex(pattern).map_err(|message| Problem::types(right.range.clone(), message))?;
    }
    Ok(())
}

fn compare(op: BinaryOp, left: &Term, right: &Term) -> Result<(), Problem> {
    if left.kind == Type::Nil || right.kind == Type::Nil {
        return compare_with_nil(op, left, right);
    }
    // The complaint is about the constant, wherever it stands.
    let (known, other) =
        if left.is_constant() && !right.is_constant() { (right, left) } else { (left, right) };
    if [known.kind, other.kind].contains(&Type::Span) {
        let term = if other.kind == Type::Span { other } else { known };
        let message =
            "parent is compared with nil alone; for what it is write parent.name, parent.kind or parent.key";
        return Err(Problem::types(term.range.clone(), message));
    }
    let is_word = matches!(other.kind, Type::Status | Type::Kind) && other.is_constant();
    if !known.kind.may_be(other.kind) || (known.kind == Type::Any && is_word) {
        let (known, wanted, found) = (known.describe(), wanted(known), other.describe());
        let message = format!("{known} is compared with {wanted}, not with {found}");
        return Err(Problem::types(other.range.clone(), message));
    }
    let fixed = [known, other].into_iter().find(|t| matches!(t.kind, Type::Bool | Type::Status | Type::Kind));
    match fixed {
        Some(term) if !matches!(op, BinaryOp::Eq | BinaryOp::Ne) => {
            let symbol = words::operator(op).0;
            let message = format!("{} is not compared with {symbol}; use one of = !=", term.describe());
            Err(Problem::types(other.range.clone(), message))
        }
        _ => Ok(()),
    }
}

fn wanted(term: &Term) -> &'static str {
    match &term.expr {
        FieldExpr::Field(Field { name: FieldName::Intrinsic(Intrinsic::Duration), .. }) => {
            "a duration like 100ms, or a number of nanoseconds"
        }
        FieldExpr::Field(Field { name: FieldName::Intrinsic(Intrinsic::ChildCount), .. }) => "a number",
        _ => term.kind.wanted(),
    }
}

fn compare_with_nil(op: BinaryOp, left: &Term, right: &Term) -> Result<(), Problem> {
    let (nil, other) = if right.kind == Type::Nil { (right, left) } else { (left, right) };
    match (op, &other.expr) {
        (BinaryOp::Eq, FieldExpr::Field(field)) if is_always_there(field) => {
            let message = format!(
                "every span has it, so that {} is never nil; other attributes, events, links and the parent are",
                name_of(field)
            );
            Err(Problem::types(nil.range.clone(), message))
        }
        (BinaryOp::Eq | BinaryOp::Ne, _) => Ok(()),
        _ => Err(Problem::types(nil.range.clone(), "nil is compared with = or != only")),
    }
}

/// Fields that every span has, of which `= nil` never holds.
fn is_always_there(field: &Field) -> bool {
    match &field.name {
        _ if field.of_parent => false,
        FieldName::Intrinsic(
            Intrinsic::Parent
            | Intrinsic::EventName
            | Intrinsic::EventTimeSinceStart
            | Intrinsic::LinkTraceId
            | Intrinsic::LinkSpanId
            | Intrinsic::Mesh(_),
        ) => false,
        FieldName::Intrinsic(_) => true,
        FieldName::Attribute(name) => name.scope == Scope::Resource && name.key == "service.name",
    }
}

fn name_of(field: &Field) -> String {
    match &field.name {
        FieldName::Intrinsic(intrinsic) if field.of_parent => {
            format!("parent.{}", words::intrinsic_of_parent(*intrinsic))
        }
        FieldName::Intrinsic(intrinsic) => words::intrinsic(*intrinsic).to_owned(),
        FieldName::Attribute(name) => format!("the attribute {}", name.key),
    }
}

/// Compiles a pattern that has to match a whole value, as `=~` and `!~` do.
///
/// The error says what is wrong with the pattern.
pub fn anchored_regex(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        // Statements and stack traces have many lines: `.*timeout.*` has to find them.
        builder.dot_matches_new_line(true);
        builder.size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build()
    };
    // The pattern is read alone first: anchors around `a)(b` would make it valid.
    let alone = regex_syntax::ast::parse::Parser::new().parse(pattern);
    let alone = alone.map_err(|error| regex::Error::Syntax(error.to_string()));
    alone.and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression takes more than {limit} bytes when compiled; make it smaller")
        }
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("the regular expression is not valid: {}", last.trim_start_matches("error: "))
        }
    })
}
