//! [`Struct`]: a struct while it is open.

use serde::ser::{Serialize, SerializeStruct};

use super::object::Object;
use super::private::Private;
use super::tape::Tape;
use crate::key::error::KeyError;

/// An open struct: an object, unless its name marks it as one of `serde_json`'s own.
pub(crate) enum Struct<'t> {
    Object(Object<'t>),
    Private(Private<'t>),
}

impl<'t> Struct<'t> {
    pub(super) fn open(tape: &'t mut Tape, name: &'static str) -> Result<Self, KeyError> {
        match Private::open(tape, name)? {
            Ok(private) => Ok(Self::Private(private)),
            Err(tape) => Object::open(tape, None).map(Self::Object),
        }
    }
}

impl SerializeStruct for Struct<'_> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), KeyError> {
        match self {
            Self::Object(object) => object.member(name, value),
            Self::Private(private) => private.field(name, value),
        }
    }

    fn end(self) -> Result<(), KeyError> {
        match self {
            Self::Object(object) => object.close(),
            Self::Private(private) => private.close(),
        }
    }
}
