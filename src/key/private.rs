//! The types of `serde_json` that are told apart only by a struct's name: numbers and whole documents kept as text.
//!
//! They come from features of `serde_json` that anyone in the tree may have switched on. A struct's name is written in
//! code, so no document can feign one.

use serde::ser::Serialize;

use super::error::{KeyError, KeyErrorKind};
use super::member_name::Text;
use super::tape::Tape;

const PREFIX: &str = "$serde_json::private::";

/// The struct of a `serde_json::Number` under `arbitrary_precision`, and the name of its one field.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

/// The struct of a `serde_json::value::RawValue`, and the name of its one field.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// An error if a type's name is one that must mean something, and it is not known here what.
pub(super) fn refuse(name: &'static str) -> Result<(), KeyError> {
    if name.starts_with(PREFIX) {
        return Err(KeyError::new(KeyErrorKind::PrivateName(name)));
    }
    Ok(())
}

/// One of the known ones, while its one field is awaited.
pub(super) struct Private<'t> {
    tape: &'t mut Tape,
    name: &'static str,
    written: bool,
}

impl<'t> Private<'t> {
    /// The private struct, or the tape if it is an ordinary one.
    pub(super) fn open(tape: &'t mut Tape, name: &'static str) -> Result<Result<Self, &'t mut Tape>, KeyError> {
        if !name.starts_with(PREFIX) {
            return Ok(Err(tape));
        }
        if name != NUMBER && name != RAW_VALUE {
            return Err(KeyError::new(KeyErrorKind::PrivateName(name)));
        }
        Ok(Ok(Self { tape, name, written: false }))
    }

    pub(super) fn field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), KeyError> {
        if field != self.name || self.written {
            return Err(self.tape.fail(KeyError::new(KeyErrorKind::PrivateName(self.name))));
        }
        self.written = true;
        let tape = &mut *self.tape;
        let text = if self.name == NUMBER { Text::number(tape) } else { Text::raw_value(tape) };
        value.serialize(text).map_err(|error| self.tape.fail(error))
    }

    pub(super) fn close(self) -> Result<(), KeyError> {
        self.tape.sound()?;
        if !self.written {
            return Err(KeyError::new(KeyErrorKind::PrivateName(self.name)));
        }
        Ok(())
    }
}
