//! The model of a child's store: it replays the history and derives which spans must, may and must not be there.
//!
//! The spans of one trace in one batch come and go together: a [`BatchPart`]. Background work may run at any moment,
//! and after a clock jump the window of a part is uncertain, so the model separates certain from possible. It shares no
//! code with the store.

use std::collections::{BTreeMap, BTreeSet};

use spandrel_proto::SpanId;

use super::workload::{LIFETIMES, ROLLUP_RETENTION, lifetime_of, number_of};
use super::{Event, History, Workload};
use crate::oracle;
use crate::spans::{HOUR, Sent};

/// The state of a child's store, as far as its history determines it.
pub(super) struct Model {
    pub(super) parts: Vec<BatchPart>,
    /// Traces that are certainly pinned, and those that may be.
    pub(super) pinned: BTreeSet<u64>,
    pub(super) perhaps_pinned: BTreeSet<u64>,
    /// Traces that a deletion took or may have taken.
    pub(super) deleted: BTreeSet<u64>,
    /// Traces that a deletion certainly took.
    pub(super) surely_deleted: BTreeSet<u64>,
    now: u64,
    latest: u64,
    deletions: usize,
}

/// The spans of a trace that one batch held.
pub(super) struct BatchPart {
    pub(super) batch: u64,
    pub(super) trace: u64,
    pub(super) spans: Vec<Sent>,
    pub(super) presence: Presence,
    pub(super) may_stay: bool,
    /// Whether aggregates count its spans while rollups are kept: they are stored, or expired by a rule.
    counts: bool,
    may_count: bool,
    /// The earliest and the latest hour of its window.
    hours: (u64, u64),
    /// The lifetime of its longest-lived span.
    lifetime: u64,
}

/// Whether a part has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    Certain,
    /// It is there if and only if an operation without an answer took place, or did not.
    Depends(Unanswered),
    Possible,
}

/// An operation without an answer: it took place or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unanswered {
    /// The append of a batch.
    Batch(u64),
    /// A deletion, by its number.
    Deletion(usize),
}

/// The least and the most of a count.
pub(super) type Bounds = (u64, u64);

/// Whether an hour ended at least `time` ago.
fn is_over(hour: u64, time: u64, now: u64) -> bool {
    (hour + 1) * HOUR + time <= now
}

/// The longest lifetime that is over for all spans of a window.
fn longest_over(hour: u64, now: u64) -> Option<u64> {
    LIFETIMES.into_iter().filter(|time| is_over(hour, *time, now)).max()
}

// === impl Model ===

impl Model {
    /// Replays a history; an error names an answer that contradicts it.
    pub(super) fn of(workload: &Workload, history: &History) -> Result<Self, String> {
        let mut model = Self {
            parts: Vec::new(),
            pinned: BTreeSet::new(),
            perhaps_pinned: BTreeSet::new(),
            deleted: BTreeSet::new(),
            surely_deleted: BTreeSet::new(),
            now: 0,
            latest: 0,
            deletions: 0,
        };
        for event in &history.events {
            match event {
                Event::Clock(now) => {
                    model.now = *now;
                    model.latest = model.latest.max(*now);
                }
                Event::Batch { number, acknowledged } => {
                    model.append(*number, &workload.batch(*number), *acknowledged);
                }
                Event::Pin { trace, there } => model.pin(*trace, *there)?,
                Event::Unpin { trace, was_pinned } => model.unpin(*trace, *was_pinned)?,
                Event::Delete { mark, traces, accepted } => model.delete(*mark, traces, *accepted)?,
            }
            model.expire();
        }
        Ok(model)
    }

    fn append(&mut self, batch: u64, spans: &[Sent], acknowledged: bool) {
        let mut traces: BTreeMap<u64, Vec<Sent>> = BTreeMap::new();
        spans.iter().for_each(|span| traces.entry(number_of(span.trace())).or_default().push(span.clone()));
        for (trace, spans) in traces {
            let sure =
                if acknowledged { Presence::Certain } else { Presence::Depends(Unanswered::Batch(batch)) };
            self.parts.push(BatchPart {
                batch,
                trace,
                presence: sure,
                may_stay: true,
                counts: acknowledged,
                may_count: true,
                // The clock may run backwards, but no window opens before the last one.
                hours: (self.now / HOUR, self.latest / HOUR),
                lifetime: spans.iter().map(lifetime_of).max().unwrap(),
                spans,
            });
        }
    }

    fn pin(&mut self, trace: u64, there: Option<bool>) -> Result<(), String> {
        let mut parts = self.parts.iter().filter(|part| part.trace == trace);
        match there {
            Some(true) if !parts.any(|part| part.may_stay) => {
                Err(format!("trace {trace} is gone, and is pinned"))
            }
            Some(false)
                if !self.deleted.contains(&trace) && parts.any(|part| part.presence == Presence::Certain) =>
            {
                Err(format!("trace {trace} is there, and is not found to be pinned"))
            }
            Some(false) => Ok(()),
            answer => {
                self.perhaps_pinned.insert(trace);
                self.pinned.extend(answer.map(|_| trace));
                Ok(())
            }
        }
    }

    fn unpin(&mut self, trace: u64, was_pinned: Option<bool>) -> Result<(), String> {
        if was_pinned == Some(false) && self.pinned.contains(&trace) {
            return Err(format!("the pin of trace {trace} was lost"));
        }
        self.pinned.remove(&trace);
        if was_pinned == Some(true) {
            self.perhaps_pinned.remove(&trace);
        }
        Ok(())
    }

    /// Deletes whole traces, except for spans that arrive later.
    fn delete(&mut self, mark: u64, traces: &BTreeSet<u64>, accepted: Option<u64>) -> Result<(), String> {
        self.check_found(mark, traces)?;
        if accepted.is_some_and(|accepted| accepted != traces.len() as u64) {
            return Err(format!("{traces:?} have mark {mark}, and {accepted:?} traces are deleted"));
        }
        let operation = Unanswered::Deletion(self.deletions);
        self.deletions += 1;
        for part in self.parts.iter_mut().filter(|part| traces.contains(&part.trace)) {
            part.delete(operation, accepted.is_some());
        }
        self.deleted.extend(traces);
        self.pinned.retain(|trace| !traces.contains(trace));
        if accepted.is_some() {
            self.surely_deleted.extend(traces);
            self.perhaps_pinned.retain(|trace| !traces.contains(trace));
        }
        Ok(())
    }

    fn check_found(&self, mark: u64, found: &BTreeSet<u64>) -> Result<(), String> {
        let marked: Vec<&BatchPart> = self.parts.iter().filter(|part| part.has_mark(mark)).collect();
        let missed = marked.iter().find(|part| {
            part.presence == Presence::Certain
                && !self.deleted.contains(&part.trace)
                && !found.contains(&part.trace)
        });
        if let Some(part) = missed {
            return Err(format!("trace {} has mark {mark}, and is not found by it", part.trace));
        }
        let is_there = |trace: &&u64| marked.iter().any(|part| part.trace == **trace && part.may_stay);
        match found.iter().find(|trace| !is_there(trace)) {
            Some(trace) => Err(format!("trace {trace} is found by mark {mark}, and has none")),
            None => Ok(()),
        }
    }

    /// Background work may have expired every part that nothing keeps.
    fn expire(&mut self) {
        let going: Vec<usize> = (0..self.parts.len()).filter(|at| !self.is_kept(&self.parts[*at])).collect();
        going.into_iter().for_each(|at| self.parts[at].presence = Presence::Possible);
        for part in &mut self.parts {
            part.counts &=
                part.presence == Presence::Certain || !is_over(part.hours.0, ROLLUP_RETENTION, self.now);
        }
    }

    fn is_kept(&self, part: &BatchPart) -> bool {
        let Some(time) = longest_over(part.hours.0, self.now) else { return true };
        let keeps = |other: &BatchPart| {
            other.trace == part.trace
                && (other.presence == Presence::Certain || other.presence == part.presence)
                && other.lifetime > time
                && !is_over(other.hours.0, other.lifetime, self.now)
        };
        part.presence == Presence::Possible
            || self.pinned.contains(&part.trace)
            || self.parts.iter().any(keeps)
    }

    /// Marks the parts that must be gone after all background work is done.
    pub(super) fn settle(&mut self) {
        let mut longest_of: BTreeMap<u64, u64> = BTreeMap::new();
        for part in &self.parts {
            let longest = longest_of.entry(part.trace).or_default();
            *longest = part.lifetime.max(*longest);
        }
        for part in &mut self.parts {
            let is_pinned = self.perhaps_pinned.contains(&part.trace);
            // Any span that the trace ever had may have kept the rest when retention looked at the window.
            let over =
                longest_over(part.hours.1, self.now).is_some_and(|time| longest_of[&part.trace] <= time);
            part.may_stay &= is_pinned || !over;
            part.may_count &= part.may_stay || !is_over(part.hours.1, ROLLUP_RETENTION, self.now);
        }
    }

    /// Every span that must be there.
    pub(super) fn certain(&self) -> impl Iterator<Item = (&BatchPart, &Sent)> {
        let sure = self.parts.iter().filter(|part| part.presence == Presence::Certain);
        sure.flat_map(|part| part.spans.iter().map(move |span| (part, span)))
    }

    /// Every span that may be there.
    pub(super) fn possible(&self) -> impl Iterator<Item = &Sent> {
        self.parts.iter().filter(|part| part.may_stay).flat_map(|part| &part.spans)
    }

    /// The bounds of the counts of all spans and of failed spans, by name.
    pub(super) fn counts(&self) -> BTreeMap<String, (Bounds, Bounds)> {
        let mut counts: BTreeMap<String, (Bounds, Bounds)> = BTreeMap::new();
        let mut seen: BTreeSet<SpanId> = BTreeSet::new();
        for part in &self.parts {
            for span in &part.spans {
                let (all, failed) = counts.entry(span.span.name.clone()).or_default();
                // Duplicates of a span may have been merged into one.
                let least =
                    u64::from((part.counts || part.presence == Presence::Certain) && seen.insert(span.id()));
                let most = u64::from(part.may_count);
                let is_failed = u64::from(oracle::failed(span));
                *all = (all.0 + least, all.1 + most);
                *failed = (failed.0 + least * is_failed, failed.1 + most * is_failed);
            }
        }
        counts
    }
}

// === impl BatchPart ===

impl BatchPart {
    /// A deletion took its trace, or may have taken it.
    fn delete(&mut self, operation: Unanswered, surely: bool) {
        // If a rule expired it before, it still counts.
        self.may_count &= !surely || self.presence != Presence::Certain;
        self.may_stay &= !surely;
        self.counts = false;
        self.presence = match self.presence {
            Presence::Certain if !surely => Presence::Depends(operation),
            _ => Presence::Possible,
        };
    }

    fn has_mark(&self, mark: u64) -> bool {
        self.spans.iter().any(|span| oracle::matches(&super::workload::marked(mark), span))
    }

    /// The number of its spans among all that were found.
    pub(super) fn found(&self, all: &BTreeMap<SpanId, Sent>) -> usize {
        self.spans.iter().filter(|span| all.contains_key(&span.id())).count()
    }
}
