//! Which values a role does not see, and what stands for them.
//!
//! In answers, a value that is hidden by its key reads [`MASKED`]; for questions it is not there at all, so that it can
//! neither be searched nor counted. Texts in which a detector finds something read, in answers and in questions alike,
//! as with its placeholder.

use spandrel_detect as detect;
use spandrel_proto::{Mask, semconv};
use spandrel_storage::names_peer;
use spandrel_storage::plan::{Comparison, Field, Literal, Predicate};
use spandrel_storage::table::Value;

/// What answers show for a value that is hidden by its key.
pub(super) const MASKED: &str = "[masked]";

/// The mask of a role, prepared.
#[derive(Debug, Clone)]
pub(super) struct Masker {
    keys: Vec<String>,
    mask: Mask,
}

/// A predicate that holds at least for the spans that a masked one holds for.
#[derive(Debug, Clone)]
pub(super) struct Pushed {
    pub(super) predicate: Predicate,
    /// It holds for no other spans.
    pub(super) exact: bool,
}

// === impl Masker ===

impl Masker {
    /// A key stands for all names of its field in the semantic conventions.
    pub(super) fn new(mask: &Mask) -> Self {
        let names = |key: &String| match semconv::names_of(key) {
            Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
            None => vec![key.clone()],
        };
        Self { keys: mask.keys.iter().flat_map(names).collect(), mask: mask.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mask.is_empty()
    }

    pub(super) fn has_detectors(&self) -> bool {
        !self.mask.detectors.is_empty()
    }

    /// A key in which a detector finds something would tell it.
    pub(super) fn hides_key(&self, key: &str) -> bool {
        self.keys.iter().any(|hidden| hidden == key) || self.text(key).is_some()
    }

    /// Whether one of the keys that name the peer of a call is hidden.
    pub(super) fn hides_peers(&self) -> bool {
        self.keys.iter().any(|key| names_peer(key))
    }

    /// The text as the role sees it; `None` if that is the text itself.
    pub(super) fn text(&self, text: &str) -> Option<String> {
        let mut seen: Option<String> = None;
        for detector in &self.mask.detectors {
            seen = detect::hide(*detector, seen.as_deref().unwrap_or(text)).or(seen);
        }
        seen.filter(|seen| seen != text)
    }

    /// Whether the role sees this text exactly where it stands: nothing is hidden of it, and no placeholder reads like
    /// it.
    pub(super) fn shows_alone(&self, text: &str) -> bool {
        !self.has_detectors() || self.text(text).is_none() && !text.contains('[')
    }

    /// A text, changed in place.
    pub(super) fn apply(&self, text: &mut String) {
        if let Some(seen) = self.text(text) {
            *text = seen;
        }
    }

    /// A number, which may be that of a card.
    pub(super) fn number(&self, number: impl ToString) -> Option<String> {
        self.has_detectors().then(|| self.text(&number.to_string())).flatten()
    }

    /// The value as the role sees it; `None` if that is the value itself.
    pub(super) fn value(&self, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => self.text(text).map(Value::String),
            Value::Int(int) => self.number(int).map(Value::String),
            Value::Double(double) => self.number(double).map(Value::String),
            Value::Array(items) => {
                let seen: Vec<Option<Value>> = items.iter().map(|item| self.value(item)).collect();
                let is_same = seen.iter().all(Option::is_none);
                let item = |(item, seen): (&Value, Option<Value>)| seen.unwrap_or_else(|| item.clone());
                (!is_same).then(|| Value::Array(items.iter().zip(seen).map(item).collect()))
            }
            // Nothing compares these; answers show them from the spans.
            Value::KeyValues(_) | Value::Bytes(_) if self.has_detectors() => Some(Value::Empty),
            _ => None,
        }
    }

    /// What the store may be asked for a predicate about masked values.
    pub(super) fn push(&self, predicate: &Predicate) -> Pushed {
        let exact = |predicate| Pushed { predicate, exact: true };
        match predicate {
            Predicate::All => exact(Predicate::All),
            Predicate::And(parts) => self.push_all(parts, Predicate::And),
            Predicate::Or(parts) => self.push_all(parts, Predicate::Or),
            Predicate::Compare(field, _) | Predicate::Exists(field) if self.hides_field(field) => {
                exact(Predicate::Or(Vec::new()))
            }
            Predicate::Absent(field) if self.hides_field(field) => exact(Predicate::All),
            Predicate::Exists(_) | Predicate::Absent(_) => exact(predicate.clone()),
            Predicate::Compare(field, comparison) => match field {
                Field::Name | Field::Attribute(..) if !self.reads_the_same(comparison) => {
                    Pushed { predicate: Predicate::Exists(field.clone()), exact: false }
                }
                _ => exact(predicate.clone()),
            },
        }
    }

    fn push_all(&self, parts: &[Predicate], join: impl Fn(Vec<Predicate>) -> Predicate) -> Pushed {
        let parts: Vec<Pushed> = parts.iter().map(|part| self.push(part)).collect();
        let exact = parts.iter().all(|part| part.exact);
        Pushed { predicate: join(parts.into_iter().map(|part| part.predicate).collect()), exact }
    }

    fn hides_field(&self, field: &Field) -> bool {
        matches!(field, Field::Attribute(_, key) if self.hides_key(key))
    }

    /// Whether a comparison has the same result for a stored value as for its masked form. `!=` with a text never has: a
    /// masked number becomes the text `[card]`, for which `!= "x"` holds, while it does not hold for the number.
    fn reads_the_same(&self, comparison: &Comparison) -> bool {
        match comparison {
            _ if !self.has_detectors() => true,
            Comparison::Eq(Literal::String(text)) => self.shows_alone(text),
            Comparison::Eq(Literal::Bool(_)) | Comparison::Ne(Literal::Bool(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::Detector;
    use spandrel_storage::plan::AttributeScope;

    use super::*;

    fn masker() -> Masker {
        Masker::new(&Mask {
            keys: vec!["http.url".to_owned()],
            detectors: vec![Detector::Mail, Detector::Card],
        })
    }

    fn compare(key: &str, comparison: Comparison) -> Predicate {
        Predicate::Compare(Field::Attribute(AttributeScope::Any, key.to_owned()), comparison)
    }

    #[test]
    fn a_key_hides_all_names_of_its_field() {
        assert!(masker().hides_key("url.full") && masker().hides_key("http.url"));
        assert!(!masker().hides_key("url.path"));
    }

    #[test]
    fn the_store_is_asked_only_what_reads_the_same() {
        let text = |text: &str| Literal::String(text.to_owned());
        let exact = |predicate| masker().push(&predicate).exact;
        assert!(exact(compare("a", Comparison::Eq(text("x")))));
        assert!(exact(compare("url.full", Comparison::Contains("x".to_owned()))), "it never holds");
        for guess in [
            Comparison::Eq(text("ada@example.org")),
            Comparison::Eq(text("[mail]")),
            Comparison::Ne(text("x")),
            Comparison::Ne(text("ada@example.org")),
            Comparison::StartsWith("ada".to_owned()),
            Comparison::Gt(Literal::Int(4)),
            Comparison::Gt(text("a")),
        ] {
            assert!(!exact(compare("a", guess.clone())), "{guess:?}");
        }
        let hidden = masker().push(&compare("http.url", Comparison::Eq(text("x"))));
        assert!(matches!(hidden.predicate, Predicate::Or(parts) if parts.is_empty()));
    }

    #[test]
    fn numbers_and_lists_are_looked_through() {
        assert_eq!(
            masker().value(&Value::Int(4_111_111_111_111_111)),
            Some(Value::String("[card]".to_owned()))
        );
        let list = Value::Array(vec![Value::Int(1), Value::String("ada@example.org".to_owned())]);
        let seen = Value::Array(vec![Value::Int(1), Value::String("[mail]".to_owned())]);
        assert_eq!(masker().value(&list), Some(seen));
        let card = Some(Value::String("[card]".to_owned()));
        assert_eq!(masker().value(&Value::Double(4_111_111_111_111_111.0)), card);
        assert_eq!((masker().value(&Value::Int(7)), masker().value(&Value::Double(0.5))), (None, None));
    }

    #[test]
    fn a_key_that_tells_something_is_hidden() {
        assert!(masker().hides_key("of ada@example.org") && !masker().hides_key("of ada"));
    }

    #[test]
    fn keys_of_peers_are_known_by_all_their_names() {
        let masker = |key: &str| Masker::new(&Mask { keys: vec![key.to_owned()], ..Mask::default() });
        for key in ["peer.service", "service.peer.name", "db.name", "net.peer.name", "messaging.destination"]
        {
            assert!(masker(key).hides_peers(), "{key}");
        }
        assert!(!masker("url.full").hides_peers());
    }
}
