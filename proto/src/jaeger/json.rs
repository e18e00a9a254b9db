//! A trace in the JSON that Jaeger's UI downloads and uploads, and that its query API answers.
//!
//! It comes from files, one trace after another, and never over the ports of receivers. A trace is read twice: spans name
//! their process by a key, and the processes may stand behind them.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Buffers, Referred, Relation, process_tag, span_tag};
use crate::gather::{Gatherer, KeyValues, Unreadable, Value};
use crate::hex;
use crate::json::number;
use crate::json::scanner::Fault;
use crate::json::walk::{Scalar, Unexpected, Walk};

/// A tag's value, on its way to an attribute.
enum Tag {
    Text(Vec<u8>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
}

/// Decodes one trace: an object with `spans` and `processes`.
pub fn decode_trace_json(trace: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let processes = processes(trace, out).map_err(malformed)?;
    let (mut buffers, mut text) = (Buffers::new(out), trace);
    let mut walk = Walk::new(&mut text);
    // What stops the gatherer is no flaw of the text.
    let (mut stopped, mut index) = (None, 0);
    let walked = walk.each_member(|walk, name| match name {
        b"spans" => walk.each_item(|walk| {
            buffers.begin();
            span(walk, &processes, &mut buffers)?;
            let place = || format!("spans[{index}]");
            if let Err(error) = buffers.end(out, &place) {
                stopped = Some(error);
                return Err(Unexpected::Form("memory"));
            }
            index += 1;
            Ok(())
        }),
        _ => Ok(walk.scanner.skip()?),
    });
    match stopped {
        Some(error) => Err(Unreadable::Source(error)),
        None => walked.and_then(|()| walk.end()).map_err(malformed),
    }
}

fn malformed(error: Unexpected) -> Unreadable {
    match error {
        Unexpected::Fault(Fault::Read(error)) => Unreadable::Source(error),
        Unexpected::Fault(Fault::Syntax(why)) => {
            Unreadable::Malformed(format!("not a trace in the JSON of Jaeger: {why}"))
        }
        Unexpected::Form(wanted) => {
            Unreadable::Malformed(format!("not a trace in the JSON of Jaeger: expected {wanted}"))
        }
    }
}

/// The processes of a trace by their keys.
fn processes(mut trace: &[u8], out: &Gatherer<'_>) -> Result<HashMap<Vec<u8>, KeyValues>, Unexpected> {
    let mut processes = HashMap::new();
    let mut walk = Walk::new(&mut trace);
    walk.each_member(|walk, name| match name {
        b"processes" => walk.each_member(|walk, key| {
            let mut resource = out.resource();
            process(walk, &mut resource)?;
            processes.insert(key.to_vec(), resource);
            Ok(())
        }),
        _ => Ok(walk.scanner.skip()?),
    })?;
    Ok(processes)
}

fn process(walk: &mut Walk<'_>, resource: &mut KeyValues) -> Result<(), Unexpected> {
    walk.each_member(|walk, name| match name {
        b"serviceName" => {
            match walk.text()? {
                // An empty name is no name.
                b"" => {}
                name => resource.add(b"service.name", Value::Text(name)),
            }
            Ok(())
        }
        b"tags" => walk.each_item(|walk| {
            let (key, value) = tag(walk)?;
            process_tag(resource, &key, value.value());
            Ok(())
        }),
        _ => Ok(walk.scanner.skip()?),
    })
}

fn span(
    walk: &mut Walk<'_>,
    processes: &HashMap<Vec<u8>, KeyValues>,
    buffers: &mut Buffers,
) -> Result<(), Unexpected> {
    let (mut start, mut duration, mut flags) = (0, 0, 0);
    walk.each_member(|walk, name| {
        match name {
            b"traceID" => id(walk, &mut buffers.draft.trace_id, "traceID", &mut buffers.flaw)?,
            b"spanID" => id(walk, &mut buffers.draft.span_id, "spanID", &mut buffers.flaw)?,
            b"parentSpanID" => {
                let mut parent = [0; 8];
                id(walk, &mut parent, "parentSpanID", &mut buffers.flaw)?;
                buffers.draft.parent_id = Some(parent);
            }
            b"operationName" => buffers.draft.set_name(walk.text()?),
            b"startTime" => start = walk.whole()?,
            b"duration" => duration = walk.whole()?,
            b"flags" => flags = walk.whole()? as u32,
            b"references" => walk.each_item(|walk| {
                let reference = reference(walk, &mut buffers.flaw)?;
                buffers.refer(reference);
                Ok(())
            })?,
            b"tags" => walk.each_item(|walk| {
                let (key, value) = tag(walk)?;
                span_tag(&mut buffers.draft, &key, value.value());
                Ok(())
            })?,
            b"logs" => walk.each_item(|walk| log(walk, buffers))?,
            b"warnings" => walk.each_item(|walk| {
                buffers.warnings.add(walk.text()?);
                Ok(())
            })?,
            b"processID" => {
                if let Some(process) = processes.get(walk.text()?) {
                    buffers.own_process.clone_from(process);
                    buffers.has_own_process = true;
                }
            }
            b"process" => {
                buffers.own_process.clear();
                buffers.has_own_process = true;
                process(walk, &mut buffers.own_process)?;
            }
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    if !buffers.warnings.is_empty() {
        buffers.draft.texts(b"jaeger.warnings", &buffers.warnings);
    }
    if let Some(member) = buffers.flaw.take() {
        buffers.draft.note_flaw(format!(".{member}: is not an ID in hex digits"));
    }
    buffers.set_flags(flags);
    buffers.set_times(i128::from(start) * 1_000, i128::from(duration) * 1_000);
    Ok(())
}

/// Reads hex digits, of which those in front may be missing.
fn id(
    walk: &mut Walk<'_>,
    id: &mut [u8],
    member: &'static str,
    flaw: &mut Option<&'static str>,
) -> Result<(), Unexpected> {
    let digits = walk.text()?;
    if !digits.is_empty() && !hex::parse_padded(digits, id) {
        flaw.get_or_insert(member);
    }
    Ok(())
}

fn reference(walk: &mut Walk<'_>, flaw: &mut Option<&'static str>) -> Result<Referred, Unexpected> {
    let mut to = Referred { trace_id: [0; 16], span_id: [0; 8], relation: Relation::ChildOf };
    walk.each_member(|walk, name| {
        match name {
            b"refType" => {
                if walk.text()? == b"FOLLOWS_FROM" {
                    to.relation = Relation::FollowsFrom;
                }
            }
            b"traceID" => id(walk, &mut to.trace_id, "references", flaw)?,
            b"spanID" => id(walk, &mut to.span_id, "references", flaw)?,
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    Ok(to)
}

fn log(walk: &mut Walk<'_>, buffers: &mut Buffers) -> Result<(), Unexpected> {
    walk.each_member(|walk, name| {
        match name {
            b"timestamp" => match u64::try_from(i128::from(walk.whole()?) * 1_000) {
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

/// Reads a tag. Its type decides, if it names one that fits the value; else the value itself does.
fn tag(walk: &mut Walk<'_>) -> Result<(Vec<u8>, Tag), Unexpected> {
    let (mut key, mut kind, mut value) = (Vec::new(), Vec::new(), Tag::Text(Vec::new()));
    walk.each_member(|walk, name| {
        match name {
            b"key" => key = walk.text()?.to_vec(),
            b"type" => kind = walk.text()?.to_vec(),
            b"value" => {
                value = match walk.scalar()? {
                    Scalar::Text(text) => Tag::Text(text.to_vec()),
                    Scalar::Bool(value) => Tag::Bool(value),
                    Scalar::Null => Tag::Text(Vec::new()),
                    Scalar::Number(text) => match (number::signed(text), number::double(text)) {
                        (Some(value), _) => Tag::Int(value),
                        (_, Some(value)) => Tag::Double(value),
                        _ => Tag::Text(text.to_vec()),
                    },
                }
            }
            _ => walk.scanner.skip()?,
        }
        Ok(())
    })?;
    Ok((key, value.typed(&kind)))
}

// === impl Tag ===

impl Tag {
    /// The value by its type: large integers and bytes are texts in JSON.
    fn typed(self, kind: &[u8]) -> Self {
        match (kind, self) {
            (b"int64", Self::Text(text)) => number::signed(&text).map_or(Self::Text(text), Self::Int),
            (b"float64", Self::Text(text)) => number::double(&text).map_or(Self::Text(text), Self::Double),
            (b"float64", Self::Int(value)) => Self::Double(value as f64),
            (b"bool", Self::Text(text)) if text == b"true" => Self::Bool(true),
            (b"bool", Self::Text(text)) if text == b"false" => Self::Bool(false),
            (b"binary", Self::Text(text)) => STANDARD.decode(&text).map_or(Self::Text(text), Self::Bytes),
            (_, other) => other,
        }
    }

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
        decode_trace_json(text.as_bytes(), &mut out).map_err(|error| error.to_string())?;
        Ok(out.finish().unwrap())
    }

    fn spans(decoded: &Decoded) -> Vec<Span> {
        decoded.spans.iter().map(|span| Span::decode(&decoded.body[span.at.clone()]).unwrap()).collect()
    }

    const TRACE: &str = r#"{"traceID":"7","spans":[
        {"traceID":"7","spanID":"1","operationName":"GET /","flags":1,"startTime":1700000000000000,"duration":12,
         "processID":"p1","references":[],"warnings":null,
         "tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"ok","type":"bool","value":true},
                 {"key":"n","type":"int64","value":"9007199254740993"},{"key":"f","type":"float64","value":3},
                 {"key":"b","type":"binary","value":"AQI="}],
         "logs":[{"timestamp":1700000000000005,"fields":[{"key":"event","type":"string","value":"retry"},
                                                         {"key":"left","type":"int64","value":2}]}]},
        {"traceID":"7","spanID":"2","operationName":"get","startTime":1700000000000001,"duration":3,"processID":"p2",
         "references":[{"refType":"CHILD_OF","traceID":"7","spanID":"1"},
                       {"refType":"FOLLOWS_FROM","traceID":"8","spanID":"9"}],"warnings":["skewed"]}],
        "processes":{"p1":{"serviceName":"front","tags":[{"key":"hostname","type":"string","value":"a"}]},
                     "p2":{"serviceName":"cart","tags":[]}},"warnings":null}"#;

    #[test]
    fn every_field_has_its_place() {
        let decoded = decode(TRACE).unwrap();
        assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
        let spans = spans(&decoded);
        let (server, call) = (&spans[0], &spans[1]);
        assert_eq!((server.trace_id[15], server.span_id[7], server.kind), (7, 1, 2));
        assert_eq!(server.end_time_unix_nano - server.start_time_unix_nano, 12_000);
        let tags: Vec<(&str, &Any)> = server
            .attributes
            .iter()
            .map(|pair| (pair.key.as_str(), pair.value.as_ref().unwrap().value.as_ref().unwrap()))
            .collect();
        assert_eq!(
            tags,
            [
                ("ok", &Any::BoolValue(true)),
                ("n", &Any::IntValue(9_007_199_254_740_993)),
                ("f", &Any::DoubleValue(3.0)),
                ("b", &Any::BytesValue(vec![1, 2])),
            ]
        );
        let event = &server.events[0];
        assert_eq!((event.name.as_str(), event.attributes[0].key.as_str()), ("retry", "left"));
        assert_eq!((call.parent_span_id[7], call.links[0].span_id[7]), (1, 9));
        assert_eq!(call.attributes[0].key, "jaeger.warnings");
        let service = |span: usize| {
            let record = &decoded.resources[decoded.spans[span].resource as usize];
            ResourceSpans::decode(&**record).unwrap().resource.unwrap().attributes
        };
        assert_eq!((service(0).len(), service(1).len()), (2, 1), "each has its own process, found behind it");
        assert_eq!(service(0)[1].key, "host.name");
    }

    #[test]
    fn a_flaw_costs_one_span_and_another_form_the_trace() {
        let bad = TRACE.replace(r#""spanID":"2","#, r#""spanID":"x","#);
        let decoded = decode(&bad).unwrap();
        assert_eq!((decoded.spans.len(), decoded.rejected.count), (1, 1));
        assert_eq!(decoded.rejected.message(), "spans[1].spanID: is not an ID in hex digits");
        for (text, why) in [
            ("{\"spans\":7}", "expected an array"),
            ("{\"spans\":[{\"startTime\":\"x\"}]}", "expected a whole number"),
            ("{\"spans\":[", "found the end"),
        ] {
            let error = decode(text).unwrap_err();
            assert!(error.contains("not a trace in the JSON of Jaeger") && error.contains(why), "{error}");
        }
    }
}
