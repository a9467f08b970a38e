//! Arrays and objects while they are open.

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::error::{KeyError, KeyErrorKind};
use super::member_name::Text;
use super::order::{self, Member};
use super::paths::Alive;
use super::private::Private;
use super::tape::Tape;
use super::variant::Variant;

/// An open array.
pub(super) struct Array<'t> {
    tape: &'t mut Tape,
    length: usize,
    /// Which of a rule's pointers lead into it; some, if a rule leaves it out.
    alive: Alive,
    variant: Variant,
}

impl<'t> Array<'t> {
    pub(super) fn open(tape: &'t mut Tape, variant: Option<&'static str>) -> Result<Self, KeyError> {
        let variant = Variant::open(tape, variant, b'[')?;
        Ok(Self { length: 0, alive: tape.alive, variant, tape })
    }

    /// Where the next element is to be written.
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

    /// The error to hand out for one in the last element.
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

/// What an open object waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Name,
    Value,
    /// A value that is not written, because a rule leaves the member out.
    Dropped,
}

/// An open object.
pub(super) struct Object<'t> {
    tape: &'t mut Tape,
    /// Where this object's members begin among those of all open objects.
    first: usize,
    /// The member that was begun last.
    current: usize,
    /// Whether each name so far came after the one before, so that nothing has to move and no name is there twice.
    ordered: bool,
    next: Next,
    /// Which of a rule's pointers lead into it; some, if a rule leaves it out.
    alive: Alive,
    variant: Variant,
}

impl<'t> Object<'t> {
    pub(super) fn open(tape: &'t mut Tape, variant: Option<&'static str>) -> Result<Self, KeyError> {
        let variant = Variant::open(tape, variant, b'{')?;
        let first = tape.members.len();
        Ok(Self { first, current: first, ordered: true, next: Next::Name, alive: tape.alive, variant, tape })
    }

    /// Where the next name is to be written.
    fn begin_name(&mut self) -> Result<&mut Tape, KeyError> {
        if self.next != Next::Name {
            return Err(self.tape.fail(KeyError::custom("a map's key has no value")));
        }
        if self.tape.members.len() > self.first {
            self.tape.text.push(b',');
        }
        Ok(self.tape)
    }

    fn end_name(&mut self) {
        if self.alive != 0 && self.take_back_name() {
            self.next = Next::Dropped;
            return;
        }
        let members = &self.tape.members;
        self.next = Next::Value;
        self.current = members.len() - 1;
        if self.ordered && self.current > self.first {
            let (before, this) = (&members[self.current - 1], &members[self.current]);
            self.ordered = before.compare(this, &self.tape.text).is_lt();
        }
    }

    /// Takes the name just written back if a rule leaves its member out.
    fn take_back_name(&mut self) -> bool {
        let Some((start, end)) = self.tape.members.last().map(Member::name_at) else { return false };
        if !self.tape.leaves_out(self.alive, start, end) {
            return false;
        }
        self.tape.members.pop();
        let comma = usize::from(self.tape.members.len() > self.first);
        self.tape.text.truncate(start - comma);
        true
    }

    pub(super) fn name(&mut self, name: &str) -> Result<(), KeyError> {
        self.begin_name()?.write_name(name);
        self.end_name();
        Ok(())
    }

    /// Whether the value that comes next is left out; if so, it is taken for done.
    pub(super) fn skips_value(&mut self) -> bool {
        let skips = self.next == Next::Dropped;
        if skips {
            self.next = Next::Name;
        }
        skips
    }

    /// Where the value of the name just written is to be written.
    pub(super) fn begin_value(&mut self) -> Result<&mut Tape, KeyError> {
        if self.next != Next::Value {
            return Err(self.tape.fail(KeyError::custom("a map's value has no key")));
        }
        Ok(self.tape)
    }

    pub(super) fn end_value(&mut self) {
        self.next = Next::Name;
        self.tape.members[self.current].end_at(self.tape.text.len());
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        if self.skips_value() {
            return Ok(());
        }
        value.serialize(self.begin_value()?).map_err(|error| self.fail(error))?;
        self.end_value();
        Ok(())
    }

    pub(super) fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), KeyError> {
        if self.alive != 0 && matches!(self.variant, Variant::Dropped) {
            return Ok(());
        }
        self.name(name)?;
        self.value(value)
    }

    /// The error to hand out for one in the value of the last name.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        let name = self.tape.members[self.current].name(&self.tape.text);
        self.tape.fail(self.variant.around(error.within(name)))
    }

    pub(super) fn close(self) -> Result<(), KeyError> {
        self.tape.sound()?;
        if self.next != Next::Name {
            return Err(KeyError::custom("a map's key has no value"));
        }
        let Tape { text, members, moved, .. } = &mut *self.tape;
        if !self.ordered {
            order::sort(text, &mut members[self.first..], moved)
                .map_err(|name| self.variant.around(KeyError::new(KeyErrorKind::DuplicateMember).within(name)))?;
        }
        members.truncate(self.first);
        self.variant.close(self.tape, b'}');
        Ok(())
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
        key.serialize(name).map_err(|error| self.tape.fail(self.variant.around(error)))?;
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
