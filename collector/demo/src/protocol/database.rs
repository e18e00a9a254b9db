//! Queries to PostgreSQL and Redis. Neither is traced itself: only CLIENT spans exist.

use crate::fleet::Scope;
use crate::stage::{Opening, Stage, Work};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

/// An SQL statement.
#[derive(Clone, Copy)]
pub(crate) struct Statement {
    pub(crate) database: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) table: &'static str,
    pub(crate) text: &'static str,
    /// The usual time; incidents make statements slower.
    pub(crate) median_ms: f64,
}

/// PostgreSQL stopped a transaction because of a deadlock; it may be tried again.
pub(crate) struct Deadlock;

/// Runs a statement that returns or changes `rows` rows.
pub(crate) fn sql(stage: &mut Stage, work: &mut Work, statement: &Statement, rows: usize) {
    let mut query = stage.child(work, postgresql_span(statement));
    let slow = stage.rng.likely(if stage.incidents.database_is_slow(query.now) { 0.25 } else { 0.002 });
    let factor = if slow { 80.0 } else { 1.0 };
    query.pass(stage.around(statement.median_ms * factor));
    query.set("db.response.returned_rows", rows as i64);
    work.now = stage.close(query);
}

/// Runs a statement which takes locks, and may lose a deadlock.
pub(crate) fn locking_sql(
    stage: &mut Stage,
    work: &mut Work,
    statement: &Statement,
    deadlock_probability: f64,
) -> Result<(), Deadlock> {
    if !stage.rng.likely(deadlock_probability) {
        sql(stage, work, statement, 1);
        return Ok(());
    }
    let mut query = stage.child(work, postgresql_span(statement));
    // PostgreSQL checks for deadlocks after one second of waiting.
    query.pass(stage.around(1000.0));
    query.event(
        "exception",
        vec![
            KeyValue::new("exception.type", "postgres::DatabaseError"),
            KeyValue::new("exception.message", "ERROR: deadlock detected (SQLSTATE 40P01)"),
        ],
    );
    query.set("db.response.status_code", "40P01");
    query.fail("40P01", "deadlock detected");
    work.now = stage.close(query);
    Err(Deadlock)
}

/// Starts a statement which is cancelled after about `median_ms`.
pub(crate) fn cancelled_sql(stage: &mut Stage, work: &mut Work, statement: &Statement, median_ms: f64) {
    let mut query = stage.child(work, postgresql_span(statement));
    query.pass(stage.around(median_ms));
    query.set("db.response.status_code", "57014");
    query.fail("57014", "canceling statement due to user request");
    work.now = stage.close(query);
}

/// Runs a Redis command.
pub(crate) fn redis(stage: &mut Stage, work: &mut Work, operation: &'static str, text: String) {
    let opening = Opening::new(Scope::Database, SpanKind::Client, operation).with([
        KeyValue::new("db.system.name", "redis"),
        KeyValue::new("db.namespace", "0"),
        KeyValue::new("db.operation.name", operation),
        KeyValue::new("db.query.text", text),
        KeyValue::new("server.address", "redis.shop.svc.cluster.local"),
        KeyValue::new("server.port", 6379),
    ]);
    let mut command = stage.child(work, opening);
    command.pass(stage.around(0.6));
    work.now = stage.close(command);
}

fn postgresql_span(statement: &Statement) -> Opening {
    let summary = format!("{} {}", statement.operation, statement.table);
    Opening::new(Scope::Database, SpanKind::Client, summary.clone()).with([
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.namespace", statement.database),
        KeyValue::new("db.operation.name", statement.operation),
        KeyValue::new("db.collection.name", statement.table),
        KeyValue::new("db.query.summary", summary),
        KeyValue::new("db.query.text", statement.text),
        KeyValue::new("server.address", "postgresql.shop.svc.cluster.local"),
        KeyValue::new("server.port", 5432),
    ])
}
