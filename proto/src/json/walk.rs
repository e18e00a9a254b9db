//! Walks over objects and arrays of a text whose members come in any order, for formats that are read value by value.

use super::number;
use super::scanner::{Fault, Progress, Scanner};

/// A value that holds no others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'s> {
    Text(&'s [u8]),
    Number(&'s [u8]),
    Bool(bool),
    Null,
}

/// Why a text is not what it should be.
#[derive(Debug)]
pub(crate) enum Unexpected {
    /// It is no JSON, or cannot be read.
    Fault(Fault),
    /// It is JSON of another form.
    Form(&'static str),
}

/// Reads values, with buffers for the texts.
pub(crate) struct Walk<'s> {
    pub scanner: Scanner<'s>,
    value: Vec<u8>,
    scratch: Vec<u8>,
}

impl From<Fault> for Unexpected {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

// === impl Walk ===

impl<'s> Walk<'s> {
    pub(crate) fn new(text: &'s mut &[u8]) -> Self {
        Self { scanner: Scanner::new(text), value: Vec::new(), scratch: Vec::new() }
    }

    /// Reads an array; null stands for an empty one.
    pub(crate) fn each_item(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        if !self.open(b'[', "an array")? {
            return Ok(());
        }
        let mut progress = Progress::default();
        while self.scanner.next_item(&mut progress)? {
            item(self)?;
        }
        Ok(())
    }

    /// Reads an object; null stands for an empty one.
    pub(crate) fn each_member(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<(), Unexpected>,
    ) -> Result<(), Unexpected> {
        if !self.open(b'{', "an object")? {
            return Ok(());
        }
        let (mut progress, mut key) = (Progress::default(), Vec::new());
        while self.scanner.next_name(&mut progress)? {
            let scratch = &mut self.scratch;
            self.scanner.name(|name| {
                key.clear();
                key.extend_from_slice(name.resolve(scratch));
            })?;
            member(self, &key)?;
        }
        Ok(())
    }

    /// Checks that nothing follows.
    pub(crate) fn end(&mut self) -> Result<(), Unexpected> {
        match self.scanner.peek()? {
            None => Ok(()),
            Some(_) => Err(Unexpected::Form("the end")),
        }
    }

    pub(crate) fn scalar(&mut self) -> Result<Scalar<'_>, Unexpected> {
        let Self { scanner, value, scratch } = self;
        value.clear();
        Ok(match scanner.peek_value()? {
            b'"' => {
                value.extend_from_slice(scanner.text()?.resolve(scratch));
                Scalar::Text(value)
            }
            b'{' | b'[' => return Err(Unexpected::Form("a text, a number, true or false")),
            b't' | b'f' | b'n' => match scanner.literal()? {
                "true" => Scalar::Bool(true),
                "false" => Scalar::Bool(false),
                _ => Scalar::Null,
            },
            _ => {
                value.extend_from_slice(scanner.number()?);
                Scalar::Number(value)
            }
        })
    }

    /// Reads a text; null stands for an empty one.
    pub(crate) fn text(&mut self) -> Result<&[u8], Unexpected> {
        match self.scalar()? {
            Scalar::Text(text) => Ok(text),
            Scalar::Null => Ok(b""),
            _ => Err(Unexpected::Form("a text")),
        }
    }

    /// Reads a whole number, which may be in a text; null stands for 0.
    pub(crate) fn whole(&mut self) -> Result<i64, Unexpected> {
        match self.scalar()? {
            Scalar::Null => Ok(0),
            Scalar::Text(text) | Scalar::Number(text) => {
                number::signed(text).ok_or(Unexpected::Form("a whole number"))
            }
            Scalar::Bool(_) => Err(Unexpected::Form("a whole number")),
        }
    }

    fn open(&mut self, begin: u8, form: &'static str) -> Result<bool, Unexpected> {
        match self.scanner.peek_value()? {
            b'n' => {
                self.scanner.literal()?;
                Ok(false)
            }
            first if first == begin => {
                self.scanner.open();
                Ok(true)
            }
            _ => Err(Unexpected::Form(form)),
        }
    }
}
