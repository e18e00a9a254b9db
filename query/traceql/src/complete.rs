//! What may be typed at a place in half a query.
//!
//! The parser reads the words in front of the place and tells what it would take next. Names and values of attributes
//! are in the store, so that they are only asked for here.

use std::ops::Range;

use crate::MAX_QUERY_BYTES;
use crate::ast::{Field, FieldName, Literal, Scope};
use crate::lexer::{Lexer, Token, Word};
use crate::parser::{self, Expected};
use crate::types::Type;
use crate::words;

/// What may be typed at a place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Completion {
    /// The bytes of the word that is being typed; a suggestion replaces them.
    pub replace: Range<usize>,
    /// Words and symbols of the language that begin with what is typed.
    pub words: Vec<Suggestion>,
    /// Names of attributes may stand here.
    pub names: Option<Names>,
    /// Values of a field may stand here.
    pub values_of: Option<Values>,
}

/// A word or a symbol of the language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What to write.
    pub text: String,
    /// What it is.
    pub kind: SuggestionKind,
}

/// What a suggested word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuggestionKind {
    /// A constant, like `error`.
    Constant,
    /// An intrinsic, like `duration`.
    Field,
    /// The scope of attributes with its dot, like `span.`.
    Scope,
    /// A function or a keyword, which goes on with a parenthesis.
    Function,
    /// The name of a hint, which goes on with `=`.
    Hint,
    /// An operator.
    Operator,
    /// A bracket, a comma or `|`.
    Symbol,
}

/// Names of attributes that may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Whether it is the parent's attribute.
    pub of_parent: bool,
    /// The scope that is typed, or `None` for all.
    pub scope: Option<Scope>,
    /// The beginning of the name that is typed, without its scope and quotes.
    pub prefix: String,
}

/// Values of a field that may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Whose values.
    pub field: Field,
    /// The beginning of the value that is typed, without quotes.
    pub prefix: String,
}

/// Says what may be typed at a byte of a query. Only the text in front of it counts.
pub fn complete(text: &str, cursor: usize) -> Completion {
    let cursor = (0..=cursor.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let text = text.get(..cursor).unwrap_or(text);
    let words = if text.len() > MAX_QUERY_BYTES { None } else { words_before(text) };
    let Some((mut tokens, begin)) = words else {
        return Completion { replace: cursor..cursor, ..Completion::default() };
    };
    let completion = suggest(&tokens, begin..cursor, text);
    let symbol = tokens.len().checked_sub(2).and_then(|last| tokens.get(last));
    // Nothing follows `{ .a !`, but `!=` begins like that.
    match symbol.map(|token| token.range.clone()) {
        Some(range) if completion.is_empty() && range.end == cursor => {
            tokens.remove(tokens.len() - 2);
            suggest(&tokens, range, text)
        }
        _ => completion,
    }
}

// === impl Completion ===

impl Completion {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.names.is_none() && self.values_of.is_none()
    }
}

/// The whole words of a text, and where the word begins that is being typed at its end. `None` if there is a mistake in
/// front of it.
fn words_before(text: &str) -> Option<(Vec<Token>, usize)> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    let mut begin = text.len();
    loop {
        match lexer.next_token() {
            Ok(token) if token.word == Word::End => break,
            Ok(token) if token.range.end == text.len() && is_open(&token.word) => begin = token.range.start,
            Ok(token) => tokens.push(token),
            // A string without its end is being typed; everything else is a mistake, or a comment.
            Err(problem) if problem.range.end == text.len() && !text[lexer.begin()..].starts_with("/*") => {
                begin = lexer.begin();
                break;
            }
            Err(_) => return None,
        }
    }
    tokens.push(Token { word: Word::End, range: text.len()..text.len() });
    Some((tokens, begin))
}

/// Whether a word may go on at its end.
fn is_open(word: &Word) -> bool {
    match word {
        Word::Name(_) | Word::Field(_) => true,
        Word::Literal(literal) => !matches!(literal, Literal::String(_)),
        Word::Symbol(_) | Word::End => false,
    }
}

fn suggest(tokens: &[Token], replace: Range<usize>, text: &str) -> Completion {
    let typed = text.get(replace.clone()).unwrap_or_default();
    let mut completion = Completion { replace, ..Completion::default() };
    let expected = parser::expected(tokens);
    let compared = expected.iter().find_map(|expected| match expected {
        Expected::ValueOf(field) => Some(Type::of_field(field)),
        _ => None,
    });
    for expected in expected {
        match expected {
            Expected::Symbol(symbol) => completion.offer(typed, symbol, symbol_kind(symbol)),
            Expected::Operator(word) => completion.offer(typed, word, SuggestionKind::Operator),
            Expected::Function(name) => completion.offer(typed, name, SuggestionKind::Function),
            Expected::Hint(name) => completion.offer(typed, name, SuggestionKind::Hint),
            Expected::Field => completion.offer_fields(typed, compared.unwrap_or(Type::Any)),
            Expected::ValueOf(field) => completion.offer_values(typed, field),
        }
    }
    completion.words.sort_by_key(|word| word.kind);
    completion
}

fn symbol_kind(symbol: &str) -> SuggestionKind {
    let is_operator = words::operator_named(symbol).is_some() || words::structural_named(symbol).is_some();
    if is_operator || symbol == "!" { SuggestionKind::Operator } else { SuggestionKind::Symbol }
}

// === impl Completion: what is offered ===

impl Completion {
    fn offer(&mut self, typed: &str, text: impl Into<String>, kind: SuggestionKind) {
        let suggestion = Suggestion { text: text.into(), kind };
        if suggestion.text.starts_with(typed) && !self.words.contains(&suggestion) {
            self.words.push(suggestion);
        }
    }

    /// Fields that may be of a type.
    fn offer_fields(&mut self, typed: &str, wanted: Type) {
        let is_value = typed.starts_with(|c: char| c == '"' || c == '`' || c.is_ascii_digit());
        if is_value || wanted == Type::Span {
            return;
        }
        self.names = names(typed);
        for (intrinsic, names) in words::INTRINSICS {
            let field = Field { of_parent: false, name: FieldName::Intrinsic(intrinsic) };
            if !Type::of_field(&field).may_be(wanted) {
                continue;
            }
            // Other names of the same are offered once they are begun.
            for name in names.iter().take(if typed.is_empty() { 1 } else { names.len() }) {
                self.offer(typed, *name, SuggestionKind::Field);
            }
            let of_parent = words::intrinsic_of_parent(intrinsic);
            if typed.starts_with("parent.") && !of_parent.is_empty() && !of_parent.starts_with("trace:") {
                self.offer(typed, format!("parent.{of_parent}"), SuggestionKind::Field);
            }
        }
        for (scope, _) in words::SCOPES.iter().filter(|(scope, _)| !scope.is_empty()) {
            self.offer(typed, format!("{scope}."), SuggestionKind::Scope);
            if typed.starts_with("parent.") {
                self.offer(typed, format!("parent.{scope}."), SuggestionKind::Scope);
            }
        }
        self.offer(typed, "parent.", SuggestionKind::Scope);
    }

    fn offer_values(&mut self, typed: &str, field: Field) {
        let kind = Type::of_field(&field);
        for (name, literal) in words::CONSTANTS {
            let is_word = matches!(literal, Literal::Bool(_) | Literal::Status(_) | Literal::Kind(_));
            let fits = kind == Type::of_literal(&literal)
                || (kind == Type::Any && matches!(literal, Literal::Bool(_)));
            let is_nil = literal == Literal::Nil && matches!(kind, Type::Any | Type::Span);
            if (is_word && fits) || is_nil {
                self.offer(typed, name, SuggestionKind::Constant);
            }
        }
        if kind != Type::Span {
            let prefix = typed.trim_start_matches(['"', '`']).to_owned();
            self.values_of = Some(Values { field, prefix });
        }
    }
}

/// The scope and the beginning of a name: `resource.ser` is `ser` of resources.
fn names(typed: &str) -> Option<Names> {
    let behind_parent = typed.strip_prefix("parent.");
    let rest = behind_parent.unwrap_or(typed);
    let scoped = rest.split_once('.').and_then(|(scope, rest)| Some((words::scope_named(scope)?, rest)));
    let (scope, prefix) = match scoped {
        Some((scope, prefix)) => (Some(scope), prefix),
        // The parent's attributes are looked up in all of its scopes, as those behind a lone dot are.
        None => (behind_parent.map(|_| Scope::Any), rest),
    };
    let is_intrinsic = scope.is_none() && prefix.contains(':');
    let prefix = prefix.replace('"', "");
    (!is_intrinsic).then_some(Names { of_parent: behind_parent.is_some(), scope, prefix })
}
