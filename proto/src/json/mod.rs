//! JSON as a stream of tokens, for every format that is written in it: the scanner, strings, numbers, and the place of a
//! value in its text. It knows no messages.

pub(crate) mod number;
pub(crate) mod place;
pub(crate) mod scanner;
pub(crate) mod text;
pub(crate) mod walk;
