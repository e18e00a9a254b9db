//! Checks everything that is stored against everything else, and reports what is wrong.
//!
//! It checks every checksum of every section of every block, whether the sections agree with each other, catalog rows
//! against their blocks, index rows against the blocks that they name and the other way round, records beside the
//! blocks (pins, deletions, expired rollups, block IDs, backups), and data that nothing refers to. It changes nothing.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use spandrel_block::{BlockKey, CatalogRow, RowRange, TraceKey, TraceTable, verify};
use spandrel_proto::TraceId;
use xxhash_rust::xxh3::xxh3_64;

use crate::encryption::{KeyError, is_encrypted_value};
use crate::engine::{Encryption, Engine, EngineError, IndexRow};
use crate::records::backups::remembered;
use crate::records::unreadable;
use crate::restore::unfinished;

/// Checks a store in use.
pub trait Check: Send + Sync {
    /// Checks everything. `watch` gets the progress, and returns whether to go on; if it does not, there is no report.
    fn check(&self, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport>;
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Blocks that were checked.
    pub block_count: u64,
    /// Bytes of these blocks.
    pub byte_count: u64,
    /// Spans of these blocks.
    pub span_count: u64,
    /// Number of rows of the trace index.
    pub index_row_count: u64,
    /// Index rows whose block has left the catalog: readers skip them, and the engine removes them later.
    pub stale_index_row_count: u64,
    /// Blocks that have left the catalog and wait for garbage collection.
    pub replaced_block_count: u64,
    /// Blocks that are not encrypted, in a store that encrypts: they are from before.
    #[serde(default)]
    pub plain_block_count: u64,
    /// What is wrong; at most the first thousand findings.
    pub findings: Vec<Finding>,
    /// Number of findings that are not listed.
    pub more_findings: u64,
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What the problem is about.
    pub kind: FindingKind,
    /// The tenant that owns the block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The block's window, in hours since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<u32>,
    /// The block's number, as a string because it exceeds the integers of JSON readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// A description of the problem.
    pub detail: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FindingKind {
    /// The engine cannot read its own data.
    Store,
    /// A catalog row is damaged, or disagrees with its block.
    CatalogRow,
    /// A block is damaged, or a part of it is missing.
    Block,
    /// The trace index lacks rows, or has wrong ones.
    Index,
    /// Data that nothing refers to, and that only take space.
    Unreferenced,
    /// The list of backups is damaged.
    Backups,
}

/// The progress of a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// Bytes of blocks checked.
    pub bytes: u64,
    /// Bytes of all blocks.
    pub of_bytes: u64,
}

/// A hash over the rows of many traces: equal values mean equal rows, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rows {
    count: u64,
    sum: u64,
}

/// The facts about a sound block.
#[derive(Debug, Clone, Copy)]
struct Checked {
    bytes: u64,
    /// The rows that the index has to contain for the block.
    rows: Rows,
}

struct Checker<'e> {
    engine: &'e dyn Engine,
    report: CheckReport,
    /// The blocks; `None` for one that cannot be read.
    checked: BTreeMap<BlockKey, Option<Checked>>,
}

/// The most findings that are listed; further ones are only counted.
const MAX_FINDINGS: usize = 1_000;

/// Checks an engine that no store uses.
pub fn check(engine: &dyn Engine, watch: &mut dyn FnMut(&CheckProgress) -> bool) -> Option<CheckReport> {
    check_among(engine, None, watch)
}

/// Checks an engine in use. `held` are blocks that stay readable meanwhile; blocks that were added or removed since
/// they were chosen are left out.
pub(crate) fn check_among(
    engine: &dyn Engine,
    held: Option<&HashSet<BlockKey>>,
    watch: &mut dyn FnMut(&CheckProgress) -> bool,
) -> Option<CheckReport> {
    let mut check = Checker { engine, report: CheckReport::default(), checked: BTreeMap::new() };
    // Without its keys everything would look damaged.
    if let Some(Err(error)) = engine.encryption().map(Encryption::require_keys) {
        check.find(FindingKind::Store, None, error.to_string());
        return Some(check.report);
    }
    match engine.catalog_rows() {
        Ok(rows) if engine.encryption().is_none() && rows.iter().any(|(_, row)| is_encrypted_value(row)) => {
            check.find(FindingKind::Store, None, KeyError::NoKeyring.to_string());
            return Some(check.report);
        }
        Ok(rows) => {
            let rows = rows.into_iter().filter(|(key, _)| held.is_none_or(|held| held.contains(key)));
            check.blocks(rows.collect(), watch)?;
            check.index();
            check.unreferenced();
        }
        Err(error) => check.broken("the catalog cannot be read", &error),
    }
    match unreadable(engine) {
        Ok(found) => found.into_iter().for_each(|detail| check.find(FindingKind::Store, None, detail)),
        Err(error) => check.broken("the records beside the blocks cannot be read", &error),
    }
    if let Err(error) = remembered(engine) {
        check.find(FindingKind::Backups, None, error.to_string());
    }
    match unfinished(engine) {
        Ok(None) => {}
        Ok(Some(id)) => {
            let detail = format!("a restore of backup {id} was not finished: this is a part of it");
            check.find(FindingKind::Store, None, detail);
        }
        Err(error) => check.broken("the record of a restore", &error),
    }
    Some(check.report)
}

// === impl Checker ===

impl Checker<'_> {
    fn find(&mut self, kind: FindingKind, key: Option<&BlockKey>, detail: impl Into<String>) {
        if self.report.findings.len() >= MAX_FINDINGS {
            self.report.more_findings += 1;
            return;
        }
        self.report.findings.push(Finding {
            kind,
            tenant: key.map(|key| key.tenant.to_string()),
            hour: key.map(|key| key.hour.0),
            block: key.map(|key| key.block.0.to_string()),
            detail: detail.into(),
        });
    }

    fn broken(&mut self, what: &str, error: &EngineError) {
        self.find(FindingKind::Store, None, format!("{what}: {error}{}", error.advice()));
    }

    /// Checks every block with its catalog row. `None` if `watch` ends the check.
    fn blocks(
        &mut self,
        rows: Vec<(BlockKey, Vec<u8>)>,
        watch: &mut dyn FnMut(&CheckProgress) -> bool,
    ) -> Option<()> {
        let decoded: Vec<_> = rows.into_iter().map(|(key, row)| (key, CatalogRow::decode(&row))).collect();
        let of_bytes = decoded.iter().filter_map(|(_, row)| row.as_ref().ok()).map(|row| row.bytes).sum();
        let mut progress = CheckProgress { bytes: 0, of_bytes };
        for (key, row) in decoded {
            if !watch(&progress) {
                return None;
            }
            let checked = match row {
                Ok(row) => {
                    progress.bytes += row.bytes;
                    self.block(&key, &row)
                }
                Err(error) => {
                    self.find(FindingKind::CatalogRow, Some(&key), error.to_string());
                    None
                }
            };
            self.checked.insert(key, checked);
        }
        watch(&progress).then_some(())
    }

    fn block(&mut self, key: &BlockKey, row: &CatalogRow) -> Option<Checked> {
        self.report.block_count += 1;
        self.report.byte_count += row.bytes;
        self.report.span_count += u64::from(row.meta.span_rows());
        let bytes = match self.engine.get_range(key, 0..row.bytes) {
            Ok(bytes) => bytes,
            Err(EngineError::NotFound(_)) => {
                self.find(FindingKind::Block, Some(key), "a page of the block is missing");
                return None;
            }
            Err(error) => {
                self.find(FindingKind::Block, Some(key), error.to_string());
                return None;
            }
        };
        let encryption = self.engine.encryption();
        let is_plain = encryption.map(|encryption| encryption.is_plain_block(key)).transpose();
        self.report.plain_block_count += u64::from(is_plain.is_ok_and(|is_plain| is_plain == Some(true)));
        match verify(bytes) {
            Ok(report) => {
                if report.row != *row {
                    let detail =
                        format!("the catalog row does not fit its block: {}", difference(row, &report.row));
                    self.find(FindingKind::CatalogRow, Some(key), detail);
                }
                // Fresh blocks have no index rows, because memory knows their traces.
                let is_indexed = report.row.meta.level > 0;
                let rows = if is_indexed { Rows::of_table(&report.traces) } else { Rows::default() };
                Some(Checked { bytes: row.bytes, rows })
            }
            Err(error) => {
                self.find(FindingKind::Block, Some(key), error.to_string());
                None
            }
        }
    }

    /// Compares every row of the index with its block, and the other way round.
    fn index(&mut self) {
        let mut found: BTreeMap<BlockKey, Rows> = BTreeMap::new();
        let (mut rows, mut stale, mut unreadable) = (0, 0, 0u64);
        let checked = &self.checked;
        let walked = self.engine.each_index_row(&mut |row: IndexRow| {
            rows += 1;
            match row {
                Err(_) => unreadable += 1,
                Ok((key, range)) => {
                    let block = block_of(&key);
                    match checked.contains_key(&block) {
                        true => found.entry(block).or_default().add(key.trace, range),
                        false => stale += 1,
                    }
                }
            }
        });
        (self.report.index_row_count, self.report.stale_index_row_count) = (rows, stale);
        if unreadable > 0 {
            self.find(FindingKind::Index, None, format!("{unreadable} rows of the trace index are damaged"));
        }
        if let Err(error) = walked {
            return self.broken("the trace index cannot be read", &error);
        }
        let found_of = |key: &BlockKey| found.get(key).copied().unwrap_or_default();
        let sound = self.checked.iter().filter_map(|(key, checked)| Some((key.clone(), (*checked)?)));
        let wrong: Vec<_> = sound.filter(|(key, checked)| checked.rows != found_of(key)).collect();
        if wrong.is_empty() {
            return;
        }
        // Rows of a block that was replaced meanwhile may be missing without being wrong.
        let current: HashSet<BlockKey> = match self.engine.catalog_rows() {
            Ok(rows) => rows.into_iter().map(|(key, _)| key).collect(),
            Err(error) => return self.broken("the catalog cannot be read", &error),
        };
        for (key, checked) in wrong.into_iter().filter(|(key, _)| current.contains(key)) {
            let detail = self.index_detail(&key, checked, found_of(&key));
            self.find(FindingKind::Index, Some(&key), detail);
        }
    }

    /// Describes what is wrong with the index rows of a block.
    fn index_detail(&self, key: &BlockKey, checked: Checked, found: Rows) -> String {
        let bytes = self.engine.get_range(key, 0..checked.bytes).ok();
        let report = bytes.and_then(|bytes| verify(bytes).ok());
        let traces = report.map(|report| report.traces).unwrap_or_default();
        let mut wrong = traces.entries().iter().filter(|(trace, range)| {
            let rows = self.engine.find_trace(&key.tenant, *trace).unwrap_or_default();
            !rows.iter().any(|(block, rows)| *block == key.block && rows == range)
        });
        let count = checked.rows.count;
        match wrong.next() {
            Some((trace, _)) => format!(
                "{} of its {count} traces have no index row, or a wrong one, such as {trace}",
                1 + wrong.count()
            ),
            None => {
                format!("the trace index has {} rows of the block, which has {count} traces", found.count)
            }
        }
    }

    /// Finds stored blocks that neither the catalog nor the list of replaced blocks names.
    fn unreferenced(&mut self) {
        let stored = match self.engine.stored_blocks() {
            Ok(stored) => stored,
            Err(error) => return self.broken("the stored blocks cannot be listed", &error),
        };
        // Read after the list was made, so blocks that were added meanwhile are named.
        let (rows, replaced) = match (self.engine.catalog_rows(), self.engine.unreferenced()) {
            (Ok(rows), Ok(replaced)) => (rows, replaced),
            (Err(error), _) | (_, Err(error)) => return self.broken("the catalog cannot be read", &error),
        };
        self.report.replaced_block_count = replaced.len() as u64;
        let known: HashSet<BlockKey> = rows.into_iter().map(|(key, _)| key).chain(replaced).collect();
        for key in stored.into_iter().filter(|key| !known.contains(key)) {
            // Blocks that were replaced before the list was made may be deleted by now.
            if !self.checked.contains_key(&key) && self.engine.get_range(&key, 0..1).is_ok() {
                self.find(
                    FindingKind::Unreferenced,
                    Some(&key),
                    "nothing refers to this block; it only takes room",
                );
            }
        }
    }
}

fn block_of(key: &TraceKey) -> BlockKey {
    BlockKey { tenant: key.tenant.clone(), hour: key.hour, block: key.block }
}

/// Describes how two catalog rows differ.
fn difference(row: &CatalogRow, block: &CatalogRow) -> String {
    if row.bytes != block.bytes {
        return format!("it says {} bytes, the block has {}", row.bytes, block.bytes);
    }
    if row.meta.spans != block.meta.spans {
        return format!("it says {} spans, the block has {}", row.meta.spans, block.meta.spans);
    }
    if row.meta != block.meta {
        return "its zone map is not that of the block".to_owned();
    }
    "the lengths that it gives are not those of the block".to_owned()
}

// === impl Rows ===

impl Rows {
    fn of_table(traces: &TraceTable) -> Self {
        let mut rows = Self::default();
        traces.entries().iter().for_each(|(trace, range)| rows.add(*trace, *range));
        rows
    }

    fn add(&mut self, trace: TraceId, range: RowRange) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(&[&trace.as_bytes()[..], &range.encode()].concat()));
    }
}

// === impl CheckReport ===

impl CheckReport {
    /// The report about a store that is too damaged to be checked.
    pub fn of_store(detail: String) -> Self {
        let finding = Finding { kind: FindingKind::Store, tenant: None, hour: None, block: None, detail };
        Self { findings: vec![finding], ..Self::default() }
    }

    /// Whether there are no findings.
    pub fn is_fine(&self) -> bool {
        self.findings.is_empty()
    }
}
