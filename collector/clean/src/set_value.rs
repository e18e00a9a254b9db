//! The values that rules set, as OTLP writes them.

use serde_json::Value;
use spandrel_proto::otlp::wire::{put_bytes, put_fixed64, put_uint};

/// A text that a rule sets has at most so many bytes: each span may get a copy.
const MAX_BYTES: usize = 4096;

/// Encodes a text, a number, true or false, or a list of them, as an `AnyValue` message.
pub(crate) fn encode(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    match value {
        Value::String(text) => put_bytes(&mut out, 1, text.as_bytes()),
        Value::Bool(flag) => put_uint(&mut out, 2, u64::from(*flag)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => put_uint(&mut out, 3, int as u64),
            (None, Some(float)) => put_fixed64(&mut out, 4, float.to_bits()),
            (None, None) => return Err("the number is too large".to_owned()),
        },
        Value::Array(items) => {
            let mut list = Vec::new();
            for item in items {
                if item.is_array() {
                    return Err("a list has no lists in it".to_owned());
                }
                put_bytes(&mut list, 1, &encode(item)?);
            }
            put_bytes(&mut out, 5, &list);
        }
        Value::Null | Value::Object(_) => {
            return Err(
                "a value is a text, a number, true or false, or a list of them; remove removes".to_owned()
            );
        }
    }
    if out.len() > MAX_BYTES { Err(format!("a value has at most {MAX_BYTES} bytes")) } else { Ok(out) }
}
