//! MessagePack, read in place: values are taken off the bytes one after another, and nothing is reserved by a length that
//! was only declared. It knows no message of any sender.

mod reader;

pub(crate) use self::reader::{MsgpackError, Number, Reader};

#[cfg(test)]
mod tests;
