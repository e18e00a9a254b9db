//! Splits TraceQL into words. The grammar is in the parser.

use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_storage::plan::{AttributeScope, Field};

use super::error::ParseError;
use crate::duration::parse_duration;

/// One word, and the byte offset of its beginning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) word: Word,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    And,
    Or,
    Compare(Operator),
    Field(Field),
    Constant(Constant),
    /// Part of TraceQL, but not supported here; the text names it.
    Unsupported(String),
    End,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Matches,
    MatchesNot,
}

/// A literal with its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    String(String),
    Int(i64),
    Float(f64),
    /// In nanoseconds.
    Duration(i64),
    Bool(bool),
    Status(StatusCode),
    Kind(SpanKind),
    Nil,
}

/// Symbols. A longer one comes before its prefixes.
const SYMBOLS: [(&str, Symbol); 41] = [
    ("&&", Symbol::Is(Word::And)),
    ("||", Symbol::Is(Word::Or)),
    ("=~", Symbol::Is(Word::Compare(Operator::Matches))),
    ("!~", Symbol::Is(Word::Compare(Operator::MatchesNot))),
    ("==", Symbol::Wrong("equality is written with one =")),
    ("!=", Symbol::Is(Word::Compare(Operator::Ne))),
    ("!>>", Symbol::Lacks("the structural operator !>>")),
    ("!<<", Symbol::Lacks("the structural operator !<<")),
    ("!>", Symbol::Lacks("the structural operator !>")),
    ("!<", Symbol::Lacks("the structural operator !<")),
    ("&>>", Symbol::Lacks("the structural operator &>>")),
    ("&<<", Symbol::Lacks("the structural operator &<<")),
    ("&>", Symbol::Lacks("the structural operator &>")),
    ("&<", Symbol::Lacks("the structural operator &<")),
    ("&~", Symbol::Lacks("the structural operator &~")),
    (">>", Symbol::Lacks("the structural operator >>")),
    ("<<", Symbol::Lacks("the structural operator <<")),
    ("<=", Symbol::Is(Word::Compare(Operator::Le))),
    (">=", Symbol::Is(Word::Compare(Operator::Ge))),
    ("=", Symbol::Is(Word::Compare(Operator::Eq))),
    ("<", Symbol::Is(Word::Compare(Operator::Lt))),
    (">", Symbol::Is(Word::Compare(Operator::Gt))),
    ("~", Symbol::Lacks("the structural operator ~")),
    ("!", Symbol::Lacks("negation with !")),
    ("|", Symbol::Lacks("a pipeline (|)")),
    ("&", Symbol::Wrong("both sides are joined with &&")),
    ("{", Symbol::Is(Word::OpenBrace)),
    ("}", Symbol::Is(Word::CloseBrace)),
    ("(", Symbol::Is(Word::OpenParen)),
    (")", Symbol::Is(Word::CloseParen)),
    ("+", Symbol::Lacks("arithmetic (+)")),
    ("-", Symbol::Lacks("arithmetic (-)")),
    ("*", Symbol::Lacks("arithmetic (*)")),
    ("/", Symbol::Lacks("arithmetic (/)")),
    ("%", Symbol::Lacks("arithmetic (%)")),
    ("^", Symbol::Lacks("arithmetic (^)")),
    (",", Symbol::Wrong("a comma has no meaning here")),
    ("'", Symbol::Wrong("a string is written in double quotes or backticks")),
    (";", Symbol::Wrong("a semicolon has no meaning here")),
    ("[", Symbol::Wrong("square brackets have no meaning here")),
    ("]", Symbol::Wrong("square brackets have no meaning here")),
];

#[derive(Clone)]
enum Symbol {
    Is(Word),
    Lacks(&'static str),
    Wrong(&'static str),
}

/// Scopes that attribute names may be prefixed with; those with `None` are not supported yet.
const SCOPES: [(&str, Option<AttributeScope>); 6] = [
    ("span", Some(AttributeScope::Span)),
    ("resource", Some(AttributeScope::Resource)),
    ("event", None),
    ("link", None),
    ("instrumentation", None),
    ("parent", None),
];

/// Names that have a meaning in TraceQL and are not supported yet.
const LATER: [&str; 31] = [
    "childCount",
    "statusMessage",
    "rootName",
    "rootServiceName",
    "traceDuration",
    "nestedSetLeft",
    "nestedSetRight",
    "nestedSetParent",
    "parent",
    "minInt",
    "maxInt",
    "count",
    "avg",
    "min",
    "max",
    "sum",
    "by",
    "coalesce",
    "select",
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "avg_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
    "topk",
    "bottomk",
    "with",
];

/// Splits a query into words. The list ends with [`Word::End`] or with the first unsupported word, because the parser
/// stops at either.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let done = matches!(token.word, Word::End | Word::Unsupported(_));
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes characters for as long as they satisfy a condition.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn next_token(&mut self) -> Result<Token, ParseError> {
        self.take_while(char::is_whitespace);
        let at = self.at;
        let mut ahead = self.rest().chars();
        let word = match (ahead.next(), ahead.next()) {
            (None, _) => Word::End,
            (Some('"'), _) => Word::Constant(Constant::String(self.quoted()?)),
            (Some('`'), _) => Word::Constant(Constant::String(self.raw_string()?)),
            (Some('0'..='9'), _) | (Some('-' | '.'), Some('0'..='9')) => self.number()?,
            (Some('.'), _) => {
                self.at += 1;
                self.attribute(AttributeScope::Any)?
            }
            (Some(c), _) if c.is_alphabetic() || c == '_' => self.name()?,
            _ => self.symbol()?,
        };
        Ok(Token { at, word })
    }

    fn symbol(&mut self) -> Result<Word, ParseError> {
        let at = self.at;
        let found = SYMBOLS.iter().find(|(text, _)| self.rest().starts_with(text));
        let Some((text, symbol)) = found else {
            let c = self.rest().chars().next().unwrap_or_default();
            return Err(ParseError::syntax(
                at,
                format!("{c:?} has no meaning here; a string needs double quotes"),
            ));
        };
        self.at += text.len();
        match symbol.clone() {
            Symbol::Is(word) => Ok(word),
            Symbol::Lacks(what) => Ok(Word::Unsupported(what.to_owned())),
            Symbol::Wrong(why) => Err(ParseError::syntax(at, why)),
        }
    }

    /// A keyword, an intrinsic, or an attribute with its scope.
    fn name(&mut self) -> Result<Word, ParseError> {
        let at = self.at;
        let name = self.take_while(|c| c.is_alphanumeric() || c == '_' || c == ':');
        if self.rest().starts_with('.')
            && let Some((_, scope)) = SCOPES.iter().find(|(known, _)| *known == name)
        {
            self.at += 1;
            let field = self.attribute(scope.unwrap_or(AttributeScope::Any))?;
            return Ok(if scope.is_some() { field } else { Word::Unsupported(format!("the scope {name}.")) });
        }
        if self.rest().starts_with('.') {
            let tail = self.take_while(is_attribute_char);
            return Err(ParseError::syntax(
                at,
                format!(
                    "{name}{tail} has no scope: write .{name}{tail}, span.{name}{tail} or resource.{name}{tail}"
                ),
            ));
        }
        meaning(name).ok_or_else(|| {
            ParseError::syntax(
                at,
                format!(
                    "{name} is not known; a field is name, duration, status, kind, failed, .key, span.key or \
                     resource.key, and a string needs double quotes"
                ),
            )
        })
    }

    /// The name of an attribute after its scope: characters and quoted parts.
    fn attribute(&mut self, scope: AttributeScope) -> Result<Word, ParseError> {
        let at = self.at;
        let mut name = String::new();
        loop {
            name.push_str(self.take_while(|c| is_attribute_char(c) && c != '"'));
            if !self.rest().starts_with('"') {
                break;
            }
            name.push_str(&self.quoted_name_part()?);
        }
        if name.is_empty() {
            return Err(ParseError::syntax(at, "the name of an attribute is missing behind the dot"));
        }
        Ok(Word::Field(Field::Attribute(scope, name)))
    }

    /// In attribute names only `\"` and `\\` are escapes.
    fn quoted_name_part(&mut self) -> Result<String, ParseError> {
        let begin = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    _ => {
                        return Err(ParseError::syntax(
                            begin + at,
                            "in an attribute's name only \\\" and \\\\ are escapes",
                        ));
                    }
                },
                c => text.push(c),
            }
        }
        Err(ParseError::syntax(begin, "the closing double quote of this attribute's name is missing"))
    }

    fn raw_string(&mut self) -> Result<String, ParseError> {
        let begin = self.at;
        self.at += 1;
        let text = self.take_while(|c| c != '`');
        if self.rest().is_empty() {
            return Err(ParseError::syntax(begin, "the closing backtick of this string is missing"));
        }
        self.at += 1;
        Ok(text.to_owned())
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        let begin = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            text.push_str(self.take_while(|c| c != '"' && c != '\\'));
            let at = self.at;
            let mut ahead = self.rest().chars();
            match (ahead.next(), ahead.next()) {
                (Some('"'), _) => {
                    self.at += 1;
                    return Ok(text);
                }
                (Some('\\'), Some(escape)) => {
                    self.at += 1 + escape.len_utf8();
                    text.push(self.unescape(at, escape)?);
                }
                _ => {
                    return Err(ParseError::syntax(
                        begin,
                        "the closing double quote of this string is missing",
                    ));
                }
            }
        }
    }

    fn unescape(&mut self, at: usize, escape: char) -> Result<char, ParseError> {
        let digits = match escape {
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            '\\' | '"' | '\'' => return Ok(escape),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                let message = format!(
                    "\\{other} is not an escape; for a backslash write \\\\, or put the string in backticks"
                );
                return Err(ParseError::syntax(at, message));
            }
        };
        let code = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        // Strings are characters: one byte above 0x7f is not a character.
        let decoded = code.filter(|code| digits > 2 || *code < 0x80).and_then(char::from_u32);
        self.at += if decoded.is_some() { digits } else { 0 };
        decoded.ok_or_else(|| ParseError::syntax(at, "this escape does not name a character"))
    }

    /// An integer, a float or a duration.
    fn number(&mut self) -> Result<Word, ParseError> {
        let begin = self.at;
        self.at += usize::from(self.rest().starts_with('-'));
        let unsigned_begin = self.at;
        self.take_while(|c| c.is_alphanumeric() || c == '.' || c == '_');
        let exponent = self.text[unsigned_begin..self.at].ends_with(['e', 'E']);
        if exponent && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let text = &self.text[begin..self.at];
        constant_of(text).map(Word::Constant).ok_or_else(|| {
            let message =
                format!("{text} is not a number of 64 bits or a duration ({})", crate::duration::ALLOWED);
            ParseError::syntax(begin, message)
        })
    }
}

fn constant_of(text: &str) -> Option<Constant> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if let Ok(int) = text.parse() {
        return Some(Constant::Int(int));
    }
    let floating = unsigned.contains('.') || unsigned.contains(['e', 'E']);
    if floating
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return text.parse().ok().filter(|float: &f64| float.is_finite()).map(Constant::Float);
    }
    let nanos = i64::try_from(parse_duration(unsigned)?).ok()?;
    Some(Constant::Duration(if text.starts_with('-') { -nanos } else { nanos }))
}

fn is_attribute_char(c: char) -> bool {
    !c.is_whitespace() && !"{}()=~!<>&|^,".contains(c)
}

fn meaning(name: &str) -> Option<Word> {
    Some(match name {
        "name" | "span:name" => Word::Field(Field::Name),
        "duration" | "span:duration" => Word::Field(Field::Duration),
        "status" | "span:status" => Word::Field(Field::Status),
        "kind" | "span:kind" => Word::Field(Field::Kind),
        "failed" => Word::Field(Field::Failed),
        "true" => Word::Constant(Constant::Bool(true)),
        "false" => Word::Constant(Constant::Bool(false)),
        "nil" => Word::Constant(Constant::Nil),
        "error" => Word::Constant(Constant::Status(StatusCode::Error)),
        "ok" => Word::Constant(Constant::Status(StatusCode::Ok)),
        "unset" => Word::Constant(Constant::Status(StatusCode::Unset)),
        "unspecified" => Word::Constant(Constant::Kind(SpanKind::Unspecified)),
        "internal" => Word::Constant(Constant::Kind(SpanKind::Internal)),
        "server" => Word::Constant(Constant::Kind(SpanKind::Server)),
        "client" => Word::Constant(Constant::Kind(SpanKind::Client)),
        "producer" => Word::Constant(Constant::Kind(SpanKind::Producer)),
        "consumer" => Word::Constant(Constant::Kind(SpanKind::Consumer)),
        later if LATER.contains(&later) => Word::Unsupported(later.to_owned()),
        scoped => {
            let (scope, _) = scoped.split_once(':')?;
            let known = ["span", "trace", "event", "link", "instrumentation"].contains(&scope);
            return known.then(|| Word::Unsupported(scoped.to_owned()));
        }
    })
}
