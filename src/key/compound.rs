//! Arrays and objects while they are open.

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::error::{KeyError, KeyErrorKind};
use super::member_name::Text;
use super::order;
use super::private::Private;
use super::tape::Tape;

/// An open array; with a variant, the only member of an object that is open around it.
pub(super) struct Array<'t> {
    tape: &'t mut Tape,
    length: usize,
    variant: Option<&'static str>,
}

impl<'t> Array<'t> {
    pub(super) fn open(tape: &'t mut Tape, variant: Option<&'static str>) -> Result<Self, KeyError> {
        open(tape, variant, b'[')?;
        Ok(Self { tape, length: 0, variant })
    }

    /// Where the next element is to be written.
    pub(super) fn begin_element(&mut self) -> &mut Tape {
        if self.length > 0 {
            self.tape.text.push(b',');
        }
        self.length += 1;
        self.tape
    }

    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        value.serialize(self.begin_element()).map_err(|error| self.fail(error))
    }

    /// The error to hand out for one in the last element.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        let index = self.length.saturating_sub(1);
        self.tape.fail(within(error.within(index), self.variant))
    }

    pub(super) fn close(self) -> Result<(), KeyError> {
        self.tape.sound()?;
        close(self.tape, self.variant, b']');
        Ok(())
    }
}

/// An open object; with a variant, the only member of another one.
pub(super) struct Object<'t> {
    tape: &'t mut Tape,
    /// Where this object's members begin among those of all open objects.
    first: usize,
    /// The member that was begun last.
    current: usize,
    /// Whether each name so far came after the one before, so that nothing has to move and no name is there twice.
    ordered: bool,
    /// Whether a name waits for its value.
    pending: bool,
    variant: Option<&'static str>,
}

impl<'t> Object<'t> {
    pub(super) fn open(tape: &'t mut Tape, variant: Option<&'static str>) -> Result<Self, KeyError> {
        open(tape, variant, b'{')?;
        let first = tape.members.len();
        Ok(Self { tape, first, current: first, ordered: true, pending: false, variant })
    }

    /// Where the next name is to be written.
    fn begin_name(&mut self) -> Result<&mut Tape, KeyError> {
        if self.pending {
            return Err(self.tape.fail(KeyError::custom("a map's key has no value")));
        }
        if self.tape.members.len() > self.first {
            self.tape.text.push(b',');
        }
        Ok(self.tape)
    }

    fn end_name(&mut self) {
        let members = &self.tape.members;
        self.pending = true;
        self.current = members.len() - 1;
        if self.ordered && self.current > self.first {
            let (before, this) = (&members[self.current - 1], &members[self.current]);
            self.ordered = before.compare(this, &self.tape.text).is_lt();
        }
    }

    pub(super) fn name(&mut self, name: &str) -> Result<(), KeyError> {
        self.begin_name()?.write_name(name);
        self.end_name();
        Ok(())
    }

    /// Where the value of the name just written is to be written.
    pub(super) fn begin_value(&mut self) -> Result<&mut Tape, KeyError> {
        if !self.pending {
            return Err(self.tape.fail(KeyError::custom("a map's value has no key")));
        }
        Ok(self.tape)
    }

    pub(super) fn end_value(&mut self) {
        self.pending = false;
        self.tape.members[self.current].end_at(self.tape.text.len());
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        value.serialize(self.begin_value()?).map_err(|error| self.fail(error))?;
        self.end_value();
        Ok(())
    }

    pub(super) fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), KeyError> {
        self.name(name)?;
        self.value(value)
    }

    /// The error to hand out for one in the value of the last name.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        let name = self.tape.members[self.current].name(&self.tape.text);
        self.tape.fail(within(error.within(name), self.variant))
    }

    pub(super) fn close(self) -> Result<(), KeyError> {
        self.tape.sound()?;
        if self.pending {
            return Err(KeyError::custom("a map's key has no value"));
        }
        let Tape { text, members, moved, .. } = &mut *self.tape;
        if !self.ordered {
            order::sort(text, &mut members[self.first..], moved).map_err(|name| {
                let error = KeyError::new(KeyErrorKind::DuplicateMember).within(name);
                within(error, self.variant)
            })?;
        }
        members.truncate(self.first);
        close(self.tape, self.variant, b'}');
        Ok(())
    }
}

fn open(tape: &mut Tape, variant: Option<&'static str>, bracket: u8) -> Result<(), KeyError> {
    if let Some(name) = variant {
        tape.open(b'{')?;
        super::string::write(&mut tape.text, name);
        tape.text.push(b':');
    }
    tape.open(bracket).map_err(|error| within(error, variant))
}

fn close(tape: &mut Tape, variant: Option<&'static str>, bracket: u8) {
    tape.close(bracket);
    if variant.is_some() {
        tape.close(b'}');
    }
}

fn within(error: KeyError, variant: Option<&'static str>) -> KeyError {
    match variant {
        Some(name) => error.within(name),
        None => error,
    }
}

/// A struct: an object, unless its name says that it is something else in disguise.
pub(super) enum Struct<'t> {
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

impl SerializeMap for Object<'_> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), KeyError> {
        let name = Text::name(self.begin_name()?);
        key.serialize(name).map_err(|error| self.tape.fail(within(error, self.variant)))?;
        self.end_name();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.value(value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.close()
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

impl SerializeStructVariant for Object<'_> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), KeyError> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}
