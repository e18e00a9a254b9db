//! What a file holds, and its spans as OTLP.

use std::error::Error;
use std::io::{self, BufRead, Read as _};

use bytes::Bytes;
use clap::ValueEnum;
use spandrel_proto::gather::{Gatherer, Unreadable};
use spandrel_proto::otlp::wire::put_bytes;
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_json_request, decode_request};
use spandrel_proto::{jaeger, zipkin};

use super::documents::Documents;
use super::source::Source;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// OTLP in protobuf: one message, or several with their lengths before them (4 bytes, big endian)
    OtlpProto,
    /// OTLP in JSON: documents one after another, as `spandrel export` writes them
    OtlpJson,
    /// Zipkin's JSON of version 2: arrays of spans
    Zipkin,
    /// The JSON that Jaeger's UI downloads
    Jaeger,
}

/// The parts of a file, decoded one after another.
pub(super) enum Items {
    Json { documents: Documents<Source>, format: Option<Format> },
    Proto { source: Source, is_framed: bool },
}

/// What is decoded at once of formats with small objects.
const GROUP_BYTES: usize = 1 << 20;
/// A resource with its spans, or a message with its length before it.
const MAX_MESSAGE: u64 = 1 << 30;

type Failure = Box<dyn Error>;

// === impl Items ===

impl Items {
    pub(super) fn open(mut source: Source, format: Option<Format>) -> Result<Self, Failure> {
        let begin = source.fill_buf()?;
        let is_proto = match format {
            None => begin.first().is_some_and(|byte| !is_json(*byte)),
            Some(format) => format == Format::OtlpProto,
        };
        if !is_proto {
            return Ok(Self::Json { documents: Documents::new(source), format });
        }
        // A message begins with its first field, whose tag is 10; a length in front of it has four bytes.
        let is_framed = begin.first() != Some(&0x0a);
        Ok(Self::Proto { source, is_framed })
    }

    /// Bytes of the file that were read.
    pub(super) fn passed(&self) -> u64 {
        match self {
            Self::Json { documents, .. } => documents.source().passed(),
            Self::Proto { source, .. } => source.passed(),
        }
    }

    /// The next spans; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Decoded>, Failure> {
        match self {
            Self::Json { documents, format } => next_json(documents, format),
            Self::Proto { source, is_framed } => next_proto(source, *is_framed),
        }
    }
}

fn is_json(byte: u8) -> bool {
    byte.is_ascii_whitespace() && byte != b'\n' || matches!(byte, b'{' | b'[')
}

fn limits() -> DecodeLimits {
    DecodeLimits::default()
}

fn next_json(
    documents: &mut Documents<Source>,
    format: &mut Option<Format>,
) -> Result<Option<Decoded>, Failure> {
    let Some(first) = documents.next()? else { return Ok(None) };
    let found = match *format {
        Some(format) => format,
        None => format_of(first)?,
    };
    *format = Some(found);
    match found {
        Format::Jaeger => gather(|out| jaeger::decode_trace_json(first, out)).map(Some),
        Format::Zipkin => {
            let mut group = b"[".to_vec();
            group.extend_from_slice(first);
            while group.len() < GROUP_BYTES {
                let Some(next) = documents.next()? else { break };
                group.push(b',');
                group.extend_from_slice(next);
            }
            group.push(b']');
            gather(|out| zipkin::decode_json(&mut &*group, out)).map(Some)
        }
        Format::OtlpJson | Format::OtlpProto => Ok(Some(decode_json_request(&mut &*first, &limits())?)),
    }
}

/// Tells the formats apart by the names of members.
fn format_of(object: &[u8]) -> Result<Format, Failure> {
    let has = |name: &str| {
        let quoted = format!("\"{name}\"");
        object.windows(quoted.len()).any(|window| window == quoted.as_bytes())
    };
    if has("resourceSpans") || has("resource_spans") {
        Ok(Format::OtlpJson)
    } else if has("spanID") || has("processes") {
        Ok(Format::Jaeger)
    } else if has("traceId") && has("id") {
        Ok(Format::Zipkin)
    } else {
        Err("it holds traces of no format that is known; name it with --format".into())
    }
}

fn gather(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Result<Decoded, Failure> {
    let (limits, mut hold) = (limits(), |_| Ok(()));
    let mut gatherer = Gatherer::new(&limits, &mut hold);
    decode(&mut gatherer)?;
    Ok(gatherer.finish()?)
}

fn next_proto(source: &mut Source, is_framed: bool) -> Result<Option<Decoded>, Failure> {
    if source.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let message = if is_framed {
        let mut length = [0; 4];
        source.read_exact(&mut length)?;
        read_message(source, u32::from_be_bytes(length).into())?
    } else {
        // One resource with its spans after another: the message as a whole may be too large for memory.
        let mut tag = [0];
        source.read_exact(&mut tag)?;
        if tag != [0x0a] {
            return Err("it is no OTLP in protobuf; name its format with --format".into());
        }
        let length = read_varint(source)?;
        let mut message = Vec::new();
        put_bytes(&mut message, 1, &read_message(source, length)?);
        message
    };
    Ok(Some(decode_request(Bytes::from(message), &limits())?))
}

fn read_message(source: &mut Source, length: u64) -> Result<Vec<u8>, Failure> {
    if length > MAX_MESSAGE {
        return Err(format!(
            "it is no OTLP in protobuf, where a message of {length} bytes is announced and {MAX_MESSAGE} are allowed; name its format with --format"
        )
        .into());
    }
    let mut message = Vec::new();
    source.take(length).read_to_end(&mut message)?;
    match message.len() as u64 == length {
        true => Ok(message),
        false => Err("it ends inside a message".into()),
    }
}

fn read_varint(source: &mut Source) -> io::Result<u64> {
    let mut value = 0;
    for place in 0..10 {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << (7 * place);
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(io::Error::other("a length is longer than 64 bits"))
}
