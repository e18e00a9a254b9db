//! Values of every width, and bytes that are none.

use super::{Number, Reader};

#[test]
fn numbers_of_all_widths_are_read() {
    let cases: [(&[u8], Number); 14] = [
        (b"\x07", Number::Int(7)),
        (b"\xff", Number::Int(-1)),
        (b"\xcc\xff", Number::Int(255)),
        (b"\xcd\x01\x00", Number::Int(256)),
        (b"\xce\x00\x01\x00\x00", Number::Int(65_536)),
        (b"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", Number::Int(5)),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Number::Large(u64::MAX)),
        (b"\xd0\x80", Number::Int(-128)),
        (b"\xd1\x80\x00", Number::Int(-32_768)),
        (b"\xd2\xff\xff\xff\xfe", Number::Int(-2)),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Number::Int(i64::MIN)),
        (b"\xca\x3f\x00\x00\x00", Number::Double(0.5)),
        (b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00", Number::Double(0.5)),
        (b"\xc0", Number::Int(0)),
    ];
    for (bytes, number) in cases {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.number(), Ok(number), "{bytes:02x?}");
        reader.end().unwrap();
    }
    assert_eq!((Number::Int(-1).bits(), Number::Large(u64::MAX).whole()), (u64::MAX, i64::MAX));
}

#[test]
fn texts_and_heads_of_all_widths_are_read() {
    let long = [b"\xda\x01\x00".as_slice(), &[b'x'; 256]].concat();
    let longer = [b"\xdb\x00\x00\x01\x00".as_slice(), &[b'x'; 256]].concat();
    for (bytes, length) in [
        (&b"\xa1x"[..], 1),
        (b"\xd9\x01x", 1),
        (b"\xc4\x02xy", 2),
        (&long, 256),
        (&longer, 256),
        (b"\xc0", 0),
    ] {
        assert_eq!(Reader::new(bytes).text().unwrap().len(), length);
    }
    assert_eq!(Reader::new(b"\x92\x01\x02").array(), Ok(2));
    assert_eq!(Reader::new(b"\xdc\x00\x01\x02").array(), Ok(1));
    assert_eq!(Reader::new(b"\xdd\x00\x00\x00\x01\x02").array(), Ok(1));
    assert_eq!(Reader::new(b"\x81\x01\x02").map(), Ok(1));
    assert_eq!(Reader::new(b"\xde\x00\x01\x02\x02").map(), Ok(1));
    assert_eq!(Reader::new(b"\xdf\x00\x00\x00\x01\x02\x02").map(), Ok(1));
}

#[test]
fn any_value_is_skipped_however_deep_it_is() {
    let mut deep = vec![0x91; 1 << 20];
    deep.push(0xc0);
    let mut reader = Reader::new(&deep);
    reader.skip().unwrap();
    reader.end().unwrap();
    let all = b"\x98\xc2\xc3\xd4\x01\x02\xc7\x02\x05ab\x81\xa1k\x91\x01\xcb\0\0\0\0\0\0\0\0\xc5\0\x01x\xa0";
    let mut reader = Reader::new(all);
    reader.skip().unwrap();
    reader.end().unwrap();
}

#[test]
fn flaws_name_their_place() {
    let cases: [(&[u8], &str); 6] = [
        (b"\xdd\xff\xff\xff\xff", "the message ends inside a value at byte 5"),
        (b"\xdf\x00\x00\x00\x02\x01\x01", "the message ends inside a value at byte 5"),
        (b"\xdb\x00\x00\x00\x02x", "the message ends inside a value at byte 5"),
        (b"\x92\x01", "the message ends inside a value at byte 1"),
        (b"\xc1", "a byte begins no value at byte 0"),
        (b"", "the message ends inside a value at byte 0"),
    ];
    for (bytes, error) in cases {
        assert_eq!(Reader::new(bytes).skip().unwrap_err().to_string(), error, "{bytes:02x?}");
    }
    assert_eq!(Reader::new(b"\x01").text().unwrap_err().to_string(), "expected a text at byte 0");
    assert_eq!(Reader::new(b"\x01").array().unwrap_err().to_string(), "expected an array at byte 0");
    assert_eq!(Reader::new(b"\xa1x").number().unwrap_err().to_string(), "expected a number at byte 0");
    assert!(Reader::new(b"\x01").end().is_err());
}
