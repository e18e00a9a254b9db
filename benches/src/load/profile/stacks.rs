//! Sampled stacks and how often each occurred.

use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug, Default)]
pub(crate) struct Stacks {
    /// From the thread's name to the function that was running.
    counts: BTreeMap<Vec<String>, u64>,
}

// === impl Stacks ===

impl Stacks {
    /// Reads the output of `perf script -F comm,ip,sym,dso`: a line with the thread's name, a line for
    /// each frame beginning with the innermost, an empty line.
    pub(crate) fn parse(script: &str) -> Self {
        let mut stacks = Self::default();
        for sample in script.split("\n\n") {
            let mut lines = sample.trim_start_matches('\n').lines();
            let Some(thread) = lines.next().filter(|line| !line.trim().is_empty()) else { continue };
            let mut stack: Vec<String> = lines.filter_map(frame).collect();
            stack.push(thread_name(thread));
            stack.reverse();
            stack.dedup();
            *stacks.counts.entry(stack).or_default() += 1;
        }
        stacks
    }

    pub(crate) fn samples(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[String], u64)> {
        self.counts.iter().map(|(stack, count)| (&stack[..], *count))
    }

    /// A line for each stack, in the format of other programs that draw flame graphs.
    pub(crate) fn folded(&self) -> String {
        let mut out = String::new();
        for (stack, count) in self.iter() {
            let _ = writeln!(out, "{} {count}", stack.join(";"));
        }
        out
    }
}

/// Threads of the same purpose have names that differ only in a number.
fn thread_name(line: &str) -> String {
    let name = line.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    format!("thread {name}")
}

/// `None` for a line without a name.
fn frame(line: &str) -> Option<String> {
    const UNKNOWN: &str = "[unknown]";
    let (_address, rest) = line.trim().split_once(' ')?;
    let (symbol, library) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    if symbol == UNKNOWN {
        let library = library.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
        return (library != UNKNOWN).then(|| format!("[{library}]"));
    }
    // Folded stacks are separated by semicolons.
    Some(symbol.replace(';', ","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
ingest-3
\t    55a0 leaf<a; b> (/usr/bin/spandrel)
\t    55a1 middle (/usr/bin/spandrel)
\t    7f00 [unknown] (/lib/libc.so.6)

ingest-12
\t    55a0 leaf<a; b> (/usr/bin/spandrel)
\t    55a1 middle (/usr/bin/spandrel)
\t    7f00 [unknown] (/lib/libc.so.6)

batcher
\tffffffff8100 copy_user ([kernel.kallsyms])
\t           0 [unknown] ([unknown])

";

    #[test]
    fn equal_stacks_are_counted_together() {
        let stacks = Stacks::parse(SCRIPT);
        assert_eq!(stacks.samples(), 3);
        let expected = "thread batcher;copy_user 1\nthread ingest;[libc.so.6];middle;leaf<a, b> 2\n";
        assert_eq!(stacks.folded(), expected);
    }
}
