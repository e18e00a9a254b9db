//! Why a question has no answer.

use spandrel_storage::ReadError;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query asks for what cannot be answered; the text says what, and what to ask instead.
    #[error("{0}")]
    Unsupported(String),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
