//! What an action names: attributes on the levels of a span, as in `span.http.url`, `.enduser.id` or
//! `span.http.request.header.*`, and the other texts of a span.

use spandrel_proto::semconv;

/// The levels on which attributes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Resource,
    Scope,
    Span,
    Event,
    Link,
}

/// Attributes by level and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    /// `None` for all levels.
    pub(crate) level: Option<Level>,
    pub(crate) key: Key,
}

/// The key of an attribute, or a pattern of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// Each of these: the names of one field.
    Names(Vec<String>),
    /// Parts between which anything may stand (`*`).
    Pattern(Vec<String>),
}

/// What a length or a redaction is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Attributes(Selector),
    /// `name`
    Name,
    /// `statusMessage`
    StatusMessage,
    /// `event:name`
    EventName,
    /// `log:body`
    LogBody,
}

const EXAMPLE: &str = "name an attribute like span.http.url, resource.host.name, event.exception.message, link.x, \
     instrumentation.x, or .enduser.id for all levels";

// === impl Level ===

impl Level {
    pub(crate) const ALL: [Self; 5] = [Self::Resource, Self::Scope, Self::Span, Self::Event, Self::Link];

    fn word(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Scope => "instrumentation",
            Self::Span => "span",
            Self::Event => "event",
            Self::Link => "link",
        }
    }

    /// Splits `span.http.url` into level and key; no level for `.http.url`.
    fn split(text: &str) -> Result<(Option<Self>, &str), String> {
        let (word, key) = text.split_once('.').ok_or_else(|| format!("{text:?}: {EXAMPLE}"))?;
        if key.is_empty() {
            return Err(format!("{text:?} names no key: {EXAMPLE}"));
        }
        if word.is_empty() {
            return Ok((None, key));
        }
        let level = Self::ALL.into_iter().find(|level| level.word() == word);
        level
            .map(|level| (Some(level), key))
            .ok_or_else(|| format!("{text:?}: {word} is no level; {EXAMPLE}"))
    }

    /// Reads the full name of one attribute.
    pub(crate) fn of_attribute(text: &str) -> Result<(Self, &str), String> {
        match Self::split(text)? {
            (Some(level), key) if !key.contains('*') => Ok((level, key)),
            _ => Err(format!(
                "{text:?}: here the attribute is named with its level and without *, like span.http.url"
            )),
        }
    }
}

// === impl Selector ===

impl Selector {
    /// Reads a selector. A key without `*` stands for all names of its field in the semantic conventions.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (level, key) = Level::split(text)?;
        let key = if key.contains('*') {
            Key::Pattern(key.split('*').map(str::to_owned).collect())
        } else {
            let names = semconv::names_of(key);
            Key::Names(names.map_or_else(
                || vec![key.to_owned()],
                |names| names.iter().map(|name| (*name).to_owned()).collect(),
            ))
        };
        Ok(Self { level, key })
    }

    pub(crate) fn is_on(&self, level: Level) -> bool {
        self.level.is_none_or(|own| own == level)
    }

    pub(crate) fn takes_key_bytes(&self, key: &[u8]) -> bool {
        match &self.key {
            Key::Names(names) => names.iter().any(|name| name.as_bytes() == key),
            Key::Pattern(parts) => matches_parts(parts, key),
        }
    }
}

/// Whether a key is made of these parts, in their order, with anything between them.
fn matches_parts(parts: &[String], key: &[u8]) -> bool {
    let [first, middle @ .., last] = parts else { return false };
    let Some(mut rest) = key.strip_prefix(first.as_bytes()) else { return false };
    // Most keys are too short for the words that patterns name.
    if rest.len() < middle.iter().map(String::len).sum::<usize>() + last.len() {
        return false;
    }
    for part in middle.iter().filter(|part| !part.is_empty()) {
        let found = memchr::memmem::find(rest, part.as_bytes());
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_bytes())
}

// === impl Subject ===

impl Subject {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "name" => Self::Name,
            "statusMessage" => Self::StatusMessage,
            "event:name" => Self::EventName,
            "log:body" => Self::LogBody,
            _ => Self::Attributes(Selector::parse(text)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_exactly_or_by_pattern() {
        for (selector, key, takes) in [
            ("span.a", "a", true),
            ("span.a", "ab", false),
            ("span.http.url", "url.full", true),
            ("span.http.*", "http.url", true),
            ("span.http.*", "url.http.", false),
            (".*password*", "user.password.hash", true),
            (".*password*", "user.pass", false),
            ("event.a*b*c", "a1b2c", true),
            ("event.a*b*c", "acb", false),
            ("event.a*a", "a", false),
            ("span.*", "anything", true),
        ] {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.takes_key_bytes(key.as_bytes()), takes, "{selector} {key}");
        }
        for wrong in ["", "name", "spam.a", "span.", "."] {
            assert!(Selector::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Level::of_attribute(".a").is_err() && Level::of_attribute("span.a*").is_err());
    }
}
