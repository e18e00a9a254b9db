//! What has to hold when a victim's store is opened again: what was acknowledged is there, whole and
//! once, what was refused or on its way is there as a whole or not at all, and the store works on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use spandrel_proto::{SpanId, TenantId};
use spandrel_rocks::Durability;
use spandrel_storage::TraceStore as _;
use spandrel_storage::plan::Predicate;

use super::story::TRACES;
use super::{Diary, Notes, Story, config};
use crate::contract::aggregate;
use crate::harness::{self, Ground, Harness};
use crate::spans::{MINUTE, Sent, decoded, trace_id};

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

/// What a damaged store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Nothing: everything is there.
    Nothing,
    /// That not everything can be read.
    Damaged,
    /// Why it does not open.
    Refused(String),
}

/// A batch that no story comes to.
const LATER: u64 = 1_000_000;

/// Opens what a victim left, and compares it with what it was promised.
pub fn verdict(folder: &Path, story: &Story, notes: &Notes) -> Result<(), String> {
    compare(&open(folder, notes)?, story, notes)
}

/// Goes on with what a victim left: nothing may be lost or come back while the store appends, merges,
/// drops what is over, closes and opens.
pub fn still_works(folder: &Path, story: &Story, notes: &Notes) -> Result<(), String> {
    let mut harness = open(folder, notes)?;
    let mut notes = notes.clone();
    for number in LATER..LATER + 3 {
        notes.begun.insert(number, notes.clocks.len() - 1);
        let spans = decoded(&story.batch(number));
        let appended = harness.store().append(&TenantId::default(), &[spans]);
        appended.map_err(|error| format!("it takes nothing any more: {error}"))?;
        notes.acknowledged.insert(number);
        harness.maintain(1);
        compare(&harness, story, &notes)?;
    }
    harness.store().seal_all();
    compare(&harness, story, &notes)?;
    let status = harness.store().status();
    ensure!(status.unsealed_span_count == 0, "{} spans stay unsealed", status.unsealed_span_count);
    check_gone(&harness, story, &notes)?;
    harness.maintain(1);
    let left = harness.engine().unreferenced().map_err(|error| error.to_string())?;
    ensure!(left.is_empty(), "replaced blocks are never deleted: {left:?}");
    harness.store().close().map_err(|error| error.to_string())?;
    harness.clock.advance(MINUTE);
    harness.try_restart()?;
    compare(&harness, story, &notes)?;
    check_gone(&harness, story, &notes)
}

fn open(folder: &Path, notes: &Notes) -> Result<Harness, String> {
    // Whatever the victim was promised: the one that looks at it needs no sync.
    let ground = Ground::Folder(super::data(folder), Durability::Os);
    Harness::at(ground, config(), notes.now() + MINUTE).map_err(|error| format!("it does not open: {error}"))
}

fn compare(harness: &Harness, story: &Story, notes: &Notes) -> Result<(), String> {
    let found = everything(harness)?;
    let batches: BTreeMap<u64, Vec<Sent>> = notes.begun.keys().map(|n| (*n, story.batch(*n))).collect();
    let sent: BTreeMap<SpanId, &Sent> = batches.values().flatten().map(|span| (span.id(), span)).collect();
    for (id, span) in &found {
        ensure!(sent.get(id).is_some_and(|sent| *sent == span), "span {id:?} came back different: {span:?}");
    }
    let mut copies = 0;
    for (number, spans) in &batches {
        let there = spans.iter().filter(|span| found.contains_key(&span.id())).count();
        ensure!(
            there == spans.len() || !notes.is_kept(*number),
            "batch {number} was acknowledged, and {} of its {} spans are lost",
            spans.len() - there,
            spans.len()
        );
        ensure!([0, spans.len()].contains(&there), "batch {number} is torn: {there} of {}", spans.len());
        copies += there as u64;
    }
    let (status, distinct) = (harness.store().status(), found.len() as u64);
    ensure!(
        (distinct..=copies).contains(&status.span_count),
        "{} spans are counted, of {distinct} that were sent {copies} times",
        status.span_count
    );
    ensure!(status.damaged_blocks == 0, "{} blocks are damaged", status.damaged_blocks);
    check_search(harness, &found)?;
    let counted: u64 = aggregate::answer(harness, &aggregate::plan()).values().map(|point| point.0).sum();
    ensure!((distinct..=copies).contains(&counted), "{counted} requests of {distinct} to {copies}");
    Ok(())
}

/// Looks at a store that somebody damaged: what it refuses to open, it says why; what is missing, it
/// says that something is; what is there is what was sent, and it goes on working. Returns what it said.
pub fn honest(folder: &Path, story: &Story, notes: &Notes) -> Result<Said, String> {
    let harness = match open(folder, notes) {
        Ok(harness) => harness,
        Err(why) => return Ok(Said::Refused(why)),
    };
    let sent: BTreeMap<SpanId, Sent> =
        notes.begun.keys().flat_map(|n| story.batch(*n)).map(|span| (span.id(), span)).collect();
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
                    ensure!(sent.get(&span.id()) == Some(&span), "it gives what nobody sent: {span:?}");
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
    told |= harness.store().status().damaged_blocks > 0;
    let kept = notes.begun.keys().filter(|number| notes.is_kept(**number));
    let missing = kept.flat_map(|n| story.batch(*n)).filter(|span| !found.contains(&span.id())).count();
    // It goes on working, or says what keeps it from that.
    let appended = harness.store().append(&TenantId::default(), &[decoded(&story.batch(LATER))]);
    told |= appended.is_err();
    harness.store().seal_all();
    harness.maintain(2);
    ensure!(missing == 0 || told, "{missing} spans are missing, and nothing says so");
    Ok(if told { Said::Damaged } else { Said::Nothing })
}

/// Every span that is found by the ID of its trace.
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

/// After a round of background work.
fn check_gone(harness: &Harness, story: &Story, notes: &Notes) -> Result<(), String> {
    let stays: BTreeSet<SpanId> = notes
        .begun
        .keys()
        .filter(|number| !notes.is_gone(**number))
        .flat_map(|number| story.batch(*number))
        .map(|span| span.id())
        .collect();
    let over = everything(harness)?.into_keys().find(|id| !stays.contains(id));
    ensure!(over.is_none(), "span {over:?} is past its retention, and is there");
    Ok(())
}

/// Reads a victim's diary.
pub fn notes(folder: &Path) -> Notes {
    Diary::read(&super::diary(folder))
}
