//! The canonical text of anything that implements `Serialize`.
//!
//! It is the text of RFC 8785 for what `serde_json::to_vec` would send, so every form here (the shapes of enums, what
//! is transparent, what is null) is that of `serde_json`.

mod array;
pub(super) mod filter;
mod number;
pub(super) mod object;
mod order;
mod private;
mod private_name;
mod raw_value;
mod string;
mod structs;
pub(super) mod tape;
mod text;
mod variant;

use std::fmt::{Display, Write as _};

use serde::ser::{Error as _, Serialize, Serializer};

use self::array::Array;
use self::object::Object;
use self::structs::Struct;
use self::tape::Tape;
use super::error::{KeyError, KeyErrorKind};

/// The canonical text of a value that is not a request.
pub(super) fn text_of<V: Serialize + ?Sized>(value: &V) -> Result<String, KeyError> {
    let text = Tape::with("", None, |tape| value.serialize(tape), |text| String::from_utf8(text.clone()))?;
    text.map_err(KeyError::custom)
}

impl<'t> Serializer for &'t mut Tape {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Array<'t>;
    type SerializeTuple = Array<'t>;
    type SerializeTupleStruct = Array<'t>;
    type SerializeTupleVariant = Array<'t>;
    type SerializeMap = Object<'t>;
    type SerializeStruct = Struct<'t>;
    type SerializeStructVariant = Object<'t>;

    fn serialize_bool(self, value: bool) -> Result<(), KeyError> {
        self.text.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), KeyError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), KeyError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), KeyError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), KeyError> {
        number::write_i64(&mut self.text, value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), KeyError> {
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => self.serialize_u64(value),
            (_, Ok(value)) => self.serialize_i64(value),
            _ => Err(KeyError::new(KeyErrorKind::IntegerOutOfRange)),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<(), KeyError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), KeyError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), KeyError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), KeyError> {
        number::write_u64(&mut self.text, value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), KeyError> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => Err(KeyError::new(KeyErrorKind::IntegerOutOfRange)),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), KeyError> {
        number::write_f32(&mut self.text, value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), KeyError> {
        number::write_f64(&mut self.text, value)
    }

    fn serialize_char(self, value: char) -> Result<(), KeyError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), KeyError> {
        string::write_folded(&mut self.text, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), KeyError> {
        let mut array = Array::open(self, None)?;
        value.iter().try_for_each(|byte| array.element(byte))?;
        array.close()
    }

    fn serialize_none(self) -> Result<(), KeyError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), KeyError> {
        self.text.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), KeyError> {
        private_name::refuse(name)?;
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<(), KeyError> {
        private_name::refuse(name)?;
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), KeyError> {
        private_name::refuse(name)?;
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        private_name::refuse(name)?;
        let mut object = Object::open(self, None)?;
        object.member(variant, value)?;
        object.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'t>, KeyError> {
        Array::open(self, None)
    }

    fn serialize_tuple(self, _: usize) -> Result<Array<'t>, KeyError> {
        Array::open(self, None)
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Array<'t>, KeyError> {
        private_name::refuse(name)?;
        Array::open(self, None)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Array<'t>, KeyError> {
        private_name::refuse(name)?;
        Array::open(self, Some(variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'t>, KeyError> {
        Object::open(self, None)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Struct<'t>, KeyError> {
        Struct::open(self, name)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'t>, KeyError> {
        private_name::refuse(name)?;
        Object::open(self, Some(variant))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        // Whether a text folds is known only when all of it is there. It is collected off the tape, because `Display`
        // may fail, panic or make a key itself.
        let mut shown = std::mem::take(&mut self.shown);
        shown.clear();
        let outcome = match write!(shown, "{value}") {
            Ok(()) => self.serialize_str(&shown),
            Err(error) => Err(KeyError::custom(error)),
        };
        self.shown = shown;
        outcome
    }
}
