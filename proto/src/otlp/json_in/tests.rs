//! Examples of the mapping, its flaws and its bounds, and comparisons with protobuf on arbitrary requests.

use std::io::{self, Read};

use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::{SpanRecord, write_request_json};

const IDS: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174""#;

fn decode(text: &str) -> Decoded {
    decode_bytes(text.as_bytes())
}

fn decode_bytes(text: &[u8]) -> Decoded {
    decode_json_request(&mut &*text, &DecodeLimits::default()).unwrap()
}

fn refusal(text: &[u8]) -> String {
    decode_json_request(&mut &*text, &DecodeLimits::default()).unwrap_err().to_string()
}

/// A request of these spans. Each text has the members of a span after its IDs.
fn request(spans: &[&str]) -> String {
    let spans: Vec<String> = spans.iter().map(|members| format!("{{{IDS}{members}}}")).collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
}

fn spans(decoded: &Decoded) -> Vec<Span> {
    let span = |span: &DecodedSpan| Span::decode(&decoded.body[span.at.clone()]).unwrap();
    decoded.spans.iter().map(span).collect()
}

/// The only span of a request, which has to be accepted.
fn span(members: &str) -> Span {
    let decoded = decode(&request(&[members]));
    assert_eq!(decoded.rejected, Rejections::default(), "{members}");
    spans(&decoded).remove(0)
}

/// The reason for refusing the second of three spans; the others are accepted.
fn flaw(members: &str) -> String {
    flaw_of(request(&[r#","name":"first""#, members, r#","name":"last""#]).as_bytes())
}

fn flaw_of(text: &[u8]) -> String {
    let decoded = decode_bytes(text);
    let names: Vec<String> = spans(&decoded).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["first", "last"]);
    assert_eq!(decoded.rejected.count, 1);
    let reason = decoded.rejected.message();
    reason.strip_prefix("resourceSpans[0].scopeSpans[0].spans[1]").expect("its place").to_owned()
}

#[test]
fn reads_the_mapping_of_otlp() {
    let span = span(
        r#","parentSpanId":"","name":"GET /","kind":2,"startTimeUnixNano":"1544712660000000000",
        "endTimeUnixNano":1544712661000000000,"unknown":{"a":[1,{"b":[]},{}],"c":"\"]"},"droppedEventsCount":null,
        "flags":257,"attributes":[{"key":"i","value":{"intValue":"-9223372036854775808"}},
        {"key":"n","value":{"intValue":7}},{"key":"d","value":{"doubleValue":"NaN"}},
        {"key":"b","value":{"bytesValue":"_-8"}},{"key":"s","value":{"bytesValue":"/+8="}},
        {"key":"a","value":{"arrayValue":{}}},{"key":"e","value":{}},{"key":"none"},{"key":"null","value":null},
        {"value":{"stringValue":""},"key":"last"},
        {"key":"kv","value":{"kvlistValue":{"values":[{"key":"x","value":{"boolValue":false}}]}}}],
        "status":{"code":"STATUS_CODE_ERROR","message":"no"}"#,
    );
    assert_eq!((span.trace_id[0], span.span_id.len(), span.kind, span.flags), (0x5b, 8, 2, 257));
    assert_eq!(span.start_time_unix_nano + 1_000_000_000, span.end_time_unix_nano);
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let value = |i: usize| span.attributes[i].value.clone().and_then(|v| v.value);
    assert_eq!(value(0), Some(V::IntValue(i64::MIN)));
    assert_eq!(value(1), Some(V::IntValue(7)));
    assert!(matches!(value(2), Some(V::DoubleValue(d)) if d.is_nan()));
    assert_eq!(value(3), Some(V::BytesValue(vec![0xff, 0xef])));
    assert_eq!(value(4), Some(V::BytesValue(vec![0xff, 0xef])));
    assert!(matches!(value(5), Some(V::ArrayValue(a)) if a.values.is_empty()));
    assert_eq!((value(6), span.attributes[6].value.is_some()), (None, true));
    assert!(span.attributes[7].value.is_none() && span.attributes[8].value.is_none());
    assert_eq!((span.attributes[9].key.as_str(), value(9)), ("last", Some(V::StringValue(String::new()))));
    let Some(V::KvlistValue(list)) = value(10) else { panic!("no list") };
    assert_eq!(list.values[0].value.clone().unwrap().value, Some(V::BoolValue(false)));
}

#[test]
fn reads_names_in_snake_case_and_names_of_enums() {
    let decoded = decode(
        r#"{"resource_spans":[{"schema_url":"r","scope_spans":[{"spans":[{"trace_id":"5b8efff798038103d269b633813fc60c",
        "span_id":"eee19b7ec3c1b174","parent_span_id":"0123456789abcdef","start_time_unix_nano":5,
        "kind":"SPAN_KIND_CONSUMER","dropped_attributes_count":"3","\u006eame":"x"}]}]}]}"#,
    );
    let span = &spans(&decoded)[0];
    assert_eq!((span.kind, span.start_time_unix_nano, span.dropped_attributes_count), (5, 5, 3));
    assert_eq!((span.parent_span_id.len(), span.name.as_str()), (8, "x"));
    assert_eq!(decoded.spans[0].start, UnixNanos(5));
    assert_eq!(ResourceSpans::decode(&*decoded.resources[0]).unwrap().schema_url, "r");
}

#[test]
fn members_may_stand_in_any_order() {
    let decoded = decode(
        r#"{"x":1,"resourceSpans":[
        {"schemaUrl":"r","scopeSpans":[
            {"spans":[{"name":"a","spanId":"eee19b7ec3c1b174","traceId":"5b8efff798038103d269b633813fc60c"}],
             "schemaUrl":"s","scope":{"version":"1","name":"lib"}},
            {"spans":[]},
            {"spans":[{"flags":1,"spanId":"eee19b7ec3c1b174","kind":1,"traceId":"5b8efff798038103d269b633813fc60c"}]}],
         "resource":{"droppedAttributesCount":1,"attributes":[{"key":"k"}]}},
        {"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}"#,
    );
    let places: Vec<_> = decoded.spans.iter().map(|span| (span.resource, span.scope)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (1, 2)]);
    let resource = ResourceSpans::decode(&*decoded.resources[0]).unwrap();
    assert_eq!(resource.resource.as_ref().unwrap().attributes.len(), 1);
    assert_eq!(resource.encode_to_vec(), decoded.resources[0], "by field number");
    let scope = ScopeSpans::decode(&*decoded.scopes[0]).unwrap();
    assert_eq!((scope.schema_url.as_str(), scope.scope.as_ref().unwrap().name.as_str()), ("s", "lib"));
    assert_eq!(scope.encode_to_vec(), decoded.scopes[0]);
    assert!(decoded.resources[1].is_empty() && decoded.scopes[1].is_empty() && decoded.scopes[2].is_empty());
    for (span, found) in spans(&decoded).iter().zip(&decoded.spans) {
        assert_eq!(span.encode_to_vec(), decoded.body[found.at.clone()], "by field number");
    }
}

#[test]
fn defaults_are_left_out_and_presence_is_kept() {
    let bare = span("");
    assert_eq!(bare, span(r#","parentSpanId":"","traceState":"","name":"","kind":0,"kind":null"#));
    let explicit = request(&[
        r#","kind":"SPAN_KIND_UNSPECIFIED","startTimeUnixNano":"0","endTimeUnixNano":0.0,"flags":0,
        "droppedAttributesCount":0,"droppedEventsCount":"0","droppedLinksCount":0,"attributes":[],"events":[],"links":[]"#,
    ]);
    assert_eq!(decode(&explicit).body, bare.encode_to_vec());
    let status = span(r#","status":{"code":0,"message":""}"#);
    assert_eq!(status.status, Some(Default::default()));
    let decoded = decode(&request(&[""]).replace("\"scopeSpans\"", "\"resource\":{},\"scopeSpans\""));
    let resource = ResourceSpans::decode(&*decoded.resources[0]).unwrap();
    assert_eq!(resource.resource, Some(Resource::default()));
}

#[test]
fn a_flaw_of_a_span_costs_that_span() {
    let bad_id = |id: &str| {
        let text = request(&[r#","name":"first""#, "", r#","name":"last""#]);
        let second = text.match_indices("\"5B8EFFF798038103D269B633813FC60C\"").nth(1).unwrap();
        flaw_of(format!("{}{id}{}", &text[..second.0], &text[second.0 + 34..]).as_bytes())
    };
    let wanted = ".traceId: expected a trace ID: 32 hex digits, not all zero, found ";
    assert_eq!(
        bad_id("\"5B8EFFF798038103D269B633813FC60\""),
        format!("{wanted}5B8EFFF798038103D269B633813FC60")
    );
    assert_eq!(bad_id("\"abc\""), format!("{wanted}abc"));
    assert_eq!(bad_id(&format!("\"{}\"", "z".repeat(32))), format!("{wanted}{}", "z".repeat(32)));
    assert_eq!(bad_id(&format!("\"{}\"", "0".repeat(32))), format!("{wanted}{}", "0".repeat(32)));
    assert_eq!(bad_id("7"), format!("{wanted}7"));
    assert_eq!(bad_id("{\"a\":[]}"), format!("{wanted}an object"));
    assert_eq!(bad_id("null"), ".traceId: is missing");

    for (members, reason) in [
        (r#","name":7"#, ".name: expected a string, found 7"),
        (r#","kind":"SERVER""#, ".kind: expected the number of an enum value, or its name, found SERVER"),
        (
            r#","kind":2147483648"#,
            ".kind: expected the number of an enum value, or its name, found 2147483648",
        ),
        (r#","flags":-1"#, ".flags: expected a whole number from 0 to 4294967295, found -1"),
        (r#","attributes":{}"#, ".attributes: expected an array, found an object"),
        (r#","attributes":[null]"#, ".attributes[0]: expected an object, found null"),
        (r#","attributes":[{"key":"a"},{"key":true}]"#, ".attributes[1].key: expected a string, found true"),
        (
            r#","attributes":[{"value":{"boolValue":1}}]"#,
            ".attributes[0].value.boolValue: expected true or false, found 1",
        ),
        (
            r#","attributes":[{"value":{"bytesValue":"!"}}]"#,
            ".attributes[0].value.bytesValue: expected base64, found !",
        ),
        (
            r#","attributes":[{"value":{"intValue":"9223372036854775808"}}]"#,
            ".attributes[0].value.intValue: expected a whole number of 64 bits, as a string or a number, found 9223372036854775808",
        ),
        (
            r#","attributes":[{"value":{"doubleValue":1e999}}]"#,
            ".attributes[0].value.doubleValue: expected a number, found 1e999",
        ),
        (
            r#","attributes":[{"value":{"intValue":1,"stringValue":""}}]"#,
            ".attributes[0].value.stringValue: is a second type for one value",
        ),
        (
            r#","links":[{},{"traceId":"abc"}]"#,
            ".links[1].traceId: expected an even number of hex digits, found abc",
        ),
        (
            r#","events":[{"timeUnixNano":[]}]"#,
            ".events[0].timeUnixNano: expected a whole number from 0 to 18446744073709551615, as a string or a number, found an array",
        ),
        (r#","status":"ok""#, r#".status: expected an object, found "ok""#),
        (r#","name":"a","name":"b""#, ".name: is given twice"),
        (r#","start_time_unix_nano":1,"startTimeUnixNano":1"#, ".startTimeUnixNano: is given twice"),
    ] {
        assert_eq!(flaw(members), reason);
    }
    let text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[7,[{}],"x",null]}]}]}"#;
    assert_eq!(decode(text).rejected.count, 4);
}

#[test]
fn numbers_are_exact() {
    for (text, value) in [
        ("1.795988707752e18", 1_795_988_707_752_000_000),
        ("1.795988707752E+18", 1_795_988_707_752_000_000),
        ("\"1.795988707752e18\"", 1_795_988_707_752_000_000),
        ("0.5e1", 5),
        ("9007199254740993", 9_007_199_254_740_993),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(span(&format!(r#","endTimeUnixNano":{text}"#)).end_time_unix_nano, value, "{text}");
    }
    assert_eq!(span(r#","droppedEventsCount":0.5e1"#).dropped_events_count, 5);
    for text in ["1.5", "1e20", "18446744073709551616", "-1", "\"\"", "\"12x\""] {
        let reason = flaw(&format!(r#","startTimeUnixNano":{text}"#));
        assert!(reason.starts_with(".startTimeUnixNano: expected a whole number"), "{reason}");
    }
}

#[test]
fn texts_cut_inside_a_character_are_kept() {
    let span = span(
        r#","name":"party \ud83c","attributes":[{"key":"\udf89k","value":{"stringValue":"\ud83c\udf89"}}]"#,
    );
    assert_eq!((span.name.as_str(), span.attributes[0].key.as_str()), ("party \u{fffd}", "\u{fffd}k"));
    assert_eq!(span.attributes[0].value.clone().unwrap().value, Some(V::StringValue("🎉".to_owned())));
    let text = request(&[""]).replace("{\"scopeSpans\"", r#"{"schemaUrl":"\ud83c","scopeSpans""#);
    assert_eq!(ResourceSpans::decode(&*decode(&text).resources[0]).unwrap().schema_url, "\u{fffd}");
}

#[test]
fn text_that_is_no_utf8_costs_what_it_belongs_to() {
    let bytes = |text: &str| -> Vec<u8> { text.bytes().map(|b| if b == b'~' { 0xff } else { b }).collect() };
    let text = request(&[r#","name":"first""#, r#","name":"a~""#, r#","name":"last""#]);
    assert_eq!(flaw_of(&bytes(&text)), ".name: a string is not valid UTF-8");
    // Values of unknown members are not decoded.
    let text = request(&[r#","unknown":"a~","~":{"~":1}"#]);
    assert_eq!(decode_bytes(&bytes(&text)).spans.len(), 1);
}

#[test]
fn a_flaw_of_a_resource_or_scope_costs_the_spans_below_it() {
    let span = format!("{{{IDS}}}");
    let healthy = format!(r#"{{"scopeSpans":[{{"spans":[{span}]}}]}}"#);
    for (resource, count, reason) in [
        (
            format!(r#"{{"resource":7,"scopeSpans":[{{"spans":[{span},{span}]}}]}}"#),
            2,
            ".resource: expected an object, found 7",
        ),
        (
            format!(r#"{{"scopeSpans":[{{"spans":[{span},{{}}]}}],"schemaUrl":[]}}"#),
            2,
            ".schemaUrl: expected a string, found an array",
        ),
        (
            format!(r#"{{"scopeSpans":[{{"spans":[{span}]}}],"scopeSpans":[]}}"#),
            1,
            ".scopeSpans: is given twice",
        ),
        (r#"{"scopeSpans":{}}"#.to_owned(), 0, ".scopeSpans: expected an array, found an object"),
        ("7".to_owned(), 0, ": expected an object, found 7"),
    ] {
        let text = format!(r#"{{"resourceSpans":[{healthy},{resource},{healthy}]}}"#);
        let decoded = decode(&text);
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (2, count), "{text}");
        assert_eq!((decoded.resources.len(), decoded.scopes.len()), (2, 2), "{text}");
        assert_eq!((decoded.spans[1].resource, decoded.spans[1].scope), (1, 1));
        assert!(
            decoded.rejected.message().contains(&format!("resourceSpans[1]{reason}")),
            "{:?}",
            decoded.rejected
        );
    }
    let scope = format!(r#"{{"spans":[{span}],"scope":{{"name":[]}}}}"#);
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{scope},{{"spans":[{span}]}}]}}]}}"#);
    let decoded = decode(&text);
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
    assert_eq!((decoded.spans[0].scope, decoded.scopes.len()), (0, 1));
    assert!(decoded.rejected.message().contains("scopeSpans[0].scope.name"), "{:?}", decoded.rejected);
}

#[test]
fn what_is_no_request_is_refused_with_its_place() {
    let cut = request(&[r#","name":"x""#]);
    for (text, place, why) in [
        ("[]", "body", "expected an object, found an array"),
        ("", "body", "expected a value, found the end, at line 1 column 1"),
        ("\u{feff}{}", "body", "expected a value, at line 1 column 1"),
        ("{", "body", "expected the name of a member"),
        ("{}\n x", "body", "more text follows the request, at line 2 column 2"),
        (r#"{"resourceSpans":7}"#, "resourceSpans", "expected an array, found 7"),
        (r#"{"resourceSpans":[],"resource_spans":[]}"#, "resourceSpans", "is given twice"),
        (r#"{"resourceSpans":[{"scopeSpans":{}}]}"#, "resourceSpans[0].scopeSpans", "expected an array"),
        (r#"{"resourceSpans":[{]}"#, "resourceSpans[0]", "expected the name of a member"),
        (r#"{"resourceSpans":[{},]}"#, "resourceSpans[1]", "expected a value"),
        (&cut[..cut.len() - 7], "resourceSpans[0].scopeSpans[0].spans[0]", "expected a comma, or the end"),
        (r#"{"a":01}"#, "body", "a number is not written as JSON writes it"),
        (r#"{"a":NaN}"#, "body", "expected a value"),
        (r#"{"a":nul}"#, "body", "expected true, false or null"),
        (r#"{"a":"\x"}"#, "body", "an escape that JSON does not know"),
        (r#"{"a":"\ud83"}"#, "body", "without four hex digits"),
        ("{\"a\":\"\n\"}", "body", "a control character"),
        (r#"{"a":"b"#, "body", "the text ends inside a string"),
        (r#"{"a":[1}}"#, "body", "expected a comma, or the end"),
        (r#"{'a':1}"#, "body", "expected the name of a member"),
    ] {
        let refusal = refusal(text.as_bytes());
        assert!(refusal.starts_with(&format!("not an OTLP/JSON request: {place}: ")), "{text}: {refusal}");
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
}

#[test]
fn limits_are_named_and_bound_what_is_held() {
    let nested = |depth: usize| {
        let value = "{\"arrayValue\":{\"values\":[".repeat(depth) + "{}" + &"]}}".repeat(depth);
        format!(r#","attributes":[{{"key":"k","value":{value}}}]"#)
    };
    assert_eq!(decode(&request(&[&nested(31)])).spans.len(), 1);
    for depth in [32, 40, 100_000] {
        let reason = flaw(&nested(depth));
        assert!(reason.ends_with("an attribute nests deeper than maxNesting = 32"), "{reason}");
    }
    let limits = DecodeLimits { max_span_bytes: 100, max_resource_bytes: 50, max_nesting: 3 };
    let large = format!(r#","attributes":[{}{{}}]"#, "{},".repeat(1_000_000));
    let text = request(&[&large, ""]);
    let decoded = decode_json_request(&mut text.as_bytes(), &limits).unwrap();
    assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
    assert!(decoded.rejected.message().contains("over maxSpanBytes = 100"), "{:?}", decoded.rejected);
    let text = request(&[""])
        .replace("{\"scopeSpans\"", &format!(r#"{{"schemaUrl":"{}","scopeSpans""#, "x".repeat(60)));
    let decoded = decode_json_request(&mut text.as_bytes(), &limits).unwrap();
    assert!(decoded.spans.is_empty() && decoded.body.is_empty());
    assert!(
        decoded.rejected.message().contains("schemaUrl: over maxResourceBytes = 50"),
        "{:?}",
        decoded.rejected
    );
}

/// A source that returns one byte at a time.
struct Trickle<'t>(&'t [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn texts_longer_than_what_is_read_at_once_are_whole() {
    let long = "long ä\\n".repeat(40_000);
    let text =
        request(&[&format!(r#","name":"{long}""#), &format!(r#","traceState":"{long}","{long}":"{long}""#)]);
    let decoded = decode(&text);
    let name = &spans(&decoded)[0].name;
    assert!(*name == long.replace("\\n", "\n"));
    let trickled = decode_json_request(&mut Trickle(text.as_bytes()), &DecodeLimits::default()).unwrap();
    assert_eq!(trickled.body, decoded.body);
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let error = decode_json_request(&mut Broken, &DecodeLimits::default()).unwrap_err();
    assert!(matches!(error, JsonError::Read(_)), "{error}");
}

proptest! {
    /// Arbitrary text never panics; accepted spans are no longer than the text and can be written again.
    #[test]
    fn arbitrary_bytes_are_judged(
        pieces in prop::collection::vec(prop_oneof![
            6 => prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"resourceSpans\"", "\"scopeSpans\"", "\"spans\"", "\"attributes\"",
                "\"key\"", "\"value\"", "\"stringValue\"", "\"intValue\"", "\"name\"", "\"a\\ud83c\"", "1e3", "-0.5",
                "null", "true", "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{", IDS, "\"events\":[{",
            ]).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ], 0..60),
    ) {
        let text = pieces.concat();
        let ours = decode_json_request(&mut &*text, &DecodeLimits::default());
        // Another parser decides whether the text is JSON.
        match (&ours, serde_json::from_slice::<serde::de::IgnoredAny>(&text)) {
            (Ok(_), theirs) => prop_assert!(theirs.is_ok(), "{:?}", String::from_utf8_lossy(&text)),
            (Err(error), Ok(_)) => prop_assert!(!error.to_string().contains(", at line "), "{}", error),
            (Err(_), Err(_)) => {}
        }
        if let Ok(decoded) = ours {
            prop_assert!(decoded.body.len() <= text.len());
            let records = decoded.spans.iter().map(|span| SpanRecord {
                resource: &decoded.resources[span.resource as usize],
                scope: &decoded.scopes[span.scope as usize],
                span: &decoded.body[span.at.clone()],
            });
            write_request_json(&mut Vec::new(), records).unwrap();
        }
    }

    /// White space between tokens makes no difference.
    #[test]
    fn white_space_says_nothing(spaces in prop::collection::vec(" |\t|\n|\r\n|", 40)) {
        let text = request(&[r#","kind":3,"attributes":[{"key":"k","value":{"doubleValue":-1.5e3}}]"#]);
        let mut spaces = spaces.iter().cycle();
        let mut spaced = String::new();
        for character in text.chars() {
            if matches!(character, '{' | '}' | '[' | ']' | ',' | ':') {
                spaced.extend([spaces.next().unwrap().as_str(), &character.to_string(), spaces.next().unwrap().as_str()]);
            } else {
                spaced.push(character);
            }
        }
        prop_assert_eq!(decode(&spaced).body, decode(&text).body);
    }
}
