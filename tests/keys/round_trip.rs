//! What must hold for every document. The fuzz target runs this, and so does a test on generated documents.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use sync_coalesce::Key;
use sync_coalesce::key::KeyErrorKind;

/// Checks that a document has one key however it is written, or that it is none.
pub(crate) fn check(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let key = Key::of(&value).expect("whatever JSON can be read has a key");

    let compact = serde_json::to_vec(&value).unwrap();
    assert_eq!(Key::of(&read(&compact)).unwrap(), key, "re-serialised");
    assert_eq!(Key::of(&read(&serde_json::to_vec_pretty(&value).unwrap())).unwrap(), key, "re-serialised with spaces");

    let seed = text.iter().fold(1, |seed, &byte| mix(seed ^ u64::from(byte)));
    let shuffled = Shuffled(&value, seed);
    assert_eq!(Key::of(&shuffled).unwrap(), key, "shuffled");
    assert_eq!(Key::of(&read(&serde_json::to_vec(&shuffled).unwrap())).unwrap(), key, "shuffled and re-serialised");

    let text = std::str::from_utf8(text).expect("what was read is UTF-8");
    match Key::of(&KeptAsText { json: text }) {
        Ok(kept) => assert_eq!(kept, key, "kept as text"),
        Err(error) => assert_eq!(error.kind(), &KeyErrorKind::DuplicateMember),
    }
}

fn read(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("what serde_json wrote can be read")
}

/// What a `serde_json::value::RawValue` is to a serializer.
#[derive(serde::Serialize)]
#[serde(rename = "$serde_json::private::RawValue")]
pub(crate) struct KeptAsText<T> {
    /// The document.
    #[serde(rename = "$serde_json::private::RawValue")]
    pub(crate) json: T,
}

/// A value whose members come in another order at every level.
pub(crate) struct Shuffled<'v>(pub(crate) &'v Value, pub(crate) u64);

/// The next of a sequence of numbers that look random.
pub(crate) fn mix(state: u64) -> u64 {
    state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_add(1)
}

impl Serialize for Shuffled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = mix(self.1);
        match self.0 {
            Value::Array(elements) => {
                let mut array = serializer.serialize_seq(Some(elements.len()))?;
                elements.iter().try_for_each(|element| array.serialize_element(&Shuffled(element, state)))?;
                array.end()
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for last in (1..members.len()).rev() {
                    state = mix(state);
                    let bound = u64::try_from(last).unwrap() + 1;
                    members.swap(last, usize::try_from(state % bound).unwrap());
                }
                let mut object = serializer.serialize_map(Some(members.len()))?;
                members
                    .into_iter()
                    .try_for_each(|(name, value)| object.serialize_entry(name, &Shuffled(value, state)))?;
                object.end()
            }
            leaf => leaf.serialize(serializer),
        }
    }
}
