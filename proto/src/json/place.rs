//! The place of a value in a request, as in `resourceSpans[0].scopeSpans[1].spans[7].traceId`.

use std::fmt;

/// The steps from the request to the current value.
#[derive(Debug, Default)]
pub(crate) struct Place {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Member(&'static str),
    Item(usize),
}

// === impl Place ===

impl Place {
    #[inline]
    pub(crate) fn enter(&mut self, step: Step) {
        self.steps.push(step);
    }

    #[inline]
    pub(crate) fn leave(&mut self) {
        self.steps.pop();
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Member(name) if at == 0 => f.write_str(name)?,
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        if self.steps.is_empty() { f.write_str("body") } else { Ok(()) }
    }
}
