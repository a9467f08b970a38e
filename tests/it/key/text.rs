//! A key as text and as bytes.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use serde::de::value::{BytesDeserializer, Error, SeqDeserializer};
use serde::ser::Impossible;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sync_coalesce::Key;

use super::key;

fn sample() -> Key {
    let mut bytes = [0; 32];
    for (index, byte) in (0..).zip(&mut bytes) {
        *byte = index * 7;
    }
    Key::from_bytes(bytes)
}

#[test]
fn the_text_is_64_lower_case_digits_in_the_order_of_the_bytes() {
    let text = sample().to_string();
    assert_eq!(text, "00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9");
    assert_eq!(text.parse(), Ok(sample()));
    assert_eq!(format!("{:?}", sample()), "Key(00070e15…)");
    assert_eq!(format!("{:>66}", sample()), format!("  {text}"));
}

#[test]
fn only_64_lowercase_digits_are_a_key() {
    let text = sample().to_string();
    let refused = [
        (String::new(), "expected 64 lowercase hexadecimal digits, found 0 bytes"),
        (text[1..].to_owned(), "expected 64 lowercase hexadecimal digits, found 63 bytes"),
        (text.clone() + "0", "expected 64 lowercase hexadecimal digits, found 65 bytes"),
        (text.to_uppercase(), "byte 5 is not a lowercase hexadecimal digit"),
        (text.replace("d9", "dg"), "byte 63 is not a lowercase hexadecimal digit"),
        (format!("0x{}", &text[2..]), "byte 1 is not a lowercase hexadecimal digit"),
        (format!("+{}", &text[1..]), "byte 0 is not a lowercase hexadecimal digit"),
        (format!("é{}", &text[2..]), "byte 0 is not a lowercase hexadecimal digit"),
        (format!(" {}", &text[1..]), "byte 0 is not a lowercase hexadecimal digit"),
    ];
    for (text, why) in refused {
        let error = text.parse::<Key>().unwrap_err();
        assert_eq!(error.to_string(), format!("invalid key: {why}"), "{text}");
    }
}

#[test]
fn order_equality_and_hash_are_those_of_the_bytes() {
    let (low, high) = (Key::from_bytes([1; 32]), sample());
    assert_eq!(low.cmp(&high), low.as_bytes().cmp(high.as_bytes()));
    let mut last = *high.as_bytes();
    last[31] ^= 1;
    assert_ne!(Key::from_bytes(last), high);
    let hasher = RandomState::new();
    assert_ne!(hasher.hash_one(Key::from_bytes(last)), hasher.hash_one(high));
    assert_eq!(hasher.hash_one(Key::from_bytes(*high.as_bytes())), hasher.hash_one(high));
    // Bytes that are no digest spread too.
    let numbered = |number: u8, place: usize| {
        let mut bytes = [0; 32];
        bytes[place] = number;
        Key::from_bytes(bytes)
    };
    let keys = (1..=255).flat_map(|number| {
        let everywhere = Key::from_bytes([number; 32]);
        (0..32).map(move |place| numbered(number, place)).chain([everywhere])
    });
    let seen: HashSet<u64> = keys.map(|key| hasher.hash_one(key)).collect();
    assert_eq!(seen.len(), 255 * 33);
}

#[test]
fn formats_for_people_get_the_text() {
    let json = serde_json::to_string(&sample()).unwrap();
    assert_eq!(json, format!("\"{}\"", sample()));
    assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), sample());
    serde_json::from_str::<Key>(&json.to_uppercase()).unwrap_err();
    serde_json::from_str::<Key>("[1]").unwrap_err();
    assert_eq!(key(&sample()), key(&sample().to_string()));
}

fn bytes_only() -> Error {
    de::Error::custom("this format has nothing but bytes")
}

macro_rules! refused {
    ($($method:ident($($argument:ty),*) -> $result:ty;)+) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$result, Error> {
            Err(bytes_only())
        }
    )+};
}

/// A reader of a format that is not for people, of whatever another reader reads.
struct Compact<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Compact<D> {
    type Error = D::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

fn read_bytes(bytes: &[u8]) -> Result<Key, Error> {
    Key::deserialize(Compact(BytesDeserializer::new(bytes)))
}

fn read_elements(bytes: &[u8]) -> Result<Key, Error> {
    Key::deserialize(Compact(SeqDeserializer::new(bytes.iter().copied())))
}

#[test]
fn formats_for_machines_get_the_bytes() {
    for read in [read_bytes, read_elements] {
        assert_eq!(read(sample().as_bytes()), Ok(sample()));
        for length in [0, 31, 33] {
            read(&vec![0; length]).unwrap_err();
        }
    }
    assert_eq!(sample().serialize(Compact(())), Ok(sample().as_bytes().to_vec()));
}

/// A writer of a format that is not for people, which takes bytes and nothing else.
impl Serializer for Compact<()> {
    type Ok = Vec<u8>;
    type Error = Error;
    type SerializeSeq = Impossible<Vec<u8>, Error>;
    type SerializeTuple = Impossible<Vec<u8>, Error>;
    type SerializeTupleStruct = Impossible<Vec<u8>, Error>;
    type SerializeTupleVariant = Impossible<Vec<u8>, Error>;
    type SerializeMap = Impossible<Vec<u8>, Error>;
    type SerializeStruct = Impossible<Vec<u8>, Error>;
    type SerializeStructVariant = Impossible<Vec<u8>, Error>;

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(bytes.to_vec())
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Vec<u8>, Error> {
        Err(bytes_only())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<Vec<u8>, Error> {
        Err(bytes_only())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Vec<u8>, Error> {
        Err(bytes_only())
    }

    refused! {
        serialize_bool(bool) -> Vec<u8>;
        serialize_i8(i8) -> Vec<u8>;
        serialize_i16(i16) -> Vec<u8>;
        serialize_i32(i32) -> Vec<u8>;
        serialize_i64(i64) -> Vec<u8>;
        serialize_u8(u8) -> Vec<u8>;
        serialize_u16(u16) -> Vec<u8>;
        serialize_u32(u32) -> Vec<u8>;
        serialize_u64(u64) -> Vec<u8>;
        serialize_f32(f32) -> Vec<u8>;
        serialize_f64(f64) -> Vec<u8>;
        serialize_char(char) -> Vec<u8>;
        serialize_str(&str) -> Vec<u8>;
        serialize_none() -> Vec<u8>;
        serialize_unit() -> Vec<u8>;
        serialize_unit_struct(&'static str) -> Vec<u8>;
        serialize_unit_variant(&'static str, u32, &'static str) -> Vec<u8>;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
