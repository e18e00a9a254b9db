//! zstd for parts of a page. Pages have many small frames, so contexts and buffers are kept between them.

use std::cell::RefCell;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

/// Compresses with a context and buffers that are reused.
pub(crate) struct Compressor {
    context: CCtx<'static>,
    /// A buffer that encoders of columns borrow for the byte planes of one column.
    pub(crate) planes: Vec<u8>,
    level: i32,
    unit: Unit,
}

thread_local! {
    /// The compressor that the thread used last; creating one takes as long as compressing a small frame.
    static SPARE: RefCell<Option<Compressor>> = const { RefCell::new(None) };
}

/// The unit that is compressed as one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Each column, so that a reader decompresses only the columns that it needs.
    Column,
    /// Each section as a whole: a frame costs some microseconds however small it is, and a small page
    /// has a hundred columns.
    Section,
}

/// The level for texts, unless the block's is higher. Texts are half of a block of production traffic, and level 3 takes
/// 2 % off the block.
const PARTS_LEVEL: i32 = 3;

/// Below this length in bytes, a frame does not save anything.
const LEAST: usize = 48;

/// The most bytes of one part of a page: a damaged length must not make a reader allocate without bound.
const MAX_DECOMPRESSED: usize = 1 << 30;

// === impl Compressor ===

impl Compressor {
    pub(crate) fn new(level: i32, unit: Unit) -> Result<Self, crate::error::WriteError> {
        if let Some(spare) = SPARE.take().filter(|spare| (spare.level, spare.unit) == (level, unit)) {
            return Ok(spare);
        }
        let mut context = CCtx::create();
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(false)] {
            context.set_parameter(parameter).map_err(|code| {
                crate::error::WriteError::Compress(zstd::zstd_safe::get_error_name(code).to_owned())
            })?;
        }
        Ok(Self { context, planes: Vec::new(), level, unit })
    }

    /// Keeps the compressor for the next block that this thread writes.
    pub(crate) fn keep(self) {
        SPARE.set(Some(self));
    }

    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    /// Compresses a part of a page as a frame of its own, if columns are the unit and the frame is smaller.
    pub(crate) fn compress_column(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.unit == Unit::Column { self.compress(bytes) } else { None }
    }

    /// Like [`Self::compress_column`], but zstd begins a new block of the frame at each of these offsets. Each block has
    /// a Huffman table of its own, and texts of one kind (hexadecimal digits, URLs, prose) take fewer bits with a table
    /// made for them alone. Matches reach across blocks.
    pub(crate) fn compress_parts(&mut self, bytes: &[u8], ends: &[usize]) -> Option<Vec<u8>> {
        if self.unit != Unit::Column || bytes.len() < LEAST {
            return None;
        }
        self.compress_blocks(bytes, ends).filter(|out| out.len() < bytes.len())
    }

    fn compress_blocks(&mut self, bytes: &[u8], ends: &[usize]) -> Option<Vec<u8>> {
        self.context.reset(ResetDirective::SessionOnly).ok()?;
        self.context.set_parameter(CParameter::CompressionLevel(self.level.max(PARTS_LEVEL))).ok()?;
        self.context.set_pledged_src_size(Some(bytes.len() as u64)).ok()?;
        // Room for what the bound does not count: the head of each block.
        let bound = zstd::zstd_safe::compress_bound(bytes.len()) + 16 * ends.len();
        let mut out = Vec::with_capacity(bound);
        let compressed = self.compress_into(&mut OutBuffer::around(&mut out), bytes, ends);
        self.context.reset(ResetDirective::SessionOnly).ok()?;
        self.context.set_parameter(CParameter::CompressionLevel(self.level)).ok()?;
        compressed.map(|()| out)
    }

    fn compress_into(
        &mut self,
        out: &mut OutBuffer<'_, Vec<u8>>,
        bytes: &[u8],
        ends: &[usize],
    ) -> Option<()> {
        let mut begin = 0;
        for &end in ends.iter().chain([&bytes.len()]) {
            let last = end == bytes.len();
            let mut part = InBuffer::around(bytes.get(begin..end)?);
            let directive =
                if last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_flush };
            while self.context.compress_stream2(out, &mut part, directive).ok()? > 0 {
                if out.pos() == out.capacity() {
                    return None;
                }
            }
            if last {
                break;
            }
            begin = end;
        }
        Some(())
    }

    /// Returns one frame if it is smaller; otherwise the caller stores the bytes as they are.
    pub(crate) fn compress(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() < LEAST {
            return None;
        }
        let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()));
        self.context.compress2(&mut out, bytes).ok()?;
        Some(out).filter(|out| out.len() < bytes.len())
    }
}

/// Decompresses a frame that holds `length` bytes.
pub(crate) fn decompress(frame: &[u8], length: usize) -> Option<Vec<u8>> {
    decompress_with_dictionary(frame, length, &[])
}

/// Decompresses a frame that was compressed with a dictionary, with a context that each thread keeps.
pub(crate) fn decompress_with_dictionary(frame: &[u8], length: usize, dictionary: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    }
    // The length in front of the frame may be damaged: allocate only if the frame itself states the same length.
    let says = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
    if says != length as u64 || length > MAX_DECOMPRESSED {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let written =
        CONTEXT.with_borrow_mut(|context| context.decompress_using_dict(&mut out, frame, dictionary));
    (written.ok()? == length).then_some(out)
}
