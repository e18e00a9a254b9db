//! Thrift's binary and compact protocols, read in place: values are taken off the bytes one after another, and nothing is
//! reserved by a length that was only declared. It knows no message of any service.

mod reader;

pub use self::reader::{Field, Fields, List, Message, Protocol, Reader, ThriftError, ThriftErrorKind, Type};

#[cfg(test)]
mod tests;
