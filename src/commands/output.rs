//! Output of commands: text for people, or the server's response unchanged. The terminal decides on colour and width;
//! control characters in text from spans are escaped.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, UNIX_EPOCH};

use clap::ValueEnum;

use super::client::Answer;

/// The output format of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// The response of the server's API, unchanged
    Json,
}

/// Prints the output of a closure. A reader that closes the pipe early (`| head`) is no error.
pub(crate) fn print(
    write: impl FnOnce(&mut dyn Write) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    match written {
        Err(error) if is_broken_pipe(&*error) => Ok(()),
        other => other,
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Prints the server's response unchanged, and ends its last line.
pub(crate) fn pass_through(answer: Answer) -> Result<(), Box<dyn Error>> {
    print(|out| {
        io::copy(&mut answer.reader(), out)?;
        Ok(writeln!(out)?)
    })
}

/// Prints a line of the result.
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Escapes control characters in a text from outside, which a terminal would obey.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character.is_control() {
            true => drop(write!(shown, "{}", character.escape_default())),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// A duration with three significant digits: `1.25ms`, `3m 20s`.
pub(crate) fn duration(nanos: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    if nanos >= 60 * 1_000_000_000 {
        return humantime::format_duration(Duration::from_secs(nanos / 1_000_000_000)).to_string();
    }
    match UNITS.iter().find(|(unit, _)| nanos >= *unit) {
        Some((unit, name)) => {
            let value = nanos as f64 / *unit as f64;
            let digits = if value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
            format!("{value:.digits$}{name}")
        }
        None => format!("{nanos}ns"),
    }
}

/// A time of the API, in UTC to the millisecond.
pub(crate) fn time(unix_nano: &str) -> String {
    let nanos = unix_nano.parse().map(Duration::from_nanos).unwrap_or_default();
    humantime::format_rfc3339_millis(UNIX_EPOCH + nanos).to_string()
}

/// Unix nanoseconds as a date and time in UTC, to the second.
pub(crate) fn date_time(nanos: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(nanos)).to_string()
}

/// Bytes in the largest fitting unit.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A number with separators of thousands.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let shown = [0, 999, 1_500, 12_345_678, 123_456_789, 59_900_000_000, 200_000_000_000].map(duration);
        assert_eq!(shown, ["0ns", "999ns", "1.50µs", "12.3ms", "123ms", "59.9s", "3m 20s"]);
    }

    #[test]
    fn what_came_from_spans_cannot_move_the_cursor() {
        assert_eq!(plain("GET /ü"), "GET /ü");
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time("1700000000123456789"), "2023-11-14T22:13:20.123Z");
    }
}
