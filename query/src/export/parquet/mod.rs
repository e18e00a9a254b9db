//! Spans as a Parquet file: one row a span, for DuckDB, pandas and other readers of Parquet.
//!
//! Rows are collected up to a bound and written as a row group, column by column; the spans of a trace stand together.
//! The `parquet` crate is used without Arrow: the columns are few and known, and filling them by hand spares dozens of
//! dependencies. [`schema`] has the columns. Types of attributes in maps, scope attributes, schema URLs and dropped
//! counts are lost; the OTLP export keeps them.

mod column;
mod rows;
mod schema;

use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use spandrel_storage::TraceScan;

use self::rows::Rows;
use crate::executor::{Output, StreamError};
use crate::problem::Problem;

const GROUP_ROWS: usize = 50_000;
/// Memory at which a row group ends early. An export holds little else.
const GROUP_BYTES: usize = 48 << 20;
/// At this level compression takes little time compared with filling the columns.
const ZSTD_LEVEL: i32 = 3;

/// A file that is being written into a buffer.
struct Table {
    writer: SerializedFileWriter<Vec<u8>>,
    rows: Rows,
}

/// Writes all traces as one file.
pub(super) fn write(out: &mut Output, scan: &mut TraceScan<'_>) -> Result<(), StreamError> {
    let mut table = Table::begin().map_err(unwritable)?;
    for trace in scan {
        let (id, spans) = trace?;
        table.rows.begin_trace(id);
        for span in spans {
            table.rows.push(&span?).map_err(|error| {
                Problem::unreadable(format!("a stored span could not be read ({error}); export as otlp"))
            })?;
            if table.rows.len() >= GROUP_ROWS || table.rows.bytes() >= GROUP_BYTES {
                table.write_group().map_err(unwritable)?;
                table.pass_on(out)?;
            }
        }
    }
    table.write_group().map_err(unwritable)?;
    table.writer.finish().map_err(unwritable)?;
    table.pass_on(out)
}

fn unwritable(error: ParquetError) -> Problem {
    Problem::unreadable(format!("the table could not be written ({error}); export as otlp, and report this"))
}

// === impl Table ===

impl Table {
    fn begin() -> Result<Self, ParquetError> {
        let version = KeyValue::new("spandrel.schema".to_owned(), schema::VERSION.to_owned());
        let properties = WriterProperties::builder()
            .set_created_by(concat!("spandrel version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_key_value_metadata(Some(vec![version]))
            .build();
        let schema = Arc::new(schema::spans()?);
        let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        Ok(Self { writer, rows: Rows::default() })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows.len() == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for leaf in self.rows.leaves() {
            let Some(column) = group.next_column()? else {
                return Err(ParquetError::General("there are more columns than the schema has".to_owned()));
            };
            leaf.write(column)?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }

    /// Passes on the bytes that are written so far.
    fn pass_on(&mut self, out: &mut Output) -> Result<(), StreamError> {
        self.writer.flush().map_err(|error| unwritable(error.into()))?;
        out.buffer.append(self.writer.inner_mut());
        out.spill()
    }
}

#[cfg(test)]
mod tests;
