//! Which attributes there are, from the dictionaries of blocks: no page is read.

use std::collections::{BTreeMap, BTreeSet};

use spandrel_block::{Dictionary, FieldEncoding, Level, Slot};
use spandrel_proto::otlp::{AnyValue, Attributes, ResourceView, ScopeView};
use spandrel_proto::{TenantId, TimeRange};

use crate::api::Damage;
use crate::store::core::Core;
use crate::store::core::block_reader::BlockError;
use crate::table::{AttributeLevel, KnownAttribute, ValueType};

/// The types of each attribute.
type Known = BTreeMap<(AttributeLevel, String), BTreeSet<ValueType>>;

/// The attributes in all blocks that touch the range. An attribute that is kept as bytes, because its sender wrote it in
/// an unusual way, is not named.
pub(crate) fn attributes(core: &Core, tenant: &TenantId, range: TimeRange) -> Vec<KnownAttribute> {
    let Some(state) = core.tenants.get(tenant) else { return Vec::new() };
    let (view, damage) = (state.view(), Damage::default());
    let mut known = Known::new();
    for entry in view.iter().filter(|entry| entry.row.meta.touches(&range)) {
        // Log records have attributes of events.
        let add = if entry.row.meta.logs { add_events } else { add };
        let added = core.reader.dictionary(entry).and_then(|dictionary| add(&dictionary, &mut known));
        if let Err(error) = added {
            core.report_damage(entry, &error, &damage);
        }
    }
    let attribute = |((level, key), types): ((AttributeLevel, String), BTreeSet<ValueType>)| KnownAttribute {
        level,
        key,
        types: types.into_iter().collect(),
    };
    known.into_iter().map(attribute).collect()
}

fn add(dictionary: &Dictionary, known: &mut Known) -> Result<(), BlockError> {
    for slot in &dictionary.slots {
        add_slot(slot, known);
    }
    for resource in &dictionary.resources {
        add_all(AttributeLevel::Resource, ResourceView::parse(resource)?.attributes(), known);
    }
    for scope in &dictionary.scopes {
        add_all(AttributeLevel::Scope, ScopeView::parse(scope)?.attributes(), known);
    }
    Ok(())
}

fn add_events(dictionary: &Dictionary, known: &mut Known) -> Result<(), BlockError> {
    dictionary.slots.iter().filter(|slot| slot.level == Level::Event).for_each(|slot| add_slot(slot, known));
    Ok(())
}

fn add_slot(slot: &Slot, known: &mut Known) {
    let value_type = match slot.encoding {
        FieldEncoding::String => ValueType::String,
        FieldEncoding::Int => ValueType::Int,
        FieldEncoding::Double => ValueType::Double,
        FieldEncoding::Array => ValueType::Array,
        FieldEncoding::KeyValues => ValueType::KeyValues,
        FieldEncoding::Blob => ValueType::Bytes,
        _ => {
            if let Some((key, value)) = slot.span_literal()
                && let Ok(key) = std::str::from_utf8(key)
            {
                insert(AttributeLevel::Span, key, type_of(value), known);
            }
            return;
        }
    };
    let level = match slot.level {
        Level::Span => AttributeLevel::Span,
        Level::Event => AttributeLevel::Event,
        Level::Link => AttributeLevel::Link,
    };
    if let Ok(key) = std::str::from_utf8(&slot.name) {
        insert(level, key, value_type, known);
    }
}

fn add_all(level: AttributeLevel, attributes: Attributes<'_>, known: &mut Known) {
    for attribute in attributes.filter_map(Result::ok) {
        insert(level, attribute.key, type_of(attribute.value.unwrap_or(AnyValue::Empty)), known);
    }
}

fn insert(level: AttributeLevel, key: &str, value_type: ValueType, known: &mut Known) {
    known.entry((level, key.to_owned())).or_default().insert(value_type);
}

fn type_of(value: AnyValue<'_>) -> ValueType {
    match value {
        AnyValue::String(_) => ValueType::String,
        AnyValue::Bool(_) => ValueType::Bool,
        AnyValue::Int(_) => ValueType::Int,
        AnyValue::Double(_) => ValueType::Double,
        AnyValue::Array(_) => ValueType::Array,
        AnyValue::KeyValues(_) => ValueType::KeyValues,
        AnyValue::Bytes(_) => ValueType::Bytes,
        AnyValue::Empty => ValueType::Empty,
    }
}
