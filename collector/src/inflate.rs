//! Decompression that stops at a limit: a bomb costs what the limit allows, whatever it claims.

use std::io::{self, BufRead as _, Read};

use axum::http::HeaderMap;
use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use crate::budget::Reservation;
use crate::refusal::Refusal;

/// For `Accept-Encoding` and `grpc-accept-encoding`.
pub(crate) const SUPPORTED: &str = "gzip, zstd, deflate, identity";

/// What a body is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// The zlib format, which is what HTTP and gRPC mean by the word.
    Deflate,
}

/// A decompression under way.
pub(crate) struct Inflater {
    source: Source,
    out: Vec<u8>,
    max: usize,
    encoding: Encoding,
}

enum Source {
    Gzip(MultiGzDecoder<Reader<Bytes>>),
    Zstd(zstd::stream::read::Decoder<'static, Reader<Bytes>>),
    Deflate(ZlibDecoder<Reader<Bytes>>),
}

/// 8 MiB, the window that RFC 9659 allows on the web; a frame could ask for gigabytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Read at a time, between looks at the limits.
const CHUNK: usize = 128 << 10;

// === impl Encoding ===

impl Encoding {
    /// From a header such as `Content-Encoding`.
    pub(crate) fn from_headers(headers: &HeaderMap, name: &'static str) -> Result<Self, Refusal> {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        let text = String::from_utf8_lossy(value.as_bytes());
        if values.next().is_some() {
            return Err(Refusal::Encoding(format!("{text}, and another")));
        }
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "deflate" => Ok(Self::Deflate),
            _ => Err(Refusal::Encoding(text.into_owned())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

// === impl Inflater ===

impl Inflater {
    /// `None` when there is nothing to inflate.
    pub(crate) fn new(body: &Bytes, encoding: Encoding, max: usize) -> Result<Option<Self>, Refusal> {
        let reader = body.clone().reader();
        let source = match encoding {
            Encoding::Identity => return Ok(None),
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
        // Usual bodies shrink to a fifth or less; what is claimed in the body is not believed.
        let out = Vec::with_capacity((body.len() * 4).min(CHUNK));
        Ok(Some(Self { source, out, max, encoding }))
    }

    /// Goes on until about `pause` bytes are there or all of them: then it says `true`.
    pub(crate) fn run(&mut self, pause: usize, held: &mut Reservation) -> Result<bool, Refusal> {
        while self.out.len() < pause {
            let before = self.out.len();
            let read = match &mut self.source {
                Source::Gzip(source) => read_chunk(source, &mut self.out),
                Source::Zstd(source) => read_chunk(source, &mut self.out),
                Source::Deflate(source) => read_chunk(source, &mut self.out),
            };
            let at = self.out.len();
            let whole = read.map_err(|error| broken(self.encoding, at, &error))?;
            if at > self.max {
                return Err(Refusal::TooLarge { limit: "max_decompressed_bytes", max: self.max });
            }
            held.grow(at - before)?;
            if whole {
                return self.check_end().map(|()| true);
            }
        }
        Ok(false)
    }

    /// What came out.
    pub(crate) fn finish(self) -> Bytes {
        self.out.into()
    }

    /// The other decoders look for more frames themselves.
    fn check_end(&mut self) -> Result<(), Refusal> {
        let Source::Deflate(source) = &mut self.source else { return Ok(()) };
        match source.get_mut().fill_buf() {
            Ok([]) => Ok(()),
            _ => Err(Refusal::Malformed("bytes follow the end of the deflate stream".to_owned())),
        }
    }
}

/// Whether that was all.
fn read_chunk(source: &mut impl Read, out: &mut Vec<u8>) -> io::Result<bool> {
    let read = source.take(CHUNK as u64).read_to_end(out)?;
    Ok(read < CHUNK)
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

    fn inflate(body: &Bytes, encoding: Encoding, max: usize) -> Result<Bytes, Refusal> {
        let mut held = Budget::new(1 << 30).reserve();
        let mut inflater = Inflater::new(body, encoding, max)?.unwrap();
        while !inflater.run(inflater.out.len() + 1, &mut held)? {}
        Ok(inflater.finish())
    }

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate];

    #[test]
    fn gives_back_what_was_compressed() {
        for encoding in ALL {
            for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
                let data: Vec<u8> = (0..length).map(|i| (i * i % 251) as u8).collect();
                let body = compress(encoding, &data);
                assert_eq!(inflate(&body, encoding, data.len()).unwrap(), data, "{encoding:?} {length}");
            }
        }
    }

    #[test]
    fn stops_at_the_limit() {
        for encoding in ALL {
            let bomb = compress(encoding, &vec![0; 64 << 20]);
            let mut held = Budget::new(1 << 30).reserve();
            let mut inflater = Inflater::new(&bomb, encoding, 1 << 20).unwrap().unwrap();
            let refusal = inflater.run(usize::MAX, &mut held).unwrap_err();
            assert!(matches!(refusal, Refusal::TooLarge { limit: "max_decompressed_bytes", .. }));
            assert!(inflater.out.len() <= (1 << 20) + CHUNK);
        }
    }

    #[test]
    fn stops_when_memory_is_short() {
        for encoding in ALL {
            let mut held = Budget::new(1000).reserve();
            let mut inflater =
                Inflater::new(&compress(encoding, &[7; 5000]), encoding, 1 << 20).unwrap().unwrap();
            assert!(matches!(inflater.run(usize::MAX, &mut held), Err(Refusal::Busy { .. })));
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
                let refusal = inflate(&body, encoding, 1 << 20).unwrap_err();
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
        assert!(matches!(inflate(&body, Encoding::Zstd, 1 << 20), Err(Refusal::Malformed(_))));
    }
}
