//! What versions 1 and 2 of Zipkin's JSON have in common: identifiers, numbers and endpoints.

use std::io::Read;

use super::Endpoint;
use crate::gather::{Draft, Gatherer, Unreadable};
use crate::hex;
use crate::json::number;
use crate::json::scanner::{Fault, Progress, Scanner};
use crate::json::text::plain_text;

/// A reader of values. Texts and numbers are in its buffer afterwards.
pub(super) struct Values<'s> {
    pub scanner: Scanner<'s>,
    /// The text or number that was read last, without escapes.
    pub value: Vec<u8>,
    scratch: Vec<u8>,
}

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Text,
    Number,
    Bool(bool),
    Null,
    /// An object or array, which was skipped.
    Composite,
}

/// Members of an object that were seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given(u32);

// === impl Values ===

impl<'s> Values<'s> {
    pub(super) fn new(text: &'s mut dyn Read) -> Self {
        Self { scanner: Scanner::new(text), value: Vec::new(), scratch: Vec::new() }
    }

    /// Reads a value, whatever it is.
    #[inline]
    pub(super) fn read(&mut self) -> Result<Found, Fault> {
        match self.scanner.peek_value()? {
            b'"' => {
                let text = self.scanner.text()?;
                self.value.clear();
                self.value.extend_from_slice(text.resolve(&mut self.scratch));
                Ok(Found::Text)
            }
            b'{' | b'[' => self.scanner.skip().map(|()| Found::Composite),
            b't' | b'f' | b'n' => Ok(match self.scanner.literal()? {
                "true" => Found::Bool(true),
                "false" => Found::Bool(false),
                _ => Found::Null,
            }),
            _ => {
                let number = self.scanner.number()?;
                self.value.clear();
                self.value.extend_from_slice(number);
                Ok(Found::Number)
            }
        }
    }

    /// Moves to the next member that `find` knows and that is not null, and skips the others.
    #[inline]
    pub(super) fn next<M: Copy>(
        &mut self,
        progress: &mut Progress,
        find: impl Fn(&[u8]) -> Option<M>,
    ) -> Result<Option<M>, Fault> {
        loop {
            let scratch = &mut self.scratch;
            let Some(found) = self.scanner.next_member(progress, |name| find(name.resolve(scratch)))? else {
                return Ok(None);
            };
            match found {
                None => self.scanner.skip()?,
                Some(_) if self.scanner.peek()? == Some(b'n') => drop(self.scanner.literal()?),
                Some(member) => return Ok(Some(member)),
            }
        }
    }

    /// Reads the members of an object whose names are data. The common form, a name and a text without escapes, is read in
    /// the window; everything else is copied.
    #[inline]
    pub(super) fn entries(
        &mut self,
        key: &mut Vec<u8>,
        mut visit: impl FnMut(&[u8], Found, &[u8]),
    ) -> Result<(), Fault> {
        let mut progress = Progress::default();
        while self.scanner.next_name(&mut progress)? {
            // The window may end at any byte; then the slow way reads on.
            self.scanner.peek()?;
            if let Some((name, value, length)) = plain_entry(self.scanner.window()) {
                visit(name, Found::Text, value);
                self.scanner.pass(length);
                continue;
            }
            let scratch = &mut self.scratch;
            self.scanner.name(|name| {
                key.clear();
                key.extend_from_slice(name.resolve(scratch));
            })?;
            let found = self.read()?;
            visit(key, found, &self.value);
        }
        Ok(())
    }

    /// Opens an object; false, with a flaw and the value skipped, if it is something else.
    pub(super) fn open_object(&mut self, draft: &mut Draft, name: &str) -> Result<bool, Fault> {
        self.open(b'{', "an object", draft, name)
    }

    /// The same for an array.
    pub(super) fn open_array(&mut self, draft: &mut Draft, name: &str) -> Result<bool, Fault> {
        self.open(b'[', "an array", draft, name)
    }

    fn open(&mut self, first: u8, what: &str, draft: &mut Draft, name: &str) -> Result<bool, Fault> {
        if self.scanner.peek_value()? == first {
            self.scanner.open();
            return Ok(true);
        }
        draft.note_flaw(format!(".{name}: expected {what}"));
        self.scanner.skip().map(|()| false)
    }

    /// Reads an ID of hex digits, which may be fewer than it has room for.
    pub(super) fn identifier<const N: usize>(
        &mut self,
        id: &mut [u8; N],
        draft: &mut Draft,
        name: &str,
    ) -> Result<(), Fault> {
        let found = self.read()?;
        if found != Found::Text || !hex::parse_padded(&self.value, id) {
            draft.note_flaw(format!(".{name}: expected 1 to {} hex digits", 2 * N));
        }
        Ok(())
    }

    /// Reads a text into a buffer.
    pub(super) fn text(&mut self, into: &mut Vec<u8>, draft: &mut Draft, name: &str) -> Result<(), Fault> {
        if self.read()? == Found::Text {
            std::mem::swap(into, &mut self.value);
        } else {
            draft.note_flaw(format!(".{name}: expected a string"));
        }
        Ok(())
    }

    /// Reads a number of microseconds.
    pub(super) fn micros(&mut self, draft: &mut Draft, name: &str) -> Result<u64, Fault> {
        let found = self.read()?;
        let micros = match found {
            Found::Text | Found::Number => number::unsigned(&self.value),
            _ => None,
        };
        if micros.is_none() {
            draft.note_flaw(format!(".{name}: expected a whole number of microseconds"));
        }
        Ok(micros.unwrap_or(0))
    }

    /// Reads a number of microseconds that may be below zero.
    pub(super) fn duration(&mut self, draft: &mut Draft, name: &str) -> Result<i64, Fault> {
        let duration = match self.read()? {
            Found::Text | Found::Number => number::signed(&self.value),
            _ => None,
        };
        if duration.is_none() {
            draft.note_flaw(format!(".{name}: expected a whole number of microseconds"));
        }
        Ok(duration.unwrap_or(0))
    }

    /// Reads true or false.
    pub(super) fn flag(&mut self, draft: &mut Draft, name: &str) -> Result<bool, Fault> {
        match self.read()? {
            Found::Bool(value) => Ok(value),
            _ => {
                draft.note_flaw(format!(".{name}: expected true or false"));
                Ok(false)
            }
        }
    }

    /// Reads an endpoint.
    pub(super) fn endpoint(
        &mut self,
        endpoint: &mut Endpoint,
        draft: &mut Draft,
        name: &str,
    ) -> Result<(), Fault> {
        if !self.open_object(draft, name)? {
            return Ok(());
        }
        let mut progress = Progress::default();
        while let Some(member) = self.next(&mut progress, EndpointMember::find)? {
            match member {
                EndpointMember::Service => self.text(&mut endpoint.service, draft, name)?,
                EndpointMember::Ipv4 => self.text(&mut endpoint.ipv4, draft, name)?,
                EndpointMember::Ipv6 => self.text(&mut endpoint.ipv6, draft, name)?,
                EndpointMember::Port => {
                    let port = match self.read()? {
                        Found::Text | Found::Number => number::unsigned(&self.value),
                        _ => None,
                    };
                    match port.and_then(|port| u16::try_from(port).ok()) {
                        Some(port) => endpoint.port = port,
                        None => draft.note_flaw(format!(".{name}.port: expected a number from 0 to 65535")),
                    }
                }
            }
        }
        Ok(())
    }
}

/// A member of the form `"name":"value"` at the beginning of a text, and its length.
#[inline]
fn plain_entry(text: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (name, rest) = plain_string(text)?;
    let rest = rest.strip_prefix(b":")?;
    let (value, rest) = plain_string(rest.strip_prefix(b" ").unwrap_or(rest))?;
    // A number or a name may go on behind the window, but not a string behind its quote.
    Some((name, value, text.len() - rest.len()))
}

#[inline]
fn plain_string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let (string, rest) = text.split_at(plain_text(text).length);
    Some((string, rest.strip_prefix(b"\"")?))
}

#[derive(Debug, Clone, Copy)]
enum EndpointMember {
    Service,
    Ipv4,
    Ipv6,
    Port,
}

impl EndpointMember {
    fn find(name: &[u8]) -> Option<Self> {
        match name {
            b"serviceName" => Some(Self::Service),
            b"ipv4" => Some(Self::Ipv4),
            b"ipv6" => Some(Self::Ipv6),
            b"port" => Some(Self::Port),
            _ => None,
        }
    }
}

// === impl Given ===

impl Given {
    /// Notes a member; false if it was there before. JSON readers disagree on which of two counts.
    pub(super) fn note(&mut self, member: u32) -> bool {
        let bit = 1 << member;
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new
    }
}

/// Reads a request: an array, of which `span` reads each object, given its number.
pub(super) fn array(
    values: &mut Values<'_>,
    out: &mut Gatherer<'_>,
    mut span: impl FnMut(&mut Values<'_>, &mut Gatherer<'_>, usize) -> Result<(), Stop>,
) -> Result<(), Unreadable> {
    let read = spans(values, out, &mut span);
    read.map_err(|stop| match stop {
        Stop::Fault(Fault::Syntax(why)) => {
            Unreadable::Malformed(format!("not a list of Zipkin spans: {why}"))
        }
        Stop::Fault(Fault::Read(error)) | Stop::Full(error) => Unreadable::Source(error),
    })
}

/// Why reading ends early.
pub(super) enum Stop {
    Fault(Fault),
    /// There is no memory for what was gathered.
    Full(std::io::Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn spans(
    values: &mut Values<'_>,
    out: &mut Gatherer<'_>,
    span: &mut impl FnMut(&mut Values<'_>, &mut Gatherer<'_>, usize) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if values.scanner.peek_value()? != b'[' {
        return Err(values.scanner.syntax("expected an array of spans").into());
    }
    values.scanner.open();
    let (mut progress, mut index) = (Progress::default(), 0);
    while values.scanner.next_item(&mut progress)? {
        if values.scanner.peek_value()? == b'{' {
            values.scanner.open();
            span(values, out, index)?;
        } else {
            values.scanner.skip()?;
            out.reject(if out.explains_flaws() {
                format!("[{index}]: expected an object")
            } else {
                String::new()
            });
        }
        index += 1;
    }
    match values.scanner.peek()? {
        Some(_) => Err(values.scanner.syntax("more text follows the spans").into()),
        None => Ok(()),
    }
}
