//! Fields of a service mesh as columns: they are not stored, but follow from attributes of a span and its resource.
//!
//! Each distinct combination of these attributes in a table is read once. What they mean is for `spandrel_mesh`.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_mesh::facts::Part;
use spandrel_mesh::fields::MeshField;
use spandrel_mesh::names::{self, keys};
use spandrel_mesh::texts::Texts;
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal, Predicate};
use spandrel_storage::table::{Codes, SpanTable, Value, ValueColumn};
use spandrel_traceql::ast::{self, BinaryOp};

use crate::tree::Tree;

/// A field, and where the attributes are that it follows from.
#[derive(Debug, Clone)]
pub(crate) struct MeshColumn {
    pub(crate) field: MeshField,
    /// For each key the number of its column, those of the resource before those of the span.
    pub(crate) inputs: Vec<(&'static str, usize)>,
}

/// The field of a query.
pub(crate) fn field_of(field: ast::MeshField) -> MeshField {
    match field {
        ast::MeshField::Role => MeshField::Role,
        ast::MeshField::Proxy => MeshField::Proxy,
        ast::MeshField::Direction => MeshField::Direction,
        ast::MeshField::Workload => MeshField::Workload,
        ast::MeshField::Namespace => MeshField::Namespace,
        ast::MeshField::Instance => MeshField::Instance,
        ast::MeshField::Zone => MeshField::Zone,
        ast::MeshField::Callee => MeshField::Callee,
        ast::MeshField::Subset => MeshField::Subset,
        ast::MeshField::Upstream => MeshField::Upstream,
        ast::MeshField::Flags => MeshField::Flags,
        ast::MeshField::Outcome => MeshField::Outcome,
    }
}

/// For each row, whether it counts as a request where spans for the same request are counted once. `parts` has what each
/// stands for.
pub(crate) fn requests(table: &SpanTable, parts: &ValueColumn, tree: Option<&Tree<'_>>) -> ValueColumn {
    let of_value = |value: &Value| match value {
        Value::String(name) => Part::named(name),
        _ => Part::App,
    };
    let of_value: Vec<Part> = parts.values.iter().map(of_value).collect();
    let part = |row: usize| parts.codes.of_row(row).next().map_or(Part::App, |code| of_value[code]);
    let is_request = |row: usize| {
        let flags = table.flags(row);
        let above = tree.and_then(|tree| tree.parent(row)).map(part);
        part(row).is_request(above, flags.is_request(), flags.has_parent())
    };
    let codes = (0..table.rows()).map(|row| u32::from(is_request(row))).collect();
    let values = Arc::new(vec![Value::Bool(false), Value::Bool(true)]);
    let ends = (1..=table.rows() as u32).collect();
    ValueColumn { values, codes: Codes::Many { ends, codes }, list: None }
}

/// What the attributes of each span satisfy of which a comparison holds, for a store to look at fewer spans. More spans
/// may satisfy it.
pub(crate) fn implied(field: ast::MeshField, op: BinaryOp, literal: &ast::Literal) -> Predicate {
    let text = match (op, literal) {
        (BinaryOp::Eq, ast::Literal::String(text)) => Some(text.as_str()),
        // No comparison but that with nil holds of a span that does not tell.
        (BinaryOp::Eq, ast::Literal::Nil) => return Predicate::All,
        _ => None,
    };
    match (field, text) {
        (ast::MeshField::Role, Some("app")) => Predicate::All,
        (ast::MeshField::Role, Some("proxy-listener")) => {
            both(is(keys::COMPONENT, names::PROXY), exists(keys::NODE_ID))
        }
        (ast::MeshField::Role, Some(_)) | (ast::MeshField::Direction | ast::MeshField::Callee, _) => {
            is(keys::COMPONENT, names::PROXY)
        }
        (ast::MeshField::Proxy, _) => exists(keys::NODE_ID),
        (ast::MeshField::Zone, Some(zone)) => either(is(keys::ZONE, zone), is(keys::AVAILABILITY_ZONE, zone)),
        (ast::MeshField::Zone, None) => either(exists(keys::ZONE), exists(keys::AVAILABILITY_ZONE)),
        (ast::MeshField::Subset, Some(subset)) => contains(keys::UPSTREAM_CLUSTER, &format!("|{subset}")),
        (ast::MeshField::Subset, None) => exists(keys::UPSTREAM_CLUSTER),
        (ast::MeshField::Upstream, Some(ip)) => {
            either(contains(keys::UPSTREAM_ADDRESS, ip), contains(keys::UPSTREAM_HOST, ip))
        }
        (ast::MeshField::Upstream, None) => {
            either(exists(keys::UPSTREAM_ADDRESS), exists(keys::UPSTREAM_HOST))
        }
        (ast::MeshField::Flags, Some(flag)) => contains(keys::RESPONSE_FLAGS, flag),
        (ast::MeshField::Flags, None) => exists(keys::RESPONSE_FLAGS),
        (
            ast::MeshField::Role
            | ast::MeshField::Workload
            | ast::MeshField::Namespace
            | ast::MeshField::Instance
            | ast::MeshField::Outcome,
            _,
        ) => Predicate::All,
    }
}

fn attribute(key: &str) -> Field {
    Field::Attribute(AttributeScope::Any, key.to_owned())
}

fn is(key: &str, text: &str) -> Predicate {
    Predicate::Compare(attribute(key), Comparison::Eq(Literal::String(text.to_owned())))
}

fn contains(key: &str, text: &str) -> Predicate {
    Predicate::Compare(attribute(key), Comparison::Contains(text.to_owned()))
}

fn exists(key: &str) -> Predicate {
    Predicate::Exists(attribute(key))
}

fn both(left: Predicate, right: Predicate) -> Predicate {
    Predicate::And(vec![left, right])
}

fn either(left: Predicate, right: Predicate) -> Predicate {
    Predicate::Or(vec![left, right])
}

// === impl MeshColumn ===

impl MeshColumn {
    /// The values of all rows of a table.
    pub(crate) fn of(&self, table: &SpanTable) -> ValueColumn {
        let columns: Vec<_> = self
            .inputs
            .iter()
            .map(|(key, number)| (*key, &table.columns[*number]))
            .filter(|(_, column)| !column.values.is_empty())
            .map(|(key, column)| (key, column, column.codes.by_row(table.rows())))
            .collect();
        let mut found = Values::default();
        let mut known: FxHashMap<Vec<u32>, Vec<u32>> = FxHashMap::default();
        let (mut ends, mut codes) = (Vec::with_capacity(table.rows()), Vec::new());
        let mut key = Vec::with_capacity(columns.len() + 1);
        for row in 0..table.rows() {
            key.clear();
            let first = |codes: &Codes| codes.of_row(row).next().map_or(0, |code| code as u32 + 1);
            key.extend(columns.iter().map(|(_, _, codes)| first(codes)));
            key.push(if self.field.follows_from_name() {
                table.classes.classes[table.class[row] as usize].name
            } else {
                0
            });
            if !known.contains_key(&key) {
                let mut texts = Texts::default();
                for ((key, column, _), code) in columns.iter().zip(&key).filter(|(_, code)| **code > 0) {
                    see(&mut texts, key, &column.values[*code as usize - 1]);
                }
                let values = self.field.values(table.name(row), &texts);
                known.insert(key.clone(), values.into_iter().map(|value| found.number(value)).collect());
            }
            codes.extend(&known[&key]);
            ends.push(codes.len() as u32);
        }
        ValueColumn { values: Arc::new(found.values), codes: Codes::Many { ends, codes }, list: None }
    }
}

pub(crate) fn see<'t>(texts: &mut Texts<'t>, key: &str, value: &'t Value) {
    match value {
        Value::String(text) => texts.text(key, text),
        Value::Int(number) => texts.number(key, *number),
        Value::Bool(flag) => texts.flag(key, *flag),
        _ => {}
    }
}

/// Distinct values, numbered.
#[derive(Default)]
struct Values {
    values: Vec<Value>,
    numbers: FxHashMap<String, u32>,
}

// === impl Values ===

impl Values {
    fn number(&mut self, value: String) -> u32 {
        let values = &mut self.values;
        *self.numbers.entry(value).or_insert_with_key(|value| {
            values.push(Value::String(value.clone()));
            values.len() as u32 - 1
        })
    }
}
