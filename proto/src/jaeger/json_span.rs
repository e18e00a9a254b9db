//! One span of `jaeger.api_v2` in the JSON of protobuf, as Kafka's topics have it: bytes, IDs among them, in base64, times
//! as texts, and each type of value in a member of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Buffers, Referred, Relation, process_tag, span_tag};
use crate::gather::{Draft, Gatherer, KeyValues, Unreadable, Value};
use crate::json::number;
use crate::json::scanner::Fault;
use crate::json::walk::{Scalar, Unexpected, Walk};

/// The value of a tag. The member that stands last counts: a sender writes one of them.
enum Tag {
    Text(Vec<u8>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
}

const SECOND: i128 = 1_000_000_000;

/// Decodes one span, which brings its process with it.
pub fn decode_span_json(mut text: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut buffers = Buffers::new(out);
    buffers.begin();
    let mut walk = Walk::new(&mut text);
    span(&mut walk, &mut buffers).and_then(|()| walk.end()).map_err(malformed)?;
    Ok(buffers.end(out, &|| "the span".to_owned())?)
}

fn malformed(error: Unexpected) -> Unreadable {
    let why = match error {
        Unexpected::Fault(Fault::Read(error)) => return Unreadable::Source(error),
        Unexpected::Fault(Fault::Syntax(why)) => why.to_string(),
        Unexpected::Form(wanted) => format!("expected {wanted}"),
    };
    Unreadable::Malformed(format!("not a span of Jaeger in JSON: {why}"))
}

/// Members have their names in camel case, or as the message spells them.
fn span(walk: &mut Walk<'_>, buffers: &mut Buffers) -> Result<(), Unexpected> {
    let (mut start, mut duration, mut flags) = (0, 0, 0);
    walk.each_member(|walk, name| {
        match name {
            b"traceId" | b"trace_id" => buffers.draft.trace_id = id(walk, &mut buffers.draft)?,
            b"spanId" | b"span_id" => buffers.draft.span_id = id(walk, &mut buffers.draft)?,
            b"operationName" | b"operation_name" => buffers.draft.set_name(walk.text()?),
            b"references" => walk.each_item(|walk| {
                let reference = reference(walk, buffers)?;
                buffers.refer(reference);
                Ok(())
            })?,
            b"flags" => flags = walk.whole()? as u32,
            b"startTime" | b"start_time" => start = time(walk.text()?)?,
            b"duration" => duration = seconds(walk.text()?)?,
            b"tags" => walk.each_item(|walk| {
                let (key, value) = tag(walk)?;
                span_tag(&mut buffers.draft, &key, value.value());
                Ok(())
            })?,
            b"logs" => walk.each_item(|walk| log(walk, buffers))?,
            b"process" => {
                buffers.own_process.clear();
                buffers.has_own_process = true;
                process(walk, &mut buffers.own_process)?;
            }
            b"processId" | b"process_id" => match walk.text()? {
                b"" => {}
                id => buffers.draft.attribute(b"jaeger.process_id", Value::Text(id)),
            },
            b"warnings" => walk.each_item(|walk| {
                buffers.warnings.add(walk.text()?);
                Ok(())
            })?,
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    if !buffers.warnings.is_empty() {
        buffers.draft.texts(b"jaeger.warnings", &buffers.warnings);
    }
    buffers.set_flags(flags);
    buffers.set_times(start, duration);
    Ok(())
}

/// Reads an ID, of which bytes in front may be missing.
fn id<const N: usize>(walk: &mut Walk<'_>, draft: &mut Draft) -> Result<[u8; N], Unexpected> {
    let mut id = [0; N];
    match STANDARD.decode(walk.text()?) {
        Ok(bytes) if bytes.len() == N || 2 * bytes.len() == N => {
            id[N - bytes.len()..].copy_from_slice(&bytes)
        }
        _ => draft.note_flaw(format!(": an ID is not {N} bytes in base64")),
    }
    Ok(id)
}

fn reference(walk: &mut Walk<'_>, buffers: &mut Buffers) -> Result<Referred, Unexpected> {
    let mut to = Referred { trace_id: [0; 16], span_id: [0; 8], relation: Relation::ChildOf };
    walk.each_member(|walk, name| {
        match name {
            b"traceId" | b"trace_id" => to.trace_id = id(walk, &mut buffers.draft)?,
            b"spanId" | b"span_id" => to.span_id = id(walk, &mut buffers.draft)?,
            b"refType" | b"ref_type" => {
                if matches!(walk.scalar()?, Scalar::Text(b"FOLLOWS_FROM") | Scalar::Number(b"1")) {
                    to.relation = Relation::FollowsFrom;
                }
            }
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    Ok(to)
}

fn log(walk: &mut Walk<'_>, buffers: &mut Buffers) -> Result<(), Unexpected> {
    walk.each_member(|walk, name| {
        match name {
            b"timestamp" => match u64::try_from(time(walk.text()?)?) {
                Ok(time) => buffers.log.time = time,
                Err(_) => {
                    buffers.draft.note_flaw(": the time of a log is before 1970 or beyond 2554".to_owned())
                }
            },
            b"fields" => walk.each_item(|walk| {
                let (key, value) = tag(walk)?;
                buffers.log.add(&key, value.value());
                Ok(())
            })?,
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    buffers.end_log();
    Ok(())
}

fn process(walk: &mut Walk<'_>, resource: &mut KeyValues) -> Result<(), Unexpected> {
    walk.each_member(|walk, name| {
        match name {
            b"serviceName" | b"service_name" => match walk.text()? {
                // An empty name is no name.
                b"" => {}
                name => resource.add(b"service.name", Value::Text(name)),
            },
            b"tags" => walk.each_item(|walk| {
                let (key, value) = tag(walk)?;
                process_tag(resource, &key, value.value());
                Ok(())
            })?,
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })
}

/// Reads a tag. A value that is its type's zero may be left out, so that the type counts then.
fn tag(walk: &mut Walk<'_>) -> Result<(Vec<u8>, Tag), Unexpected> {
    let (mut key, mut zero, mut value) = (Vec::new(), Tag::Text(Vec::new()), None);
    walk.each_member(|walk, name| {
        match name {
            b"key" => key = walk.text()?.to_vec(),
            b"vType" | b"v_type" => {
                zero = match walk.scalar()? {
                    Scalar::Text(b"BOOL") | Scalar::Number(b"1") => Tag::Bool(false),
                    Scalar::Text(b"INT64") | Scalar::Number(b"2") => Tag::Int(0),
                    Scalar::Text(b"FLOAT64") | Scalar::Number(b"3") => Tag::Double(0.0),
                    Scalar::Text(b"BINARY") | Scalar::Number(b"4") => Tag::Bytes(Vec::new()),
                    _ => Tag::Text(Vec::new()),
                }
            }
            b"vStr" | b"v_str" => value = Some(Tag::Text(walk.text()?.to_vec())),
            b"vBool" | b"v_bool" => value = Some(Tag::Bool(walk.scalar()? == Scalar::Bool(true))),
            b"vInt64" | b"v_int64" => value = Some(Tag::Int(walk.whole()?)),
            b"vFloat64" | b"v_float64" => value = Some(Tag::Double(double(walk)?)),
            b"vBinary" | b"v_binary" => {
                let bytes = STANDARD.decode(walk.text()?).map_err(|_| Unexpected::Form("bytes in base64"))?;
                value = Some(Tag::Bytes(bytes));
            }
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    Ok((key, value.unwrap_or(zero)))
}

fn double(walk: &mut Walk<'_>) -> Result<f64, Unexpected> {
    match walk.scalar()? {
        Scalar::Text(b"NaN") => Ok(f64::NAN),
        Scalar::Text(b"Infinity") => Ok(f64::INFINITY),
        Scalar::Text(b"-Infinity") => Ok(f64::NEG_INFINITY),
        Scalar::Text(text) | Scalar::Number(text) => number::double(text).ok_or(Unexpected::Form("a number")),
        Scalar::Bool(_) | Scalar::Null => Err(Unexpected::Form("a number")),
    }
}

/// Nanoseconds of a time like `2026-12-01T15:04:05.123456789Z`.
fn time(text: &[u8]) -> Result<i128, Unexpected> {
    read_time(text).ok_or(Unexpected::Form("a time like 2026-12-01T15:04:05.123Z"))
}

fn read_time(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (date, clock) = text.split_once('T')?;
    let part = |text: Option<&str>, most: i64| {
        let digits =
            text.filter(|text| (1..=4).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit()))?;
        digits.parse::<i64>().ok().filter(|value| *value <= most)
    };
    let mut parts = date.split('-');
    let [year, month, day] = [9_999, 12, 31].map(|most| part(parts.next(), most));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let [hour, minute, second] = [23, 59, 60].map(|most| part(parts.next(), most));
    let seconds = 86_400 * days(year?, month?.max(1), day?.max(1)) + 3_600 * hour? + 60 * minute? + second?;
    Some(i128::from(seconds) * SECOND + fraction_of_second(fraction)?)
}

/// Days since 1970 in the Gregorian calendar. The year begins in March here, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between the March of year 0 and 1970.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Nanoseconds of a time like `1.5s`, which may be below zero.
fn seconds(text: &[u8]) -> Result<i128, Unexpected> {
    read_seconds(text).ok_or(Unexpected::Form("a duration like 1.5s"))
}

fn read_seconds(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = !whole.is_empty() && whole.len() <= 12 && whole.bytes().all(|c| c.is_ascii_digit());
    let whole: i128 = is_number.then(|| whole.parse().ok())??;
    Some(sign * (whole * SECOND + fraction_of_second(fraction)?))
}

fn fraction_of_second(digits: &str) -> Option<i128> {
    let is_number = digits.len() <= 9 && digits.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| format!("{digits:0<9}").parse().ok())?
}

// === impl Tag ===

impl Tag {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
    use prost::Message as _;

    use super::*;
    use crate::otlp::{DecodeLimits, Decoded};

    fn decode(text: &str) -> Result<Decoded, String> {
        let mut hold = |_| Ok(());
        let mut out = Gatherer::new(&DecodeLimits::default(), &mut hold);
        decode_span_json(text.as_bytes(), &mut out).map_err(|error| error.to_string())?;
        Ok(out.finish().unwrap())
    }

    const SPAN: &str = r#"{"traceId":"AAAAAAAAAAAAAAAAAAAABw==","spanId":"AAAAAAAAAAE=","operationName":"GET /",
        "references":[{"traceId":"AAAAAAAAAAAAAAAAAAAABw==","spanId":"AAAAAAAAAAI="},
                      {"traceId":"AAAAAAAAAAg=","spanId":"AAAAAAAAAAk=","refType":"FOLLOWS_FROM"}],
        "flags":1,"startTime":"2023-11-14T22:13:20.000000005Z","duration":"1.5s",
        "tags":[{"key":"span.kind","vStr":"server"},{"key":"ok","vType":"BOOL","vBool":true},
                {"key":"n","vType":"INT64","vInt64":"9007199254740993"},{"key":"none","vType":"INT64"},
                {"key":"f","vType":"FLOAT64","vFloat64":0.5},{"key":"b","vType":"BINARY","vBinary":"AQI="}],
        "logs":[{"timestamp":"2023-11-14T22:13:21Z","fields":[{"key":"event","vStr":"retry"},{"key":"left","vType":"INT64","vInt64":2}]}],
        "process":{"serviceName":"front","tags":[{"key":"hostname","vStr":"a"}]},"processId":"p1","warnings":["skewed"]}"#;

    #[test]
    fn every_field_has_its_place() {
        let decoded = decode(SPAN).unwrap();
        assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
        let span = Span::decode(&decoded.body[decoded.spans[0].at.clone()]).unwrap();
        assert_eq!((span.trace_id[15], span.span_id[7], span.kind, span.flags), (7, 1, 2, 1));
        assert_eq!((span.parent_span_id[7], span.links[0].span_id[7], span.links[0].trace_id[15]), (2, 9, 8));
        assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_000_005);
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_500_000_000);
        let tags: Vec<(&str, &Any)> = span
            .attributes
            .iter()
            .map(|pair| (pair.key.as_str(), pair.value.as_ref().unwrap().value.as_ref().unwrap()))
            .collect();
        assert_eq!(
            tags[..6],
            [
                ("ok", &Any::BoolValue(true)),
                ("n", &Any::IntValue(9_007_199_254_740_993)),
                ("none", &Any::IntValue(0)),
                ("f", &Any::DoubleValue(0.5)),
                ("b", &Any::BytesValue(vec![1, 2])),
                ("jaeger.process_id", &Any::StringValue("p1".to_owned())),
            ]
        );
        assert_eq!(tags[6].0, "jaeger.warnings");
        let event = &span.events[0];
        assert_eq!((event.name.as_str(), event.time_unix_nano), ("retry", 1_700_000_001_000_000_000));
        let record = &decoded.resources[decoded.spans[0].resource as usize];
        let resource = ResourceSpans::decode(&**record).unwrap().resource.unwrap().attributes;
        assert_eq!((resource[0].key.as_str(), resource[1].key.as_str()), ("service.name", "host.name"));
    }

    #[test]
    fn names_may_be_those_of_the_message() {
        let names = [
            ("traceId", "trace_id"),
            ("spanId", "span_id"),
            ("operationName", "operation_name"),
            ("startTime", "start_time"),
            ("refType", "ref_type"),
            ("serviceName", "service_name"),
            ("processId", "process_id"),
        ];
        let text = names.iter().fold(SPAN.to_owned(), |text, (camel, snake)| text.replace(camel, snake));
        let text = ["Str", "Bool", "Int64", "Float64", "Binary", "Type"].iter().fold(text, |text, name| {
            text.replace(&format!("\"v{name}\""), &format!("\"v_{}\"", name.to_lowercase()))
        });
        assert_eq!(decode(&text).unwrap().body, decode(SPAN).unwrap().body);
    }

    #[test]
    fn times_are_read_over_all_years() {
        let time = |text: &str| read_time(text.as_bytes());
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
        ] {
            assert_eq!(time(text), Some(seconds * SECOND), "{text}");
        }
        assert_eq!(time("1970-01-01T00:00:00.25Z"), Some(SECOND / 4));
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-13-01T00:00:00Z",
            "1970-01-01T00:00:00.1234567890Z",
            "-1-01-01T00:00:00Z",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
        let seconds = |text: &str| read_seconds(text.as_bytes());
        assert_eq!(
            (seconds("3s"), seconds("-0.000000001s"), seconds("3"), seconds("s"), seconds("1.x s")),
            (Some(3 * SECOND), Some(-1), None, None, None)
        );
    }

    #[test]
    fn a_flaw_is_named() {
        for (from, to, why) in [
            ("\"AAAAAAAAAAE=\"", "\"AQ==\"", "8 bytes in base64"),
            ("\"1.5s\"", "\"soon\"", "a duration"),
            ("\"2023-11-14T22:13:21Z\"", "7", "a text"),
            ("\"vBinary\":\"AQI=\"", "\"vBinary\":\"%\"", "base64"),
            ("\"processId\"", "processId", "JSON"),
        ] {
            let told = match decode(&SPAN.replace(from, to)) {
                Ok(decoded) => decoded.rejected.message(),
                Err(error) => error,
            };
            assert!(told.contains(why), "{to}: {told}");
        }
    }
}
