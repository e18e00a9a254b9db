//! A compiled list of rules. Compiling happens once for all requests; conditions on a resource are decided once for it.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use spandrel_proto::TenantId;

use crate::condition::{Node, ResourceConditions};
use crate::counts::{Counts, Done};
use crate::edits::Edits;
use crate::facts::{Facts, Keys, text_in};
use crate::selector::{Key, Level, Selector, Subject};

/// Rules in their order.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) keys: Keys,
    pub(crate) conditions: ResourceConditions,
    /// The rules as they were written, as JSON.
    pub(crate) written: Vec<Value>,
    /// What resources decide, of those that were seen lately.
    pub(crate) outlooks: Mutex<FxHashMap<Box<[u8]>, Arc<Outlook>>>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// Empty for all.
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) condition: Node,
    /// Whether the condition asks for something that only a span has, and a log record has not.
    pub(crate) asks_span: bool,
    /// Without any of these attributes of the span the condition does not hold, so that most spans need no other look.
    pub(crate) needs: Option<Vec<usize>>,
    pub(crate) fate: Fate,
    pub(crate) edits: Edits,
    pub(crate) trigger: Trigger,
    pub(crate) counts: Arc<Counts>,
}

/// Whether the spans of a rule stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Goes,
    /// Those of traces whose hash is below this stay.
    Share(u64),
}

/// What of a span makes it worth to look whether the changes of a rule concern it. Most do not, and are spared the walk.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    pub(crate) resource: bool,
    pub(crate) scope: bool,
    always: bool,
    /// Attributes of the span, by the numbers of their keys.
    slots: Vec<usize>,
    /// Those that are cut, with the lengths that they may have.
    cuts: Vec<(usize, usize)>,
    patterns: Vec<usize>,
    events: bool,
    links: bool,
    name: bool,
    status_message: bool,
    /// A redaction that looks everywhere.
    texts: bool,
    /// It also looks at numbers.
    numbers: bool,
}

/// What a resource decides of the rules.
#[derive(Debug)]
pub(crate) struct Outlook {
    /// The rules that may match spans of this resource, in their order, and whether they match all of them.
    pub(crate) rules: Vec<(u16, bool)>,
    /// For each condition on resources, whether it holds.
    pub(crate) holds: Vec<bool>,
}

/// A rule and what it has done, for those who ask.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReport<'r> {
    /// Its name.
    pub name: &'r str,
    /// The rule as it was written, as JSON.
    pub written: &'r Value,
    /// What it has done since the start.
    pub done: Done,
}

/// The most resources whose outlook is remembered.
const MAX_OUTLOOKS: usize = 1024;
/// Larger resources are not remembered.
const MAX_REMEMBERED_BYTES: usize = 16 << 10;

// === impl RuleSet ===

impl RuleSet {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules as a JSON list, as they were written.
    pub fn written(&self) -> &[Value] {
        &self.written
    }

    /// Each rule with what it has done.
    pub fn reports(&self) -> impl Iterator<Item = RuleReport<'_>> {
        let report = |(rule, written)| {
            let (rule, written): (&Rule, &Value) = (rule, written);
            RuleReport { name: &rule.name, written, done: rule.counts.done() }
        };
        self.rules.iter().zip(&self.written).map(report)
    }

    pub(crate) fn concerns(&self, tenant: &TenantId) -> bool {
        self.rules.iter().any(|rule| rule.concerns(tenant))
    }

    /// What a resource decides.
    pub(crate) fn outlook(&self, resource: &[u8]) -> Arc<Outlook> {
        if let Some(known) = self.outlooks.lock().get(resource) {
            return known.clone();
        }
        let holds = self.conditions.decide(resource);
        let known = |(number, rule): (usize, &Rule)| match rule.condition.outlook(&holds) {
            Some(false) => None,
            Some(true) => Some((number as u16, true)),
            None => Some((number as u16, false)),
        };
        let rules = self.rules.iter().enumerate().filter_map(known).collect();
        let outlook = Arc::new(Outlook { rules, holds });
        if resource.len() <= MAX_REMEMBERED_BYTES {
            let mut outlooks = self.outlooks.lock();
            // The senders of a moment are few, so a full memory is one of the past.
            if outlooks.len() >= MAX_OUTLOOKS {
                outlooks.clear();
            }
            outlooks.insert(resource.into(), outlook.clone());
        }
        outlook
    }
}

// === impl Rule ===

impl Rule {
    pub(crate) fn concerns(&self, tenant: &TenantId) -> bool {
        self.tenants.is_empty() || self.tenants.contains(tenant)
    }

    /// Whether the condition may hold for a span. `false` is sure.
    #[inline]
    pub(crate) fn may_match(&self, facts: &Facts) -> bool {
        self.needs.as_ref().is_none_or(|slots| slots.iter().any(|slot| facts.has(*slot)))
    }
}

// === impl Trigger ===

impl Trigger {
    /// What makes a span worth a look for these changes.
    pub(crate) fn of(edits: &Edits, keys: &mut Keys) -> Self {
        let mut trigger = Self { name: edits.fold.is_some(), ..Self::default() };
        for (level, from, _) in &edits.rename {
            let key = Key::Names(vec![from.clone()]);
            trigger.add(&Selector { level: Some(*level), key }, keys);
        }
        for (level, ..) in &edits.set {
            match level {
                Level::Span => trigger.always = true,
                level => trigger.add_level(*level),
            }
        }
        edits.remove.iter().for_each(|selector| trigger.add(selector, keys));
        edits.hash.iter().flat_map(|hash| &hash.selectors).for_each(|selector| trigger.add(selector, keys));
        for (subject, length) in &edits.cut {
            trigger.add_cut(subject, *length, keys);
        }
        if let Some(redaction) = &edits.redact {
            match &redaction.subjects {
                Some(subjects) => subjects.iter().for_each(|subject| trigger.add_subject(subject, keys)),
                None => {
                    trigger.texts = true;
                    trigger.numbers = redaction.looks_at_numbers();
                    keys.notes_numbers |= trigger.numbers;
                    (trigger.resource, trigger.scope) = (true, true);
                }
            }
        }
        trigger
    }

    fn add_cut(&mut self, subject: &Subject, length: usize, keys: &mut Keys) {
        match subject {
            Subject::Attributes(Selector { level: Some(Level::Span), key: Key::Names(names) }) => {
                self.cuts.extend(names.iter().map(|name| (keys.number(name), length)));
            }
            subject => self.add_subject(subject, keys),
        }
    }

    fn add_subject(&mut self, subject: &Subject, keys: &mut Keys) {
        match subject {
            Subject::Attributes(selector) => self.add(selector, keys),
            Subject::Name => self.name = true,
            Subject::StatusMessage => self.status_message = true,
            Subject::EventName => self.events = true,
            // Log records are looked at in any case.
            Subject::LogBody => {}
        }
    }

    fn add(&mut self, selector: &Selector, keys: &mut Keys) {
        for level in Level::ALL.into_iter().filter(|level| selector.is_on(*level) && *level != Level::Span) {
            self.add_level(level);
        }
        if selector.is_on(Level::Span) {
            match &selector.key {
                Key::Names(names) => self.slots.extend(names.iter().map(|name| keys.number(name))),
                Key::Pattern(_) => self.patterns.push(keys.pattern(selector)),
            }
        }
    }

    fn add_level(&mut self, level: Level) {
        match level {
            Level::Resource => self.resource = true,
            Level::Scope => self.scope = true,
            Level::Event => self.events = true,
            Level::Link => self.links = true,
            Level::Span => {}
        }
    }

    pub(crate) fn needs_facts(&self) -> bool {
        self.events
            || self.links
            || self.name
            || self.status_message
            || self.numbers
            || !self.slots.is_empty()
            || !self.cuts.is_empty()
            || !self.patterns.is_empty()
    }

    /// Whether the changes may concern a span.
    pub(crate) fn fires(&self, edits: &Edits, facts: &Facts, span: &[u8]) -> bool {
        self.always
            || self.slots.iter().any(|slot| facts.has(*slot))
            || self.cuts.iter().any(|(slot, length)| facts.is_longer(*slot, *length))
            || self.patterns.iter().any(|pattern| facts.has_pattern(*pattern))
            || self.events && facts.has_events
            || self.links && facts.has_links
            || self.status_message && facts.status_message.1 > 0
            || self.numbers && facts.may_have_long_numbers()
            || self.texts && edits.redact.as_ref().is_some_and(|redaction| redaction.may_find(span))
            || self.name && edits.changes_name(text_in(span, facts.name))
    }
}
