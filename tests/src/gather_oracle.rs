//! Checks what decoders of other formats gather: it is OTLP, and each span is accepted as it was written down.

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::encode_varint;
use spandrel_proto::gather::{Gatherer, Unreadable};
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_request};

/// Decodes with the default limits, or panics if what was gathered is not OTLP. `None` if the bytes are refused.
pub fn check(decode: impl FnOnce(&mut Gatherer<'_>) -> Result<(), Unreadable>) -> Option<Decoded> {
    let mut reported = 0;
    let mut hold = |bytes| {
        reported = bytes;
        Ok(())
    };
    let limits = DecodeLimits::default();
    let mut gatherer = Gatherer::new(&limits, &mut hold);
    decode(&mut gatherer).ok()?;
    let Ok(gathered) = gatherer.finish() else { panic!("memory was granted") };
    assert!(reported >= gathered.body.len(), "{reported} of {} bytes are reported", gathered.body.len());
    for span in &gathered.spans {
        let bytes = &gathered.body[span.at.clone()];
        let scope = [gathered.scopes[span.scope as usize].to_vec(), field(2, bytes)].concat();
        let resource = [gathered.resources[span.resource as usize].to_vec(), field(2, &scope)].concat();
        let Ok(again) = decode_request(Bytes::from(field(1, &resource)), &limits) else {
            panic!("what is gathered is the wire format");
        };
        assert!(again.rejected.is_empty(), "{:?}", again.rejected);
        let found = &again.spans[0];
        assert_eq!((found.trace_id, found.span_id, found.start), (span.trace_id, span.span_id, span.start));
        assert_eq!(&again.body[found.at.clone()], bytes);
        // Canonical: the generated types write the same bytes.
        let Ok(message) = opentelemetry_proto::tonic::trace::v1::Span::decode(bytes) else {
            panic!("a span is a message");
        };
        assert_eq!(message.encode_to_vec(), bytes);
    }
    Some(gathered)
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint(number << 3 | 2, &mut out);
    encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}
