//! Rules of `docs/cleaning.md` as YAML. Texts are written as JSON writes them, which is YAML, too.

use spandrel_traceql::ast::{AttributeName, Literal, Scope};

use super::tally::Constant;

/// A rule while it is written.
pub(super) struct RuleText {
    conditions: Vec<String>,
    actions: Vec<String>,
}

/// The longest name of a rule, in characters.
const MAX_NAME: usize = 100;

// === impl RuleText ===

impl RuleText {
    /// A rule for the spans of a service; `None` for those whose resource names none.
    pub(super) fn of(service: Option<&str>) -> Self {
        let name = attribute(Scope::Resource, "service.name");
        let condition = match service {
            Some(service) => format!("{name} = {}", text(service)),
            None => format!("{name} = nil"),
        };
        Self { conditions: vec![condition], actions: Vec::new() }
    }

    pub(super) fn when(mut self, condition: String) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Adds an action with a value in YAML.
    pub(super) fn does(mut self, action: &str, value: &str) -> Self {
        self.actions.push(format!("{action}: {value}"));
        self
    }

    /// The item of a list.
    pub(super) fn write(&self, name: &str) -> String {
        let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        let condition = format!("{{ {} }}", self.conditions.join(" && "));
        let mut lines = vec![format!("name: {}", quoted(&name)), format!("match: {}", quoted(&condition))];
        lines.extend(self.actions.iter().cloned());
        format!("- {}\n", lines.join("\n  "))
    }
}

/// An attribute of a span in a condition.
pub(super) fn span_attribute(key: &str) -> String {
    attribute(Scope::Span, key)
}

fn attribute(scope: Scope, key: &str) -> String {
    AttributeName { scope, key: key.to_owned(), is_literal: false }.to_string()
}

/// A text in a condition.
pub(super) fn text(text: &str) -> String {
    Literal::String(text.to_owned()).to_string()
}

impl Constant {
    /// In a condition.
    pub(super) fn literal(&self) -> String {
        match self {
            Self::Text(value) => text(value),
            Self::Int(int) => Literal::Int(*int).to_string(),
            Self::Bool(flag) => flag.to_string(),
        }
    }

    /// In YAML.
    pub(super) fn yaml(&self) -> String {
        match self {
            Self::Text(value) => quoted(value),
            Self::Int(int) => int.to_string(),
            Self::Bool(flag) => flag.to_string(),
        }
    }
}

/// A text in YAML.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let one = |c: char| if is_plain(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    json.chars().map(one).collect()
}
