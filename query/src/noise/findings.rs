//! What of the counted spans is noise, and the rules that would remove it.

use std::collections::{BTreeMap, BTreeSet};

use spandrel_proto::Detector;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::names_peer;

use super::names::{Probe, What, shape};
use super::rules::{RuleText, quoted, span_attribute, text};
use super::share;
use super::tally::{Attribute, Constant, Level, Operation, OperationKey, Personal, Service, Tally};
use crate::answers::NoiseFinding;

/// Fewer spans say nothing about an operation or an attribute.
const FEWEST_SPANS: u64 = 20;
/// An operation that may be polling has this share of all spans at the least, and so many traces of its own.
const POLLING_SHARE: u64 = 50;
const POLLING_TRACES: u64 = 50;
/// Of a hundred polls one is kept: they may mean something.
const POLLS_KEPT: &str = "1%";
/// Names of one shape that are too many.
const MANY_NAMES: usize = 20;
/// What the meaning of spans is taken from: failures, calls, requests.
const MEANINGFUL: [&str; 8] =
    ["http.", "url.", "rpc.", "db.", "messaging.", "error", "exception.", "graphql."];
/// What masks and redactions put in the place of values.
const PLACEHOLDERS: [&str; 8] =
    ["[masked]", "[redacted]", "[card]", "[mail]", "[token]", "[phone]", "[address]", "[key]"];

/// The service that findings are of.
#[derive(Clone, Copy)]
struct Of<'t> {
    tally: &'t Tally,
    name: &'t str,
    service: &'t Service,
}

/// All findings: those that save the most first, then those that save nothing.
pub(super) fn of(tally: &Tally) -> Vec<NoiseFinding> {
    let mut found = Vec::new();
    for (name, service) in &tally.services {
        let of = Of { tally, name, service };
        for (key, operation) in sorted(&service.operations) {
            found.extend(of.probe(key, operation).or_else(|| of.polling(key, operation)));
        }
        found.extend(of.names());
        for ((level, key), attribute) in sorted(&service.attributes) {
            found.extend(of.constant(*level, key, attribute));
            found.extend(of.personal(&level.named(key), key, attribute.personal));
        }
        found.extend(of.personal("name", "name", service.in_names));
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.saved_bytes));
    number_names(&mut found);
    found
}

fn sorted<K: Ord, V>(map: &rustc_hash::FxHashMap<K, V>) -> BTreeMap<&K, &V> {
    map.iter().collect()
}

/// Rules of a list have different names.
fn number_names(found: &mut [NoiseFinding]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for finding in found {
        let name = finding.rule.lines().next().unwrap_or_default().to_owned();
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            // The name is in quotes, at the end of the line.
            let numbered = format!(
                "{} {count}\"",
                name.trim_end_matches('"').get(..80).unwrap_or(&name[..name.len() - 1])
            );
            finding.rule = finding.rule.replacen(&name, &numbered, 1);
        }
    }
}

// === impl Of ===

impl Of<'_> {
    fn rule(&self) -> RuleText {
        RuleText::of(self.service.is_named.then_some(self.name))
    }

    fn finding(&self, kind: &'static str, subject: &str, count: u64) -> NoiseFinding {
        NoiseFinding {
            kind: kind.into(),
            service: self.name.to_owned(),
            subject: subject.to_owned(),
            reason: String::new(),
            count,
            saved_spans: 0,
            saved_bytes: 0,
            byte_share: 0.0,
            rule: String::new(),
        }
    }

    fn saving(&self, finding: NoiseFinding, spans: u64, bytes: u64) -> NoiseFinding {
        let byte_share = share(bytes, self.tally);
        NoiseFinding { saved_spans: spans, saved_bytes: bytes, byte_share, ..finding }
    }

    /// Checks of health, scrapes, pings. One that fails is worth to be kept.
    fn probe(&self, key: &OperationKey, operation: &Operation) -> Option<NoiseFinding> {
        let Probe { what, by } = key.probe.as_ref()?;
        let sound = operation.spans - operation.errors;
        if sound == 0 {
            return None;
        }
        let (kind, words) = match what {
            What::HealthCheck => ("healthChecks", "health checks"),
            What::Scrape => ("scrapes", "scrapes of metrics"),
            What::Ping => ("pings", "pings"),
        };
        let rule = self.rule().when(format!("name = {}", text(&key.name))).when(kind_is(key.kind));
        let (rule, subject) = match by {
            None => (rule, key.name.clone()),
            Some((attribute, value)) => {
                let condition = format!("{} = {}", span_attribute(attribute), text(value));
                (rule.when(condition), format!("{} {value}", key.name))
            }
        };
        let rule = rule.when("!failed".to_owned()).does("drop", "true");
        let failed = match operation.errors {
            0 => "none of them failed".to_owned(),
            errors => format!("the {errors} that failed stay"),
        };
        let finding = NoiseFinding {
            reason: format!(
                "{words}, known by their {}; {failed}",
                if by.is_some() { "path" } else { "name" }
            ),
            rule: rule.write(&format!("{words} of {}: {subject}", self.name)),
            ..self.finding(kind, &subject, operation.spans)
        };
        Some(self.saving(finding, sound, operation.sound_bytes))
    }

    /// Operations of many traces that are nothing but one span, never fail, and always take about as long.
    fn polling(&self, key: &OperationKey, operation: &Operation) -> Option<NoiseFinding> {
        let Operation { spans, errors, alone, .. } = *operation;
        let is_polling = errors == 0
            && alone >= POLLING_TRACES
            && alone * 10 >= spans * 9
            && spans * POLLING_SHARE >= self.tally.spans
            && operation.is_steady();
        if !is_polling {
            return None;
        }
        let rule = self.rule().when(format!("name = {}", text(&key.name))).when(kind_is(key.kind));
        let rule = rule.when("!failed".to_owned()).does("keep", POLLS_KEPT);
        let finding = NoiseFinding {
            reason: format!("{alone} traces are this one span, none failed, and all take about as long"),
            rule: rule.write(&format!("polling of {}: {}", self.name, key.name)),
            ..self.finding("polling", &key.name, spans)
        };
        Some(self.saving(finding, spans - spans / 100, operation.bytes - operation.bytes / 100))
    }

    /// Names that differ in nothing but IDs.
    fn names(&self) -> Vec<NoiseFinding> {
        let mut shapes: BTreeMap<String, (BTreeSet<&str>, u64)> = BTreeMap::new();
        for (key, operation) in &self.service.operations {
            let shape = shape(&key.name);
            if shape.contains('*') && shape != key.name {
                let (names, spans) = shapes.entry(shape).or_default();
                names.insert(&key.name);
                *spans += operation.spans;
            }
        }
        let many = shapes.into_iter().filter(|(_, (names, _))| names.len() >= MANY_NAMES);
        let one = |(shape, (names, spans)): (String, (BTreeSet<&str>, u64))| NoiseFinding {
            reason: format!(
                "{} names differ in nothing but IDs, so no operation has a series of its own",
                names.len()
            ),
            rule: self.rule().does("fold-name", "true").write(&format!("names of {}: {shape}", self.name)),
            ..self.finding("names", &shape, spans)
        };
        many.map(one).collect()
    }

    /// Attributes that tell nothing of a span: all spans have the same value, or the resource has it, too.
    fn constant(&self, level: Level, key: &str, attribute: &Attribute) -> Option<NoiseFinding> {
        let value = attribute.constant.as_ref()?;
        let is_meant = names_peer(key) || MEANINGFUL.iter().any(|prefix| key.starts_with(prefix));
        let is_hidden =
            matches!(value, Constant::Text(text) if PLACEHOLDERS.iter().any(|hidden| text.contains(hidden)));
        let is_personal = attribute.personal.found.iter().any(|found| *found > 0);
        let is_whole = attribute.values >= FEWEST_SPANS && attribute.values * 2 >= self.service.spans;
        if level != Level::Span || is_meant || is_hidden || is_personal || !is_whole || key.contains('*') {
            return None;
        }
        let of_resource = attribute.of_resource == attribute.values;
        let name = level.named(key);
        let rule = self.rule().when(format!("{} = {}", span_attribute(key), value.literal()));
        let rule = rule.does("remove", &format!("[{}]", quoted(&name)));
        let (kind, reason, rule) = if of_resource {
            ("repeated", "the resource has the same value under the same key", rule)
        } else {
            let set = format!("{{{}: {}}}", quoted(&format!("resource.{key}")), value.yaml());
            (
                "constant",
                "all spans of the service have the same value, which fits its resource",
                rule.does("set", &set),
            )
        };
        let finding = NoiseFinding {
            reason: reason.to_owned(),
            rule: rule.write(&format!("{kind} in {}: {key}", self.name)),
            ..self.finding(kind, &name, attribute.values)
        };
        Some(self.saving(finding, 0, attribute.bytes))
    }

    /// What detectors find: how often, never what.
    fn personal(&self, place: &str, key: &str, personal: Personal) -> Option<NoiseFinding> {
        let of_each = Detector::ALL.into_iter().zip(personal.found).filter(|(_, found)| *found > 0);
        let (detectors, counts): (Vec<Detector>, Vec<u64>) = of_each.unzip();
        if detectors.is_empty() || key.contains('*') {
            return None;
        }
        let words: Vec<&str> = detectors.iter().map(|detector| detector.name()).collect();
        let each: Vec<String> =
            words.iter().zip(&counts).map(|(word, count)| format!("{word} {count}")).collect();
        let redact = format!("{{detect: [{}], in: [{}]}}", words.join(", "), quoted(place));
        // A key may give something away, too.
        let shown = if is_shown(key) { key } else { "a key that is not shown" };
        if !is_shown(key) {
            return None;
        }
        Some(NoiseFinding {
            reason: format!("detectors find something in {} values: {}", personal.looked, each.join(", ")),
            rule: self
                .rule()
                .does("redact", &redact)
                .write(&format!("personal data in {}: {shown}", self.name)),
            ..self.finding("personalData", place, counts.iter().copied().max().unwrap_or_default())
        })
    }
}

/// Whether a key gives nothing away.
fn is_shown(key: &str) -> bool {
    Detector::ALL.into_iter().all(|detector| spandrel_detect::hide(detector, key).is_none())
}

fn kind_is(kind: SpanKind) -> String {
    match kind {
        SpanKind::Other(_) => "true".to_owned(),
        kind => format!("kind = {}", kind.name().to_ascii_lowercase()),
    }
}
