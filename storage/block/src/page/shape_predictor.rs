//! Predicts the fields of a span from the last span of the same name. A slot that was predicted right costs one
//! comparison instead of a lookup.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::shape::ShapeTable;

/// Predicts the slots of a span: those of the last span of the same name.
#[derive(Debug)]
pub(super) struct ShapePredictor {
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
/// So many predicted slots may be missing at once before the prediction is of no use.
const LOOKAHEAD: usize = 4;

// === impl ShapePredictor ===

impl ShapePredictor {
    pub(super) fn begin(&mut self) {
        self.slots.clear();
        (self.at, self.name) = (0, 0);
    }

    /// Predicts the slots behind a span's name, which has this slot.
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

    /// The slot that probably comes next; `otherwise` without a prediction.
    #[inline]
    pub(super) fn next_slot(&self, otherwise: u32) -> u32 {
        self.slots.get(self.at).copied().unwrap_or(otherwise)
    }

    /// Notes which slot came. The prediction goes on behind it, also where a predicted slot is missing or another one
    /// came in between.
    #[inline]
    pub(super) fn advance(&mut self, slot: u32) {
        let ahead = self.slots.iter().skip(self.at).take(LOOKAHEAD);
        if let Some(skipped) = ahead.into_iter().position(|known| *known == slot) {
            self.at += skipped + 1;
        }
    }

    /// Remembers the shape of the span for the next one of its name.
    pub(super) fn learn(&mut self, shape: u32) {
        self.shapes[self.name] = shape;
    }
}

impl Default for ShapePredictor {
    fn default() -> Self {
        Self { slots: Vec::new(), at: 0, shapes: Box::new([u32::MAX; NAMES]), name: 0 }
    }
}
