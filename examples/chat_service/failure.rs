//! Why a message has no answer, and the status that says so.

use std::fmt;

use sync_coalesce::CallError;
use sync_coalesce::chat::AlternateError;
use sync_coalesce::stack::StackError;

use crate::support::client::SendError;

/// Why there is no pair. Shared by all who asked together.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request says nothing that could be answered.
    BadRequest(String),
    /// The request's id was used for another message.
    OtherRequest,
    /// Another process wrote to the conversation meanwhile. Asking again can help.
    Conflict,
    /// The conversation is busy with earlier messages. Asking again later can help.
    Busy,
    /// There is no answer of the provider.
    Provider(StackError<SendError>),
    /// The database did not do its work.
    Store(rusqlite::Error),
}

impl Failure {
    /// The HTTP status for it.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Failure::BadRequest(_) => 400,
            Failure::Conflict => 409,
            Failure::OtherRequest => 422,
            Failure::Store(_) | Failure::Provider(StackError::Call(CallError::LeaderPanicked { .. })) => 500,
            Failure::Provider(StackError::Failed { .. }) => 502,
            Failure::Provider(_) | Failure::Busy => 503,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Store(error)
    }
}

impl From<StackError<SendError>> for Failure {
    fn from(error: StackError<SendError>) -> Self {
        Failure::Provider(error)
    }
}

impl From<AlternateError> for Failure {
    fn from(error: AlternateError) -> Self {
        Failure::BadRequest(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::BadRequest(what) => f.write_str(what),
            Failure::OtherRequest => f.write_str("this Idempotency-Key was used for another message"),
            Failure::Conflict => f.write_str("something else was written to the conversation meanwhile"),
            Failure::Busy => f.write_str("the conversation is busy with earlier messages"),
            Failure::Provider(error) => write!(f, "no answer: {error}"),
            Failure::Store(error) => write!(f, "the database failed: {error}"),
        }
    }
}

impl std::error::Error for Failure {}
