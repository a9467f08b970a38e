//! [`Private`]: the types of `serde_json` that are recognized only by a struct's name, which are numbers and whole
//! documents kept as text.
//!
//! They come from features of `serde_json` that any crate in the tree may have enabled. A struct's name is part of the
//! code, so no document can fake one.

use serde::ser::Serialize;

use super::private_name::{NUMBER, PREFIX, RAW_VALUE};
use super::tape::Tape;
use super::text::Text;
use super::{number, raw_value};
use crate::key::error::{KeyError, KeyErrorKind};

/// A known one while it is open.
pub(crate) struct Private<'t> {
    tape: &'t mut Tape,
    name: &'static str,
    written: bool,
}

impl<'t> Private<'t> {
    /// The private struct, or the tape if the struct is an ordinary one.
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
        let text = match self.name {
            NUMBER => Text::private(tape, NUMBER, |tape, text| number::write_text(&mut tape.text, text)),
            name => Text::private(tape, name, raw_value::write),
        };
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
