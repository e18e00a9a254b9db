//! What the fields and expressions of a query are for the rows of a table.
//!
//! A comparison with a constant is made once for each distinct value of a column, so conditions are evaluated for all
//! rows at once; what compares fields with each other is evaluated row by row.

use std::borrow::Cow;

use spandrel_proto::SpanId as Id;
use spandrel_proto::otlp::{SpanKind, StatusCode};
use spandrel_storage::table::{Codes, SpanTable, Value, ValueColumn};
use spandrel_traceql::ast::{Intrinsic, Kind, Status};

use crate::bind::{Condition, DERIVED, Expr, Subject, What};
use crate::scalar::{Scalar, Test, arithmetic, compare, negate};
use crate::tree::Tree;

/// The text of a field that was not sent.
pub(crate) const EMPTY: Scalar<'static> = Scalar::Text(Cow::Borrowed(""));

/// The rows of a table, and the tree of their trace if a field needs it.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'t> {
    pub(crate) table: &'t SpanTable,
    pub(crate) tree: Option<&'t Tree<'t>>,
    /// The columns that follow from others, in the order of their numbers from [`DERIVED`] on.
    pub(crate) derived: &'t [ValueColumn],
}

/// A column of a table, and which of its values satisfy a test.
struct TestedColumn<'t> {
    codes: Cow<'t, Codes>,
    /// `None` for values that no row has: tables share lists of values.
    holds: Vec<Option<bool>>,
}

// === impl Rows ===

impl<'t> Rows<'t> {
    pub(crate) fn count(&self) -> usize {
        self.table.rows()
    }

    /// The column of a number.
    pub(crate) fn column(&self, number: usize) -> &'t ValueColumn {
        match number.checked_sub(DERIVED) {
            Some(derived) => &self.derived[derived],
            None => &self.table.columns[number],
        }
    }

    /// For each row, whether a condition holds.
    pub(crate) fn matching(&self, condition: &Condition) -> Vec<bool> {
        match condition {
            Condition::Constant(holds) => vec![*holds; self.count()],
            Condition::Test(subject, test) => self.of_subject(subject, |what| self.test(what, test)),
            Condition::Exists(subject) => self.of_subject(subject, |what| self.presence(what)),
            Condition::Absent(subject) => negated(self.matching(&Condition::Exists(subject.clone()))),
            Condition::Compare(op, left, right) => (0..self.count())
                .map(|row| compare(*op, &self.value(left, row), &self.value(right, row)))
                .collect(),
            Condition::IsNil(expr) => {
                (0..self.count()).map(|row| self.value(expr, row) == Scalar::Nil).collect()
            }
            Condition::Not(inner) => negated(self.matching(inner)),
            Condition::And(parts) => self.joined(parts, true),
            Condition::Or(parts) => self.joined(parts, false),
        }
    }

    /// All of the parts, or any of them.
    fn joined(&self, parts: &[Condition], all: bool) -> Vec<bool> {
        let mut joined = vec![all; self.count()];
        for part in parts {
            for (known, holds) in joined.iter_mut().zip(self.matching(part)) {
                *known = if all { *known & holds } else { *known | holds };
            }
        }
        joined
    }

    /// What `of_span` says of a field, taken from the parent's row if the field is the parent's.
    fn of_subject(&self, subject: &Subject, of_span: impl Fn(&What) -> Vec<bool>) -> Vec<bool> {
        let holds = of_span(&subject.what);
        match (subject.of_parent, self.tree) {
            (false, _) => holds,
            (true, None) => vec![false; self.count()],
            (true, Some(tree)) => {
                tree.parents().map(|parent| parent.is_some_and(|parent| holds[parent])).collect()
            }
        }
    }

    fn test(&self, what: &What, test: &Test) -> Vec<bool> {
        match what {
            What::Columns(names) => self.by_name(names, |value| test.holds(&Scalar::of_value(value))),
            What::Text(number) => {
                let column = self.column(*number);
                let holds: Vec<bool> =
                    column.values.iter().map(|value| test.holds(&Scalar::of_value(value))).collect();
                let empty = test.holds(&EMPTY);
                let of_row = |row| column.codes.of_row(row).next().map_or(empty, |code| holds[code]);
                (0..self.count()).map(of_row).collect()
            }
            What::Intrinsic(Intrinsic::Name) => {
                let names = &self.table.classes.names;
                let text = |name: &String| test.holds(&Scalar::Text(Cow::Borrowed(name)));
                if names.len() > self.count() {
                    return self.by_class(|class| text(&names[class.name as usize]));
                }
                let holds: Vec<bool> = names.iter().map(text).collect();
                self.by_class(|class| holds[class.name as usize])
            }
            What::Intrinsic(Intrinsic::Kind) => {
                self.by_class(|class| test.holds(&Scalar::Kind(kind(class.flags.kind()))))
            }
            What::Intrinsic(Intrinsic::Status) => {
                self.by_class(|class| test.holds(&Scalar::Status(status(class.flags.status()))))
            }
            What::Intrinsic(Intrinsic::Failed) => {
                self.by_class(|class| test.holds(&Scalar::Bool(class.flags.failed())))
            }
            What::Intrinsic(intrinsic) => {
                (0..self.count()).map(|row| test.holds(&self.intrinsic(*intrinsic, row))).collect()
            }
        }
    }

    fn by_class(&self, holds: impl Fn(&spandrel_storage::table::SpanClass) -> bool) -> Vec<bool> {
        let classes = &self.table.classes.classes;
        if classes.len() > self.count() {
            return self.table.class.iter().map(|class| holds(&classes[*class as usize])).collect();
        }
        let by_class: Vec<bool> = classes.iter().map(holds).collect();
        self.table.class.iter().map(|class| by_class[*class as usize]).collect()
    }

    /// For each row, whether a test holds for a value of the newest of a field's names that the row has.
    fn by_name(&self, names: &[Vec<usize>], holds: impl Fn(&Value) -> bool) -> Vec<bool> {
        let columns = |name: &Vec<usize>| -> Vec<TestedColumn<'t>> {
            name.iter().map(|number| TestedColumn::new(self.column(*number), self.count(), &holds)).collect()
        };
        let names: Vec<Vec<TestedColumn<'t>>> = names.iter().map(columns).collect();
        let holds = |row: usize| {
            let has = |column: &TestedColumn<'_>| column.codes.of_row(row).next().is_some();
            let newest = names.iter().find(|columns| columns.iter().any(has));
            newest.is_some_and(|columns| columns.iter().any(|column| column.holds(row)))
        };
        (0..self.count()).map(holds).collect()
    }

    fn presence(&self, what: &What) -> Vec<bool> {
        match what {
            What::Columns(names) => self.by_name(names, |_| true),
            What::Text(_) => vec![true; self.count()],
            What::Intrinsic(intrinsic) => {
                (0..self.count()).map(|row| self.intrinsic(*intrinsic, row) != Scalar::Nil).collect()
            }
        }
    }

    /// The value of an expression for a row.
    pub(crate) fn value(&self, expr: &Expr, row: usize) -> Scalar<'t> {
        match expr {
            Expr::Literal(literal) => literal.clone(),
            Expr::Subject(subject) => self.first(subject, row),
            Expr::Condition(condition) => Scalar::Bool(self.holds(condition, row)),
            Expr::Negate(inner) => negate(&self.value(inner, row)),
            Expr::Arithmetic(op, left, right) => {
                arithmetic(*op, &self.value(left, row), &self.value(right, row))
            }
        }
    }

    /// Whether a condition inside of an expression holds for a row.
    fn holds(&self, condition: &Condition, row: usize) -> bool {
        match condition {
            Condition::Constant(holds) => *holds,
            Condition::Test(subject, test) => self.values(subject, row).iter().any(|value| test.holds(value)),
            Condition::Exists(subject) => !self.values(subject, row).is_empty(),
            Condition::Absent(subject) => self.values(subject, row).is_empty(),
            Condition::Compare(op, left, right) => {
                compare(*op, &self.value(left, row), &self.value(right, row))
            }
            Condition::IsNil(expr) => self.value(expr, row) == Scalar::Nil,
            Condition::Not(inner) => !self.holds(inner, row),
            Condition::And(parts) => parts.iter().all(|part| self.holds(part, row)),
            Condition::Or(parts) => parts.iter().any(|part| self.holds(part, row)),
        }
    }

    /// The first value of a field, the span's before its resource's; nil without one.
    pub(crate) fn first(&self, subject: &Subject, row: usize) -> Scalar<'t> {
        let Some(row) = self.row_of(subject, row) else { return Scalar::Nil };
        match &subject.what {
            What::Intrinsic(intrinsic) => self.intrinsic(*intrinsic, row),
            What::Text(number) => self.text(*number, row),
            What::Columns(names) => {
                let mut columns = names.iter().flatten().map(|number| self.column(*number));
                let first = columns
                    .find_map(|column| column.codes.of_row(row).next().map(|code| &column.values[code]));
                first.map_or(Scalar::Nil, Scalar::of_value)
            }
        }
    }

    /// All values of a field.
    pub(crate) fn values(&self, subject: &Subject, row: usize) -> Vec<Scalar<'t>> {
        let Some(row) = self.row_of(subject, row) else { return Vec::new() };
        match &subject.what {
            What::Intrinsic(intrinsic) => {
                Some(self.intrinsic(*intrinsic, row)).into_iter().filter(|v| *v != Scalar::Nil).collect()
            }
            What::Text(number) => vec![self.text(*number, row)],
            What::Columns(names) => {
                let of_name = |name: &Vec<usize>| -> Vec<Scalar<'t>> {
                    let columns = name.iter().map(|number| self.column(*number));
                    let values = columns.flat_map(|column| {
                        column.codes.of_row(row).map(|code| Scalar::of_value(&column.values[code]))
                    });
                    values.collect()
                };
                names.iter().map(of_name).find(|values| !values.is_empty()).unwrap_or_default()
            }
        }
    }

    fn text(&self, number: usize, row: usize) -> Scalar<'t> {
        let column = self.column(number);
        column.codes.of_row(row).next().map_or(EMPTY, |code| Scalar::of_value(&column.values[code]))
    }

    fn row_of(&self, subject: &Subject, row: usize) -> Option<usize> {
        if subject.of_parent { self.tree?.parent(row) } else { Some(row) }
    }

    fn intrinsic(&self, intrinsic: Intrinsic, row: usize) -> Scalar<'t> {
        use Intrinsic::*;
        let table = self.table;
        let text = |text: &'t str| Scalar::Text(Cow::Borrowed(text));
        let id = |id: u64| match id {
            0 => EMPTY,
            id => Scalar::Text(Cow::Owned(Id::from_bytes(id.to_be_bytes()).to_string())),
        };
        match intrinsic {
            Duration => int(table.duration[row]),
            Name => text(table.name(row)),
            Kind => Scalar::Kind(kind(table.flags(row).kind())),
            Status => Scalar::Status(status(table.flags(row).status())),
            Failed => Scalar::Bool(table.flags(row).failed()),
            SpanId => table.span_id.get(row).map_or(Scalar::Nil, |known| id(*known)),
            ParentId => table.parent_id.get(row).map_or(Scalar::Nil, |known| id(*known)),
            TraceId => {
                let run = table.traces.partition_point(|(_, end)| *end as usize <= row);
                table.traces.get(run).map_or(Scalar::Nil, |(trace, _)| Scalar::Text(trace.to_string().into()))
            }
            NestedSetParent if !table.flags(row).has_parent() => Scalar::Int(-1),
            _ => self.tree.map_or(Scalar::Nil, |tree| self.of_tree(tree, intrinsic, row)),
        }
    }

    fn of_tree(&self, tree: &Tree<'_>, intrinsic: Intrinsic, row: usize) -> Scalar<'t> {
        use Intrinsic::*;
        let table = self.table;
        let text = |text: &'t str| Scalar::Text(Cow::Borrowed(text));
        match intrinsic {
            ChildCount => int(tree.child_count(row)),
            Root => Scalar::Bool(row == tree.root(row)),
            Entry => Scalar::Bool(tree.is_entry(row)),
            TraceDuration => int(tree.duration(row)),
            RootName => text(table.name(tree.root(row))),
            RootService => text(table.service(tree.root(row))),
            NestedSetLeft => int(tree.left(row)),
            NestedSetRight => int(tree.right(row)),
            NestedSetParent => tree.parent(row).map_or(Scalar::Int(0), |parent| int(tree.left(parent))),
            Parent => tree.parent(row).map_or(Scalar::Nil, |_| Scalar::Opaque),
            _ => Scalar::Nil,
        }
    }
}

// === impl TestedColumn ===

impl<'t> TestedColumn<'t> {
    fn new(column: &'t ValueColumn, rows: usize, test: &impl Fn(&Value) -> bool) -> Self {
        let codes = column.codes.by_row(rows);
        let mut holds = vec![None; column.values.len()];
        for code in (0..rows).flat_map(|row| codes.of_row(row)) {
            holds[code].get_or_insert_with(|| test(&column.values[code]));
        }
        Self { codes, holds }
    }

    fn holds(&self, row: usize) -> bool {
        self.codes.of_row(row).any(|code| self.holds[code] == Some(true))
    }
}

fn negated(mut rows: Vec<bool>) -> Vec<bool> {
    rows.iter_mut().for_each(|holds| *holds = !*holds);
    rows
}

fn int(value: u64) -> Scalar<'static> {
    Scalar::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(crate) fn kind(kind: SpanKind) -> Kind {
    match kind {
        SpanKind::Unspecified | SpanKind::Other(_) => Kind::Unspecified,
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
    }
}

pub(crate) fn status(status: StatusCode) -> Status {
    match status {
        StatusCode::Unset => Status::Unset,
        StatusCode::Ok => Status::Ok,
        StatusCode::Error => Status::Error,
    }
}
