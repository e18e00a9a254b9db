//! Applies rules to the spans of one request.
//!
//! What a resource decides of the rules is remembered for the resource. A span is read once, if a rule is left that asks it
//! something, and written anew only where a rule changes it. Spans that stay as they are stay where they are.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::{Decoded, DecodedSpan};
use spandrel_proto::{TenantId, TraceId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::condition::View;
use crate::counts::Done;
use crate::edits::parts_of;
use crate::facts::Facts;
use crate::logs::LeftRows;
use crate::rules::{Fate, Outlook, Rule, RuleSet};

/// What was done to one request, to be counted when it is answered.
#[derive(Debug, Default)]
pub struct Tally {
    rules: Option<Arc<RuleSet>>,
    done: Vec<Done>,
}

/// Is shown what rules do, step by step.
pub trait Watch {
    /// A rule has matched a span, and this is what it has made of it: `None` where it has dropped it.
    fn step(&mut self, rule: usize, before: Seen<'_>, after: Option<Seen<'_>>);
}

/// A span between two rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'s> {
    /// A `Span` message.
    pub span: &'s [u8],
    /// A `ResourceSpans` message without its scope spans.
    pub resource: &'s [u8],
    /// A `ScopeSpans` message without its spans.
    pub scope: &'s [u8],
}

/// One request while it is cleaned.
pub(crate) struct Pass<'r> {
    rules: &'r RuleSet,
    tenant: &'r TenantId,
    resources: Around,
    scopes: Around,
    /// Of each resource that was looked at.
    outlooks: Vec<Option<Arc<Outlook>>>,
    done: Vec<Done>,
    facts: Facts,
}

/// Resources or scopes, with those that rules have made of them.
struct Around {
    list: Vec<Bytes>,
    /// What a rule makes of one: itself, if the rule changes nothing.
    made: FxHashMap<(u16, u32), u32>,
    /// The bytes of those.
    made_bytes: usize,
}

/// What the rules are applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Span,
    /// A row with one log record.
    Log,
}

/// What is left of a span.
pub(crate) enum Left {
    Nothing,
    Same,
    Changed(Vec<u8>),
}

/// Another seed would keep other traces, so it stays what it is.
const KEEP_SEED: u64 = 0x7370_616e_6472_656c;
/// Memory for spans that are written anew is asked for in such steps.
const STEP: usize = 64 << 10;

// === impl RuleSet ===

impl RuleSet {
    /// Cleans a request. `grow` asks for the memory that changed spans take; its error ends the work.
    pub fn apply<E>(
        self: &Arc<Self>,
        decoded: &mut Decoded,
        tenant: &TenantId,
        grow: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Tally, E> {
        self.apply_watched(decoded, tenant, grow, &mut ())
    }

    /// The same, step by step before the eyes of another.
    pub fn apply_watched<E>(
        self: &Arc<Self>,
        decoded: &mut Decoded,
        tenant: &TenantId,
        mut grow: impl FnMut(usize) -> Result<(), E>,
        watch: &mut impl Watch,
    ) -> Result<Tally, E> {
        if !self.concerns(tenant) || decoded.spans.is_empty() && decoded.logs.is_empty() {
            return Ok(Tally::default());
        }
        let mut pass = Pass {
            rules: self,
            tenant,
            resources: Around::new(std::mem::take(&mut decoded.resources)),
            scopes: Around::new(std::mem::take(&mut decoded.scopes)),
            outlooks: Vec::new(),
            done: vec![Done::default(); self.rules.len()],
            facts: Facts::default(),
        };
        let (mut rewritten, mut granted, mut granted_around) = (Vec::new(), 0, 0);
        let mut spans = std::mem::take(&mut decoded.spans);
        let mut failed = None;
        let sets_on_parts = self.rules.iter().any(|rule| rule.edits.added_bytes(1, 1) > 0);
        let body = decoded.body.clone();
        spans.retain_mut(|span| {
            if failed.is_some() {
                return true;
            }
            if sets_on_parts {
                // A span may have millions of events of two bytes each, and each becomes longer.
                let (events, links) = parts_of(&body[span.at.clone()]);
                let more = self.rules.iter().map(|rule| rule.edits.added_bytes(events, links));
                if let Err(error) = grow(more.fold(0, usize::saturating_add)) {
                    failed = Some(error);
                    return true;
                }
            }
            let original = &body[span.at.clone()];
            let around = (&mut span.resource, &mut span.scope);
            let left = pass.span(Of::Span, span.trace_id, original, around, watch);
            let around = pass.resources.made_bytes + pass.scopes.made_bytes;
            if around > granted_around {
                failed = grow(around - granted_around).err();
                granted_around = around;
            }
            let changed: Vec<u8> = match left {
                Left::Nothing => return false,
                Left::Same => return true,
                Left::Changed(changed) => changed,
            };
            if rewritten.len() + changed.len() > granted {
                let more = STEP.max(changed.len());
                granted += more;
                failed = failed.take().or(grow(more).err());
            }
            let begin = body.len() + rewritten.len();
            rewritten.extend_from_slice(&changed);
            span.at = begin..begin + changed.len();
            true
        });
        decoded.spans = spans;
        for row in std::mem::take(&mut decoded.logs) {
            let left = pass.log_row(row.trace_id, &body[row.at.clone()], (row.resource, row.scope));
            let Some(LeftRows { rows, dropped }) = left else {
                decoded.logs.push(row);
                continue;
            };
            decoded.log_records = decoded.log_records.saturating_sub(dropped);
            for (resource, scope, changed) in rows {
                failed = failed.or_else(|| grow(changed.len()).err());
                let begin = body.len() + rewritten.len();
                rewritten.extend_from_slice(&changed);
                let at = begin..begin + changed.len();
                decoded.logs.push(DecodedSpan { resource, scope, at, ..row.clone() });
            }
        }
        decoded.resources = pass.resources.list;
        decoded.scopes = pass.scopes.list;
        decoded.rewritten = rewritten.into();
        match failed {
            Some(error) => Err(error),
            None => Ok(Tally { rules: Some(self.clone()), done: pass.done }),
        }
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// Takes a span through the rules. Its resource and scope may become others.
    pub(crate) fn span(
        &mut self,
        of: Of,
        trace_id: TraceId,
        original: &[u8],
        (resource, scope): (&mut u32, &mut u32),
        watch: &mut impl Watch,
    ) -> Left {
        let mut outlook = self.outlook(*resource);
        let (mut now, mut is_read): (Option<Vec<u8>>, bool) = (None, false);
        let (mut at, mut next) = (0, 0);
        while let Some((number, is_sure)) = outlook.rules.get(at).copied() {
            at += 1;
            if number < next {
                continue;
            }
            next = number + 1;
            let rule = &self.rules.rules[usize::from(number)];
            if !rule.concerns(self.tenant) || of == Of::Log && rule.asks_span {
                continue;
            }
            let bytes = now.as_deref().unwrap_or(original);
            if !is_sure {
                if !std::mem::replace(&mut is_read, true) {
                    self.facts.read(bytes, &self.rules.keys);
                }
                let is_match = rule.may_match(&self.facts)
                    && self.holds(rule, bytes, trace_id, (*resource, *scope), &outlook);
                if !is_match {
                    continue;
                }
            }
            let done = &mut self.done[usize::from(number)];
            done.matched += 1;
            if rule.fate.drops(trace_id) {
                done.dropped += 1;
                done.dropped_bytes += original.len() as u64;
                watch.step(number.into(), self.seen(bytes, *resource, *scope), None);
                return Left::Nothing;
            }
            let (mut changed, around) = (false, (*resource, *scope));
            if rule.trigger.resource {
                let made = self.resources.make(number, *resource, |bytes| rule.edits.resource(bytes));
                if made != *resource {
                    *resource = made;
                    changed = true;
                    // The rules behind see the new resource.
                    outlook = self.outlook(made);
                    at = 0;
                }
            }
            if rule.trigger.scope {
                let made = self.scopes.make(number, *scope, |bytes| rule.edits.scope(bytes));
                changed |= made != *scope;
                *scope = made;
            }
            if of == Of::Span && rule.trigger.needs_facts() && !std::mem::replace(&mut is_read, true) {
                self.facts.read(bytes, &self.rules.keys);
            }
            let edited = match of {
                Of::Log => rule.edits.log_row(bytes),
                Of::Span if rule.trigger.fires(&rule.edits, &self.facts, bytes) => rule.edits.span(bytes),
                Of::Span => None,
            };
            changed |= edited.is_some();
            self.done[usize::from(number)].changed += u64::from(changed);
            if changed {
                let after = self.seen(edited.as_deref().unwrap_or(bytes), *resource, *scope);
                watch.step(number.into(), self.seen(bytes, around.0, around.1), Some(after));
            }
            if edited.is_some() {
                (now, is_read) = (edited, false);
            }
        }
        now.map_or(Left::Same, Left::Changed)
    }

    fn holds(
        &self,
        rule: &Rule,
        span: &[u8],
        trace_id: TraceId,
        (resource, scope): (u32, u32),
        outlook: &Outlook,
    ) -> bool {
        let view = View {
            keys: &self.rules.keys,
            facts: &self.facts,
            span,
            trace_id,
            resource: &self.resources.list[resource as usize],
            scope: &self.scopes.list[scope as usize],
            of_resource: &outlook.holds,
        };
        view.holds(&rule.condition)
    }

    fn seen<'s>(&'s self, span: &'s [u8], resource: u32, scope: u32) -> Seen<'s> {
        Seen {
            span,
            resource: &self.resources.list[resource as usize],
            scope: &self.scopes.list[scope as usize],
        }
    }

    fn outlook(&mut self, resource: u32) -> Arc<Outlook> {
        let at = resource as usize;
        if self.outlooks.len() <= at {
            self.outlooks.resize(self.resources.list.len().max(at + 1), None);
        }
        let (rules, bytes) = (self.rules, &self.resources.list[at]);
        self.outlooks[at].get_or_insert_with(|| rules.outlook(bytes)).clone()
    }
}

// === impl Around ===

impl Around {
    fn new(list: Vec<Bytes>) -> Self {
        Self { list, made: FxHashMap::default(), made_bytes: 0 }
    }

    /// What a rule makes of one of the list.
    fn make(&mut self, rule: u16, at: u32, edit: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> u32 {
        let (list, made_bytes) = (&mut self.list, &mut self.made_bytes);
        *self.made.entry((rule, at)).or_insert_with(|| match edit(&list[at as usize]) {
            None => at,
            Some(bytes) => {
                *made_bytes += bytes.len();
                list.push(bytes.into());
                list.len() as u32 - 1
            }
        })
    }
}

// === impl Watch ===

/// Nothing looks on.
impl Watch for () {
    #[inline]
    fn step(&mut self, _: usize, _: Seen<'_>, _: Option<Seen<'_>>) {}
}

// === impl Fate ===

impl Fate {
    /// Whether a span of this trace goes. All spans of a trace have the same answer, on every server.
    fn drops(self, trace: TraceId) -> bool {
        match self {
            Self::Stays => false,
            Self::Goes => true,
            Self::Share(kept) => xxh3_64_with_seed(trace.as_bytes(), KEEP_SEED) >= kept,
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Counts what was done.
    pub fn count(&self) {
        let rules = self.rules.iter().flat_map(|rules| &rules.rules);
        for (rule, done) in rules.zip(&self.done).filter(|(_, done)| done.matched > 0) {
            rule.counts.add(done);
        }
    }

    /// The spans that were dropped.
    pub fn dropped(&self) -> u64 {
        self.done.iter().map(|done| done.dropped).sum()
    }

    /// What each rule has done, in their order.
    pub fn done(&self) -> &[Done] {
        &self.done
    }
}
