//! A document that is kept as text: it is read, and written again in canonical form.
//!
//! It is read straight onto the tape and not into a `Value`, which would silently drop one of two members with the same
//! name.

use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::array::Array;
use super::object::Object;
use super::private_name::NUMBER;
use super::tape::{DEEPEST, Tape};
use super::{number, string};
use crate::key::error::{KeyError, KeyErrorKind};

/// Appends the canonical form of a JSON text.
pub(super) fn write(tape: &mut Tape, json: &str) -> Result<(), KeyError> {
    let mut failure = None;
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = Transcript { tape, failure: &mut failure }.deserialize(&mut reader).and_then(|()| reader.end());
    let Err(error) = read else { return Ok(()) };
    Err(failure.unwrap_or_else(|| {
        // The reader has a depth limit of its own, and reports it only as text. What was open stays open after a
        // failure, so the tape's depth still shows it.
        KeyError::new(match tape.depth() {
            DEEPEST => KeyErrorKind::TooDeep,
            _ => KeyErrorKind::NotJson(error.to_string()),
        })
    }))
}

/// Writes what is read. Our own errors travel beside those of the reader, which would turn them into text.
struct Transcript<'t> {
    tape: &'t mut Tape,
    failure: &'t mut Option<KeyError>,
}

impl Transcript<'_> {
    fn done<E: Error>(self, outcome: Result<(), KeyError>) -> Result<(), E> {
        kept(self.failure, outcome)
    }
}

fn kept<T, E: Error>(failure: &mut Option<KeyError>, outcome: Result<T, KeyError>) -> Result<T, E> {
    outcome.map_err(|error| {
        *failure = Some(error);
        E::custom("no key")
    })
}

impl<'de> DeserializeSeed<'de> for Transcript<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcript<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.tape.text.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.tape.text.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        number::write_u64(&mut self.tape.text, value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        number::write_i64(&mut self.tape.text, value);
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let outcome = number::write_f64(&mut self.tape.text, value);
        self.done(outcome)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        string::write_folded(&mut self.tape.text, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { tape, failure } = self;
        let mut array = kept(failure, Array::open(tape, None))?;
        loop {
            match elements.next_element_seed(Element { array: &mut array, failure }) {
                Ok(Some(())) => {}
                Ok(None) => return kept(failure, array.close()),
                Err(error) => {
                    *failure = failure.take().map(|failure| array.fail(failure));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut next = members.next_key_seed(Name)?;
        if let Some(Named::Number) = next {
            let outcome = number::write_text(&mut self.tape.text, &members.next_value::<String>()?);
            return self.done(outcome);
        }
        let Self { tape, failure } = self;
        let mut object = kept(failure, Object::open(tape, None))?;
        while let Some(Named::Member(name)) = next {
            kept(failure, object.name(&name))?;
            if object.skips_value() {
                members.next_value::<IgnoredAny>()?;
                next = members.next_key_seed(Name)?;
                continue;
            }
            let tape = kept(failure, object.begin_value())?;
            if let Err(error) = members.next_value_seed(Transcript { tape, failure }) {
                *failure = failure.take().map(|failure| object.fail(failure));
                return Err(error);
            }
            object.end_value();
            next = members.next_key_seed(Name)?;
        }
        kept(failure, object.close())
    }
}

struct Element<'t, 'a> {
    array: &'t mut Array<'a>,
    failure: &'t mut Option<KeyError>,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Transcript { tape: self.array.begin_element(), failure: self.failure })
    }
}

/// What the reader passes as a map's key.
enum Named {
    Member(String),
    /// Under `arbitrary_precision` a number is read as a map of one member, whose value is the number's text.
    Number,
}

/// Reads a map's key, and tells a number from a member with the same name.
///
/// The document's own names come from a deserializer that answers `deserialize_option` with `Some`. The name that marks
/// a number comes from one that answers every request with that name.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Named;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member's name")
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        serde::Deserialize::deserialize(deserializer).map(Named::Member)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Named, E> {
        match name {
            NUMBER => Ok(Named::Number),
            _ => Err(E::custom("not a member's name")),
        }
    }
}
