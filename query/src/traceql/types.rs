//! Type rules of comparisons: which operators and literals a field allows.

use regex::{Regex, RegexBuilder};
use spandrel_storage::plan::{Comparison, Field, Literal, Predicate};

use super::lexer::{Constant, Operator};

/// Bytes that a compiled regular expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Builds a comparison. The error says which types do not fit.
pub(super) fn compare(field: Field, operator: Operator, constant: Constant) -> Result<Predicate, String> {
    if constant == Constant::Nil {
        return compare_with_nil(field, operator);
    }
    check_types(&field, operator, &constant)?;
    let comparison = match (operator, constant) {
        (Operator::Matches, Constant::String(pattern)) => Comparison::Matches(anchored(&pattern)?),
        (Operator::MatchesNot, Constant::String(pattern)) => Comparison::MatchesNot(anchored(&pattern)?),
        (operator, constant) => plain(operator, literal(constant)?)?,
    };
    Ok(Predicate::Compare(field, comparison))
}

/// A field without a comparison has to be true.
pub(super) fn is_true(field: Field) -> Result<Predicate, String> {
    match field {
        Field::Failed | Field::Attribute(..) => {
            Ok(Predicate::Compare(field, Comparison::Eq(Literal::Bool(true))))
        }
        field => Err(format!("{} cannot stand alone; compare it with something", name_of(&field))),
    }
}

fn compare_with_nil(field: Field, operator: Operator) -> Result<Predicate, String> {
    match (&field, operator) {
        (Field::Attribute(..), Operator::Eq) => Ok(Predicate::Absent(field)),
        (Field::Attribute(..), Operator::Ne) => Ok(Predicate::Exists(field)),
        (Field::Attribute(..), _) => Err("nil is compared with = or != only".to_owned()),
        _ => Err(format!("every span has a {}; only attributes are compared with nil", name_of(&field))),
    }
}

fn check_types(field: &Field, operator: Operator, constant: &Constant) -> Result<(), String> {
    let (fits, wanted) = match field {
        Field::Name => (matches!(constant, Constant::String(_)), "a string in double quotes"),
        Field::Duration => (
            matches!(constant, Constant::Duration(_) | Constant::Int(_) | Constant::Float(_)),
            "a duration like 100ms, or a number of nanoseconds",
        ),
        Field::Status => (matches!(constant, Constant::Status(_)), "error, ok or unset"),
        Field::Kind => (
            matches!(constant, Constant::Kind(_)),
            "server, client, producer, consumer, internal or unspecified",
        ),
        Field::Failed => (matches!(constant, Constant::Bool(_)), "true or false"),
        Field::Attribute(..) => (
            !matches!(constant, Constant::Status(_) | Constant::Kind(_)),
            "a string in double quotes, a number, a duration, true or false",
        ),
    };
    if !fits {
        return Err(format!("{} is compared with {wanted}, not with {}", name_of(field), describe(constant)));
    }
    if allowed_operators(constant).contains(&operator) {
        return Ok(());
    }
    let allowed: Vec<&str> = allowed_operators(constant).iter().map(|operator| symbol(*operator)).collect();
    Err(format!(
        "{} is not compared with {}; use one of {}",
        describe(constant),
        symbol(operator),
        allowed.join(" ")
    ))
}

fn allowed_operators(constant: &Constant) -> &'static [Operator] {
    use Operator::{Eq, Ge, Gt, Le, Lt, Matches, MatchesNot, Ne};
    match constant {
        Constant::String(_) => &[Eq, Ne, Lt, Le, Gt, Ge, Matches, MatchesNot],
        Constant::Int(_) | Constant::Float(_) | Constant::Duration(_) => &[Eq, Ne, Lt, Le, Gt, Ge],
        Constant::Bool(_) | Constant::Status(_) | Constant::Kind(_) | Constant::Nil => &[Eq, Ne],
    }
}

fn literal(constant: Constant) -> Result<Literal, String> {
    Ok(match constant {
        Constant::String(text) => Literal::String(text),
        Constant::Int(int) | Constant::Duration(int) => Literal::Int(int),
        Constant::Float(float) => Literal::Float(float),
        Constant::Bool(flag) => Literal::Bool(flag),
        Constant::Status(status) => Literal::Status(status),
        Constant::Kind(kind) => Literal::Kind(kind),
        Constant::Nil => return Err("nil is compared with = or != only".to_owned()),
    })
}

fn plain(operator: Operator, literal: Literal) -> Result<Comparison, String> {
    Ok(match operator {
        Operator::Eq => Comparison::Eq(literal),
        Operator::Ne => Comparison::Ne(literal),
        Operator::Lt => Comparison::Lt(literal),
        Operator::Le => Comparison::Le(literal),
        Operator::Gt => Comparison::Gt(literal),
        Operator::Ge => Comparison::Ge(literal),
        Operator::Matches | Operator::MatchesNot => {
            return Err("a regular expression is a string in double quotes or backticks".to_owned());
        }
    })
}

/// Compiles a pattern that has to match the whole value, as in Tempo.
fn anchored(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build()
    };
    // The pattern is compiled alone first: anchors around `a)(b` would make it valid.
    build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|error| match error {
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

fn name_of(field: &Field) -> String {
    match field {
        Field::Name => "name".to_owned(),
        Field::Duration => "duration".to_owned(),
        Field::Status => "status".to_owned(),
        Field::Kind => "kind".to_owned(),
        Field::Failed => "failed".to_owned(),
        Field::Attribute(_, name) => format!("the attribute {name}"),
    }
}

fn describe(constant: &Constant) -> &'static str {
    match constant {
        Constant::String(_) => "a string",
        Constant::Int(_) | Constant::Float(_) => "a number",
        Constant::Duration(_) => "a duration",
        Constant::Bool(_) => "true or false",
        Constant::Status(_) => "a status",
        Constant::Kind(_) => "a kind",
        Constant::Nil => "nil",
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "=",
        Operator::Ne => "!=",
        Operator::Lt => "<",
        Operator::Le => "<=",
        Operator::Gt => ">",
        Operator::Ge => ">=",
        Operator::Matches => "=~",
        Operator::MatchesNot => "!~",
    }
}
