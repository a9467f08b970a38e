//! A key as text and in serde formats.

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Key;

/// Why a text is not a key: it is not exactly 64 lowercase hexadecimal digits.
///
/// Uppercase digits are refused, so that each key has one text and texts can be compared. Asking again does not help.
///
/// # Examples
///
/// ```
/// use sync_coalesce::Key;
///
/// let error = "1f2e".parse::<Key>().unwrap_err();
/// assert_eq!(error.to_string(), "invalid key: expected 64 lowercase hexadecimal digits, found 4 bytes");
/// let error = "F".repeat(64).parse::<Key>().unwrap_err();
/// assert_eq!(error.to_string(), "invalid key: byte 0 is not a lowercase hexadecimal digit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKeyError {
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Length(usize),
    Digit(usize),
}

impl Display for ParseKeyError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Length(length) => {
                write!(formatter, "invalid key: expected 64 lowercase hexadecimal digits, found {length} bytes")
            }
            Fault::Digit(index) => write!(formatter, "invalid key: byte {index} is not a lowercase hexadecimal digit"),
        }
    }
}

impl std::error::Error for ParseKeyError {}

impl Key {
    fn with_text<R>(&self, use_text: impl FnOnce(&str) -> R) -> R {
        use_text(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl Display for Key {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.with_text(|text| formatter.pad(text))
    }
}

/// The first eight digits, which are enough to tell keys apart in a log.
impl Debug for Key {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.with_text(|text| write!(formatter, "Key({}…)", &text[..8]))
    }
}

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let digits: &[u8; 64] =
            text.as_bytes().try_into().map_err(|_| ParseKeyError { fault: Fault::Length(text.len()) })?;
        let digit = |index: usize| match digits[index] {
            digit @ b'0'..=b'9' => Ok(digit - b'0'),
            digit @ b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(ParseKeyError { fault: Fault::Digit(index) }),
        };
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = digit(2 * index)? << 4 | digit(2 * index + 1)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.with_text(|text| serializer.serialize_str(text))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TextVisitor)
        } else {
            deserializer.deserialize_bytes(BytesVisitor)
        }
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Key;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("64 lowercase hexadecimal digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
        text.parse().map_err(E::custom)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Key;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("32 bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Key, E> {
        bytes.try_into().map(Key).map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    /// Formats without bytes give a sequence instead.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<Key, A::Error> {
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = elements.next_element()?.ok_or_else(|| de::Error::invalid_length(index, &self))?;
        }
        match elements.next_element::<de::IgnoredAny>()? {
            None => Ok(Key(bytes)),
            Some(_) => Err(de::Error::invalid_length(33, &self)),
        }
    }
}
