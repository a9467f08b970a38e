//! [`Object`]: an object while it is open.

use serde::ser::{Error as _, Serialize, SerializeMap, SerializeStructVariant};

use super::filter::Alive;
use super::order::{self, Member};
use super::tape::Tape;
use super::text::Text;
use super::variant::Variant;
use crate::key::error::{KeyError, KeyErrorKind};

/// What an open object expects next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Name,
    Value,
    /// The value of a member that a rule leaves out, which is not written.
    Dropped,
}

/// An open object.
pub(crate) struct Object<'t> {
    tape: &'t mut Tape,
    /// The index of this object's first member among those of all open objects.
    first: usize,
    /// The index of the member begun last.
    current: usize,
    /// Whether the names are in order so far, so that nothing has to move and no name is there twice.
    ordered: bool,
    next: Next,
    /// Which of a rule's pointers lead into it. Not empty if a rule leaves it out.
    alive: Alive,
    variant: Variant,
}

impl<'t> Object<'t> {
    pub(crate) fn open(tape: &'t mut Tape, variant: Option<&'static str>) -> Result<Self, KeyError> {
        let variant = Variant::open(tape, variant, b'{')?;
        let first = tape.members.len();
        Ok(Self { first, current: first, ordered: true, next: Next::Name, alive: tape.alive, variant, tape })
    }

    /// The tape, ready for the next name.
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
        if self.alive != 0 && self.remove_name() {
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

    /// Removes the name just written if a rule leaves its member out.
    fn remove_name(&mut self) -> bool {
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

    /// Whether the next value is left out. If so, the next name is expected.
    pub(super) fn skips_value(&mut self) -> bool {
        let skips = self.next == Next::Dropped;
        if skips {
            self.next = Next::Name;
        }
        skips
    }

    /// The tape, ready for the value of the name just written.
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

    pub(crate) fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), KeyError> {
        if self.alive != 0 && matches!(self.variant, Variant::Dropped) {
            return Ok(());
        }
        self.name(name)?;
        self.value(value)
    }

    /// The error to return for one in the last value.
    #[cold]
    pub(super) fn fail(&mut self, error: KeyError) -> KeyError {
        let name = self.tape.members[self.current].name(&self.tape.text);
        self.tape.fail(self.variant.around(error.within(name)))
    }

    pub(crate) fn close(self) -> Result<(), KeyError> {
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
