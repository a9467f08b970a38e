//! [`Array`]: an array while it is open.

use serde::ser::{Serialize, SerializeSeq, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant};

use super::filter::Alive;
use super::tape::Tape;
use super::variant::Variant;
use crate::key::error::KeyError;

/// An open array.
pub(crate) struct Array<'t> {
    tape: &'t mut Tape,
    length: usize,
    /// Which of a rule's pointers lead into it. Not empty if a rule leaves it out.
    alive: Alive,
    variant: Variant,
}

impl<'t> Array<'t> {
    pub(super) fn open(tape: &'t mut Tape, variant: Option<&'static str>) -> Result<Self, KeyError> {
        let variant = Variant::open(tape, variant, b'[')?;
        Ok(Self { length: 0, alive: tape.alive, variant, tape })
    }

    /// The tape, ready for the next element.
    pub(super) fn begin_element(&mut self) -> &mut Tape {
        if self.length > 0 {
            self.tape.text.push(b',');
        }
        self.length += 1;
        if self.alive != 0 {
            self.tape.enter_element(self.alive);
        }
        self.tape
    }

    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        if self.alive != 0 && matches!(self.variant, Variant::Dropped) {
            return Ok(());
        }
        value.serialize(self.begin_element()).map_err(|error| self.fail(error))
    }

    /// The error to return for one in the last element.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        let index = self.length.saturating_sub(1);
        self.tape.fail(self.variant.around(error.within(index)))
    }

    pub(super) fn close(self) -> Result<(), KeyError> {
        self.tape.sound()?;
        self.variant.close(self.tape, b']');
        Ok(())
    }
}

macro_rules! array {
    ($($face:ident $method:ident),+) => {$(
        impl $face for Array<'_> {
            type Ok = ();
            type Error = KeyError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
                self.element(value)
            }

            fn end(self) -> Result<(), KeyError> {
                self.close()
            }
        }
    )+};
}

array!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);
