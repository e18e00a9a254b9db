//! Binds a query's fields to the columns of tables, and its expressions to what a span is asked.
//!
//! Names of the semantic conventions that have changed are one field here: the newest name that a span has counts
//! ([`spandrel_proto::semconv`]). A quoted name is literal.

use regex::Regex;
use rustc_hash::FxHashMap;
use spandrel_mesh::fields::MeshField;
use spandrel_proto::{TenantId, semconv};
use spandrel_storage::TraceStore;
use spandrel_storage::table::{AttributeLevel, ColumnName, SpanTable, ValueColumn};
use spandrel_traceql::ast::{
    AttributeName, BinaryOp, Field, FieldExpr, FieldName, Intrinsic, Literal, Scope,
};

use crate::error::QueryError;
use crate::mesh::{self, MeshColumn};
use crate::scalar::{Scalar, Test};
use crate::tree::Tree;

/// Numbers the columns that a question reads.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    names: Vec<ColumnName>,
    numbers: FxHashMap<ColumnName, usize>,
    /// Those that follow from others.
    derived: Vec<Derived>,
    /// Whether a field needs the tree of its trace.
    pub(crate) needs_tree: bool,
    /// Whether a field needs span IDs.
    pub(crate) needs_ids: bool,
}

/// What is asked of a span.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Constant(bool),
    /// A field compared with a constant.
    Test(Subject, Test),
    Exists(Subject),
    Absent(Subject),
    /// Two expressions compared.
    Compare(BinaryOp, Expr, Expr),
    /// An expression has no value.
    IsNil(Expr),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// An expression with a value for each span.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    Literal(Scalar<'static>),
    Subject(Subject),
    Condition(Box<Condition>),
    Negate(Box<Expr>),
    Arithmetic(BinaryOp, Box<Expr>, Box<Expr>),
}

/// A field of a span or of its parent.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) of_parent: bool,
    pub(crate) what: What,
}

/// Where the values of a field are.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Intrinsic(Intrinsic),
    /// The number of a column of texts. OTLP does not tell an empty text from none, so every span has one.
    Text(usize),
    /// The numbers of its columns, from [`DERIVED`] on those that follow from others: for each name, the newest first, those of the span before those of the resource.
    Columns(Vec<Vec<usize>>),
}

/// The number of the first derived column. A question has less columns than that, because it has less bytes.
pub(crate) const DERIVED: usize = 1 << 20;

/// A column that is not stored.
#[derive(Debug)]
enum Derived {
    /// It follows from the attributes of a span.
    Mesh(MeshColumn),
    /// Whether a span counts as a request, which follows from what it and its parent stand for: another derived column.
    Request { parts: usize },
}

// === impl Columns ===

impl Columns {
    /// The columns, by number.
    pub(crate) fn names(&self) -> &[ColumnName] {
        &self.names
    }

    pub(crate) fn number(&mut self, name: ColumnName) -> usize {
        let next = self.names.len();
        let names = &mut self.names;
        *self.numbers.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            next
        })
    }

    /// The columns of a table that follow from others.
    pub(crate) fn derive(&self, table: &SpanTable, tree: Option<&Tree<'_>>) -> Vec<ValueColumn> {
        let mut derived: Vec<ValueColumn> = Vec::with_capacity(self.derived.len());
        for column in &self.derived {
            derived.push(match column {
                Derived::Mesh(column) => column.of(table),
                Derived::Request { parts } => mesh::requests(table, &derived[*parts], tree),
            });
        }
        derived
    }

    /// The number of a derived column.
    pub(crate) fn mesh(&mut self, field: MeshField) -> usize {
        let is_known = |known: &Derived| matches!(known, Derived::Mesh(known) if known.field == field);
        self.derived.iter().position(is_known).unwrap_or_else(|| {
            let mut inputs = Vec::new();
            for level in [AttributeLevel::Resource, AttributeLevel::Span] {
                let column = |key: &&'static str| ColumnName::Attribute(level, (*key).to_owned());
                inputs.extend(field.keys().iter().map(|key| (*key, self.number(column(key)))));
            }
            self.derived.push(Derived::Mesh(MeshColumn { field, inputs }));
            self.derived.len() - 1
        })
    }

    /// The number of the derived column of what counts as a request.
    pub(crate) fn mesh_request(&mut self) -> usize {
        self.need_tree();
        let parts = self.mesh(MeshField::Part);
        let is_known = |known: &Derived| matches!(known, Derived::Request { .. });
        self.derived.iter().position(is_known).unwrap_or_else(|| {
            self.derived.push(Derived::Request { parts });
            self.derived.len() - 1
        })
    }

    /// Whether tables have to be of whole traces: for a field of the tree, or for events, which logs may add to.
    pub(crate) fn need_traces(&self, store: &dyn TraceStore, tenant: &TenantId) -> bool {
        use ColumnName::{Attribute, EventName, EventTimeSinceStart};
        let is_of_events = |name: &ColumnName| {
            matches!(name, EventName | EventTimeSinceStart | Attribute(AttributeLevel::Event, _))
        };
        self.needs_tree || self.names.iter().any(is_of_events) && store.has_logs(tenant)
    }

    /// What makes a span the first of its segment, and tells apart spans that share an ID.
    pub(crate) fn need_tree(&mut self) {
        self.needs_tree = true;
        self.needs_ids = true;
        for key in ["service.namespace", "service.instance.id"] {
            self.number(ColumnName::Attribute(AttributeLevel::Resource, key.to_owned()));
        }
        self.number(ColumnName::Flags);
    }

    pub(crate) fn subject(&mut self, field: &Field) -> Subject {
        if field.of_parent {
            self.need_tree();
        }
        let what = match &field.name {
            FieldName::Intrinsic(intrinsic) => self.intrinsic(*intrinsic),
            FieldName::Attribute(name) => What::Columns(self.attribute(name)),
        };
        Subject { of_parent: field.of_parent, what }
    }

    fn intrinsic(&mut self, intrinsic: Intrinsic) -> What {
        use Intrinsic::*;
        let derived = |number: usize| What::Columns(vec![vec![DERIVED + number]]);
        let column = match intrinsic {
            StatusMessage => return What::Text(self.number(ColumnName::StatusMessage)),
            InstrumentationName => return What::Text(self.number(ColumnName::ScopeName)),
            InstrumentationVersion => return What::Text(self.number(ColumnName::ScopeVersion)),
            EventName => ColumnName::EventName,
            EventTimeSinceStart => ColumnName::EventTimeSinceStart,
            LinkTraceId => ColumnName::LinkTraceId,
            LinkSpanId => ColumnName::LinkSpanId,
            Mesh(field) => return derived(self.mesh(mesh::field_of(field))),
            MeshRequest => return derived(self.mesh_request()),
            Duration | Name | Kind | Status | Failed | TraceId => return What::Intrinsic(intrinsic),
            SpanId | ParentId => {
                self.needs_ids = true;
                return What::Intrinsic(intrinsic);
            }
            ChildCount | Root | Entry | TraceDuration | RootName | RootService | NestedSetLeft
            | NestedSetRight | NestedSetParent | Parent => {
                self.need_tree();
                return What::Intrinsic(intrinsic);
            }
        };
        What::Columns(vec![vec![self.number(column)]])
    }

    fn attribute(&mut self, name: &AttributeName) -> Vec<Vec<usize>> {
        let levels: &[AttributeLevel] = match name.scope {
            Scope::Any => &[AttributeLevel::Span, AttributeLevel::Resource],
            Scope::Span => &[AttributeLevel::Span],
            Scope::Resource => &[AttributeLevel::Resource],
            Scope::Event => &[AttributeLevel::Event],
            Scope::Link => &[AttributeLevel::Link],
            Scope::Instrumentation => &[AttributeLevel::Scope],
        };
        let column = |columns: &mut Self, level, key: &str| {
            columns.number(ColumnName::Attribute(level, key.to_owned()))
        };
        names_of(name)
            .into_iter()
            .map(|key| levels.iter().map(|level| column(self, *level, key)).collect())
            .collect()
    }

    // === Expressions ===

    /// Binds what has to be true of a span.
    pub(crate) fn condition(&mut self, expr: &FieldExpr) -> Result<Condition, QueryError> {
        Ok(match expr {
            FieldExpr::Literal(Literal::Bool(flag)) => Condition::Constant(*flag),
            FieldExpr::Field(field) => {
                let test = Test { op: BinaryOp::Eq, literal: Scalar::Bool(true), regex: None };
                Condition::Test(self.subject(field), test)
            }
            FieldExpr::Not(inner) => Condition::Not(Box::new(self.condition(inner)?)),
            FieldExpr::Binary(BinaryOp::And, left, right) => {
                // A chain is one list, because each level takes a vector of the rows.
                let mut parts = match self.condition(left)? {
                    Condition::And(parts) => parts,
                    part => vec![part],
                };
                parts.push(self.condition(right)?);
                Condition::And(parts)
            }
            FieldExpr::Binary(BinaryOp::Or, left, right) => {
                let mut parts = match self.condition(left)? {
                    Condition::Or(parts) => parts,
                    part => vec![part],
                };
                parts.push(self.condition(right)?);
                Condition::Or(parts)
            }
            FieldExpr::Binary(op, left, right) if is_comparison(*op) => self.comparison(*op, left, right)?,
            FieldExpr::Literal(_) | FieldExpr::Negate(_) | FieldExpr::Binary(..) => {
                let truth = Expr::Literal(Scalar::Bool(true));
                Condition::Compare(BinaryOp::Eq, self.expr(expr)?, truth)
            }
        })
    }

    fn comparison(
        &mut self,
        op: BinaryOp,
        left: &FieldExpr,
        right: &FieldExpr,
    ) -> Result<Condition, QueryError> {
        let is_field = matches!(right, FieldExpr::Field(_));
        let is_nil = matches!(left, FieldExpr::Literal(Literal::Nil)) && constant(right).is_none();
        if (is_nil || is_field && matches!(left, FieldExpr::Literal(_)))
            && let Some(flipped) = flipped(op)
        {
            return self.comparison(flipped, right, left);
        }
        match (left, constant(right)) {
            // Nothing equals nil but the absence of a value.
            (FieldExpr::Literal(Literal::Nil), Some(Literal::Nil)) => Ok(Condition::Constant(false)),
            (FieldExpr::Field(field), Some(Literal::Nil)) => Ok(match op {
                BinaryOp::Eq => Condition::Absent(self.subject(field)),
                BinaryOp::Ne => Condition::Exists(self.subject(field)),
                _ => Condition::Constant(false),
            }),
            (FieldExpr::Field(field), Some(literal)) => {
                Ok(Condition::Test(self.subject(field), test(op, &id_literal(field, op, literal))?))
            }
            (expr, Some(Literal::Nil)) => {
                let is_nil = Condition::IsNil(self.expr(expr)?);
                Ok(if op == BinaryOp::Eq { is_nil } else { Condition::Not(Box::new(is_nil)) })
            }
            _ if matches!(op, BinaryOp::Matches | BinaryOp::MatchesNot) => Err(QueryError::Unsupported(
                "a regular expression is compared with a field, and is a constant string".to_owned(),
            )),
            _ => Ok(Condition::Compare(op, self.expr(left)?, self.expr(right)?)),
        }
    }

    /// Binds an expression with a value.
    pub(crate) fn expr(&mut self, expr: &FieldExpr) -> Result<Expr, QueryError> {
        if let Some(literal) = constant(expr) {
            return Ok(Expr::Literal(Scalar::of_literal(&literal)));
        }
        Ok(match expr {
            FieldExpr::Literal(literal) => Expr::Literal(Scalar::of_literal(literal)),
            FieldExpr::Field(field) => Expr::Subject(self.subject(field)),
            FieldExpr::Negate(inner) => Expr::Negate(Box::new(self.expr(inner)?)),
            FieldExpr::Binary(op, left, right) if is_arithmetic(*op) => {
                Expr::Arithmetic(*op, Box::new(self.expr(left)?), Box::new(self.expr(right)?))
            }
            FieldExpr::Not(_) | FieldExpr::Binary(..) => Expr::Condition(Box::new(self.condition(expr)?)),
        })
    }
}

/// All names of an attribute, the newest first.
pub(crate) fn names_of(name: &AttributeName) -> Vec<&str> {
    let known = if name.is_literal { None } else { semconv::names_of(&name.key) };
    known.map_or_else(|| vec![name.key.as_str()], <[&str]>::to_vec)
}

/// An ID that is asked for as a whole is one as the API writes it, whatever its case and with or without leading zeros.
fn id_literal(field: &Field, op: BinaryOp, literal: Literal) -> Literal {
    use Intrinsic::{LinkSpanId, LinkTraceId, ParentId, SpanId, TraceId};
    let is_whole = matches!(op, BinaryOp::Eq | BinaryOp::Ne);
    let digits = match field.name {
        FieldName::Intrinsic(TraceId | LinkTraceId) => 32,
        FieldName::Intrinsic(SpanId | ParentId | LinkSpanId) => 16,
        _ => return literal,
    };
    match literal {
        Literal::String(id)
            if is_whole && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            Literal::String(format!("{:0>digits$}", id.to_ascii_lowercase()))
        }
        other => other,
    }
}

/// The test of a comparison with a constant.
fn test(op: BinaryOp, literal: &Literal) -> Result<Test, QueryError> {
    let regex = match (op, literal) {
        (BinaryOp::Matches | BinaryOp::MatchesNot, Literal::String(pattern)) => Some(regex(pattern)?),
        _ => None,
    };
    Ok(Test { op, literal: Scalar::of_literal(literal), regex })
}

fn regex(pattern: &str) -> Result<Regex, QueryError> {
    spandrel_traceql::anchored_regex(pattern).map_err(QueryError::Unsupported)
}

/// The value of an expression of constants; a negative number is written as a negation.
pub(crate) fn constant(expr: &FieldExpr) -> Option<Literal> {
    match expr {
        FieldExpr::Literal(literal) => Some(literal.clone()),
        FieldExpr::Negate(inner) => match constant(inner)? {
            Literal::Int(int) => int.checked_neg().map(Literal::Int),
            Literal::Duration(nanos) => nanos.checked_neg().map(Literal::Duration),
            Literal::Float(float) => Some(Literal::Float(-float)),
            _ => None,
        },
        _ => None,
    }
}

/// The operator when both sides change places.
fn flipped(op: BinaryOp) -> Option<BinaryOp> {
    Some(match op {
        BinaryOp::Eq | BinaryOp::Ne => op,
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Ge => BinaryOp::Le,
        _ => return None,
    })
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Eq | Ne | Lt | Le | Gt | Ge | Matches | MatchesNot | Contains | StartsWith | EndsWith)
}

fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::*;
    matches!(op, Add | Sub | Mul | Div | Mod | Pow)
}
