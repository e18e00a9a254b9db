//! What a rule changes of a span, its resource and its scope, written anew: fields that stay are copied byte for byte,
//! also those that nothing here knows.

use spandrel_proto::otlp::row_field;
use spandrel_proto::otlp::wire::{Field, Reader, Value, put_bytes};
use spandrel_proto::otlp::{AnyValue, KeyValueView};

use crate::facts::key_of;
use crate::selector::{Level, Selector, Subject};
use crate::texts::{Folding, Hashing, NewValue, Redaction, cut, cut_value};

/// The changes of one rule. On an attribute they are made in this order.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// From one key to another.
    pub(crate) rename: Vec<(Level, String, String)>,
    pub(crate) remove: Vec<Selector>,
    /// Key and `AnyValue` message.
    pub(crate) set: Vec<(Level, String, Vec<u8>)>,
    pub(crate) hash: Option<Hashing>,
    pub(crate) redact: Option<Redaction>,
    /// The most characters.
    pub(crate) cut: Vec<(Subject, usize)>,
    pub(crate) fold: Option<Folding>,
}

/// A message that is copied with changes. Without a change nothing is copied.
struct Patch<'m> {
    message: &'m [u8],
    out: Vec<u8>,
    /// What is in `out` already.
    copied: usize,
    changed: bool,
}

/// What becomes of an attribute.
enum Change {
    Stays,
    Goes,
    Becomes(Vec<u8>),
}

/// What is left to do for the attributes of a message.
struct Open {
    /// The places in `set` that are not written yet.
    set: Vec<usize>,
    /// The places in `rename` whose new key the message does not have: it is not overwritten.
    renames: Vec<usize>,
}

/// Bytes of the heads around an attribute, at the most.
const HEADS: usize = 32;

// === impl Edits ===

impl Edits {
    /// Whether there is nothing to change.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { rename, remove, set, hash, redact, cut, fold } = self;
        rename.is_empty()
            && remove.is_empty()
            && set.is_empty()
            && cut.is_empty()
            && hash.is_none()
            && redact.is_none()
            && fold.is_none()
    }

    /// Whether a span of this name gets another.
    pub(crate) fn changes_name(&self, name: &str) -> bool {
        self.name(name.as_bytes()).is_some()
    }

    /// A span with the changes; `None` if nothing changes.
    pub(crate) fn span(&self, span: &[u8]) -> Option<Vec<u8>> {
        let mut patch = Patch::new(span);
        let mut open = self.open(Level::Span, span, 9);
        for field in fields(span) {
            let Value::Bytes(bytes) = field.value else { continue };
            match field.number {
                3 => patch.nested(&field, self.text(bytes, None)),
                5 => patch.nested(&field, self.name(bytes)),
                9 => patch.attribute(&field, self.attribute(Level::Span, bytes, &mut open)),
                11 => patch.nested(&field, self.event(bytes)),
                13 => patch.nested(&field, self.link(bytes)),
                15 => patch.nested(&field, self.texts(bytes, &[2], Some(&Subject::StatusMessage))),
                _ => {}
            }
        }
        self.append(&mut patch, open.set, 9);
        patch.finish()
    }

    fn event(&self, event: &[u8]) -> Option<Vec<u8>> {
        let mut patch = Patch::new(event);
        let mut open = self.open(Level::Event, event, 3);
        for field in fields(event) {
            let Value::Bytes(bytes) = field.value else { continue };
            match field.number {
                2 => patch.nested(&field, self.text(bytes, Some(&Subject::EventName))),
                3 => patch.attribute(&field, self.attribute(Level::Event, bytes, &mut open)),
                _ => {}
            }
        }
        self.append(&mut patch, open.set, 3);
        patch.finish()
    }

    /// A row of log records with the changes; `None` if nothing changes.
    pub(crate) fn log_row(&self, row: &[u8]) -> Option<Vec<u8>> {
        let mut patch = Patch::new(row);
        for field in fields(row) {
            if let (11, Value::Bytes(record)) = (field.number, field.value) {
                let event = self.event(record);
                let rest = self.beside_event(event.as_deref().unwrap_or(record));
                patch.nested(&field, rest.or(event));
            }
        }
        patch.finish()
    }

    /// What a log record has beside what an event has: severity and body.
    fn beside_event(&self, record: &[u8]) -> Option<Vec<u8>> {
        let mut patch = Patch::new(record);
        for field in fields(record) {
            match (field.number, field.value) {
                (row_field::SEVERITY_TEXT, Value::Bytes(text)) => {
                    patch.nested(&field, self.text(text, None));
                }
                (row_field::BODY, Value::Bytes(body)) => patch.nested(&field, self.log_body(body)),
                _ => {}
            }
        }
        patch.finish()
    }

    fn log_body(&self, body: &[u8]) -> Option<Vec<u8>> {
        let subject = Some(&Subject::LogBody);
        let mut now = None;
        if let Some(redaction) = self.redact.as_ref().filter(|redaction| redaction.is_about(subject)) {
            now = edit_any(body, &|value| redaction.value(value), &|key| redaction.text(key));
        }
        if let Some((_, length)) = self.cut.iter().find(|(own, _)| Some(own) == subject) {
            let cut = edit_any(now.as_deref().unwrap_or(body), &|value| cut_value(value, *length), &|_| None);
            now = cut.or(now);
        }
        now
    }

    fn link(&self, link: &[u8]) -> Option<Vec<u8>> {
        let mut patch = Patch::new(link);
        let mut open = self.open(Level::Link, link, 4);
        for field in fields(link) {
            let Value::Bytes(bytes) = field.value else { continue };
            match field.number {
                3 => patch.nested(&field, self.text(bytes, None)),
                4 => patch.attribute(&field, self.attribute(Level::Link, bytes, &mut open)),
                _ => {}
            }
        }
        self.append(&mut patch, open.set, 4);
        patch.finish()
    }

    /// A `ResourceSpans` without its spans.
    pub(crate) fn resource(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.around(message, Level::Resource, 1, |edits, field, bytes, patch| {
            if field.number == 3 {
                patch.nested(field, edits.texts(bytes, &[1, 2, 3, 4], None));
            }
        })
    }

    /// A `ScopeSpans` without its spans.
    pub(crate) fn scope(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.around(message, Level::Scope, 3, |edits, field, bytes, patch| {
            if matches!(field.number, 1 | 2) {
                patch.nested(field, edits.text(bytes, None));
            }
        })
    }

    /// What is around spans: field 1 has attributes in its field `number` and more, field 3 is the address of a schema.
    fn around(
        &self,
        message: &[u8],
        level: Level,
        number: u32,
        more: impl Fn(&Self, &Field<'_>, &[u8], &mut Patch<'_>),
    ) -> Option<Vec<u8>> {
        let mut patch = Patch::new(message);
        let mut set = self.set_on(level);
        let count = fields(message).filter(|field| field.number == 1).count();
        let mut seen = 0;
        for field in fields(message) {
            let Value::Bytes(bytes) = field.value else { continue };
            match field.number {
                1 => {
                    seen += 1;
                    let mut inner = Patch::new(bytes);
                    let mut open = Open { set, ..self.open(level, bytes, number) };
                    for field in fields(bytes) {
                        let Value::Bytes(inside) = field.value else { continue };
                        if field.number == number {
                            inner.attribute(&field, self.attribute(level, inside, &mut open));
                        } else {
                            more(self, &field, inside, &mut inner);
                        }
                    }
                    set = open.set;
                    // Protobuf joins several of them, so the last one takes what none of them had.
                    if seen == count {
                        self.append(&mut inner, std::mem::take(&mut set), number);
                    }
                    patch.nested(&field, inner.finish());
                }
                3 => patch.nested(&field, self.text(bytes, None)),
                _ => {}
            }
        }
        if !set.is_empty() {
            let mut inner = Patch::new(&[]);
            self.append(&mut inner, set, number);
            if let Some(inner) = inner.finish() {
                patch.append(|out| put_bytes(out, 1, &inner));
            }
        }
        patch.finish()
    }

    // === Attributes ===

    /// The places in `set` that are not written yet.
    fn set_on(&self, level: Level) -> Vec<usize> {
        (0..self.set.len()).filter(|at| self.set[*at].0 == level).collect()
    }

    /// Appends the attributes that the message did not have.
    fn append(&self, patch: &mut Patch<'_>, set: Vec<usize>, number: u32) {
        for at in set {
            let (_, key, value) = &self.set[at];
            let mut attribute = Vec::new();
            put_bytes(&mut attribute, 1, key.as_bytes());
            put_bytes(&mut attribute, 2, value);
            patch.append(|out| put_bytes(out, number, &attribute));
        }
    }

    /// What is to be done once for a message that has its attributes in the fields `number`.
    fn open(&self, level: Level, message: &[u8], number: u32) -> Open {
        let has = |key: &str| {
            let is = |field: Field<'_>| matches!(field.value, Value::Bytes(bytes) if field.number == number && key_of(bytes) == key.as_bytes());
            fields(message).any(is)
        };
        let may_be_renamed = |at: &usize| self.rename[*at].0 == level && !has(&self.rename[*at].2);
        Open { set: self.set_on(level), renames: (0..self.rename.len()).filter(may_be_renamed).collect() }
    }

    /// The most bytes that attributes which are set add to a span with so many events and links.
    pub(crate) fn added_bytes(&self, events: usize, links: usize) -> usize {
        let of = |level: Level| -> usize {
            let on = self.set.iter().filter(|(own, ..)| *own == level);
            on.map(|(_, key, value)| key.len() + value.len() + HEADS).sum()
        };
        of(Level::Event).saturating_mul(events).saturating_add(of(Level::Link).saturating_mul(links))
    }

    /// One attribute.
    fn attribute(&self, level: Level, bytes: &[u8], open: &mut Open) -> Change {
        let key = key_of(bytes);
        let renamed = self.renamed(level, key, open);
        let key = renamed.map_or(key, str::as_bytes);
        if self.remove.iter().any(|selector| selector.is_on(level) && selector.takes_key_bytes(key)) {
            return Change::Goes;
        }
        let mut now: Option<Vec<u8>> = None;
        if let Some(name) = renamed {
            now = with_field(bytes, 1, name.as_bytes());
        }
        if let Some(at) =
            (0..self.set.len()).find(|at| self.set[*at].0 == level && self.set[*at].1.as_bytes() == key)
        {
            // A second attribute of the same key would be one value too many.
            let Some(place) = open.set.iter().position(|left| *left == at) else { return Change::Goes };
            open.set.remove(place);
            now = with_field(now.as_deref().unwrap_or(bytes), 2, &self.set[at].2).or(now);
        }
        if let Some(hash) = &self.hash
            && hash.selectors.iter().any(|selector| selector.is_on(level) && selector.takes_key_bytes(key))
        {
            now =
                edit_value_of(now.as_deref().unwrap_or(bytes), &|value| hash.value(value), &|_| None).or(now);
        }
        if let Some(redaction) = &self.redact {
            now = redact(redaction, level, key, now.as_deref().unwrap_or(bytes)).or(now);
        }
        if let Some(length) = self.length_of(level, key) {
            now =
                edit_value_of(now.as_deref().unwrap_or(bytes), &|value| cut_value(value, length), &|_| None)
                    .or(now);
        }
        now.map_or(Change::Stays, Change::Becomes)
    }

    /// The new key of an attribute.
    fn renamed(&self, level: Level, key: &[u8], open: &Open) -> Option<&str> {
        let at = self.rename.iter().position(|(own, from, _)| *own == level && from.as_bytes() == key)?;
        open.renames.contains(&at).then(|| &*self.rename[at].2)
    }

    fn length_of(&self, level: Level, key: &[u8]) -> Option<usize> {
        let takes = |subject: &Subject| matches!(subject, Subject::Attributes(selector) if selector.is_on(level) && selector.takes_key_bytes(key));
        self.cut.iter().find(|(subject, _)| takes(subject)).map(|(_, length)| *length)
    }

    // === Texts ===

    fn name(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let name = std::str::from_utf8(bytes).ok()?;
        let folded = self.fold.as_ref().and_then(|fold| fold.name(name));
        let rest = self.text(folded.as_deref().unwrap_or(name).as_bytes(), Some(&Subject::Name));
        rest.or(folded.map(String::into_bytes))
    }

    /// A text that is no attribute.
    fn text(&self, bytes: &[u8], subject: Option<&Subject>) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(bytes).ok()?;
        let redaction = self.redact.as_ref().filter(|redaction| redaction.is_about(subject));
        let seen = redaction.and_then(|redaction| redaction.text(text));
        let length = self.cut.iter().find(|(own, _)| Some(own) == subject);
        let short = length.and_then(|(_, length)| cut(seen.as_deref().unwrap_or(text), *length));
        short.or(seen).map(String::into_bytes)
    }

    /// A message with texts in some of its fields.
    fn texts(&self, message: &[u8], numbers: &[u32], subject: Option<&Subject>) -> Option<Vec<u8>> {
        let mut patch = Patch::new(message);
        for field in fields(message) {
            if let Value::Bytes(bytes) = field.value
                && numbers.contains(&field.number)
            {
                patch.nested(&field, self.text(bytes, subject));
            }
        }
        patch.finish()
    }
}

/// An attribute without what a redaction finds in its value and, where it looks everywhere, in its keys.
fn redact(redaction: &Redaction, level: Level, key: &[u8], attribute: &[u8]) -> Option<Vec<u8>> {
    let value = |value: AnyValue<'_>| redaction.value(value);
    let Some(subjects) = &redaction.subjects else {
        let in_value = edit_value_of(attribute, &value, &|key| redaction.text(key));
        let in_key = std::str::from_utf8(key).ok().and_then(|key| redaction.text(key));
        let Some(key) = in_key else { return in_value };
        return with_field(in_value.as_deref().unwrap_or(attribute), 1, key.as_bytes()).or(in_value);
    };
    let takes = |subject: &Subject| matches!(subject, Subject::Attributes(selector) if selector.is_on(level) && selector.takes_key_bytes(key));
    subjects.iter().any(takes).then(|| edit_value_of(attribute, &value, &|key| redaction.text(key))).flatten()
}

type Leaf<'l> = &'l dyn Fn(AnyValue<'_>) -> Option<NewValue>;
type KeyText<'l> = &'l dyn Fn(&str) -> Option<String>;

/// A `KeyValue` message whose value is edited.
fn edit_value_of(attribute: &[u8], leaf: Leaf<'_>, key: KeyText<'_>) -> Option<Vec<u8>> {
    let mut patch = Patch::new(attribute);
    for field in fields(attribute) {
        if let (2, Value::Bytes(bytes)) = (field.number, field.value) {
            patch.nested(&field, edit_any(bytes, leaf, key));
        }
    }
    patch.finish()
}

/// An `AnyValue` message, edited on every level.
fn edit_any(message: &[u8], leaf: Leaf<'_>, key: KeyText<'_>) -> Option<Vec<u8>> {
    let mut patch = Patch::new(message);
    for field in fields(message) {
        let value = match (field.number, field.value) {
            (1, Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => AnyValue::String(text),
                Err(_) => continue,
            },
            (2, Value::Varint(flag)) => AnyValue::Bool(flag != 0),
            (3, Value::Varint(int)) => AnyValue::Int(int as i64),
            (4, Value::Fixed64(bits)) => AnyValue::Double(f64::from_bits(bits)),
            (7, Value::Bytes(bytes)) => AnyValue::Bytes(bytes),
            (5, Value::Bytes(items)) => {
                patch.nested(&field, edit_items(items, &|item| edit_any(item, leaf, key)));
                continue;
            }
            (6, Value::Bytes(entries)) => {
                patch.nested(&field, edit_items(entries, &|entry| edit_entry(entry, leaf, key)));
                continue;
            }
            _ => continue,
        };
        match leaf(value) {
            None => {}
            Some(NewValue::Text(text)) => patch.replace(&field, |out| put_bytes(out, 1, text.as_bytes())),
            Some(NewValue::Bytes(bytes)) => patch.replace(&field, |out| put_bytes(out, 7, &bytes)),
        }
    }
    patch.finish()
}

/// The items of an array or a map.
fn edit_items(message: &[u8], edit: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut patch = Patch::new(message);
    for field in fields(message) {
        if let (1, Value::Bytes(item)) = (field.number, field.value) {
            patch.nested(&field, edit(item));
        }
    }
    patch.finish()
}

fn edit_entry(entry: &[u8], leaf: Leaf<'_>, key: KeyText<'_>) -> Option<Vec<u8>> {
    let edited = edit_value_of(entry, leaf, key);
    let renamed = std::str::from_utf8(key_of(entry)).ok().and_then(key);
    let Some(name) = renamed else { return edited };
    with_field(edited.as_deref().unwrap_or(entry), 1, name.as_bytes()).or(edited)
}

/// A `KeyValue` message with another key or value: all fields of the number become one. `None` if it is the same.
fn with_field(message: &[u8], number: u32, content: &[u8]) -> Option<Vec<u8>> {
    if number == 2
        && KeyValueView::parse(message).is_ok_and(|view| view.value == AnyValue::parse(content).ok())
    {
        return None;
    }
    let mut patch = Patch::new(message);
    let mut written = false;
    for field in fields(message).filter(|field| field.number == number) {
        if written {
            patch.replace(&field, |_| {});
        } else {
            patch.replace(&field, |out| put_bytes(out, number, content));
        }
        written = true;
    }
    if !written {
        patch.append(|out| put_bytes(out, number, content));
    }
    patch.finish()
}

/// How many events and links a span has.
pub(crate) fn parts_of(span: &[u8]) -> (usize, usize) {
    fields(span).fold((0, 0), |(events, links), field| match field.number {
        11 => (events + 1, links),
        13 => (events, links + 1),
        _ => (events, links),
    })
}

/// The fields of a protobuf message. The decoder has checked the message; at bytes that are no field, the list ends.
fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || reader.next_field().ok().flatten())
}

// === impl Patch ===

impl<'m> Patch<'m> {
    fn new(message: &'m [u8]) -> Self {
        Self { message, out: Vec::new(), copied: 0, changed: false }
    }

    /// Writes something else in the place of a field.
    fn replace(&mut self, field: &Field<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.changed {
            self.out.reserve(self.message.len() + 16);
        }
        self.out.extend_from_slice(&self.message[self.copied..field.begin]);
        write(&mut self.out);
        self.copied = field.end;
        self.changed = true;
    }

    /// Replaces the content of a field, if there is another.
    fn nested(&mut self, field: &Field<'_>, content: Option<Vec<u8>>) {
        if let Some(content) = content {
            self.replace(field, |out| put_bytes(out, field.number, &content));
        }
    }

    fn attribute(&mut self, field: &Field<'_>, change: Change) {
        match change {
            Change::Stays => {}
            Change::Goes => self.replace(field, |_| {}),
            Change::Becomes(attribute) => self.nested(field, Some(attribute)),
        }
    }

    /// Writes behind everything.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(&self.message[self.copied..]);
        self.copied = self.message.len();
        write(&mut self.out);
        self.changed = true;
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        if !self.changed {
            return None;
        }
        self.out.extend_from_slice(&self.message[self.copied..]);
        Some(self.out)
    }
}
