//! Evaluates predicates on the Bloom filters of a block.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use spandrel_block::{FilterPart, Token};

use crate::plan::{AttributeScope, Comparison, Field, Predicate};
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};
use crate::store::read::matcher::SERVICE_NAME;

/// The part of a predicate that filters can decide, for any block; built once for a search.
#[derive(Debug)]
pub(crate) enum FilterPredicate {
    /// Filters do not decide it.
    Open,
    /// There has to be an attribute with one of these tokens.
    Tokens(AttributeScope, AttributeTokens),
    And(Vec<FilterPredicate>),
    Or(Vec<FilterPredicate>),
}

/// The tokens of an attribute that are looked up in filters.
#[derive(Debug, Clone)]
pub(crate) struct AttributeTokens {
    /// A matching attribute has one of them.
    tokens: Vec<Token>,
    /// Filters of earlier programs contain only the key of an array, so the key is looked up in them, too.
    of_arrays: Option<Token>,
}

/// The filters of a block; a part is read when a token of it is first looked up.
pub(crate) struct BlockFilters<'r> {
    reader: &'r BlockReader,
    entry: &'r BlockEntry,
    parts: RefCell<Vec<(Token, Option<Arc<FilterPart>>)>>,
    have_elements: Cell<Option<bool>>,
}

// === impl FilterPredicate ===

impl FilterPredicate {
    pub(crate) fn new(predicate: &Predicate) -> Self {
        match predicate {
            Predicate::And(parts) => Self::And(parts.iter().map(Self::new).collect()),
            Predicate::Or(parts) => Self::Or(parts.iter().map(Self::new).collect()),
            // Resources without a service name have a default one, which filters do not contain.
            Predicate::Compare(Field::Attribute(_, key), _) | Predicate::Exists(Field::Attribute(_, key))
                if key == SERVICE_NAME =>
            {
                Self::Open
            }
            Predicate::Compare(Field::Attribute(scope, key), comparison) => {
                Self::Tokens(*scope, AttributeTokens::new(key, Some(comparison)))
            }
            Predicate::Exists(Field::Attribute(scope, key)) => {
                Self::Tokens(*scope, AttributeTokens::new(key, None))
            }
            _ => Self::Open,
        }
    }

    /// Whether filters decide nothing.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Tokens(..) => false,
            Self::And(parts) => parts.iter().all(Self::is_open),
            Self::Or(parts) => parts.is_empty() || parts.iter().any(Self::is_open),
        }
    }

    /// Whether a page may have a matching row.
    pub(crate) fn may_match(&self, filters: &BlockFilters<'_>, page: usize) -> Result<bool, BlockError> {
        Ok(match self {
            Self::Open => true,
            Self::Tokens(scope, tokens) => {
                *scope != AttributeScope::Span && filters.resources_may_have(tokens)?
                    || *scope != AttributeScope::Resource && filters.page_may_have(page, tokens)?
            }
            Self::And(parts) => all(parts, |part| part.may_match(filters, page))?,
            Self::Or(parts) => any(parts, |part| part.may_match(filters, page))?,
        })
    }
}

// === impl AttributeTokens ===

impl AttributeTokens {
    pub(super) fn new(key: &str, comparison: Option<&Comparison>) -> Self {
        let of_key = Token::of_key(key);
        match comparison.map(|comparison| comparison.tokens(key)) {
            Some(tokens) if !tokens.is_empty() => Self { tokens, of_arrays: Some(of_key) },
            _ => Self { tokens: vec![of_key], of_arrays: None },
        }
    }

    /// The tokens for a block whose spans have no array with the key.
    pub(super) fn without_arrays(self) -> Self {
        Self { of_arrays: None, ..self }
    }
}

// === impl BlockFilters ===

impl<'r> BlockFilters<'r> {
    pub(crate) fn new(reader: &'r BlockReader, entry: &'r BlockEntry) -> Self {
        Self { reader, entry, parts: RefCell::default(), have_elements: Cell::default() }
    }

    fn resources_may_have(&self, tokens: &AttributeTokens) -> Result<bool, BlockError> {
        self.may_have(tokens, FilterPart::resources_may_have)
    }

    pub(super) fn page_may_have(&self, page: usize, tokens: &AttributeTokens) -> Result<bool, BlockError> {
        self.may_have(tokens, |part, token| part.page_may_have(page, token))
    }

    fn may_have(
        &self,
        AttributeTokens { tokens, of_arrays }: &AttributeTokens,
        has: impl Fn(&FilterPart, Token) -> bool,
    ) -> Result<bool, BlockError> {
        let has = |token: &Token| -> Result<bool, BlockError> {
            Ok(self.part(*token)?.is_none_or(|part| has(&part, *token)))
        };
        if any(tokens, has)? {
            return Ok(true);
        }
        match of_arrays {
            Some(token) => Ok(!self.have_elements()? && has(token)?),
            None => Ok(false),
        }
    }

    /// Whether they contain the elements of arrays. Cached, because it is needed for each page.
    fn have_elements(&self) -> Result<bool, BlockError> {
        if let Some(known) = self.have_elements.get() {
            return Ok(known);
        }
        let have = self.reader.header(self.entry)?.filters_have_elements();
        self.have_elements.set(Some(have));
        Ok(have)
    }

    /// The part for a token. Kept, because a predicate looks up few tokens, and each of them in every page.
    fn part(&self, token: Token) -> Result<Option<Arc<FilterPart>>, BlockError> {
        let mut parts = self.parts.borrow_mut();
        if let Some((_, part)) = parts.iter().find(|(known, _)| *known == token) {
            return Ok(part.clone());
        }
        let part = self.reader.filters(self.entry, token)?;
        parts.push((token, part.clone()));
        Ok(part)
    }
}

/// Whether all parts hold; evaluates no more parts than necessary.
pub(super) fn all<T>(
    parts: &[T],
    mut holds: impl FnMut(&T) -> Result<bool, BlockError>,
) -> Result<bool, BlockError> {
    any(parts, |part| holds(part).map(|holds| !holds)).map(|any| !any)
}

/// Whether any part holds; evaluates no more parts than necessary.
pub(super) fn any<T>(
    parts: &[T],
    mut holds: impl FnMut(&T) -> Result<bool, BlockError>,
) -> Result<bool, BlockError> {
    for part in parts {
        if holds(part)? {
            return Ok(true);
        }
    }
    Ok(false)
}
