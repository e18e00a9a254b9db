//! Rules of the collector: any text is a list of rules or an error with its place, and whatever rules do to spans, what is
//! left is OTLP. Rules stand in front of the first zero byte, and a request of OTLP behind it.
#![no_main]

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use spandrel_clean::{HashKey, Registry, RuleSet, Seen, Watch};
use spandrel_proto::TenantId;
use spandrel_proto::otlp::wire::put_bytes;
use spandrel_proto::otlp::{DecodeLimits, Decoded, SpanView, decode_request};

/// The request that rules without one are applied to.
const USUAL: &[u8] = include_bytes!("../../seeds/otlp/request");

/// A step changes or drops a span, and says what it was.
struct Steps;

impl Watch for Steps {
    fn step(&mut self, _: usize, before: Seen<'_>, after: Option<Seen<'_>>) {
        assert_ne!(Some(before), after, "a change changes something");
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (rules, request) = match input.iter().position(|byte| *byte == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, USUAL),
    };
    let Ok(text) = std::str::from_utf8(rules) else { return };
    let key = |_: Option<&str>| HashKey::new(&[7; 32]);
    let rules = match RuleSet::parse(text, &key, &Registry::default()) {
        Ok(rules) => Arc::new(rules),
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty(), "{error}");
            return;
        }
    };
    let limits = DecodeLimits::default();
    let Ok(mut decoded) = decode_request(Bytes::copy_from_slice(request), &limits) else { return };
    let sent = decoded.spans.len() as u64;
    let grow = |_| Ok::<_, Infallible>(());
    let Ok(tally) = rules.apply_watched(&mut decoded, &TenantId::default(), grow, &mut Steps);
    assert_eq!(tally.dropped() + decoded.spans.len() as u64, sent);
    check(&decoded, &limits);
});

/// Each span is accepted again as it is, with its resource and scope.
fn check(decoded: &Decoded, limits: &DecodeLimits) {
    for span in &decoded.spans {
        let bytes = decoded.span(span);
        let (mut scope, mut resource, mut request) = (
            decoded.scopes[span.scope as usize].to_vec(),
            decoded.resources[span.resource as usize].to_vec(),
            Vec::new(),
        );
        put_bytes(&mut scope, 2, bytes);
        put_bytes(&mut resource, 2, &scope);
        put_bytes(&mut request, 1, &resource);
        let again = decode_request(Bytes::from(request), limits).expect("what is left is OTLP");
        assert!(again.rejected.is_empty(), "{:?}", again.rejected);
        let found = &again.spans[0];
        assert_eq!((found.trace_id, found.span_id, found.start), (span.trace_id, span.span_id, span.start));
        assert_eq!(&again.body[found.at.clone()], bytes);
        SpanView::parse(bytes).expect("a span can be read");
    }
}
