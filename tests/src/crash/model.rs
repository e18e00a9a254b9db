//! What must, may and must not be in a victim's store, by what it was promised: its notes, told again.
//!
//! Spans of one batch and one trace come and go together: a [`Part`]. Background work may run at any
//! moment, and in which window a part lies is not known for sure where the clock has jumped; so a model
//! says what is certain, and leaves open what is not. It shares nothing with the store.

use std::collections::{BTreeMap, BTreeSet};

use spandrel_proto::SpanId;

use super::story::{COUNTS, TIMES, number_of, time_of};
use super::{Event, Notes, Story};
use crate::oracle;
use crate::spans::{HOUR, Sent};

/// What is known of a victim's store.
pub(super) struct Model {
    pub(super) parts: Vec<Part>,
    /// Traces that are pinned for sure, and those that may be.
    pub(super) pinned: BTreeSet<u64>,
    pub(super) perhaps_pinned: BTreeSet<u64>,
    /// Traces that deletions took, or may have taken.
    pub(super) deleted: BTreeSet<u64>,
    /// Those of them that deletions took for sure.
    pub(super) surely_deleted: BTreeSet<u64>,
    now: u64,
    latest: u64,
    deletions: usize,
}

/// The spans of a trace that one batch held.
pub(super) struct Part {
    pub(super) batch: u64,
    pub(super) trace: u64,
    pub(super) spans: Vec<Sent>,
    pub(super) stays: Stays,
    pub(super) may_stay: bool,
    /// Whether its spans are counted as long as counts are kept: they are there, or a rule let them go.
    counts: bool,
    may_count: bool,
    /// The earliest and the latest hour that its window may be of.
    hours: (u64, u64),
    /// How long its longest-lived span lives.
    lives: u64,
}

/// Whether a part has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stays {
    Surely,
    /// All that this is about is there, or nothing of it.
    Unless(Doubt),
    Perhaps,
}

/// What was asked for and not answered: nobody knows whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// A batch was stored.
    Batch(u64),
    /// Traces were deleted.
    Deletion(usize),
}

/// At least and at most.
pub(super) type Bounds = (u64, u64);

/// The end of an hour that is a time ago.
fn is_over(hour: u64, time: u64, now: u64) -> bool {
    (hour + 1) * HOUR + time <= now
}

/// The longest time that a window has outlived.
fn outlived(hour: u64, now: u64) -> Option<u64> {
    TIMES.into_iter().filter(|time| is_over(hour, *time, now)).max()
}

// === impl Model ===

impl Model {
    /// What follows from some notes; or what is wrong with the answers in them.
    pub(super) fn of(story: &Story, notes: &Notes) -> Result<Self, String> {
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
        for event in &notes.events {
            match event {
                Event::Clock(now) => {
                    model.now = *now;
                    model.latest = model.latest.max(*now);
                }
                Event::Batch { number, acknowledged } => {
                    model.append(*number, &story.batch(*number), *acknowledged);
                }
                Event::Pin { trace, there } => model.pin(*trace, *there)?,
                Event::Unpin { trace, was_pinned } => model.unpin(*trace, *was_pinned)?,
                Event::Delete { mark, traces, accepted } => model.delete(*mark, traces, *accepted)?,
            }
            model.let_go();
        }
        Ok(model)
    }

    fn append(&mut self, batch: u64, spans: &[Sent], acknowledged: bool) {
        let mut traces: BTreeMap<u64, Vec<Sent>> = BTreeMap::new();
        spans.iter().for_each(|span| traces.entry(number_of(span.trace())).or_default().push(span.clone()));
        for (trace, spans) in traces {
            let sure = if acknowledged { Stays::Surely } else { Stays::Unless(Doubt::Batch(batch)) };
            self.parts.push(Part {
                batch,
                trace,
                stays: sure,
                may_stay: true,
                counts: acknowledged,
                may_count: true,
                // The clock may run backwards; windows never do, as long as there is one.
                hours: (self.now / HOUR, self.latest / HOUR),
                lives: spans.iter().map(time_of).max().unwrap(),
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
                if !self.deleted.contains(&trace) && parts.any(|part| part.stays == Stays::Surely) =>
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

    /// What was found by its mark goes, whole, but for what arrives later.
    fn delete(&mut self, mark: u64, traces: &BTreeSet<u64>, accepted: Option<u64>) -> Result<(), String> {
        self.check_found(mark, traces)?;
        if accepted.is_some_and(|accepted| accepted != traces.len() as u64) {
            return Err(format!("{traces:?} have mark {mark}, and {accepted:?} traces are deleted"));
        }
        let doubt = Doubt::Deletion(self.deletions);
        self.deletions += 1;
        for part in self.parts.iter_mut().filter(|part| traces.contains(&part.trace)) {
            part.goes(doubt, accepted.is_some());
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
        let marked: Vec<&Part> = self.parts.iter().filter(|part| part.has_mark(mark)).collect();
        let missed = marked.iter().find(|part| {
            part.stays == Stays::Surely && !self.deleted.contains(&part.trace) && !found.contains(&part.trace)
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

    /// Background work may have let go of whatever nothing keeps.
    fn let_go(&mut self) {
        let going: Vec<usize> = (0..self.parts.len()).filter(|at| !self.is_kept(&self.parts[*at])).collect();
        going.into_iter().for_each(|at| self.parts[at].stays = Stays::Perhaps);
        for part in &mut self.parts {
            part.counts &= part.stays == Stays::Surely || !is_over(part.hours.0, COUNTS, self.now);
        }
    }

    fn is_kept(&self, part: &Part) -> bool {
        let Some(time) = outlived(part.hours.0, self.now) else { return true };
        let keeps = |other: &Part| {
            other.trace == part.trace
                && (other.stays == Stays::Surely || other.stays == part.stays)
                && other.lives > time
                && !is_over(other.hours.0, other.lives, self.now)
        };
        part.stays == Stays::Perhaps || self.pinned.contains(&part.trace) || self.parts.iter().any(keeps)
    }

    /// What must be gone once background work has come to everything.
    pub(super) fn settle(&mut self) {
        let mut lives: BTreeMap<u64, u64> = BTreeMap::new();
        for part in &self.parts {
            let longest = lives.entry(part.trace).or_default();
            *longest = part.lives.max(*longest);
        }
        for part in &mut self.parts {
            let is_pinned = self.perhaps_pinned.contains(&part.trace);
            // Whatever a trace ever had may have kept the rest when its window was looked at.
            let over = outlived(part.hours.1, self.now).is_some_and(|time| lives[&part.trace] <= time);
            part.may_stay &= is_pinned || !over;
            part.may_count &= part.may_stay || !is_over(part.hours.1, COUNTS, self.now);
        }
    }

    /// Every span that must be there.
    pub(super) fn least(&self) -> impl Iterator<Item = (&Part, &Sent)> {
        let sure = self.parts.iter().filter(|part| part.stays == Stays::Surely);
        sure.flat_map(|part| part.spans.iter().map(move |span| (part, span)))
    }

    /// Every span that may be there.
    pub(super) fn most(&self) -> impl Iterator<Item = &Sent> {
        self.parts.iter().filter(|part| part.may_stay).flat_map(|part| &part.spans)
    }

    /// How many spans of a name are counted, and how many failed ones among them.
    pub(super) fn counts(&self) -> BTreeMap<String, (Bounds, Bounds)> {
        let mut counts: BTreeMap<String, (Bounds, Bounds)> = BTreeMap::new();
        let mut seen: BTreeSet<SpanId> = BTreeSet::new();
        for part in &self.parts {
            for span in &part.spans {
                let (all, failed) = counts.entry(span.span.name.clone()).or_default();
                // Copies of a span may have become one.
                let least = u64::from((part.counts || part.stays == Stays::Surely) && seen.insert(span.id()));
                let most = u64::from(part.may_count);
                let is_failed = u64::from(oracle::failed(span));
                *all = (all.0 + least, all.1 + most);
                *failed = (failed.0 + least * is_failed, failed.1 + most * is_failed);
            }
        }
        counts
    }
}

// === impl Part ===

impl Part {
    /// Its trace is deleted, or perhaps.
    fn goes(&mut self, doubt: Doubt, surely: bool) {
        // A rule may have let it go before: then it counts.
        self.may_count &= !surely || self.stays != Stays::Surely;
        self.may_stay &= !surely;
        self.counts = false;
        self.stays = match self.stays {
            Stays::Surely if !surely => Stays::Unless(doubt),
            _ => Stays::Perhaps,
        };
    }

    fn has_mark(&self, mark: u64) -> bool {
        self.spans.iter().any(|span| oracle::matches(&super::story::marked(mark), span))
    }

    /// How many of its spans were found.
    pub(super) fn found(&self, all: &BTreeMap<SpanId, Sent>) -> usize {
        self.spans.iter().filter(|span| all.contains_key(&span.id())).count()
    }
}
