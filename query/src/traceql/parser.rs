//! Parses words into a predicate.

use spandrel_storage::plan::{Field, Predicate};

use super::error::{ParseError, QueryErrorKind};
use super::lexer::{Constant, Operator, Token, Word};
use super::types;

/// How deep parentheses and alternating `&&` and `||` may nest, so that code that walks a predicate may recurse.
pub(crate) const MAX_DEPTH: usize = 64;

/// A predicate and its depth, which is bounded so that code that walks it may recurse.
struct Tree {
    predicate: Predicate,
    depth: usize,
}

/// One side of a comparison.
enum Operand {
    Field(Field),
    Constant(Constant),
}

pub(super) fn query(tokens: &[Token]) -> Result<Predicate, ParseError> {
    let mut parser = Parser { tokens, next: 0, depth: 0 };
    let predicate = match parser.word() {
        Word::End => return Ok(Predicate::All),
        Word::OpenBrace => parser.selector()?,
        Word::OpenParen => return Err(ParseError::unsupported(parser.at(), "a combination of selectors")),
        Word::Unsupported(what) => return Err(ParseError::unsupported(parser.at(), what)),
        _ => {
            let message = "a query is written in braces, like { resource.service.name = \"cart\" }";
            return Err(ParseError::syntax(parser.at(), message));
        }
    };
    let what = match parser.word() {
        Word::End => return Ok(predicate),
        Word::Unsupported(what) => what,
        Word::And | Word::Or => "a combination of selectors",
        Word::Compare(_) => "a structural operator",
        _ => return Err(ParseError::syntax(parser.at(), "the query should end behind the closing brace")),
    };
    Err(ParseError::unsupported(parser.at(), what))
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    depth: usize,
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn token(&self) -> &'a Token {
        // No parser takes the last word of the list, which is never empty.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn word(&self) -> &'a Word {
        &self.token().word
    }

    fn at(&self) -> usize {
        self.token().at
    }

    fn advance(&mut self) {
        self.next += 1;
    }

    fn selector(&mut self) -> Result<Predicate, ParseError> {
        self.advance();
        if *self.word() == Word::CloseBrace {
            self.advance();
            return Ok(Predicate::All);
        }
        let tree = self.expression()?;
        self.close(&Word::CloseBrace, "&&, || or the closing brace }")?;
        Ok(tree.predicate)
    }

    fn close(&mut self, wanted: &Word, allowed: &str) -> Result<(), ParseError> {
        if self.word() == wanted {
            self.advance();
            return Ok(());
        }
        Err(match self.word() {
            Word::Unsupported(what) => ParseError::unsupported(self.at(), what),
            Word::Compare(_) => ParseError::unsupported(
                self.at(),
                "a comparison of what is not a single field and a constant",
            ),
            _ => ParseError::syntax(self.at(), format!("expected {allowed}")),
        })
    }

    /// Terms joined by `&&` and `||`, which bind equally and from the left.
    fn expression(&mut self) -> Result<Tree, ParseError> {
        let mut left = self.term()?;
        loop {
            let join = match self.word() {
                Word::And => and,
                Word::Or => or,
                _ => return Ok(left),
            };
            let at = self.at();
            self.advance();
            left = join(left, self.term()?);
            if left.depth > MAX_DEPTH {
                return Err(too_deep(at));
            }
        }
    }

    fn term(&mut self) -> Result<Tree, ParseError> {
        if *self.word() == Word::OpenParen {
            return self.parentheses();
        }
        let at = self.at();
        let left = self.operand()?;
        let predicate = match self.word() {
            Word::Compare(operator) => {
                self.advance();
                let right_at = self.at();
                let right = self.operand()?;
                comparison(left, at, *operator, right, right_at)?
            }
            Word::Unsupported(what) => return Err(ParseError::unsupported(self.at(), what)),
            _ => alone(left, at)?,
        };
        Ok(Tree { predicate, depth: 1 })
    }

    fn parentheses(&mut self) -> Result<Tree, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep(self.at()));
        }
        self.depth += 1;
        self.advance();
        let tree = self.expression()?;
        self.close(&Word::CloseParen, "&&, || or a closing parenthesis")?;
        self.depth -= 1;
        Ok(tree)
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        let operand = match self.word() {
            Word::Field(field) => Operand::Field(field.clone()),
            Word::Constant(constant) => Operand::Constant(constant.clone()),
            Word::Unsupported(what) => return Err(ParseError::unsupported(self.at(), what)),
            Word::OpenParen => {
                return Err(ParseError::unsupported(self.at(), "a comparison with parentheses"));
            }
            _ => {
                let message = "expected a field (name, duration, status, kind, failed, .key, span.key, \
                               resource.key), a constant or a parenthesis";
                return Err(ParseError::syntax(self.at(), message));
            }
        };
        self.advance();
        Ok(operand)
    }
}

fn comparison(
    left: Operand,
    left_at: usize,
    operator: Operator,
    right: Operand,
    right_at: usize,
) -> Result<Predicate, ParseError> {
    let (field, operator, constant, at) = match (left, right) {
        (Operand::Field(field), Operand::Constant(constant)) => (field, operator, constant, right_at),
        (Operand::Constant(constant), Operand::Field(field)) => match mirrored(operator) {
            Some(operator) => (field, operator, constant, left_at),
            None => {
                return Err(ParseError::syntax(
                    left_at,
                    "a regular expression stands to the right of =~ and !~",
                ));
            }
        },
        (Operand::Field(_), Operand::Field(_)) => {
            return Err(ParseError::unsupported(right_at, "a comparison of two fields"));
        }
        (Operand::Constant(_), Operand::Constant(_)) => {
            return Err(ParseError::unsupported(right_at, "a comparison of two constants"));
        }
    };
    types::compare(field, operator, constant).map_err(|message| ParseError::r#type(at, message))
}

fn alone(operand: Operand, at: usize) -> Result<Predicate, ParseError> {
    match operand {
        Operand::Constant(Constant::Bool(true)) => Ok(Predicate::All),
        Operand::Constant(Constant::Bool(false)) => Ok(Predicate::Or(Vec::new())),
        Operand::Constant(_) => {
            Err(ParseError::r#type(at, "a constant cannot stand alone; compare a field with it"))
        }
        Operand::Field(field) => types::is_true(field).map_err(|message| ParseError::r#type(at, message)),
    }
}

/// The operator for the same comparison with its sides swapped.
fn mirrored(operator: Operator) -> Option<Operator> {
    match operator {
        Operator::Eq | Operator::Ne => Some(operator),
        Operator::Lt => Some(Operator::Gt),
        Operator::Le => Some(Operator::Ge),
        Operator::Gt => Some(Operator::Lt),
        Operator::Ge => Some(Operator::Le),
        Operator::Matches | Operator::MatchesNot => None,
    }
}

fn and(left: Tree, right: Tree) -> Tree {
    match left.predicate {
        Predicate::And(mut list) => {
            list.push(right.predicate);
            Tree { predicate: Predicate::And(list), depth: left.depth.max(right.depth + 1) }
        }
        predicate => Tree {
            predicate: Predicate::And(vec![predicate, right.predicate]),
            depth: left.depth.max(right.depth) + 1,
        },
    }
}

fn or(left: Tree, right: Tree) -> Tree {
    match left.predicate {
        // An empty list means `false` and must not become part of a longer list.
        Predicate::Or(mut list) if !list.is_empty() => {
            list.push(right.predicate);
            Tree { predicate: Predicate::Or(list), depth: left.depth.max(right.depth + 1) }
        }
        predicate => Tree {
            predicate: Predicate::Or(vec![predicate, right.predicate]),
            depth: left.depth.max(right.depth) + 1,
        },
    }
}

fn too_deep(at: usize) -> ParseError {
    let message = format!("the query nests deeper than {MAX_DEPTH} levels (maxQueryDepth); make it flatter");
    ParseError { kind: QueryErrorKind::Limit, at, message }
}
