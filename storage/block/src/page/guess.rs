//! What the fields of the span in hand are likely to be: guessed right, a slot costs one comparison.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::shape::ShapeTable;

/// What the slots of a span are likely to be: those of the last span of the same name.
#[derive(Debug)]
pub(super) struct Guess {
    slots: Vec<u32>,
    /// The slot that comes next.
    at: usize,
    /// By a hash of the name, the shape of the last span.
    shapes: Box<[u32; NAMES]>,
    /// Where the shape of the span in hand goes.
    name: usize,
}

/// Names that are told apart by their hash.
const NAMES: usize = 1024;
/// So many slots that were guessed may be missing at once.
const LOOKAHEAD: usize = 4;

// === impl Guess ===

impl Guess {
    pub(super) fn begin(&mut self) {
        self.slots.clear();
        (self.at, self.name) = (0, 0);
    }

    /// The name of the span in hand, and its slot: what follows can be guessed.
    pub(super) fn named(&mut self, name: &[u8], slot: u32, shapes: &ShapeTable) {
        let mut hasher = FxHasher::default();
        hasher.write(name);
        self.name = (hasher.finish() % NAMES as u64) as usize;
        self.slots.clear();
        if let Some(shape) = shapes.try_get(self.shapes[self.name]) {
            self.slots.extend_from_slice(&shape.slots);
            self.at = shape.slots.iter().position(|known| *known == slot).map_or(0, |name| name + 1);
        }
    }

    /// The slot that comes next, or this one if nothing is known.
    #[inline]
    pub(super) fn slot(&self, otherwise: u32) -> u32 {
        self.slots.get(self.at).copied().unwrap_or(otherwise)
    }

    /// Goes on behind a slot; one that is missing or that came in between does not matter.
    #[inline]
    pub(super) fn met(&mut self, slot: u32) {
        let ahead = self.slots.iter().skip(self.at).take(LOOKAHEAD);
        if let Some(skipped) = ahead.into_iter().position(|known| *known == slot) {
            self.at += skipped + 1;
        }
    }

    /// What the span in hand turned out to be.
    pub(super) fn learn(&mut self, shape: u32) {
        self.shapes[self.name] = shape;
    }
}

impl Default for Guess {
    fn default() -> Self {
        Self { slots: Vec::new(), at: 0, shapes: Box::new([u32::MAX; NAMES]), name: 0 }
    }
}
