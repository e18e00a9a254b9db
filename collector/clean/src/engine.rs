//! Applies rules to the spans of one request.
//!
//! What a resource decides of the rules is remembered for the resource. A span is read once, if a rule is left that asks it
//! something, and written anew only where a rule changes it. Spans that stay as they are stay where they are.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use spandrel_proto::otlp::Decoded;
use spandrel_proto::{TenantId, TraceId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::condition::View;
use crate::counts::Done;
use crate::edits::parts_of;
use crate::facts::Facts;
use crate::rules::{Fate, Outlook, Rule, RuleSet};

/// What was done to one request, to be counted when it is answered.
#[derive(Debug, Default)]
pub struct Tally {
    rules: Option<Arc<RuleSet>>,
    done: Vec<Done>,
}

/// One request while it is cleaned.
struct Pass<'r> {
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
}

/// What is left of a span.
enum Left {
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
        mut grow: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Tally, E> {
        if !self.concerns(tenant) || decoded.spans.is_empty() {
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
        let (mut rewritten, mut granted) = (Vec::new(), 0);
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
            let left = pass.span(span.trace_id, &body[span.at.clone()], &mut span.resource, &mut span.scope);
            let changed: Vec<u8> = match left {
                Left::Nothing => return false,
                Left::Same => return true,
                Left::Changed(changed) => changed,
            };
            if rewritten.len() + changed.len() > granted {
                let more = STEP.max(changed.len());
                granted += more;
                failed = grow(more).err();
            }
            let begin = body.len() + rewritten.len();
            rewritten.extend_from_slice(&changed);
            span.at = begin..begin + changed.len();
            true
        });
        decoded.spans = spans;
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
    fn span(&mut self, trace_id: TraceId, original: &[u8], resource: &mut u32, scope: &mut u32) -> Left {
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
            if !rule.concerns(self.tenant) {
                continue;
            }
            let bytes = now.as_deref().unwrap_or(original);
            if !is_sure {
                if !std::mem::replace(&mut is_read, true) {
                    self.facts.read(bytes, &self.rules.keys);
                }
                if !self.holds(rule, bytes, trace_id, (*resource, *scope), &outlook) {
                    continue;
                }
            }
            let done = &mut self.done[usize::from(number)];
            done.matched += 1;
            if rule.fate.drops(trace_id) {
                done.dropped += 1;
                done.dropped_bytes += original.len() as u64;
                return Left::Nothing;
            }
            let mut changed = false;
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
            if rule.trigger.needs_facts() && !std::mem::replace(&mut is_read, true) {
                self.facts.read(bytes, &self.rules.keys);
            }
            if rule.trigger.fires(&rule.edits, &self.facts, bytes)
                && let Some(edited) = rule.edits.span(bytes)
            {
                (now, is_read, changed) = (Some(edited), false, true);
            }
            self.done[usize::from(number)].changed += u64::from(changed);
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
        Self { list, made: FxHashMap::default() }
    }

    /// What a rule makes of one of the list.
    fn make(&mut self, rule: u16, at: u32, edit: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> u32 {
        let list = &mut self.list;
        *self.made.entry((rule, at)).or_insert_with(|| match edit(&list[at as usize]) {
            None => at,
            Some(bytes) => {
                list.push(bytes.into());
                list.len() as u32 - 1
            }
        })
    }
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
