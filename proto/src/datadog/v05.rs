//! Version 0.5: a list of texts, and spans as arrays that refer to them by number.

use std::cell::Cell;

use super::{Buffers, Chunk, LANGUAGE, Parts, UPPER_HALF, language, malformed, upper_half};
use crate::gather::{Gatherer, Unreadable};
use crate::msgpack::{MsgpackError, Reader};

/// Where the texts of a request lie.
struct Texts<'b> {
    reader: Reader<'b>,
    offsets: Vec<u32>,
    /// Bytes of texts that were referred to, and the most: a number of two bytes may stand for megabytes.
    used: Cell<usize>,
    max_used: usize,
    /// The numbers of the texts that a chunk is looked through for.
    upper_half: Option<u64>,
    language: Option<u64>,
}

/// Texts that are referred to may be so many times as long as the body, and this longer.
const MAX_EXPANSION: usize = 32;
const SPARE_BYTES: usize = 64 << 20;

/// The numbers of a span that stand before its tags.
const FIELDS_BEFORE_TAGS: usize = 9;
const FIELDS: usize = 12;

/// Decodes the body of `/v0.5/traces`.
pub fn decode_v05(body: &[u8], out: &mut Gatherer<'_>) -> Result<(), Unreadable> {
    let mut reader = Reader::new(body);
    if reader.array().map_err(malformed)? != 2 {
        return Err(wrong(&reader, "the request is not a list of texts and one of traces"));
    }
    let texts = Texts::read(&mut reader, body.len(), out)?;
    let mut buffers = Buffers::new(out);
    for trace in 0..reader.array().map_err(malformed)? {
        let chunk = texts.chunk(reader.clone())?;
        for index in 0..reader.array().map_err(malformed)? {
            let parts = texts.span(&mut reader, &mut buffers)?;
            buffers.end(&parts, &chunk, out, &|| format!("traces[{trace}][{index}]"))?;
        }
    }
    reader.end().map_err(malformed)
}

fn wrong(reader: &Reader<'_>, what: &str) -> Unreadable {
    Unreadable::Malformed(format!("not a list of traces of Datadog: {what} at byte {}", reader.offset()))
}

// === impl Texts ===

impl<'b> Texts<'b> {
    fn read(reader: &mut Reader<'b>, body: usize, out: &mut Gatherer<'_>) -> Result<Self, Unreadable> {
        let length = reader.array().map_err(malformed)?;
        out.set_aside(length * size_of::<u32>())?;
        let mut texts = Self {
            reader: reader.clone(),
            offsets: Vec::with_capacity(length),
            used: Cell::new(0),
            max_used: body.saturating_mul(MAX_EXPANSION).saturating_add(SPARE_BYTES),
            upper_half: None,
            language: None,
        };
        for number in 0..length as u64 {
            let offset = u32::try_from(reader.offset()).map_err(|_| wrong(reader, "it is over 4 GiB"))?;
            texts.offsets.push(offset);
            match reader.text().map_err(malformed)? {
                UPPER_HALF => texts.upper_half = Some(number),
                LANGUAGE => texts.language = Some(number),
                _ => {}
            }
        }
        Ok(texts)
    }

    /// The text that a number stands for.
    #[inline]
    fn get(&self, reader: &mut Reader<'b>) -> Result<&'b [u8], Unreadable> {
        let number = reader.number().map_err(malformed)?.bits();
        let offset = usize::try_from(number).ok().and_then(|number| self.offsets.get(number));
        let Some(offset) = offset else {
            return Err(wrong(reader, &format!("there is no text {number}")));
        };
        let text = self.reader.at(*offset as usize).text().map_err(malformed)?;
        self.used.set(self.used.get() + text.len());
        if self.used.get() > self.max_used {
            return Err(wrong(reader, "it refers to its texts too often; send fewer spans in a request,"));
        }
        Ok(text)
    }

    fn chunk(&self, mut reader: Reader<'b>) -> Result<Chunk<'b>, Unreadable> {
        let mut chunk = Chunk::default();
        if self.upper_half.is_none() && self.language.is_none() {
            return Ok(chunk);
        }
        for _ in 0..reader.array().map_err(malformed)? {
            let fields = fields(&mut reader)?;
            let (mut trace_id, mut upper) = (0, None);
            for field in 0..FIELDS_BEFORE_TAGS {
                match field {
                    3 => trace_id = reader.number().map_err(malformed)?.bits(),
                    _ => reader.skip().map_err(malformed)?,
                }
            }
            for _ in 0..reader.map().map_err(malformed)? {
                let number = Some(reader.number().map_err(malformed)?.bits());
                if number == self.upper_half {
                    upper = upper_half(self.get(&mut reader)?);
                } else if number == self.language {
                    chunk.language = language(self.get(&mut reader)?);
                } else {
                    reader.skip().map_err(malformed)?;
                }
            }
            skip_rest(&mut reader, fields, FIELDS_BEFORE_TAGS + 1).map_err(malformed)?;
            if upper.is_some() {
                (chunk.trace_id, chunk.upper) = (trace_id, upper);
                break;
            }
        }
        Ok(chunk)
    }

    fn span(&self, reader: &mut Reader<'b>, buffers: &mut Buffers) -> Result<Parts<'b>, Unreadable> {
        let fields = fields(reader)?;
        let mut parts = Parts {
            service: self.get(reader)?,
            name: self.get(reader)?,
            resource: self.get(reader)?,
            ..Parts::default()
        };
        for id in [&mut parts.trace_id, &mut parts.span_id, &mut parts.parent_id] {
            *id = reader.number().map_err(malformed)?.bits();
        }
        for time in [&mut parts.start, &mut parts.duration] {
            *time = reader.number().map_err(malformed)?.whole();
        }
        parts.is_error = reader.number().map_err(malformed)?.whole() != 0;
        for _ in 0..reader.map().map_err(malformed)? {
            let (key, value) = (self.get(reader)?, self.get(reader)?);
            buffers.meta(&mut parts, key, value);
        }
        for _ in 0..reader.map().map_err(malformed)? {
            let key = self.get(reader)?;
            buffers.metric(key, reader.number().map_err(malformed)?);
        }
        parts.kind = self.get(reader)?;
        skip_rest(reader, fields, FIELDS).map_err(malformed)?;
        Ok(parts)
    }
}

/// Reads the head of a span: how many fields it has.
fn fields(reader: &mut Reader<'_>) -> Result<usize, Unreadable> {
    match reader.array().map_err(malformed)? {
        fields @ FIELDS.. => Ok(fields),
        fields => Err(wrong(reader, &format!("a span has {fields} fields instead of {FIELDS}"))),
    }
}

/// Skips fields of a span that a later version has added.
fn skip_rest(reader: &mut Reader<'_>, fields: usize, read: usize) -> Result<(), MsgpackError> {
    (read..fields).try_for_each(|_| reader.skip())
}
