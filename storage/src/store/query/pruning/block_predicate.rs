//! A predicate prepared for one block: tables by class and by resource, and tests of attributes.

use spandrel_block::{Dictionary, Number, RowFlags, ZoneMap};
use spandrel_proto::otlp::wire::WireError;
use spandrel_proto::otlp::{AnyValue, ResourceView};

use super::attribute_test::AttributeTest;
use super::filters::{BlockFilters, all, any};
use super::row_match::RowMatch;
use crate::plan::{AttributeScope, Comparison, Field, Predicate};
use crate::store::core::block_reader::BlockError;
use crate::store::read::matcher::{SERVICE_NAME, clamp};

/// A predicate prepared for the rows of one block.
#[derive(Debug)]
pub(crate) enum BlockPredicate {
    Constant(bool),
    /// By class: the part that name, kind, status, failure and service decide.
    Class(Vec<bool>),
    /// By pair of resource and scope: the part that the resource decides.
    ResourceScope(Vec<bool>),
    Duration(Comparison),
    /// A test of attributes of the span, and its number among the tests of the predicate.
    Attribute(AttributeTest, usize),
    And(Vec<BlockPredicate>),
    Or(Vec<BlockPredicate>),
}

/// How the parts of a predicate are combined.
#[derive(Debug, Clone, Copy)]
enum Junction {
    And,
    Or,
}

/// The columns of a row that predicates use, without attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnRow {
    pub(crate) class: u32,
    pub(crate) resource_scope: u32,
    pub(crate) duration: u64,
}

/// For each attribute test of a predicate, its result for each row of a page; empty while unknown.
pub(crate) type AttributeMatches = Vec<Vec<RowMatch>>;

// === impl BlockPredicate ===

impl BlockPredicate {
    /// Prepares a predicate for a block.
    pub(crate) fn new(predicate: &Predicate, dictionary: &Dictionary) -> Result<Self, WireError> {
        let mut prepared = Self::build(predicate, dictionary)?;
        // Tests are numbered after parts without effect were removed.
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
                Self::attribute(*scope, AttributeTest::compare(key, comparison), dictionary)?
            }
            Predicate::Exists(Field::Attribute(scope, key)) => {
                Self::attribute(*scope, AttributeTest::exists(key), dictionary)?
            }
            Predicate::Absent(Field::Attribute(scope, key)) => {
                Self::attribute(*scope, AttributeTest::absent(key), dictionary)?
            }
            Predicate::Compare(field, comparison) => {
                Self::by_class(dictionary, |operation, flags| match field {
                    Field::Name => comparison.holds_for_text(operation),
                    Field::Status => comparison.holds_for_status(flags.status()),
                    Field::Kind => comparison.holds_for_kind(flags.kind()),
                    Field::Parentless => comparison.holds_for_bool(!flags.has_parent()),
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

    /// Services are tested by class, because zone maps contain the classes of a page, but not its resources.
    fn by_service(dictionary: &Dictionary, holds: impl Fn(&str) -> bool) -> Self {
        let services: Vec<bool> = dictionary.services.iter().map(|name| holds(name)).collect();
        let table = (0..dictionary.classes.len() as u32).map(|class| {
            let (service, _) = dictionary.operations[dictionary.operation(class) as usize];
            services[service as usize]
        });
        Self::table(table.collect(), Self::Class)
    }

    /// Tests an attribute on the resource, on the span, or on both.
    fn attribute(
        scope: AttributeScope,
        mut test: AttributeTest,
        dictionary: &Dictionary,
    ) -> Result<Self, WireError> {
        let mut parts = Vec::new();
        let negated = test.negated;
        if scope != AttributeScope::Span && test.key == SERVICE_NAME {
            // Resources without a service name have the default name, which users see and query.
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
                test.tokens = test.tokens.without_arrays();
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
        Self::joined(flat, Junction::And)
    }

    fn or(parts: Vec<Self>) -> Self {
        let flat = parts.into_iter().flat_map(|part| match part {
            Self::Or(parts) => parts,
            part => vec![part],
        });
        Self::joined(flat, Junction::Or)
    }

    /// Combines tables of one kind, because a single row of a page has to satisfy all of them.
    fn joined(parts: impl Iterator<Item = Self>, junction: Junction) -> Self {
        let neutral = junction.neutral();
        let (mut classes, mut resource_scopes, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let merge = |known: &mut Vec<bool>, table: Vec<bool>| {
            known.resize(table.len(), neutral);
            for (known, holds) in known.iter_mut().zip(table) {
                *known = junction.join(*known, holds);
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
            _ => match junction {
                Junction::And => Self::And(all),
                Junction::Or => Self::Or(all),
            },
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

    /// Whether a page may have a matching row, by its zone map alone.
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

    /// Whether a page may have a matching row, by its filters alone.
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

    /// Evaluates the predicate for a row; `attributes` returns the results of attribute tests for the row.
    pub(crate) fn row_match(&self, row: ColumnRow, attributes: &dyn Fn(usize) -> RowMatch) -> RowMatch {
        match self {
            Self::Constant(value) => RowMatch::of(*value),
            Self::Class(table) => RowMatch::of(table[row.class as usize]),
            Self::ResourceScope(table) => RowMatch::of(table[row.resource_scope as usize]),
            Self::Duration(comparison) => {
                RowMatch::of(comparison.holds_for_number(Number::Int(clamp(row.duration))))
            }
            Self::Attribute(_, number) => attributes(*number),
            Self::And(parts) => {
                let mut row_match = RowMatch::Yes;
                for part in parts {
                    row_match = row_match.min(part.row_match(row, attributes));
                    if row_match == RowMatch::No {
                        break;
                    }
                }
                row_match
            }
            Self::Or(parts) => {
                parts.iter().map(|part| part.row_match(row, attributes)).max().unwrap_or(RowMatch::No)
            }
        }
    }
}

// === impl Junction ===

impl Junction {
    /// The constant that does not change the result.
    fn neutral(self) -> bool {
        matches!(self, Self::And)
    }

    fn join(self, a: bool, b: bool) -> bool {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
        }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_block::{Class, Shape};

    use super::*;
    use crate::plan::Literal;

    /// Both services have an operation `a`; the second one also has another one.
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
