//! Encrypted blocks: any range of the plain block is read by decrypting the frames that contain it. `mod.rs` has the
//! format.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use spandrel_block::BlockKey;
use xxhash_rust::xxh3::xxh3_64;

use super::cipher::{self, Cipher, CipherError, Frame, SALT, TAG};
use super::keys::{DataKey, KeyId};

/// The header of an encrypted block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) key: KeyId,
    plain_bytes: u64,
    salt: [u8; SALT],
}

/// An encrypted block whose header was read.
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) header: BlockHeader,
    cipher: Cipher,
}

/// Bytes at a place of a block that were decrypted, or are unreadable.
pub(super) struct SalvagedFrames {
    pub(super) plain: Vec<u8>,
    /// The first error.
    pub(super) damage: Option<CipherError>,
}

const MAGIC: [u8; 8] = *b"SPANENC1";
/// Bytes of the header without its checksum.
const FIELDS: usize = MAGIC.len() + 8 + 8 + SALT;
pub(super) const HEADER: usize = FIELDS + 8;
/// Bytes of a whole frame, with its tag; the first one begins with the header.
const FRAME: u64 = 16 << 10;
/// Plain bytes of the first frame and of each other one.
const FIRST_PLAIN: u64 = FRAME - (HEADER + TAG) as u64;
const PLAIN: u64 = FRAME - TAG as u64;
const PURPOSE: &[u8] = b"spandrel block\0";

/// Whether the bytes of a block are encrypted.
pub fn is_encrypted_block(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Checks without a key what can be checked: the header, and the length of the whole block. Returns the data key that it
/// needs.
pub fn check_header(bytes: &[u8]) -> Result<KeyId, CipherError> {
    let header = BlockHeader::read(bytes).ok_or(CipherError::NotAuthentic)?;
    if header.stored_bytes() == Some(bytes.len() as u64) {
        Ok(header.key)
    } else {
        Err(CipherError::NotAuthentic)
    }
}

/// Encrypts a whole block.
pub(super) fn encrypt(key: &DataKey, place: &BlockKey, plain: &[u8]) -> Result<Bytes, CipherError> {
    let header = BlockHeader { key: key.id(), plain_bytes: plain.len() as u64, salt: cipher::random()? };
    let stored = header.stored_bytes().ok_or(CipherError::Refused)?;
    let OpenBlock { cipher, .. } = header.open(key, place)?;
    let mut out = Vec::with_capacity(usize::try_from(stored).map_err(|_| CipherError::Refused)?);
    out.extend_from_slice(&header.encode());
    for number in 0..header.frames() {
        let begin = out.len();
        let range = header.plain_range(number);
        out.extend_from_slice(&plain[range.start as usize..range.end as usize]);
        let tag = cipher.encrypt(header.frame(number)?, &mut out[begin..])?;
        out.extend_from_slice(&tag);
    }
    Ok(out.into())
}

// === impl BlockHeader ===

impl BlockHeader {
    fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&self.key.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.plain_bytes.to_le_bytes());
        out[24..FIELDS].copy_from_slice(&self.salt);
        let checksum = xxh3_64(&out[..FIELDS]);
        out[FIELDS..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the header at the start of an encrypted block; `None` if it is damaged.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let fields = bytes.first_chunk::<HEADER>()?;
        let number = |at: usize| fields[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        let mut salt = [0; SALT];
        salt.copy_from_slice(&fields[24..FIELDS]);
        let header = Self { key: KeyId(number(8)?), plain_bytes: number(16)?, salt };
        (header.encode() == *fields && header.stored_bytes().is_some()).then_some(header)
    }

    /// Derives the key of the block; the data key has to be the one that the header names.
    pub(super) fn open(self, key: &DataKey, place: &BlockKey) -> Result<OpenBlock, CipherError> {
        let cipher = key.secret().derive(PURPOSE, &self.encode()[..FIELDS], &place.encode())?;
        Ok(OpenBlock { header: self, cipher })
    }

    /// Bytes of the encrypted block; `None` if it has more frames than can be numbered.
    pub(super) fn stored_bytes(&self) -> Option<u64> {
        u32::try_from(self.frames()).ok()?;
        Some(HEADER as u64 + self.plain_bytes + self.frames() * TAG as u64)
    }

    /// Number of frames; an empty block has one, too.
    fn frames(&self) -> u64 {
        1 + self.plain_bytes.saturating_sub(FIRST_PLAIN).div_ceil(PLAIN)
    }

    fn frame(&self, number: u64) -> Result<Frame, CipherError> {
        let is_last = number + 1 == self.frames();
        Ok(Frame { number: u32::try_from(number).map_err(|_| CipherError::Refused)?, is_last })
    }

    /// The range of the plain block that a frame contains.
    fn plain_range(&self, number: u64) -> Range<u64> {
        let begin = |number: u64| match number {
            0 => 0,
            number => FIRST_PLAIN + (number - 1) * PLAIN,
        };
        begin(number)..begin(number + 1).min(self.plain_bytes)
    }

    /// The bytes of the encrypted block that a frame takes, without the header.
    fn stored_range(&self, number: u64) -> Range<u64> {
        let begin = if number == 0 { HEADER as u64 } else { number * FRAME };
        let plain = self.plain_range(number);
        begin..begin + (plain.end - plain.start) + TAG as u64
    }

    /// The frames that contain a range, which is not empty and lies within the plain block.
    fn frames_of(&self, range: &Range<u64>) -> Range<u64> {
        let of = |at: u64| match at.checked_sub(FIRST_PLAIN) {
            None => 0,
            Some(behind) => 1 + behind / PLAIN,
        };
        of(range.start)..of(range.end - 1) + 1
    }
}

// === impl OpenBlock ===

impl OpenBlock {
    /// The part of a range that lies within the plain block.
    pub(super) fn clamp(&self, range: &Range<u64>) -> Range<u64> {
        let end = range.end.min(self.header.plain_bytes);
        range.start.min(end)..end
    }

    /// The range of the encrypted block that has to be read for a clamped range of the plain one.
    pub(super) fn stored_range(&self, range: &Range<u64>) -> Range<u64> {
        if range.is_empty() {
            return 0..0;
        }
        let frames = self.header.frames_of(range);
        self.header.stored_range(frames.start).start..self.header.stored_range(frames.end - 1).end
    }

    /// Decrypts what was read for a clamped range.
    pub(super) fn decrypt(&self, range: &Range<u64>, stored: Bytes) -> Result<Bytes, CipherError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let frames = self.header.frames_of(range);
        let origin = self.header.stored_range(frames.start).start;
        let mut bytes = stored.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let mut plain = 0;
        for number in frames.clone() {
            let place = self.header.stored_range(number);
            let (begin, end) = ((place.start - origin) as usize, (place.end - origin) as usize);
            let frame = bytes.get_mut(plain..end).ok_or(CipherError::NotAuthentic)?;
            plain += self.cipher.decrypt(self.header.frame(number)?, frame, begin - plain)?;
        }
        let first = self.header.plain_range(frames.start).start;
        let wanted = (range.start - first) as usize..(range.end - first) as usize;
        let wasted = bytes.capacity() - wanted.len();
        let bytes = bytes.freeze();
        // A small part must not keep the memory of whole frames: caches count its length alone.
        let part = bytes.get(wanted.clone()).ok_or(CipherError::NotAuthentic)?;
        let is_wasteful = wasted > wanted.len() / 8;
        Ok(if is_wasteful { Bytes::copy_from_slice(part) } else { bytes.slice(wanted) })
    }

    /// Decrypts a whole block.
    pub(super) fn decrypt_whole(&self, stored: &Bytes) -> Result<Bytes, CipherError> {
        let range = 0..self.header.plain_bytes;
        if self.header.stored_bytes() != Some(stored.len() as u64) {
            return Err(CipherError::NotAuthentic);
        }
        if range.is_empty() {
            // The one frame is empty, and its tag tells that the block is.
            let mut frame = stored[HEADER..].to_vec();
            self.cipher.decrypt(self.header.frame(0)?, &mut frame, 0)?;
        }
        let end = self.stored_range(&range).end as usize;
        let frames =
            if range.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&stored[HEADER..end]) };
        self.decrypt(&range, frames)
    }

    /// Decrypts every frame that can be decrypted; zeros stand for the others, and an unreadable end is cut off.
    pub(super) fn salvage(&self, stored: &[u8]) -> SalvagedFrames {
        let mut found = SalvagedFrames { plain: Vec::new(), damage: None };
        for number in 0..self.header.frames() {
            let place = self.header.stored_range(number);
            // The rest of the file is gone, and its length may be wrong.
            let Some(bytes) = stored.get(place.start as usize..place.end as usize) else {
                found.damage.get_or_insert(CipherError::NotAuthentic);
                break;
            };
            let mut bytes = bytes.to_vec();
            let frame = self.header.frame(number);
            match frame.and_then(|frame| self.cipher.decrypt(frame, &mut bytes, 0)) {
                Ok(length) => {
                    found.plain.resize(self.header.plain_range(number).start as usize, 0);
                    found.plain.extend_from_slice(&bytes[..length]);
                }
                Err(error) => {
                    found.damage.get_or_insert(error);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spandrel_block::{BlockId, Hour};
    use spandrel_proto::TenantId;

    use super::*;

    fn place(block: u64) -> BlockKey {
        BlockKey { tenant: TenantId::default(), hour: Hour(1), block: BlockId(block) }
    }

    fn key() -> DataKey {
        DataKey::random(Some(TenantId::default())).unwrap()
    }

    /// Bytes that differ at every place.
    fn plain(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
    }

    fn open(key: &DataKey, block: u64, stored: &[u8]) -> OpenBlock {
        BlockHeader::read(stored).unwrap().open(key, &place(block)).unwrap()
    }

    fn read(open: &OpenBlock, stored: &[u8], range: Range<u64>) -> Result<Bytes, CipherError> {
        let range = open.clamp(&range);
        let part = open.stored_range(&range);
        let end = (part.end as usize).min(stored.len());
        let begin = (part.start as usize).min(end);
        open.decrypt(&range, Bytes::copy_from_slice(&stored[begin..end]))
    }

    const LENGTHS: [usize; 11] = [
        0,
        1,
        100,
        FIRST_PLAIN as usize - 1,
        FIRST_PLAIN as usize,
        FIRST_PLAIN as usize + 1,
        (FIRST_PLAIN + PLAIN) as usize - 1,
        (FIRST_PLAIN + PLAIN) as usize,
        (FIRST_PLAIN + PLAIN) as usize + 1,
        65_536,
        200_000,
    ];

    #[test]
    fn lengths_around_the_edges_of_frames_come_back() {
        let key = key();
        for length in LENGTHS {
            let plain = plain(length);
            let stored = encrypt(&key, &place(1), &plain).unwrap();
            let open = open(&key, 1, &stored);
            assert_eq!(open.header.stored_bytes(), Some(stored.len() as u64), "{length}");
            assert_eq!(check_header(&stored), Ok(key.id()));
            assert_eq!(read(&open, &stored, 0..u64::MAX).unwrap(), plain, "{length}");
            assert_eq!(open.salvage(&stored).plain, plain);
            for frame in (0..stored.len()).step_by(FRAME as usize).skip(1) {
                let number = frame as u64 / FRAME;
                assert_eq!(open.header.stored_range(number).start, frame as u64, "frames are aligned");
            }
        }
    }

    #[test]
    fn frames_that_are_swapped_moved_cut_or_changed_are_found() {
        let key = key();
        let plain = plain(60_000);
        let [one, other] = [1, 2].map(|block| encrypt(&key, &place(block), &plain).unwrap());
        let frame = FRAME as usize;
        let mut swapped = one.to_vec();
        swapped[frame..3 * frame].rotate_left(frame);
        let mut moved = one.to_vec();
        moved[frame..2 * frame].copy_from_slice(&other[frame..2 * frame]);
        // The header tells a shorter block, which ends at a frame.
        let short = BlockHeader { plain_bytes: FIRST_PLAIN + PLAIN, ..BlockHeader::read(&one).unwrap() };
        let mut cut = one[..2 * frame].to_vec();
        cut[..HEADER].copy_from_slice(&short.encode());
        for (what, stored) in [("swapped", swapped), ("moved", moved), ("cut", cut)] {
            let result = read(&open(&key, 1, &stored), &stored, 0..u64::MAX);
            assert_eq!(result, Err(CipherError::NotAuthentic), "{what}");
        }
        assert!(read(&open(&key, 2, &one), &one, 0..10).is_err(), "a block at the place of another one");
        assert!(read(&open(&self::key(), 1, &one), &one, 0..10).is_err(), "another data key");
        assert!(read(&open(&key, 1, &one), &one[..one.len() - 1], 0..u64::MAX).is_err(), "cut short");
        for at in 0..HEADER {
            let mut damaged = one.to_vec();
            damaged[at] ^= 1;
            assert_eq!(BlockHeader::read(&damaged), None, "byte {at}");
            assert!(check_header(&damaged).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_of_its_frame_alone() {
        let key = key();
        let plain = plain(100_000);
        let stored = encrypt(&key, &place(1), &plain).unwrap();
        for at in (HEADER..stored.len()).step_by(4_999) {
            let mut damaged = stored.to_vec();
            damaged[at] ^= 0x10;
            let open = open(&key, 1, &damaged);
            let frame = open.header.plain_range(at as u64 / FRAME);
            assert_eq!(read(&open, &damaged, frame.start..frame.start + 1), Err(CipherError::NotAuthentic));
            for range in [0..frame.start, frame.end..100_000] {
                let expected = &plain[range.start as usize..range.end as usize];
                assert_eq!(read(&open, &damaged, range).unwrap(), expected);
            }
            let salvaged = open.salvage(&damaged);
            let mut expected = plain.clone();
            expected[frame.start as usize..frame.end as usize].fill(0);
            expected.truncate(if frame.end == 100_000 { frame.start as usize } else { 100_000 });
            assert_eq!((salvaged.plain == expected, salvaged.damage.is_some()), (true, true), "byte {at}");
        }
        let cut = open(&key, 1, &stored).salvage(&stored[..40_000]);
        assert_eq!(cut.plain, plain[..(FIRST_PLAIN + PLAIN) as usize]);
    }

    #[test]
    fn small_parts_keep_no_whole_frames_in_memory() {
        let key = key();
        let stored = encrypt(&key, &place(1), &plain(100_000)).unwrap();
        let part = read(&open(&key, 1, &stored), &stored, 10..20).unwrap();
        assert!(part.try_into_mut().unwrap().capacity() < 100);
    }

    proptest! {
        #[test]
        fn any_range_is_that_of_the_plain_block(
            length in prop_oneof![0..200_000usize, prop::sample::select(&LENGTHS[..])],
            ranges in prop::collection::vec((0..220_000u64, 0..220_000u64), 1..8),
        ) {
            let (key, plain) = (key(), plain(length));
            let stored = encrypt(&key, &place(1), &plain).unwrap();
            let open = open(&key, 1, &stored);
            for (a, b) in ranges {
                let range = a.min(b)..a.max(b);
                let clamp = |at: u64| (at as usize).min(length);
                let expected = &plain[clamp(range.start)..clamp(range.end)];
                prop_assert_eq!(read(&open, &stored, range).unwrap(), expected);
            }
        }

        #[test]
        fn foreign_bytes_are_refused_not_followed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check_header(&bytes);
            let bytes = [&MAGIC[..], &bytes].concat();
            prop_assert!(check_header(&bytes).is_err());
        }
    }
}
