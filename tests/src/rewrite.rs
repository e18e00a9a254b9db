//! Encodes the same request in other bytes: fields in another order, defaults spelled out, values that are overwritten,
//! messages in two parts, varints longer than necessary. Generated code decodes it to the same request.

use prost::encoding::encode_varint;
use spandrel_proto::otlp::wire::{Reader, Value};

/// The type of a message.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Request,
    ResourceSpans,
    Resource,
    EntityRef,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Status,
    KeyValue,
    AnyValue,
    Array,
    List,
}

/// The type of a field.
#[derive(Clone, Copy, PartialEq)]
enum Is {
    Bytes,
    Varint,
    Fixed64,
    Fixed32,
    One(Of),
    Each(Of),
    EachText,
}

/// A random generator with a seed.
struct Dice(u64);

/// The number and the bytes of a field.
type Written = (u32, Vec<u8>);

/// The request in other bytes, which depend on the seed.
pub fn rewritten(request: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(2).wrapping_add(1));
    message(request, Of::Request, &mut dice)
}

fn message(bytes: &[u8], of: Of, dice: &mut Dice) -> Vec<u8> {
    let mut fields: Vec<Written> = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next_field().unwrap() {
        let (number, is) = (field.number, of.field(field.number));
        match (is, field.value) {
            (Some(Is::One(inner) | Is::Each(inner)), Value::Bytes(payload)) => {
                let payload = message(payload, inner, dice);
                match is {
                    // A list in two parts would be two lists, of which the last one counts.
                    Some(Is::One(_)) if of != Of::AnyValue && inner != Of::AnyValue && dice.in_two() => {
                        let (front, back) = halves(&payload, dice);
                        fields.extend([front, back].map(|half| (number, delimited(number, &half, dice))));
                    }
                    _ => fields.push((number, delimited(number, &payload, dice))),
                }
            }
            (_, Value::Bytes(payload)) => fields.push((number, delimited(number, payload, dice))),
            (_, Value::Varint(value)) => fields.push((number, varint_field(number, value, dice))),
            _ => fields.push((number, bytes[field.begin..field.end].to_vec())),
        }
    }
    add_what_says_nothing(&mut fields, of, dice);
    // The order by number is random, but fields of one number keep theirs.
    let order: Vec<u64> = (0..1024).map(|_| dice.roll()).collect();
    fields.sort_by_key(|(number, _)| order[*number as usize % order.len()]);
    fields.into_iter().flat_map(|(_, bytes)| bytes).collect()
}

/// Adds defaults for missing fields, and values that later ones overwrite.
fn add_what_says_nothing(fields: &mut Vec<Written>, of: Of, dice: &mut Dice) {
    if of == Of::AnyValue {
        return add_other_member(fields, dice);
    }
    // The decoder refuses these if they are sent twice.
    let once = |number: u32| of == Of::Span && matches!(number, 1 | 2 | 7);
    for &(number, is) in of.fields() {
        let is_there = fields.iter().any(|(known, _)| *known == number);
        if once(number) || is_there && matches!(is, Is::One(_)) || dice.in_two() {
            continue;
        }
        let stale = u8::from(is_there);
        let extra = match is {
            Is::Bytes => delimited(number, &vec![b'x'; usize::from(stale)], dice),
            Is::Varint => varint_field(number, u64::from(stale), dice),
            Is::Fixed64 => [tag(number, 1, dice), vec![stale; 8]].concat(),
            Is::Fixed32 => [tag(number, 5, dice), vec![stale; 4]].concat(),
            Is::One(_) => delimited(number, &[], dice),
            Is::Each(_) | Is::EachText => continue,
        };
        fields.insert(0, (number, extra));
    }
}

/// Adds a value of another type, which the later one overwrites.
fn add_other_member(fields: &mut Vec<Written>, dice: &mut Dice) {
    let Some((last, _)) = fields.last().cloned().filter(|_| dice.in_two()) else { return };
    let other = if last == 2 { varint_field(3, 7, dice) } else { varint_field(2, 1, dice) };
    // As one of the same number, so that it stays in front.
    fields.insert(0, (last, other));
}

/// Splits the fields of a message into two parts.
fn halves(bytes: &[u8], dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
    let mut ends = vec![0];
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next_field().unwrap() {
        ends.push(field.end);
    }
    let (front, back) = bytes.split_at(ends[dice.roll() as usize % ends.len()]);
    (front.to_vec(), back.to_vec())
}

fn tag(number: u32, wire_type: u64, dice: &mut Dice) -> Vec<u8> {
    varint(u64::from(number) << 3 | wire_type, dice)
}

fn delimited(number: u32, payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    [tag(number, 2, dice), varint(payload.len() as u64, dice), payload.to_vec()].concat()
}

fn varint_field(number: u32, value: u64, dice: &mut Dice) -> Vec<u8> {
    [tag(number, 0, dice), varint(value, dice)].concat()
}

/// A varint, sometimes longer than necessary.
fn varint(value: u64, dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint(value, &mut out);
    if out.len() < 4 && dice.roll().is_multiple_of(4) {
        *out.last_mut().unwrap() |= 0x80;
        out.push(0);
    }
    out
}

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn in_two(&mut self) -> bool {
        self.roll().is_multiple_of(2)
    }
}

impl Of {
    fn field(self, number: u32) -> Option<Is> {
        self.fields().iter().find(|(known, _)| *known == number).map(|(_, is)| *is)
    }

    fn fields(self) -> &'static [(u32, Is)] {
        use Is::{Bytes, Each, EachText, Fixed32, Fixed64, One, Varint};
        match self {
            Self::Request => &[(1, Each(Self::ResourceSpans))],
            Self::ResourceSpans => &[(1, One(Self::Resource)), (2, Each(Self::ScopeSpans)), (3, Bytes)],
            Self::Resource => &[(1, Each(Self::KeyValue)), (2, Varint), (3, Each(Self::EntityRef))],
            Self::EntityRef => &[(1, Bytes), (2, Bytes), (3, EachText), (4, EachText)],
            Self::ScopeSpans => &[(1, One(Self::Scope)), (2, Each(Self::Span)), (3, Bytes)],
            Self::Scope => &[(1, Bytes), (2, Bytes), (3, Each(Self::KeyValue)), (4, Varint)],
            Self::Span => &[
                (1, Bytes),
                (2, Bytes),
                (3, Bytes),
                (4, Bytes),
                (5, Bytes),
                (6, Varint),
                (7, Fixed64),
                (8, Fixed64),
                (9, Each(Self::KeyValue)),
                (10, Varint),
                (11, Each(Self::Event)),
                (12, Varint),
                (13, Each(Self::Link)),
                (14, Varint),
                (15, One(Self::Status)),
                (16, Fixed32),
            ],
            Self::Event => &[(1, Fixed64), (2, Bytes), (3, Each(Self::KeyValue)), (4, Varint)],
            Self::Link => {
                &[(1, Bytes), (2, Bytes), (3, Bytes), (4, Each(Self::KeyValue)), (5, Varint), (6, Fixed32)]
            }
            Self::Status => &[(2, Bytes), (3, Varint)],
            Self::KeyValue => &[(1, Bytes), (2, One(Self::AnyValue))],
            Self::AnyValue => &[(5, One(Self::Array)), (6, One(Self::List))],
            Self::Array => &[(1, Each(Self::AnyValue))],
            Self::List => &[(1, Each(Self::KeyValue))],
        }
    }
}
