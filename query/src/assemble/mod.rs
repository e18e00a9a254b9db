//! From the spans of a trace to its tree: trace, segments, spans (`docs/semantics.md#trace`, `#tree`, `#segment`).
//!
//! Stored spans have any number and shape: parents missing, shared, in cycles, clocks anywhere between 1970 and 2554.
//! Every span gets exactly one place in the tree and every oddity becomes a warning. No function recurses, so a chain
//! of a million spans cannot overflow the stack. [`crate::tree`] writes the tree.

mod fold;
mod load;
mod logs;
mod model;
mod segments;
mod shape;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_engine::tree::parents::{self, Node, Place};
use spandrel_storage::semantics::{RootCandidate, root_of};
use spandrel_storage::{Damage, ReadError, ServiceCount, StoredSpan};

pub(crate) use logs::Happening;
pub(crate) use model::{Assembled, Detached, Log, Logs, Resource, Segment, Span};
pub(crate) use spandrel_engine::tree::parents::NamedParent;

/// Which spans a tree shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    /// Proxies of a mesh are parts of the applications beside them.
    WithoutProxies,
}

/// Assembles a trace without its logs; `None` when there is no span that can be read.
pub(crate) fn assemble(
    spans: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    damage: &Damage,
    shown: Shown,
) -> Result<Option<Assembled>, ReadError> {
    assemble_with_logs(spans, std::iter::empty(), damage, shown)
}

/// Assembles a trace; `None` when there is neither a span nor a log record that can be read.
pub(crate) fn assemble_with_logs(
    spans: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    log_rows: impl Iterator<Item = Result<StoredSpan, ReadError>>,
    damage: &Damage,
    shown: Shown,
) -> Result<Option<Assembled>, ReadError> {
    let load::Loaded { resources, scopes, mut spans, logs, unreadable, unreadable_logs } =
        load::load(spans, log_rows)?;
    let root = root_of(&root_candidates(&spans));
    let Some(mut root) = root else {
        let logs = Logs::join(logs, &spans, &resources);
        return Ok((!logs.records.is_empty()).then(|| only_logs(resources, scopes, logs)));
    };
    resolve_parents(&mut spans, &resources);
    if shown == Shown::WithoutProxies {
        root = fold::proxies(&mut spans, &resources, root);
    }
    let shape = shape::Shape::of(&spans, root);
    shape.measure_self_time(&mut spans);
    let segments::Segmented { segments, order } = segments::cut(&spans, &resources, &shape);
    mark_external_parent(&mut spans, root);
    let mut assembled = Assembled {
        root: Some(root),
        logs: Logs::join(logs, &spans, &resources),
        start: spans.iter().map(|span| span.start).min().unwrap_or(0),
        end: spans.iter().map(Span::end).max().unwrap_or(0),
        services: service_counts(&spans, &resources),
        warnings: Vec::new(),
        resources,
        scopes,
        spans,
        segments,
        order,
    };
    assembled.warnings = warnings(&assembled.spans, unreadable, damage.blocks());
    assembled.warnings.extend(log_warnings(&assembled.logs, unreadable_logs));
    Ok(Some(assembled))
}

/// A trace of which no span is stored: they may still come, or were never sent.
fn only_logs(resources: Vec<Resource>, scopes: Vec<Bytes>, logs: Logs) -> Assembled {
    let times = || logs.records.iter().map(|log| log.time);
    Assembled {
        root: None,
        start: times().min().unwrap_or(0),
        end: times().max().unwrap_or(0),
        services: Vec::new(),
        warnings: vec![
            "no span of this trace is stored: it has only logs, and its spans may still arrive".to_owned(),
        ],
        resources,
        scopes,
        spans: Vec::new(),
        segments: Vec::new(),
        order: Vec::new(),
        logs,
    }
}

fn log_warnings(logs: &Logs, unreadable: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    match logs.of_unknown.len() {
        0 => {}
        1 => warnings.push("1 log record names a span that is not in this trace".to_owned()),
        count => warnings.push(format!("{count} log records name spans that are not in this trace")),
    }
    if unreadable > 0 {
        warnings.push("stored logs could not be read and are left out".to_owned());
    }
    warnings
}

/// Gives every span its parent in the tree, or the reason why it has none.
fn resolve_parents(spans: &mut [Span], resources: &[Resource]) {
    let node = |span: &Span| Node {
        id: span.id,
        named_parent: span.named_parent,
        kind: span.kind,
        start: span.start,
        end: span.end(),
        identity: resources[span.resource as usize].identity,
    };
    let nodes: Vec<Node> = spans.iter().map(node).collect();
    for (span, place) in spans.iter_mut().zip(parents::resolve(&nodes)) {
        match place {
            Place::Top => {}
            Place::Below(parent) => span.parent = Some(parent),
            Place::Detached(why) => span.detached = Some(why.into()),
        }
    }
}

/// The store chooses the root by the same rule, so the rule is in a crate that both depend on.
fn root_candidates(spans: &[Span]) -> Vec<RootCandidate<'_>> {
    let mut candidates = Vec::with_capacity(spans.len());
    for span in spans {
        let parent_id = span.named_parent.as_bytes();
        candidates.push(RootCandidate { start: span.start, span_id: span.id.as_bytes(), parent_id });
    }
    candidates
}

fn mark_external_parent(spans: &mut [Span], root: usize) {
    let orphans = spans.iter().filter(|span| span.detached == Some(Detached::Orphan)).count();
    if orphans == 1 && spans[root].detached == Some(Detached::Orphan) {
        spans[root].detached = Some(Detached::ExternalParent);
    }
}

fn service_counts(spans: &[Span], resources: &[Resource]) -> Vec<ServiceCount> {
    let mut by_resource = vec![(0u64, 0u64); resources.len()];
    for span in spans {
        let (count, errors) = &mut by_resource[span.resource as usize];
        *count += 1;
        *errors += u64::from(span.failed);
    }
    let mut by_name: FxHashMap<&str, (u64, u64)> = FxHashMap::default();
    for (resource, (count, errors)) in resources.iter().zip(by_resource) {
        let total = by_name.entry(&resource.service).or_default();
        *total = (total.0 + count, total.1 + errors);
    }
    let mut services: Vec<ServiceCount> = by_name
        .into_iter()
        .map(|(name, (span_count, error_count))| ServiceCount {
            name: name.to_owned(),
            span_count,
            error_count,
        })
        .collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    services
}

fn warnings(spans: &[Span], unreadable: u64, damaged_blocks: u64) -> Vec<String> {
    let detached = |why| spans.iter().filter(|span| span.detached == Some(why)).count();
    let mut warnings = Vec::new();
    let mut warn = |count: usize, one: &str, many: &str| match count {
        0 => {}
        1 => warnings.push(format!("1 {one}")),
        count => warnings.push(format!("{count} {many}")),
    };
    warn(
        detached(Detached::Orphan),
        "span names a parent that is not in this trace",
        "spans name a parent that is not in this trace",
    );
    warn(
        detached(Detached::Cycle),
        "cycle of parents was cut at its earliest span",
        "cycles of parents were cut, each at its earliest span",
    );
    warn(
        spans.iter().filter(|span| span.ends_early()).count(),
        "span ends before it starts; its duration is shown as 0",
        "spans end before they start; their durations are shown as 0",
    );
    warn(
        usize::try_from(unreadable).unwrap_or(usize::MAX),
        "stored span could not be read and is left out",
        "stored spans could not be read and are left out",
    );
    warn(
        usize::try_from(damaged_blocks).unwrap_or(usize::MAX),
        "damaged block was left out; spans may be missing",
        "damaged blocks were left out; spans may be missing",
    );
    if detached(Detached::ExternalParent) > 0 {
        warnings.push("external parent: the root's parent is not in this trace".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests;
