//! Children lists and the order of a walk over the tree.

use super::model::Span;

/// The tree from parents to children.
pub(super) struct Shape {
    /// Where each span's children begin in `children`; one more entry marks the end.
    begins: Vec<u32>,
    /// The children of all spans, each list by start.
    children: Vec<u32>,
    /// Every span, parents before children, siblings by start, the root's tree first.
    pub(super) walk: Vec<u32>,
}

// === impl Shape ===

impl Shape {
    /// Builds the lists of children. The parents must have no cycle.
    pub(super) fn of(spans: &[Span], root: usize) -> Self {
        let mut begins = vec![0u32; spans.len() + 1];
        for parent in spans.iter().filter_map(|span| span.parent) {
            begins[parent as usize + 1] += 1;
        }
        for place in 1..begins.len() {
            begins[place] += begins[place - 1];
        }
        let mut next = begins.clone();
        let mut children = vec![0; begins.last().map_or(0, |count| *count as usize)];
        // Spans stand by start, so every list fills by start.
        for (place, span) in (0u32..).zip(spans) {
            if let Some(parent) = span.parent {
                children[next[parent as usize] as usize] = place;
                next[parent as usize] += 1;
            }
        }
        let mut shape = Self { begins, children, walk: Vec::with_capacity(spans.len()) };
        shape.walk_from(&tops(spans, root));
        shape
    }

    fn children(&self, place: u32) -> &[u32] {
        let place = place as usize;
        &self.children[self.begins[place] as usize..self.begins[place + 1] as usize]
    }

    fn walk_from(&mut self, tops: &[u32]) {
        let mut waiting: Vec<u32> = tops.iter().rev().copied().collect();
        while let Some(place) = waiting.pop() {
            self.walk.push(place);
            let range = self.begins[place as usize] as usize..self.begins[place as usize + 1] as usize;
            waiting.extend(self.children[range].iter().rev());
        }
    }

    /// Duration minus the union of the children's intervals, clipped to the span.
    pub(super) fn measure_self_time(&self, spans: &mut [Span]) {
        for place in 0..spans.len() as u32 {
            let span = &spans[place as usize];
            let mut covered = 0;
            let mut covered_to = span.start;
            for child in self.children(place).iter().map(|child| &spans[*child as usize]) {
                let from = child.start.max(covered_to);
                let to = child.end().min(span.end());
                covered += to.saturating_sub(from);
                covered_to = covered_to.max(to);
            }
            spans[place as usize].self_nanos = span.duration() - covered;
        }
    }
}

/// Spans without a parent by start; the one that leads to the root comes first.
fn tops(spans: &[Span], root: usize) -> Vec<u32> {
    let mut above_root = root as u32;
    while let Some(parent) = spans[above_root as usize].parent {
        above_root = parent;
    }
    let others = (0u32..).zip(spans).filter(|(place, span)| span.parent.is_none() && *place != above_root);
    std::iter::once(above_root).chain(others.map(|(place, _)| place)).collect()
}
