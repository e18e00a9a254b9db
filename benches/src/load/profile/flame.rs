//! A flame graph: one picture of all stacks, in which the width of a frame is its share of the samples. Self-contained
//! SVG; hovering over a frame shows its whole name and share, a click zooms to it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::stacks::Stacks;

/// A frame with all frames that it called, at the same place of the stack.
#[derive(Default)]
struct Node<'a> {
    samples: u64,
    calls: BTreeMap<&'a str, Node<'a>>,
}

/// Where a frame is drawn, as shares of the width.
#[derive(Clone, Copy)]
struct Place {
    left: f64,
    width: f64,
    depth: usize,
}

const WIDTH: f64 = 1_400.0;
const ROW: usize = 17;
const HEADER: usize = 34;
/// Narrower frames would be invisible.
const NARROWEST: f64 = 0.3 / WIDTH;
const LETTER: f64 = 6.7;

/// The picture, as the text of an SVG file.
pub(crate) fn draw(stacks: &Stacks, title: &str) -> Result<String, fmt::Error> {
    let mut root = Node::default();
    for (stack, count) in stacks.iter() {
        root.add(stack, count);
    }
    let height = HEADER + (root.depth() + 1) * ROW;
    let mut out = String::new();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"100%\" \
         font-family=\"monospace\" font-size=\"11\" data-width=\"{WIDTH}\" data-letter=\"{LETTER}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fbfaf8\"/>\n\
         <text x=\"8\" y=\"22\" font-size=\"14\">CPU of spandrel, {}, {} samples; click to zoom</text>",
        escaped(title),
        root.samples
    )?;
    let place = Place { left: 0.0, width: 1.0, depth: 0 };
    write_node(&mut out, "all", &root, place, root.samples as f64)?;
    writeln!(out, "<script><![CDATA[{ZOOM}]]></script>\n</svg>")?;
    Ok(out)
}

/// Each frame has its place in attributes, from which a click computes the new one.
const ZOOM: &str = r#"
const svg = document.documentElement;
const [width, letter] = [+svg.dataset.width, +svg.dataset.letter];
const frames = [...svg.querySelectorAll("g")];
const show = (left, share) => frames.forEach(frame => {
  const from = Math.max(0, (frame.dataset.left - left) / share);
  const to = Math.min(1, (+frame.dataset.left + +frame.dataset.width - left) / share);
  const [box, text] = [frame.querySelector("rect"), frame.querySelector("text")];
  frame.style.display = to - from < 0.0002 ? "none" : "";
  box.setAttribute("x", from * width);
  box.setAttribute("width", Math.max(0, to - from) * width);
  text.setAttribute("x", from * width + 3);
  text.textContent = frame.dataset.name.slice(0, Math.max(0, Math.floor(((to - from) * width - 6) / letter)));
});
frames.forEach(frame => frame.addEventListener("click", () => show(+frame.dataset.left, +frame.dataset.width)));
"#;

// === impl Node ===

impl<'a> Node<'a> {
    fn add(&mut self, stack: &'a [String], count: u64) {
        self.samples += count;
        if let [frame, calls @ ..] = stack {
            self.calls.entry(frame).or_default().add(calls, count);
        }
    }

    fn depth(&self) -> usize {
        self.calls.values().map(|call| 1 + call.depth()).max().unwrap_or(0)
    }
}

fn write_node(out: &mut String, name: &str, node: &Node<'_>, place: Place, all: f64) -> fmt::Result {
    if place.width < NARROWEST {
        return Ok(());
    }
    let Place { left, width, depth } = place;
    let (x, y, drawn) = (left * WIDTH, HEADER + depth * ROW, width * WIDTH);
    let letters = ((drawn - 6.0) / LETTER).max(0.0) as usize;
    let label: String = name.chars().take(letters).collect();
    writeln!(
        out,
        "<g data-left=\"{left:.6}\" data-width=\"{width:.6}\" data-name=\"{}\"><title>{} ({:.2} %)</title>\
         <rect x=\"{x:.1}\" y=\"{y}\" width=\"{drawn:.1}\" height=\"{}\" fill=\"{}\" stroke=\"#fbfaf8\"/>\
         <text x=\"{:.1}\" y=\"{}\">{}</text></g>",
        escaped(name),
        escaped(name),
        width * 1e2,
        ROW - 1,
        colour(name),
        x + 3.0,
        y + ROW - 5,
        escaped(&label)
    )?;
    let mut left = left;
    for (call, inner) in &node.calls {
        let width = inner.samples as f64 / all;
        write_node(out, call, inner, Place { left, width, depth: depth + 1 }, all)?;
        left += width;
    }
    Ok(())
}

/// The colour of a frame, by the origin of its code.
fn colour(name: &str) -> &'static str {
    let is_from = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match name {
        _ if name.starts_with("thread ") || name == "all" => "#d7d2c8",
        _ if is_from(&["spandrel"]) => "#f2a65a",
        _ if is_from(&["ZSTD", "HUF_", "FSE_", "XXH"]) => "#e9d26b",
        _ if is_from(&["rocksdb"]) => "#8fb8de",
        _ if is_from(&["hyper", "tokio", "tower", "axum", "h2::", "tonic"]) => "#a9d3a0",
        _ => "#dcb8c4",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        let _ = match letter {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            _ => out.write_char(letter),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_wide_as_they_were_frequent() {
        let script = "a\n\t1 inner<T> (x)\n\t2 outer (x)\n\na\n\t2 outer (x)\n\n";
        let picture = draw(&Stacks::parse(script), "2 spans").unwrap();
        assert!(
            picture.contains("data-left=\"0.000000\" data-width=\"0.500000\" data-name=\"inner&lt;T&gt;\""),
            "{picture}"
        );
        assert!(picture.contains("<title>outer (100.00 %)</title>"), "{picture}");
        assert_eq!(picture.matches("<g ").count(), picture.matches("</g>").count());
    }
}
