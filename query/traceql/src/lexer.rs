//! Splits a query into words. What the words mean together is for the parser: `count` may be a function or a hint.

use std::ops::Range;

use crate::ast::{AttributeName, Field, FieldName, Intrinsic, Literal, Scope};
use crate::error::Problem;
use crate::{duration, words};

/// One word, and its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) word: Word,
    pub(crate) range: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    /// A bracket, a comma or an operator.
    Symbol(&'static str),
    /// A word without a dot: a keyword, an intrinsic or a constant.
    Name(String),
    /// A field that no other word can be taken for: an attribute, or what stands behind `parent.`.
    Field(Field),
    /// A string or a number without its sign.
    Literal(Literal),
    End,
}

/// Symbols. A longer one comes before its prefixes.
const SYMBOLS: [&str; 35] = [
    "!>>", "!<<", "&>>", "&<<", "&&", "||", "=~", "!~", "!=", "!>", "!<", "&>", "&<", "&~", ">>", "<<", "<=",
    ">=", "=", "<", ">", "~", "!", "|", "{", "}", "(", ")", "+", "-", "*", "/", "%", "^", ",",
];

/// What looks like a symbol, and what to write instead.
const MISTAKES: [(&str, &str); 10] = [
    ("==", "equality is written with one ="),
    ("<>", "inequality is written !="),
    ("**", "a power is written with ^"),
    ("&", "both sides are joined with &&"),
    ("'", "a string is written in double quotes or backticks"),
    (";", "a semicolon has no meaning here"),
    ("[", "square brackets have no meaning here"),
    ("]", "square brackets have no meaning here"),
    (":", "a colon stands between a scope and a name, as in span:name"),
    ("?", "a question mark has no meaning here"),
];

/// Splits a query into words; the last one is [`Word::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next_token()?;
        let is_end = token.word == Word::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Where the word begins that is read.
    begin: usize,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, begin: 0 }
    }

    /// Where the last word begins, also if it is a wrong one.
    pub(crate) fn begin(&self) -> usize {
        self.begin
    }

    pub(crate) fn next_token(&mut self) -> Result<Token, Problem> {
        self.skip_space()?;
        self.begin = self.at;
        let mut ahead = self.rest().chars();
        let word = match (ahead.next(), ahead.next()) {
            (None, _) => Word::End,
            (Some('"'), _) => Word::Literal(Literal::String(self.quoted()?)),
            (Some('`'), _) => Word::Literal(Literal::String(self.raw_string()?)),
            (Some('0'..='9'), _) | (Some('.'), Some('0'..='9')) => Word::Literal(self.number()?),
            (Some('.'), _) => self.attribute(false, Scope::Any)?,
            (Some(c), _) if c.is_alphabetic() || c == '_' => self.name()?,
            _ => Word::Symbol(self.symbol()?),
        };
        Ok(Token { word, range: self.begin..self.at })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// From a place to the end of what has been read.
    fn since(&self, begin: usize) -> Range<usize> {
        begin..self.at
    }

    /// Takes characters for as long as they satisfy a condition.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// White space and comments, `// ...` and `/* ... */`.
    fn skip_space(&mut self) -> Result<(), Problem> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if let Some(comment) = self.rest().strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    self.begin = self.at;
                    let range = self.at..self.text.len();
                    return Err(Problem::syntax(range, "the closing */ of this comment is missing"));
                };
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn symbol(&mut self) -> Result<&'static str, Problem> {
        let rest = self.rest();
        let mistake = MISTAKES.iter().find(|(text, _)| rest.starts_with(text));
        let symbol = SYMBOLS.iter().find(|text| rest.starts_with(**text));
        match (mistake, symbol) {
            // `&&` is no mistake, though it begins like one.
            (Some((wrong, message)), symbol) if symbol.is_none_or(|symbol| symbol.len() <= wrong.len()) => {
                Err(Problem::syntax(self.at..self.at + wrong.len(), *message))
            }
            (_, Some(symbol)) => {
                self.at += symbol.len();
                Ok(symbol)
            }
            _ => {
                let c = rest.chars().next().unwrap_or_default();
                let message = format!("{c:?} has no meaning here; a string needs double quotes");
                Err(Problem::syntax(self.at..self.at + c.len_utf8(), message))
            }
        }
    }

    /// A word, or an attribute with its scope.
    fn name(&mut self) -> Result<Word, Problem> {
        let begin = self.at;
        let name = self.take_while(is_name_char);
        if !self.rest().starts_with('.') {
            return Ok(Word::Name(name.to_owned()));
        }
        if name == "parent" {
            return self.field_of_parent();
        }
        if name == words::MESH {
            return self.field_of_mesh(false);
        }
        if let Some(scope) = words::scope_named(name) {
            return self.attribute(false, scope);
        }
        let key = format!("{name}{}", self.take_while(words::is_attribute_char));
        let message = format!("{key} has no scope: write .{key}, span.{key} or resource.{key}");
        Err(Problem::syntax(self.since(begin), message))
    }

    /// `parent.name`, `parent.span.key`, `parent.span:id`: what stands behind `parent`.
    fn field_of_parent(&mut self) -> Result<Word, Problem> {
        let dot = self.at;
        self.at += 1;
        let name = self.take_while(is_name_char);
        if self.rest().starts_with('.')
            && let Some(scope) = words::scope_named(name)
        {
            return self.attribute(true, scope);
        }
        if self.rest().starts_with('.') && name == words::MESH {
            return self.field_of_mesh(true);
        }
        let is_whole = !self.rest().starts_with(|c| c == '"' || words::is_attribute_char(c));
        match words::intrinsic_of_parent_named(name).filter(|_| is_whole) {
            Some(
                Intrinsic::TraceDuration | Intrinsic::TraceId | Intrinsic::RootName | Intrinsic::RootService,
            ) => {
                let message = format!("all spans of a trace have the same {name}: write it without parent.");
                Err(Problem::syntax(self.since(self.begin), message))
            }
            Some(intrinsic) => {
                Ok(Word::Field(Field { of_parent: true, name: FieldName::Intrinsic(intrinsic) }))
            }
            None => {
                self.at = dot;
                self.attribute(true, Scope::Any)
            }
        }
    }

    /// `mesh.name`, at its dot.
    fn field_of_mesh(&mut self, of_parent: bool) -> Result<Word, Problem> {
        let key = self.take_while(words::is_attribute_char);
        let name = format!("{}{key}", words::MESH);
        match words::intrinsic_named(&name) {
            Some(intrinsic) => Ok(Word::Field(Field { of_parent, name: FieldName::Intrinsic(intrinsic) })),
            None => {
                let known = words::INTRINSICS.iter().flat_map(|(_, names)| names.iter().copied());
                let known: Vec<&str> = known.filter(|name| name.starts_with("mesh.")).collect();
                let message = format!("{name} is not known; fields of a mesh are {}", known.join(", "));
                Err(Problem::syntax(self.since(self.begin), message))
            }
        }
    }

    /// The dot and the name behind it: characters and quoted parts.
    fn attribute(&mut self, of_parent: bool, scope: Scope) -> Result<Word, Problem> {
        self.at += 1;
        let begin = self.at;
        let mut name = AttributeName { scope, key: String::new(), is_literal: false };
        loop {
            name.key.push_str(self.take_while(words::is_attribute_char));
            if !self.rest().starts_with('"') {
                break;
            }
            name.key.push_str(&self.quoted_name_part()?);
            name.is_literal = true;
        }
        if name.key.is_empty() {
            return Err(Problem::syntax(begin..begin, "the name of an attribute is missing behind the dot"));
        }
        Ok(Word::Field(Field { of_parent, name: FieldName::Attribute(name) }))
    }

    /// In attribute names only `\"` and `\\` are escapes.
    fn quoted_name_part(&mut self) -> Result<String, Problem> {
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
                    Some((next, c)) => {
                        let range = begin + at..begin + next + c.len_utf8();
                        return Err(Problem::syntax(
                            range,
                            "in an attribute's name only \\\" and \\\\ are escapes",
                        ));
                    }
                    None => break,
                },
                c => text.push(c),
            }
        }
        let message = "the closing double quote of this attribute's name is missing";
        Err(Problem::syntax(begin..self.text.len(), message))
    }

    fn raw_string(&mut self) -> Result<String, Problem> {
        let begin = self.at;
        self.at += 1;
        let text = self.take_while(|c| c != '`');
        if self.rest().is_empty() {
            return Err(Problem::syntax(self.since(begin), "the closing backtick of this string is missing"));
        }
        self.at += 1;
        Ok(text.to_owned())
    }

    fn quoted(&mut self) -> Result<String, Problem> {
        let begin = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            text.push_str(self.take_while(|c| c != '"' && c != '\\'));
            let mut ahead = self.rest().chars();
            match (ahead.next(), ahead.next()) {
                (Some('"'), _) => {
                    self.at += 1;
                    return Ok(text);
                }
                (Some('\\'), Some(_)) => text.push(self.escape()?),
                _ => {
                    let message = "the closing double quote of this string is missing";
                    return Err(Problem::syntax(begin..self.text.len(), message));
                }
            }
        }
    }

    /// A backslash and what it stands for.
    fn escape(&mut self) -> Result<char, Problem> {
        let begin = self.at;
        self.at += 1;
        let escape = self.rest().chars().next().unwrap_or_default();
        let (digits, radix) = match escape {
            '0'..='7' => (3, 8),
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            _ => (0, 0),
        };
        // The first octal digit is the escape itself.
        self.at += if radix == 8 { 0 } else { escape.len_utf8() };
        if digits == 0 {
            return plain_escape(escape).ok_or_else(|| {
                let message = format!(
                    "\\{escape} is not an escape; for a backslash write \\\\, or put the string in backticks"
                );
                Problem::syntax(self.since(begin), message)
            });
        }
        let code = self.rest().get(..digits).filter(|text| text.chars().all(|c| c.is_digit(radix)));
        let code = code.and_then(|text| u32::from_str_radix(text, radix).ok());
        // Strings are characters: one byte above 0x7f is not a character.
        let decoded = code.filter(|code| digits > 3 || *code < 0x80).and_then(char::from_u32);
        let decoded = decoded
            .ok_or_else(|| Problem::syntax(self.since(begin), "this escape does not name a character"))?;
        self.at += digits;
        Ok(decoded)
    }

    /// An integer, a float or a duration, without a sign.
    fn number(&mut self) -> Result<Literal, Problem> {
        let begin = self.at;
        self.take_while(|c| c.is_alphanumeric() || c == '.' || c == '_');
        if self.text[begin..self.at].ends_with(['e', 'E']) && self.rest().starts_with(['+', '-']) {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let text = &self.text[begin..self.at];
        number(text).ok_or_else(|| {
            let message = format!("{text} is not a number of 64 bits or a duration ({})", duration::ALLOWED);
            Problem::syntax(self.since(begin), message)
        })
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

fn plain_escape(escape: char) -> Option<char> {
    Some(match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '"' | '\'' => escape,
        _ => return None,
    })
}

fn number(text: &str) -> Option<Literal> {
    if let Ok(int) = text.parse() {
        return Some(Literal::Int(int));
    }
    let is_float = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    if text.contains(['.', 'e', 'E']) && text.bytes().all(is_float) {
        return text.parse().ok().filter(|float: &f64| float.is_finite()).map(Literal::Float);
    }
    duration::read(text).map(Literal::Duration)
}
