//! Cuts a stream of JSON into its outermost objects: documents one after another, those of an array, of arrays in an array,
//! and those of the array `data` of a document, which is how Jaeger wraps its traces.
//!
//! It knows where objects begin and end, and leaves the rest to the decoders.

use std::io::BufRead;

/// The objects of a stream.
pub(super) struct Documents<R> {
    source: R,
    /// Read by the caller's decoder.
    object: Vec<u8>,
    offset: u64,
    /// Inside a document that wraps others.
    is_wrapped: bool,
}

/// Why the stream cannot be cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("byte {0} begins no object, where traces are objects")]
    NoObject(u64),
    #[error("an object ends with the file, before its closing brace")]
    Cut,
    #[error("an object is over {MAX_BYTES} bytes")]
    TooLarge,
}

/// Bytes of one object: of a trace, or of a document of OTLP.
const MAX_BYTES: usize = 1 << 30;
/// The head of a document whose objects are the members of an array.
const WRAPPED: &[u8] = b"{\"data\":[";

// === impl Documents ===

impl<R: BufRead> Documents<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, object: Vec::new(), offset: 0, is_wrapped: false }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// The next object.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, DocumentError> {
        loop {
            if !self.find_object()? {
                return Ok(None);
            }
            if self.read_object()? {
                return Ok(Some(&self.object));
            }
            self.is_wrapped = true;
        }
    }

    /// Moves to the next object, past what arrays of objects are made of; false at the end.
    fn find_object(&mut self) -> Result<bool, DocumentError> {
        loop {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                return Ok(false);
            }
            let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'[' | b']' | b',');
            let (length, found) = match chunk.iter().position(|byte| !is_between(byte)) {
                None => (chunk.len(), None),
                Some(at) => (at, Some(chunk[at])),
            };
            self.source.consume(length);
            self.offset += length as u64;
            match found {
                None => {}
                Some(b'{') => return Ok(true),
                Some(b'"') if self.is_wrapped => {
                    self.is_wrapped = false;
                    self.skip_rest()?;
                }
                // A document that ends behind the array.
                Some(b'}') if self.is_wrapped => {
                    self.is_wrapped = false;
                    self.source.consume(1);
                    self.offset += 1;
                }
                Some(_) => return Err(DocumentError::NoObject(self.offset)),
            }
        }
    }

    /// Reads an object; false if it is the head of a document that wraps others, whose first one comes next.
    fn read_object(&mut self) -> Result<bool, DocumentError> {
        self.object.clear();
        let (mut depth, mut is_text, mut is_escaped, mut head) = (0_u64, false, false, Some(0));
        loop {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                return Err(DocumentError::Cut);
            }
            let mut taken = 0;
            let mut ended = None;
            for byte in chunk {
                taken += 1;
                if let Some(matched) = head
                    && (is_text || !byte.is_ascii_whitespace())
                {
                    head = (WRAPPED.get(matched) == Some(byte)).then_some(matched + 1);
                    if head == Some(WRAPPED.len()) {
                        ended = Some(false);
                        break;
                    }
                }
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' if is_text => is_escaped = true,
                    b'"' => is_text = !is_text,
                    b'{' | b'[' if !is_text => depth += 1,
                    b'}' | b']' if !is_text => {
                        depth -= 1;
                        if depth == 0 {
                            ended = Some(true);
                            break;
                        }
                    }
                    _ => {}
                }
            }
            self.object.extend_from_slice(&chunk[..taken]);
            self.source.consume(taken);
            self.offset += taken as u64;
            match ended {
                Some(true) => return Ok(true),
                Some(false) => return Ok(false),
                None if self.object.len() > MAX_BYTES => return Err(DocumentError::TooLarge),
                None => {}
            }
        }
    }

    /// Skips what follows the array in a document that wraps others, up to the document's end.
    fn skip_rest(&mut self) -> Result<(), DocumentError> {
        let (mut depth, mut is_text, mut is_escaped) = (1_u64, false, false);
        while depth > 0 {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                return Err(DocumentError::Cut);
            }
            let mut taken = 0;
            for byte in chunk {
                taken += 1;
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' if is_text => is_escaped = true,
                    b'"' => is_text = !is_text,
                    b'{' | b'[' if !is_text => depth += 1,
                    b'}' | b']' if !is_text => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            self.source.consume(taken);
            self.offset += taken as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn cut(text: &str) -> Result<Vec<String>, String> {
        // A buffer of three bytes: every place of a cut occurs.
        let mut documents = Documents::new(BufReader::with_capacity(3, text.as_bytes()));
        let mut out = Vec::new();
        loop {
            match documents.next() {
                Ok(Some(object)) => out.push(String::from_utf8(object.to_vec()).unwrap()),
                Ok(None) => return Ok(out),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn objects_are_found_wherever_they_stand() {
        for (text, objects) in [
            ("{\"a\":1}\n{\"b\":{}}", vec!["{\"a\":1}", "{\"b\":{}}"]),
            (" [ {\"a\":\"}\\\"{\"} , {} ] ", vec!["{\"a\":\"}\\\"{\"}", "{}"]),
            ("[[{\"a\":[1]}],[{\"b\":2}]]", vec!["{\"a\":[1]}", "{\"b\":2}"]),
            (
                "{ \"data\" : [ {\"a\":1}, {\"b\":2} ], \"total\": 0, \"x\": {\"y\":\"}\"} } {}",
                vec!["{\"a\":1}", "{\"b\":2}", "{}"],
            ),
            ("{\"data\":[{\"a\":1},{\"b\":2}]}", vec!["{\"a\":1}", "{\"b\":2}"]),
            ("{\"data\":{\"a\":1}}", vec!["{\"data\":{\"a\":1}}"]),
            ("", vec![]),
        ] {
            assert_eq!(cut(text).unwrap(), objects, "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_something_else_is_refused() {
        assert!(cut("{\"a\":1").unwrap_err().contains("closing brace"));
        assert!(cut("[7]").unwrap_err().contains("byte 1 begins no object"));
    }
}
