//! What filters, zone maps and columns say of a predicate: an upper bound, so that few spans have to be
//! looked at (`read/matcher.rs`).
//!
//! Predicates have no negation above comparisons, so a comparison that columns cannot decide may be
//! taken as true: rows that fall through the columns are then looked at in full.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use spandrel_block::{
    Column, Dictionary, FilterPart, FormatError, Number, OpenPage, RowFlags, Slot, Token, ZoneMap,
};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, ResourceView};

use crate::plan::{AttributeScope, Comparison, Field, Predicate};
use crate::store::core::block_reader::{BlockEntry, BlockError, BlockReader};
use crate::store::read::matcher::{SERVICE_NAME, clamp};

/// Whether a row satisfies a predicate, as far as columns tell. Ordered, so that *and* is the smallest
/// and *or* the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    No,
    /// The span has to be looked at.
    Perhaps,
    Yes,
}

/// What filters alone can say of a predicate, whatever the block: made once for a search.
#[derive(Debug)]
pub(crate) enum FilterPredicate {
    /// Nothing.
    Open,
    /// An attribute has to be there that has a token.
    Token(AttributeScope, AttributeToken),
    And(Vec<FilterPredicate>),
    Or(Vec<FilterPredicate>),
}

/// A predicate made ready for the rows of one block.
#[derive(Debug)]
pub(crate) enum BlockPredicate {
    Constant(bool),
    /// By class: whatever name, kind, status, failure and service decide.
    Class(Vec<bool>),
    /// By resource_scope: whatever the resource decides.
    ResourceScope(Vec<bool>),
    Duration(Comparison),
    /// An attribute of the span. The number is its place among those of the predicate.
    Attribute(AttributeTest, usize),
    And(Vec<BlockPredicate>),
    Or(Vec<BlockPredicate>),
}

/// What is asked of the attributes of a span that have a key.
#[derive(Debug, Clone)]
pub(crate) struct AttributeTest {
    key: String,
    /// None asks whether there is any.
    comparison: Option<Comparison>,
    /// Whether the answer is turned around.
    negated: bool,
    /// What a page with such an attribute has in its filter.
    token: AttributeToken,
}

/// What the filters of a block are asked for an attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributeToken {
    token: Token,
    /// Filters of earlier programs know an array by its key alone: asked of those if they do not have the token.
    of_arrays: Token,
}

/// What the columns of a row say, but for attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnRow {
    pub(crate) class: u32,
    pub(crate) resource_scope: u32,
    pub(crate) duration: u64,
}

/// The filters of a block, each part fetched once a token asks for it.
pub(crate) struct BlockFilters<'r> {
    reader: &'r BlockReader,
    entry: &'r BlockEntry,
    parts: RefCell<Vec<(Token, Option<Arc<FilterPart>>)>>,
    have_elements: Cell<Option<bool>>,
}

/// For each attribute test of a predicate, what it says of each row of a page; empty while unknown.
pub(crate) type AttributeVerdicts = Vec<Vec<Verdict>>;

impl FilterPredicate {
    pub(crate) fn new(predicate: &Predicate) -> Self {
        match predicate {
            Predicate::And(parts) => Self::And(parts.iter().map(Self::new).collect()),
            Predicate::Or(parts) => Self::Or(parts.iter().map(Self::new).collect()),
            // A service that does not say its name has one all the same.
            Predicate::Compare(Field::Attribute(_, key), _) | Predicate::Exists(Field::Attribute(_, key))
                if key == SERVICE_NAME =>
            {
                Self::Open
            }
            Predicate::Compare(Field::Attribute(scope, key), comparison) => {
                Self::Token(*scope, AttributeToken::new(key, Some(comparison)))
            }
            Predicate::Exists(Field::Attribute(scope, key)) => {
                Self::Token(*scope, AttributeToken::new(key, None))
            }
            _ => Self::Open,
        }
    }

    /// Whether it says nothing of any block.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Token(..) => false,
            Self::And(parts) => parts.iter().all(Self::is_open),
            Self::Or(parts) => parts.is_empty() || parts.iter().any(Self::is_open),
        }
    }

    /// Whether a page may have a matching row.
    pub(crate) fn may_match(&self, filters: &BlockFilters<'_>, page: usize) -> Result<bool, BlockError> {
        Ok(match self {
            Self::Open => true,
            Self::Token(scope, token) => {
                *scope != AttributeScope::Span && filters.resources_may_have(*token)?
                    || *scope != AttributeScope::Resource && filters.page_may_have(page, *token)?
            }
            Self::And(parts) => all(parts, |part| part.may_match(filters, page))?,
            Self::Or(parts) => any(parts, |part| part.may_match(filters, page))?,
        })
    }
}

// === impl AttributeToken ===

impl AttributeToken {
    fn new(key: &str, comparison: Option<&Comparison>) -> Self {
        let of_key = Token::of_key(key);
        let token = comparison.and_then(|comparison| comparison.token(key)).unwrap_or(of_key);
        Self { token, of_arrays: of_key }
    }

    /// For a block whose spans have no array of the key.
    fn without_arrays(self) -> Self {
        Self { of_arrays: self.token, ..self }
    }
}

/// Whether something holds for all, as far as one has to look.
fn all<T>(parts: &[T], mut holds: impl FnMut(&T) -> Result<bool, BlockError>) -> Result<bool, BlockError> {
    any(parts, |part| holds(part).map(|holds| !holds)).map(|any| !any)
}

/// Whether something holds for any, as far as one has to look.
fn any<T>(parts: &[T], mut holds: impl FnMut(&T) -> Result<bool, BlockError>) -> Result<bool, BlockError> {
    for part in parts {
        if holds(part)? {
            return Ok(true);
        }
    }
    Ok(false)
}

// === impl BlockFilters ===

impl<'r> BlockFilters<'r> {
    pub(crate) fn new(reader: &'r BlockReader, entry: &'r BlockEntry) -> Self {
        Self { reader, entry, parts: RefCell::default(), have_elements: Cell::default() }
    }

    fn resources_may_have(&self, token: AttributeToken) -> Result<bool, BlockError> {
        self.may_have(token, FilterPart::resources_may_have)
    }

    fn page_may_have(&self, page: usize, token: AttributeToken) -> Result<bool, BlockError> {
        self.may_have(token, |part, token| part.page_may_have(page, token))
    }

    fn may_have(
        &self,
        AttributeToken { token, of_arrays }: AttributeToken,
        has: impl Fn(&FilterPart, Token) -> bool,
    ) -> Result<bool, BlockError> {
        let has = |token: Token| -> Result<bool, BlockError> {
            Ok(self.part(token)?.is_none_or(|part| has(&part, token)))
        };
        if has(token)? {
            return Ok(true);
        }
        Ok(token != of_arrays && !self.have_elements()? && has(of_arrays)?)
    }

    /// Whether they have the elements of arrays. Asked for each page, so it is kept.
    fn have_elements(&self) -> Result<bool, BlockError> {
        if let Some(known) = self.have_elements.get() {
            return Ok(known);
        }
        let have = self.reader.header(self.entry)?.filters_have_elements();
        self.have_elements.set(Some(have));
        Ok(have)
    }

    /// A predicate asks for few tokens, and for each of them once a page.
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

impl BlockPredicate {
    /// Prepares a predicate for a block.
    pub(crate) fn new(predicate: &Predicate, dictionary: &Dictionary) -> Result<Self, WireError> {
        let mut prepared = Self::build(predicate, dictionary)?;
        // Only now: parts that decide nothing are gone.
        prepared.number_tests(&mut 0);
        Ok(prepared)
    }

    fn number_tests(&mut self, next: &mut usize) {
        match self {
            Self::Attribute(_, number) => {
                *number = *next;
                *next += 1;
            }
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.number_tests(next);
                }
            }
            _ => {}
        }
    }

    fn build(predicate: &Predicate, dictionary: &Dictionary) -> Result<Self, WireError> {
        let each = |parts: &[Predicate]| -> Result<Vec<Self>, WireError> {
            parts.iter().map(|part| Self::build(part, dictionary)).collect()
        };
        Ok(match predicate {
            Predicate::All => Self::Constant(true),
            Predicate::And(parts) => Self::and(each(parts)?),
            Predicate::Or(parts) => Self::or(each(parts)?),
            Predicate::Compare(Field::Duration, comparison) => Self::Duration(comparison.clone()),
            Predicate::Compare(Field::Attribute(scope, key), comparison) => {
                let token = AttributeToken::new(key, Some(comparison));
                let comparison = Some(comparison.clone());
                let test = AttributeTest { key: key.clone(), comparison, negated: false, token };
                Self::attribute(*scope, test, dictionary)?
            }
            Predicate::Exists(Field::Attribute(scope, key)) => {
                Self::attribute(*scope, AttributeTest::exists(key, false), dictionary)?
            }
            Predicate::Absent(Field::Attribute(scope, key)) => {
                Self::attribute(*scope, AttributeTest::exists(key, true), dictionary)?
            }
            Predicate::Compare(field, comparison) => {
                Self::by_class(dictionary, |operation, flags| match field {
                    Field::Name => comparison.holds_for_text(operation),
                    Field::Status => comparison.holds_for_status(flags.status()),
                    Field::Kind => comparison.holds_for_kind(flags.kind()),
                    _ => comparison.holds_for_bool(flags.failed()),
                })
            }
            Predicate::Exists(_) => Self::Constant(true),
            Predicate::Absent(_) => Self::Constant(false),
        })
    }

    fn by_class(dictionary: &Dictionary, holds: impl Fn(&str, RowFlags) -> bool) -> Self {
        let table = (0..dictionary.classes.len() as u32).map(|class| {
            let (_, name) = &dictionary.operations[dictionary.operation(class) as usize];
            holds(name, dictionary.flags(class))
        });
        Self::table(table.collect(), Self::Class)
    }

    /// A class has a service, and pages say which classes they have: more than by origin.
    fn by_service(dictionary: &Dictionary, holds: impl Fn(&str) -> bool) -> Self {
        let services: Vec<bool> = dictionary.services.iter().map(|name| holds(name)).collect();
        let table = (0..dictionary.classes.len() as u32).map(|class| {
            let (service, _) = dictionary.operations[dictionary.operation(class) as usize];
            services[service as usize]
        });
        Self::table(table.collect(), Self::Class)
    }

    /// An attribute is on the resource, on the span, or on any of the two.
    fn attribute(
        scope: AttributeScope,
        mut test: AttributeTest,
        dictionary: &Dictionary,
    ) -> Result<Self, WireError> {
        let mut parts = Vec::new();
        let negated = test.negated;
        if scope != AttributeScope::Span && test.key == SERVICE_NAME {
            // The name that people see, also for resources that do not say theirs.
            parts
                .push(Self::by_service(dictionary, |name| test.holds_for(AnyValue::String(name)) != negated));
        } else if scope != AttributeScope::Span {
            let mut by_resource = Vec::with_capacity(dictionary.resources.len());
            for resource in &dictionary.resources {
                by_resource.push(test.holds_for_resource(&ResourceView::parse(resource)?)? != negated);
            }
            let table =
                dictionary.resource_scopes.iter().map(|(resource, _)| by_resource[*resource as usize]);
            parts.push(Self::table(table.collect(), Self::ResourceScope));
        }
        if scope != AttributeScope::Resource {
            if !dictionary.slots.iter().any(|slot| slot.is_array(&test.key)) {
                test.token = test.token.without_arrays();
            }
            parts.push(Self::Attribute(test, 0));
        }
        Ok(if negated { Self::and(parts) } else { Self::or(parts) })
    }

    fn table(table: Vec<bool>, of: fn(Vec<bool>) -> Self) -> Self {
        match table.iter().all(|known| *known == table[0]) {
            true => Self::Constant(table.first().copied().unwrap_or(false)),
            false => of(table),
        }
    }

    fn and(parts: Vec<Self>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::And(parts) => parts,
            part => vec![part],
        });
        Self::joined(flat, |a, b| a & b, true, Self::And)
    }

    fn or(parts: Vec<Self>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::Or(parts) => parts,
            part => vec![part],
        });
        Self::joined(flat, |a, b| a | b, false, Self::Or)
    }

    /// Tables of one kind become one: what a page has must satisfy all of them with the same row.
    /// `neutral` is what decides nothing.
    fn joined(
        parts: impl Iterator<Item = Self>,
        join: fn(bool, bool) -> bool,
        neutral: bool,
        of: fn(Vec<Self>) -> Self,
    ) -> Self {
        let (mut classes, mut resource_scopes, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let merge = |known: &mut Vec<bool>, table: Vec<bool>| {
            known.resize(table.len(), neutral);
            for (known, holds) in known.iter_mut().zip(table) {
                *known = join(*known, holds);
            }
        };
        for part in parts {
            match part {
                Self::Class(table) => merge(&mut classes, table),
                Self::ResourceScope(table) => merge(&mut resource_scopes, table),
                part => rest.push(part),
            }
        }
        let tables =
            [(classes, Self::Class as fn(Vec<bool>) -> Self), (resource_scopes, Self::ResourceScope)];
        let tables = tables.into_iter().filter(|(table, _)| !table.is_empty());
        let mut all: Vec<Self> = tables.map(|(table, of)| Self::table(table, of)).chain(rest).collect();
        if all.iter().any(|part| matches!(part, Self::Constant(value) if *value != neutral)) {
            return Self::Constant(!neutral);
        }
        all.retain(|part| !matches!(part, Self::Constant(_)));
        match all.len() {
            0 => Self::Constant(neutral),
            1 => all.remove(0),
            _ => of(all),
        }
    }

    /// The attribute tests, in the order of their numbers.
    pub(crate) fn tests(&self) -> Vec<&AttributeTest> {
        match self {
            Self::Attribute(test, _) => vec![test],
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::tests).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a page of which only the zone is known may have a matching row.
    pub(crate) fn may_match_zone(&self, zone: &ZoneMap, dictionary: &Dictionary) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Class(table) => {
                table.iter().enumerate().any(|(class, holds)| *holds && zone.has_class(class as u32))
            }
            Self::Duration(comparison) => {
                let (min, max) = zone.durations();
                comparison.may_hold_between(Number::Int(clamp(min)), Number::Int(clamp(max)))
            }
            Self::Attribute(test, _) => test.may_be_in_zone(zone, dictionary),
            Self::And(parts) => parts.iter().all(|part| part.may_match_zone(zone, dictionary)),
            Self::Or(parts) => parts.iter().any(|part| part.may_match_zone(zone, dictionary)),
            Self::ResourceScope(_) => true,
        }
    }

    /// Whether a page of which only the filter is known may have a matching row.
    pub(crate) fn may_match_filter(
        &self,
        filters: &BlockFilters<'_>,
        page: usize,
    ) -> Result<bool, BlockError> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Attribute(test, _) => test.may_be_in(filters, page)?,
            Self::And(parts) => all(parts, |part| part.may_match_filter(filters, page))?,
            Self::Or(parts) => any(parts, |part| part.may_match_filter(filters, page))?,
            _ => true,
        })
    }

    /// What a row's columns say; `attributes` says what is known of the row's attributes.
    pub(crate) fn verdict(&self, row: ColumnRow, attributes: &dyn Fn(usize) -> Verdict) -> Verdict {
        match self {
            Self::Constant(value) => Verdict::of(*value),
            Self::Class(table) => Verdict::of(table[row.class as usize]),
            Self::ResourceScope(table) => Verdict::of(table[row.resource_scope as usize]),
            Self::Duration(comparison) => {
                Verdict::of(comparison.holds_for_number(Number::Int(clamp(row.duration))))
            }
            Self::Attribute(_, number) => attributes(*number),
            Self::And(parts) => {
                let mut verdict = Verdict::Yes;
                for part in parts {
                    verdict = verdict.min(part.verdict(row, attributes));
                    if verdict == Verdict::No {
                        break;
                    }
                }
                verdict
            }
            Self::Or(parts) => {
                parts.iter().map(|part| part.verdict(row, attributes)).max().unwrap_or(Verdict::No)
            }
        }
    }
}

// === impl AttributeTest ===

impl AttributeTest {
    fn exists(key: &str, negated: bool) -> Self {
        Self { key: key.to_owned(), comparison: None, negated, token: AttributeToken::new(key, None) }
    }

    fn holds_for(&self, value: AnyValue<'_>) -> bool {
        self.comparison.as_ref().is_none_or(|comparison| comparison.holds_for_value(value))
    }

    /// Whether the resource has such an attribute, whatever `negated` says.
    fn holds_for_resource(&self, resource: &ResourceView<'_>) -> Result<bool, WireError> {
        for attribute in resource.attributes() {
            let attribute = attribute?;
            if attribute.key == self.key && self.holds_for(attribute.value.unwrap_or(AnyValue::Empty)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn may_be_in(&self, filters: &BlockFilters<'_>, page: usize) -> Result<bool, BlockError> {
        Ok(self.negated || filters.page_may_have(page, self.token)?)
    }

    /// By the bounds of its columns of numbers.
    fn may_be_in_zone(&self, zone: &ZoneMap, dictionary: &Dictionary) -> bool {
        let Some(comparison) = self.comparison.as_ref().filter(|comparison| comparison.orders_numbers())
        else {
            return true;
        };
        // One that was not told apart may lie in any page, and arrays have no bounds.
        self.negated
            || dictionary.slots.iter().enumerate().any(|(number, slot)| {
                slot.is_irregular()
                    || slot.is_array(&self.key)
                    || slot.is_attribute(&self.key)
                        && zone
                            .numbers(number as u32, slot)
                            .is_some_and(|(min, max)| comparison.may_hold_between(min, max))
            })
    }

    /// What the columns of a page say of each row's attributes.
    pub(crate) fn verdicts(&self, page: &OpenPage) -> Result<Vec<Verdict>, FormatError> {
        let dictionary = &page.dictionary;
        let mut verdicts = vec![Verdict::No; page.core.rows()];
        for (number, slot) in dictionary.slots.iter().enumerate() {
            if slot.is_irregular() {
                self.add_constant(page, number as u32, Verdict::Perhaps, &mut verdicts);
            } else if let Some((key, value)) = slot.span_literal()
                && key == self.key.as_bytes()
            {
                self.add_constant(page, number as u32, Verdict::of(self.holds_for(value)), &mut verdicts);
            } else if slot.is_attribute(&self.key) {
                self.add_column(page, number as u32, slot, &mut verdicts)?;
            }
        }
        if self.negated {
            for verdict in &mut verdicts {
                *verdict = verdict.turned_around();
            }
        }
        Ok(verdicts)
    }

    /// Rows whose shape has a slot get at least this verdict.
    fn add_constant(&self, page: &OpenPage, slot: u32, verdict: Verdict, verdicts: &mut [Verdict]) {
        let counts = page.dictionary.slot_counts(slot);
        if verdict == Verdict::No || counts.iter().all(|count| *count == 0) {
            return;
        }
        for (known, class) in verdicts.iter_mut().zip(&page.core.class) {
            if counts[*class as usize] > 0 {
                *known = (*known).max(verdict);
            }
        }
    }

    fn add_column(
        &self,
        page: &OpenPage,
        number: u32,
        slot: &Slot,
        verdicts: &mut [Verdict],
    ) -> Result<(), FormatError> {
        let Some(column) = page.values.whole_column(number, slot.encoding)? else { return Ok(()) };
        let holds = self.column_holds(page, slot, &column)?;
        let counts = page.dictionary.slot_counts(number);
        let mut values = holds.into_iter();
        for (known, class) in verdicts.iter_mut().zip(&page.core.class) {
            for _ in 0..counts[*class as usize] {
                let holds = values.next().ok_or(FormatError::Damaged("column"))?;
                *known = (*known).max(Verdict::of(holds));
            }
        }
        Ok(())
    }

    /// For each value of a column, whether it satisfies the test; equal texts are compared once.
    fn column_holds(&self, page: &OpenPage, slot: &Slot, column: &Column) -> Result<Vec<bool>, FormatError> {
        Ok(match column {
            Column::Numbers(numbers) => {
                numbers.iter().map(|number| self.holds_for(slot.value_of_number(*number))).collect()
            }
            Column::Texts { references, index } => {
                let mut known = Vec::with_capacity(references.len());
                for reference in references {
                    let text = page.values.text(*reference, &page.texts)?;
                    known.push(self.holds_for(slot.value_of_text(text)));
                }
                index.iter().map(|at| known[*at as usize]).collect()
            }
        })
    }
}

// === impl Verdict ===

impl Verdict {
    fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn turned_around(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_block::{Class, Shape};

    use super::*;
    use crate::plan::Literal;

    /// Both services have an operation `a`; the second one has another one, too.
    fn dictionary() -> Dictionary {
        let operation = |service: u32, name: &str| (service, name.to_owned());
        Dictionary {
            services: vec!["cart".to_owned(), "shop".to_owned()],
            operations: vec![operation(0, "a"), operation(1, "a"), operation(1, "b")],
            shapes: vec![Shape { flags: 0, slots: Vec::new() }],
            classes: (0..3).map(|operation| Class { operation, shape: 0 }).collect(),
            ..Dictionary::default()
        }
    }

    fn is(field: Field, text: &str) -> Predicate {
        Predicate::Compare(field, Comparison::Eq(Literal::String(text.to_owned())))
    }

    #[test]
    fn service_and_name_are_asked_of_the_same_class() {
        let service = |name| is(Field::Attribute(AttributeScope::Resource, SERVICE_NAME.to_owned()), name);
        let name = |name| is(Field::Name, name);
        let prepared = |predicate| BlockPredicate::new(&predicate, &dictionary()).unwrap();
        let table = |predicate| match prepared(predicate) {
            BlockPredicate::Class(table) => table,
            other => panic!("not one table: {other:?}"),
        };
        assert_eq!(table(Predicate::And(vec![service("shop"), name("a")])), [false, true, false]);
        assert_eq!(table(Predicate::Or(vec![service("cart"), name("b")])), [true, false, true]);
        let nested = Predicate::And(vec![Predicate::And(vec![service("shop"), name("a")]), name("a")]);
        assert_eq!(table(nested), [false, true, false]);
        let nothing = prepared(Predicate::And(vec![service("cart"), name("b")]));
        assert!(matches!(nothing, BlockPredicate::Constant(false)));
        let everything = prepared(Predicate::Or(vec![service("shop"), name("a")]));
        assert!(matches!(everything, BlockPredicate::Constant(true)));
    }
}
