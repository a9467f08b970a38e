//! [`Variant`]: the object around the content of an enum's variant.

use super::string;
use super::tape::Tape;
use crate::key::error::KeyError;

/// What is open around an array or an object because it is the content of a variant.
#[derive(Clone, Copy)]
pub(super) enum Variant {
    /// Nothing: there is no variant.
    No,
    /// An object with this one member.
    Member(&'static str),
    /// An object without members, because a rule leaves the variant out. The array or object itself is not open.
    Dropped,
}

impl Variant {
    /// Opens an array or an object, and first the object around it if there is one.
    pub(super) fn open(tape: &mut Tape, name: Option<&'static str>, bracket: u8) -> Result<Self, KeyError> {
        let Some(name) = name else {
            tape.open(bracket)?;
            return Ok(Self::No);
        };
        tape.open(b'{')?;
        let start = tape.text.len();
        string::write(&mut tape.text, name);
        if tape.alive != 0 && tape.leaves_out(tape.alive, start, tape.text.len()) {
            tape.text.truncate(start);
            return Ok(Self::Dropped);
        }
        tape.text.push(b':');
        let variant = Self::Member(name);
        tape.open(bracket).map_err(|error| variant.around(error))?;
        Ok(variant)
    }

    pub(super) fn close(self, tape: &mut Tape, bracket: u8) {
        if !matches!(self, Self::Dropped) {
            tape.close(bracket);
        }
        if !matches!(self, Self::No) {
            tape.close(b'}');
        }
    }

    /// The error, as seen from outside.
    #[cold]
    pub(super) fn around(self, error: KeyError) -> KeyError {
        match self {
            Self::Member(name) => error.within(name),
            Self::No | Self::Dropped => error,
        }
    }
}
