//! Predicts the fields of a span from the last span of the same name. A correctly predicted slot costs one comparison
//! instead of a lookup.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::shape::ShapeTable;

/// Predicts that a span has the slots of the last span of the same name.
#[derive(Debug)]
pub(super) struct ShapePredictor {
    slots: Vec<u32>,
    /// The index of the predicted slot in `slots`.
    at: usize,
    /// The shape of the last span, by a hash of the name.
    shapes: Box<[u32; NAMES]>,
    /// The index in `shapes` of the current span's name.
    name: usize,
}

/// Number of hash values; names with the same one overwrite each other.
const NAMES: usize = 1024;
/// If more predicted slots than this are missing in a row, the prediction stops.
const LOOKAHEAD: usize = 4;

// === impl ShapePredictor ===

impl ShapePredictor {
    pub(super) fn begin(&mut self) {
        self.slots.clear();
        (self.at, self.name) = (0, 0);
    }

    /// Predicts the slots behind a span's name, whose slot is given.
    pub(super) fn predict(&mut self, name: &[u8], slot: u32, shapes: &ShapeTable) {
        let mut hasher = FxHasher::default();
        hasher.write(name);
        self.name = (hasher.finish() % NAMES as u64) as usize;
        self.slots.clear();
        if let Some(shape) = shapes.try_get(self.shapes[self.name]) {
            self.slots.extend_from_slice(&shape.slots);
            self.at = shape.slots.iter().position(|known| *known == slot).map_or(0, |name| name + 1);
        }
    }

    /// The predicted next slot; `otherwise` without a prediction.
    #[inline]
    pub(super) fn next_slot(&self, otherwise: u32) -> u32 {
        self.slots.get(self.at).copied().unwrap_or(otherwise)
    }

    /// Records the actual next slot. The prediction continues behind it, even if a predicted slot is missing or another
    /// one was in between.
    #[inline]
    pub(super) fn advance(&mut self, slot: u32) {
        let ahead = self.slots.iter().skip(self.at).take(LOOKAHEAD);
        if let Some(skipped) = ahead.into_iter().position(|known| *known == slot) {
            self.at += skipped + 1;
        }
    }

    /// Remembers the shape of the span for the next one with its name.
    pub(super) fn learn(&mut self, shape: u32) {
        self.shapes[self.name] = shape;
    }
}

impl Default for ShapePredictor {
    fn default() -> Self {
        Self { slots: Vec::new(), at: 0, shapes: Box::new([u32::MAX; NAMES]), name: 0 }
    }
}
