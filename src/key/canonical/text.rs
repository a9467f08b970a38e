//! [`Text`]: a serializer for values that must be text, which are map keys and the one field of `serde_json`'s private
//! structs.

use serde::ser::{Error as _, Impossible, Serialize, Serializer};

use super::private_name;
use super::tape::Tape;
use crate::key::error::{KeyError, KeyErrorKind};

/// A serializer that takes one text and nothing else.
///
/// As a map's key it takes what `serde_json` takes: strings, and the texts of integers, booleans, characters and unit
/// variants. It refuses floats, because versions of `serde_json` differ in their texts.
pub(super) struct Text<'t> {
    tape: &'t mut Tape,
    purpose: Purpose,
}

#[derive(Clone, Copy)]
enum Purpose {
    Name,
    /// The one field of the private struct with this name, and the function that writes its text.
    Private(&'static str, fn(&mut Tape, &str) -> Result<(), KeyError>),
}

impl<'t> Text<'t> {
    /// For a member's name.
    pub(super) fn name(tape: &'t mut Tape) -> Self {
        Self { tape, purpose: Purpose::Name }
    }

    /// For the one field of the private struct with this name, whose text is written by `write`.
    pub(super) fn private(
        tape: &'t mut Tape,
        name: &'static str,
        write: fn(&mut Tape, &str) -> Result<(), KeyError>,
    ) -> Self {
        Self { tape, purpose: Purpose::Private(name, write) }
    }

    fn refuse<T>(self) -> Result<T, KeyError> {
        Err(KeyError::new(match self.purpose {
            Purpose::Name => KeyErrorKind::MemberName,
            Purpose::Private(name, _) => KeyErrorKind::PrivateName(name),
        }))
    }

    /// The text of a value that is not a string itself, which only a name may be.
    fn serialize_shown(self, value: impl std::fmt::Display) -> Result<(), KeyError> {
        use std::io::Write as _;

        if !matches!(self.purpose, Purpose::Name) {
            return self.refuse();
        }
        // The longest is an i128 of 39 digits and a sign.
        let mut buffer = [0; 40];
        let mut free = buffer.as_mut_slice();
        write!(free, "{value}").map_err(KeyError::custom)?;
        let length = 40 - free.len();
        let shown = std::str::from_utf8(&buffer[..length]).map_err(KeyError::custom)?;
        self.serialize_str(shown)
    }
}

macro_rules! shown {
    ($($method:ident: $kind:ty),+) => {$(
        fn $method(self, value: $kind) -> Result<(), KeyError> {
            self.serialize_shown(value)
        }
    )+};
}

macro_rules! refused {
    ($($method:ident($($argument:ty),*) -> $result:ty;)+) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$result, KeyError> {
            self.refuse()
        }
    )+};
}

impl Serializer for Text<'_> {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Impossible<(), KeyError>;
    type SerializeTuple = Impossible<(), KeyError>;
    type SerializeTupleStruct = Impossible<(), KeyError>;
    type SerializeTupleVariant = Impossible<(), KeyError>;
    type SerializeMap = Impossible<(), KeyError>;
    type SerializeStruct = Impossible<(), KeyError>;
    type SerializeStructVariant = Impossible<(), KeyError>;

    fn serialize_str(self, value: &str) -> Result<(), KeyError> {
        match self.purpose {
            Purpose::Name => {
                self.tape.write_name(value);
                Ok(())
            }
            Purpose::Private(_, write) => write(self.tape, value),
        }
    }

    fn serialize_char(self, value: char) -> Result<(), KeyError> {
        self.serialize_shown(value)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<(), KeyError> {
        private_name::refuse(name)?;
        match self.purpose {
            Purpose::Name => self.serialize_str(variant),
            Purpose::Private(..) => self.refuse(),
        }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), KeyError> {
        private_name::refuse(name)?;
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), KeyError> {
        self.refuse()
    }

    shown!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128
    );

    refused! {
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
