//! Cuts spans into requests of OTLP, at the same places each time.

use std::error::Error;

use spandrel_proto::otlp::Decoded;
use spandrel_proto::otlp::wire::put_bytes;

/// A request that is being filled.
#[derive(Default)]
pub(super) struct Pieces {
    request: Vec<u8>,
    spans: u64,
}

/// A request that has this many bytes is sent.
const REQUEST_BYTES: usize = 2 << 20;

type Failure = Box<dyn Error>;

// === impl Pieces ===

impl Pieces {
    /// Adds spans, and sends what is full.
    pub(super) fn add(
        &mut self,
        decoded: &Decoded,
        mut send: impl FnMut(&[u8], u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut rest = &*decoded.spans;
        while let Some(first) = rest.first() {
            // Neighbours of the same resource and scope stand together.
            let mut scope = decoded.scopes[first.scope as usize].to_vec();
            let mut taken = 0;
            for span in rest {
                let is_neighbour = (span.resource, span.scope) == (first.resource, first.scope);
                if !is_neighbour || (taken > 0 && self.request.len() + scope.len() > REQUEST_BYTES) {
                    break;
                }
                put_bytes(&mut scope, 2, &decoded.body[span.at.clone()]);
                taken += 1;
            }
            let mut resource = decoded.resources[first.resource as usize].to_vec();
            put_bytes(&mut resource, 2, &scope);
            put_bytes(&mut self.request, 1, &resource);
            self.spans += taken as u64;
            rest = &rest[taken..];
            if self.request.len() >= REQUEST_BYTES {
                self.send(&mut send)?;
            }
        }
        Ok(())
    }

    /// Sends what is left.
    pub(super) fn finish(
        mut self,
        mut send: impl FnMut(&[u8], u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.spans > 0 { self.send(&mut send) } else { Ok(()) }
    }

    fn send(&mut self, send: &mut impl FnMut(&[u8], u64) -> Result<(), Failure>) -> Result<(), Failure> {
        send(&self.request, self.spans)?;
        self.request.clear();
        self.spans = 0;
        Ok(())
    }
}
