//! Encodes JSON values as protobuf fields, straight from the text into the buffer of the message.
//!
//! The output is protobuf's canonical form: fields by number, defaults left out. A value that does not fit the schema
//! is a flaw of the current message, which the caller drops; reading continues after it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::plain;
use super::schema::{ANY_VALUE, KEY_VALUE, Kind, Member, Message, Presence};
use crate::hex;
use crate::json::number;
use crate::json::place::{Place, Step};
use crate::json::scanner::{Fault, Progress, Scanner};
use crate::json::text::Text;
use crate::otlp::wire::{
    close_message, open_message, put_bytes, put_fixed32, put_fixed64, put_uint, sort_fields,
};

/// Encodes the values that a scanner reads as messages.
pub(super) struct Encoder<'s> {
    pub scanner: Scanner<'s>,
    pub place: Place,
    bound: Bound,
    max_nesting: usize,
    /// The number of attribute values around the current one.
    nesting: usize,
    flaw: Option<String>,
    /// Whether flaws get a text. Once enough reasons are listed, further ones are only counted, because a body may have
    /// millions of them.
    pub explains_flaws: bool,
    scratch: Vec<u8>,
}

/// The limit on the size of the current message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Where the message begins in its buffer.
    pub begin: usize,
    /// The limit, and the name of the limit.
    pub max_bytes: usize,
    pub name: &'static str,
}

/// The members of an object, in the order of the text.
pub(super) struct Members {
    message: &'static Message,
    progress: Progress,
    lookup: Lookup,
    /// The members so far, one bit each.
    given: u32,
    last_number: u32,
    in_order: bool,
}

/// Finds members by name. Senders write them in the same order over and over, so the search begins after the last one
/// found.
struct Lookup {
    members: &'static [Member],
    next: usize,
}

/// Both alphabets, padded or not, as ProtoJSON accepts.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Bytes of a value that an error shows.
const SHOWN: usize = 40;

// === impl Encoder ===

impl<'s> Encoder<'s> {
    pub(super) fn new(scanner: Scanner<'s>, max_nesting: usize) -> Self {
        let bound = Bound { begin: 0, max_bytes: usize::MAX, name: "" };
        Self {
            scanner,
            place: Place::default(),
            bound,
            max_nesting,
            nesting: 0,
            flaw: None,
            explains_flaws: true,
            scratch: Vec::new(),
        }
    }

    /// Encodes the next value as a message. The caller takes its flaw afterwards.
    pub(super) fn message_within(
        &mut self,
        out: &mut Vec<u8>,
        message: &'static Message,
        bound: Bound,
    ) -> Result<(), Fault> {
        self.bound = bound;
        self.message(out, message)?;
        self.check_size(out);
        Ok(())
    }

    /// Encodes the value of a member as a field of a message with its own bound.
    pub(super) fn field_within(
        &mut self,
        out: &mut Vec<u8>,
        member: &Member,
        bound: Bound,
    ) -> Result<(), Fault> {
        self.bound = bound;
        self.field(out, member, Presence::Implicit)?;
        self.check_size(out);
        Ok(())
    }

    /// Takes the first flaw since the last call, with its place.
    pub(super) fn take_flaw(&mut self) -> Option<String> {
        self.flaw.take()
    }

    /// Records a flaw of the current message.
    #[cold]
    pub(super) fn note_flaw(&mut self, why: &str) {
        if self.flaw.is_none() {
            let flaw = if self.explains_flaws { format!("{}: {why}", self.place) } else { String::new() };
            self.flaw = Some(flaw);
        }
    }

    /// Records that the next value has the wrong type, and skips it.
    #[cold]
    pub(super) fn unexpected(&mut self, expected: &str) -> Result<(), Fault> {
        let found = match self.scanner.peek_value()? {
            b'{' => "an object".to_owned(),
            b'[' => "an array".to_owned(),
            b'"' => format!("\"{}\"", shown(self.scanner.text()?.raw)),
            b'-' | b'0'..=b'9' => shown(self.scanner.number()?),
            _ => self.scanner.literal()?.to_owned(),
        };
        if let "an object" | "an array" = &*found {
            self.scanner.skip()?;
        }
        self.note_flaw(&format!("expected {expected}, found {found}"));
        Ok(())
    }

    /// Reads to the next known member that is not null, and enters its step; the caller leaves it.
    #[inline]
    pub(super) fn next_member(&mut self, members: &mut Members) -> Result<Option<&'static Member>, Fault> {
        loop {
            let Members { progress, lookup, .. } = &mut *members;
            let scratch = &mut self.scratch;
            let Some(found) = self.scanner.next_member(progress, |name| lookup.find(name, scratch))? else {
                return Ok(None);
            };
            let Some(index) = found else {
                self.scanner.skip()?;
                continue;
            };
            if self.scanner.peek()? == Some(b'n') {
                self.scanner.literal()?;
                continue;
            }
            let member = &members.message.members[index];
            self.place.enter(Step::Member(member.name));
            match members.note_given(index) {
                Ok(()) => return Ok(Some(member)),
                Err(why) => {
                    self.note_flaw(why);
                    self.place.leave();
                    self.scanner.skip()?;
                }
            }
        }
    }

    fn message(&mut self, out: &mut Vec<u8>, message: &'static Message) -> Result<(), Fault> {
        if self.scanner.peek_value()? != b'{' {
            return self.unexpected("an object");
        }
        self.scanner.open();
        let begin = out.len();
        let mut members = Members::of(message);
        while let Some(member) = self.next_member(&mut members)? {
            self.field(out, member, message.presence)?;
            self.place.leave();
        }
        if !members.in_order {
            sort_fields(out, begin);
        }
        Ok(())
    }

    fn field(&mut self, out: &mut Vec<u8>, member: &Member, presence: Presence) -> Result<(), Fault> {
        // The message is refused already, so the rest only has to be JSON.
        if self.flaw.is_some() {
            return self.scanner.skip();
        }
        let Kind::Repeated(item) = member.kind else {
            return self.value(out, member.number, member.kind, presence);
        };
        if self.scanner.peek_value()? != b'[' {
            return self.unexpected("an array");
        }
        self.scanner.open();
        let (mut progress, mut index) = (Progress::default(), 0);
        while self.scanner.next_item(&mut progress)? {
            self.place.enter(Step::Item(index));
            if self.flaw.is_some() {
                self.scanner.skip()?;
            } else {
                self.value(out, member.number, *item, Presence::Explicit)?;
                self.check_size(out);
            }
            self.place.leave();
            index += 1;
        }
        Ok(())
    }

    fn check_size(&mut self, out: &[u8]) {
        let Bound { begin, max_bytes, name } = self.bound;
        if out.len() - begin > max_bytes {
            self.note_flaw(&format!("over {name} = {max_bytes} here"));
        }
    }

    fn value(&mut self, out: &mut Vec<u8>, number: u32, kind: Kind, presence: Presence) -> Result<(), Fault> {
        let says_something = |is_default: bool| presence != Presence::Implicit || !is_default;
        match kind {
            Kind::Message(message) => {
                let at = open_message(out, number);
                self.message(out, message)?;
                close_message(out, at);
            }
            Kind::Attribute => {
                // With a limit of zero no nesting is allowed, so no value is valid.
                let plain = match self.nesting < self.max_nesting {
                    true => plain::attribute(self.scanner.window(), number, out),
                    false => None,
                };
                match plain {
                    Some(length) => self.scanner.pass(length),
                    None => self.value(out, number, Kind::Message(&KEY_VALUE), presence)?,
                }
            }
            Kind::AnyValue => self.any_value(out, number)?,
            Kind::Text => {
                if self.scanner.peek_value()? != b'"' {
                    return self.unexpected("a string");
                }
                let text = self.scanner.text()?;
                if !text.is_utf8() {
                    self.note_flaw("a string is not valid UTF-8");
                } else if says_something(text.raw.is_empty()) {
                    put_bytes(out, number, text.resolve(&mut self.scratch));
                }
            }
            Kind::Identifier(length) => {
                let parse = |digits: &[u8], id: &mut [u8; 16]| {
                    let id = &mut id[..length];
                    hex::parse(digits, id) && id.iter().any(|byte| *byte != 0)
                };
                let mut id = [0; 16];
                let expected = if length == 16 {
                    "a trace ID: 32 hex digits, not all zero"
                } else {
                    "a span ID: 16 hex digits, not all zero"
                };
                if self.string(expected, |digits| parse(digits, &mut id).then_some(()))?.is_some() {
                    put_bytes(out, number, &id[..length]);
                }
            }
            Kind::Hex => {
                let parse = |digits: &[u8]| {
                    let mut bytes = vec![0; digits.len() / 2];
                    hex::parse(digits, &mut bytes).then_some(bytes)
                };
                let id = self.string("an even number of hex digits", parse)?;
                if let Some(id) = id.filter(|id| says_something(id.is_empty())) {
                    put_bytes(out, number, &id);
                }
            }
            Kind::Base64 => {
                if let Some(bytes) = self.string("base64", parse_base64)? {
                    put_bytes(out, number, &bytes);
                }
            }
            Kind::Bool => match self.scanner.peek_value()? {
                b't' | b'f' => put_uint(out, number, u64::from(self.scanner.literal()? == "true")),
                _ => self.unexpected("true or false")?,
            },
            Kind::Int64 => {
                let int =
                    self.number("a whole number of 64 bits, as a string or a number", number::signed)?;
                if let Some(int) = int {
                    put_uint(out, number, int.cast_unsigned());
                }
            }
            Kind::Uint32 => {
                let count = self.number("a whole number from 0 to 4294967295", number::unsigned_32)?;
                if let Some(count) = count.filter(|count| says_something(*count == 0)) {
                    put_uint(out, number, u64::from(count));
                }
            }
            Kind::Double => {
                if let Some(double) = self.number("a number", parse_double)? {
                    put_fixed64(out, number, double.to_bits());
                }
            }
            Kind::Fixed64 => {
                let wanted = "a whole number from 0 to 18446744073709551615, as a string or a number";
                let time = self.number(wanted, number::unsigned)?;
                if let Some(time) = time.filter(|time| says_something(*time == 0)) {
                    put_fixed64(out, number, time);
                }
            }
            Kind::Fixed32 => {
                let flags = self.number("a whole number from 0 to 4294967295", number::unsigned_32)?;
                if let Some(flags) = flags.filter(|flags| says_something(*flags == 0)) {
                    put_fixed32(out, number, flags);
                }
            }
            Kind::Enum(prefix, names) => {
                let parse = |text: &[u8]| parse_enum(text, prefix, names);
                let code = self.number("the number of an enum value, or its name", parse)?;
                if let Some(code) = code.filter(|code| says_something(*code == 0)) {
                    put_uint(out, number, i64::from(code).cast_unsigned());
                }
            }
            // The schema has no lists of lists, and `mod.rs` reads streams itself.
            Kind::Repeated(_) | Kind::Stream => self.scanner.skip()?,
        }
        Ok(())
    }

    fn any_value(&mut self, out: &mut Vec<u8>, number: u32) -> Result<(), Fault> {
        if self.nesting == self.max_nesting {
            self.note_flaw(&format!("an attribute nests deeper than maxNesting = {}", self.max_nesting));
            return self.scanner.skip();
        }
        self.nesting += 1;
        let at = open_message(out, number);
        self.message(out, &ANY_VALUE)?;
        close_message(out, at);
        self.nesting -= 1;
        Ok(())
    }

    /// Parses a string. `None` is a flaw that is recorded.
    fn string<T>(
        &mut self,
        expected: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.scanner.peek_value()? {
            b'"' => self.parsed(expected, parse),
            _ => self.unexpected(expected).map(|()| None),
        }
    }

    /// Parses a number, or a string in its place. `None` is a flaw that is recorded.
    #[inline]
    fn number<T>(
        &mut self,
        expected: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.scanner.peek_value()? {
            b'"' | b'-' | b'0'..=b'9' => self.parsed(expected, parse),
            _ => self.unexpected(expected).map(|()| None),
        }
    }

    #[inline]
    fn parsed<T>(
        &mut self,
        expected: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let text = match self.scanner.peek_value()? {
            b'"' => self.scanner.text()?.resolve(&mut self.scratch),
            _ => self.scanner.number()?,
        };
        let value = parse(text);
        if value.is_none() {
            let found = shown(text);
            self.note_flaw(&format!("expected {expected}, found {found}"));
        }
        Ok(value)
    }
}

// === impl Members ===

impl Members {
    pub(super) fn of(message: &'static Message) -> Self {
        let lookup = Lookup { members: message.members, next: 0 };
        Self { message, progress: Progress::default(), lookup, given: 0, last_number: 0, in_order: true }
    }

    /// Records that a member is present. A member given twice, or two members of one union, are an error, because JSON
    /// readers disagree on which of the two counts.
    #[inline]
    fn note_given(&mut self, index: usize) -> Result<(), &'static str> {
        let bit = 1 << index;
        if self.given & bit != 0 {
            return Err("is given twice");
        }
        if self.message.presence == Presence::Union && self.given != 0 {
            return Err("is a second type for one value");
        }
        self.given |= bit;
        let number = self.message.members[index].number;
        self.in_order &= number > self.last_number;
        self.last_number = number;
        Ok(())
    }

    /// Whether the members came in the order of their field numbers.
    pub(super) fn are_in_order(&self) -> bool {
        self.in_order
    }
}

// === impl Lookup ===

/// Names of OTLP are not longer.
const LONGEST_NAME: usize = 32;

impl Lookup {
    #[inline]
    fn find(&mut self, name: Text<'_>, scratch: &mut Vec<u8>) -> Option<usize> {
        let name = name.resolve(scratch);
        let index = self.position(name).or_else(|| self.position_of_snake_case(name))?;
        self.next = index + 1;
        Some(index)
    }

    #[inline]
    fn position(&self, name: &[u8]) -> Option<usize> {
        let count = self.members.len();
        let in_turn =
            (0..count).map(|at| if self.next + at < count { self.next + at } else { self.next + at - count });
        in_turn.into_iter().find(|index| self.members[*index].name.as_bytes() == name)
    }

    fn position_of_snake_case(&self, name: &[u8]) -> Option<usize> {
        if name.len() > LONGEST_NAME || !name.contains(&b'_') || name.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let (mut camel, mut length) = ([0; LONGEST_NAME], 0);
        for word in name.split(|byte| *byte == b'_') {
            for (at, letter) in word.iter().enumerate() {
                let is_first = at == 0 && length > 0;
                camel[length] = if is_first { letter.to_ascii_uppercase() } else { *letter };
                length += 1;
            }
        }
        self.position(&camel[..length])
    }
}

// === values ===

fn shown(value: &[u8]) -> String {
    let mut shown: String = String::from_utf8_lossy(&value[..value.len().min(SHOWN)]).into_owned();
    if value.len() > SHOWN {
        shown.push('…');
    }
    shown
}

fn parse_base64(text: &[u8]) -> Option<Vec<u8>> {
    let is_url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if is_url_safe { &URL_SAFE } else { &STANDARD };
    engine.decode(text).ok()
}

fn parse_double(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        other => number::double(other),
    }
}

fn parse_enum(text: &[u8], prefix: &str, names: &[&str]) -> Option<i32> {
    let named = text.strip_prefix(prefix.as_bytes());
    match named.and_then(|text| names.iter().position(|name| name.as_bytes() == text)) {
        Some(index) => index.try_into().ok(),
        None => number::signed(text)?.try_into().ok(),
    }
}
