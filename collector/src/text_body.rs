//! The text of a body, decompressed, counted and hashed while it is decoded.
//!
//! The text of a compressed body is never in memory as a whole. OTLP's messages take at most as many bytes as their text,
//! so a request reserves that much of the memory budget until its real size is known; other formats reserve what they
//! have gathered, too, once that is more.

use std::cell::RefCell;
use std::io::{self, Read};

use bytes::Bytes;
use spandrel_proto::gather::{Gatherer, Unreadable};
use spandrel_proto::otlp::{DecodeLimits, Decoded, JsonError, decode_json_logs_request, decode_json_request};

use crate::budget::Reservation;
use crate::decompress::{Decompress, refusal_of};
use crate::dedup::{Fingerprint, Fingerprinter};
use crate::encoding::Encoding;
use crate::refusal::Refusal;

/// Decodes the text of another format than OTLP.
pub(crate) type TextDecoder = fn(&mut dyn Read, &mut Gatherer<'_>) -> Result<(), Unreadable>;
/// The same for formats whose bytes have to be there as a whole.
pub(crate) type BytesDecoder = fn(&[u8], &mut Gatherer<'_>) -> Result<(), Unreadable>;

/// A body that is read once.
pub(crate) struct TextBody {
    body: Bytes,
    encoding: Encoding,
    max: usize,
    held: Reservation,
}

/// The result of decoding a body.
pub(crate) struct DecodedText {
    pub request: Decoded,
    pub fingerprint: Fingerprint,
    pub held: Reservation,
    /// The length of the text.
    pub text_bytes: usize,
}

/// What a request holds of the budget beside its body: as much as it needs so far.
struct Hold {
    held: Reservation,
    counted: usize,
}

/// The text, as its decoder reads it.
struct Text<'h> {
    text: Decompress,
    fingerprinter: Fingerprinter,
    hold: &'h RefCell<Hold>,
}

// === impl TextBody ===

impl TextBody {
    /// `held` is the share of the memory budget that the body holds already.
    pub(crate) fn new(body: Bytes, encoding: Encoding, max: usize, held: Reservation) -> Self {
        Self { body, encoding, max, held }
    }

    /// Decodes OTLP.
    pub(crate) fn decode_otlp(self, limits: &DecodeLimits) -> Result<DecodedText, Refusal> {
        self.decode_otlp_by(|text| decode_json_request(text, limits))
    }

    /// Decodes log records of OTLP.
    pub(crate) fn decode_otlp_logs(self, limits: &DecodeLimits) -> Result<DecodedText, Refusal> {
        self.decode_otlp_by(|text| decode_json_logs_request(text, limits))
    }

    fn decode_otlp_by(
        self,
        decode: impl FnOnce(&mut dyn Read) -> Result<Decoded, JsonError>,
    ) -> Result<DecodedText, Refusal> {
        self.read(|text, _| match decode(text) {
            Ok(request) => Ok(request),
            Err(JsonError::Read(error)) => Err(Unreadable::Source(error)),
            Err(error) => Err(Unreadable::Malformed(error.to_string())),
        })
    }

    /// Decodes another format.
    pub(crate) fn decode(self, limits: &DecodeLimits, decoder: TextDecoder) -> Result<DecodedText, Refusal> {
        self.read(|text, hold| {
            let mut grow = |gathered| hold.borrow_mut().at_least(gathered).map_err(io::Error::other);
            let mut gatherer = Gatherer::new(limits, &mut grow);
            decoder(text, &mut gatherer)?;
            Ok(gatherer.finish()?)
        })
    }

    fn read(
        self,
        decode: impl FnOnce(&mut Text<'_>, &RefCell<Hold>) -> Result<Decoded, Unreadable>,
    ) -> Result<DecodedText, Refusal> {
        let Self { body, encoding, max, held } = self;
        let text = Decompress::new(body, encoding, max)?;
        let hold = RefCell::new(Hold { held, counted: 0 });
        let mut text = Text { text, fingerprinter: Fingerprinter::default(), hold: &hold };
        let request = match decode(&mut text, &hold) {
            Ok(request) => request,
            Err(Unreadable::Source(error)) => return Err(refusal_of(error)),
            Err(Unreadable::Malformed(why)) => return Err(text.explain(why)),
        };
        let Text { text, fingerprinter, .. } = text;
        let (fingerprint, text_bytes) = (fingerprinter.finish(), text.passed());
        Ok(DecodedText { request, fingerprint, held: hold.into_inner().held, text_bytes })
    }
}

/// Decodes a body whose bytes are there; `held` is the share of the memory budget that they hold.
pub(crate) fn decode_bytes(
    body: &[u8],
    limits: &DecodeLimits,
    held: Reservation,
    decoder: BytesDecoder,
) -> Result<(Decoded, Reservation), Refusal> {
    let mut hold = Hold { held, counted: 0 };
    let mut grow = |gathered| hold.at_least(gathered).map_err(io::Error::other);
    let mut gatherer = Gatherer::new(limits, &mut grow);
    let decoded = decoder(body, &mut gatherer).and_then(|()| Ok(gatherer.finish()?));
    match decoded {
        Ok(decoded) => Ok((decoded, hold.held)),
        Err(Unreadable::Source(error)) => Err(refusal_of(error)),
        Err(Unreadable::Malformed(why)) => Err(Refusal::Malformed(why)),
    }
}

// === impl Hold ===

impl Hold {
    fn at_least(&mut self, bytes: usize) -> Result<(), Refusal> {
        if let Some(more) = bytes.checked_sub(self.counted) {
            self.held.grow(more)?;
            self.counted = bytes;
        }
        Ok(())
    }
}

// === impl Text ===

impl Text<'_> {
    /// Reads the rest of the body before blaming the text: for a body over a limit or with broken compression, that is
    /// the better reason.
    fn explain(mut self, why: String) -> Refusal {
        match io::copy(&mut self.text, &mut io::sink()) {
            Ok(_) => Refusal::Malformed(why),
            Err(error) => refusal_of(error),
        }
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        self.fingerprinter.update(&buffer[..read]);
        self.hold.borrow_mut().at_least(self.text.passed()).map_err(io::Error::other)?;
        Ok(read)
    }
}
