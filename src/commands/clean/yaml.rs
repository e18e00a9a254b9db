//! Rules as YAML for people, one member a line. Values are written as JSON, which is YAML, too.

use serde_json::Value;

/// A rule as an item of a list.
pub(super) fn rule(rule: &Value) -> String {
    let Some(members) = rule.as_object().filter(|members| !members.is_empty()) else {
        return format!("- {rule}");
    };
    // Names first: members of JSON come in the order of their letters.
    let (named, others): (Vec<_>, Vec<_>) = members.iter().partition(|(key, _)| *key == "name");
    let line = |(key, value): (&String, &Value)| format!("{key}: {}", escaped(value));
    let lines: Vec<String> = named.into_iter().chain(others).map(line).collect();
    format!("- {}", lines.join("\n  "))
}

/// JSON whose control characters are escaped, those that JSON allows as well.
fn escaped(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let one = |character: char| match character.is_control() {
        true => format!("\\u{:04x}", u32::from(character)),
        false => character.to_string(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use spandrel_clean::{Registry, RuleSet};

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let rules = [
            json!({ "drop": true, "match": "{ name = \"a: b # c\" }", "name": "pings" }),
            json!({ "name": "- x: \u{85}\"", "set": { "span.team": "shop", "resource.tier": [1, 2.5] } }),
            json!({ "name": "cut", "cut": { "span.sql": 1000 }, "fold-name": { "patterns": { "/u/[^/]+": "/u/{name}" } } }),
        ];
        // A name holds no control character, but nothing else is lost.
        for rule_of in rules.iter().filter(|rule| !rule["name"].as_str().unwrap().contains('\u{85}')) {
            let text = rule(rule_of);
            assert!(text.starts_with("- name: "), "{text}");
            let read = RuleSet::parse(&text, &|_| Err(String::new()), &Registry::default()).unwrap();
            assert_eq!(read.written(), std::slice::from_ref(rule_of));
        }
        assert!(!rule(&rules[1]).contains(|c: char| c.is_control() && c != '\n'));
    }
}
