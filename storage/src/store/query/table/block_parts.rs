//! What the tables of a block share: its classes, and the columns that resource and scope decide.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_block::{Dictionary, FieldPlaces, FieldPlan};
use spandrel_proto::otlp::wire::WireError;

use super::span_values::each_value_of_scope;
use super::value_list::{ClassBuilder, ColumnBuilder};
use crate::table::{Classes, ColumnName, ListId, ValueColumn};

/// The parts of a block's tables that do not depend on the page.
pub(crate) struct BlockParts {
    pub(super) classes: Arc<Classes>,
    /// By class of the block, its class in tables: those of the block differ in shape, too.
    pub(super) class_of: Vec<u32>,
    pub(super) columns: Vec<PartOfColumn>,
}

/// What is known of a column before any page is read.
pub(super) enum PartOfColumn {
    /// Its values for each pair of resource and scope, which decide them.
    ByScope(ValueColumn),
    /// The field that has its values.
    Field(FieldParts),
}

/// Where the values of a field are.
pub(super) struct FieldParts {
    pub(super) plan: FieldPlan,
    /// For each class, whether its rows have none.
    pub(super) absent: Arc<Vec<bool>>,
    /// The same number for fields that are absent from the same classes.
    pub(super) row_set: usize,
    /// The slots of each class.
    pub(super) places: FieldPlaces,
}

// === impl BlockParts ===

impl BlockParts {
    pub(crate) fn new(dictionary: &Dictionary, columns: &[ColumnName]) -> Result<Self, WireError> {
        let mut classes = ClassBuilder::default();
        let class_of = (0..dictionary.classes.len() as u32).map(|class| {
            let (service, name) = &dictionary.operations[dictionary.operation(class) as usize];
            classes.number(&dictionary.services[*service as usize], name, dictionary.flags(class))
        });
        let class_of = class_of.collect();
        let mut row_sets: FxHashMap<Arc<Vec<bool>>, usize> = FxHashMap::default();
        let part = |column: &ColumnName| match column.field() {
            Some((level, field)) => {
                let plan = FieldPlan::new(dictionary, level, field);
                let absent = Arc::new(plan.absent_classes(dictionary));
                let next = row_sets.len();
                let row_set = *row_sets.entry(absent.clone()).or_insert(next);
                let places = FieldPlaces::new(&plan, dictionary);
                Ok(PartOfColumn::Field(FieldParts { plan, absent, row_set, places }))
            }
            None => values_by_scope(dictionary, column).map(PartOfColumn::ByScope),
        };
        let columns = columns.iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { classes: classes.finish(), class_of, columns })
    }
}

fn values_by_scope(dictionary: &Dictionary, column: &ColumnName) -> Result<ValueColumn, WireError> {
    let mut builder = ColumnBuilder::default();
    for pair in 0..dictionary.resource_scopes.len() as u32 {
        let (resource, scope) = dictionary.resource_and_scope(pair);
        each_value_of_scope(column, resource, scope, |value| _ = builder.push(value))?;
        builder.end_row();
    }
    Ok(ValueColumn { list: Some(ListId::unique()), ..builder.finish() })
}
