//! Random values written by a plain writer are read as they were written, and no bytes make the reader panic, run on, or
//! take memory by a length that is only declared.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Bool(bool),
    I16(i16),
    I32(i32),
    I64(i64),
    Double(f64),
    Binary(Vec<u8>),
    List(Type, Vec<Tree>),
    Struct(Vec<(i16, Tree)>),
}

// === a plain writer ===

impl Tree {
    fn kind(&self) -> Type {
        match self {
            Self::Bool(_) => Type::Bool,
            Self::I16(_) => Type::I16,
            Self::I32(_) => Type::I32,
            Self::I64(_) => Type::I64,
            Self::Double(_) => Type::Double,
            Self::Binary(_) => Type::Binary,
            Self::List(..) => Type::List,
            Self::Struct(_) => Type::Struct,
        }
    }

    fn write(&self, protocol: Protocol, out: &mut Vec<u8>) {
        match (self, protocol) {
            (Self::Bool(value), _) => out.push(u8::from(*value)),
            (Self::I16(value), Protocol::Binary) => out.extend(value.to_be_bytes()),
            (Self::I32(value), Protocol::Binary) => out.extend(value.to_be_bytes()),
            (Self::I64(value), Protocol::Binary) => out.extend(value.to_be_bytes()),
            (Self::I16(value), Protocol::Compact) => varint(out, zigzag(i64::from(*value))),
            (Self::I32(value), Protocol::Compact) => varint(out, zigzag(i64::from(*value))),
            (Self::I64(value), Protocol::Compact) => varint(out, zigzag(*value)),
            (Self::Double(value), Protocol::Binary) => out.extend(value.to_be_bytes()),
            (Self::Double(value), Protocol::Compact) => out.extend(value.to_le_bytes()),
            (Self::Binary(bytes), _) => {
                match protocol {
                    Protocol::Binary => out.extend((bytes.len() as u32).to_be_bytes()),
                    Protocol::Compact => varint(out, bytes.len() as u64),
                }
                out.extend(bytes);
            }
            (Self::List(kind, items), _) => {
                let code = code(*kind, protocol);
                match protocol {
                    Protocol::Binary => {
                        out.push(code);
                        out.extend((items.len() as u32).to_be_bytes());
                    }
                    Protocol::Compact if items.len() < 15 => out.push((items.len() as u8) << 4 | code),
                    Protocol::Compact => {
                        out.push(0xf0 | code);
                        varint(out, items.len() as u64);
                    }
                }
                items.iter().for_each(|item| item.write(protocol, out));
            }
            (Self::Struct(fields), _) => {
                let mut last = 0;
                for (id, value) in fields {
                    field(*id, last, value, protocol, out);
                    last = *id;
                }
                out.push(0);
            }
        }
    }
}

fn field(id: i16, last: i16, value: &Tree, protocol: Protocol, out: &mut Vec<u8>) {
    if protocol == Protocol::Binary {
        out.push(code(value.kind(), protocol));
        out.extend(id.to_be_bytes());
        return value.write(protocol, out);
    }
    let code = match value {
        Tree::Bool(true) => 1,
        Tree::Bool(false) => 2,
        other => code(other.kind(), protocol),
    };
    match i32::from(id) - i32::from(last) {
        more @ 1..=15 => out.push((more as u8) << 4 | code),
        _ => {
            out.push(code);
            varint(out, zigzag(i64::from(id)));
        }
    }
    if !matches!(value, Tree::Bool(_)) {
        value.write(protocol, out);
    }
}

fn code(kind: Type, protocol: Protocol) -> u8 {
    let (binary, compact) = match kind {
        Type::Bool => (2, 1),
        Type::I16 => (6, 4),
        Type::I32 => (8, 5),
        Type::I64 => (10, 6),
        Type::Double => (4, 7),
        Type::Binary => (11, 8),
        Type::List => (15, 9),
        _ => (12, 12),
    };
    if protocol == Protocol::Binary { binary } else { compact }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn varint(out: &mut Vec<u8>, value: u64) {
    crate::otlp::wire::put_varint(out, value);
}

// === the reader under test ===

fn read(reader: &mut Reader<'_>, kind: Type) -> Result<Tree, ThriftError> {
    Ok(match kind {
        Type::Bool => Tree::Bool(reader.bool()?),
        Type::I16 => Tree::I16(reader.i16()?),
        Type::I32 => Tree::I32(reader.i32()?),
        Type::I64 => Tree::I64(reader.i64()?),
        Type::Double => Tree::Double(reader.double()?),
        Type::Binary => Tree::Binary(reader.bytes()?.to_vec()),
        Type::List => {
            let list = reader.list()?;
            let items = (0..list.length).map(|_| read(reader, list.item)).collect::<Result<Vec<_>, _>>()?;
            Tree::List(list.item, items)
        }
        _ => {
            let (mut fields, mut read_fields) = (Fields::default(), Vec::new());
            while let Some(field) = reader.next_field(&mut fields)? {
                read_fields.push((field.id, read(reader, field.kind)?));
            }
            Tree::Struct(read_fields)
        }
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Tree::Bool),
        any::<i16>().prop_map(Tree::I16),
        any::<i32>().prop_map(Tree::I32),
        any::<i64>().prop_map(Tree::I64),
        (-1e9..1e9).prop_map(Tree::Double),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Tree::Binary),
    ];
    leaf.prop_recursive(4, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec((any::<i16>(), inner.clone()), 0..5).prop_map(Tree::Struct),
            prop::collection::vec((1..20_i16, inner.clone()), 0..5).prop_map(Tree::Struct),
            (inner, 1..20_usize).prop_map(|(item, count)| Tree::List(item.kind(), vec![item; count])),
        ]
    })
}

const BOTH: [Protocol; 2] = [Protocol::Binary, Protocol::Compact];

proptest! {
    #[test]
    fn what_is_written_is_read(tree in tree()) {
        for protocol in BOTH {
            let mut bytes = Vec::new();
            tree.write(protocol, &mut bytes);
            let mut reader = Reader::new(&bytes, protocol);
            prop_assert_eq!(&read(&mut reader, tree.kind()).unwrap(), &tree);
            prop_assert_eq!(reader.offset(), bytes.len());
            let mut reader = Reader::new(&bytes, protocol);
            reader.skip(tree.kind()).unwrap();
            prop_assert_eq!(reader.offset(), bytes.len(), "skipped");
            for end in 0..bytes.len().min(50) {
                prop_assert!(Reader::new(&bytes[..end], protocol).skip(tree.kind()).is_err());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for protocol in BOTH {
            for kind in [Type::Struct, Type::List, Type::Map] {
                let mut reader = Reader::new(&bytes, protocol);
                let _ = reader.skip(kind);
                prop_assert!(reader.offset() <= bytes.len());
            }
            let _ = Reader::new(&bytes, protocol).message();
        }
    }
}

#[test]
fn lengths_that_are_only_declared_are_refused() {
    for length in [5_i32, i32::MAX] {
        let list = [&[12][..], &length.to_be_bytes()].concat();
        let refused = Reader::new(&list, Protocol::Binary).list().unwrap_err();
        assert_eq!(refused.kind, ThriftErrorKind::Truncated);
        let text = [&length.to_be_bytes()[..], b"abcd"].concat();
        assert!(Reader::new(&text, Protocol::Binary).bytes().is_err());
    }
    let below = (-1_i32).to_be_bytes();
    assert_eq!(
        Reader::new(&below, Protocol::Binary).bytes().unwrap_err().kind,
        ThriftErrorKind::NegativeLength
    );
    let huge = [&[0xfc][..], &[0xff; 9], &[0x01]].concat();
    assert!(Reader::new(&huge, Protocol::Compact).list().is_err());
}

#[test]
fn deep_values_do_not_reach_the_end_of_the_stack() {
    // Lists of one list each, and structs in structs.
    let lists = [15, 0, 0, 0, 1].repeat(100_000);
    assert_eq!(
        Reader::new(&lists, Protocol::Binary).skip(Type::List).unwrap_err().kind,
        ThriftErrorKind::TooDeep
    );
    let structs = [0x1c].repeat(100_000);
    assert_eq!(
        Reader::new(&structs, Protocol::Compact).skip(Type::Struct).unwrap_err().kind,
        ThriftErrorKind::TooDeep
    );
}

#[test]
fn heads_of_messages_in_all_their_forms() {
    let strict = [&[0x80, 1, 0, 4][..], &[0, 0, 0, 1, b'f'], &[0; 4]].concat();
    assert_eq!(Reader::new(&strict, Protocol::Binary).message().unwrap().name, b"f");
    let old = [&[0, 0, 0, 1, b'f'][..], &[4], &[0; 4]].concat();
    assert_eq!(Reader::new(&old, Protocol::Binary).message().unwrap().name, b"f");
    let compact = [0x82, 0x81, 0x05, 1, b'f'];
    assert_eq!(Reader::new(&compact, Protocol::Compact).message().unwrap().name, b"f");
    assert!(Reader::new(&compact, Protocol::Binary).message().is_err());
    assert!(Reader::new(&strict, Protocol::Compact).message().is_err());
}
