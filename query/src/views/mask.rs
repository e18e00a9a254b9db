//! Which values a role does not see, and what stands for them.
//!
//! In answers, a value that is hidden by its key reads [`MASKED`]; for questions it is not there at all, so that it can
//! neither be searched nor counted. Texts in which a detector finds something read, in answers and in questions alike,
//! as with its placeholder.

use std::borrow::Cow;

use spandrel_proto::{Mask, semconv};
use spandrel_storage::plan::{Comparison, Field, Literal, Predicate};
use spandrel_storage::table::Value;

use super::detect;

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

    pub(super) fn hides_key(&self, key: &str) -> bool {
        self.keys.iter().any(|hidden| hidden == key)
    }

    /// The text as the role sees it; `None` if that is the text itself.
    pub(super) fn text(&self, text: &str) -> Option<String> {
        let mut seen = Cow::Borrowed(text);
        for detector in &self.mask.detectors {
            if let Cow::Owned(hidden) = detect::hide(*detector, &seen) {
                seen = Cow::Owned(hidden);
            }
        }
        (seen != text).then(|| seen.into_owned())
    }

    /// A text, changed in place.
    pub(super) fn apply(&self, text: &mut String) {
        if let Some(seen) = self.text(text) {
            *text = seen;
        }
    }

    /// A whole number, which may be the number of a card.
    pub(super) fn int(&self, int: i64) -> Option<String> {
        self.text(&int.to_string())
    }

    /// The value as the role sees it; `None` if that is the value itself.
    pub(super) fn value(&self, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => self.text(text).map(Value::String),
            Value::Int(int) => self.int(*int).map(Value::String),
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

    /// Whether a comparison holds for a value exactly if it holds for what the role sees of it.
    fn reads_the_same(&self, comparison: &Comparison) -> bool {
        if !self.has_detectors() {
            return true;
        }
        match comparison {
            // No hidden text equals this one, and no placeholder either.
            Comparison::Eq(Literal::String(text)) | Comparison::Ne(Literal::String(text)) => {
                self.text(text).is_none() && !text.contains('[')
            }
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
        assert_eq!(masker().value(&Value::Int(7)), None);
    }
}
