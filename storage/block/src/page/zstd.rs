//! zstd for parts of a page: many small frames, so contexts are kept.

use std::cell::RefCell;

use zstd::zstd_safe::{CCtx, CParameter, DCtx};

/// Compresses, with a context and buffers that are used again.
pub(crate) struct Deflater {
    context: CCtx<'static>,
    /// Lent to whoever lays out what is compressed next.
    pub(crate) planes: Vec<u8>,
    /// Fewer bytes are not worth a frame.
    pub(crate) least: usize,
}

/// Where room counts.
const LEAST: usize = 48;
/// Where time counts: a frame costs some microseconds, however small it is.
const LEAST_IN_HASTE: usize = 512;

/// No part of a page inflates to more: a damaged length must not make a reader allocate without bound.
const MAX_INFLATED: usize = 1 << 30;

// === impl Deflater ===

impl Deflater {
    /// A compressor of one level; below 1 are the levels of haste.
    pub(crate) fn new(level: i32) -> Result<Self, crate::WriteError> {
        let mut context = CCtx::create();
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(false)] {
            context.set_parameter(parameter).map_err(|code| {
                crate::WriteError::Compress(zstd::zstd_safe::get_error_name(code).to_owned())
            })?;
        }
        let least = if level < 1 { LEAST_IN_HASTE } else { LEAST };
        Ok(Self { context, planes: Vec::new(), least })
    }

    /// One frame; `None` when zstd does not manage, which the caller answers by storing bytes as they are.
    pub(crate) fn deflate(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() < self.least {
            return None;
        }
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()));
        self.context.compress2(&mut out, bytes).ok()?;
        Some(out)
    }
}

/// Inflates a frame that holds `length` bytes.
pub(crate) fn inflate(frame: &[u8], length: usize) -> Option<Vec<u8>> {
    inflate_with(frame, length, &[])
}

/// Inflates a frame that was compressed with a dictionary, with a context that each thread keeps.
pub(crate) fn inflate_with(frame: &[u8], length: usize, dictionary: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    }
    // What is allocated is bounded by what zstd itself says, not by a length in front of it alone.
    let says = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
    if says != length as u64 || length > MAX_INFLATED {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let written =
        CONTEXT.with_borrow_mut(|context| context.decompress_using_dict(&mut out, frame, dictionary));
    (written.ok()? == length).then_some(out)
}
