//! The text of a JSON body, decompressed, counted and hashed while it is decoded.
//!
//! The text of a compressed body is never in memory as a whole. The decoded messages take at most as many bytes as
//! the text, so the request reserves that much of the memory budget until their real size is known.

use std::io::{self, Read};

use bytes::Bytes;
use spandrel_proto::otlp::{DecodeLimits, Decoded, JsonError, decode_json_request};

use crate::budget::Reservation;
use crate::decompress::{Decompress, refusal_of};
use crate::dedup::{Fingerprint, Fingerprinter};
use crate::encoding::Encoding;
use crate::refusal::Refusal;

/// A body that is read once.
pub(crate) struct JsonBody {
    text: Decompress,
    fingerprinter: Fingerprinter,
    held: Reservation,
}

/// The result of decoding a body.
pub(crate) struct DecodedJson {
    pub request: Decoded,
    pub fingerprint: Fingerprint,
    pub held: Reservation,
    /// The length of the text.
    pub text_bytes: usize,
}

// === impl JsonBody ===

impl JsonBody {
    /// `held` is the share of the memory budget that the body holds already.
    pub(crate) fn new(
        body: Bytes,
        encoding: Encoding,
        max: usize,
        held: Reservation,
    ) -> Result<Self, Refusal> {
        let text = Decompress::new(body, encoding, max)?;
        Ok(Self { text, fingerprinter: Fingerprinter::default(), held })
    }

    pub(crate) fn decode(mut self, limits: &DecodeLimits) -> Result<DecodedJson, Refusal> {
        let request = match decode_json_request(&mut self, limits) {
            Ok(request) => request,
            Err(JsonError::Read(error)) => return Err(refusal_of(error)),
            Err(error) => return Err(self.explain(&error)),
        };
        let Self { text, fingerprinter, held } = self;
        Ok(DecodedJson { request, fingerprint: fingerprinter.finish(), held, text_bytes: text.passed() })
    }

    /// Reads the rest of the body before blaming the JSON: for a body over a limit or with broken compression, that is
    /// the better reason.
    fn explain(mut self, error: &JsonError) -> Refusal {
        match io::copy(&mut self.text, &mut io::sink()) {
            Ok(_) => Refusal::Malformed(error.to_string()),
            Err(error) => refusal_of(error),
        }
    }
}

impl Read for JsonBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        self.fingerprinter.update(&buffer[..read]);
        self.held.grow(read).map_err(io::Error::other)?;
        Ok(read)
    }
}
