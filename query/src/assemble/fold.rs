//! Folds the spans of proxies of a mesh into those of the applications beside them, so that a tree shows a request once.
//! What is a part of what, `spandrel_mesh` decides.

use spandrel_mesh::fold::fold;
use spandrel_mesh::span::MeshSpan;
use spandrel_proto::otlp::wire::WireError;

use super::NamedParent;
use super::model::{Resource, Span};

/// Takes the folded spans out, and leaves them with those that they are a part of. Parents have been resolved; `root` is
/// the place of the root, and its new one is returned.
pub(super) fn proxies(spans: &mut Vec<Span>, resources: &[Resource], root: usize) -> usize {
    let parents: Vec<Option<usize>> =
        spans.iter().map(|span| span.parent.map(|parent| parent as usize)).collect();
    let read = |span: &Span| MeshSpan::read(&resources[span.resource as usize].message, &span.message);
    let read: Result<Vec<MeshSpan>, WireError> = spans.iter().map(read).collect();
    // Loading has parsed the same bytes; if attributes of a span are damaged, nothing is folded.
    let Ok(read) = read else { return root };
    let into = fold(&read, &parents);
    if into.iter().all(Option::is_none) {
        return root;
    }
    let above: Vec<Option<usize>> = (0..spans.len()).map(|at| shown_above(&into, &parents, at)).collect();
    let mut places = Vec::with_capacity(spans.len());
    let mut next = 0;
    for shown_for in &into {
        places.push(next);
        next += u32::from(shown_for.is_none());
    }
    for (at, parent) in above.iter().enumerate() {
        spans[at].parent = parent.map(|parent| places[parent]);
    }
    // A span at the top that is a part of one below it gives that one its place.
    for at in 0..spans.len() {
        if let Some(shown) = into[at]
            && above[shown].is_none()
            && parents[at].is_none()
        {
            spans[shown].detached = spans[shown].detached.or(spans[at].detached);
            if let NamedParent::Id(parent) = spans[at].named_parent {
                spans[shown].outer_parent.get_or_insert(parent);
            }
        }
    }
    let mut kept: Vec<Span> = Vec::with_capacity(next as usize);
    let mut folded: Vec<(u32, Span)> = Vec::new();
    for (span, shown_for) in std::mem::take(spans).into_iter().zip(&into) {
        match shown_for {
            None => kept.push(span),
            Some(shown) => folded.push((places[*shown], span)),
        }
    }
    for (shown, span) in folded {
        kept[shown as usize].folded.push(span);
    }
    *spans = kept;
    places[into[root].unwrap_or(root)] as usize
}

/// The next span above that is shown and is not the span itself.
fn shown_above(into: &[Option<usize>], parents: &[Option<usize>], at: usize) -> Option<usize> {
    let mut above = parents[at];
    while let Some(parent) = above {
        match into[parent] {
            None => return Some(parent),
            Some(shown) if shown != at => return Some(shown),
            // What a listener is a part of stands below it.
            Some(_) => above = parents[parent],
        }
    }
    None
}
