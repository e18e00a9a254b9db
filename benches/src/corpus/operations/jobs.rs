//! Scheduled jobs, which make the long traces.

use super::goods::QUOTE;
use super::{Operation, Via, always, operation, repeated, sql, step};
use crate::corpus::services::Service::*;

static SELECT_CHUNK: Operation = sql(
    Batch,
    "SELECT catalogue.products",
    "SELECT id, sku, price FROM products WHERE id > $1 ORDER BY id LIMIT $2",
    5_000,
);
static UPDATE_PRICE: Operation = sql(
    Batch,
    "UPDATE catalogue.products",
    "UPDATE products SET price = $2, updated_at = now() WHERE id = $1",
    2_000,
);
static UPLOAD: Operation = operation(
    Batch,
    "PUT",
    Via::Outside { host: "exports.storage.example.com", path: "/exports-prod/{random}.parquet" },
    22_000,
)
.failing(0.021);
pub(in crate::corpus) static REPRICE_CHUNK: Operation =
    step(Batch, "reprice_chunk", "batch_jobs/reprice.py", 2_000).failing(0.015).calling(&[
        always(&SELECT_CHUNK),
        repeated(8, 16, &QUOTE),
        repeated(10, 20, &UPDATE_PRICE),
    ]);
static EXPORT_CHUNK: Operation = step(Batch, "export_chunk", "batch_jobs/export.py", 2_000)
    .failing(0.015)
    .calling(&[always(&SELECT_CHUNK), always(&UPLOAD)]);
/// The number of its chunks decides the length of the trace.
pub(in crate::corpus) static REPRICE: Operation =
    step(Batch, "job.reprice-catalogue", "batch_jobs/reprice.py", 5_000);
pub(in crate::corpus) static EXPORT: Operation =
    step(Batch, "job.export-catalogue", "batch_jobs/export.py", 5_000).calling(&[repeated(
        3,
        12,
        &EXPORT_CHUNK,
    )]);
