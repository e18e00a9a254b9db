//! Decompression with a limit: a decompression bomb costs no more than the limit allows.

use std::io::{self, BufRead as _, Read};

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use crate::budget::Reservation;
use crate::encoding::Encoding;
use crate::refusal::Refusal;

/// Reads a body and decompresses it.
pub(crate) struct Decompress {
    source: Source,
    encoding: Encoding,
    /// Decompressed bytes so far.
    passed: usize,
    max: usize,
}

enum Source {
    Identity(Reader<Bytes>),
    Gzip(MultiGzDecoder<Reader<Bytes>>),
    Zstd(zstd::stream::read::Decoder<'static, Reader<Bytes>>),
    Deflate(ZlibDecoder<Reader<Bytes>>),
}

/// A body whose decompressed bytes are collected.
pub(crate) struct Decompressed {
    body: Decompress,
    out: Vec<u8>,
}

/// How far a decompression got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Paused,
    Finished,
}

/// 8 MiB, the largest window that RFC 9659 allows on the web; a frame could request gigabytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes between two checks of the limits.
const CHUNK: usize = 128 << 10;

// === impl Decompress ===

impl Decompress {
    pub(crate) fn new(body: Bytes, encoding: Encoding, max: usize) -> Result<Self, Refusal> {
        let reader = body.reader();
        let source = match encoding {
            Encoding::Identity => Source::Identity(reader),
            Encoding::Gzip => Source::Gzip(MultiGzDecoder::new(reader)),
            Encoding::Deflate => Source::Deflate(ZlibDecoder::new(reader)),
            Encoding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(reader).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                    Ok(decoder)
                });
                Source::Zstd(decoder.map_err(|error| broken(encoding, 0, &error))?)
            }
        };
        Ok(Self { source, encoding, passed: 0, max })
    }

    /// Decompressed bytes so far.
    pub(crate) fn passed(&self) -> usize {
        self.passed
    }

    fn read_checked(&mut self, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let read = match &mut self.source {
            Source::Identity(source) => source.read(buffer),
            Source::Gzip(source) => source.read(buffer),
            Source::Zstd(source) => source.read(buffer),
            Source::Deflate(source) => source.read(buffer),
        };
        let read = read.map_err(|error| broken(self.encoding, self.passed, &error))?;
        self.passed += read;
        if self.passed > self.max {
            return Err(Refusal::TooLarge { limit: "maxDecompressedBytes", max: self.max });
        }
        if read == 0 && !buffer.is_empty() {
            self.check_end()?;
        }
        Ok(read)
    }

    /// Refuses bytes after the end of a deflate stream. The other decoders look for further frames themselves.
    fn check_end(&mut self) -> Result<(), Refusal> {
        let Source::Deflate(source) = &mut self.source else { return Ok(()) };
        match source.get_mut().fill_buf() {
            Ok([]) => Ok(()),
            _ => Err(Refusal::Malformed("bytes follow the end of the deflate stream".to_owned())),
        }
    }
}

impl Read for Decompress {
    /// Errors wrap a [`Refusal`]; [`refusal_of`] unwraps it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_checked(buffer).map_err(io::Error::other)
    }
}

// === impl Decompressed ===

impl Decompressed {
    pub(crate) fn new(body: &Bytes, encoding: Encoding, max: usize) -> Result<Self, Refusal> {
        // Usual bodies shrink to a fifth or less. A size that the body declares is not trusted.
        let out = Vec::with_capacity((body.len() * 4).min(CHUNK));
        Ok(Self { body: Decompress::new(body.clone(), encoding, max)?, out })
    }

    /// Decompresses until about `pause` bytes are there, or all of them.
    pub(crate) fn run(&mut self, pause: usize, held: &mut Reservation) -> Result<Progress, Refusal> {
        while self.out.len() < pause {
            let chunk = self.body.by_ref().take(CHUNK as u64).read_to_end(&mut self.out);
            let read = chunk.map_err(refusal_of)?;
            held.grow(read)?;
            if read < CHUNK {
                return Ok(Progress::Finished);
            }
        }
        Ok(Progress::Paused)
    }

    /// The decompressed bytes.
    pub(crate) fn finish(self) -> Bytes {
        self.out.into()
    }
}

/// The refusal that an error of [`Decompress`] wraps; any other error means that the body broke off.
pub(crate) fn refusal_of(error: io::Error) -> Refusal {
    error.downcast().unwrap_or_else(|error| Refusal::BrokenOff(error.to_string()))
}

fn broken(encoding: Encoding, at: usize, error: &io::Error) -> Refusal {
    let name = encoding.name();
    Refusal::Malformed(format!("the body is not valid {name}: {error} (after {at} decompressed bytes)"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::budget::Budget;

    fn compress(encoding: Encoding, data: &[u8]) -> Bytes {
        let level = flate2::Compression::default();
        match encoding {
            Encoding::Identity => data.to_vec(),
            Encoding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(data).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(data, 3).unwrap(),
        }
        .into()
    }

    fn decompress(body: &Bytes, encoding: Encoding, max: usize) -> Result<Bytes, Refusal> {
        let mut held = Budget::new(1 << 30).reserve(&spandrel_proto::TenantId::default());
        let mut body = Decompressed::new(body, encoding, max)?;
        while body.run(body.out.len() + 1, &mut held)? == Progress::Paused {}
        Ok(body.finish())
    }

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate];

    #[test]
    fn gives_back_what_was_compressed() {
        for encoding in ALL {
            for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
                let data: Vec<u8> = (0..length).map(|i| (i * i % 251) as u8).collect();
                let body = compress(encoding, &data);
                assert_eq!(decompress(&body, encoding, data.len()).unwrap(), data, "{encoding:?} {length}");
            }
        }
    }

    #[test]
    fn stops_at_the_limit() {
        for encoding in ALL {
            let bomb = compress(encoding, &vec![0; 64 << 20]);
            let mut held = Budget::new(1 << 30).reserve(&spandrel_proto::TenantId::default());
            let mut body = Decompressed::new(&bomb, encoding, 1 << 20).unwrap();
            let refusal = body.run(usize::MAX, &mut held).unwrap_err();
            assert!(matches!(refusal, Refusal::TooLarge { limit: "maxDecompressedBytes", .. }));
            assert!(body.out.len() <= (1 << 20) + CHUNK);
        }
    }

    #[test]
    fn stops_when_memory_is_short() {
        for encoding in ALL {
            let mut held = Budget::new(1000).reserve(&spandrel_proto::TenantId::default());
            let mut body = Decompressed::new(&compress(encoding, &[7; 5000]), encoding, 1 << 20).unwrap();
            assert!(matches!(body.run(usize::MAX, &mut held), Err(Refusal::Busy { .. })));
        }
    }

    #[test]
    fn says_what_is_broken() {
        for encoding in ALL {
            let whole = compress(encoding, &[1, 2, 3].repeat(1000));
            let mut flipped = whole.to_vec();
            flipped[0] ^= 0xff;
            let mut followed = whole.to_vec();
            followed.extend(b"more");
            for body in [whole.slice(..whole.len() - 3), flipped.into(), Bytes::new(), followed.into()] {
                let refusal = decompress(&body, encoding, 1 << 20).unwrap_err();
                assert!(
                    matches!(&refusal, Refusal::Malformed(why) if why.contains(encoding.name())),
                    "{refusal}"
                );
            }
        }
    }

    #[test]
    fn refuses_a_zstd_window_of_gigabytes() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&[0; 1000]).unwrap();
        let body = encoder.finish().unwrap().into();
        assert!(matches!(decompress(&body, Encoding::Zstd, 1 << 20), Err(Refusal::Malformed(_))));
    }
}
