//! The checker: opens the store that a child left and compares it with the child's history. Acknowledged batches are
//! there, whole and once; refused and unanswered ones as a whole or not at all; deleted traces are gone, pins hold,
//! expired spans still count, and the store goes on working.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use spandrel_proto::{SpanId, TenantId};
use spandrel_rocks::Durability;
use spandrel_storage::plan::{AggregatePlan, GroupBy, Predicate};
use spandrel_storage::{Clock as _, Deletions as _, Pins as _, TraceStore as _};

use super::model::{BatchPart, Bounds, Model, Presence, Unanswered};
use super::workload::{TRACES, number_of};
use super::{Event, History, Workload};
use crate::contract::aggregate;
use crate::harness::{self, Backend, Harness};
use crate::server::eventually;
use crate::spans::{MINUTE, Sent, decoded, trace_id};

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

/// What a damaged store reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamageReport {
    /// Nothing: everything can be read.
    Nothing,
    /// It opened, and reported that not everything can be read.
    Damaged,
    /// It did not open, for this reason.
    Refused(String),
}

/// The first number of batches beyond every workload.
const LATER: u64 = 1_000_000;

/// Opens the store that a child left and compares it with the child's history.
pub fn check(folder: &Path, workload: &Workload, history: &History) -> Result<(), String> {
    compare(&open(folder, workload, history)?, &Model::of(workload, &with_reopening(history))?)
}

/// The same, and works on with the store: it appends, merges, expires, ends its deletions, closes and opens. Nothing
/// may be lost or come back meanwhile.
pub fn check_still_works(folder: &Path, workload: &Workload, history: &History) -> Result<(), String> {
    let mut harness = open(folder, workload, history)?;
    let mut history = with_reopening(history);
    for number in LATER..LATER + 3 {
        history.events.push(Event::Batch { number, acknowledged: true });
        let spans = decoded(&workload.batch(number));
        let appended = harness.store().append(&TenantId::default(), &[spans]);
        appended.map_err(|error| format!("it takes nothing any more: {error}"))?;
        harness.maintain(1);
        compare(&harness, &Model::of(workload, &history)?)?;
    }
    harness.store().seal_all();
    compare(&harness, &Model::of(workload, &history)?)?;
    let status = harness.store().status();
    ensure!(status.unsealed_span_count == 0, "{} spans stay unsealed", status.unsealed_span_count);
    end_deletions(&harness);
    check_settled(&harness, workload, &history)?;
    pass_a_minute(&harness, &mut history);
    harness.maintain(1);
    let left = harness.engine().unreferenced().map_err(|error| error.to_string())?;
    ensure!(left.is_empty(), "replaced blocks are never deleted: {left:?}");
    harness.store().close().map_err(|error| error.to_string())?;
    pass_a_minute(&harness, &mut history);
    harness.try_restart()?;
    harness.maintain(1);
    check_settled(&harness, workload, &history)
}

fn pass_a_minute(harness: &Harness, history: &mut History) {
    harness.clock.advance(MINUTE);
    history.events.push(Event::Clock(harness.clock.now().0));
}

fn open(folder: &Path, workload: &Workload, history: &History) -> Result<Harness, String> {
    // The checker needs no sync, whatever durability the child had.
    let backend = Backend::Folder(super::data(folder), Durability::Os);
    Harness::at(backend, workload.config(), history.now() + MINUTE)
        .map_err(|error| format!("it does not open: {error}"))
}

/// The history, with the minute that passes before the checker opens the store.
fn with_reopening(history: &History) -> History {
    let mut history = history.clone();
    history.events.push(Event::Clock(history.now() + MINUTE));
    history
}

/// Runs background work until all deletions are finished.
fn end_deletions(harness: &Harness) {
    eventually("the end of all deletions", || {
        let ended = are_ended(harness);
        if !ended {
            harness.maintain(1);
        }
        ended.then_some(())
    });
}

fn are_ended(harness: &Harness) -> bool {
    let deletions = harness.store().deletions(&TenantId::default()).unwrap();
    deletions.iter().all(|deletion| deletion.finished.is_some())
}

/// Compares after all background work is done.
fn check_settled(harness: &Harness, workload: &Workload, history: &History) -> Result<(), String> {
    let mut model = Model::of(workload, history)?;
    model.settle();
    compare(harness, &model)
}

fn compare(harness: &Harness, model: &Model) -> Result<(), String> {
    let found = everything(harness)?;
    let ended = are_ended(harness);
    check_spans(&found, model, ended)?;
    check_unanswered(&found, model, ended)?;
    let (status, distinct) = (harness.store().status(), found.len() as u64);
    // Spans under deletion are still stored.
    let parts = model.parts.iter().filter(|part| part.may_stay || !ended);
    let copies = parts.map(|part| part.spans.len() as u64).sum();
    ensure!(
        (distinct..=copies).contains(&status.span_count),
        "{} spans are counted, of {distinct} that were sent {copies} times",
        status.span_count
    );
    ensure!(status.damaged_blocks == 0, "{} blocks are damaged", status.damaged_blocks);
    check_pins(harness, model)?;
    check_search(harness, &found)?;
    check_counts(harness, model, ended)
}

/// Every span that must be stored is found once and unchanged, and no span that must be gone.
fn check_spans(found: &BTreeMap<SpanId, Sent>, model: &Model, ended: bool) -> Result<(), String> {
    let most: BTreeMap<SpanId, &Sent> = model.possible().map(|span| (span.id(), span)).collect();
    for (id, span) in found {
        let trace = number_of(span.trace());
        ensure!(most.contains_key(id), "span {id:?} of trace {trace} must be gone, and is there");
        ensure!(most[id] == span, "span {id:?} came back different: {span:?}");
    }
    // Spans that arrive for a trace under deletion stay hidden until its end.
    let seen = |trace: u64| ended || !model.deleted.contains(&trace);
    for (part, span) in model.certain().filter(|(part, _)| seen(part.trace)) {
        let (batch, trace) = (part.batch, part.trace);
        let there = part.found(found);
        ensure!(
            found.contains_key(&span.id()),
            "batch {batch} was acknowledged, and of its {} spans of trace {trace}, {} are lost",
            part.spans.len(),
            part.spans.len() - there
        );
    }
    for part in model.parts.iter().filter(|part| seen(part.trace)) {
        let (batch, trace, there) = (part.batch, part.trace, part.found(found));
        ensure!(
            [0, part.spans.len()].contains(&there),
            "batch {batch} is torn: {there} of {} spans of trace {trace}",
            part.spans.len()
        );
    }
    Ok(())
}

/// Operations without an answer took place as a whole or not at all.
fn check_unanswered(found: &BTreeMap<SpanId, Sent>, model: &Model, ended: bool) -> Result<(), String> {
    let mut copies: BTreeMap<SpanId, u64> = BTreeMap::new();
    model.possible().for_each(|span| *copies.entry(span.id()).or_default() += 1);
    let mut happened: BTreeMap<Unanswered, BTreeSet<bool>> = BTreeMap::new();
    // Traces hidden by an earlier deletion prove nothing.
    let seen = |part: &&BatchPart| ended || !model.surely_deleted.contains(&part.trace);
    for part in model.parts.iter().filter(seen) {
        // A span that was sent twice proves nothing about either sending.
        if let Presence::Depends(operation) = part.presence
            && part.spans.iter().all(|span| copies[&span.id()] == 1)
        {
            happened.entry(operation).or_default().insert(part.found(found) > 0);
        }
    }
    let torn = happened.into_iter().find(|(_, happened)| happened.len() > 1);
    ensure!(torn.is_none(), "half of it happened: {torn:?}");
    Ok(())
}

fn check_pins(harness: &Harness, model: &Model) -> Result<(), String> {
    let pins = harness.store().pins(&TenantId::default());
    let pins: BTreeSet<u64> = pins.into_iter().map(|(trace, _)| number_of(trace)).collect();
    ensure!(pins.is_superset(&model.pinned), "pins of {:?} are lost", &model.pinned - &pins);
    let most = &model.perhaps_pinned;
    ensure!(pins.is_subset(most), "{:?} are pinned, and nobody wants it", &pins - most);
    Ok(())
}

/// Expired spans count once, like stored ones; deleted spans do not count.
fn check_counts(harness: &Harness, model: &Model, ended: bool) -> Result<(), String> {
    let plan =
        AggregatePlan { group_by: GroupBy { operation: true, ..GroupBy::default() }, ..aggregate::plan() };
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for ((_, name, ..), (spans, failed, _)) in aggregate::answer(harness, &plan) {
        let counted = found.entry(name.unwrap_or_default()).or_default();
        *counted = (counted.0 + spans, counted.1 + failed);
    }
    for (name, (all, failed)) in model.counts() {
        let counted = found.remove(&name).unwrap_or_default();
        let fits = |count: u64, (least, most): Bounds| count >= least && (count <= most || !ended);
        ensure!(
            fits(counted.0, all) && fits(counted.1, failed),
            "spans of {name} and failed ones among them count {counted:?}, which must be in {all:?}, {failed:?}"
        );
    }
    ensure!(found.is_empty(), "what nobody sent is counted: {found:?}");
    Ok(())
}

/// Checks a damaged store: it opens or says why not, reports missing spans, returns no span that was not sent, and goes
/// on working. Returns what it reported.
pub fn check_damaged(folder: &Path, workload: &Workload, history: &History) -> Result<DamageReport, String> {
    let harness = match open(folder, workload, history) {
        Ok(harness) => harness,
        Err(why) => return Ok(DamageReport::Refused(why)),
    };
    let model = Model::of(workload, &with_reopening(history))?;
    let sent: BTreeMap<SpanId, &Sent> =
        model.parts.iter().flat_map(|part| &part.spans).map(|span| (span.id(), span)).collect();
    let (mut found, mut told) = (BTreeSet::new(), false);
    for n in 1..=TRACES {
        match harness.store().trace(&TenantId::default(), trace_id(n)) {
            Ok(None) => {}
            Err(_) => told = true,
            Ok(Some(spans)) => {
                let damage = spans.damage();
                for span in spans {
                    let Ok(span) = span else {
                        told = true;
                        continue;
                    };
                    let span = Sent::from_stored(&span);
                    ensure!(sent.get(&span.id()) == Some(&&span), "it gives what nobody sent: {span:?}");
                    found.insert(span.id());
                }
                told |= damage.blocks() > 0;
            }
        }
    }
    let plan = harness::plan(Predicate::All);
    told |= harness.store().search(&TenantId::default(), &plan).map_or(true, |answer| answer.partial);
    told |=
        harness.store().aggregate(&TenantId::default(), &aggregate::plan()).map_or(true, |all| all.partial);
    let status = harness.store().status();
    told |= status.damaged_blocks + status.damaged_records > 0;
    let ended = are_ended(&harness);
    let kept = model.certain().filter(|(part, _)| ended || !model.deleted.contains(&part.trace));
    let most: BTreeSet<SpanId> = model.possible().map(Sent::id).collect();
    ensure!(found.is_subset(&most), "what was deleted is there again: {:?}", &found - &most);
    let missing = kept.filter(|(_, span)| !found.contains(&span.id())).count();
    // It takes new spans, or reports that it cannot.
    let appended = harness.store().append(&TenantId::default(), &[decoded(&workload.batch(LATER))]);
    told |= appended.is_err();
    harness.store().seal_all();
    harness.maintain(2);
    ensure!(missing == 0 || told, "{missing} spans are missing, and nothing says so");
    Ok(if told { DamageReport::Damaged } else { DamageReport::Nothing })
}

/// Every span that lookups by trace ID return.
fn everything(harness: &Harness) -> Result<BTreeMap<SpanId, Sent>, String> {
    let mut found = BTreeMap::new();
    for n in 1..=TRACES {
        let trace = harness.store().trace(&TenantId::default(), trace_id(n));
        let Some(spans) = trace.map_err(|error| error.to_string())? else { continue };
        let damage = spans.damage();
        for span in spans {
            let span = Sent::from_stored(&span.map_err(|error| error.to_string())?);
            ensure!(span.trace() == trace_id(n), "trace {n} holds a span of another: {span:?}");
            ensure!(found.insert(span.id(), span).is_none(), "a span of trace {n} is given twice");
        }
        ensure!(damage.blocks() == 0, "trace {n} is damaged");
    }
    Ok(found)
}

fn check_search(harness: &Harness, found: &BTreeMap<SpanId, Sent>) -> Result<(), String> {
    let answer = harness.search(&harness::plan(Predicate::All));
    ensure!(!answer.partial, "a search is partial");
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    found.values().for_each(|span| *counts.entry(span.trace()).or_default() += 1);
    let answered: BTreeMap<_, u64> = answer.traces.iter().map(|trace| (trace.id, trace.span_count)).collect();
    ensure!(answered == counts, "search counts {answered:?}, by ID there are {counts:?}");
    Ok(())
}
