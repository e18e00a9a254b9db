//! The bytes of a file or of standard input, decompressed where they begin as gzip or zstd does.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// A stream of bytes that knows how far it is.
pub(super) struct Source {
    inner: BufReader<Box<dyn Read>>,
    length: Option<u64>,
    passed: Arc<AtomicU64>,
}

/// Counts the bytes of the file itself.
struct Counted<R> {
    inner: R,
    passed: Arc<AtomicU64>,
}

const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

// === impl Source ===

impl Source {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::of(Box::new(io::stdin()), None);
        }
        let file = File::open(path)?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        Self::of(Box::new(file), length)
    }

    pub(super) fn of(inner: Box<dyn Read>, length: Option<u64>) -> io::Result<Self> {
        let passed = Arc::new(AtomicU64::new(0));
        let mut raw = BufReader::with_capacity(BUFFER, Counted { inner, passed: passed.clone() });
        // A pipe may give its first bytes one by one; a file of fewer is none of these.
        let begin = first_bytes(&mut raw)?;
        let inner: Box<dyn Read> = if begin.starts_with(&GZIP) {
            Box::new(MultiGzDecoder::new(BufReader::new(begin_again(begin, raw))))
        } else if begin.starts_with(&ZSTD) {
            Box::new(zstd::stream::read::Decoder::new(begin_again(begin, raw))?)
        } else {
            Box::new(begin_again(begin, raw))
        };
        Ok(Self { inner: BufReader::with_capacity(BUFFER, inner), length, passed })
    }

    /// The length of the file itself; `None` if it is not known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How much of the file itself was read.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

fn first_bytes(raw: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = Vec::with_capacity(ZSTD.len());
    raw.take(ZSTD.len() as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

fn begin_again(begin: Vec<u8>, rest: impl Read) -> impl Read {
    io::Cursor::new(begin).chain(rest)
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
