//! Reads rules from YAML or JSON: a list of them, or a configuration file with the list under `clean`. A mistake refuses
//! the whole list, with its line and column.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use spandrel_proto::{Detector, TenantId};

use crate::bind;
use crate::condition::Node;
use crate::counts::Registry;
use crate::edits::Edits;
use crate::rules::{Fate, Rule, RuleSet, Trigger};
use crate::selector::{Level, Selector, Subject};
use crate::set_value;
use crate::texts::{Folding, HashKey, Hashing, IdKind, Redaction};

/// Why rules are refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct RuleError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Which member of which rule it is about, as in `rules[1].match`, where that is known.
    pub field: Option<String>,
    /// Says what is wrong, and lists what is allowed there.
    pub message: String,
}

/// Finds the key of a hash by its name in a rule; an error says where a key is expected.
pub type FindKey<'k> = &'k dyn Fn(Option<&str>) -> Result<HashKey, String>;

/// The longest text of rules.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// The most rules of a list.
pub const MAX_RULES: usize = 1000;
const MAX_NAME_CHARS: usize = 100;
/// The most patterns of a list: each may take [`MAX_PATTERN_BYTES`], and those of names are asked for each attribute.
const MAX_PATTERNS: usize = 500;
/// The most attributes that a list names.
const MAX_KEYS: usize = 20_000;
/// The memory of one compiled pattern.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A rule as it is written. Values are read by hand, so that each error has its place.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    r#match: Option<Spanned<String>>,
    tenants: Option<Spanned<Value>>,
    drop: Option<Spanned<Value>>,
    keep: Option<Spanned<Value>>,
    rename: Option<Spanned<Value>>,
    remove: Option<Spanned<Value>>,
    set: Option<Spanned<Value>>,
    service: Option<Spanned<Value>>,
    hash: Option<Spanned<Value>>,
    hash_key: Option<Spanned<Value>>,
    redact: Option<Spanned<Value>>,
    cut: Option<Spanned<Value>>,
    fold_name: Option<Spanned<Value>>,
}

/// A configuration file, of which only the rules are looked at.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    clean: Vec<Spanned<Written>>,
}

/// The same as JSON.
#[derive(Deserialize)]
struct FileAsJson {
    #[serde(default)]
    clean: Vec<Value>,
}

/// A text of rules while it is compiled.
struct Compiler<'t> {
    text: &'t str,
    find_key: FindKey<'t>,
    registry: &'t Registry,
    set: RuleSet,
    /// Patterns so far.
    patterns: usize,
}

type Mistake<T> = Result<T, String>;

// === impl RuleSet ===

impl RuleSet {
    /// Reads a list of rules.
    pub fn parse(text: &str, find_key: FindKey<'_>, registry: &Registry) -> Result<Self, RuleError> {
        check_size(text)?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let rules: Vec<Spanned<Written>> = yaml(text)?;
        let written: Vec<Value> = yaml(text)?;
        Compiler { text, find_key, registry, set: Self::default(), patterns: 0 }.compile(rules, written)
    }

    /// Reads the rules of a configuration file.
    pub fn parse_file(text: &str, find_key: FindKey<'_>, registry: &Registry) -> Result<Self, RuleError> {
        check_size(text)?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let File { clean } = yaml(text)?;
        let FileAsJson { clean: written } = yaml(text)?;
        Compiler { text, find_key, registry, set: Self::default(), patterns: 0 }.compile(clean, written)
    }
}

fn check_size(text: &str) -> Result<(), RuleError> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(RuleError {
        line: 1,
        column: 1,
        field: None,
        message: format!("rules have at most {MAX_TEXT_BYTES} bytes of text"),
    })
}

fn yaml<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, RuleError> {
    serde_saphyr::from_str(text).map_err(|error: serde_saphyr::Error| {
        let error = error.without_snippet();
        let at = error.location();
        let place = |number: fn(&serde_saphyr::Location) -> u64| {
            at.as_ref().map_or(1, |at| number(at).max(1) as usize)
        };
        let (line, column) = (place(|at| at.line()), place(|at| at.column()));
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        RuleError { line, column, field: None, message }
    })
}

// === impl RuleError ===

impl RuleError {
    fn of_member(self, member: &str) -> Self {
        Self { field: Some(format!(".{member}")), ..self }
    }

    fn of_rule(self, number: usize) -> Self {
        let member = self.field.unwrap_or_default();
        Self { field: Some(format!("rules[{number}]{member}")), ..self }
    }
}

// === impl Compiler ===

impl Compiler<'_> {
    fn compile(mut self, rules: Vec<Spanned<Written>>, written: Vec<Value>) -> Result<RuleSet, RuleError> {
        if let Some(above) = rules.get(MAX_RULES) {
            return Err(self.error(above, format!("there are at most {MAX_RULES} rules")));
        }
        for (number, rule) in rules.iter().enumerate() {
            let rule = self.rule(rule).map_err(|error| error.of_rule(number))?;
            self.set.rules.push(rule);
        }
        self.set.written = written;
        Ok(self.set)
    }

    fn rule(&mut self, written: &Spanned<Written>) -> Result<Rule, RuleError> {
        let rule = &written.value;
        let name = &rule.name;
        self.check_name(name)?;
        self.count_patterns(written)?;
        let (condition, asks_span) = match &rule.r#match {
            None => (Node::Constant(true), false),
            Some(text) => self.condition(text).map_err(|error| error.of_member("match"))?,
        };
        let condition = self.set.conditions.extract(condition);
        let tenants = self.read("tenants", &rule.tenants, tenants)?.unwrap_or_default();
        let fate = self.fate(rule)?;
        let edits = self.edits(rule)?;
        let trigger = Trigger::of(&edits, &mut self.set.keys);
        if self.set.keys.len() > MAX_KEYS {
            return Err(self.error(written, format!("rules name at most {MAX_KEYS} attributes")));
        }
        if fate == Fate::Stays && edits.is_empty() {
            let allowed = "drop, keep, set, service, rename, remove, hash, redact, cut or fold-name";
            return Err(
                self.error(written, format!("the rule {:?} does nothing; give it {allowed}", name.value))
            );
        }
        if fate == Fate::Goes && !edits.is_empty() {
            return Err(
                self.error(written, "a rule that drops spans changes nothing of them; remove one".to_owned())
            );
        }
        let counts = self.registry.of(&name.value);
        let needs = condition.needs();
        let name = name.value.clone();
        Ok(Rule { name, tenants, condition, asks_span, needs, fate, edits, trigger, counts })
    }

    fn check_name(&self, name: &Spanned<String>) -> Result<(), RuleError> {
        let text = &name.value;
        let message = if text.trim().is_empty() || text.chars().any(char::is_control) {
            "a name has at least one character, and no control characters".to_owned()
        } else if text.chars().count() > MAX_NAME_CHARS {
            format!("a name has at most {MAX_NAME_CHARS} characters")
        } else if self.set.rules.iter().any(|rule| rule.name == *text) {
            format!("another rule has the name {text:?}; what rules do is counted by their names")
        } else {
            return Ok(());
        };
        Err(self.error(name, message).of_member("name"))
    }

    /// Refuses too many patterns before they are compiled.
    fn count_patterns(&mut self, written: &Spanned<Written>) -> Result<(), RuleError> {
        let rule = &written.value;
        let compared = |text: &str| text.matches("=~").count() + text.matches("!~").count();
        let listed =
            |value: &Option<Spanned<Value>>| match value.as_ref().map(|value| &value.value["patterns"]) {
                Some(Value::Array(items)) => items.len(),
                Some(Value::Object(items)) => items.len(),
                _ => 0,
            };
        let asterisks = |value: &Option<Spanned<Value>>| match value.as_ref().map(|value| &value.value) {
            Some(Value::Array(items)) => {
                items.iter().filter(|item| item.as_str().is_some_and(|text| text.contains('*'))).count()
            }
            _ => 0,
        };
        self.patterns += rule.r#match.as_ref().map_or(0, |text| compared(&text.value));
        self.patterns += listed(&rule.redact) + listed(&rule.fold_name);
        self.patterns += asterisks(&rule.remove) + asterisks(&rule.hash);
        if self.patterns > MAX_PATTERNS {
            return Err(self.error(written, format!("rules have at most {MAX_PATTERNS} patterns together")));
        }
        Ok(())
    }

    fn condition(&mut self, text: &Spanned<String>) -> Result<(Node, bool), RuleError> {
        let bound = bind::condition(&text.value, &mut self.set.keys);
        bound.map_err(|error| self.error_inside(text, error.at, error.message))
    }

    fn fate(&self, rule: &Written) -> Result<Fate, RuleError> {
        let drops = self.read("drop", &rule.drop, |value| match value {
            Value::Bool(drops) => Ok(*drops),
            _ => Err("drop is true or false".to_owned()),
        })?;
        let share = self.read("keep", &rule.keep, share)?;
        match (drops.unwrap_or_default(), share, &rule.keep) {
            (true, Some(_), Some(keep)) => {
                Err(self.error(keep, "a rule has drop or keep, not both".to_owned()))
            }
            (true, ..) => Ok(Fate::Goes),
            (false, Some(share), _) => Ok(Fate::Share(share)),
            (false, ..) => Ok(Fate::Stays),
        }
    }

    fn edits(&self, rule: &Written) -> Result<Edits, RuleError> {
        let mut set = self.read("set", &rule.set, sets)?.unwrap_or_default();
        set.extend(self.read("service", &rule.service, service)?);
        let key = self.read("hash-key", &rule.hash_key, |value| {
            value.as_str().map(str::to_owned).ok_or_else(|| "hash-key is the name of a key".to_owned())
        })?;
        if let (Some(key), None) = (&rule.hash_key, &rule.hash) {
            return Err(self.error(key, "hash-key is for a rule with hash".to_owned()));
        }
        Ok(Edits {
            rename: self.read("rename", &rule.rename, renames)?.unwrap_or_default(),
            remove: self.read("remove", &rule.remove, selectors)?.unwrap_or_default(),
            set,
            hash: self.read("hash", &rule.hash, |value| {
                Ok(Hashing { selectors: selectors(value)?, key: (self.find_key)(key.as_deref())? })
            })?,
            redact: self.read("redact", &rule.redact, redaction)?,
            cut: self.read("cut", &rule.cut, cuts)?.unwrap_or_default(),
            fold: self.read("fold-name", &rule.fold_name, folding)?.flatten(),
        })
    }

    fn read<T>(
        &self,
        member: &str,
        value: &Option<Spanned<Value>>,
        read: impl FnOnce(&Value) -> Mistake<T>,
    ) -> Result<Option<T>, RuleError> {
        let Some(value) = value else { return Ok(None) };
        read(&value.value).map(Some).map_err(|message| self.error(value, message).of_member(member))
    }

    // === Places ===

    fn error<T>(&self, at: &Spanned<T>, message: String) -> RuleError {
        let place = at.referenced;
        let (line, column) = (place.line().max(1) as usize, place.column().max(1) as usize);
        RuleError { line, column, field: None, message }
    }

    /// The error of a character of a text, where the text stands as it is read: without escapes and folded lines.
    fn error_inside(&self, text: &Spanned<String>, character: usize, message: String) -> RuleError {
        let whole = self.error(text, message);
        let mut lines = self.text.split_inclusive('\n');
        let begin: usize = lines.by_ref().take(whole.line - 1).map(str::len).sum();
        let rest = &self.text[begin..];
        let skipped: usize = rest.chars().take(whole.column - 1).map(char::len_utf8).sum();
        let rest = &rest[skipped..];
        // A quote may stand before it; the lines of a block are indented alike.
        let first_line = text.value.lines().next().unwrap_or_default();
        let Some(lead) = rest.find(first_line).filter(|at| *at <= MAX_LEAD) else { return whole };
        let before: String = text.value.chars().take(character).collect();
        let (line, last) = (before.matches('\n').count(), before.rsplit('\n').next().unwrap_or_default());
        let lead = if line == 0 { rest[..lead].chars().count() } else { 0 };
        RuleError { line: whole.line + line, column: whole.column + lead + last.chars().count(), ..whole }
    }
}

/// What may stand before a text in its node.
const MAX_LEAD: usize = 8;

// === Values ===

fn texts<'v>(value: &'v Value, what: &str) -> Mistake<Vec<&'v str>> {
    let allowed = || format!("{what} is a text or a list of texts");
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => items.iter().map(|item| item.as_str().ok_or_else(allowed)).collect(),
        _ => Err(allowed()),
    }
}

fn mapping<'v>(value: &'v Value, what: &str) -> Mistake<&'v Map<String, Value>> {
    value.as_object().filter(|map| !map.is_empty()).ok_or_else(|| what.to_owned())
}

fn tenants(value: &Value) -> Mistake<Vec<TenantId>> {
    let name = |name: &str| TenantId::new(name).map_err(|error| format!("{name:?}: {error}"));
    texts(value, "tenants")?.into_iter().map(name).collect()
}

/// A share of traces as the hash below which they stay.
fn share(value: &Value) -> Mistake<u64> {
    let allowed =
        || "keep is a share of the traces, like 10% or 0.1; more than 0% and less than 100%".to_owned();
    let share = match value {
        Value::String(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            percent.ok_or_else(allowed)? / 100.0
        }
        value => value.as_f64().ok_or_else(allowed)?,
    };
    if share > 0.0 && share < 1.0 { Ok((share * 2f64.powi(64)) as u64) } else { Err(allowed()) }
}

fn selectors(value: &Value) -> Mistake<Vec<Selector>> {
    texts(value, "this")?.into_iter().map(Selector::parse).collect()
}

fn renames(value: &Value) -> Mistake<Vec<(Level, String, String)>> {
    let map = mapping(value, "rename is a mapping like {span.http.url: span.url.full}")?;
    let one = |(from, to): (&String, &Value)| {
        let to = to.as_str().ok_or("the new name is a text like span.url.full")?;
        let ((level, from_key), (other, to_key)) = (Level::of_attribute(from)?, Level::of_attribute(to)?);
        if level != other {
            return Err(format!("{from} and {to} are on different levels; an attribute stays on its own"));
        }
        Ok((level, from_key.to_owned(), to_key.to_owned()))
    };
    map.iter().map(one).collect()
}

fn sets(value: &Value) -> Mistake<Vec<(Level, String, Vec<u8>)>> {
    let map = mapping(value, "set is a mapping like {span.team: shop, resource.tier: 2}")?;
    let one = |(name, value): (&String, &Value)| {
        let (level, key) = Level::of_attribute(name)?;
        let value = set_value::encode(value).map_err(|error| format!("{name}: {error}"))?;
        Ok((level, key.to_owned(), value))
    };
    map.iter().map(one).collect()
}

fn service(value: &Value) -> Mistake<(Level, String, Vec<u8>)> {
    let name = value.as_str().filter(|name| !name.is_empty()).ok_or("service is the name of a service")?;
    let value = set_value::encode(&Value::from(name))?;
    Ok((Level::Resource, "service.name".to_owned(), value))
}

fn redaction(value: &Value) -> Mistake<Redaction> {
    let (named, patterns, subjects) = match value {
        Value::Object(members) => {
            let known = ["detect", "patterns", "in"];
            if let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(format!("redact has no {unknown:?}; allowed are {}", known.join(", ")));
            }
            let of = |name: &str| members.get(name).map(|value| texts(value, name)).transpose();
            (of("detect")?.unwrap_or_default(), of("patterns")?.unwrap_or_default(), of("in")?)
        }
        value => (texts(value, "redact")?, Vec::new(), None),
    };
    let subjects = subjects.map(|all| all.into_iter().map(Subject::parse).collect()).transpose()?;
    let detectors = named.into_iter().map(detector).collect::<Mistake<Vec<_>>>()?;
    let patterns = patterns.into_iter().map(pattern).collect::<Mistake<Vec<_>>>()?;
    if detectors.is_empty() && patterns.is_empty() {
        return Err("redact finds nothing without a detector or a pattern".to_owned());
    }
    Ok(Redaction { detectors, patterns, subjects })
}

fn detector(word: &str) -> Mistake<Detector> {
    Detector::ALL.into_iter().find(|detector| detector.name() == word).ok_or_else(|| {
        let words = Detector::ALL.map(Detector::name).join(", ");
        format!("{word:?} is no detector; allowed are {words}")
    })
}

fn pattern(text: &str) -> Mistake<Regex> {
    let built =
        RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES).build();
    let pattern = built.map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the pattern {text:?} is not valid: {last}")
    })?;
    if pattern.is_match("") {
        Err(format!("the pattern {text:?} also matches nothing at all"))
    } else {
        Ok(pattern)
    }
}

fn cuts(value: &Value) -> Mistake<Vec<(Subject, usize)>> {
    let map =
        mapping(value, "cut is a mapping of attributes to characters, like {span.db.query.text: 1000}")?;
    let one = |(name, length): (&String, &Value)| {
        let length = length.as_u64().filter(|length| *length > 0);
        let length =
            length.ok_or_else(|| format!("{name}: a length is a number of characters, at least 1"))?;
        Ok((Subject::parse(name)?, usize::try_from(length).unwrap_or(usize::MAX)))
    };
    map.iter().map(one).collect()
}

fn folding(value: &Value) -> Mistake<Option<Folding>> {
    let kinds =
        |value: &Value| texts(value, "fold-name")?.into_iter().map(id_kind).collect::<Mistake<Vec<_>>>();
    let (kinds, patterns) = match value {
        Value::Bool(false) => return Ok(None),
        Value::Bool(true) => (IdKind::ALL.to_vec(), Vec::new()),
        Value::Object(members) => {
            let known = ["ids", "patterns"];
            if let Some(unknown) = members.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(format!("fold-name has no {unknown:?}; allowed are {}", known.join(", ")));
            }
            let ids = members.get("ids").map(kinds).transpose()?.unwrap_or_default();
            (ids, members.get("patterns").map(fold_patterns).transpose()?.unwrap_or_default())
        }
        value => (kinds(value)?, Vec::new()),
    };
    if kinds.is_empty() && patterns.is_empty() {
        return Err("fold-name is true, a list of IDs, or has ids or patterns".to_owned());
    }
    Ok(Some(Folding { kinds, patterns }))
}

fn id_kind(word: &str) -> Mistake<IdKind> {
    IdKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
        format!("{word:?} is no form of an ID; allowed are {}", IdKind::ALL.map(IdKind::word).join(", "))
    })
}

fn fold_patterns(value: &Value) -> Mistake<Vec<(Regex, String)>> {
    let map = mapping(
        value,
        "patterns is a mapping of patterns to what stands for them, like {'/u/[^/]+': '/u/{name}'}",
    )?;
    let one = |(text, with): (&String, &Value)| {
        let with = with.as_str().ok_or_else(|| format!("{text}: what stands for it is a text"))?;
        Ok((pattern(text)?, with.to_owned()))
    };
    map.iter().map(one).collect()
}
